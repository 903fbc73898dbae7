//! Slack's incoming webhooks: one message with one attachment, as Alertmanager
//! sends it.

use super::{Builder, clip};
use crate::manager::config::Slack;
use base::Secret;
use serde_json::{Map, Value, json};

/// Characters of a title (Slack refuses longer ones).
const MAX_TITLE: usize = 1_024;

/// Characters of a text; Slack cuts beyond 40,000.
const MAX_TEXT: usize = 30_000;

/// With Alertmanager's default texts, ours for the text itself.
pub fn defaults(api_url: Secret) -> Slack {
    let fields = [
        ("username", "{{ template \"slack.default.username\" . }}"),
        ("color", "{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}"),
        ("title", "{{ template \"slack.default.title\" . }}"),
        ("title_link", "{{ template \"slack.default.titlelink\" . }}"),
        ("text", "{{ template \"slack.default.text\" . }}"),
        ("fallback", "{{ template \"slack.default.fallback\" . }}"),
    ];
    Slack {
        api_url,
        fields: fields.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        attachment_fields: Vec::new(),
        actions: Vec::new(),
        short_fields: false,
        link_names: false,
    }
}

/// The body of the POST.
pub fn body(builder: &Builder<'_>, slack: &Slack) -> Value {
    let mut message = Map::new();
    let mut attachment = Map::new();
    for (name, template) in &slack.fields {
        let text = builder.text(template);
        if text.is_empty() {
            continue;
        }
        let text = match name.as_str() {
            "title" => clip(&text, MAX_TITLE),
            _ => clip(&text, MAX_TEXT),
        };
        match name.as_str() {
            "channel" | "username" | "icon_emoji" | "icon_url" => {
                drop(message.insert(name.clone(), text.into()))
            }
            "mrkdwn_in" => {
                let list: Vec<&str> = text.split(',').collect();
                attachment.insert(name.clone(), list.into());
            }
            _ => drop(attachment.insert(name.clone(), text.into())),
        }
    }
    if !attachment.contains_key("mrkdwn_in") {
        attachment.insert("mrkdwn_in".to_owned(), json!(["fallback", "pretext", "text"]));
    }
    if !slack.attachment_fields.is_empty() {
        let fields = slack.attachment_fields.iter().map(|(title, value, short)| {
            json!({ "title": builder.text(title), "value": builder.text(value), "short": short.unwrap_or(slack.short_fields) })
        });
        attachment.insert("fields".to_owned(), fields.collect());
    }
    if !slack.actions.is_empty() {
        let actions = slack.actions.iter().map(|action| {
            let texts = action.iter().map(|(n, v)| (n.clone(), builder.text(v).into()));
            Value::Object(texts.collect())
        });
        attachment.insert("actions".to_owned(), actions.collect());
    }
    if slack.link_names {
        message.insert("link_names".to_owned(), true.into());
    }
    message.insert("attachments".to_owned(), vec![Value::from(attachment)].into());
    message.into()
}
