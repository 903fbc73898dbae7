//! What the monitor receives: everything in the file is scraped, charted and
//! alerts without another line.

use super::edge::url;
use super::watching::log_format;
use super::{Lowering, in_run, in_state};
use base::{Address, Millis};
use config::{Code, PoolSource};
use monitor_alert::manager::Receiver;
use monitor_alert::ready_made::{self, DatabaseFacts, Facts};
use monitor_alert::settings::{Alert, Settings};
use role::Fault;
use site::line::{LineDatabase, LineMember, LinePool, LineServer};
use site::{Databases, Edge, Line, Log, Monitor, Target};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Between two evaluations of the rules: no series changes faster than it is scraped.
const RULE_INTERVAL: Millis = Millis(5_000);

impl Lowering<'_> {
    pub(super) fn monitor(
        &mut self,
        edge: Option<&Edge>,
        databases: Option<&Databases>,
    ) -> Result<Option<Monitor>, Fault> {
        let listen = self.config.monitor.listen.value;
        let listen = SocketAddr::new(listen.ip(), self.port(listen.port(), "monitor", "monitor")?);
        let targets = self.targets(edge);
        let logs = self.logs();
        let alert = self.alerts(databases);
        let mut watched = Monitor::default();
        self.watching(&mut watched);
        let (Some(edge), Some(databases), Some(targets), Some(alert)) = (edge, databases, targets, alert)
        else {
            return Ok(None);
        };
        if self.failed() {
            return Ok(None);
        }
        let monitor = &self.config.monitor;
        Ok(Some(Monitor {
            listen: vec![listen],
            targets,
            scrape_interval: monitor.scrape_interval.value,
            logs,
            alert,
            retention: monitor.retention.value,
            retention_bytes: monitor.retention_size.value,
            line: self.line(edge, databases, listen),
            ..watched
        }))
    }

    /// Every role, every web server that shows metrics, and what the file adds.
    fn targets(&mut self, edge: Option<&Edge>) -> Option<Vec<Target>> {
        let mut roles = vec!["edge", "monitor", "agent", "control"];
        if !self.config.databases.is_empty() {
            roles.push("database");
        }
        let agent = self.config.monitor.agent.job.as_ref().map_or("agent", |job| job.value.as_str());
        let own = |role: &str| Target {
            job: if role == "agent" { agent } else { role }.to_owned(),
            instance: role.to_owned(),
            address: Address::Unix(in_run(self.facts.paths, &format!("{role}.sock"))),
            tls: false,
            path: "/metrics".to_owned(),
        };
        let scrape_own = self.config.monitor.scrape_own.value;
        let mut targets: Vec<Target> = roles.into_iter().filter(|_| scrape_own).map(own).collect();
        for pool in edge.iter().filter(|_| scrape_own).flat_map(|edge| &edge.pools) {
            let keys = self.config.pools.iter().find(|p| p.name.value.as_str() == pool.name);
            let Some(path) = keys.and_then(|p| p.metrics.as_ref()) else { continue };
            targets.extend(pool.servers.iter().map(|server| Target {
                job: pool.name.clone(),
                instance: server.name.clone(),
                address: server.address.clone(),
                tls: false,
                path: path.value.0.clone(),
            }));
        }
        for scrape in self.config.monitor.scrape.iter() {
            match target(scrape.job.value.as_str(), &scrape.url.value.0) {
                Ok(found) => targets.push(found),
                Err(why) => self.error(
                    Code::BadValue,
                    scrape.url.span,
                    why,
                    "write it as `http://10.0.0.5:9100/metrics`",
                ),
            }
        }
        (!self.failed()).then_some(targets)
    }

    /// Our own access log, then those of the file.
    fn logs(&self) -> Vec<Log> {
        let own = in_state(self.facts.paths, "log/access.jsonl");
        let own = Log { name: "edge".to_owned(), path: own, format: site::LogFormat::Bastide };
        let mut logs: Vec<Log> = (self.config.site.access_log.value && self.config.monitor.scrape_own.value)
            .then_some(own)
            .into_iter()
            .collect();
        for log in self.config.monitor.logs.iter() {
            let path = self.inputs.resolve(&log.path.value.0);
            let file_name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
            logs.push(Log {
                name: log.name.as_ref().map_or(file_name, |name| name.value.0.clone()),
                path,
                format: log_format(&log.value),
            });
        }
        logs
    }

    /// The ready-made rules, as the file changes them, and its own.
    fn alerts(&mut self, databases: Option<&Databases>) -> Option<Settings> {
        let channels: Vec<Receiver> = self.config.receivers.iter().filter_map(|r| self.receiver(r)).collect();
        let everyone: Vec<String> = self.config.receivers.iter().map(|r| r.name.value.0.clone()).collect();
        let with_replicas = databases.iter().flat_map(|d| &d.databases).filter(|d| d.members.len() > 1);
        let facts = Facts {
            databases: with_replicas
                .map(|d| DatabaseFacts { name: d.name.clone(), max_lag: d.route.max_lag })
                .collect(),
            interval: RULE_INTERVAL,
            to: everyone.clone(),
            ..Facts::default()
        };
        let mut settings = ready_made::ready_made(&facts);
        settings.channels = channels;
        for alert in &self.config.alerts {
            let name = alert.name.value.as_str();
            if !alert.enabled.value {
                settings.alerts.retain(|known| known.name != name);
                continue;
            }
            let change = |known: &mut Alert| {
                if let Some(hold) = &alert.hold {
                    known.hold = hold.value;
                }
                for (label, value) in alert.labels.iter() {
                    known.labels.retain(|(name, _)| *name != label.value.0);
                    known.labels.push((label.value.0.clone(), value.value.clone()));
                }
                known.labels.sort();
                for (key, text) in [("summary", &alert.summary), ("description", &alert.description)] {
                    if let Some(text) = text {
                        known.annotations.retain(|(name, _)| name != key);
                        known.annotations.push((key.to_owned(), text.value.clone()));
                    }
                }
                if let Some(to) = &alert.to {
                    known.to = to.iter().map(|name| name.value.0.clone()).collect();
                }
            };
            match &alert.expr {
                None => settings.alerts.iter_mut().filter(|known| known.name == name).for_each(change),
                Some(expr) => {
                    if let Err(why) = monitor_promql::Query::parse(&expr.value) {
                        let message = format!("the expression does not parse: {why}");
                        self.error(
                            Code::Expression,
                            expr.span,
                            message,
                            "`bastide query` tries an expression on the running site",
                        );
                    }
                    let mut made = Alert {
                        name: name.to_owned(),
                        expr: expr.value.clone(),
                        hold: Millis(0),
                        labels: Vec::new(),
                        annotations: Vec::new(),
                        to: everyone.clone(),
                    };
                    change(&mut made);
                    ready_made::overlay(&mut settings, Vec::new(), vec![made]);
                }
            }
        }
        (!self.failed()).then_some(settings)
    }

    fn line(&self, edge: &Edge, databases: &Databases, page: SocketAddr) -> Line {
        let port = edge.public_https_port.or_else(|| edge.https.first().map(SocketAddr::port)).unwrap_or(443);
        let host = edge.domains.first().map_or("localhost", String::as_str);
        let page_host = match page.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let run_here = |name: &str| {
            let pool = self.config.pools.iter().find(|p| p.name.value.as_str() == name);
            pool.is_some_and(|p| matches!(p.source, PoolSource::Run { .. }))
        };
        let pool = |pool: &balance::settings::Pool| LinePool {
            name: pool.name.clone(),
            run_here: run_here(&pool.name),
            servers: pool
                .servers
                .iter()
                .map(|s| LineServer { name: s.name.clone(), address: s.address.to_string() })
                .collect(),
        };
        let database = |database: &site::Database| LineDatabase {
            name: database.name.clone(),
            listen: database.listen.first().map(ToString::to_string).unwrap_or_default(),
            max_lag_seconds: database.route.max_lag.as_secs_f64(),
            members: database
                .members
                .iter()
                .map(|m| LineMember {
                    name: m.name.clone(),
                    address: m.address.to_string(),
                    role: m.role.as_str().to_owned(),
                })
                .collect(),
        };
        Line {
            site: self.config.name(),
            revision: String::new(),
            domains: edge.domains.clone(),
            site_url: url("https", host, port, 443),
            page_url: url("http", &page_host.to_string(), page.port(), 80),
            firewall: self.config.firewall.apply.value && self.inputs.root,
            waf: self.config.waf.as_ref().map(|waf| waf.mode.value.as_str().to_owned()),
            pools: edge.pools.iter().map(pool).collect(),
            databases: databases.databases.iter().map(database).collect(),
        }
    }
}

/// A scraped URL as a target; its authority is the instance.
fn target(job: &str, url: &str) -> Result<Target, String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("`{url}` is not a URL"))?;
    let tls = scheme == "https";
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/metrics"),
    };
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty());
    let instance =
        if has_port { authority.to_owned() } else { format!("{authority}:{}", if tls { 443 } else { 80 }) };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Target { job: job.to_owned(), address: Address::parse(&instance)?, instance, tls, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_targets() {
        let cases = [
            ("http://10.0.0.5:9100/metrics", "10.0.0.5:9100", "/metrics", false),
            ("https://node.example/m?x=1", "node.example:443", "/m?x=1", true),
            ("http://[::1]:9100", "[::1]:9100", "/metrics", false),
            ("http://node?x", "node:80", "/?x", false),
        ];
        for (text, instance, path, tls) in cases {
            let target = target("node", text).unwrap();
            assert_eq!(
                (target.instance.as_str(), target.path.as_str(), target.tls),
                (instance, path, tls),
                "{text}"
            );
        }
        assert!(target("node", "ftp//x").is_err());
    }
}
