//! A request, run through the engine of the site's file as the edge would run it:
//! the same routes, rules, exclusions and limits, and nothing sent anywhere.

use super::request::{NOBODY, Request};
use super::seen::Seen;
use config::Diagnostic;
use control::book::Book;
use control::compile::{self, Facts, Refusal};
use edge_http::path::{escape, normal};
use edge_http::{RequestHead, check};
use edge_route::table::{Found, Table};
use role::Fault;
use site::{Edge, Waf};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waf_engine::settings::{Exclusion, Mode, Settings};
use waf_engine::{Connection, Engine, Report, Verdict, Workspace};

/// What a site's file makes of requests.
pub(crate) struct Site {
    pub(crate) file: PathBuf,
    pub(crate) edge: Edge,
    table: Table,
    /// Those of the site, then those of routes that say something of their own.
    engines: Vec<Arc<Engine>>,
    settings: Vec<Settings>,
}

/// What became of one request.
pub(crate) struct Trial {
    /// The route's name, where one took it.
    pub(crate) route: Option<String>,
    pub(crate) outcome: Outcome,
    /// Of the route, as the file says.
    pub(crate) mode: Mode,
    pub(crate) threshold: Option<i64>,
    pub(crate) report: Report,
}

/// The end of a request's way through the edge.
pub(crate) enum Outcome {
    /// Refused before any rule ran, with a status.
    BeforeRules(u16, String),
    /// The route's requests are not inspected.
    NotInspected,
    /// What the rules decide in block mode.
    Decided(Verdict),
}

/// Everything wrong with a file, or why it cannot be read.
pub(crate) enum NoSite {
    Fault(Fault),
    Wrong(Refusal),
}

impl From<Fault> for NoSite {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Site {
    /// Of a file; `extra` exclusions are tried beside its own.
    pub(crate) fn read(file: &Path, extra: &[Exclusion]) -> Result<Self, NoSite> {
        let (edge, _) = lowered(file)?;
        let Some(waf) = &edge.waf else {
            return Err(no_waf(file).into());
        };
        let mut settings = vec![waf.settings.clone()];
        settings.extend(waf.routes.iter().map(|own| waf.settings_of(own)));
        let mut engines = Vec::new();
        for one in &mut settings {
            one.exclude.extend_from_slice(extra);
            // The verdict is asked for, whether or not the site acts on it.
            let asked = Settings {
                mode: if one.mode == Mode::Detect { Mode::Block } else { one.mode },
                ..one.clone()
            };
            let engine = Engine::load(&asked).map_err(|errors| {
                Fault::new(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
            })?;
            engines.push(Arc::new(engine));
        }
        let table = Table::compile(&edge.routes).map_err(|errors| Fault::new(errors.join("\n")))?;
        Ok(Self { file: file.to_owned(), edge, table, engines, settings })
    }

    pub(crate) fn waf(&self) -> Option<&Waf> {
        self.edge.waf.as_ref()
    }

    /// The host of a request that names none.
    pub(crate) fn host(&self) -> &str {
        self.edge.domains.first().map_or("localhost", |name| name.trim_start_matches("*."))
    }

    /// Which engine inspects the route at this place.
    fn engine(&self, route: usize) -> usize {
        let own = |waf: &Waf| waf.routes.iter().position(|own| own.routes.contains(&(route as u32)));
        self.waf().and_then(own).map_or(0, |at| at + 1)
    }

    /// The request's way, as `life_of_a_request` tells it, up to the web server.
    pub(crate) fn try_out(&self, request: &Request) -> Trial {
        request.with_head(|head| self.run(head, request))
    }

    fn run(&self, head: &RequestHead<'_>, request: &Request) -> Trial {
        let before = |route: Option<&str>, outcome| Trial {
            route: route.map(str::to_owned),
            outcome,
            mode: self.settings[0].mode,
            threshold: None,
            report: Report::default(),
        };
        if head.headers.len() > self.edge.limits.header_lines as usize {
            return before(
                None,
                Outcome::BeforeRules(431, "it has more header lines than `limits.header_lines`".into()),
            );
        }
        if let Err(refusal) = check::check_head(head) {
            return before(None, Outcome::BeforeRules(refusal.status(), refusal.explanation().to_owned()));
        }
        if !head.authority.is_empty() && !self.knows_host(head.host()) {
            let host = escape(head.host(), 260);
            let why = format!("`{host}` is none of the site's hosts: {}", self.edge.domains.join(", "));
            return before(None, Outcome::BeforeRules(421, why));
        }
        let index = match self.table.find(head.host(), &normal(head.path()), head.method) {
            Found::Route(index) => index,
            Found::Nothing => {
                return before(None, Outcome::BeforeRules(404, "no route is for its path".into()));
            }
            Found::OtherMethods => {
                return before(
                    None,
                    Outcome::BeforeRules(405, "its path's routes take other methods".into()),
                );
            }
        };
        let route = self.table.route(index);
        if !route.waf {
            return before(Some(&route.name), Outcome::NotInspected);
        }
        let at = self.engine(index);
        let (verdict, report) = inspect(&self.engines[at], head, request);
        Trial {
            route: Some(route.name.clone()),
            outcome: Outcome::Decided(verdict),
            mode: self.settings[at].mode,
            threshold: threshold(&self.settings[at]),
            report,
        }
    }

    /// As the edge decides it: its own names, a route's, and this machine's.
    fn knows_host(&self, host: &[u8]) -> bool {
        let host = host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase();
        let fits = |name: &String| match name.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
            None => host == name.as_bytes() || host == format!("[{name}]").into_bytes(),
        };
        let here: [&[u8]; 3] = [b"localhost", b"127.0.0.1", b"[::1]"];
        self.edge.domains.is_empty()
            || self.edge.domains.iter().any(fits)
            || here.contains(&host.as_slice())
            || self.table.names_host(&host)
    }
}

fn inspect(engine: &Arc<Engine>, head: &RequestHead<'_>, request: &Request) -> (Verdict, Report) {
    let now_us = sys::clock::now_ms() * 1_000;
    let connection = Connection {
        client: request.client.unwrap_or(NOBODY),
        client_port: 0,
        server: IpAddr::V4(Ipv4Addr::LOCALHOST),
        server_port: 443,
        now_us,
        unique_id: "offline",
        // No time passes: what a rule finds does not depend on this machine's load.
        clock: || 0,
    };
    let mut transaction = engine.begin(Workspace::default(), connection);
    let mut verdict = transaction.request_head(head);
    if verdict == Verdict::Pass {
        let wanted = transaction.wants_request_body();
        let limit = transaction.request_body_limit();
        let shown = if wanted { &request.body[..request.body.len().min(limit)] } else { &[] };
        verdict = transaction.request_body(shown, !wanted || request.body.len() <= limit);
    }
    (verdict, transaction.finish(now_us).0)
}

/// From which score on a request is refused, where the Core Rule Set decides it.
fn threshold(settings: &Settings) -> Option<i64> {
    let named =
        settings.tx.iter().find(|(name, _)| name.eq_ignore_ascii_case("inbound_anomaly_score_threshold"));
    let crs = settings.files.iter().any(|file| file.text.contains("949110"));
    // 5 is what the Core Rule Set itself sets (rule 901100).
    named.and_then(|(_, value)| value.parse().ok()).or(crs.then_some(5))
}

impl Trial {
    /// Whether the rules refuse the request in block mode.
    pub(crate) fn refuses(&self) -> bool {
        matches!(&self.outcome, Outcome::Decided(verdict) if *verdict != Verdict::Pass)
    }

    /// As an event would tell it.
    pub(crate) fn seen(&self, request: &Request) -> Seen {
        let path = request.with_head(|head| escape(head.path(), 1_024));
        Seen {
            client: request.client.map(|client| client.to_string()),
            method: String::from_utf8_lossy(&request.method).into_owned(),
            host: String::from_utf8_lossy(&request.authority).into_owned(),
            path,
            refused: self.refuses(),
            score: Some(self.report.score.inbound).filter(|score| *score != 0),
            threshold: self.threshold,
            matches: self.report.matches.clone(),
            ..Seen::default()
        }
    }
}

/// What the edge would receive of a file, and what is odd about it.
pub(crate) fn lowered(file: &Path) -> Result<(Edge, Vec<Diagnostic>), NoSite> {
    let checked = compile::check(file).map_err(|refusal| match refusal.fault {
        Some(fault) => NoSite::Fault(fault),
        None => NoSite::Wrong(refusal),
    })?;
    let program = std::env::current_exe().unwrap_or_default();
    let facts =
        Facts { paths: None, program: &program, running: &HashSet::new(), now_ms: sys::clock::now_ms() };
    let compiled = compile::compile(&checked.inputs, &mut Book::blank(), &facts).map_err(NoSite::Wrong)?;
    Ok((compiled.site.edge, checked.warnings))
}

pub(crate) fn no_waf(file: &Path) -> Fault {
    Fault::new(format!("`{}` has no `[waf]`", file.display()))
        .hint("`bastide explain waf` says what it is; `examples/shop/bastide.toml` has one to begin with")
}
