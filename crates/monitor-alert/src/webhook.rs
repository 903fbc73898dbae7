//! Alertmanager's webhook JSON, version 4 (Alertmanager's documentation,
//! `<webhook_config>`).

use crate::notify::Notification;
use crate::rules::{ActiveAlert, State};
use crate::{Labels, ZERO_TIME, fingerprint, rfc3339};
use serde::Serialize;
use std::collections::BTreeMap;

/// The body of the POST. `external_url` is the page's, without a slash at its end;
/// `expr` gives the expression of an alert's rule by its name.
pub fn body(
    notification: &Notification,
    external_url: &str,
    expr: impl Fn(&str) -> Option<String>,
) -> serde_json::Result<Vec<u8>> {
    let alerts: Vec<Alert<'_>> = notification
        .alerts
        .iter()
        .map(|alert| {
            let name = alert.labels.iter().find(|(n, _)| n == "alertname").map_or("", |(_, v)| v.as_str());
            one(alert, &generator_url(external_url, &expr(name).unwrap_or_default()))
        })
        .collect();
    let message = Message {
        receiver: &notification.receiver,
        status: if notification.firing() { "firing" } else { "resolved" },
        alerts,
        group_labels: map(&notification.group_labels),
        common_labels: common(notification.alerts.iter().map(|a| &a.labels)),
        common_annotations: common(notification.alerts.iter().map(|a| &a.annotations)),
        external_url,
        version: "4",
        group_key: &notification.group_key,
        truncated_alerts: notification.truncated,
    };
    serde_json::to_vec(&message)
}

/// The page that shows an expression, as Prometheus names it.
pub fn generator_url(external_url: &str, expr: &str) -> String {
    format!("{external_url}/graph?g0.expr={}&g0.tab=1", crate::template::query_escape(expr))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<Alert<'a>>,
    group_labels: BTreeMap<&'a str, &'a str>,
    common_labels: BTreeMap<&'a str, &'a str>,
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, &'a str>,
    starts_at: String,
    /// The zero time while it fires.
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

fn one<'a>(alert: &'a ActiveAlert, generator_url: &str) -> Alert<'a> {
    let resolved = alert.state == State::Resolved;
    Alert {
        status: if resolved { "resolved" } else { "firing" },
        labels: map(&alert.labels),
        annotations: map(&alert.annotations),
        starts_at: rfc3339(alert.fired_at_ms.unwrap_or(alert.active_at_ms)),
        ends_at: alert.resolved_at_ms.filter(|_| resolved).map_or_else(|| ZERO_TIME.to_owned(), rfc3339),
        generator_url: generator_url.to_owned(),
        fingerprint: format!("{:016x}", fingerprint(&alert.labels)),
    }
}

fn map(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> BTreeMap<&'a str, &'a str> {
    let Some(first) = all.next() else { return BTreeMap::new() };
    let mut common = map(first);
    for labels in all {
        common.retain(|name, value| labels.iter().any(|(n, v)| n == name && v == value));
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_shape() {
        let alert = |server: &str, state, resolved_at_ms| ActiveAlert {
            labels: vec![
                ("alertname".into(), "server-down".into()),
                ("pool".into(), "app".into()),
                ("server".into(), server.into()),
            ],
            annotations: vec![("summary".into(), "down".into())],
            state,
            active_at_ms: 1_764_000_000_000,
            fired_at_ms: Some(1_764_000_060_000),
            resolved_at_ms,
            kept_since_ms: None,
            value: 0.0,
        };
        let notification = Notification {
            receiver: "ops".into(),
            group_key: "key".into(),
            group_labels: vec![("alertname".into(), "server-down".into())],
            alerts: vec![
                alert("app/1", State::Firing, None),
                alert("app/2", State::Resolved, Some(1_764_000_120_000)),
            ],
            truncated: 0,
        };
        let body = body(&notification, "http://127.0.0.1:9600", |_| Some("a == 0".into())).unwrap();
        let got: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "receiver": "ops",
            "status": "firing",
            "alerts": [{
                "status": "firing",
                "labels": {"alertname": "server-down", "pool": "app", "server": "app/1"},
                "annotations": {"summary": "down"},
                "startsAt": "2025-11-24T16:01:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://127.0.0.1:9600/graph?g0.expr=a+%3D%3D+0&g0.tab=1",
                "fingerprint": got["alerts"][0]["fingerprint"],
            }, {
                "status": "resolved",
                "labels": {"alertname": "server-down", "pool": "app", "server": "app/2"},
                "annotations": {"summary": "down"},
                "startsAt": "2025-11-24T16:01:00Z",
                "endsAt": "2025-11-24T16:02:00Z",
                "generatorURL": "http://127.0.0.1:9600/graph?g0.expr=a+%3D%3D+0&g0.tab=1",
                "fingerprint": got["alerts"][1]["fingerprint"],
            }],
            "groupLabels": {"alertname": "server-down"},
            "commonLabels": {"alertname": "server-down", "pool": "app"},
            "commonAnnotations": {"summary": "down"},
            "externalURL": "http://127.0.0.1:9600",
            "version": "4",
            "groupKey": "key",
            "truncatedAlerts": 0,
        });
        assert_eq!(got, expected);
        let prints = [&got["alerts"][0]["fingerprint"], &got["alerts"][1]["fingerprint"]];
        assert!(prints.iter().all(|p| p.as_str().is_some_and(|p| p.len() == 16)));
        assert_ne!(prints[0], prints[1]);
    }
}
