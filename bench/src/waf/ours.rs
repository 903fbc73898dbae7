//! Our engine, called as the edge calls it.

use super::request::Request;
use super::rules::Rules;
use crate::differential::Judgement;
use crate::machine::{self, thread_cpu};
use edge_http::{RequestHead, Version};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use waf_engine::settings::{Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Connection, Engine, Report, Verdict, Workspace};

/// An engine with its rules, and the one workspace of this worker.
pub(crate) struct Ours {
    engine: Arc<Engine>,
    workspace: Option<Workspace>,
    /// CPU time that loading took.
    pub(crate) load: Duration,
}

/// A request as the engine takes it, made before anything is measured.
pub(crate) struct Prepared<'a> {
    request: &'a Request,
    headers: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Prepared<'a> {
    /// Of `request`.
    pub(crate) fn new(request: &'a Request) -> Self {
        let headers = request.headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        Self { request, headers }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.request.method,
            target: &self.request.target,
            authority: self.request.header("host").unwrap_or_default(),
            version: if self.request.version == "1.0" { Version::Http10 } else { Version::Http11 },
            headers: &self.headers,
        }
    }
}

impl Ours {
    /// With the same rules as libmodsecurity gets, and the limits that stand by default.
    pub(crate) fn load(rules: &Rules, paranoia: u8) -> Result<Self, String> {
        Self::load_with(rules, paranoia, Limits::default(), RawBody::default())
    }

    /// The same with other limits, and another idea of what `REQUEST_BODY` is.
    pub(crate) fn load_with(
        rules: &Rules,
        paranoia: u8,
        limits: Limits,
        raw_body: RawBody,
    ) -> Result<Self, String> {
        let mut files = vec![file("base.conf", Rules::base(paranoia).as_bytes())];
        files.extend(rules.files.iter().map(|(name, text)| file(name, text)));
        files.push(file("after.conf", rules.after.as_bytes()));
        Self::of(files, rules.data.iter().map(|(name, text)| file(name, text)).collect(), limits, raw_body)
    }

    /// With rules of its own.
    pub(crate) fn of(
        files: Vec<RuleFile>,
        data: Vec<RuleFile>,
        limits: Limits,
        raw_body: RawBody,
    ) -> Result<Self, String> {
        let settings = Settings {
            mode: Mode::Rules,
            files,
            data,
            tx: Vec::new(),
            exclude: Vec::new(),
            // As the rules say, in both engines.
            processors_by_content_type: false,
            raw_body,
            limits,
        };
        let before = thread_cpu();
        let engine = Engine::load(&settings).map_err(|errors| {
            let lines: Vec<String> = errors.iter().take(5).map(ToString::to_string).collect();
            format!("our engine does not load the rules: {}", lines.join("; "))
        })?;
        let load = thread_cpu() - before;
        Ok(Self { engine: Arc::new(engine), workspace: Some(Workspace::default()), load })
    }

    /// Phases 1, 2 and 5.
    pub(crate) fn run(&mut self, prepared: &Prepared<'_>) -> (Verdict, Report) {
        let connection = Connection {
            client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
            client_port: 40_000,
            server: IpAddr::V4(Ipv4Addr::LOCALHOST),
            server_port: 80,
            now_us: NOW_US,
            unique_id: "0123456789abcdef",
            clock: machine::monotonic_us,
        };
        let workspace = self.workspace.take().unwrap_or_default();
        let mut transaction = self.engine.begin(workspace, connection);
        let mut verdict = transaction.request_head(&prepared.head());
        if verdict == Verdict::Pass {
            verdict = transaction.request_body(&prepared.request.body, true);
        }
        let (report, workspace) = transaction.finish(NOW_US);
        self.workspace = Some(workspace);
        (verdict, report)
    }

    /// As the differential test compares it.
    pub(crate) fn judge(&mut self, request: &Request) -> Judgement {
        let (verdict, report) = self.run(&Prepared::new(request));
        let status = match &verdict {
            Verdict::Pass => 200,
            Verdict::Deny { status, .. } | Verdict::Redirect { status, .. } => u32::from(*status),
            Verdict::Drop { .. } => 444,
        };
        let matches = report.matches.iter().map(|m| {
            let line = format!(
                "{} [data \"{} = {} ({})\"] [msg \"{}\"]",
                m.rule, m.variable, m.matched, m.transformed, m.message
            );
            (m.rule, line)
        });
        Judgement { blocked: verdict != Verdict::Pass, status, matches: matches.collect() }
    }
}

/// Some time in 2026; nothing in the rules depends on it.
const NOW_US: u64 = 1_780_000_000_000_000;

/// A rule file; what is no UTF-8 is carried as Latin-1.
pub(crate) fn file(name: &str, bytes: &[u8]) -> RuleFile {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    };
    RuleFile { name: name.to_owned(), text }
}
