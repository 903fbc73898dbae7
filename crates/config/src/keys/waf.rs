//! `[waf]`: rules that requests are inspected by.

use crate::declare::{Kind, choice, table};
use crate::defaults;
use crate::diagnostic::Code;
use crate::keys::route::PathPattern;
use crate::read::{Context, Node, Value};
use crate::span::Spanned;
use crate::values::{FilePath, read_text};
use base::{Bytes, Millis};

table! {
    /// The web application firewall: rules in ModSecurity's language that each request and its answer are
    /// inspected by, the OWASP Core Rule Set first of all. Without this table nothing is inspected.
    pub struct Waf: "[waf]";

    /// What a match that denies does. It stands above the rules' own `SecRuleEngine`.
    default mode: Mode = Mode::Detect;
    why "the rules have been watched for a while and stop no honest request"; example r#"mode = "block""#;

    /// The OWASP Core Rule Set, version 3.3 or 4: `true` is the one that Debian's `modsecurity-crs`
    /// installs, a path the folder of another copy, with its `crs-setup.conf` (or `.example`) and `rules`.
    /// Absent: the installed one where there is one and `rules` names nothing, otherwise none.
    optional crs: CoreRules;
    why "you keep a copy of your own, or the rules of `rules` come on top of it"; example r#"crs = "./coreruleset-4.28.0""#;

    /// The folder of the Core Rule Set's plugins: `*-config.conf`, `*-before.conf` and `*-after.conf` are
    /// read where they belong. Absent: `plugins` of the Core Rule Set's own folder.
    optional plugins: FilePath;
    why "plugins are kept apart from the rules, which are replaced whole"; example r#"plugins = "./waf/plugins""#;

    /// Rule files that are read before the Core Rule Set: exclusions for parts of the site
    /// (`ctl:ruleRemoveTargetById`), settings of its own. Files, or patterns as in `rules`.
    default before: Vec<Spanned<FilePath>> = vec![];
    why "the Core Rule Set must be told about the application first"; example r#"before = ["./waf/exclusions.conf"]"#;

    /// The site's own rule files, in order, after the Core Rule Set: files, or patterns in which `*` stands
    /// for any part of a file's name (`./waf/*.conf`, in the order of the names). A pattern that matches
    /// nothing is an error. What they `Include` and the lists that they name are read with them.
    default rules: Vec<Spanned<FilePath>> = vec![];
    why "the site has rules of its own"; example r#"rules = ["./waf/*.conf"]"#;

    /// The Core Rule Set's paranoia level that decides: the higher, the more attacks and the more honest
    /// requests are stopped. Absent: as its `crs-setup.conf` says, there 1.
    optional paranoia: u32, in 1..=4;
    why "what is behind is worth tuning rules for"; example "paranoia = 2";

    /// The paranoia level whose rules are run, though those above `paranoia` are only written down. Absent:
    /// the same as `paranoia`.
    optional detection_paranoia: u32, in 1..=4;
    why "you want to see what a higher level would stop"; example "detection_paranoia = 3";

    /// The anomaly score at which the Core Rule Set refuses a request; a critical rule counts 5, an error 4,
    /// a warning 3, a notice 2. Absent: as its `crs-setup.conf` says, there 5.
    optional inbound_threshold: u32, in 1..=1_000_000;
    why "one match alone should not refuse a request while rules are tuned"; example "inbound_threshold = 10";

    /// The anomaly score at which it withholds an answer. Absent: as its `crs-setup.conf` says, there 4.
    optional outbound_threshold: u32, in 1..=1_000_000;
    why "one match alone should not withhold an answer"; example "outbound_threshold = 8";

    /// What is let pass although a rule matches.
    default exclude: Vec<Spanned<Exclusion>> = vec![];
    why "a rule stops honest requests; `bastide waf explain` says which rule and where"; example r#"exclude = [{ rule = 942100, path = "/search", arg = "q" }]"#;

    /// How much of a request's body is inspected; so much is held in memory for each such request.
    default body_limit: Bytes = defaults::WAF_BODY_LIMIT, in Bytes(1 << 10)..=Bytes(64 << 20);
    why "forms are larger, or memory is short"; example r#"body_limit = "1MiB""#;

    /// Which bodies the rules that look at `REQUEST_BODY`, the bytes as they came, are shown. What a body
    /// holds is looked at value by value in any case.
    default raw_body: RawBody = RawBody::Forms;
    why "the site is to be as strict as libmodsecurity 3, whatever uploads then cost"; example r#"raw_body = "always""#;

    /// What happens to a larger body.
    default beyond_limit: BeyondLimit = BeyondLimit::Pass;
    why "nothing uninspected may pass, and the site takes no uploads"; example r#"beyond_limit = "refuse""#;

    /// How much of an answer's body is inspected where a rule looks at it, and held back meanwhile, for 5 s
    /// at most; the rest streams. All answers together hold 256 MiB at most. Streams of events, gRPC, WebSockets, files and answers that say
    /// `X-Accel-Buffering: no` are never held back. `"0B"`: no answer's body is inspected.
    default response_body_limit: Bytes = defaults::WAF_RESPONSE_BODY_LIMIT, in Bytes(0)..=Bytes(64 << 20);
    why "the first byte should not wait for the last, or pages are longer"; example r#"response_body_limit = "0B""#;

    /// How much work one request may cause.
    nested limits: WafLimits;
    why "the application takes requests with very many values, or the machine is slow"; example "limits = { values = 10000 }";

    /// Whether text that clients send over WebSockets is inspected, message by message, as an argument named
    /// `websocket`. Compression of messages is then not offered to the web server.
    default websocket: bool = false;
    why "clients send over WebSockets what they would otherwise send in forms"; example "websocket = true";

    /// Which requests are written down whole, secrets masked, in `log/waf-capture.jsonl` of the state
    /// directory, for `bastide waf learn`. Absent: none.
    optional capture: CaptureKeys;
    why "exclusions are to be learnt from real traffic"; example "capture = { every = 100 }";

    /// Who is banned: a client that so many events in so short a time have been about. Never an address of
    /// the firewall's `allow` or of `trusted_proxies`. Absent: nobody.
    optional ban: BanKeys;
    why "a scanner should not be answered a thousand times"; example r#"ban = { events = 10, window = "10m", time = "1h" }"#;

    /// Which requests are written to an audit log, `log/waf-audit.jsonl` of the state directory, in
    /// ModSecurity's JSON. `SecAuditEngine`, `SecAuditLog` and their like in the rules stand above it.
    default audit: Audit = Audit::Off;
    why "somebody must be shown whole requests, with what matched"; example r#"audit = "relevant""#;
}

choice! {
    /// What a match that denies does.
    pub enum Mode {
        /// it is only written down
        Detect = "detect",
        /// the request is refused, the Core Rule Set says 403; an answer is withheld
        Block = "block",
    }
}

choice! {
    /// Which bodies are looked at as they came.
    pub enum RawBody {
        /// forms, and bodies of a type that nothing reads, as ModSecurity's manual says
        Forms = "forms",
        /// every body, its files and line ends too, as libmodsecurity 3 does; from paranoia level 3 on that refuses every multipart body
        Always = "always",
    }
}

choice! {
    /// What happens beyond a limit.
    pub enum BeyondLimit {
        /// what was inspected decides, and all of it goes on
        Pass = "pass",
        /// the request is answered 413 (its body is too large) or 400 (it is too much work)
        Refuse = "refuse",
    }
}

choice! {
    /// Which requests are written to the audit log.
    pub enum Audit {
        /// none, unless the rules say otherwise
        Off = "off",
        /// those that a rule matched, and those answered 5xx or 4xx other than 404
        Relevant = "relevant",
        /// all
        All = "all",
    }
}

/// Which copy of the Core Rule Set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreRules {
    /// None.
    Off,
    /// The one that is installed.
    Installed,
    /// That of a folder.
    Folder(FilePath),
}

impl Value for CoreRules {
    fn kind() -> Kind {
        Kind::OneOf(vec![Kind::Bool, FilePath::kind()])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        let Some(text) = node.as_text() else {
            if !node.is_bool() {
                cx.refuse_type(node, &Self::kind());
                return None;
            }
            return bool::read(node, cx).map(|on| if on { Self::Installed } else { Self::Off });
        };
        read_text(text, node.span, cx).map(Self::Folder)
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "false".to_owned(),
            Self::Installed => "true".to_owned(),
            Self::Folder(path) => path.show(),
        }
    }
}

table! {
    /// How much work one request may cause.
    pub struct WafLimits: "limits";

    /// Names and values that are looked at: arguments, cookies, headers, parts.
    default values: u32 = defaults::WAF_VALUES, in 16..=100_000;
    why "forms or documents have very many fields"; example "limits = { values = 10000 }";

    /// How deep JSON and XML may nest.
    default depth: u32 = defaults::WAF_DEPTH, in 1..=512;
    why "documents nest deeper"; example "limits = { depth = 128 }";

    /// Bytes that all rules together may look at, transformations and operators counted: a measure of work
    /// that is the same on every machine.
    default inspected: Bytes = defaults::WAF_INSPECTED, in Bytes(1 << 20)..=Bytes(16 << 30);
    why "bodies of many values are honest here"; example r#"limits = { inspected = "1GiB" }"#;

    /// Time that the rules of one request may take.
    default time: Millis = defaults::WAF_TIME, in Millis(1)..=Millis(60_000);
    why "the machine is slow, or nothing may wait so long"; example r#"limits = { time = "50ms" }"#;

    /// What happens to a request beyond these.
    default beyond: BeyondLimit = BeyondLimit::Refuse;
    why "no honest request may be lost, whatever passes with it"; example r#"limits = { beyond = "pass" }"#;
}

table! {
    /// Which requests are written down whole.
    pub struct CaptureKeys: "capture";

    /// One inspected request in so many; 0 is none.
    default every: u32 = 0, in 0..=1_000_000_000;
    why "honest traffic is to be learnt from, matched or not"; example "capture = { every = 100 }";

    /// Every request on which a rule matched.
    default events: bool = true;
    why "matches are too many to keep"; example "capture = { every = 100, events = false }";

    /// How much of a body is kept.
    default body: Bytes = defaults::CAPTURE_BODY, in Bytes(0)..=Bytes(1 << 20);
    why "forms are longer"; example r#"capture = { body = "64KiB" }"#;

    /// The file's greatest size; one of the same size before it is kept too.
    default size: Bytes = defaults::CAPTURE_SIZE, in Bytes(64 << 10)..=Bytes(4 << 30);
    why "a week of traffic is to be kept, or the disk is small"; example r#"capture = { size = "256MiB" }"#;
}

table! {
    /// Who is banned.
    pub struct BanKeys: "ban";

    /// So many events of one client (IPv6: of one /64), within `window`.
    default events: u32 = defaults::BAN_EVENTS, in 1..=100;
    why "clients behind one address are many, or one event is enough"; example "ban = { events = 20 }";

    /// Only events of at least this anomaly score count; where rules do not count, their severities do, as
    /// the Core Rule Set would. Only events of routes in mode `"block"` count.
    default score: u32 = defaults::BAN_SCORE, in 1..=1_000_000;
    why "only what is surely an attack should ban"; example "ban = { score = 15 }";

    /// Within this time.
    default window: Millis = defaults::BAN_WINDOW, in Millis(1_000)..=Millis(7 * 86_400_000);
    why "slow scanners should be caught, too"; example r#"ban = { window = "1h" }"#;

    /// So long the client is kept out.
    default time: Millis = defaults::BAN_TIME, in Millis(1_000)..=Millis(365 * 86_400_000);
    why "addresses change their owners sooner or later"; example r#"ban = { time = "1d" }"#;
}

table! {
    /// What is let pass although a rule matches.
    pub struct Exclusion: "exclude";

    /// The rule's id.
    required rule: u64, in 1..=RULE_IDS;
    why "always"; example "exclude = [{ rule = 942100 }]";

    /// Only on this path: exact, or all below it where it ends in `*`. Absent: on all.
    optional path: PathPattern;
    why "the rule is right elsewhere"; example r#"exclude = [{ rule = 942100, path = "/search" }]"#;

    /// Only in this argument. Absent: anywhere.
    optional arg: String;
    why "the rule is right for other arguments"; example r#"exclude = [{ rule = 942100, arg = "q" }]"#;
}

/// What a route says of the WAF.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteWaf {
    /// Not inspected.
    Off,
    /// Inspected as `[waf]` says.
    On,
    /// Inspected with settings of its own.
    Own(Box<RouteWafKeys>),
}

table! {
    /// What the WAF does otherwise on this route; what is not named is as in `[waf]`.
    pub struct RouteWafKeys: "waf";

    /// What a match that denies does here.
    optional mode: Mode;
    why "a part of the site is still being watched"; example r#"waf = { mode = "detect" }"#;

    /// The Core Rule Set's paranoia level that decides here.
    optional paranoia: u32, in 1..=4;
    why "logins deserve more suspicion than a page of text"; example "waf = { paranoia = 2 }";

    /// The paranoia level whose rules are run here. Absent: the higher of `[waf]`'s and this route's `paranoia`.
    optional detection_paranoia: u32, in 1..=4;
    why "you want to see what a higher level would stop here"; example "waf = { detection_paranoia = 3 }";

    /// The anomaly score at which a request is refused here.
    optional inbound_threshold: u32, in 1..=1_000_000;
    why "what people write here looks like an attack now and then"; example "waf = { inbound_threshold = 10 }";

    /// The anomaly score at which an answer is withheld here.
    optional outbound_threshold: u32, in 1..=1_000_000;
    why "pages here show code"; example "waf = { outbound_threshold = 8 }";

    /// Rules that are taken out here.
    default remove: Vec<Spanned<RuleId>> = vec![];
    why "a rule is wrong here altogether; for one argument use `exclude` of `[waf]`"; example "waf = { remove = [942100] }";
}

/// The greatest id that a rule may have.
const RULE_IDS: u64 = 999_999_999_999;

/// A rule's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(pub u64);

impl Value for RuleId {
    fn kind() -> Kind {
        Kind::Integer { min: 1, max: RULE_IDS as i64 }
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        let id = u64::read(node, cx)?;
        if (1..=RULE_IDS).contains(&id) {
            return Some(Self(id));
        }
        let message = format!("{} has the rule `{id}`, beyond the range of ids", cx.key_name());
        cx.error(Code::OutOfRange, node.span, message).hint(format!("they go from `1` to `{RULE_IDS}`"));
        None
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Value for RouteWaf {
    fn kind() -> Kind {
        Kind::OneOf(vec![Kind::Bool, RouteWafKeys::kind()])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        if node.is_table() {
            return RouteWafKeys::read(node, cx).map(|keys| Self::Own(Box::new(keys)));
        }
        if !node.is_bool() {
            cx.refuse_type(node, &Self::kind());
            return None;
        }
        bool::read(node, cx).map(|on| if on { Self::On } else { Self::Off })
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "false".to_owned(),
            Self::On => "true".to_owned(),
            Self::Own(keys) => keys.show(),
        }
    }
}
