//! After a switch of protocols (WebSocket): bytes, both ways, until either side
//! ends or nothing moves for too long. Where the WAF is to look at a WebSocket's
//! messages, what the client sends goes on only once it was judged.

use crate::exchange::Exchange;
use crate::upstream::Answered;
use crate::websocket::{self, Boundaries, Messages, Step};
use base::EventId;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// A piece of a tunnel's bytes.
const PIECE: usize = 16 << 10;

/// How long a close frame waits for the frame before it, and for the client to read it.
const CLOSING: Duration = Duration::from_secs(1);

/// A web server that has switched protocols.
pub(crate) struct Switched {
    pub(crate) server: OnUpgrade,
    pub(crate) answered: Answered,
    pub(crate) is_websocket: bool,
    /// The WAF, where it looks at messages.
    pub(crate) messages: Option<Messages>,
}

/// Joins both sides once both have switched; ends the exchange and frees the
/// server's place at its end.
pub(crate) async fn run(
    client: OnUpgrade,
    switched: Box<Switched>,
    mut exchange: Box<Exchange>,
    idle: Duration,
) {
    let Switched { server, answered, messages, .. } = *switched;
    let (Ok(client), Ok(server)) = (client.await, server.await) else { return };
    match messages {
        None => exchange.sent = join(client, server, idle).await,
        Some(messages) => {
            let (sent, event) = join_judged(client, server, &messages, idle).await;
            exchange.sent = sent;
            exchange.waf = event.or(exchange.waf);
        }
    }
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

/// The same with the client's messages judged: also the event of one that was refused.
async fn join_judged(
    client: Upgraded,
    server: Upgraded,
    messages: &Messages,
    idle: Duration,
) -> (u64, Option<EventId>) {
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_server, to_server) = tokio::io::split(TokioIo::new(server));
    let (moved, sent) = (Moved::new(), AtomicU64::new(0));
    let (tell, told) = watch::channel(None);
    let mut event = None;
    {
        let both = async {
            tokio::join!(
                copy_back(from_server, to_client, &moved, &sent, told),
                judge(from_client, to_server, &moved, messages, tell, &mut event)
            )
        };
        tokio::select! {
            _ = both => {}
            () = moved.stopped(idle) => {}
        }
    }
    (sent.load(Ordering::Relaxed), event)
}

/// From the client to the server, message by message.
async fn judge(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Moved,
    messages: &Messages,
    tell: watch::Sender<Option<(u16, String)>>,
    event: &mut Option<EventId>,
) {
    let mut reader = messages.reader();
    let mut buffer = vec![0; PIECE];
    let mut steps = Vec::new();
    let why = 'open: loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { break None };
        moved.now();
        let read = reader.read(&buffer[..length], &mut steps);
        for step in steps.drain(..) {
            let bytes = match step {
                Step::Pass(bytes) => bytes,
                Step::Judge { raw, text } => match messages.judge(&text) {
                    None => raw,
                    Some(id) => {
                        *event = Some(id);
                        break 'open Some((1008, format!("refused by a rule; event {id}")));
                    }
                },
            };
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                break 'open None;
            }
        }
        if let Err(violation) = read {
            messages.note_violation();
            break Some((violation.code(), violation.reason().to_owned()));
        }
    };
    let Some((code, reason)) = why else {
        let _ = to.shutdown().await;
        return;
    };
    // RFC 6455 §5.3: the key is not to be guessed.
    let key = (sys::random::u64() as u32).to_ne_bytes();
    // 1001: for the server, the client goes away.
    let _ = to.write_all(&websocket::close(1001, "", Some(key))).await;
    let _ = to.shutdown().await;
    let _ = tell.send(Some((code, reason)));
    // Closing with unread bytes would reset the connection before the close frame
    // is read.
    let drained = async { while let Ok(1..) = from.read(&mut buffer).await {} };
    let _ = tokio::time::timeout(CLOSING, drained).await;
}

/// From the server to the client; at the end perhaps a close frame of ours.
async fn copy_back(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Moved,
    count: &AtomicU64,
    mut told: watch::Receiver<Option<(u16, String)>>,
) {
    let mut buffer = vec![0; PIECE];
    let mut boundaries = Boundaries::default();
    // Set once the connection is to be closed: until then a frame may end.
    let mut until: Option<tokio::time::Instant> = None;
    loop {
        let close = told.borrow_and_update().clone();
        if let Some((code, reason)) = close {
            if boundaries.at() {
                let _ = to.write_all(&websocket::close(code, &reason, None)).await;
                break;
            }
            until.get_or_insert_with(|| tokio::time::Instant::now() + CLOSING);
        }
        let late = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // The other side ended without a word: so be it.
            Ok(()) = told.changed(), if until.is_none() => {}
            () = late => break,
            read = from.read(&mut buffer) => {
                let Ok(length @ 1..) = read else { break };
                boundaries.pass(&buffer[..length]);
                if to.write_all(&buffer[..length]).await.is_err() || to.flush().await.is_err() {
                    break;
                }
                moved.now();
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
    }
    let _ = to.flush().await;
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
