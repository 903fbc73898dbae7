//! What the edge receives.

use super::{Lowering, has_ipv6, in_state};
use crate::authority;
use base::{Address, Bytes};
use config::keys::site::PlainHttp;
use config::{Action, Balance, Code, LimitPer, ListenAddress, PoolSource, Tls, defaults};
use edge_route::settings as route;
use role::Fault;
use site::{AccessLog, Certificate, Edge};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The access log is renamed when it grows beyond this: at 400 bytes a line, 160,000 requests.
const ACCESS_LOG_SIZE: Bytes = Bytes(64 << 20);
/// Renamed access logs that are kept.
const ACCESS_LOG_KEEP: u32 = 5;

impl Lowering<'_> {
    pub(super) fn edge(&mut self) -> Result<Option<Edge>, Fault> {
        let site = &self.config.site;
        let ports = if self.inputs.root { defaults::PORTS_AS_ROOT } else { defaults::PORTS_OTHERWISE };
        let https = self.listen(site.listen.https.as_deref().map(|l| &**l), ports.0, "https")?;
        let http = self.listen(site.listen.http.as_deref().map(|l| &**l), ports.1, "http")?;
        let domains = self.domains();
        let certificates = self.certificates(&domains)?;
        let pools = self.pools()?;
        let routes = self.routes();
        let waf = self.waf();
        let site = &self.config.site;
        let workers = match site.workers.value {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(256) as u16),
            n => n,
        };
        let (Some(certificates), Some(routes), Some(waf)) = (certificates, routes, waf) else {
            return Ok(None);
        };
        Ok(Some(Edge {
            domains,
            https,
            http,
            serve_plain_http: site.plain_http.value == PlainHttp::Serve,
            workers,
            trusted_proxies: site.trusted_proxies.iter().map(|net| net.value).collect(),
            certificates,
            pools,
            routes: route::Settings { routes },
            waf,
            limits: self.limits(),
            timeouts: self.timeouts(),
            access_log: site.access_log.value.then(|| AccessLog {
                path: in_state(self.facts.paths, "log/access.jsonl"),
                rotate_at: ACCESS_LOG_SIZE,
                keep: ACCESS_LOG_KEEP,
            }),
            public_https_port: site.public_https_port.as_ref().map(|port| port.value),
        }))
    }

    /// Addresses to listen on; a port alone is on all addresses, IPv4 and IPv6.
    fn listen(
        &mut self,
        wanted: Option<&[config::Spanned<ListenAddress>]>,
        default: u16,
        owner: &str,
    ) -> Result<Vec<SocketAddr>, Fault> {
        let chosen: Vec<ListenAddress> = match wanted {
            Some(list) => list.iter().map(|address| address.value).collect(),
            None => vec![ListenAddress::Port(default)],
        };
        let mut all = Vec::new();
        for address in chosen {
            match address {
                ListenAddress::Port(port) => {
                    let port = self.port(port, owner, "edge")?;
                    all.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
                    if has_ipv6() {
                        all.push(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
                    }
                }
                ListenAddress::At(at) => {
                    let port = self.port(at.port(), owner, "edge")?;
                    all.push(SocketAddr::new(at.ip(), port));
                }
            }
        }
        Ok(all)
    }

    /// The site's names; `localhost` is reached by its addresses too.
    fn domains(&self) -> Vec<String> {
        let mut names: Vec<String> = self.config.site.domains.iter().map(|d| d.value.0.clone()).collect();
        if names.iter().any(|name| name == "localhost") {
            for address in ["127.0.0.1", "::1"] {
                if !names.iter().any(|name| name == address) {
                    names.push(address.to_owned());
                }
            }
        }
        names
    }

    fn certificates(&mut self, domains: &[String]) -> Result<Option<Vec<Certificate>>, Fault> {
        let (cert, key) = match &self.config.site.tls.value {
            Tls::Internal => {
                return self.internal_certificate("site", domains).map(|c| Some(c.into_iter().collect()));
            }
            Tls::Files { cert, key } => (cert, key),
        };
        let chain = self.text_of(cert, "the certificate");
        let key_pem = self.text_of(key, "the private key");
        let (Some(chain_pem), Some(key_pem)) = (chain, key_pem) else { return Ok(None) };
        let certificate =
            Certificate { names: domains.to_vec(), chain_pem, key_pem: base::Secret::new(key_pem) };
        match edge_cert::load(&certificate.chain_pem, &certificate.key_pem) {
            Ok(loaded) => {
                let now_s = self.facts.now_ms / 1_000;
                if loaded.info.not_after_s <= now_s {
                    let hint = "renew it and `bastide reload`";
                    self.warning(
                        Code::File,
                        cert.span,
                        "the certificate has ended: browsers refuse it",
                        hint,
                    );
                }
                Ok(Some(vec![certificate]))
            }
            Err(error) => {
                self.error(
                    Code::File,
                    cert.span,
                    format!("certificate and key do not work: {error}"),
                    "give the leaf first, then its intermediates, PEM",
                );
                Ok(None)
            }
        }
    }

    /// Of the site's own authority, which is made at the first `up`; none while a file is only checked.
    pub(super) fn internal_certificate(
        &self,
        what: &str,
        names: &[String],
    ) -> Result<Option<Certificate>, Fault> {
        let Some(paths) = self.facts.paths else { return Ok(None) };
        authority::certificate(&paths.state_dir, &self.config.name(), what, names, self.facts.now_ms)
            .map(Some)
    }

    fn pools(&mut self) -> Result<Vec<balance::settings::Pool>, Fault> {
        let mut pools = Vec::new();
        for pool in &self.config.pools {
            let name = pool.name.value.as_str();
            let mut servers = Vec::new();
            match &pool.source {
                PoolSource::Run { instances, .. } => {
                    for number in 1..=*instances {
                        let owner = format!("{name}/{number}");
                        let port = self.book.port(&owner, self.facts.running.contains(&owner))?;
                        let address = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                        servers.push(balance::settings::Server {
                            name: owner,
                            address,
                            weight: defaults::WEIGHT,
                        });
                    }
                }
                PoolSource::Servers(list) => {
                    for (index, server) in list.iter().enumerate() {
                        let name = format!("{name}/{}", index + 1);
                        servers.push(balance::settings::Server {
                            name,
                            address: server.address.value.clone(),
                            weight: server.weight,
                        });
                    }
                }
            }
            pools.push(balance::settings::Pool {
                name: name.to_owned(),
                servers,
                policy: match pool.balance.value {
                    Balance::LeastRequests => balance::settings::Policy::LeastRequests,
                    Balance::RoundRobin => balance::settings::Policy::RoundRobin,
                },
                health: pool.health.as_ref().map(|health| balance::settings::HealthCheck {
                    method: health.check.method.clone(),
                    path: health.check.path.clone(),
                    interval: health.interval.value,
                    timeout: health.timeout.value,
                    rise: health.rise.value,
                    fall: health.fall.value,
                }),
                idle_connections: pool.idle_connections.value,
                max_in_flight: pool.max_in_flight.value,
            });
        }
        Ok(pools)
    }

    fn routes(&mut self) -> Option<Vec<route::Route>> {
        let mut routes = Vec::new();
        let mut complete = true;
        for route in &self.config.routes {
            let host = route.host.as_ref().map(|host| host.value.0.clone());
            let path = route.path.value.0.clone();
            let action = match &route.action {
                Action::Pool(pool) => {
                    route::Action::Pool { pool: pool.value.0.clone(), strip_prefix: route.strip_prefix.value }
                }
                Action::Files(folder) => match self.folder(folder, "the folder of files") {
                    Some(folder) => route::Action::Files {
                        folder,
                        index: route.index.value.file().map(str::to_owned),
                        cache_control: route.cache_control.as_ref().map(|v| v.value.0.clone()),
                    },
                    None => {
                        complete = false;
                        continue;
                    }
                },
                Action::Redirect(to) => {
                    route::Action::Redirect { to: to.value.0.clone(), status: route.status.value.0 }
                }
            };
            routes.push(route::Route {
                name: format!("{}{path}", host.as_deref().unwrap_or_default()),
                host,
                path,
                methods: route.methods.iter().map(|m| m.value.0.clone()).collect(),
                action,
                limit: route.limit.as_ref().map(|limit| route::Limit {
                    rate: limit.rate.value,
                    burst: limit.burst(),
                    per: match limit.per.value {
                        LimitPer::Ip => route::LimitKey::Ip,
                        LimitPer::All => route::LimitKey::All,
                    },
                }),
                waf: route.waf.value != config::RouteWaf::Off,
            });
        }
        complete.then_some(routes)
    }

    fn limits(&self) -> edge_http::Limits {
        let limits = &self.config.site.limits;
        edge_http::Limits {
            head: limits.head.value,
            header_lines: limits.header_lines.value,
            body: limits.body.value,
            connections: limits.connections.value,
            connections_per_ip: limits.connections_per_ip.value,
            streams: limits.streams.value,
        }
    }

    fn timeouts(&self) -> edge_http::Timeouts {
        let timeouts = &self.config.site.timeouts;
        edge_http::Timeouts {
            handshake: timeouts.handshake.value,
            head: timeouts.head.value,
            body: timeouts.body.value,
            keep_alive: timeouts.keep_alive.value,
            connect: timeouts.connect.value,
            response: timeouts.response.value,
            idle: timeouts.idle.value,
            drain: self.config.site.drain.value,
        }
    }
}

/// The URL under which people reach an address that listens.
pub(super) fn url(scheme: &str, host: &str, port: u16, default_port: u16) -> String {
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        _ => host.trim_start_matches("*.").to_owned(),
    };
    if port == default_port { format!("{scheme}://{host}/") } else { format!("{scheme}://{host}:{port}/") }
}
