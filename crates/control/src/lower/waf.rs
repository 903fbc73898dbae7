//! What `[waf]` becomes.

use super::Lowering;
use super::waf_files::WafFiles;
use config::keys::waf::{BanKeys, CaptureKeys};
use config::{Audit, BeyondLimit, Code, Mode, RawBody, RouteWaf, RouteWafKeys, Spanned};
use site::{Capture, Waf, WafBan};
use std::collections::BTreeSet;
use waf_engine::settings::{self, Exclusion, Limits, RuleFile, Settings};

/// The name of the file that the site's file stands for among the rules.
const OURS: &str = "[waf]";

/// Notes about the site's own rules that are shown.
const MOST_NOTES: usize = 20;

impl Lowering<'_> {
    /// `Some(None)` without a WAF; `None` where findings say what is wrong.
    pub(super) fn waf(&mut self) -> Option<Option<Waf>> {
        let config = self.config;
        let Some(keys) = &config.waf else { return Some(None) };
        let mut read = self.waf_files(keys);
        if self.failed() {
            return None;
        }
        ours(keys, &mut read.files);
        let settings = Settings {
            mode: mode(keys.mode.value),
            files: std::mem::take(&mut read.files),
            data: std::mem::take(&mut read.data),
            tx: variables(
                value(&keys.paranoia),
                value(&keys.detection_paranoia).or(value(&keys.paranoia)),
                value(&keys.inbound_threshold),
                value(&keys.outbound_threshold),
            ),
            exclude: exclusions(keys),
            processors_by_content_type: true,
            raw_body: match keys.raw_body.value {
                RawBody::Forms => waf_engine::settings::RawBody::Forms,
                RawBody::Always => waf_engine::settings::RawBody::Always,
            },
            limits: Limits {
                request_body: keys.body_limit.value,
                response_body: keys.response_body_limit.value,
                beyond: beyond(keys.limits.beyond.value),
                values: keys.limits.values.value,
                depth: keys.limits.depth.value,
                inspected: keys.limits.inspected.value,
                time_us: keys.limits.time.0.saturating_mul(1_000),
            },
        };
        let waf = Waf {
            routes: self.own_routes(keys),
            crs: read.crs.take(),
            websocket: keys.websocket.value,
            refuse_large: keys.beyond_limit.value == BeyondLimit::Refuse,
            capture: keys.capture.as_ref().map(capture),
            ban: keys.ban.as_ref().map(|ban| self.waf_ban(ban)),
            settings,
        };
        self.try_rules(keys, &waf, &read);
        if self.failed() { None } else { Some(Some(waf)) }
    }

    /// Loads the rules, for what is wrong with them and what their author may want to know.
    fn try_rules(&mut self, keys: &Spanned<config::Waf>, waf: &Waf, read: &WafFiles) {
        let engine = match waf_engine::Engine::load(&waf.settings) {
            Ok(engine) => engine,
            Err(errors) => {
                for error in errors {
                    let span = read.spans.get(&error.file).copied().unwrap_or(keys.span);
                    let message = match error.line {
                        0 => format!("{}: {}", error.file, error.what),
                        line => format!("{}:{line}: {}", error.file, error.what),
                    };
                    let finding = self.config.error(Code::Expression, span, message, error.hint);
                    self.findings.push(finding);
                }
                return;
            }
        };
        let of_crs = |name: &str| waf.crs.as_ref().is_some_and(|crs| crs.files.contains(name));
        let own = engine.notes().iter().filter(|note| !of_crs(&note.at.file) && &*note.at.file != OURS);
        for note in own.take(MOST_NOTES) {
            let span = read.spans.get(&*note.at.file).copied().unwrap_or(keys.span);
            let message = format!("{}:{}: {}", note.at.file, note.at.line, note.text);
            let finding = self.config.note(Code::NoEffect, span, message);
            self.findings.push(finding);
        }
        if keys.crs.is_none()
            && let Some(crs) = &waf.crs
        {
            let message = format!("the Core Rule Set {} of `{}` is used", crs.version, crs.folder);
            let finding = self.config.note(Code::File, keys.span, message);
            self.findings.push(finding);
        }
        let builtin = [
            waf_engine::builtin::TOO_MUCH,
            waf_engine::builtin::UNREADABLE_BODY,
            waf_engine::builtin::BODY_TOO_LARGE,
        ];
        let known: BTreeSet<u64> = engine.catalogue().map(|rule| rule.id).chain(builtin).collect();
        let excluded = keys.exclude.iter().map(|e| (e.rule.value, e.rule.span));
        let own = self.config.routes.iter().filter_map(|route| match &route.waf.value {
            RouteWaf::Own(own) => Some(&own.remove),
            RouteWaf::On | RouteWaf::Off => None,
        });
        let removed = own.flat_map(|remove| remove.iter().map(|id| (id.value.0, id.span)));
        let unknown: Vec<_> = excluded.chain(removed).filter(|(id, _)| !known.contains(id)).collect();
        for (id, span) in unknown {
            let hint =
                "`bastide waf explain ID` names the rule of an event; remove what is not needed any more";
            self.warning(Code::NoEffect, span, format!("no rule has the id `{id}`"), hint);
        }
    }

    /// What routes say for themselves, those that say the same together.
    fn own_routes(&self, keys: &config::Waf) -> Vec<site::RouteWaf> {
        let mut all: Vec<site::RouteWaf> = Vec::new();
        for (index, route) in self.config.routes.iter().enumerate() {
            let RouteWaf::Own(own) = &route.waf.value else { continue };
            let own = of_route(own, keys);
            if own == site::RouteWaf::default() {
                continue;
            }
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let same = |other: &&mut site::RouteWaf| {
                site::RouteWaf { routes: Vec::new(), ..(*other).clone() } == own
            };
            match all.iter_mut().find(same) {
                Some(same) => same.routes.push(index),
                None => all.push(site::RouteWaf { routes: vec![index], ..own }),
            }
        }
        all
    }

    fn waf_ban(&self, keys: &Spanned<BanKeys>) -> WafBan {
        let allowed = self.config.firewall.allow.iter().filter_map(|allow| allow.value.from);
        WafBan {
            events: keys.events.value,
            score: i64::from(keys.score.value),
            window: keys.window.value,
            time: keys.time.value,
            never: allowed.chain(self.config.site.trusted_proxies.iter().map(|net| net.value)).collect(),
        }
    }
}

/// What the site's file says and rules have words for. What it says outright stands
/// above the rule files, so it is read last; what it only has a default for, first.
fn ours(keys: &config::Waf, files: &mut Vec<RuleFile>) {
    let (mut first, mut last) = (String::new(), String::new());
    let action = match keys.beyond_limit.value {
        BeyondLimit::Pass => "SecRequestBodyLimitAction ProcessPartial\n",
        BeyondLimit::Refuse => "SecRequestBodyLimitAction Reject\n",
    };
    if keys.beyond_limit.given { &mut last } else { &mut first }.push_str(action);
    let audited = match keys.audit.value {
        Audit::Off => None,
        Audit::Relevant => Some("RelevantOnly"),
        Audit::All => Some("On"),
    };
    if let Some(engine) = audited {
        first.push_str(&format!(
            "SecAuditEngine {engine}\nSecAuditLogRelevantStatus \"^(?:5|4(?!04))\"\n\
             SecAuditLogParts ABIJDEFHZ\nSecAuditLogType Serial\nSecAuditLogFormat JSON\nSecAuditLog log/waf-audit.jsonl\n"
        ));
    }
    if !first.is_empty() {
        files.insert(0, RuleFile { name: OURS.to_owned(), text: first });
    }
    if !last.is_empty() {
        files.push(RuleFile { name: format!("{OURS} again"), text: last });
    }
}

fn mode(mode: Mode) -> settings::Mode {
    match mode {
        Mode::Detect => settings::Mode::Detect,
        Mode::Block => settings::Mode::Block,
    }
}

fn beyond(beyond: BeyondLimit) -> settings::BeyondLimit {
    match beyond {
        BeyondLimit::Pass => settings::BeyondLimit::Pass,
        BeyondLimit::Refuse => settings::BeyondLimit::Refuse,
    }
}

fn value(key: &Option<Spanned<u32>>) -> Option<u32> {
    key.as_ref().map(|key| key.value)
}

/// Settings of the Core Rule Set as its rules read them, with the names of version 3
/// beside those of version 4 (CRS 4.0.0's notes on upgrading).
fn variables(
    paranoia: Option<u32>,
    detection: Option<u32>,
    inbound: Option<u32>,
    outbound: Option<u32>,
) -> Vec<(String, String)> {
    let named: [(&[&str], Option<u32>); 4] = [
        (&["blocking_paranoia_level", "paranoia_level"], paranoia),
        (&["detection_paranoia_level", "executing_paranoia_level"], detection),
        (&["inbound_anomaly_score_threshold"], inbound),
        (&["outbound_anomaly_score_threshold"], outbound),
    ];
    let set = |(names, value): (&[&str], Option<u32>)| {
        let value = value.map(|value| value.to_string());
        names.iter().filter_map(|name| Some(((*name).to_owned(), value.clone()?))).collect::<Vec<_>>()
    };
    named.into_iter().flat_map(set).collect()
}

fn of_route(own: &RouteWafKeys, site: &config::Waf) -> site::RouteWaf {
    let paranoia = value(&own.paranoia);
    // More is run where more decides.
    let detection = value(&own.detection_paranoia).or_else(|| {
        paranoia.map(|paranoia| paranoia.max(value(&site.detection_paranoia).unwrap_or(paranoia)))
    });
    site::RouteWaf {
        routes: Vec::new(),
        mode: own.mode.as_ref().map(|own| mode(own.value)).filter(|own| *own != mode(site.mode.value)),
        tx: variables(paranoia, detection, value(&own.inbound_threshold), value(&own.outbound_threshold)),
        remove: own.remove.iter().map(|id| id.value.0).collect(),
    }
}

fn exclusions(keys: &config::Waf) -> Vec<Exclusion> {
    let exclusion = |e: &Spanned<config::keys::waf::Exclusion>| Exclusion {
        rule: e.rule.value,
        path: e.path.as_ref().map(|p| p.value.0.clone()),
        arg: e.arg.as_ref().map(|a| a.value.clone()),
    };
    keys.exclude.iter().map(exclusion).collect()
}

fn capture(keys: &Spanned<CaptureKeys>) -> Capture {
    Capture {
        every: keys.every.value,
        events: keys.events.value,
        body: keys.body.value,
        size: keys.size.value,
    }
}
