//! A revision made ready to serve: compiled whole before it is swapped in, so
//! that a revision with a fault changes nothing.

use crate::metrics::{Metrics, PoolMetrics, ServerMetrics};
use base::{Address, RevisionId};
use edge_cert::Loaded;
use edge_http::{Limits, Timeouts};
use edge_route::settings::{Action, Limit};
use edge_route::{Limiter, Table};
use role::Counter;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use waf_engine::Engine;

/// One revision, ready.
pub(crate) struct Compiled {
    pub(crate) revision: RevisionId,
    pub(crate) hash: String,
    /// What it was made from, without the keys and the WAF.
    pub(crate) settings: site::Edge,
    pub(crate) table: Table,
    /// Beside the table's routes, at the same places.
    pub(crate) routes: Vec<RouteState>,
    pub(crate) pools: Vec<Arc<PoolState>>,
    pub(crate) waf: Option<Waf>,
    pub(crate) certificates: Vec<Loaded>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
}

/// What a route needs besides its settings.
pub(crate) struct RouteState {
    /// The pool that answers it, where one does.
    pub(crate) pool: Option<Arc<PoolState>>,
    pub(crate) limiter: Option<Arc<Limiter>>,
    limit: Option<Limit>,
    pub(crate) limited: Arc<Counter>,
    /// The WAF as it is here, where it inspects this route.
    pub(crate) waf: Option<Arc<RouteWaf>>,
}

/// The WAF, ready: one engine for every different setting of a route.
pub(crate) struct Waf {
    /// What it was made from, rules and all: the next revision's may be the same.
    pub(crate) settings: Arc<site::Waf>,
    /// The site's first, then those of routes with settings of their own.
    engines: Vec<Arc<Engine>>,
    /// Rules that look at answers.
    response_rules: Arc<HashSet<u64>>,
}

/// The WAF on one route.
pub(crate) struct RouteWaf {
    pub(crate) engine: Arc<Engine>,
    /// The route, as metrics name it.
    pub(crate) route: String,
    /// Whether what matches here may refuse.
    pub(crate) blocks: bool,
    pub(crate) response_rules: Arc<HashSet<u64>>,
    pub(crate) websocket: bool,
    /// How much of a WebSocket's message is judged, and whether a larger one may not pass.
    pub(crate) message_limit: usize,
    pub(crate) refuse_large: bool,
    pub(crate) capture: Option<site::Capture>,
    pub(crate) ban: Option<Arc<site::WafBan>>,
}

/// A pool with its servers' metrics.
pub(crate) struct PoolState {
    pub(crate) pool: balance::Pool,
    /// At the same places as in the pool.
    pub(crate) servers: Vec<Arc<ServerState>>,
    pub(crate) metrics: Arc<PoolMetrics>,
    /// Requests that wait for a server to come back.
    pub(crate) waiting: AtomicU32,
}

/// One server.
pub(crate) struct ServerState {
    /// Names the server's idle connections; the same across revisions as long as
    /// name and address are.
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) metrics: ServerMetrics,
}

static NEXT_SERVER_ID: AtomicU64 = AtomicU64::new(1);

impl Compiled {
    /// Checks and compiles a revision; `current` lends what goes on unchanged:
    /// servers' health and connections, limits half used. Errors are sentences
    /// for the operator, all of them at once.
    pub(crate) fn new(
        revision: site::Revision<site::Edge>,
        metrics: &Metrics,
        current: Option<&Self>,
        now_ms: u64,
    ) -> Result<Self, Vec<String>> {
        let (id, hash, mut settings) = (revision.id, revision.hash, revision.site);
        let mut errors = Vec::new();
        let certificates = load_certificates(&settings, &mut errors);
        let pools = compile_pools(&settings, metrics, current, now_ms, &mut errors);
        let table = Table::compile(&settings.routes).unwrap_or_else(|found| {
            errors.extend(found);
            Table::default()
        });
        let waf = settings.waf.take().and_then(|waf| {
            Waf::new(waf, current.and_then(|current| current.waf.as_ref()))
                .map_err(|found| errors.extend(found))
                .ok()
        });
        let ban = waf.as_ref().and_then(|waf| waf.settings.ban.clone()).map(Arc::new);
        let mut routes = Vec::new();
        for (place, route) in table.routes().enumerate() {
            let waf = waf.as_ref().filter(|_| route.waf).map(|waf| waf.of_route(place, route, ban.clone()));
            routes.push(RouteState::new(route, waf, &pools, metrics, current, &mut errors));
        }
        if settings.workers == 0 {
            errors.push("the edge needs at least 1 worker".to_owned());
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        settings.certificates.clear();
        let (limits, timeouts) = (settings.limits.clone(), settings.timeouts.clone());
        Ok(Self { revision: id, hash, settings, table, routes, pools, waf, certificates, limits, timeouts })
    }

    /// Whether a host (without port) is the site's: one of its domains, one that
    /// a route names, or this machine itself.
    pub(crate) fn knows_host(&self, host: &[u8]) -> bool {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let is = |name: &[u8]| host.eq_ignore_ascii_case(name);
        let domain = |domain: &String| match domain.strip_prefix('*') {
            Some(below) => {
                host.len() > below.len()
                    && host[host.len() - below.len()..].eq_ignore_ascii_case(below.as_bytes())
            }
            None => is(domain.as_bytes()) || is(format!("[{domain}]").as_bytes()),
        };
        self.settings.domains.is_empty()
            || self.settings.domains.iter().any(domain)
            || is(b"localhost")
            || is(b"127.0.0.1")
            || is(b"[::1]")
            || self.table.names_host(host)
    }

    pub(crate) fn pool(&self, name: &str) -> Option<&Arc<PoolState>> {
        self.pools.iter().find(|p| p.pool.settings().name == name)
    }
}

fn load_certificates(settings: &site::Edge, errors: &mut Vec<String>) -> Vec<Loaded> {
    let mut loaded = Vec::new();
    for certificate in &settings.certificates {
        match edge_cert::load(&certificate.chain_pem, &certificate.key_pem) {
            Ok(one) => loaded.push(one),
            Err(error) => errors.push(format!("certificate for `{}`: {error}", certificate.names.join(", "))),
        }
    }
    if settings.certificates.is_empty() && !settings.https.is_empty() {
        errors.push("TLS is to be served, but there is no certificate".to_owned());
    }
    loaded
}

fn compile_pools(
    settings: &site::Edge,
    metrics: &Metrics,
    current: Option<&Compiled>,
    now_ms: u64,
    errors: &mut Vec<String>,
) -> Vec<Arc<PoolState>> {
    let mut pools: Vec<Arc<PoolState>> = Vec::new();
    for wanted in &settings.pools {
        if pools.iter().any(|p| p.pool.settings().name == wanted.name) {
            errors.push(format!("pool `{}` is there twice", wanted.name));
            continue;
        }
        let before = current.and_then(|c| c.pool(&wanted.name));
        pools.push(Arc::new(PoolState::new(wanted, metrics, before.map(Arc::as_ref), now_ms)));
    }
    pools
}

impl PoolState {
    fn new(wanted: &balance::settings::Pool, metrics: &Metrics, before: Option<&Self>, now_ms: u64) -> Self {
        let server = |s: &balance::settings::Server| {
            let same = before
                .and_then(|b| b.servers.iter().find(|old| old.name == s.name && old.address == s.address));
            same.cloned().unwrap_or_else(|| {
                Arc::new(ServerState {
                    id: NEXT_SERVER_ID.fetch_add(1, Ordering::Relaxed),
                    name: s.name.clone(),
                    address: s.address.clone(),
                    metrics: ServerMetrics::new(&metrics.registry, &wanted.name, &s.name),
                })
            })
        };
        Self {
            servers: wanted.servers.iter().map(server).collect(),
            pool: match before {
                Some(before) => before.pool.rebuild(wanted.clone(), now_ms),
                None => balance::Pool::new(wanted.clone(), now_ms),
            },
            metrics: match before {
                Some(before) => before.metrics.clone(),
                None => Arc::new(PoolMetrics::new(&metrics.registry, &wanted.name)),
            },
            waiting: AtomicU32::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.pool.settings().name
    }
}

impl Waf {
    /// Loads the rules, once for each different setting. An engine whose rules and
    /// settings are those that run is taken over; what rules keep between requests
    /// lasts in any case.
    fn new(settings: site::Waf, current: Option<&Self>) -> Result<Self, Vec<String>> {
        let same = |current: &&Self| {
            current.settings.settings == settings.settings && current.settings.routes == settings.routes
        };
        if let Some(current) = current.filter(same) {
            let (engines, response_rules) = (current.engines.clone(), current.response_rules.clone());
            return Ok(Self { engines, response_rules, settings: Arc::new(settings) });
        }
        let loaded = load_all(&settings)?;
        let before = current.and_then(Self::engine);
        let collections = before.or(loaded.first()).map(|engine| engine.collections().clone());
        let response_rules = loaded
            .iter()
            .flat_map(Engine::catalogue)
            .filter(|rule| matches!(rule.phase, 3 | 4))
            .map(|rule| rule.id);
        let response_rules = Arc::new(response_rules.collect());
        let keep = |engine: Engine| match &collections {
            Some(collections) => engine.with_collections(collections.clone()),
            None => engine,
        };
        let engines = loaded.into_iter().map(keep).map(Arc::new).collect();
        Ok(Self { engines, response_rules, settings: Arc::new(settings) })
    }

    fn of_route(
        &self,
        place: usize,
        route: &edge_route::settings::Route,
        ban: Option<Arc<site::WafBan>>,
    ) -> Arc<RouteWaf> {
        let settings = &self.settings;
        let own = settings.routes.iter().position(|own| own.routes.iter().any(|&at| at as usize == place));
        let mode = own.and_then(|own| settings.routes[own].mode).unwrap_or(settings.settings.mode);
        Arc::new(RouteWaf {
            engine: self.engines[own.map_or(0, |own| own + 1)].clone(),
            route: route.name.clone(),
            blocks: mode != waf_engine::settings::Mode::Detect,
            response_rules: self.response_rules.clone(),
            websocket: settings.websocket,
            message_limit: usize::try_from(settings.settings.limits.request_body.0)
                .unwrap_or(usize::MAX >> 4),
            refuse_large: settings.refuse_large,
            capture: settings.capture,
            ban,
        })
    }

    /// The site's engine. What rules say outside of rules is the same on all routes.
    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.engines.first().map(Arc::as_ref)
    }
}

/// The site's engine, then those of routes, at the same time: a set of rules takes a
/// processor some hundred milliseconds.
fn load_all(settings: &site::Waf) -> Result<Vec<Engine>, Vec<String>> {
    let load = |settings: &waf_engine::Settings| {
        Engine::load(settings).map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let mut loaded = vec![load(&settings.settings)?];
    let together = std::thread::available_parallelism().map_or(1, |n| n.get());
    for some in settings.routes.chunks(together) {
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                some.iter().map(|own| scope.spawn(move || load(&settings.settings_of(own)))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for result in results {
            loaded.push(result.unwrap_or_else(|_| Err(vec!["loading the rules panicked".to_owned()]))?);
        }
    }
    Ok(loaded)
}

impl RouteState {
    fn new(
        route: &edge_route::settings::Route,
        waf: Option<Arc<RouteWaf>>,
        pools: &[Arc<PoolState>],
        metrics: &Metrics,
        current: Option<&Compiled>,
        errors: &mut Vec<String>,
    ) -> Self {
        let pool = match &route.action {
            Action::Pool { pool: name, .. } => {
                let found = pools.iter().find(|p| p.pool.settings().name == *name).cloned();
                if found.is_none() {
                    errors.push(format!("route `{}`: there is no pool `{name}`", route.name));
                }
                found
            }
            _ => None,
        };
        // A limit that did not change keeps its buckets: a reload is no pardon.
        let before = current.and_then(|c| {
            let at = c.table.routes().position(|r| r.name == route.name && r.limit == route.limit)?;
            c.routes[at].limiter.clone()
        });
        let limiter = route
            .limit
            .as_ref()
            .map(|l| before.unwrap_or_else(|| Arc::new(Limiter::new(l.rate.per_second, l.burst))));
        let limited = metrics.registry.counter(&base::names::EDGE_RATE_LIMITED).with(&[&route.name]);
        Self { pool, limiter, limit: route.limit.clone(), limited, waf }
    }

    /// Microseconds to wait, where the client has asked too often.
    pub(crate) fn limit(&self, client: std::net::IpAddr, now_us: u64) -> Result<(), u64> {
        let (Some(limiter), Some(limit)) = (&self.limiter, &self.limit) else { return Ok(()) };
        let key = match limit.per {
            edge_route::settings::LimitKey::Ip => edge_route::limiter::client_key(client),
            edge_route::settings::LimitKey::All => u128::MAX,
        };
        limiter.check(key, now_us)
    }
}
