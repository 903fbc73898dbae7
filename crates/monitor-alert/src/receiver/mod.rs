//! What receivers are sent, byte by byte: payloads of webhook, e-mail, Slack,
//! PagerDuty, ntfy and Alertmanager, and what their answers mean.
//!
//! Nothing is sent here. Texts of receivers are templates over the message
//! ([`data`]); one that cannot be filled in is told with its error in its place,
//! so that no alert is lost over its words.
//!
//! Sources: Alertmanager's documentation, "Configuration", "Notification template
//! reference"; Slack's "Incoming webhooks"; PagerDuty's "Events API v2"; ntfy's
//! "Publish as JSON".

pub mod alertmanager;
pub mod data;
pub mod email;
pub mod ntfy;
pub mod pagerduty;
pub mod slack;
pub mod webhook;

use crate::manager::{Kind, Message};
use crate::template::{Environment, Template, Value};
use base::Secret;

/// Something to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// One POST of JSON.
    Http(Post),
    /// One e-mail.
    Mail(email::Mail),
}

/// One POST.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// Where; it may hold a token.
    pub url: Secret,
    /// The body, JSON.
    pub body: Vec<u8>,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message was taken.
    Taken,
    /// It was not, and later it may be.
    Later(String),
    /// It was not, and will not be.
    Never(String),
}

/// The templates that every notification may use.
pub const DEFAULTS: &[&str] = &[include_str!("default.tmpl")];

/// Everything a payload is built from.
pub struct Builder<'a> {
    templates: Template,
    data: Value,
    environment: Environment<'a>,
    message: &'a Message,
}

impl<'a> Builder<'a> {
    /// For one message; `templates` are the texts of the operator's template files.
    pub fn new(message: &'a Message, templates: &[String], external_url: &'a str, now_ms: u64) -> Self {
        let all = DEFAULTS.iter().copied().chain(templates.iter().map(String::as_str));
        // Both were checked when they were read; without the operator's, ours still tell.
        let read = Template::messages(all).or_else(|_| Template::messages(DEFAULTS.iter().copied()));
        let environment =
            Environment { query: None, external_url, now_ms: i64::try_from(now_ms).unwrap_or(i64::MAX) };
        Self {
            templates: read.unwrap_or_default(),
            data: data::of(message, external_url),
            environment,
            message,
        }
    }

    /// What is to be sent to one integration.
    pub fn build(&self, kind: &Kind) -> Result<Outgoing, String> {
        let post = |url: &Secret, body: serde_json::Value| {
            Outgoing::Http(Post { url: url.clone(), body: body.to_string().into_bytes() })
        };
        Ok(match kind {
            Kind::Webhook { url, .. } => {
                post(url, webhook::body(self.message, self.environment.external_url))
            }
            Kind::Slack(slack) => post(&slack.api_url, slack::body(self, slack)),
            Kind::PagerDuty(pagerduty) => {
                post(&Secret::new(&*pagerduty.url), pagerduty::body(self, pagerduty, self.message))
            }
            Kind::Ntfy(ntfy) => post(&Secret::new(&*ntfy.url), ntfy::body(self, ntfy, self.message)),
            Kind::Email(email) => Outgoing::Mail(email::mail(self, email)?),
            Kind::Alertmanager { .. } => return Err("alerts go to an Alertmanager one by one".to_owned()),
        })
    }

    /// A text filled in; where that fails, its error.
    fn text(&self, template: &str) -> String {
        if !template.contains("{{") {
            return template.to_owned();
        }
        let filled =
            self.templates.with_text(template).and_then(|t| t.render_message(&self.data, &self.environment));
        filled.unwrap_or_else(|error| format!("<error expanding template: {error}>"))
    }

    fn html(&self, template: &str) -> String {
        let filled =
            self.templates.with_text(template).and_then(|t| t.render_html(&self.data, &self.environment));
        filled.unwrap_or_else(|error| format!("&lt;error expanding template: {error}&gt;"))
    }
}

/// The templates of an integration, each with the name of its key.
pub fn templates(kind: &Kind) -> Vec<(&str, &str)> {
    match kind {
        Kind::Webhook { .. } | Kind::Alertmanager { .. } => Vec::new(),
        Kind::Email(email) => {
            let headers = email.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            headers
                .chain([
                    ("to", &*email.to),
                    ("from", &*email.from),
                    ("html", &*email.html),
                    ("text", &*email.text),
                ])
                .collect()
        }
        Kind::Slack(slack) => {
            let fields = slack.fields.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            let more =
                slack.attachment_fields.iter().flat_map(|(a, b, _)| [("title", &**a), ("value", &**b)]);
            let actions = slack.actions.iter().flatten().map(|(n, v)| (n.as_str(), v.as_str()));
            fields.chain(more).chain(actions).collect()
        }
        Kind::PagerDuty(pagerduty) => {
            let all = pagerduty.fields.iter().chain(&pagerduty.details);
            all.map(|(n, v)| (n.as_str(), v.as_str())).collect()
        }
        Kind::Ntfy(ntfy) => {
            vec![
                ("title", &*ntfy.title),
                ("message", &*ntfy.message),
                ("priority", &*ntfy.priority),
                ("tags", &*ntfy.tags),
            ]
        }
    }
}

/// What an HTTP answer means. `body` is its beginning.
pub fn verdict(kind: &Kind, status: u16, body: &[u8]) -> Verdict {
    let said = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().replace(['\n', '\r'], " ");
    let why = if said.is_empty() {
        format!("HTTP status {status}")
    } else {
        format!("HTTP status {status}: {said}")
    };
    match status {
        // Slack's API says 200 and means no (its documentation, "Handling errors").
        200..=299 if matches!(kind, Kind::Slack(_)) => {
            match serde_json::from_slice::<serde_json::Value>(body) {
                Ok(answer) if answer["ok"] == false => Verdict::Never(why),
                _ => Verdict::Taken,
            }
        }
        200..=299 => Verdict::Taken,
        // PagerDuty: 403 "too many requests from this key" (its documentation, "Response codes").
        403 if matches!(kind, Kind::PagerDuty(_)) => Verdict::Later(why),
        408 | 425 | 429 | 500..=599 => Verdict::Later(why),
        _ => Verdict::Never(why),
    }
}

/// At most so many characters, with an ellipsis where some are left out.
fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(most.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

#[cfg(test)]
mod tests;
