//! Alertmanager's webhook JSON, version 4 (Alertmanager's documentation,
//! `<webhook_config>`).

use super::data::common;
use crate::manager::{Message, Told};
use crate::{Labels, ZERO_TIME, fingerprint, rfc3339};
use serde_json::{Map, Value, json};

/// The body of the POST. `external_url` is the page's, without a slash at its end.
pub fn body(message: &Message, external_url: &str) -> Value {
    let shared = |all: &dyn Fn(&Told) -> &Labels| {
        let common = common(message.alerts.iter().map(all));
        common.into_iter().map(|(n, v)| (n.to_owned(), v.into())).collect::<Map<_, _>>()
    };
    json!({
        "receiver": message.receiver,
        "status": if message.fires() { "firing" } else { "resolved" },
        "alerts": message.alerts.iter().map(alert).collect::<Vec<_>>(),
        "groupLabels": object(&message.group_labels),
        "commonLabels": shared(&|a| &a.labels),
        "commonAnnotations": shared(&|a| &a.annotations),
        "externalURL": external_url,
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": message.truncated,
    })
}

/// The page that shows an expression, as Prometheus names it.
pub fn generator_url(external_url: &str, expr: &str) -> String {
    format!("{external_url}/graph?g0.expr={}&g0.tab=1", crate::template::query_escape(expr))
}

fn alert(told: &Told) -> Value {
    json!({
        "status": if told.fires() { "firing" } else { "resolved" },
        "labels": object(&told.labels),
        "annotations": object(&told.annotations),
        "startsAt": rfc3339(told.starts_at_ms),
        // The zero time while it fires.
        "endsAt": told.ends_at_ms.map_or_else(|| ZERO_TIME.to_owned(), rfc3339),
        "generatorURL": told.generator_url,
        "fingerprint": format!("{:016x}", fingerprint(&told.labels)),
    })
}

/// Names and values as a JSON object.
pub(crate) fn object(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect::<Map<_, _>>().into()
}
