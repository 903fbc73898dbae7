//! `[waf]`: rules that requests are inspected by.

use crate::declare::{choice, table};
use crate::defaults;
use crate::span::Spanned;
use crate::values::FilePath;
use base::Bytes;

use crate::keys::route::PathPattern;

table! {
    /// The web application firewall: SecLang rules that each request is inspected by. Without this table
    /// nothing is inspected.
    pub struct Waf: "[waf]";

    /// What a match that denies does.
    default mode: Mode = Mode::Detect;
    why "the rules have been watched for a while and stop no honest request"; example r#"mode = "block""#;

    /// The rule files, in order: files, or patterns in which `*` stands for any part of a file's name
    /// (`./waf/*.conf`, in the order of the names). A pattern that matches nothing is an error.
    default rules: Vec<Spanned<FilePath>> = vec![];
    why "always: without rules nothing is inspected"; example r#"rules = ["./waf/*.conf"]"#;

    /// What is let pass although a rule matches.
    default exclude: Vec<Spanned<Exclusion>> = vec![];
    why "a rule stops honest requests; `bastide waf explain` says which rule and where"; example r#"exclude = [{ rule = 942100, path = "/search", arg = "q" }]"#;

    /// How much of a request's body is inspected; so much is held in memory for each such request.
    default body_limit: Bytes = defaults::WAF_BODY_LIMIT, in Bytes(1 << 10)..=Bytes(64 << 20);
    why "forms are larger, or memory is short"; example r#"body_limit = "1MiB""#;

    /// What happens to a larger body.
    default beyond_limit: BeyondLimit = BeyondLimit::Pass;
    why "nothing uninspected may pass, and the site takes no uploads"; example r#"beyond_limit = "refuse""#;
}

choice! {
    /// What a match that denies does.
    pub enum Mode {
        /// it is only written down
        Detect = "detect",
        /// the request is answered 403
        Block = "block",
    }
}

choice! {
    /// What happens to a body larger than `body_limit`.
    pub enum BeyondLimit {
        /// its beginning is inspected, and all of it goes on
        Pass = "pass",
        /// the request is answered 413
        Refuse = "refuse",
    }
}

table! {
    /// What is let pass although a rule matches.
    pub struct Exclusion: "exclude";

    /// The rule's id.
    required rule: u64, in 1..=999_999_999_999;
    why "always"; example "exclude = [{ rule = 942100 }]";

    /// Only on this path: exact, or all below it where it ends in `*`. Absent: on all.
    optional path: PathPattern;
    why "the rule is right elsewhere"; example r#"exclude = [{ rule = 942100, path = "/search" }]"#;

    /// Only in this argument. Absent: anywhere.
    optional arg: String;
    why "the rule is right for other arguments"; example r#"exclude = [{ rule = 942100, arg = "q" }]"#;
}
