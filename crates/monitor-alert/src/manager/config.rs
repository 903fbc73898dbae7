//! Who is told what: routes, receivers, inhibitions, time intervals.

use super::inhibit::InhibitRule;
use super::interval::TimeInterval;
use super::matcher::MatcherText;
use crate::settings::Settings;
use base::{Millis, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything the inner Alertmanager follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The routes; none tells only the receivers that rules name.
    pub route: Option<Route>,
    /// By name, each once.
    pub receivers: Vec<Receiver>,
    /// What keeps what from being told.
    pub inhibit: Vec<InhibitRule>,
    /// Named intervals; several of a name's any.
    pub intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// A pushed alert without an end ends after this long.
    pub resolve_timeout: Millis,
    /// Texts of template files; what they define may be used by receivers.
    pub templates: Vec<String>,
}

/// Alertmanager's defaults (its documentation, `<route>`).
pub const GROUP_WAIT: Millis = Millis(30_000);
/// Between two messages about one group.
pub const GROUP_INTERVAL: Millis = Millis(300_000);
/// A firing group is told again after this long.
pub const REPEAT_INTERVAL: Millis = Millis(4 * 3_600_000);
/// A pushed alert without an end.
pub const RESOLVE_TIMEOUT: Millis = Millis(300_000);

/// What makes alerts one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GroupBy {
    /// All labels: each alert is a group of its own (`...`).
    All,
    /// These labels.
    Labels(Vec<String>),
}

/// A node of the routing tree, complete: what it does not say it has from its parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Who is told; empty tells nobody.
    pub receiver: String,
    /// What makes alerts one group.
    pub group_by: GroupBy,
    /// From a group's first alert to its first message.
    pub group_wait: Millis,
    /// Between two messages about one group.
    pub group_interval: Millis,
    /// A firing group is told again after this long; 0 never.
    pub repeat_interval: Millis,
    /// Which alerts come here.
    pub matchers: Vec<MatcherText>,
    /// Only alerts whose rule names this receiver.
    pub to: Option<String>,
    /// Whether alerts that came here go on to the next sibling.
    pub goes_on: bool,
    /// Intervals in which nobody is told.
    pub mute: Vec<String>,
    /// Intervals outside of which nobody is told; none means always.
    pub active: Vec<String>,
    /// Its children.
    pub routes: Vec<Self>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            receiver: String::new(),
            group_by: GroupBy::Labels(Vec::new()),
            group_wait: GROUP_WAIT,
            group_interval: GROUP_INTERVAL,
            repeat_interval: REPEAT_INTERVAL,
            matchers: Vec::new(),
            to: None,
            goes_on: false,
            mute: Vec::new(),
            active: Vec::new(),
            routes: Vec::new(),
        }
    }
}

/// Someone who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// The ways in which it is told; each gets every message.
    pub integrations: Vec<Integration>,
    /// Where rules name it: a firing group is told again after this long.
    #[serde(default = "default_repeat")]
    pub repeat: Millis,
}

fn default_repeat() -> Millis {
    REPEAT_INTERVAL
}

/// One way of telling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Integration {
    /// How.
    pub kind: Kind,
    /// Whether it hears that alerts resolved.
    pub send_resolved: bool,
    /// How HTTP is spoken.
    #[serde(default)]
    pub http: Http,
    /// One message may take this long.
    #[serde(default = "default_timeout")]
    pub timeout: Millis,
}

fn default_timeout() -> Millis {
    Millis(10_000)
}

impl Integration {
    /// With what most have.
    pub fn new(kind: Kind) -> Self {
        Self { kind, send_resolved: true, http: Http::default(), timeout: default_timeout() }
    }
}

/// The kinds of integrations. Texts are templates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Alertmanager's webhook JSON, version 4.
    Webhook {
        /// Where.
        url: Secret,
        /// Alerts in one message; 0 means our own limit.
        max_alerts: usize,
    },
    /// E-mail by SMTP.
    Email(Box<Email>),
    /// Slack's incoming webhooks, and what understands them.
    Slack(Box<Slack>),
    /// PagerDuty's Events API v2, and what understands it.
    PagerDuty(Box<PagerDuty>),
    /// ntfy.
    Ntfy(Box<Ntfy>),
    /// Another Alertmanager, by its API v2: alerts as they are, again and again.
    Alertmanager {
        /// Its URL, to which `/api/v2/alerts` is added.
        url: Secret,
    },
}

impl Kind {
    /// `webhook`, `email`, … as in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Email(_) => "email",
            Self::Slack(_) => "slack",
            Self::PagerDuty(_) => "pagerduty",
            Self::Ntfy(_) => "ntfy",
            Self::Alertmanager { .. } => "alertmanager",
        }
    }
}

/// How HTTP is spoken with a receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// The `Authorization` header: its scheme and its secret part.
    pub authorization: Option<Authorization>,
    /// Certificates trusted instead of the system's, in PEM.
    pub ca: Option<String>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// How we log in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Authorization {
    /// `Basic`.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// `Bearer`, or another scheme.
    Token {
        /// The scheme.
        scheme: String,
        /// What follows it.
        credentials: Secret,
    },
}

/// How SMTP is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// STARTTLS or nothing is sent.
    #[default]
    StartTls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// STARTTLS where it is offered.
    Opportunistic,
}

/// An e-mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Email {
    /// Addresses, with commas between them.
    pub to: String,
    /// The sender's address.
    pub from: String,
    /// `host:port`.
    pub smarthost: String,
    /// What we call ourselves in `EHLO`.
    pub hello: String,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// How it is protected.
    pub tls: MailTls,
    /// Further header lines; `Subject` replaces the default.
    pub headers: Vec<(String, String)>,
    /// The HTML part; empty leaves it out.
    pub html: String,
    /// The plain part.
    pub text: String,
}

/// A message for Slack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slack {
    /// The webhook.
    pub api_url: Secret,
    /// The fields of the message and its one attachment, by Slack's names.
    pub fields: BTreeMap<String, String>,
    /// `title`, `value` and whether it is short, of each field of the attachment.
    pub attachment_fields: Vec<(String, String, Option<bool>)>,
    /// `type`, `text`, `url`, `style` of each button.
    pub actions: Vec<BTreeMap<String, String>>,
    /// Whether fields are short where they do not say.
    pub short_fields: bool,
    /// Whether names in the text become links.
    pub link_names: bool,
}

/// An event for PagerDuty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PagerDuty {
    /// Where events go.
    pub url: String,
    /// The integration's key: `routing_key`, or `service_key` of the first API.
    pub routing_key: Secret,
    /// The first Events API is spoken, which PagerDuty's integration "Prometheus" has.
    #[serde(default)]
    pub first_api: bool,
    /// `client`, `client_url`, `description`, `severity`, `class`, `component`, `group`, `source`.
    pub fields: BTreeMap<String, String>,
    /// Details.
    pub details: BTreeMap<String, String>,
    /// `href` and `text` of each link.
    pub links: Vec<(String, String)>,
    /// `src`, `href`, `alt` of each image.
    pub images: Vec<(String, String, String)>,
}

/// A message for ntfy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ntfy {
    /// The server's URL.
    pub url: String,
    /// The topic; who knows it may read it.
    pub topic: Secret,
    /// The title; empty takes the default.
    pub title: String,
    /// The text; empty takes the default.
    pub message: String,
    /// 1 to 5 while something fires; empty follows the severity.
    pub priority: String,
    /// Tags, with commas between them.
    pub tags: String,
}

impl Config {
    /// What follows from the file alone: rules name their receivers, each of
    /// which groups by the alert's name and is told at once.
    pub fn of(settings: &Settings) -> Self {
        let simple = settings.receivers.iter().map(|receiver| Receiver {
            name: receiver.name.clone(),
            integrations: vec![Integration::new(Kind::Webhook {
                url: receiver.webhook.clone(),
                max_alerts: 0,
            })],
            repeat: receiver.repeat,
        });
        let receivers: Vec<Receiver> = simple.chain(settings.channels.iter().cloned()).collect();
        Self { receivers, resolve_timeout: RESOLVE_TIMEOUT, ..Self::default() }
    }

    /// Adds what an `alertmanager.yml` says. A name that both have is an error.
    pub fn with_file(mut self, file: Self) -> Result<Self, String> {
        for receiver in file.receivers {
            if self.receivers.iter().any(|known| known.name == receiver.name) {
                return Err(format!(
                    "receiver `{}` is declared both in the file and in its `alertmanager` file; hint: give one another name",
                    receiver.name
                ));
            }
            self.receivers.push(receiver);
        }
        self.route = file.route;
        self.inhibit.extend(file.inhibit);
        self.intervals.extend(file.intervals);
        self.resolve_timeout = file.resolve_timeout;
        self.templates.extend(file.templates);
        Ok(self)
    }

    /// The tree that alerts walk: first the receivers that rules name, then the routes.
    pub(super) fn tree(&self) -> Route {
        let named = self.receivers.iter().map(|receiver| Route {
            receiver: receiver.name.clone(),
            group_by: GroupBy::Labels(vec!["alertname".to_owned()]),
            group_wait: Millis(0),
            group_interval: Millis(OWN_GROUP_INTERVAL_MS),
            repeat_interval: receiver.repeat,
            to: Some(receiver.name.clone()),
            goes_on: true,
            ..Route::default()
        });
        Route { routes: named.chain(self.route.clone()).collect(), ..Route::default() }
    }
}

/// Between two messages to a receiver that rules name.
const OWN_GROUP_INTERVAL_MS: u64 = 10_000;
