//! A match as ModSecurity v3 writes it into the server's error log and part H of the
//! audit log: there are many programs that read such lines.

use super::text::{limited, quoted};
use crate::engine::Engine;
use base::events::RuleMatch;
use waf_lang::model::{Part, Rule};

/// What a line tells of the transaction beside the match.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogContext<'a> {
    /// The client's address; empty leaves `[client …]` out, as in part H.
    pub client: &'a str,
    /// The host that was asked for.
    pub hostname: &'a str,
    /// The path that was asked for, without the query.
    pub uri: &'a str,
    /// The transaction's name.
    pub unique_id: &'a str,
    /// Where this rule is the one that refused: the status that the client got, 0
    /// where the connection was closed.
    pub refused: Option<u16>,
}

/// A match, as in a [`crate::Report`], in ModSecurity's words:
/// `[client …] ModSecurity: Warning. Matched "Operator `Rx' with parameter …`, without
/// the line's end. Secrets are masked in it as in the match.
pub fn error_log_line(engine: &Engine, matched: &RuleMatch, context: &LogContext<'_>) -> String {
    let mut rules = engine.program.rules.iter();
    let rule = rules.find(|rule| rule.model.id == matched.rule).map(|rule| &*rule.model);
    let denied = context.refused.map(|status| match status {
        0 => Refusal::Closed,
        status => Refusal::Status(status),
    });
    let told = Told { told: matched, rule, hidden: matched.value == SECRET, denied, reference: "" };
    told.line(context)
}

/// What a report writes instead of a secret.
const SECRET: &str = "[secret]";

/// What became of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Status(u16),
    Closed,
}

/// A match and what is known of its rule.
pub(super) struct Told<'t> {
    pub(super) told: &'t RuleMatch,
    /// None for the engine's own.
    pub(super) rule: Option<&'t Rule>,
    /// Values in it are not to be shown.
    pub(super) hidden: bool,
    pub(super) denied: Option<Refusal>,
    pub(super) reference: &'t str,
}

impl Told<'_> {
    pub(super) fn line(&self, context: &LogContext<'_>) -> String {
        let mut line = String::with_capacity(1_024);
        if !context.client.is_empty() {
            line.push_str(&format!("[client {}] ", quoted(context.client)));
        }
        let phase = self.rule.map_or(2, |rule| rule.phase);
        line.push_str(&match self.denied {
            Some(Refusal::Status(status)) => {
                format!("ModSecurity: Access denied with code {status} (phase {phase}). ")
            }
            Some(Refusal::Closed) => {
                format!("ModSecurity: Access denied with connection close (phase {phase}). ")
            }
            None => "ModSecurity: Warning. ".to_owned(),
        });
        line.push_str(&self.found());
        let mut field = |name: &str, value: &str| {
            line.push_str(&format!(" [{name} \"{}\"]", quoted(value)));
        };
        let (file, at) = self.place();
        field("file", file);
        field("line", at);
        field("id", &self.told.rule.to_string());
        field("rev", self.rev());
        field("msg", &self.message());
        field("data", &limited(&quoted(&self.data()), 200));
        field("severity", &self.severity().to_string());
        field("ver", self.ver());
        field("maturity", &self.maturity().to_string());
        field("accuracy", &self.accuracy().to_string());
        for tag in &self.told.tags {
            field("tag", &plain(tag));
        }
        field("hostname", context.hostname);
        field("uri", &limited(&quoted(context.uri), 200));
        field("unique_id", context.unique_id);
        field("ref", self.reference);
        line
    }

    /// Which operator found what where.
    pub(super) fn found(&self) -> String {
        let told = self.told;
        if told.operator.is_empty() {
            return if self.rule.is_some() {
                "Unconditional match in SecAction.".to_owned()
            } else {
                self.message()
            };
        }
        let positive = told.operator.trim_start_matches('!');
        let (name, argument) = match positive.strip_prefix('@') {
            Some(named) => named.split_once(' ').unwrap_or((named, "")),
            None => ("rx", positive),
        };
        match class(name) {
            // These two say it in their own words.
            "DetectSQLi" => "detected SQLi using libinjection.".to_owned(),
            "DetectXSS" => "detected XSS using libinjection.".to_owned(),
            class => format!(
                "Matched \"Operator `{class}' with parameter `{}' against variable `{}' (Value: `{}' )",
                limited(&quoted(&plain(argument)), 200),
                quoted(&plain(&told.variable)),
                limited(&quoted(&self.value()), 100),
            ),
        }
    }

    fn value(&self) -> String {
        let told = self.told;
        match self.hidden {
            true => SECRET.to_owned(),
            false if told.transformed.is_empty() => plain(&told.value),
            false => plain(&told.transformed),
        }
    }

    /// File and line.
    pub(super) fn place(&self) -> (&str, &str) {
        self.told.source.rsplit_once(':').unwrap_or((&self.told.source, "0"))
    }

    /// `msg`; where it would tell what is not to be shown, without what is filled in.
    pub(super) fn message(&self) -> String {
        let links = self.rule.map(|rule| rule.links.as_slice()).unwrap_or_default();
        let said = links.iter().rev().find_map(|link| link.msg.as_ref());
        match said.filter(|said| self.hidden && said.as_text().is_none()) {
            Some(said) => said.0.iter().filter_map(literal).collect(),
            None => plain(&self.told.message),
        }
    }

    /// What `logdata` came to: it tells values.
    pub(super) fn data(&self) -> String {
        if self.hidden && !self.told.data.is_empty() { SECRET.to_owned() } else { plain(&self.told.data) }
    }

    /// 0 where the rule has none, as in libmodsecurity.
    pub(super) fn severity(&self) -> u8 {
        match self.rule {
            Some(rule) => rule.severity.unwrap_or(0),
            // The engine's own are critical.
            None => 2,
        }
    }

    pub(super) fn rev(&self) -> &str {
        self.rule.and_then(|rule| rule.rev.as_deref()).unwrap_or("")
    }

    pub(super) fn ver(&self) -> &str {
        self.rule.and_then(|rule| rule.ver.as_deref()).unwrap_or("")
    }

    pub(super) fn maturity(&self) -> u8 {
        self.rule.and_then(|rule| rule.maturity).unwrap_or(0)
    }

    pub(super) fn accuracy(&self) -> u8 {
        self.rule.and_then(|rule| rule.accuracy).unwrap_or(0)
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = String> {
        self.told.tags.iter().map(|tag| plain(tag))
    }
}

fn literal(part: &Part) -> Option<String> {
    match part {
        Part::Text(text) => Some(super::text::one_line(text)),
        Part::Variable(..) => None,
    }
}

/// Matches have backslashes doubled; these lines have not.
fn plain(text: &str) -> String {
    text.replace("\\\\", "\\")
}

/// An operator, as libmodsecurity calls it in its logs: `@rx` is `Rx`.
fn class(name: &str) -> &str {
    let known = CLASSES.iter().find(|class| class.eq_ignore_ascii_case(name));
    known.copied().unwrap_or(match name.to_ascii_lowercase().as_str() {
        "pmf" => "PmFromFile",
        "ipmatchf" => "IpMatchFromFile",
        _ => name,
    })
}

const CLASSES: &[&str] = &[
    "BeginsWith",
    "Contains",
    "ContainsWord",
    "DetectSQLi",
    "DetectXSS",
    "EndsWith",
    "Eq",
    "Ge",
    "Gt",
    "IpMatch",
    "IpMatchFromFile",
    "Le",
    "Lt",
    "NoMatch",
    "Pm",
    "PmFromFile",
    "Rx",
    "RxGlobal",
    "StrEq",
    "StrMatch",
    "UnconditionalMatch",
    "ValidateByteRange",
    "ValidateNid",
    "ValidateSchema",
    "ValidateUrlEncoding",
    "ValidateUtf8Encoding",
    "VerifyCC",
    "VerifyCPF",
    "VerifySSN",
    "VerifySVNR",
    "Within",
];
