//! What is known of one client connection, shared by its byte stream, its
//! requests and the task that drives it.

use crate::compiled::Compiled;
use crate::worker::{Opened, Worker};
use edge_http::Refusal;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// One client connection.
pub(crate) struct Connection {
    /// Who is at the other end; a proxy, perhaps.
    pub(crate) peer: IpAddr,
    /// Its port.
    pub(crate) peer_port: u16,
    /// Where it reached us.
    pub(crate) server: SocketAddr,
    /// Whether it is encrypted.
    pub(crate) https: bool,
    /// Whether requests are only redirected to HTTPS.
    pub(crate) redirects: bool,
    /// The site when the connection began: its limits hold for the connection.
    pub(crate) compiled: Arc<Compiled>,
    /// The worker it lives on.
    pub(crate) worker: Arc<Worker>,
    /// Leaves the gauges when the last of stream, requests and tunnel has ended.
    _opened: Opened,
    started: Instant,
    /// Requests being answered.
    busy: AtomicU32,
    /// Requests seen.
    requests: AtomicU64,
    /// When bytes last moved, in milliseconds after `started`.
    progress_ms: AtomicU64,
    /// Whether `turns` holds anything.
    special: AtomicBool,
    turns: Mutex<Turns>,
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: IpAddr,
    pub(crate) port: u16,
    pub(crate) server: SocketAddr,
}

/// What seldom happens on a connection.
#[derive(Default)]
struct Turns {
    /// The request of this number is a stand-in for one that was refused.
    refused: Option<(u64, Refusal)>,
    /// A body that is out of frame.
    body: Option<Refusal>,
    upgrade: Upgrade,
    waker: Option<Waker>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    #[default]
    None,
    Awaited,
    Decided(bool),
}

impl Connection {
    pub(crate) fn new(
        ends: Ends,
        https: bool,
        redirects: bool,
        compiled: Arc<Compiled>,
        worker: Arc<Worker>,
        opened: Opened,
    ) -> Self {
        Self {
            peer: ends.peer,
            peer_port: ends.port,
            server: ends.server,
            https,
            redirects,
            compiled,
            worker,
            _opened: opened,
            started: Instant::now(),
            busy: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            progress_ms: AtomicU64::new(0),
            special: AtomicBool::new(false),
            turns: Mutex::default(),
        }
    }

    /// A request begins; its number, from 1.
    pub(crate) fn begin_request(&self) -> u64 {
        self.progress();
        self.busy.fetch_add(1, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// A request's answer has ended.
    pub(crate) fn end_request(&self) {
        self.progress();
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    pub(crate) fn had_requests(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Bytes of messages moved; those by which HTTP/2 only keeps a connection alive
    /// do not count.
    pub(crate) fn progress(&self) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        self.progress_ms.store(now_ms, Ordering::Relaxed);
    }

    /// For how long nothing has moved.
    pub(crate) fn still_for(&self) -> Duration {
        let last = Duration::from_millis(self.progress_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// The request of this number is to be answered with a refusal.
    pub(crate) fn refuse(&self, number: u64, refusal: Refusal) {
        self.turns().refused = Some((number, refusal));
        self.special.store(true, Ordering::Release);
    }

    /// Why the request of this number is refused, if it is.
    pub(crate) fn refusal_of(&self, number: u64) -> Option<Refusal> {
        if !self.special.load(Ordering::Acquire) {
            return None;
        }
        self.turns().refused.filter(|(n, _)| *n == number).map(|(_, refusal)| refusal)
    }

    pub(crate) fn note_body_refusal(&self, refusal: Refusal) {
        self.turns().body = Some(refusal);
        self.special.store(true, Ordering::Release);
    }

    /// Why the body being read ended in an error, if the guard ended it.
    pub(crate) fn body_refusal(&self) -> Option<Refusal> {
        if self.special.load(Ordering::Acquire) { self.turns().body } else { None }
    }

    /// A head asked to switch protocols: reading stops until that is decided.
    pub(crate) fn await_upgrade(&self) {
        self.turns().upgrade = Upgrade::Awaited;
        self.special.store(true, Ordering::Release);
    }

    /// Whether the protocol is switched; nothing happens where nobody asked.
    pub(crate) fn decide_upgrade(&self, switched: bool) {
        if !self.special.load(Ordering::Acquire) {
            return;
        }
        let mut turns = self.turns();
        if turns.upgrade == Upgrade::Awaited {
            turns.upgrade = Upgrade::Decided(switched);
            if let Some(waker) = turns.waker.take() {
                waker.wake();
            }
        }
    }

    /// Ready with the decision, once; with none where there is nothing to decide.
    pub(crate) fn poll_upgrade(&self, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        if !self.special.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        let mut turns = self.turns();
        match turns.upgrade {
            Upgrade::None => Poll::Ready(None),
            Upgrade::Awaited => {
                turns.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Upgrade::Decided(switched) => {
                turns.upgrade = Upgrade::None;
                Poll::Ready(Some(switched))
            }
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
