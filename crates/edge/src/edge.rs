//! What all workers share.

use crate::audit::AuditLog;
use crate::bans::{Bans, Made, MadeBan};
use crate::compiled::Compiled;
use crate::inspect::Asked;
use crate::line_log::LineLog;
use crate::metrics::Metrics;
use crate::offenders::Offenders;
use arc_swap::ArcSwap;
use balance::Change;
use base::EventId;
use base::events::Event;
use edge_cert::Resolver;
use edge_http::path::escape;
use edge_http::{Refusal, RequestHead};
use hyper::http::request::Parts;
use role::{Counter, Events, Gauge};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// The edge of one process.
pub(crate) struct Edge {
    pub(crate) compiled: ArcSwap<Compiled>,
    pub(crate) bans: ArcSwap<Bans>,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) access_log: LineLog,
    pub(crate) audit: AuditLog,
    pub(crate) captured: LineLog,
    pub(crate) state_dir: PathBuf,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) workers: usize,
    /// Workers that accept.
    pub(crate) accepting: AtomicU32,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) crowd: Crowd,
    /// Bytes of answers held back or not yet read by their clients.
    pub(crate) held: Arc<AtomicUsize>,
    /// Bans that were made here, until control has them.
    pub(crate) made: Made,
    offenders: Mutex<Offenders>,
    /// Requests that were inspected, for the sampling of captures.
    inspected: AtomicU64,
    started: Instant,
    /// When a refusal was last written as an event, in milliseconds after `started`.
    last_refusal_ms: AtomicU64,
}

/// What is written besides events.
pub(crate) struct Logs {
    pub(crate) access: LineLog,
    pub(crate) audit: AuditLog,
    pub(crate) captured: LineLog,
    pub(crate) state_dir: PathBuf,
}

/// One address listened on.
pub(crate) struct Listener {
    /// `https` or `http`.
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) https: bool,
    pub(crate) accepted: Arc<Counter>,
    pub(crate) connections: Arc<Gauge>,
}

/// Events about refusals, at most one in so long: a scanner sends thousands.
const REFUSAL_EVENT_EVERY_MS: u64 = 1_000;

impl Edge {
    #[expect(clippy::too_many_arguments, reason = "called once, where the parts are made")]
    pub(crate) fn new(
        compiled: Compiled,
        metrics: Metrics,
        events: Events,
        logs: Logs,
        resolver: Arc<Resolver>,
        tls: Arc<rustls::ServerConfig>,
        listeners: Vec<Arc<Listener>>,
        workers: usize,
    ) -> Self {
        Self {
            compiled: ArcSwap::from_pointee(compiled),
            bans: ArcSwap::default(),
            metrics,
            events,
            access_log: logs.access,
            audit: logs.audit,
            captured: logs.captured,
            state_dir: logs.state_dir,
            resolver,
            tls,
            listeners,
            workers,
            accepting: AtomicU32::new(0),
            draining: watch::Sender::new(false),
            crowd: Crowd::default(),
            held: Arc::default(),
            made: Made::default(),
            offenders: Mutex::default(),
            inspected: AtomicU64::new(0),
            started: Instant::now(),
            last_refusal_ms: AtomicU64::new(0),
        }
    }

    /// The revision that runs.
    pub(crate) fn current(&self) -> Arc<Compiled> {
        self.compiled.load_full()
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    pub(crate) fn is_banned(&self, ip: IpAddr) -> bool {
        self.bans.load().bans(ip, sys::clock::now_ms) || self.made.bans(ip)
    }

    /// Whether an inspected request is one of the `every` that are captured.
    pub(crate) fn is_sampled(&self, every: u32) -> bool {
        every > 0 && self.inspected.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(every))
    }

    /// An event about a client: bans it where it was one too many. The ban holds here
    /// at once; control is told when it asks.
    pub(crate) fn note_offence(&self, ban: &site::WafBan, asked: &Asked, score: i64, event: EventId) {
        let now_ms = sys::clock::now_ms();
        let mut offenders = self.offenders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(net) = offenders.note(ban, asked.client, score, now_ms) else { return };
        drop(offenders);
        let until_ms = now_ms.saturating_add(ban.time.0);
        let why = format!(
            "{} WAF events of score {} or more within {}, the last {event}",
            ban.events, ban.score, ban.window
        );
        self.made.add(MadeBan { net, until_ms, why: why.clone(), behind_proxy: asked.behind_proxy });
        self.metrics.waf_bans.inc();
        self.events.emit(Event::Ban { net, duration: Some(ban.time), what: "ban".to_owned(), why });
    }

    /// Counts a refusal, and now and then tells of one.
    pub(crate) fn refused(&self, client: IpAddr, refusal: Refusal, parts: &Parts) {
        self.metrics.refused(refusal);
        let what = format!("{} {}", parts.method, parts.uri);
        self.tell_refused(client, refusal, &what);
    }

    /// Counts a refused connection.
    pub(crate) fn refused_connection(&self, client: IpAddr, refusal: Refusal) {
        self.metrics.refused(refusal);
        self.tell_refused(client, refusal, "");
    }

    fn tell_refused(&self, client: IpAddr, refusal: Refusal, what: &str) {
        let now_ms = self.started.elapsed().as_millis() as u64 + REFUSAL_EVENT_EVERY_MS;
        let last = self.last_refusal_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(last) < REFUSAL_EVENT_EVERY_MS {
            return;
        }
        let swapped =
            self.last_refusal_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            // The query may hold secrets.
            let what = what.split('?').next().unwrap_or_default();
            self.events.emit(Event::Refused {
                client,
                reason: refusal.reason().to_owned(),
                what: escape(what.as_bytes(), 256),
            });
        }
    }

    /// A server went out of its pool, or came back.
    pub(crate) fn server_changed(&self, pool: &str, change: Option<Change>) {
        if let Some(Change { server, up, why }) = change {
            self.events.emit(Event::ServerHealth { pool: pool.to_owned(), server, up, why });
        }
    }

    /// Where a request over plain HTTP is to be made instead.
    pub(crate) fn https_url(&self, site: &Compiled, head: &RequestHead<'_>) -> String {
        let first_domain = || site.settings.domains.first().map_or("localhost", String::as_str);
        let host =
            std::str::from_utf8(head.host()).ok().filter(|h| !h.is_empty()).unwrap_or_else(first_domain);
        let own = || self.listeners.iter().find(|l| l.https).map_or(443, |l| l.address.port());
        let port = site.settings.public_https_port.unwrap_or_else(own);
        let target = if head.target == b"*" { "/".into() } else { String::from_utf8_lossy(head.target) };
        match port {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        }
    }
}

/// How many connections there are, together and from each address.
#[derive(Default)]
pub(crate) struct Crowd {
    total: AtomicU32,
    by_ip: [Mutex<HashMap<IpAddr, u32>>; 16],
}

/// A place in the crowd; dropping it leaves.
pub(crate) struct Place {
    edge: Arc<Edge>,
    ip: Option<IpAddr>,
}

impl Crowd {
    pub(crate) fn total(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    fn of(&self, ip: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        let last = match ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[7] ^ ip.octets()[5],
        };
        &self.by_ip[usize::from(last % 16)]
    }
}

impl Place {
    /// Takes a place, if there is one. An IPv6 client is its network of 64 bits:
    /// that is what one customer has. `trusted` proxies bring many clients: the
    /// limit for one address is not for them.
    pub(crate) fn take(edge: &Arc<Edge>, ip: IpAddr, trusted: bool) -> Result<Self, Refusal> {
        let ip = match ip {
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
            v4 => v4,
        };
        let limits = &edge.compiled.load().limits;
        let (most, most_per_ip) = (limits.connections, limits.connections_per_ip);
        let crowd = &edge.crowd;
        // From here on, dropping the place gives it back.
        let mut place = Self { edge: edge.clone(), ip: None };
        if crowd.total.fetch_add(1, Ordering::AcqRel) >= most {
            return Err(Refusal::Connections);
        }
        if !trusted {
            let mut map = crowd.of(ip).lock().unwrap_or_else(PoisonError::into_inner);
            let count = map.entry(ip).or_default();
            if *count >= most_per_ip {
                return Err(Refusal::ConnectionsPerIp);
            }
            *count += 1;
            place.ip = Some(ip);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let crowd = &self.edge.crowd;
        crowd.total.fetch_sub(1, Ordering::AcqRel);
        let Some(ip) = self.ip else { return };
        let mut map = crowd.of(ip).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                map.remove(&ip);
            }
        }
    }
}
