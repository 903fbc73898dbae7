//! What a revision changes, for `plan`, `reload` and the event log. Pure.

mod waf;

use crate::compile::FirewallPlan;
use serde::Serialize;
use serde_json::Value;
use site::Site;
use std::collections::BTreeMap;
use std::fmt;

/// What happens to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is new.
    Add,
    /// It is there and differs.
    Change,
    /// It goes.
    Remove,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Add, change or remove.
    pub action: Action,
    /// What: `route /api/*`, `web server app/3`.
    pub what: String,
    /// Which of its settings differ: `weight 1 → 2`.
    pub detail: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        write!(f, "{sign} {}", self.what)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, "  {}", self.detail) }
    }
}

/// Everything that has a name in a site, with its settings.
type Inventory = BTreeMap<(u8, String), Value>;

/// The changes from one site to the next, in the order of the journey.
pub fn changes(current: Option<(&Site, &FirewallPlan)>, next: (&Site, &FirewallPlan)) -> Vec<Change> {
    let all = |(site, firewall): (&Site, &FirewallPlan)| {
        let mut all = inventory(site);
        all.extend(openings(firewall));
        all
    };
    let before = current.map(all).unwrap_or_default();
    let after = all(next);
    let mut keys: Vec<&(u8, String)> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let change = |key: &(u8, String)| {
        let (action, detail) = match (before.get(key), after.get(key)) {
            (None, Some(_)) => (Action::Add, String::new()),
            (Some(_), None) => (Action::Remove, String::new()),
            (Some(old), Some(new)) if old != new => (Action::Change, differences(old, new)),
            _ => return None,
        };
        Some(Change { action, what: key.1.clone(), detail })
    };
    keys.into_iter().filter_map(change).collect()
}

/// Whether the kernel's firewall is ours, and what its allow-list lets through.
fn openings(plan: &FirewallPlan) -> Inventory {
    let allow = plan.settings.allow.iter().map(|entry| {
        let from = entry.from.map_or(String::new(), |net| format!(" from {net}"));
        ((3, format!("firewall allow {}/{}{from}", entry.ports, entry.protocol.as_str())), Value::Null)
    });
    let applied = plan.apply.then(|| ((3, "firewall in the kernel".to_owned()), Value::Null));
    allow.chain(applied).collect()
}

fn inventory(site: &Site) -> Inventory {
    let mut all = Inventory::new();
    let mut put = |rank: u8, what: String, value: Result<Value, serde_json::Error>| {
        if let Ok(value) = value {
            all.insert((rank, what), value);
        }
    };
    let edge = &site.edge;
    put(0, "domains".into(), serde_json::to_value(&edge.domains));
    for address in &edge.https {
        put(1, format!("https {address}"), Ok(Value::Null));
    }
    for address in &edge.http {
        put(1, format!("http {address}"), Ok(Value::Null));
    }
    for certificate in &edge.certificates {
        // The chain tells renewals apart; the key is nobody's business here.
        put(
            2,
            format!("certificate {}", certificate.names.join(", ")),
            Ok(Value::from(certificate.chain_pem.as_str())),
        );
    }
    put(3, "limits".into(), serde_json::to_value(&edge.limits));
    put(3, "timeouts".into(), serde_json::to_value(&edge.timeouts));
    put(3, "trusted proxies".into(), serde_json::to_value(&edge.trusted_proxies));
    put(3, "workers".into(), Ok(edge.workers.into()));
    for (index, route) in edge.routes.routes.iter().enumerate() {
        let own = edge.waf.as_ref().and_then(|waf| waf::of_route(waf, index));
        put(4, format!("route {}", route.name), serde_json::to_value((index + 1, route, own)));
    }
    for (what, value) in edge.waf.iter().flat_map(waf::inventory) {
        put(5, what, Ok(value));
    }
    for pool in &edge.pools {
        let settings = balance::settings::Pool { servers: Vec::new(), ..pool.clone() };
        put(6, format!("pool {}", pool.name), serde_json::to_value(settings));
        for server in &pool.servers {
            put(6, format!("web server {}", server.name), serde_json::to_value(server));
        }
    }
    for database in site.databases.iter().flat_map(|d| &d.databases) {
        put(
            7,
            format!("database {}", database.name),
            serde_json::to_value((&database.listen, &database.route, database.durability)),
        );
        for member in &database.members {
            put(7, format!("database member {}", member.name), serde_json::to_value(member));
        }
    }
    let monitor = &site.monitor;
    put(
        8,
        "monitor".into(),
        serde_json::to_value((
            &monitor.listen,
            monitor.scrape_interval,
            monitor.retention,
            monitor.retention_bytes,
        )),
    );
    for target in &monitor.targets {
        put(8, format!("scraped {} {}", target.job, target.instance), serde_json::to_value(target));
    }
    for log in &monitor.logs {
        put(8, format!("log {}", log.name), serde_json::to_value(log));
    }
    for alert in &monitor.alert.alerts {
        put(9, format!("alert {}", alert.name), serde_json::to_value(alert));
    }
    for receiver in &monitor.alert.receivers {
        put(9, format!("receiver {}", receiver.name), Ok(Value::from(receiver.repeat.to_string())));
    }
    for process in &site.processes {
        let command =
            (&process.argv, &process.cwd, process.env.iter().map(|(name, _)| name).collect::<Vec<_>>());
        put(10, format!("process {}", process.name), serde_json::to_value(command));
    }
    all
}

/// Longer differences only count.
const SHOWN: usize = 100;

/// Which leaves differ, with both values where they are short.
fn differences(old: &Value, new: &Value) -> String {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    leaves("", old, &mut before);
    leaves("", new, &mut after);
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let show = |value: Option<&&Value>| value.map_or("none".to_owned(), |v| v.to_string());
    let all: Vec<String> = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| {
            let text = format!("{key} {} → {}", show(before.get(key)), show(after.get(key)));
            let text = text.trim_start().to_owned();
            if text.len() > SHOWN {
                if key.is_empty() { "content changed".to_owned() } else { format!("{key} changed") }
            } else {
                text
            }
        })
        .collect();
    match all.len() {
        0..=4 => all.join(", "),
        n => format!("{}, and {} more", all[..3].join(", "), n - 3),
    }
}

fn leaves<'a>(path: &str, value: &'a Value, out: &mut BTreeMap<String, &'a Value>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(map) if !map.is_empty() => map.iter().for_each(|(name, v)| leaves(&join(name), v, out)),
        Value::Array(list) if list.iter().any(|v| v.is_object() || v.is_array()) => {
            for (index, v) in list.iter().enumerate() {
                // A part's place says nothing where it is itself a table of named things.
                let name = if v.is_object() { String::new() } else { index.to_string() };
                if name.is_empty() { leaves(path, v, out) } else { leaves(&join(&name), v, out) }
            }
        }
        leaf => {
            out.insert(path.to_owned(), leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_what_changed() {
        let cases = [
            (json!({"weight": 1, "name": "a"}), json!({"weight": 2, "name": "a"}), "weight 1 → 2"),
            (
                json!({"health": null}),
                json!({"health": {"path": "/h"}}),
                "health null → none, health.path none → \"/h\"",
            ),
            (json!(["x"]), json!(["x", "y"]), "[\"x\"] → [\"x\",\"y\"]"),
            (json!("a".repeat(200)), json!("b".repeat(200)), "content changed"),
        ];
        for (old, new, expected) in cases {
            assert_eq!(differences(&old, &new), expected);
        }
    }
}
