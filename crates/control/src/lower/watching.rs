//! What `[monitor]` and `[probe.NAME]` say beside targets and alerts: Prometheus'
//! and Alertmanager's files, where samples are sent on to, probes, limits.

use super::Lowering;
use base::Secret;
use config::keys::alert::UrlOrSecret;
use config::keys::monitor::{PingMethod, StartTls};
use config::{Code, FilePath, LogFormat, Named, PoolSource, Span, Spanned};
use site::monitor::{
    AgentHost, DeadMan, LogArchive, Login, NamedText, Otlp, Probe, ProbeKind, ProbeStep, Queries,
    RemoteWrite, ScrapeLimits, Store,
};
use std::path::Path;

/// What is tried by default may take this long.
const PROBE_TIMEOUT: base::Millis = config::defaults::PROBE_TIMEOUT;

impl Lowering<'_> {
    /// All that is not a target, a log or an alert.
    pub(super) fn watching(&mut self, into: &mut site::Monitor) {
        let keys = self.config.monitor.value.clone();
        into.store = Store {
            retention_5m: keys.retention_5m.value,
            retention_1h: keys.retention_1h.value,
            sync: keys.sync.value,
            out_of_order: keys.out_of_order.value,
            max_series: keys.max_series.value as usize,
        };
        into.limits = ScrapeLimits {
            body: keys.limits.body.value,
            samples: keys.limits.samples.value as usize,
            series: keys.limits.series.value as usize,
            labels: keys.limits.labels.value as usize,
            label_value: keys.limits.label_value.value as usize,
        };
        into.queries = Queries {
            at_once: keys.queries.at_once.value as usize,
            timeout: keys.queries.timeout.value,
            samples: u64::from(keys.queries.samples.value),
            lookback: keys.queries.lookback.value,
            slow: keys.queries.slow.value,
        };
        into.otlp = self.otlp(&keys.otlp);
        into.receive = keys.receive.value;
        into.admin_api = keys.admin_api.value;
        into.external_labels = keys
            .external_labels
            .iter()
            .map(|(name, value)| (name.value.0.clone(), value.value.clone()))
            .collect();
        into.external_labels.sort();
        into.external_url = keys.external_url.as_ref().map(|url| url.value.0.clone());
        into.scrape_files = self.texts(&keys.scrape_files, "the file of scrape configurations");
        into.rule_files = self.texts(&keys.rules, "the rule file");
        into.alertmanager = keys.alertmanager.as_ref().and_then(|path| {
            let full = self.inputs.resolve(&path.value.0);
            self.named_text(&full, path.span, "Alertmanager's file")
        });
        self.check_files(into);
        into.remote_write = keys.remote_write.iter().filter_map(|far| self.far_end(far)).collect();
        into.log_archive = LogArchive { retention: keys.log_retention.value, bytes: keys.log_size.value };
        into.dead_man = keys.dead_man.as_ref().and_then(|dead_man| {
            let url = self.url_or_secret(&dead_man.url)?;
            let post = dead_man.method.value == PingMethod::Post;
            Some(DeadMan { url, post, every: dead_man.every.value })
        });
        into.capacities = self
            .config
            .pools
            .iter()
            .map(|pool| site::Capacity {
                pool: pool.name.value.0.clone(),
                servers: match &pool.source {
                    PoolSource::Run { instances, .. } => u32::from(*instances),
                    PoolSource::Servers(servers) => u32::try_from(servers.len()).unwrap_or(u32::MAX),
                },
                per_second: pool.capacity.as_ref().map(|rate| rate.value.per_second),
            })
            .collect();
        into.probes = self.config.probes.iter().filter_map(|probe| self.probe(probe)).collect();
    }

    /// What the agent reads besides its host: each member of each database, with the
    /// router's own login, which may see statistics and nothing else.
    pub(super) fn agent(&mut self, databases: &site::Databases) -> site::Agent {
        let host = self.agent_host();
        let members = databases.databases.iter().flat_map(|database| {
            database.members.iter().map(|member| site::AgentPostgres {
                name: member.name.clone(),
                address: member.address.clone(),
                user: database.monitor.name.clone(),
                password: database.monitor.password.clone(),
                database: database.monitor.database.clone(),
            })
        });
        site::Agent {
            control: None,
            textfiles: self.config.monitor.textfiles.as_ref().map(|path| self.inputs.resolve(&path.value.0)),
            host,
            postgres: members.collect(),
        }
    }

    fn agent_host(&mut self) -> AgentHost {
        let keys = self.config.monitor.agent.clone();
        for name in keys.without.iter() {
            let known = || monitor_agent::COLLECTORS.iter().chain(monitor_agent::SLOW_COLLECTORS).copied();
            if known().all(|known| known != name.value) {
                let hint = format!("known are {}", known().collect::<Vec<_>>().join(", "));
                let message = format!("there is no collector `{}`", name.value);
                self.error(Code::UnknownName, name.span, message, &hint);
            }
        }
        let mut pattern = |given: &Option<Spanned<String>>| {
            let given = given.as_ref()?;
            if let Err(why) = monitor_model::compile_anchored(&given.value) {
                let hint = "it is written as in Go's `regexp` (RE2), as node_exporter's are";
                self.error(Code::Expression, given.span, format!("{why}"), hint);
            }
            Some(given.value.clone())
        };
        AgentHost {
            except_mounts: pattern(&keys.except_mounts),
            except_filesystems: pattern(&keys.except_filesystems),
            except_disks: pattern(&keys.except_disks),
            except_devices: pattern(&keys.except_devices),
            only_units: pattern(&keys.only_units),
            except_units: pattern(&keys.except_units),
            without: keys.without.iter().map(|name| name.value.clone()).collect(),
            slow_interval: keys.slow_interval.value,
            postgres_interval: keys.postgres_interval.value,
        }
    }

    fn otlp(&mut self, keys: &config::keys::monitor::Otlp) -> Otlp {
        let names = |list: &[Spanned<String>]| list.iter().map(|name| name.value.clone()).collect();
        let all = keys.promote_all_resource_attributes.value;
        if all && !keys.promote_resource_attributes.is_empty() {
            let message = "`promote_resource_attributes` stands beside `promote_all_resource_attributes`";
            let hint = "all are promoted already: leave it out";
            self.error(Code::Conflict, keys.promote_resource_attributes.span, message, hint);
        }
        if !all && !keys.ignore_resource_attributes.is_empty() {
            let message = "`ignore_resource_attributes` stands without `promote_all_resource_attributes`";
            let hint = "name those that become labels in `promote_resource_attributes`, or promote all";
            self.error(Code::Conflict, keys.ignore_resource_attributes.span, message, hint);
        }
        Otlp {
            strategy: keys.translation_strategy.value.as_str().to_owned(),
            promote: names(&keys.promote_resource_attributes),
            promote_all_but: all.then(|| names(&keys.ignore_resource_attributes)),
            keep_identifying: keys.keep_identifying_resource_attributes.value,
            promote_scope: keys.promote_scope_metadata.value,
            histograms_to_native: keys.convert_histograms_to_nhcb.value,
            store_deltas: keys.native_delta_ingestion.value,
        }
    }

    /// Prometheus' and Alertmanager's files must be readable as such; the monitor reads
    /// them again, with the files that they name in turn.
    fn check_files(&mut self, read: &site::Monitor) {
        let keys = self.config.monitor.value.clone();
        let first = |paths: &[Spanned<FilePath>]| paths.first().map_or(Span::default(), |path| path.span);
        let mut wrong: Vec<(Span, String)> = Vec::new();
        for file in &read.rule_files {
            let span = first(&keys.rules);
            match monitor_alert::rule_file::read(file.text.reveal(), &file.name) {
                Ok(rules) => wrong.extend(expressions(&rules.groups).map(|why| (span, why))),
                Err(mistakes) => wrong.extend(mistakes.iter().map(|m| (span, m.to_string()))),
            }
        }
        for file in &read.scrape_files {
            let (text, span) = (file.text.reveal(), first(&keys.scrape_files));
            if let Err(mistakes) = monitor_scrape::prometheus::read(text, &file.name, &file.folder, None) {
                wrong.extend(mistakes.iter().map(|m| (span, m.to_string())));
            }
        }
        if let (Some(file), Some(path)) = (&read.alertmanager, &keys.alertmanager) {
            let inputs = self.inputs;
            let texts = |pattern: &str| {
                let full = file.folder.join(pattern);
                let found = if pattern.contains('*') { inputs.glob(&full) } else { vec![full] };
                found.iter().map(|path| inputs.text_of(path)).collect::<Result<Vec<_>, _>>()
            };
            let read = monitor_alert::manager::file::read(file.text.reveal(), &file.name, &texts);
            if let Err(mistakes) = read {
                wrong.extend(mistakes.iter().map(|m| (path.span, m.to_string())));
            }
        }
        for (span, why) in wrong {
            let (message, hint) = why.split_once("; hint: ").unwrap_or((&why, "see that file at that line"));
            self.error(Code::File, span, message, hint);
        }
    }

    /// The texts of files and patterns.
    fn texts(&mut self, wanted: &[Spanned<FilePath>], what: &str) -> Vec<NamedText> {
        let mut texts: Vec<NamedText> = Vec::new();
        for path in wanted {
            let full = self.inputs.resolve(&path.value.0);
            let is_pattern = path.value.0.to_string_lossy().contains(['*', '?', '[']);
            let found = if is_pattern { self.inputs.glob(&full) } else { vec![full.clone()] };
            if found.is_empty() {
                let hint =
                    "paths are relative to the folder of this file; `*` stands for any part of a file's name";
                self.error(Code::File, path.span, format!("no file is `{}`", full.display()), hint);
            }
            for file in found {
                let Some(text) = self.named_text(&file, path.span, what) else { continue };
                if texts.iter().any(|known| known.name == text.name) {
                    let message = format!("{what} `{}` is read twice", text.name);
                    self.error(Code::Duplicate, path.span, message, "name it once");
                    continue;
                }
                texts.push(text);
            }
        }
        texts
    }

    fn named_text(&mut self, file: &Path, span: Span, what: &str) -> Option<NamedText> {
        match self.inputs.text_of(file) {
            Ok(text) => {
                let name = file.strip_prefix(self.inputs.folder()).unwrap_or(file).display().to_string();
                let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
                Some(NamedText { name, folder, text: Secret::new(text) })
            }
            Err(why) => {
                let message = format!("{what} `{}` cannot be read: {why}", file.display());
                self.error(Code::File, span, message, "paths are relative to the folder of this file");
                None
            }
        }
    }

    fn far_end(&mut self, far: &Spanned<config::RemoteWrite>) -> Option<RemoteWrite> {
        let login = match (&far.user, &far.password, &far.token) {
            (Some(user), Some(password), _) => Some(Login::Basic {
                user: user.value.clone(),
                password: self.secret(&password.value, password.span)?,
            }),
            (_, _, Some(token)) => Some(Login::Bearer(self.secret(&token.value, token.span)?)),
            _ => None,
        };
        let ca = match &far.ca {
            Some(path) => Some(self.text_of(path, "the certificate authority")?),
            None => None,
        };
        for selector in far.only.iter().chain(far.except.iter()) {
            if let Err(why) = monitor_promql::parse_selector(&selector.value) {
                let message = format!("the selector does not parse: {why}");
                self.error(Code::Expression, selector.span, message, "write it as `{__name__=~\"site:.*\"}`");
            }
        }
        let url = far.url.value.0.clone();
        let host = url.split("://").nth(1).and_then(|rest| rest.split(['/', ':', '?']).next());
        Some(RemoteWrite {
            name: far
                .name
                .as_ref()
                .map_or_else(|| host.unwrap_or("remote").to_owned(), |n| n.value.0.clone()),
            url,
            version_2: far.version.value == 2,
            login,
            ca,
            queue: far.queue.value,
            shards: far.shards.value as usize,
            only: far.only.iter().map(|selector| selector.value.clone()).collect(),
            except: far.except.iter().map(|selector| selector.value.clone()).collect(),
            without: far.without.iter().map(|label| label.value.0.clone()).collect(),
        })
    }

    fn probe(&mut self, probe: &Named<config::Probe>) -> Option<Probe> {
        let ca = match &probe.ca {
            Some(path) => Some(self.text_of(path, "the certificate authority")?),
            None => None,
        };
        let kind = if let Some(url) = &probe.http {
            ProbeKind::Http {
                url: url.value.0.clone(),
                status: probe.status.iter().map(|status| status.value as u16).collect(),
                body: probe.body.as_ref().map(|body| body.value.clone()),
                not_body: probe.not_body.as_ref().map(|body| body.value.clone()),
                no_redirects: !probe.redirects.value,
                insecure: probe.insecure.value,
                ca,
            }
        } else if let Some(address) = probe.tcp.as_ref().or(probe.tls.as_ref()) {
            let tls = probe.tls.is_some() && probe.starttls.is_none();
            ProbeKind::Tcp {
                address: address.value.to_string(),
                tls,
                insecure: probe.insecure.value,
                ca,
                talk: talk(&probe.value),
            }
        } else if let (Some(name), Some(server)) = (&probe.dns, &probe.server) {
            ProbeKind::Dns {
                server: server.value.to_string(),
                name: name.value.clone(),
                record: probe.record.value.as_str().to_owned(),
                expect: probe.expect.as_ref().map(|expect| expect.value.clone()),
            }
        } else if let Some(host) = &probe.icmp {
            ProbeKind::Icmp { host: host.value.clone() }
        } else {
            let address = probe.postgres.as_ref()?;
            let login = match (&probe.user, &probe.password) {
                (Some(user), Some(password)) => {
                    Some((user.value.clone(), self.secret(&password.value, password.span)?))
                }
                _ => None,
            };
            ProbeKind::Postgres {
                address: address.value.to_string(),
                login,
                database: probe.database.value.clone(),
            }
        };
        for text in [&probe.body, &probe.not_body, &probe.expect].into_iter().flatten() {
            let Err(why) = monitor_model::compile_anchored(&text.value) else { continue };
            let message = format!("{why}");
            self.error(Code::Expression, text.span, message, "it is written as in Go's `regexp` (RE2)");
        }
        let every = probe.every.value;
        Some(Probe {
            name: probe.name.value.0.clone(),
            kind,
            every,
            timeout: probe.timeout.as_ref().map_or(PROBE_TIMEOUT.min(every), |timeout| timeout.value),
            public: probe.public.value,
        })
    }

    /// A URL that is written in the file or comes from elsewhere.
    pub(super) fn url_or_secret(&mut self, source: &Spanned<UrlOrSecret>) -> Option<Secret> {
        match &source.value {
            UrlOrSecret::Url(url) => Some(Secret::new(url.0.clone())),
            UrlOrSecret::Secret(secret) => {
                let secret = self.secret(secret, source.span)?;
                let known = ["http://", "https://"].iter().any(|scheme| secret.reveal().starts_with(scheme));
                if !known {
                    let hint = "it begins with `http://` or `https://`";
                    self.error(Code::BadValue, source.span, "the secret is not a URL", hint);
                    return None;
                }
                Some(secret)
            }
        }
    }
}

/// What is wrong with the expressions of rule files.
fn expressions(groups: &[monitor_alert::settings::Group]) -> impl Iterator<Item = String> {
    groups.iter().flat_map(|group| {
        group.rules.iter().filter_map(|rule| {
            let why = monitor_promql::Query::parse(&rule.expr).err()?;
            Some(format!("{}:{}: `{}` is not an expression: {why}", group.file, rule.place, rule.expr))
        })
    })
}

/// What a probe says and expects over its connection (RFC 3207, RFC 9051 §6.2.1, RFC 2595 §4).
fn talk(probe: &config::Probe) -> Vec<ProbeStep> {
    let send = |text: &str| ProbeStep::Send(text.to_owned());
    let expect = |text: &str| ProbeStep::Expect(text.to_owned());
    let mut talk = match probe.starttls.as_ref().map(|how| how.value) {
        None => Vec::new(),
        Some(StartTls::Smtp) => {
            vec![expect("^220 "), send("EHLO probe"), expect("^250 "), send("STARTTLS"), expect("^220")]
        }
        Some(StartTls::Imap) => vec![expect(r"^\* OK"), send(". STARTTLS"), expect(r"^\. OK")],
        Some(StartTls::Pop3) => vec![expect(r"^\+OK"), send("STLS"), expect(r"^\+OK")],
    };
    if probe.starttls.is_some() {
        talk.push(ProbeStep::StartTls);
    }
    talk.extend(probe.send.iter().map(|line| send(&line.value)));
    talk.extend(probe.expect.iter().map(|line| expect(&line.value)));
    talk
}

/// How an access log's lines are written.
pub(super) fn log_format(log: &config::keys::monitor::Log) -> site::LogFormat {
    match (&log.pattern, log.format.value) {
        (Some(pattern), _) => site::LogFormat::Pattern(pattern.value.clone()),
        (None, LogFormat::Combined) => site::LogFormat::Combined,
        (None, LogFormat::Bastide) => site::LogFormat::Bastide,
        (None, LogFormat::Caddy) => site::LogFormat::Caddy,
        (None, LogFormat::Traefik) => site::LogFormat::Traefik,
        (None, LogFormat::Json) => {
            let fields = log.fields.iter();
            site::LogFormat::Json(
                fields.map(|(name, field)| (name.value.0.clone(), field.value.clone())).collect(),
            )
        }
    }
}
