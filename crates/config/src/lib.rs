//! The one file: its text, and what it says.
//!
//! [`parse`] turns the file's text (TOML 1.1) into a [`Config`] in which every
//! value keeps its place, or into all that is wrong with it at once. Each key is
//! declared once, under [`keys`], as a small document: type, default, range,
//! meaning, reason, example. The reader, its messages, the JSON schema
//! ([`schema`]) and the reference ([`reference()`]) all come from that declaration.
//!
//! It does no I/O: the caller reads the file. It never looks at what the file
//! points to: paths, globs, secrets, PromQL and rules are checked by `control`,
//! which makes its findings look the same by [`Config::error`]. It never guesses:
//! a key it does not know, or that a later version brings, is an error.
//!
//! Limits: a file of at most [`MAX_FILE`] bytes; nesting as deep as `toml_edit`
//! allows (80). Secrets are never shown: where a message quotes their line,
//! they are masked.
//!
//! Sources: TOML 1.1.0; the forms of messages follow rustc's and uv's.

mod check;
pub mod command;
pub mod declare;
pub mod defaults;
pub mod diagnostic;
pub mod keys;
pub mod read;
mod reference;
mod schema;
pub mod sections;
mod span;
mod syntax;
mod templates;
pub mod values;

pub use check::monitor::LOG_FIELDS;
pub use diagnostic::{Code, Diagnostic, Severity};
pub use keys::alert::{Alert, Email, Receiver};
pub use keys::database::{Database, DatabaseSource, Durability};
pub use keys::firewall::{Allow, Firewall, Protocol};
pub use keys::machine::{Machine, Part};
pub use keys::monitor::{LogFormat, Monitor, Probe, RemoteWrite};
pub use keys::pool::{Balance, Pool, PoolSource, Server};
pub use keys::route::{Action, LimitPer, Route};
pub use keys::site::{ListenAddress, PlainHttp, Site, Tls};
pub use keys::waf::{Audit, BeyondLimit, CoreRules, Mode, RawBody, RouteWaf, RouteWafKeys, Waf};
pub use reference::{explain, reference};
pub use schema::schema;
pub use sections::Named;
pub use span::{Source, Span, Spanned};
pub use templates::{TEMPLATES, Template, minimal_example};
pub use values::{FilePath, Name, SecretSource, TextOrSecret};

use diagnostic::Problem;
use read::Context;
use sections::Sections;

/// Larger files are refused: the largest that a person keeps is far smaller.
pub const MAX_FILE: usize = 1 << 20;

/// So many findings are told of a file; a file with more is not what was meant.
pub const MAX_FINDINGS: usize = 1_000;

/// What the file says, complete: defaults are filled in, references lead somewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file.
    pub source: Source,
    /// `[site]`.
    pub site: Spanned<Site>,
    /// `[pool.NAME]`, in the order of the file.
    pub pools: Vec<Named<Pool>>,
    /// `[[route]]`, in the order of the file.
    pub routes: Vec<Spanned<Route>>,
    /// `[firewall]`.
    pub firewall: Spanned<Firewall>,
    /// `[waf]`; absent, nothing is inspected.
    pub waf: Option<Spanned<Waf>>,
    /// `[database.NAME]`, in the order of the file.
    pub databases: Vec<Named<Database>>,
    /// `[monitor]`.
    pub monitor: Spanned<Monitor>,
    /// `[probe.NAME]`, in the order of the file.
    pub probes: Vec<Named<Probe>>,
    /// `[alert.NAME]`, in the order of the file.
    pub alerts: Vec<Named<Alert>>,
    /// `[receiver.NAME]`, in the order of the file.
    pub receivers: Vec<Named<Receiver>>,
    /// `[machine.NAME]`, in the order of the file.
    pub machines: Vec<Named<Machine>>,
    /// Spans never to be shown.
    masked: Vec<Span>,
}

/// A file without errors.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub config: Config,
    /// What in it probably does not do what was meant.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the text of a file; `name` is what messages call it. The error is all
/// that is wrong with it, warnings too, in the order of the file.
pub fn parse(name: &str, text: &str) -> Result<Parsed, Vec<Diagnostic>> {
    // A byte order mark is no part of the text (TOML 1.1, "Preliminaries").
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let source = Source::new(name, text);
    let mut cx = Context::new();
    let config = read(&source, &mut cx);
    let (mut problems, mut masked) = (cx.problems, cx.masked);
    masked.extend(syntax::logins(text));
    problems.sort_by_key(|problem| (problem.span.start, problem.severity));
    let more = problems.len().saturating_sub(MAX_FINDINGS);
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    let mut diagnostics: Vec<Diagnostic> = problems
        .into_iter()
        .take(MAX_FINDINGS)
        .map(|problem| Diagnostic::at(&source, &masked, problem))
        .collect();
    if let Some(last) = diagnostics.last_mut().filter(|_| more > 0) {
        last.hint = Some(format!("{more} more findings are not shown: correct these first"));
    }
    match config {
        Some(config) if !failed => {
            Ok(Parsed { config: Config { source, masked, ..config }, warnings: diagnostics })
        }
        _ => Err(diagnostics),
    }
}

fn read(source: &Source, cx: &mut Context) -> Option<Config> {
    if source.text.len() > MAX_FILE {
        cx.error(Code::Syntax, Span::default(), format!("the file has more than {MAX_FILE} bytes"))
            .hint("this is not a configuration file, or its lists belong elsewhere");
        return None;
    }
    let document = syntax::document(source, cx)?;
    let sections = Sections::read(document.as_table(), cx);
    check::across(&sections, cx);
    Some(Config {
        source: Source::default(),
        site: sections.site?,
        pools: sections.pools,
        routes: sections.routes,
        firewall: sections.firewall?,
        waf: match sections.waf {
            Some(waf) => Some(waf?),
            None => None,
        },
        databases: sections.databases,
        monitor: sections.monitor?,
        probes: sections.probes,
        alerts: sections.alerts,
        receivers: sections.receivers,
        machines: sections.machines,
        masked: Vec::new(),
    })
}

impl Config {
    /// The name of the site's state and run directories: `name`, the first given
    /// domain without its `*.`, or the file's name without its ending.
    pub fn name(&self) -> String {
        if let Some(name) = &self.site.name {
            return name.value.0.clone();
        }
        let first = self.site.domains.iter().find(|domain| domain.given).map(|domain| &domain.value.0);
        let base = match first {
            Some(domain) => domain.trim_start_matches("*.").to_owned(),
            None => {
                let file = self.source.name.rsplit(['/', '\\']).next().unwrap_or_default();
                file.strip_suffix(".toml").unwrap_or(file).to_owned()
            }
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name: String = base.chars().map(|c| if fits(c) { c } else { '-' }).take(63).collect();
        let name = name.trim_start_matches(['.', '-', '_']);
        if name.is_empty() { "site".to_owned() } else { name.to_owned() }
    }

    /// The database whose URL a pool's web servers get: the one it names, or the only one.
    pub fn database_of(&self, pool: &Pool) -> Option<&Named<Database>> {
        match &pool.database {
            Some(name) => self.databases.iter().find(|database| database.name.value == name.value),
            None => (self.databases.len() == 1).then(|| self.databases.first()).flatten(),
        }
    }

    /// A finding of someone else about a place of this file: a path that does
    /// not exist, an expression that does not parse.
    pub fn error(
        &self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Diagnostic {
        self.finding(Severity::Error, code, span, message.into(), hint)
    }

    /// The same, as a warning.
    pub fn warning(
        &self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Diagnostic {
        self.finding(Severity::Warning, code, span, message.into(), hint)
    }

    /// The same, as a note: what its author may want to know.
    pub fn note(&self, code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        self.finding(Severity::Note, code, span, message.into(), None)
    }

    fn finding(
        &self,
        severity: Severity,
        code: Code,
        span: Span,
        message: String,
        hint: Option<String>,
    ) -> Diagnostic {
        let problem = Problem { severity, code, span, message, hint, related: Vec::new() };
        Diagnostic::at(&self.source, &self.masked, problem)
    }
}
