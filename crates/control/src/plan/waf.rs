//! What of the WAF has a name in a plan.

use serde_json::{Value, json};
use site::{RouteWaf, Waf};
use std::hash::{DefaultHasher, Hash, Hasher};
use waf_engine::settings::{Exclusion, RuleFile};

/// Settings of the Core Rule Set, as rules and as the site's file call them.
const LEVELS: [(&str, &str); 4] = [
    ("blocking_paranoia_level", "paranoia"),
    ("detection_paranoia_level", "detection_paranoia"),
    ("inbound_anomaly_score_threshold", "inbound_threshold"),
    ("outbound_anomaly_score_threshold", "outbound_threshold"),
];

/// Everything of the WAF that has a name, with its settings.
pub(super) fn inventory(waf: &Waf) -> Vec<(String, Value)> {
    let settings = &waf.settings;
    let ours: Vec<&str> =
        settings.files.iter().filter(|file| is_ours(file)).flat_map(|file| file.text.lines()).collect();
    let mut about = levels(&settings.tx);
    about["mode"] = json!(settings.mode);
    about["limits"] = json!(settings.limits);
    about["websocket"] = json!(waf.websocket);
    about["capture"] = json!(waf.capture);
    about["ban"] = json!(waf.ban);
    about["directives"] = json!(ours);
    let mut all = vec![("waf".to_owned(), said(about))];
    if let Some(crs) = &waf.crs {
        // Sixty files are one thing here: a copy of the rule set.
        let mut hasher = DefaultHasher::new();
        for file in settings.files.iter().chain(&settings.data).filter(|file| crs.files.contains(&file.name))
        {
            (&file.name, &file.text).hash(&mut hasher);
        }
        let content = format!("{:016x}", hasher.finish());
        let about = json!({ "version": crs.version, "folder": crs.folder, "content": content });
        all.push(("waf Core Rule Set".to_owned(), about));
    }
    let of_crs = |file: &&RuleFile| waf.crs.as_ref().is_some_and(|crs| crs.files.contains(&file.name));
    for file in settings.files.iter().filter(|file| !of_crs(file) && !is_ours(file)) {
        all.push((format!("waf rules {}", file.name), json!(file.text)));
    }
    for file in settings.data.iter().filter(|file| !of_crs(file)) {
        all.push((format!("waf file {}", file.name), json!(file.text)));
    }
    all.extend(settings.exclude.iter().map(|exclusion| (name_of(exclusion), Value::Null)));
    all
}

/// What a route says for itself.
pub(super) fn of_route(waf: &Waf, route: usize) -> Option<Value> {
    let has = |own: &&RouteWaf| own.routes.iter().any(|&place| place as usize == route);
    let own = waf.routes.iter().find(has)?;
    let mut about = levels(&own.tx);
    about["mode"] = json!(own.mode);
    about["remove"] = json!(own.remove);
    Some(json!({ "waf": said(about) }))
}

/// Without what nobody said: that is told as `none`, and is no difference to nothing.
fn said(mut about: Value) -> Value {
    if let Value::Object(settings) = &mut about {
        settings.retain(|_, value| !value.is_null());
    }
    about
}

fn levels(tx: &[(String, String)]) -> Value {
    let value = |wanted: &str| tx.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let mut about = json!({});
    for (name, said) in LEVELS {
        about[said] = json!(value(name).and_then(|value| value.parse::<u64>().ok()));
    }
    about
}

fn name_of(exclusion: &Exclusion) -> String {
    let path = exclusion.path.as_ref().map_or_else(String::new, |path| format!(" on {path}"));
    let arg = exclusion.arg.as_ref().map_or_else(String::new, |arg| format!(" in {arg}"));
    format!("waf exclusion of rule {}{path}{arg}", exclusion.rule)
}

/// What the site's own file says in the rules' words; it has no file.
fn is_ours(file: &RuleFile) -> bool {
    file.name.starts_with("[waf]")
}
