//! What the engine is told.

use base::Bytes;
use serde::{Deserialize, Serialize};

/// `[waf]` of the file, with the rule files read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What a match that denies does.
    pub mode: Mode,
    /// The rule files, in order.
    pub files: Vec<RuleFile>,
    /// What is let pass.
    pub exclude: Vec<Exclusion>,
    /// How much of a request body is inspected.
    pub body_limit: Bytes,
    /// What happens to a body larger than that.
    pub beyond_limit: BeyondLimit,
}

/// What a match that denies does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is only written down.
    Detect,
    /// The request is refused.
    Block,
}

/// A body larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeyondLimit {
    /// Its beginning is inspected, the rest passes.
    Pass,
    /// It is refused with 413.
    Refuse,
}

/// One rule file's name, as messages give it, and its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleFile {
    /// `waf/sqli.conf`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// `exclude = [{ rule = 942100, path = "/search", arg = "q" }]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exclusion {
    /// The rule's id.
    pub rule: u64,
    /// Only on this path: exact, or a prefix ending in `*`; none means all. A path
    /// that is spelt another way (`%73earch`, `..`) is not let pass.
    pub path: Option<String>,
    /// Only in this argument (of query or body; JSON's are called `json.a.b`), named
    /// exactly; none means the whole rule.
    pub arg: Option<String>,
}
