//! `[alert.NAME]` and `[receiver.NAME]`: what is told to whom.

use crate::declare::{Kind, table};
use crate::defaults;
use crate::diagnostic::{Code, quote};
use crate::keys::monitor::Url;
use crate::read::{Context, Node, Text, Value, Wrong};
use crate::values::{Name, OneOrMore, Pairs, SecretSource, read_text, text_value};
use base::{Address, Millis};

table! {
    /// An alert: an expression of PromQL, each series of whose result is told while it lasts. The name of a
    /// ready-made alert with an `expr` replaces that alert; without, it changes only the keys that are given.
    pub struct Alert: "[alert.NAME]";

    /// The expression, PromQL. Absent: that of the ready-made alert of this name.
    optional expr: String;
    why "always, except to change a ready-made alert"; example r#"expr = "site:qps > 800""#;

    /// How long the expression must hold before the alert fires. Absent: `"0s"`, or as the ready-made alert has it.
    optional hold as "for": Millis, in Millis(0)..=Millis(30 * 86_400_000);
    why "short peaks are no reason to wake anybody"; example r#"for = "5m""#;

    /// Labels added to the alert's.
    default labels: Pairs<LabelName, String> = Pairs(vec![]);
    why "the receiver sorts alerts by severity or team"; example r#"labels = { severity = "page" }"#;

    /// One line for the one who is told; `{{ $labels.NAME }}` and `{{ $value }}` are filled in.
    optional summary: String;
    why "the name alone does not say it"; example r#"summary = "{{ $value }} requests a second""#;

    /// What to look at and what to do.
    optional description: String;
    why "somebody else may be on duty"; example r#"description = "add a web server: instances in [pool.app]""#;

    /// The receivers that are told, one or a list. Absent: all of them; `[]` is none.
    optional to: OneOrMore<Name>;
    why "there are several receivers"; example r#"to = "ops""#;

    /// `false` switches the alert off, a ready-made one too.
    default enabled: bool = true;
    why "a ready-made alert does not fit this site"; example "enabled = false";
}

table! {
    /// Who is told of alerts, in one or several ways.
    pub struct Receiver: "[receiver.NAME]";

    /// A URL that gets Alertmanager's webhook JSON by POST. One that carries a token comes from `{ env = … }`
    /// or `{ file = … }`.
    optional webhook: UrlOrSecret;
    why "a program of yours is told"; example r#"webhook = { env = "ALERT_URL" }"#;

    /// Mail.
    optional email: Email;
    why "somebody reads mail"; example r#"email = { to = "ops@shop.example", from = "bastide@shop.example", server = "smtp.shop.example:587" }"#;

    /// The URL of a Slack-compatible incoming webhook (Slack, Mattermost, Rocket.Chat).
    optional slack: UrlOrSecret;
    why "the team has a channel"; example r#"slack = { env = "SLACK_URL" }"#;

    /// The integration key of PagerDuty's Events API v2, or of what is compatible with it.
    optional pagerduty: SecretSource;
    why "somebody is on call"; example r#"pagerduty = { env = "PAGERDUTY_KEY" }"#;

    /// Where PagerDuty's events go. Absent: PagerDuty itself.
    optional pagerduty_url: Url;
    why "another service takes PagerDuty's events"; example r#"pagerduty_url = "https://events.eu.pagerduty.com/v2/enqueue""#;

    /// The URL of a topic of an ntfy server.
    optional ntfy: UrlOrSecret;
    why "a phone is told"; example r#"ntfy = "https://ntfy.sh/shop-alerts""#;

    /// The URL of an Alertmanager (API v2), which then groups, silences and tells by itself.
    optional alertmanager: UrlOrSecret;
    why "one Alertmanager serves several sites"; example r#"alertmanager = "http://alertmanager.lan:9093""#;

    /// Whether the end of an alert is told, too.
    default resolved: bool = true;
    why "the end interests nobody there"; example "resolved = false";

    /// What still fires is told again after this.
    default repeat: Millis = defaults::REPEAT, in Millis(60_000)..=Millis(30 * 86_400_000);
    why "the receiver forgets, or reminds by itself"; example r#"repeat = "24h""#;
}

table! {
    /// Mail to somebody.
    pub struct Email: "email";

    /// To whom; several addresses stand in a list.
    required to: OneOrMore<String>;
    why "always"; example r#"email = { to = ["ops@shop.example", "boss@shop.example"], from = "bastide@shop.example", server = "smtp.shop.example:587" }"#;

    /// From whom.
    required from: String;
    why "always"; example r#"email = { to = "ops@shop.example", from = "bastide@shop.example", server = "smtp.shop.example:587" }"#;

    /// The mail server. At port 465 TLS is spoken at once, elsewhere after STARTTLS.
    required server: Address;
    why "always"; example r#"email = { to = "ops@shop.example", from = "bastide@shop.example", server = "smtp.shop.example:587" }"#;

    /// Whether mail goes out unencrypted where the server offers no TLS. Never with a password.
    default plain: bool = false;
    why "the mail server runs on this machine"; example r#"email = { to = "ops@shop.example", from = "bastide@shop.example", server = "127.0.0.1:25", plain = true }"#;

    /// Who logs in.
    optional user: String;
    why "the server asks for a login"; example r#"email = { to = "ops@shop.example", from = "bastide@shop.example", server = "smtp.shop.example:587", user = "bastide", password = { env = "SMTP_PASSWORD" } }"#;

    /// The password.
    optional password: SecretSource;
    why "the server asks for a login"; example r#"email = { to = "ops@shop.example", from = "bastide@shop.example", server = "smtp.shop.example:587", user = "bastide", password = { env = "SMTP_PASSWORD" } }"#;
}

text_value!(LabelName);

/// The name of a label (Prometheus, "Metric names and labels"): letters, digits
/// and `_`; those with `__` before them are the monitor's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelName(pub String);

impl Text for LabelName {
    const WHAT: &'static str = "the name of a label";
    const SAMPLE: &'static str = "\"severity\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if text == "alertname" {
            return Err(Wrong::new("the label `alertname` is the alert's name", "name the table otherwise"));
        }
        match starts_well && !text.starts_with("__") && text.bytes().all(ok) {
            true => Ok(Self(text.to_owned())),
            false => Err(Wrong::new(
                format!("{} is not the name of a label", quote(text)),
                "it has letters, digits and `_`, and does not begin with a digit or `__`",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A URL: written in the file, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlOrSecret {
    /// Written in the file.
    Url(Url),
    /// Read from elsewhere.
    Secret(SecretSource),
}

impl Value for UrlOrSecret {
    fn kind() -> Kind {
        Kind::OneOf(vec![Url::kind(), SecretSource::kind()])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        // What is written here may be a token all the same.
        if !node.is_table() {
            cx.masked.push(node.span);
        }
        let Some(text) = node.as_text() else {
            if node.is_table() {
                return SecretSource::read(node, cx).map(Self::Secret);
            }
            cx.refuse_type(node, &Self::kind());
            return None;
        };
        let url = match Url::parse(text) {
            Ok(_) => read_text(text, node.span, cx),
            Err(_) => {
                let message = format!("{} is not a URL without a login", cx.key_name());
                cx.error(Code::BadValue, node.span, message)
                    .hint("write `https://host/path`, or `{ env = \"NAME\" }` where it carries a token");
                None
            }
        };
        url.map(Self::Url)
    }

    fn show(&self) -> String {
        match self {
            Self::Url(url) => url.show(),
            Self::Secret(source) => source.show(),
        }
    }
}

impl Alert {
    /// Whether the name is a ready-made alert's.
    pub fn is_ready_made(name: &str) -> bool {
        defaults::READY_MADE_ALERTS.iter().any(|(known, _)| *known == name)
    }
}
