//! PagerDuty's Events API, the second and the first: one incident a group.

use super::{Builder, clip};
use crate::fingerprint;
use crate::manager::Message;
use crate::manager::config::PagerDuty;
use base::Secret;
use serde_json::{Map, Value, json};

/// Characters of a summary (PagerDuty's documentation, "PD-CEF").
const MAX_SUMMARY: usize = 1_024;

/// Characters of one detail: an event has 512 kB.
const MAX_DETAIL: usize = 60_000;

/// With Alertmanager's default texts.
pub fn defaults(routing_key: Secret) -> PagerDuty {
    let texts =
        |list: &[(&str, &str)]| list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    PagerDuty {
        url: "https://events.pagerduty.com/v2/enqueue".to_owned(),
        routing_key,
        first_api: false,
        fields: texts(&[
            ("client", "{{ template \"pagerduty.default.client\" . }}"),
            ("client_url", "{{ template \"pagerduty.default.clientURL\" . }}"),
            ("description", "{{ template \"pagerduty.default.description\" . }}"),
            ("severity", "{{ .CommonLabels.severity }}"),
        ]),
        details: texts(&[
            ("firing", "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}"),
            ("resolved", "{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}"),
            ("num_firing", "{{ .Alerts.Firing | len }}"),
            ("num_resolved", "{{ .Alerts.Resolved | len }}"),
        ]),
        links: Vec::new(),
        images: Vec::new(),
    }
}

/// Where events of the first API go; Alertmanager's `url` is the second's.
pub const FIRST_API: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";

/// The body of the POST.
pub fn body(builder: &Builder<'_>, pagerduty: &PagerDuty, message: &Message) -> Value {
    let text = |name: &str| pagerduty.fields.get(name).map(|t| builder.text(t)).unwrap_or_default();
    let action = if message.fires() { "trigger" } else { "resolve" };
    let client = text("client");
    // The same for all messages of a group, so that they are one incident.
    let incident = format!("{:016x}", fingerprint(&[(message.group_key.clone(), message.receiver.clone())]));
    let details = pagerduty
        .details
        .iter()
        .map(|(name, template)| (name.clone(), clip(&builder.text(template), MAX_DETAIL).into()))
        .collect::<Map<_, _>>();
    if pagerduty.first_api {
        let mut event = json!({
            "service_key": pagerduty.routing_key.reveal(),
            "event_type": action,
            "incident_key": incident,
            "description": clip(&text("description"), MAX_SUMMARY),
            "details": details,
        });
        if message.fires() {
            event["client"] = client.into();
            event["client_url"] = text("client_url").into();
        }
        return event;
    }
    let source = Some(text("source")).filter(|s| !s.is_empty()).unwrap_or_else(|| client.clone());
    let mut payload = json!({
        "summary": clip(&text("description"), MAX_SUMMARY),
        "source": source,
        "severity": severity(&text("severity")),
        "custom_details": details,
    });
    for name in ["class", "component", "group"] {
        let value = text(name);
        if !value.is_empty() {
            payload[name] = value.into();
        }
    }
    let mut event = json!({
        "routing_key": pagerduty.routing_key.reveal(),
        "event_action": action,
        "dedup_key": incident,
        "payload": payload,
    });
    if message.fires() {
        event["client"] = client.into();
        event["client_url"] = text("client_url").into();
        let list = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .filter(|(_, v)| !v.is_empty())
                .map(|(n, v)| ((*n).to_owned(), builder.text(v).into()))
                .collect::<Map<_, _>>()
        };
        if !pagerduty.links.is_empty() {
            event["links"] =
                pagerduty.links.iter().map(|(href, text)| list(&[("href", href), ("text", text)])).collect();
        }
        if !pagerduty.images.is_empty() {
            event["images"] = pagerduty
                .images
                .iter()
                .map(|(src, href, alt)| list(&[("src", src), ("href", href), ("alt", alt)]))
                .collect();
        }
    }
    event
}

/// One of the four that PagerDuty knows, for the words that people use.
pub(super) fn severity(word: &str) -> &'static str {
    match word.to_ascii_lowercase().as_str() {
        "critical" | "crit" | "page" | "fatal" | "emergency" => "critical",
        "warning" | "warn" | "minor" | "ticket" => "warning",
        "info" | "notice" | "low" | "none" | "debug" => "info",
        _ => "error",
    }
}
