//! Whether what was observed is what a stage expects.

use crate::Output;
use regex::bytes::Regex;
use std::fmt;

/// What was observed of one stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome<'a> {
    /// Why there was no response; then `status` and `response` do not count.
    pub error: Option<&'a str>,
    /// The response's status.
    pub status: u16,
    /// The response, head and body, as it came.
    pub response: &'a [u8],
    /// Every rule that matched, in any order.
    pub matched_ids: &'a [u64],
    /// What was logged of them, a line each, in ModSecurity's form: `[id "920100"]
    /// [msg "…"] [data "…"]`.
    pub log: &'a [String],
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There was no response.
    Failed(String),
    /// There was a response where none was expected.
    Answered(u16),
    /// Another status.
    Status {
        /// Any of these.
        expected: Vec<u16>,
        /// This one.
        got: u16,
    },
    /// The response does not match.
    Response(String),
    /// These rules did not match.
    Missed(Vec<u64>),
    /// These matched and should not have.
    Unexpected(Vec<u64>),
    /// Others than the one matched.
    NotIsolated(Vec<u64>),
    /// No line of the log matches.
    NotLogged(String),
    /// A line of the log matches.
    Logged {
        /// The expression.
        regex: String,
        /// The line.
        line: String,
    },
    /// The case's regular expression is none.
    Regex {
        /// The expression.
        regex: String,
        /// What is wrong with it.
        error: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "no response: {error}"),
            Self::Answered(status) => write!(f, "expected no response, got status {status}"),
            Self::Status { expected, got } => write!(f, "expected status {}, got {got}", list(expected)),
            Self::Response(regex) => write!(f, "the response does not match `{regex}`"),
            Self::Missed(ids) => write!(f, "expected {} to match", list(ids)),
            Self::Unexpected(ids) => write!(f, "expected {} not to match", list(ids)),
            Self::NotIsolated(ids) => write!(f, "expected one rule alone, and {} matched", list(ids)),
            Self::NotLogged(regex) => write!(f, "no log line matches `{regex}`"),
            Self::Logged { regex, line } => write!(f, "a log line matches `{regex}`: {line}"),
            Self::Regex { regex, error } => write!(f, "`{regex}` is no regular expression: {error}"),
        }
    }
}

fn list<N: ToString>(numbers: &[N]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether all that `output` expects was observed; the first that was not.
pub fn judge(output: &Output, outcome: &Outcome<'_>) -> Result<(), Why> {
    match (output.expect_error, outcome.error) {
        (true, Some(_)) => return Ok(()),
        (true, None) => return Err(Why::Answered(outcome.status)),
        (false, Some(error)) => return Err(Why::Failed(error.to_owned())),
        (false, None) => {}
    }
    if !output.status.is_empty() && !output.status.contains(&outcome.status) {
        return Err(Why::Status { expected: output.status.clone(), got: outcome.status });
    }
    if let Some(text) = &output.response_contains
        && !regex(text)?.is_match(outcome.response)
    {
        return Err(Why::Response(text.clone()));
    }
    judge_log(output, outcome)
}

fn judge_log(output: &Output, outcome: &Outcome<'_>) -> Result<(), Why> {
    let log = &output.log;
    let matched = |id: &&u64| outcome.matched_ids.contains(id);
    if let Some(text) = &log.match_regex {
        let regex = regex(text)?;
        if !outcome.log.iter().any(|line| regex.is_match(line.as_bytes())) {
            return Err(Why::NotLogged(text.clone()));
        }
    }
    let missed: Vec<u64> = log.expect_ids.iter().filter(|id| !matched(id)).copied().collect();
    if !missed.is_empty() {
        return Err(Why::Missed(missed));
    }
    if output.isolated && outcome.matched_ids.iter().any(|id| !log.expect_ids.contains(id)) {
        return Err(Why::NotIsolated(outcome.matched_ids.to_vec()));
    }
    if let Some(text) = &log.no_match_regex {
        let regex = regex(text)?;
        if let Some(line) = outcome.log.iter().find(|line| regex.is_match(line.as_bytes())) {
            return Err(Why::Logged { regex: text.clone(), line: line.clone() });
        }
    }
    let unexpected: Vec<u64> = log.no_expect_ids.iter().filter(matched).copied().collect();
    if unexpected.is_empty() { Ok(()) } else { Err(Why::Unexpected(unexpected)) }
}

fn regex(text: &str) -> Result<Regex, Why> {
    Regex::new(text).map_err(|error| Why::Regex { regex: text.to_owned(), error: error.to_string() })
}
