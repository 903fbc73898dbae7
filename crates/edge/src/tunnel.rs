//! After a switch of protocols (WebSocket): bytes, both ways, until either side
//! ends or nothing moves for too long.

use crate::exchange::Exchange;
use crate::upstream::Answered;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A piece of a tunnel's bytes.
const PIECE: usize = 16 << 10;

/// Joins both sides once both have switched; ends the exchange and frees the
/// server's place at its end.
pub(crate) async fn run(
    client: OnUpgrade,
    server: OnUpgrade,
    mut exchange: Box<Exchange>,
    answered: Answered,
    idle: Duration,
) {
    let (Ok(client), Ok(server)) = (client.await, server.await) else { return };
    exchange.sent = join(client, server, idle).await;
    drop(exchange);
    drop(answered);
}

/// Copies both ways; the answer is how many bytes went to the client.
async fn join(client: Upgraded, server: Upgraded, idle: Duration) -> u64 {
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_server, to_server) = tokio::io::split(TokioIo::new(server));
    let (moved, sent) = (Moved::new(), AtomicU64::new(0));
    let ignored = AtomicU64::new(0);
    let both = async {
        tokio::join!(
            copy(from_server, to_client, &moved, &sent),
            copy(from_client, to_server, &moved, &ignored)
        )
    };
    tokio::select! {
        _ = both => {}
        () = moved.stopped(idle) => {}
    }
    sent.load(Ordering::Relaxed)
}

/// Copies until the end, then ends the other side's input.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Moved,
    count: &AtomicU64,
) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..length]).await.is_err() || to.flush().await.is_err() {
            break;
        }
        moved.now();
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown().await;
}

/// When bytes last moved.
struct Moved {
    began: Instant,
    last_ms: AtomicU64,
}

impl Moved {
    fn new() -> Self {
        Self { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn now(&self) {
        self.last_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns once nothing has moved for `idle`.
    async fn stopped(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let left = (last + idle).saturating_sub(self.began.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}
