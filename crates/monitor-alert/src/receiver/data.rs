//! What a notification's template sees (Alertmanager's documentation,
//! "Notification template reference").

use crate::manager::{Message, Told};
use crate::template::{ListKind, MapKind, Moment, Value};
use crate::{Labels, fingerprint};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The whole of it.
pub fn of(message: &Message, external_url: &str) -> Value {
    let alerts = message.alerts.iter().map(alert).collect();
    Value::fields([
        ("Receiver", Value::text(&message.receiver)),
        ("Status", Value::text(if message.fires() { "firing" } else { "resolved" })),
        ("Alerts", Value::List(Arc::new(alerts), ListKind::Alerts)),
        ("GroupLabels", kv(message.group_labels.iter().map(|(n, v)| (n.as_str(), v.as_str())))),
        ("CommonLabels", kv(common(message.alerts.iter().map(|a| &a.labels)))),
        ("CommonAnnotations", kv(common(message.alerts.iter().map(|a| &a.annotations)))),
        ("ExternalURL", Value::text(external_url)),
        ("GroupKey", Value::text(&message.group_key)),
        ("TruncatedAlerts", Value::Int(message.truncated as i64)),
    ])
}

fn alert(told: &Told) -> Value {
    let time = |ms: u64| Value::Time(Moment::of_ms(i64::try_from(ms).unwrap_or(i64::MAX)));
    let pairs = |labels: &Labels| kv(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    Value::fields([
        ("Status", Value::text(if told.fires() { "firing" } else { "resolved" })),
        ("Labels", pairs(&told.labels)),
        ("Annotations", pairs(&told.annotations)),
        ("StartsAt", time(told.starts_at_ms)),
        ("EndsAt", told.ends_at_ms.map_or_else(|| Value::Time(Moment::zero()), time)),
        ("GeneratorURL", Value::text(&told.generator_url)),
        ("Fingerprint", Value::text(format!("{:016x}", fingerprint(&told.labels)))),
    ])
}

fn kv<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    Value::texts(pairs, MapKind::Kv)
}

/// The pairs that all have.
pub(super) fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> BTreeMap<&'a str, &'a str> {
    let Some(first) = all.next() else { return BTreeMap::new() };
    let mut common: BTreeMap<&str, &str> = first.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for labels in all {
        common.retain(|name, value| labels.iter().any(|(n, v)| n == name && v == value));
    }
    common
}
