//! What the engine is told.

use base::Bytes;
use serde::{Deserialize, Serialize};

/// `[waf]` of the file, for one route, with every file read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What a match that denies does. It stands above `SecRuleEngine`.
    pub mode: Mode,
    /// The rule files, in order.
    pub files: Vec<RuleFile>,
    /// Every other file that those name: included rules, phrases, addresses.
    #[serde(default)]
    pub data: Vec<RuleFile>,
    /// `TX` variables that are set before the first rule and that no rule's
    /// `setvar:tx.name=value` changes: paranoia levels, thresholds.
    #[serde(default)]
    pub tx: Vec<(String, String)>,
    /// What is let pass.
    #[serde(default)]
    pub exclude: Vec<Exclusion>,
    /// Whether JSON, XML and the like are read by their content type without a rule
    /// that says `ctl:requestBodyProcessor`.
    #[serde(default = "yes")]
    pub processors_by_content_type: bool,
    /// When the body's bytes as they are become `REQUEST_BODY`.
    #[serde(default)]
    pub raw_body: RawBody,
    /// How much work a request may cause.
    #[serde(default)]
    pub limits: Limits,
}

fn yes() -> bool {
    true
}

/// What a match that denies does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is only written down.
    Detect,
    /// The request is refused.
    Block,
    /// As `SecRuleEngine` says; without one, as [`Mode::Block`].
    Rules,
}

/// When `REQUEST_BODY` is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawBody {
    /// As the manual says: for forms, and where a rule says
    /// `ctl:forceRequestBodyVariable=On`. What other bodies hold is looked at value by
    /// value.
    #[default]
    Forms,
    /// As libmodsecurity 3 does: for every body, the contents of files and all line
    /// ends with it. At paranoia level 3 that refuses every multipart body.
    Always,
}

/// A body larger than the limit, or a request beyond its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeyondLimit {
    /// What was inspected decides, the rest passes.
    Pass,
    /// The request is refused: 413 for a body, 400 for a budget.
    Refuse,
}

/// One file's name, as messages give it, and its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleFile {
    /// `waf/sqli.conf`.
    pub name: String,
    /// The whole text. Rule files need not be UTF-8; what is not is carried as Latin-1.
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

/// The budget of one request. Rules' own directives may narrow bodies further.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// How much of a request body is inspected.
    pub request_body: Bytes,
    /// How much of a response body is inspected, and held back meanwhile.
    pub response_body: Bytes,
    /// What happens beyond the request body's limit or the budget.
    pub beyond: BeyondLimit,
    /// Names and values that are looked at: arguments, cookies, headers, parts.
    pub values: u32,
    /// How deep JSON and XML may nest.
    pub depth: u32,
    /// Bytes that operators and transformations may look at, over all rules: a
    /// measure of work that is the same on every machine.
    pub inspected: Bytes,
    /// Time that the rules of one request may take, in microseconds.
    pub time_us: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body: Bytes(128 << 10),
            response_body: Bytes(512 << 10),
            beyond: BeyondLimit::Refuse,
            values: 4_096,
            depth: 64,
            inspected: Bytes(256 << 20),
            time_us: 500_000,
        }
    }
}
