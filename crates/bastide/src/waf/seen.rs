//! What rules saw in one request, whether the edge wrote it down or it was tried
//! here, and what follows from a match alone.

use crate::events::text;
use base::events::RuleMatch;
use serde_json::Value;
use std::collections::BTreeSet;

/// One request that rules matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// The event's id, where it was one.
    pub(crate) id: Option<String>,
    /// Unix milliseconds.
    pub(crate) at_ms: Option<u64>,
    /// None where nobody knows: a file of requests.
    pub(crate) client: Option<String>,
    pub(crate) method: String,
    pub(crate) host: String,
    /// Without query, as logs escape it.
    pub(crate) path: String,
    /// Refused, or it would have been in block mode.
    pub(crate) refused: bool,
    pub(crate) score: Option<i64>,
    pub(crate) threshold: Option<i64>,
    pub(crate) matches: Vec<RuleMatch>,
}

impl Seen {
    /// Of an event as the log holds it; matches that a newer edge wrote in another
    /// form are left out.
    pub(crate) fn of_event(event: &Value) -> Self {
        let matches: Vec<RuleMatch> = event["matches"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| serde_json::from_value(one.clone()).ok())
            .collect();
        let score = event["score"].as_i64().filter(|score| *score != 0);
        // An edge before this one did not say which rule refuses.
        let sums = || matches.iter().any(is_sum) || !matches.iter().any(is_counted);
        let refuses = if event.get("rule").is_some() { !event["rule"].is_null() } else { sums() };
        Self {
            id: event["id"].as_str().map(str::to_owned),
            at_ms: event["at_ms"].as_u64(),
            client: event["client"].as_str().map(str::to_owned),
            method: text(event, "method"),
            host: text(event, "host"),
            path: text(event, "path"),
            refused: event["blocked"] == true || refuses,
            score: score.or_else(|| matches.iter().find_map(told_score)),
            threshold: matches.iter().filter(|m| is_sum(m)).find_map(compared_with),
            matches,
        }
    }

    /// The rules that found something, without those that add up.
    pub(crate) fn rules(&self) -> BTreeSet<u64> {
        self.matches.iter().filter(|m| !is_sum(m)).map(|m| m.rule).collect()
    }

    /// The points that its rules gave, as far as their severities tell: rule, severity, points.
    pub(crate) fn points(&self) -> Vec<(u64, String, i64)> {
        let mut points: Vec<(u64, String, i64)> = Vec::new();
        for one in self.matches.iter().filter(|m| !is_sum(m) && is_counted(m)) {
            let severity = one.severity.clone().unwrap_or_default();
            if !points.iter().any(|(rule, ..)| *rule == one.rule)
                && let Some(worth) = worth(&severity)
            {
                points.push((one.rule, severity, worth));
            }
        }
        points
    }
}

/// Points of a severity unless a file says otherwise (CRS, `crs-setup.conf`, rule 900100).
fn worth(severity: &str) -> Option<i64> {
    match severity.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" => Some(5),
        "error" => Some(4),
        "warning" => Some(3),
        "notice" => Some(2),
        _ => None,
    }
}

/// A rule of the Core Rule Set that found something counts points instead of refusing.
fn is_counted(matched: &RuleMatch) -> bool {
    matched.tags.iter().any(|tag| tag == "OWASP_CRS" || tag.starts_with("OWASP_CRS/"))
}

/// A rule that adds up what others found and refuses because of it: those of the Core
/// Rule Set (949, 959, 980) and any that looks at a score.
pub(crate) fn is_sum(matched: &RuleMatch) -> bool {
    let looks_at_score =
        matched.variable.strip_prefix("TX:").is_some_and(|name| name.contains("anomaly_score"));
    matches!(matched.rule / 1_000, 949 | 959 | 980) || looks_at_score
}

/// `(Total Score: 15)`, as the Core Rule Set says it.
fn told_score(matched: &RuleMatch) -> Option<i64> {
    let (_, rest) = matched.message.split_once("Total Score: ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The threshold of a rule that compares a score: `@ge 5`, filled in.
fn compared_with(matched: &RuleMatch) -> Option<i64> {
    matched.operator.strip_prefix("@ge ")?.trim().parse().ok()
}

/// Kinds of attack that tags name; what any odd request is tagged with is none.
pub(crate) fn families(matches: &[RuleMatch]) -> BTreeSet<String> {
    let named = |tag: &str| tag.strip_prefix("attack-").map(str::to_owned);
    let kinds = matches.iter().flat_map(|m| m.tags.iter().filter_map(|tag| named(tag)));
    kinds.filter(|kind| !matches!(kind.as_str(), "generic" | "protocol" | "disclosure" | "dos")).collect()
}

/// The argument that an exclusion could name for a match: of query, body or files.
pub(crate) fn argument(variable: &str) -> Option<&str> {
    let (name, member) = variable.split_once(':')?;
    const ARGUMENTS: [&str; 7] =
        ["ARGS", "ARGS_GET", "ARGS_POST", "FILES", "ARGS_NAMES", "ARGS_GET_NAMES", "ARGS_POST_NAMES"];
    (ARGUMENTS.contains(&name) && !member.is_empty() && !member.ends_with('…')).then_some(member)
}

/// What a chained rule looks at besides the value in question.
pub(crate) fn is_beside(variable: &str) -> bool {
    let name = variable.split(':').next().unwrap_or_default();
    name.starts_with('&')
        || matches!(
            name,
            "" | "TX"
                | "MATCHED_VAR"
                | "MATCHED_VARS"
                | "MATCHED_VAR_NAME"
                | "MATCHED_VARS_NAMES"
                | "REQUEST_METHOD"
                | "REQUEST_PROTOCOL"
        )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn matched(rule: u64, variable: &str, tags: &[&str]) -> RuleMatch {
        let tags: Vec<&str> = tags.iter().copied().chain(["OWASP_CRS"]).collect();
        serde_json::from_value(json!({
            "rule": rule, "source": "a.conf:1", "message": "m", "severity": "critical", "tags": tags,
            "variable": variable, "value": "v", "transformed": "v", "transformations": [],
            "operator": "@rx v", "matched": "v",
        }))
        .unwrap()
    }

    #[test]
    fn events_tell_what_was_refused_and_why() {
        let mut sum = matched(949_110, "TX:blocking_inbound_anomaly_score", &[]);
        sum.message = "Inbound Anomaly Score Exceeded (Total Score: 15)".into();
        sum.operator = "@ge 5".into();
        let event = json!({ "id": "X", "client": "192.0.2.1", "method": "GET", "host": "h", "path": "/a", "blocked": false,
            "matches": [matched(942_100, "ARGS:q", &["attack-sqli"]), matched(942_100, "ARGS:q", &[]), sum] });
        let seen = Seen::of_event(&event);
        assert_eq!((seen.refused, seen.score, seen.rules().len()), (true, Some(15), 1));
        assert_eq!(seen.threshold, Some(5));
        assert_eq!(seen.points(), [(942_100, "critical".to_owned(), 5)]);
        let mut event = event;
        event["matches"].as_array_mut().unwrap().pop();
        assert!(!Seen::of_event(&event).refused, "below the threshold");
        event["matches"][0]["tags"] = json!([]);
        event["matches"][1]["tags"] = json!([]);
        assert!(Seen::of_event(&event).refused, "a rule of one's own refuses by itself");
        event["rule"] = Value::Null;
        assert!(!Seen::of_event(&event).refused, "the edge says that no rule refuses");
        assert_eq!(Seen::of_event(&json!({})).matches.len(), 0);
    }

    #[test]
    fn what_an_exclusion_can_name() {
        let cases = [
            ("ARGS:q", Some("q")),
            ("ARGS_POST:json.a.b", Some("json.a.b")),
            ("ARGS_NAMES:a:b", Some("a:b")),
            ("REQUEST_HEADERS:User-Agent", None),
            ("ARGS", None),
            ("FILES:photo", Some("photo")),
        ];
        for (variable, expected) in cases {
            assert_eq!(argument(variable), expected, "{variable}");
        }
        assert!(is_beside("TX:1") && is_beside("&ARGS") && !is_beside("REQUEST_FILENAME"));
    }
}
