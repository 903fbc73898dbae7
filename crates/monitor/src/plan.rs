//! A revision, checked and compiled: every expression read, every template and
//! address understood, before anything that runs is touched.

use crate::rules::plan::{Group, groups, told};
use base::RevisionId;
use monitor_alert::manager::Config;
use monitor_alert::settings::Alert;
use monitor_alert::template::Template;
use monitor_promql::labels::{is_label_name, is_metric_name};
use std::collections::BTreeSet;

/// What runs.
pub(crate) struct Plan {
    /// The revision's number.
    pub(crate) revision: RevisionId,
    /// Its content.
    pub(crate) site: site::Monitor,
    /// Groups of rules: the site's own first, then those of rule files.
    pub(crate) groups: Vec<Group>,
    /// Who is told of what.
    pub(crate) manager: Config,
    /// What is scraped.
    pub(crate) pools: Vec<crate::scrape::PoolPlan>,
    /// What the operator should know of this revision.
    pub(crate) notes: Vec<String>,
}

impl Plan {
    /// Compiles a revision; all errors at once, each a sentence for the operator.
    pub(crate) fn compile(revision: site::Revision<site::Monitor>) -> Result<Self, Vec<String>> {
        let mut site = revision.site;
        let mut errors = Vec::new();
        if site.listen.is_empty() {
            errors.push("the monitor listens nowhere; hint: give `listen` an address".to_owned());
        }
        if site.scrape_interval.0 < 100 {
            errors.push(format!(
                "a scrape interval of `{}` is too short; hint: 100ms or more",
                site.scrape_interval
            ));
        }
        check_unique(&site, &mut errors);
        errors.extend(site.remote_write.iter().filter_map(|remote| crate::push::check(remote).err()));
        let (mut pools, mut notes) = (Vec::new(), Vec::new());
        match crate::scrape::pools_of(&site) {
            Ok(planned) => {
                (pools, notes) = (planned.pools, planned.notes);
                // What the revision itself says goes before what a file of Prometheus says.
                for (name, value) in planned.external_labels {
                    if site.external_labels.iter().all(|(known, _)| *known != name) {
                        site.external_labels.push((name, value));
                    }
                }
            }
            Err(wrong) => errors.extend(wrong),
        }
        errors.extend(site.probes.iter().filter_map(|probe| crate::probe::settings(probe).err()));
        for log in &site.logs {
            if let Err(error) = monitor_logs::Format::compile(&crate::logs::spec(&log.format)) {
                errors.push(format!("log `{}`: {error}", log.name));
            }
        }

        let manager = told(&site, &mut errors);
        let groups = groups(&site, &manager, &mut notes, &mut errors);
        for rule in &site.alert.recordings {
            if !is_metric_name(&rule.record) {
                errors.push(format!("recording rule `{}`: that is not a metric name", rule.record));
            }
        }
        for rule in &site.alert.alerts {
            check_alert(rule, &manager, &mut errors);
        }
        if site.alert.interval.0 < 100 && !(site.alert.alerts.is_empty() && site.alert.recordings.is_empty())
        {
            errors.push(format!(
                "a rule interval of `{}` is too short; hint: 100ms or more",
                site.alert.interval
            ));
        }

        if errors.is_empty() {
            Ok(Self { revision: revision.id, site, groups, manager, pools, notes })
        } else {
            Err(errors)
        }
    }
}

fn check_unique(site: &site::Monitor, errors: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for target in &site.targets {
        if !seen.insert((&target.job, &target.instance)) {
            errors.push(format!("two targets are job `{}`, instance `{}`", target.job, target.instance));
        }
        if !target.path.starts_with('/') || target.path.bytes().any(|b| b <= b' ' || b == 0x7f) {
            errors.push(format!("target `{}`: `{}` is not a path", target.instance, target.path));
        }
    }
    let mut seen = BTreeSet::new();
    for log in &site.logs {
        if !seen.insert(&log.name) {
            errors.push(format!("two logs are named `{}`; hint: give one another name", log.name));
        }
    }
    let mut seen = BTreeSet::new();
    for receiver in &site.alert.receivers {
        if !seen.insert(&receiver.name) {
            errors.push(format!("two receivers are named `{}`", receiver.name));
        }
    }
}

fn check_alert(rule: &Alert, manager: &Config, errors: &mut Vec<String>) {
    for name in &rule.to {
        if manager.receivers.iter().all(|r| r.name != *name) {
            errors.push(format!("alert `{}` goes to receiver `{name}`, which is not declared", rule.name));
        }
    }
    for (name, text) in rule.labels.iter().chain(&rule.annotations) {
        if !is_label_name(name) {
            errors.push(format!("alert `{}`: `{name}` is not a label name", rule.name));
        }
        if let Err(error) = Template::parse(text) {
            errors.push(format!("alert `{}`, `{name}`: {error}", rule.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Address, Millis, Secret};
    use monitor_alert::settings;

    pub(crate) fn site() -> site::Monitor {
        site::Monitor {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            targets: Vec::new(),
            scrape_interval: Millis(1_000),
            logs: Vec::new(),
            alert: settings::Settings { interval: Millis(1_000), ..Default::default() },
            retention: Millis::from_secs(86_400),
            retention_bytes: base::Bytes(0),
            ..site::Monitor::default()
        }
    }

    fn compile(site: site::Monitor) -> Result<Plan, Vec<String>> {
        Plan::compile(site::Revision { id: RevisionId(1), hash: "h".into(), made_at_ms: 0, site })
    }

    #[test]
    fn all_errors_of_a_revision_are_told_and_no_secret() {
        let mut site = site();
        let target = site::Target {
            job: "a".into(),
            instance: "b".into(),
            address: Address::parse("h:1").unwrap(),
            tls: false,
            path: "no slash".into(),
        };
        site.targets = vec![target.clone(), target];
        site.alert.recordings = vec![settings::Recording { record: "a b".into(), expr: "sum(".into() }];
        site.alert.alerts = vec![settings::Alert {
            name: "x".into(),
            expr: "rate(up)".into(),
            hold: Millis(0),
            labels: Vec::new(),
            annotations: vec![("summary".into(), "{{ if }}".into())],
            to: vec!["nobody".into()],
        }];
        site.alert.receivers = vec![settings::Receiver {
            name: "ops".into(),
            webhook: Secret::new("ftp://token@h/"),
            repeat: Millis(1),
        }];
        let errors = compile(site).err().unwrap().join("\n");
        for expected in [
            "two targets",
            "is not a path",
            "sum(",
            "not a metric name",
            "rate(up)",
            "a value is missing",
            "`nobody`",
            "`ops`",
        ] {
            assert!(errors.contains(expected), "{expected}: {errors}");
        }
        assert!(!errors.contains("token"), "{errors}");
    }

    #[test]
    fn ready_made_rules_compile() {
        let facts = monitor_alert::Facts {
            databases: vec![monitor_alert::ready_made::DatabaseFacts {
                name: "main".into(),
                max_lag: Millis(2_000),
            }],
            interval: Millis(5_000),
            ..Default::default()
        };
        let mut site = site();
        site.alert = monitor_alert::ready_made(&facts);
        let plan = compile(site).map_err(|e| e.join("\n")).unwrap();
        let recordings = plan.groups[0].rules.iter().filter(|r| r.is_recording()).count();
        assert!(plan.groups.len() == 1 && plan.groups[0].rules.len() >= 15 && recordings == 5);
    }
}
