//! What the edge receives of `[waf]`.

use base::net::IpNet;
use base::{Bytes, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use waf_engine::settings::{Exclusion, Mode, Settings};

/// Captured requests, below the state directory: JSON lines, each a [`crate::Captured`].
pub const CAPTURE: &str = "log/waf-capture.jsonl";

/// The web application firewall of a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waf {
    /// The rules, and how they are run on every route that says nothing else. Their
    /// keys stand beside the others: so the version before reads them.
    #[serde(flatten)]
    pub settings: Settings,
    /// What routes say for themselves; those that say the same are together.
    #[serde(default)]
    pub routes: Vec<RouteWaf>,
    /// The Core Rule Set, where one is among the files.
    #[serde(default)]
    pub crs: Option<CoreRuleSet>,
    /// Whether text that clients send over WebSockets is inspected.
    #[serde(default)]
    pub websocket: bool,
    /// Whether a message larger than what is inspected of a body ends a WebSocket.
    #[serde(default)]
    pub refuse_large: bool,
    /// Which requests are written down whole; none where none is.
    #[serde(default)]
    pub capture: Option<Capture>,
    /// Who is banned; none where nobody is.
    #[serde(default)]
    pub ban: Option<WafBan>,
}

/// What some routes say for themselves: everything else is the site's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteWaf {
    /// Their places among the routes, from 0.
    pub routes: Vec<u32>,
    /// The mode.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// `TX` variables, in place of the site's of the same names.
    #[serde(default)]
    pub tx: Vec<(String, String)>,
    /// Rules that are taken out.
    #[serde(default)]
    pub remove: Vec<u64>,
}

/// A copy of the OWASP Core Rule Set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreRuleSet {
    /// Where it was found.
    pub folder: String,
    /// As its own files say: `4.28.0`.
    pub version: String,
    /// The names of its rule files and of what they name.
    pub files: BTreeSet<String>,
}

/// `capture = { every = 100, events = true }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// One request in so many; 0 is none.
    pub every: u32,
    /// Every request on which a rule matched.
    pub events: bool,
    /// How much of a body is kept.
    pub body: Bytes,
    /// The file is renamed to `.1` when it grows beyond this.
    pub size: Bytes,
}

/// `ban = { events = 10, score = 5, window = "10m", time = "1h" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WafBan {
    /// So many events …
    pub events: u32,
    /// … of at least this score each …
    pub score: i64,
    /// … within this …
    pub window: Millis,
    /// … ban a client for so long.
    pub time: Millis,
    /// Networks that are never banned: the allow-list and the trusted proxies.
    pub never: Vec<IpNet>,
}

impl Waf {
    /// The settings of routes that have some of their own.
    pub fn settings_of(&self, own: &RouteWaf) -> Settings {
        let mut settings = self.settings.clone();
        settings.mode = own.mode.unwrap_or(settings.mode);
        settings.tx.retain(|(name, _)| !own.tx.iter().any(|(other, _)| other == name));
        settings.tx.extend(own.tx.iter().cloned());
        settings.exclude.extend(own.remove.iter().map(|&rule| Exclusion { rule, path: None, arg: None }));
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waf_engine::settings::{Limits, RuleFile};

    fn waf() -> Waf {
        Waf {
            settings: Settings {
                mode: Mode::Block,
                files: vec![RuleFile { name: "a.conf".into(), text: String::new() }],
                data: vec![],
                tx: vec![("blocking_paranoia_level".into(), "1".into())],
                exclude: vec![],
                processors_by_content_type: true,
                raw_body: Default::default(),
                limits: Limits::default(),
            },
            routes: vec![],
            crs: None,
            websocket: false,
            refuse_large: false,
            capture: None,
            ban: None,
        }
    }

    #[test]
    fn a_route_s_settings_stand_above_the_site_s() {
        let own = RouteWaf {
            routes: vec![1],
            mode: Some(Mode::Detect),
            tx: vec![("blocking_paranoia_level".into(), "3".into())],
            remove: vec![942100],
        };
        let settings = waf().settings_of(&own);
        assert_eq!(settings.mode, Mode::Detect);
        assert_eq!(settings.tx, [("blocking_paranoia_level".to_owned(), "3".to_owned())]);
        assert_eq!(settings.exclude, [Exclusion { rule: 942100, path: None, arg: None }]);
        assert_eq!(waf().settings_of(&RouteWaf::default()), waf().settings);
    }

    #[test]
    fn the_revision_of_the_version_before_is_read() {
        let text = r#"{"mode":"block","files":[{"name":"a.conf","text":""}],"exclude":[],
            "body_limit":131072,"beyond_limit":"pass"}"#;
        let read: Waf = serde_json::from_str(text).unwrap();
        assert_eq!(read.settings.files, waf().settings.files);
        let again: Waf = serde_json::from_str(&serde_json::to_string(&waf()).unwrap()).unwrap();
        assert_eq!(again, waf());
    }
}
