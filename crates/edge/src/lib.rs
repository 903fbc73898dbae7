//! The edge: what clients reach. It ends TLS, speaks HTTP/1.1 and HTTP/2, routes,
//! inspects, limits, balances over web servers, and serves files.
//!
//! It never holds privileges, never reads the site's file, never waits for
//! `control` or the monitor, never passes on a request it did not understand
//! whole. Its engine is hyper, behind `edge_http`'s request head and guard.
//!
//! Threads: one a worker, each with its own runtime and sockets (`worker`); the
//! caller's runtime has the admin socket and the health checks; one thread writes
//! the access log. A request stays on its worker's thread, but for reading files.
//!
//! Read `life_of_a_request.rs` first.

mod admin;
mod audit;
mod bans;
mod body;
mod capture;
mod client_stream;
mod compiled;
mod connection;
mod edge;
mod exchange;
mod files;
mod headers;
mod health;
mod hold;
mod inspect;
mod life_of_a_request;
mod line_log;
mod metrics;
mod offenders;
mod pages;
mod tunnel;
mod upstream;
mod websocket;
mod worker;

pub use bans::{Ban, MadeBan};

use crate::admin::Admin;
use crate::audit::AuditLog;
use crate::compiled::Compiled;
use crate::edge::{Edge, Listener, Logs};
use crate::health::Checks;
use crate::line_log::LineLog;
use crate::metrics::Metrics;
use crate::worker::Listening;
use base::names;
use edge_cert::Resolver;
use role::{Fault, Listeners, Start};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

/// Serves until it is told to stop and what was under way has ended.
pub async fn run(start: Start<site::Edge>) -> Result<(), Fault> {
    let metrics = Metrics::new(start.registry.clone());
    let settings = start.revision.site.clone();
    let now_ms = sys::clock::monotonic_ms();
    let compiled = Compiled::new(start.revision, &metrics, None, now_ms)
        .map_err(|errors| Fault::new(format!("the revision cannot be served: {}", errors.join("; "))))?;
    let resolver = Arc::new(Resolver::new(&compiled.certificates));
    let tls = tls_config(resolver.clone())?;
    let sockets = Sockets::open(&settings, &start.listeners, &metrics)?;
    let logs = start_logs(&settings, &compiled, &start.state_dir, &metrics)
        .map_err(|error| Fault::new(format!("cannot start a log's thread: {error}")))?;
    let workers = sockets.by_worker.len();
    let edge =
        Arc::new(Edge::new(compiled, metrics, start.events, logs, resolver, tls, sockets.listeners, workers));
    let admin =
        Arc::new(Admin { edge: edge.clone(), checks: Checks::new(tokio::runtime::Handle::current()) });
    admin.certificate_gauges(None);
    admin.checks.restart(&edge);

    let mut threads = Vec::new();
    for (index, listening) in sockets.by_worker.into_iter().enumerate() {
        let edge = edge.clone();
        let thread = std::thread::Builder::new().name(format!("edge-{index}"));
        let thread = thread.spawn(move || worker::run(edge, listening));
        threads.push(thread.map_err(|error| Fault::new(format!("cannot start worker {index}: {error}")))?);
    }
    let path = start.run_dir.join("edge.sock");
    role::admin::serve(&path, admin.clone(), start.registry, start.shutdown.clone()).map_err(|error| {
        Fault::new(format!("cannot serve the admin socket `{}`: {error}", path.display()))
    })?;

    start.shutdown.wait().await;
    admin.checks.stop();
    edge.draining.send_replace(true);
    let ended = tokio::task::spawn_blocking(move || {
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    for result in ended.await.unwrap_or_default() {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Fault::new(format!("a worker stopped: {error}"))),
            Err(_) => return Err(Fault::new("a worker panicked; this is a fault of ours")),
        }
    }
    edge.access_log.finish();
    edge.captured.finish();
    edge.audit.finish();
    Ok(())
}

fn start_logs(
    settings: &site::Edge,
    compiled: &Compiled,
    state_dir: &Path,
    metrics: &Metrics,
) -> std::io::Result<Logs> {
    let dropped = || metrics.lines_dropped.clone();
    let captured = line_log::Settings::captured(compiled.waf.as_ref(), state_dir);
    Ok(Logs {
        access: LineLog::start("access-log", settings.access_log.as_ref().map(Into::into), dropped())?,
        captured: LineLog::start("waf-capture", captured, dropped())?,
        audit: AuditLog::start(compiled.waf.as_ref(), state_dir, dropped())?,
        state_dir: state_dir.to_owned(),
    })
}

/// TLS 1.2 and 1.3 with AWS-LC, sessions resumed by tickets that rustls seals
/// with keys of its own and renews.
fn tls_config(resolver: Arc<Resolver>) -> Result<Arc<rustls::ServerConfig>, Fault> {
    let cannot = |error: rustls::Error| Fault::new(format!("cannot set TLS up: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(cannot)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(cannot)?;
    Ok(Arc::new(config))
}

/// The listening sockets, dealt out to the workers.
struct Sockets {
    listeners: Vec<Arc<Listener>>,
    by_worker: Vec<Vec<Listening>>,
}

impl Sockets {
    /// Inherited sockets where there are any of a name, otherwise bound here: one
    /// of each address a worker, sharing it (`SO_REUSEPORT`).
    fn open(settings: &site::Edge, inherited: &Listeners, metrics: &Metrics) -> Result<Self, Fault> {
        let workers = usize::from(settings.workers.max(1));
        let mut sockets =
            Self { listeners: Vec::new(), by_worker: (0..workers).map(|_| Vec::new()).collect() };
        for (name, addresses) in [("https", &settings.https), ("http", &settings.http)] {
            let ready =
                inherited.tcp(name).map_err(|e| Fault::new(format!("inherited sockets `{name}`: {e}")))?;
            let all = if ready.is_empty() { bind(addresses, settings.workers.max(1))? } else { ready };
            sockets.deal(name, all, metrics)?;
        }
        if sockets.listeners.is_empty() {
            return Err(Fault::new("there is no address to listen on")
                .hint("give the edge an `https` or `http` address"));
        }
        Ok(sockets)
    }

    /// Deals sockets out in turn. A worker without one of an address shares
    /// another's: no socket may be left without an acceptor, and none is there
    /// for a worker only where there are fewer sockets than workers.
    fn deal(
        &mut self,
        name: &'static str,
        sockets: Vec<TcpListener>,
        metrics: &Metrics,
    ) -> Result<(), Fault> {
        let wrong = |error| Fault::new(format!("a listening socket `{name}` cannot be used: {error}"));
        let https = name == "https";
        let registry = &metrics.registry;
        let mut seen: Vec<(SocketAddr, Vec<TcpListener>)> = Vec::new();
        for socket in sockets {
            let address = socket.local_addr().map_err(wrong)?;
            match seen.iter_mut().find(|(a, _)| *a == address) {
                Some((_, same)) => same.push(socket),
                None => seen.push((address, vec![socket])),
            }
        }
        for (address, sockets) in seen {
            let listener = Arc::new(Listener {
                name,
                address,
                https,
                accepted: registry.counter(&names::EDGE_ACCEPTED).with(&[name]),
                connections: registry.gauge(&names::EDGE_CONNECTIONS).with(&[name]),
            });
            let workers = self.by_worker.len();
            for at in 0..workers.max(sockets.len()) {
                let socket = sockets[at % sockets.len()].try_clone().map_err(wrong)?;
                self.by_worker[at % workers].push((socket, listener.clone()));
            }
            self.listeners.push(listener);
        }
        Ok(())
    }
}

fn bind(addresses: &[SocketAddr], workers: u16) -> Result<Vec<TcpListener>, Fault> {
    let mut all = Vec::new();
    for &address in addresses {
        let sockets = sys::socket::listen_tcp_shared(address, workers).map_err(|error| {
            let fault = Fault::new(format!("cannot listen on {address}: {error}"));
            match error.kind() {
                std::io::ErrorKind::AddrInUse => fault.hint(format!(
                    "another program has port {}; `ss -ltnp` says which; stop it or choose another port",
                    address.port()
                )),
                std::io::ErrorKind::PermissionDenied => fault.hint(
                    "ports below 1024 need root or socket activation; take 8443 and 8080, or run under systemd",
                ),
                _ => fault,
            }
        })?;
        all.extend(sockets);
    }
    Ok(all)
}
