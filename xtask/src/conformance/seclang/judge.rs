//! Whether what came is what a regression case expects.

use super::play::Played;
use base::events::RuleMatch;
use regex::bytes::Regex;
use serde::Deserialize;
use waf_engine::{LoadError, Verdict};

/// What a case expects. The logs are expressions that must be found in them.
#[derive(Default, Deserialize)]
pub(super) struct Expected {
    http_code: Option<u16>,
    redirect_url: Option<String>,
    pub(super) parser_error: Option<String>,
    #[serde(default)]
    error_log: String,
    #[serde(default)]
    audit_log: String,
    #[serde(default)]
    pub(super) debug_log: String,
}

impl Expected {
    /// Whether it expects anything but the debug log.
    pub(super) fn says_something(&self) -> bool {
        self.http_code.is_some()
            || self.redirect_url.is_some()
            || self.parser_error.is_some()
            || !self.audit_log.is_empty()
            || !(self.error_log.is_empty() || is_offsets(&self.error_log))
    }
}

/// Whether a log is to hold `ref`, where in its own buffers ModSecurity found
/// variable and match (`o0,3v23,6t:trim`): no field of ours.
fn is_offsets(log: &str) -> bool {
    let Some(at) = log.find('v') else { return false };
    let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &log[at + 1..];
    let first = number(rest);
    first > 0 && rest[first..].strip_prefix(',').is_some_and(|rest| number(rest) > 0)
}

/// Rules that were not to load did not. Our words are others; the line must be the
/// same where the case tells it, or the next: where a directive is whole only at
/// its line's end, that engine tells where it stood before.
pub(super) fn load_error(expected: &str, errors: &[LoadError]) -> Result<(), String> {
    let line = expected.split_once("Line: ").and_then(|(_, rest)| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse::<u32>().ok()
    });
    match line {
        Some(line) if !errors.iter().any(|error| error.line == line || error.line == line + 1) => {
            Err(format!("expected an error in line {line}: {expected}\ngot\n{}", super::play::all(errors)))
        }
        _ => Ok(()),
    }
}

/// Compares all that the case expects.
pub(super) fn judge(expected: &Expected, played: &Played) -> Result<(), String> {
    let (status, to) = match &played.verdict {
        Verdict::Pass => (200, ""),
        Verdict::Deny { status, .. } => (*status, ""),
        Verdict::Redirect { status, to, .. } => (*status, to.as_str()),
        // That engine cannot close a connection and denies with 403 instead.
        Verdict::Drop { .. } => (403, ""),
    };
    let matched = || format!("matched: {:?}", played.report.matched_ids);
    if let Some(code) = expected.http_code
        && code != status
    {
        return Err(format!("expected status {code}, got {status}; {}", matched()));
    }
    if let Some(url) = &expected.redirect_url
        && url != to
    {
        return Err(format!("expected a redirect to {url}, got `{to}`; {}", matched()));
    }
    let mut log = String::new();
    for one in &played.report.matches {
        log.push_str(&line(one, &played.verdict));
        log.push('\n');
    }
    if !expected.error_log.is_empty() && !is_offsets(&expected.error_log) {
        found("error log", &expected.error_log, &log)?;
    }
    if !expected.audit_log.is_empty() {
        let audit = played.report.audit.as_ref().map_or("", |record| &record.text);
        found("audit log", &expected.audit_log, audit)?;
    }
    Ok(())
}

/// Compares what rules look at with what the debug log is to say of it.
pub(super) fn judge_targets(expected: &Expected, played: &Played) -> Result<(), String> {
    // Names of variables are the same in any case.
    found("targets", &format!("(?i){}", expected.debug_log), &super::targets::log(&played.report.matches))
}

fn found(what: &str, expression: &str, log: &str) -> Result<(), String> {
    let wanted = Regex::new(expression).map_err(|error| error.to_string())?;
    if wanted.is_match(log.as_bytes()) {
        return Ok(());
    }
    Err(format!("expected in the {what}: {expression}\ngot\n{log}"))
}

/// A match as ModSecurity v3 writes it into the error log.
fn line(one: &RuleMatch, verdict: &Verdict) -> String {
    let ending = match verdict {
        Verdict::Deny { rule, status } | Verdict::Redirect { rule, status, .. } if *rule == one.rule => {
            format!("Access denied with code {status}.")
        }
        _ => "Warning.".to_owned(),
    };
    let positive = one.operator.trim_start_matches('!');
    let (operator, argument) = match positive.strip_prefix('@') {
        Some(named) => named.split_once(' ').unwrap_or((named, "")),
        None => ("rx", positive),
    };
    let (file, number) = one.source.rsplit_once(':').unwrap_or((&one.source, "0"));
    let mut text = format!(
        "ModSecurity: {ending} Matched \"Operator `{}' with parameter `{argument}' against variable `{}' (Value: `{}' ) ",
        class_name(operator),
        one.variable,
        one.transformed,
    );
    let severity = one.severity.as_deref().map_or("0", severity_number);
    for (name, value) in [
        ("file", file),
        ("line", number),
        ("id", &one.rule.to_string()),
        ("rev", ""),
        ("msg", &one.message),
        ("data", &one.data),
        ("severity", severity),
        ("ver", ""),
        ("maturity", "0"),
        ("accuracy", "0"),
    ] {
        text.push_str(&format!("[{name} \"{value}\"] "));
    }
    for tag in &one.tags {
        text.push_str(&format!("[tag \"{tag}\"] "));
    }
    text
}

/// `rx` → `Rx`, as that engine calls it.
fn class_name(operator: &str) -> String {
    match operator.to_ascii_lowercase().as_str() {
        "streq" => "StrEq".to_owned(),
        _ => {
            let mut letters = operator.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
        }
    }
}

fn severity_number(name: &str) -> &str {
    const NAMES: [&str; 8] =
        ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];
    const NUMBERS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
    at.map_or(name, |at| NUMBERS[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_no_field() {
        for log in ["o0,3v23,6t:trim", "v560,32t:trim", "0,6v149,6t:trim", "o0,1v42,1"] {
            assert!(is_offsets(log), "{log}");
        }
        for log in
            ["Value: `foo='", "msg \"Testing is a simple test\"", "line \"29\"", "against variable `X'"]
        {
            assert!(!is_offsets(log), "{log}");
        }
    }

    #[test]
    fn an_error_must_be_in_its_line() {
        let error = LoadError { file: "a".to_owned(), line: 2, what: "bad".to_owned(), hint: None };
        assert_eq!(load_error("Line: 2. Column: 56. Expecting", std::slice::from_ref(&error)), Ok(()));
        assert_eq!(load_error("is duplicated", std::slice::from_ref(&error)), Ok(()));
        assert_eq!(load_error("Line: 1. Column: 16.", std::slice::from_ref(&error)), Ok(()));
        assert!(load_error("Line: 21. Column", &[error]).is_err());
    }
}
