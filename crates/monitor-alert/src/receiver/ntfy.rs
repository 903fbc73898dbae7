//! ntfy: a message published as JSON.

use super::{Builder, clip, pagerduty};
use crate::manager::Message;
use crate::manager::config::Ntfy;
use serde_json::{Value, json};

/// Bytes of a message (ntfy makes an attachment of longer ones).
const MAX_MESSAGE: usize = 4_000;

/// The body of the POST.
pub fn body(builder: &Builder<'_>, ntfy: &Ntfy, message: &Message) -> Value {
    let or = |text: &str, default: &str| builder.text(if text.is_empty() { default } else { text });
    let mut text = or(&ntfy.message, "{{ template \"ntfy.default.message\" . }}");
    let mut most = MAX_MESSAGE;
    while text.len() > MAX_MESSAGE {
        text = clip(&text, most);
        most -= most / 10;
    }
    let severity = pagerduty::severity(&builder.text("{{ .CommonLabels.severity }}"));
    let priority = match builder.text(&ntfy.priority).trim().parse::<u8>() {
        _ if !message.fires() => 3,
        Ok(priority @ 1..=5) => priority,
        _ => match severity {
            "critical" => 5,
            "error" => 4,
            "info" => 2,
            _ => 3,
        },
    };
    let tags =
        or(&ntfy.tags, "{{ if eq .Status \"firing\" }}rotating_light{{ else }}white_check_mark{{ end }}");
    let tags: Vec<&str> = tags.split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    json!({
        "topic": ntfy.topic.reveal(),
        "title": clip(&or(&ntfy.title, "{{ template \"ntfy.default.title\" . }}"), 250),
        "message": text.trim_end(),
        "priority": priority,
        "tags": tags,
        "click": builder.text("{{ .ExternalURL }}/"),
    })
}
