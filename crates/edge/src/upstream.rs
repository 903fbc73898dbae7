//! Towards the web servers: connections kept for reuse, the choice of a server,
//! and another one where that is safe.

use crate::body::{BodyFault, Progress, RequestBody};
use crate::compiled::{PoolState, ServerState};
use crate::worker::Worker;
use balance::{Change, Lease, Outcome};
use base::Address;
use edge_http::Timeouts;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UnixStream};

/// How long a request waits for a server of its pool to come back: about what
/// an ordinary program takes to be started again.
pub(crate) const WAIT_FOR_SERVER: Duration = Duration::from_secs(5);
/// Requests of one pool that may wait so, beyond which the answer is 503 at once.
pub(crate) const MAX_WAITING: u32 = 2_048;
/// How often a waiting request looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How often a request that reached a server is sent to another one: a request
/// that kills whoever reads it should not go round.
const MAX_RESENDS: u32 = 2;
/// An idle connection is closed after this, long before servers forget it.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(60);

type Sender = SendRequest<RequestBody>;

/// Idle connections of one worker, by server.
#[derive(Default)]
pub(crate) struct Idle {
    by_server: Mutex<HashMap<u64, Vec<(Sender, Instant)>>>,
}

impl Idle {
    /// The connection used last that can take a request.
    fn take(&self, server: u64) -> Option<Sender> {
        let mut all = self.by_server.lock().unwrap_or_else(PoisonError::into_inner);
        let list = all.get_mut(&server)?;
        list.retain(|(sender, _)| !sender.is_closed());
        let at = list.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(list.remove(at).0)
    }

    fn put(&self, server: u64, sender: Sender, max: usize) {
        if sender.is_closed() {
            return;
        }
        let mut all = self.by_server.lock().unwrap_or_else(PoisonError::into_inner);
        let list = all.entry(server).or_default();
        if list.len() < max {
            list.push((sender, Instant::now()));
        }
    }

    /// Closes all idle connections to a server.
    fn forget(&self, server: u64) {
        self.by_server.lock().unwrap_or_else(PoisonError::into_inner).remove(&server);
    }

    /// Closes what was idle for too long, and all of servers that are gone.
    pub(crate) fn sweep(&self, known: impl Fn(u64) -> bool) {
        let mut all = self.by_server.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|server, list| {
            list.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_MAX);
            known(*server) && !list.is_empty()
        });
    }
}

/// A server has answered: its place is taken until this is dropped, and its
/// connection goes back once the response is complete.
pub(crate) struct Answered {
    worker: Arc<Worker>,
    pub(crate) server: Arc<ServerState>,
    sender: Option<Sender>,
    keep: usize,
    /// Dropped last: ends the request at the server.
    _lease: Lease,
}

impl Answered {
    /// The response has been read whole: the connection may be used again.
    pub(crate) fn complete(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.worker.idle.put(self.server.id, sender, self.keep);
        }
    }
}

/// Why no server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// None was available, for as long as we wait.
    Unavailable,
    /// It broke off, and asking another one is not safe.
    Broke,
    /// It did not answer in time.
    TimedOut,
    /// The client's own body failed.
    Body(BodyFault),
}

/// What is to be sent: built anew for each try, because sending consumes it.
pub(crate) struct Outgoing<'a> {
    pub(crate) build: &'a (dyn Fn(RequestBody) -> Option<Request<RequestBody>> + Send + Sync),
    pub(crate) body: RequestBody,
    /// Whether it may be sent twice (RFC 9110 §9.2.2), its body permitting.
    pub(crate) idempotent: bool,
}

/// How one try ended.
enum Tried {
    Answered(Response<Incoming>, Answered),
    /// Nothing reached the server, or a kept connection was stale: the body is whole.
    NotSent(RequestBody, bool),
    /// It reached the server, which broke off before it answered.
    Broke(Option<RequestBody>, bool),
    Failed(Failure),
}

/// Sends a request to a server of the pool. `retries` counts the requests sent
/// again.
pub(crate) async fn send(
    worker: &Arc<Worker>,
    pool: &Arc<PoolState>,
    mut outgoing: Outgoing<'_>,
    timeouts: &Timeouts,
    retries: &mut u32,
) -> Result<(Response<Incoming>, Answered), Failure> {
    let deadline = Instant::now() + WAIT_FOR_SERVER;
    let mut pool = pool.clone();
    let mut tried: SmallVec<[usize; 8]> = SmallVec::new();
    let mut resends = 0;
    let mut waiting: Option<Waiting> = None;
    loop {
        let lease = match pool.pool.choose(sys::clock::monotonic_ms(), &tried) {
            Ok(lease) => lease,
            Err(_) => {
                // Everyone was tried, is busy or out: look again until it is too late.
                if waiting.is_none() {
                    waiting = Waiting::join(&pool);
                }
                if waiting.is_none() || Instant::now() >= deadline {
                    return Err(Failure::Unavailable);
                }
                tried.clear();
                tokio::time::sleep(LOOK_AGAIN).await;
                // A revision that came meanwhile may have brought other servers.
                if let Some(now) = worker.edge.current().pool(pool.name()) {
                    pool.clone_from(now);
                }
                continue;
            }
        };
        let index = lease.index();
        let body = std::mem::replace(&mut outgoing.body, RequestBody::Empty);
        match attempt(worker, &pool, lease, &outgoing, body, timeouts).await {
            Tried::Answered(response, answered) => return Ok((response, answered)),
            Tried::Failed(failure) => return Err(failure),
            Tried::NotSent(body, stale) => {
                outgoing.body = body;
                if !stale {
                    tried.push(index);
                    count_retry(&pool, retries);
                }
            }
            Tried::Broke(None, _) => return Err(Failure::Broke),
            Tried::Broke(Some(body), stale) => {
                if resends == MAX_RESENDS {
                    return Err(Failure::Broke);
                }
                resends += 1;
                outgoing.body = body;
                if !stale {
                    tried.push(index);
                }
                count_retry(&pool, retries);
            }
        }
    }
}

fn count_retry(pool: &PoolState, retries: &mut u32) {
    *retries += 1;
    if let Some(counter) = &pool.metrics.retries {
        counter.inc();
    }
}

/// One try with one server.
async fn attempt(
    worker: &Arc<Worker>,
    pool: &Arc<PoolState>,
    mut lease: Lease,
    outgoing: &Outgoing<'_>,
    body: RequestBody,
    timeouts: &Timeouts,
) -> Tried {
    let server = pool.servers[lease.index()].clone();
    let kept = worker.idle.take(server.id);
    let reused = kept.is_some();
    let mut sender = match kept {
        Some(sender) => sender,
        None => match connect(&server, timeouts.connect.duration()).await {
            Ok(sender) => sender,
            Err(_) => {
                server.metrics.errors.inc();
                tell(worker, pool, lease.end(Outcome::Unreachable, sys::clock::monotonic_ms()));
                return Tried::NotSent(body, false);
            }
        },
    };
    let again = if outgoing.idempotent { body.again() } else { None };
    let progress = body.progress();
    let Some(request) = (outgoing.build)(body) else { return Tried::Failed(Failure::Broke) };
    let sent_at = Instant::now();
    let sending = sender.try_send_request(request);
    let now_ms = sys::clock::monotonic_ms;
    match within(timeouts.response.duration(), progress.as_deref(), sending).await {
        Some(Ok(response)) => {
            server.metrics.duration.observe(sent_at.elapsed());
            server.metrics.answered(response.status().as_u16());
            tell(worker, pool, lease.report(Outcome::Answered, now_ms()));
            let keep = (pool.pool.settings().idle_connections as usize).div_ceil(worker.edge.workers);
            let worker = worker.clone();
            Tried::Answered(response, Answered { worker, server, sender: Some(sender), keep, _lease: lease })
        }
        Some(Err(mut error)) => {
            if let Some(unsent) = error.take_message() {
                // A kept connection that was closed before we wrote is no sign of
                // illness; a new one is.
                if !reused {
                    server.metrics.errors.inc();
                    tell(worker, pool, lease.end(Outcome::Broken, now_ms()));
                }
                return Tried::NotSent(unsent.into_body(), reused);
            }
            if let Some(fault) = progress.and_then(|p| p.fault()) {
                return Tried::Failed(Failure::Body(fault));
            }
            server.metrics.errors.inc();
            if reused {
                // Its siblings are as old: the next try gets a new connection.
                worker.idle.forget(server.id);
            }
            let outcome = if reused { Outcome::Abandoned } else { Outcome::Broken };
            tell(worker, pool, lease.end(outcome, now_ms()));
            Tried::Broke(again, reused)
        }
        None => {
            server.metrics.errors.inc();
            tell(worker, pool, lease.end(Outcome::TimedOut, now_ms()));
            Tried::Failed(Failure::TimedOut)
        }
    }
}

/// Waits for a response's head; as long as the request's body still moves, the
/// time does not run.
async fn within<T>(limit: Duration, body: Option<&Progress>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut seen = 0;
    loop {
        match tokio::time::timeout(limit, work.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) => {
                let pieces = body.map_or(0, Progress::pieces);
                if pieces == seen {
                    return None;
                }
                seen = pieces;
            }
        }
    }
}

/// A server went out, or came back: worth an event.
pub(crate) fn tell(worker: &Worker, pool: &PoolState, change: Option<Change>) {
    worker.edge.server_changed(pool.name(), change);
}

/// A new connection to a server, driven by a task of its own.
async fn connect(server: &ServerState, limit: Duration) -> io::Result<Sender> {
    let connected = match tokio::time::timeout(limit, open(&server.address)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    match connected {
        Ok(sender) => {
            server.metrics.connects_ok.inc();
            Ok(sender)
        }
        Err(error) => {
            server.metrics.connects_failed.inc();
            Err(error)
        }
    }
}

async fn open(address: &Address) -> io::Result<Sender> {
    match address {
        Address::Ip(address) => handshake(no_delay(TcpStream::connect(address).await?)).await,
        Address::Name(host, port) => {
            handshake(no_delay(TcpStream::connect((host.as_str(), *port)).await?)).await
        }
        Address::Unix(path) => handshake(UnixStream::connect(path).await?).await,
    }
}

fn no_delay(stream: TcpStream) -> TcpStream {
    // Without it we are slower, not wrong.
    let _ = stream.set_nodelay(true);
    stream
}

/// A response's header lines, at most.
const MAX_RESPONSE_HEADERS: usize = 256;
/// A response's head, at most.
const MAX_RESPONSE_HEAD: usize = 256 << 10;

pub(crate) async fn handshake<S, B>(stream: S) -> io::Result<SendRequest<B>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new();
    builder.max_headers(MAX_RESPONSE_HEADERS).max_buf_size(MAX_RESPONSE_HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its errors reach whoever waits for a response on it.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// A place among the requests that wait for a server.
struct Waiting(Arc<PoolState>);

impl Waiting {
    fn join(pool: &Arc<PoolState>) -> Option<Self> {
        if pool.waiting.fetch_add(1, Ordering::AcqRel) < MAX_WAITING {
            return Some(Self(pool.clone()));
        }
        pool.waiting.fetch_sub(1, Ordering::AcqRel);
        None
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
