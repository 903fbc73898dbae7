//! A worker: one thread, one runtime, its own listening sockets. A connection
//! lives and dies on the worker that accepted it; a request never changes thread.

use crate::client_stream::{ClientStream, Transport};
use crate::connection::{Connection, Ends};
use crate::edge::{Edge, Listener, Place};
use crate::inspect::Workspaces;
use crate::life_of_a_request::answer;
use crate::upstream::Idle;
use edge_http::{Guard, GuardLimits, Refusal, forwarded};
use futures_util::FutureExt;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// What one worker's connections share.
pub(crate) struct Worker {
    pub(crate) edge: Arc<Edge>,
    pub(crate) idle: Idle,
    pub(crate) workspaces: Workspaces,
    open: AtomicUsize,
    random: AtomicU64,
}

/// A listening socket and what it is.
pub(crate) type Listening = (std::net::TcpListener, Arc<Listener>);

/// Threads for reading files, at most, a worker.
const FILE_THREADS: usize = 16;
/// How often idle connections to servers are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// How long we leave the kernel alone when it has no descriptors left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

impl Worker {
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        let random = AtomicU64::new(sys::random::u64());
        Self {
            edge,
            idle: Idle::default(),
            workspaces: Workspaces::default(),
            open: AtomicUsize::new(0),
            random,
        }
    }

    /// A number for request ids: unlike any other, but not secret (SplitMix64,
    /// Steele et al. 2014).
    pub(crate) fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Serves until the edge drains and its connections have ended, or the time for
/// that is over. Blocks the thread.
pub(crate) fn run(edge: Arc<Edge>, listening: Vec<Listening>) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(FILE_THREADS).build()?;
    let worker = Arc::new(Worker::new(edge.clone()));
    let served = runtime.block_on(async {
        let mut accepting = Vec::new();
        for (socket, listener) in listening {
            let socket = TcpListener::from_std(socket)?;
            accepting.push(tokio::spawn(accept(worker.clone(), socket, listener)));
        }
        edge.accepting.fetch_add(1, Ordering::AcqRel);
        let sweeper = tokio::spawn(sweep(worker.clone()));
        let mut draining = edge.draining.subscribe();
        // The sender lives in `edge`.
        let _ = draining.wait_for(|draining| *draining).await;
        edge.accepting.fetch_sub(1, Ordering::AcqRel);
        for task in accepting {
            let _ = task.await;
        }
        let limit = edge.compiled.load().timeouts.drain.duration();
        let _ = tokio::time::timeout(limit, ended(&worker)).await;
        sweeper.abort();
        Ok(())
    });
    // A file that a dead disk holds up must not hold us up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn ended(worker: &Worker) {
    while worker.open.load(Ordering::Acquire) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn sweep(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let site = worker.edge.current();
        worker.idle.sweep(|id| site.pools.iter().any(|p| p.servers.iter().any(|s| s.id == id)));
    }
}

async fn accept(worker: Arc<Worker>, socket: TcpListener, listener: Arc<Listener>) {
    let mut draining = worker.edge.draining.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, stream, peer, &listener),
            Err(_) => tokio::time::sleep(OUT_OF_DESCRIPTORS).await,
        }
    }
    // Whoever has been promised a connection by the kernel gets it.
    while let Some(Ok((stream, peer))) = socket.accept().now_or_never() {
        admit(&worker, stream, peer, &listener);
    }
}

/// Lets a connection in, or not: bans and limits come before the first byte.
fn admit(worker: &Arc<Worker>, stream: TcpStream, from: SocketAddr, listener: &Arc<Listener>) {
    let edge = &worker.edge;
    let peer = base::net::canonical(from.ip());
    listener.accepted.inc();
    let site = edge.current();
    let trusted = forwarded::is_trusted(peer, &site.settings.trusted_proxies);
    if !trusted && edge.is_banned(peer) {
        edge.metrics.banned.inc();
        return;
    }
    let place = match Place::take(edge, peer, trusted) {
        Ok(place) => place,
        Err(refusal) => {
            edge.refused_connection(peer, refusal);
            return;
        }
    };
    // Small answers are not held back for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let redirects = !listener.https && !site.settings.serve_plain_http;
    worker.open.fetch_add(1, Ordering::AcqRel);
    listener.connections.add(1);
    let opened = Opened { worker: worker.clone(), listener: listener.clone(), _place: place };
    let https = listener.https;
    let server = stream.local_addr().unwrap_or(listener.address);
    let ends = Ends { peer, port: from.port(), server };
    let connection = Arc::new(Connection::new(ends, https, redirects, site, worker.clone(), opened));
    tokio::spawn(async move { serve(stream, &connection).await });
}

/// An open connection, in the gauges.
pub(crate) struct Opened {
    worker: Arc<Worker>,
    listener: Arc<Listener>,
    _place: Place,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.listener.connections.add(-1);
        self.worker.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One connection, from TLS to its end.
async fn serve(stream: TcpStream, connection: &Arc<Connection>) {
    if !connection.https {
        return serve_http1(Transport::Plain(stream), connection).await;
    }
    let edge = &connection.worker.edge;
    let acceptor = tokio_rustls::TlsAcceptor::from(edge.tls.clone());
    let limit = connection.compiled.timeouts.handshake.duration();
    let stream = match tokio::time::timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        failed => {
            edge.metrics.handshakes_failed.inc();
            let timed_out = failed.is_err();
            let refusal = if timed_out { Refusal::HandshakeTimeout } else { Refusal::Handshake };
            edge.refused_connection(connection.peer, refusal);
            return;
        }
    };
    let tls = stream.get_ref().1;
    match tls.handshake_kind() {
        Some(rustls::HandshakeKind::Resumed) => edge.metrics.handshakes_resumed.inc(),
        _ => edge.metrics.handshakes_full.inc(),
    }
    let http2 = tls.alpn_protocol() == Some(b"h2");
    let transport = Transport::Tls(Box::new(stream));
    if http2 { serve_http2(transport, connection).await } else { serve_http1(transport, connection).await }
}

async fn serve_http1(transport: Transport, connection: &Arc<Connection>) {
    let limits = &connection.compiled.limits;
    let head = usize::try_from(limits.head.0).unwrap_or(usize::MAX).max(1_024);
    let lines = limits.header_lines as usize;
    let guard = Guard::new(GuardLimits { head, header_lines: lines });
    let stream = ClientStream::new(transport, connection.clone(), Some(guard));
    let mut builder = http1::Builder::new();
    // The guard keeps time and limits; hyper's own are set beyond them.
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_headers(lines + 1);
    builder.max_buf_size(head.saturating_add(16 << 10)).half_close(false);
    let shared = connection.clone();
    let service = service_fn(move |request| answer(shared.clone(), request));
    let serving = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    // The stream itself watches for idleness between requests.
    drive(serving, connection, None).await;
}

async fn serve_http2(transport: Transport, connection: &Arc<Connection>) {
    let limits = &connection.compiled.limits;
    let stream = ClientStream::new(transport, connection.clone(), None);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head.0).unwrap_or(u32::MAX))
        // Large enough that an upload is not slowed by a long round trip, small
        // enough that all streams together stay bounded by the connection's window.
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(128 << 10)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let shared = connection.clone();
    let service = service_fn(move |request| answer(shared.clone(), request));
    let keep_alive = Some(connection.compiled.timeouts.keep_alive.duration());
    drive(builder.serve_connection(TokioIo::new(stream), service), connection, keep_alive).await;
}

/// An engine's connection that can be asked to finish.
trait Serving: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

type Io = TokioIo<ClientStream>;

impl<S> Serving for http1::UpgradeableConnection<Io, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = crate::body::ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, E> Serving for http2::Connection<Io, S, E>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = crate::body::ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, crate::body::ResponseBody>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection to its end: asks it to finish when the edge drains (then
/// HTTP/2 says GOAWAY, HTTP/1.1 `Connection: close`), or when it has been idle
/// for `keep_alive`; ends it when no byte has moved for too long.
async fn drive(serving: impl Serving, connection: &Arc<Connection>, keep_alive: Option<Duration>) {
    let mut serving = std::pin::pin!(serving);
    let idle = connection.compiled.timeouts.idle.duration();
    let every =
        (keep_alive.unwrap_or(idle).min(idle) / 2).clamp(Duration::from_millis(50), Duration::from_secs(15));
    let mut draining = connection.worker.edge.draining.subscribe();
    let mut look = tokio::time::interval(every);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked = false;
    let result = loop {
        tokio::select! {
            result = serving.as_mut() => break result,
            _ = draining.wait_for(|draining| *draining), if !asked => {
                asked = true;
                serving.as_mut().finish();
            }
            _ = look.tick() => {
                let still = connection.still_for();
                if still > idle {
                    break Ok(());
                }
                if !asked && keep_alive.is_some_and(|most| still > most) && !connection.is_busy() {
                    asked = true;
                    serving.as_mut().finish();
                }
            }
        }
    };
    if result.is_err_and(|error| is_clients_fault(&error)) {
        connection.worker.edge.refused_connection(connection.peer, Refusal::Protocol);
    }
}

/// Whether a connection ended because the client broke the protocol, and not
/// because it went away. h2 tells only in words.
fn is_clients_fault(error: &hyper::Error) -> bool {
    let detected = |source: &dyn std::error::Error| source.to_string().contains("detected");
    error.is_parse() || std::error::Error::source(error).is_some_and(detected)
}
