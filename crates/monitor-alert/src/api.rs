//! The JSON of `/api/v1/rules` and `/api/v1/alerts` as Prometheus has it, and of
//! Alertmanager's API v2.

use crate::manager::{Alert, Manager, MatcherText, Silence, Status};
use crate::receiver::webhook::object;
use crate::rules::{ActiveAlert, State};
use crate::settings::{Group, Rule, RuleKind};
use crate::{ZERO_TIME, rfc3339};
use monitor_model::Matcher;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How a rule's last evaluation fared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Why it failed; empty where it did not.
    pub error: String,
    /// When it was, in Unix milliseconds; 0 where there was none.
    pub at_ms: u64,
    /// How long it took, in seconds.
    pub took_s: f64,
}

/// One alert of a rule.
pub fn alert(alert: &ActiveAlert) -> Value {
    let mut json = json!({
        "labels": object(&alert.labels),
        "annotations": object(&alert.annotations),
        "state": alert.state.as_str(),
        "activeAt": rfc3339(alert.active_at_ms),
        "value": exponent(alert.value),
    });
    if let Some(since_ms) = alert.kept_since_ms {
        json["keepFiringSince"] = rfc3339(since_ms).into();
    }
    json
}

/// One rule with its alerts, those that resolved left out.
pub fn rule<'a>(
    rule: &Rule,
    health: &Health,
    alerts: impl Iterator<Item = &'a ActiveAlert>,
    without_alerts: bool,
) -> Value {
    let mut json = json!({
        "name": rule.name,
        "query": rule.expr,
        "labels": object(&rule.labels),
        "health": match (health.at_ms, health.error.is_empty()) {
            (0, _) => "unknown",
            (_, true) => "ok",
            (_, false) => "err",
        },
        "evaluationTime": health.took_s,
        "lastEvaluation": if health.at_ms == 0 { ZERO_TIME.to_owned() } else { rfc3339(health.at_ms) },
        "type": if rule.kind == RuleKind::Record { "recording" } else { "alerting" },
    });
    if !health.error.is_empty() {
        json["lastError"] = health.error.as_str().into();
    }
    if rule.kind == RuleKind::Alert {
        let active: Vec<&ActiveAlert> = alerts.filter(|a| a.state != State::Resolved).collect();
        json["state"] = match active.iter().map(|a| a.state).max_by_key(|s| *s == State::Firing) {
            Some(State::Firing) => "firing",
            Some(_) => "pending",
            None => "inactive",
        }
        .into();
        json["duration"] = rule.hold.as_secs_f64().into();
        json["keepFiringFor"] = rule.keep_firing.as_secs_f64().into();
        json["annotations"] = object(&rule.annotations);
        let shown = if without_alerts { &[][..] } else { &active };
        json["alerts"] = shown.iter().map(|a| self::alert(a)).collect();
    }
    json
}

/// A group around its rules; `interval_s` as it is followed, `took_s` and `at_ms`
/// of its last evaluation.
pub fn group(
    group: &Group,
    file: &str,
    interval_s: f64,
    rules: Vec<Value>,
    took_s: f64,
    at_ms: Option<u64>,
) -> Value {
    json!({
        "name": group.name,
        "file": file,
        "interval": interval_s,
        "limit": group.limit,
        "rules": rules,
        "evaluationTime": took_s,
        "lastEvaluation": at_ms.map_or_else(|| ZERO_TIME.to_owned(), rfc3339),
    })
}

/// Go's `strconv.FormatFloat(v, 'e', -1, 64)`, as in `/api/v1/alerts`.
pub fn exponent(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Which alerts are asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// Those of which people hear.
    pub active: bool,
    /// Silenced ones.
    pub silenced: bool,
    /// Inhibited ones.
    pub inhibited: bool,
    /// Only those of receivers that match.
    pub receiver: Option<Matcher>,
}

impl Wanted {
    fn takes(&self, alert: &Alert, status: &Status, receivers: &[&str]) -> bool {
        crate::manager::matcher::all_match(&self.matchers, &alert.labels)
            && (self.active || status.suppressed())
            && (self.silenced || status.silenced_by.is_empty())
            && (self.inhibited || status.inhibited_by.is_empty())
            && self.receiver.as_ref().is_none_or(|wanted| receivers.iter().any(|name| wanted.is_match(name)))
    }
}

fn gettable(print: u64, alert: &Alert, status: &Status, receivers: &[&str]) -> Value {
    let ends_at_ms = alert.ends_at_ms.unwrap_or(alert.updated_at_ms.saturating_add(FOREVER_MS));
    json!({
        "annotations": object(&alert.annotations),
        "endsAt": rfc3339(ends_at_ms),
        "fingerprint": format!("{print:016x}"),
        "receivers": receivers.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "startsAt": rfc3339(alert.starts_at_ms),
        "status": {
            "inhibitedBy": status.inhibited_by.iter().map(|print| format!("{print:016x}")).collect::<Vec<_>>(),
            "silencedBy": status.silenced_by,
            "mutedBy": [],
            "state": if status.suppressed() { "suppressed" } else { "active" },
        },
        "updatedAt": rfc3339(alert.updated_at_ms),
        "generatorURL": alert.generator_url,
        "labels": object(&alert.labels),
    })
}

/// An alert of a rule of ours has no end; readers want one that lies ahead.
const FOREVER_MS: u64 = 5 * 60_000;

/// `GET /api/v2/alerts`.
pub fn alerts_v2(manager: &Manager, wanted: &Wanted, now_ms: u64) -> Value {
    let all = manager.alerts(now_ms);
    let shown = all.iter().filter(|(_, alert, status, receivers)| wanted.takes(alert, status, receivers));
    shown.map(|(print, alert, status, receivers)| gettable(*print, alert, status, receivers)).collect()
}

/// `GET /api/v2/alerts/groups`.
pub fn groups_v2(manager: &Manager, wanted: &Wanted, now_ms: u64) -> Value {
    let all: BTreeMap<u64, _> =
        manager.alerts(now_ms).into_iter().map(|(p, a, s, r)| (p, (a, s, r))).collect();
    let groups = manager.groups().filter_map(|(_, receiver, group)| {
        let alerts: Vec<Value> = group
            .alerts
            .iter()
            .filter_map(|print| all.get(print).map(|found| (print, found)))
            .filter(|(_, (alert, status, _))| wanted.takes(alert, status, &[receiver]))
            .map(|(print, (alert, status, receivers))| gettable(*print, alert, status, receivers))
            .collect();
        (!alerts.is_empty()).then(
            || json!({ "alerts": alerts, "labels": object(&group.labels), "receiver": { "name": receiver } }),
        )
    });
    groups.collect()
}

/// One silence of `GET /api/v2/silences`.
pub fn silence_v2(silence: &Silence, now_ms: u64) -> Value {
    json!({
        "id": silence.id,
        "status": { "state": silence.state(now_ms).as_str() },
        "updatedAt": rfc3339(silence.updated_at_ms),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": rfc3339(silence.ends_at_ms),
        "matchers": silence.matchers,
        "startsAt": rfc3339(silence.starts_at_ms),
    })
}

/// Silences that match, as Alertmanager sorts them: active, pending, expired.
pub fn silences_v2(manager: &Manager, filter: &[MatcherText], now_ms: u64) -> Result<Value, String> {
    let filter = filter.iter().map(MatcherText::compile).collect::<Result<Vec<_>, _>>()?;
    // A silence is asked for by its own matchers, as in Alertmanager.
    let fits = |silence: &Silence| {
        let labels = silence.matchers.iter().map(|m| (m.name.clone(), m.value.clone())).collect();
        crate::manager::matcher::all_match(&filter, &labels)
    };
    let mut found: Vec<&Silence> = manager.silences().all().filter(|silence| fits(silence)).collect();
    found.sort_by_key(|silence| (order(silence, now_ms), silence.ends_at_ms));
    Ok(found.into_iter().map(|silence| silence_v2(silence, now_ms)).collect())
}

fn order(silence: &Silence, now_ms: u64) -> u8 {
    match silence.state(now_ms) {
        crate::manager::SilenceState::Active => 0,
        crate::manager::SilenceState::Pending => 1,
        crate::manager::SilenceState::Expired => 2,
    }
}

/// RFC 3339 in Unix milliseconds; Go's zero time is none.
pub fn time_ms(text: &str) -> Result<Option<u64>, String> {
    let at: jiff::Timestamp =
        text.parse().map_err(|_| format!("`{text}` is no time; hint: `2026-01-02T03:04:05Z`"))?;
    Ok(u64::try_from(at.as_millisecond()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::{Config, Pushed};

    #[test]
    fn alerts_and_silences_of_version_2() {
        let mut manager = Manager::default();
        let route = crate::manager::config::Route { receiver: "r".into(), ..Default::default() };
        let receiver =
            crate::manager::Receiver { name: "r".into(), integrations: Vec::new(), repeat: base::Millis(1) };
        let config = Config {
            route: Some(route),
            receivers: vec![receiver],
            resolve_timeout: base::Millis(300_000),
            ..Config::default()
        };
        manager.follow(config, 0).unwrap();
        for name in ["a", "b"] {
            let labels = vec![("alertname".to_owned(), name.to_owned())];
            manager.push(Pushed { labels, ..Pushed::default() }, 1_000).unwrap();
        }
        let silence = Silence {
            id: String::new(),
            matchers: vec![MatcherText::equal("alertname", "a")],
            starts_at_ms: 1_000,
            ends_at_ms: 60_000,
            updated_at_ms: 0,
            created_by: "me".into(),
            comment: "c".into(),
        };
        manager.silences_mut().set(silence, "id-1", 1_000).unwrap();
        let wanted =
            Wanted { matchers: Vec::new(), active: true, silenced: true, inhibited: true, receiver: None };
        let all = alerts_v2(&manager, &wanted, 2_000);
        assert_eq!(all.as_array().unwrap().len(), 2);
        let of = |wanted: &Wanted| -> Vec<String> {
            let found = alerts_v2(&manager, wanted, 2_000);
            found
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a["labels"]["alertname"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(of(&Wanted { silenced: false, ..wanted.clone() }), ["b"]);
        assert_eq!(of(&Wanted { active: false, ..wanted.clone() }), ["a"]);
        assert_eq!(
            of(&Wanted { receiver: Some(Matcher::equal("", "x")), ..wanted.clone() }),
            [] as [&str; 0]
        );
        let a = all.as_array().unwrap().iter().find(|a| a["labels"]["alertname"] == "a").unwrap();
        assert_eq!(a["status"]["state"], "suppressed");
        assert_eq!(a["status"]["silencedBy"], json!(["id-1"]));
        let silences = silences_v2(&manager, &[], 2_000).unwrap();
        assert_eq!(silences[0]["status"]["state"], "active");
        assert_eq!(
            silences[0]["matchers"],
            json!([{"name": "alertname", "value": "a", "isRegex": false, "isEqual": true}])
        );
        let groups = groups_v2(&manager, &wanted, 2_000);
        assert_eq!(
            (groups[0]["receiver"]["name"].as_str(), groups[0]["alerts"].as_array().unwrap().len()),
            (Some("r"), 2)
        );
        assert_eq!(time_ms("0001-01-01T00:00:00.000Z"), Ok(None));
        assert_eq!(time_ms("1970-01-01T00:00:01.5+00:00"), Ok(Some(1_500)));
        assert!(time_ms("x").is_err());
    }

    #[test]
    fn numbers() {
        for (value, expected) in [(1.0, "1e+00"), (0.05, "5e-02"), (1234.5, "1.2345e+03"), (f64::NAN, "NaN")]
        {
            assert_eq!(exponent(value), expected);
        }
    }
}
