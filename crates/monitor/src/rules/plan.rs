//! Rules, receivers and routes of a revision, compiled: every expression read,
//! every file that is named, and every address.

use crate::notify;
use monitor_alert::manager::{self, Config};
use monitor_alert::settings::{self, RuleKind};
use monitor_alert::{group, rule_file};
use monitor_promql::Query;
use std::path::Path;

/// How often a group of a rule file is evaluated that does not say (Prometheus: the same).
const FILE_INTERVAL_MS: u64 = 60_000;

/// Bytes of a file that Alertmanager's file names.
const MAX_NAMED_FILE: u64 = 1 << 20;

/// Rules that are evaluated together.
pub(crate) struct Group {
    /// As it was written.
    pub(crate) settings: settings::Group,
    /// Between two evaluations; never 0.
    pub(crate) interval_ms: u64,
    /// In order.
    pub(crate) rules: Vec<Rule>,
}

impl Group {
    /// Names it among all groups, in metrics too: `rules.yml;example`.
    pub(crate) fn name(&self) -> String {
        match self.settings.file.as_str() {
            "" => self.settings.name.clone(),
            file => format!("{file};{}", self.settings.name),
        }
    }
}

/// A rule.
pub(crate) struct Rule {
    /// Unique among the rules, and the same in the next revision.
    pub(crate) key: String,
    /// As it was written.
    pub(crate) rule: settings::Rule,
    /// Its expression.
    pub(crate) query: Query,
}

impl Rule {
    /// Whether it writes a series.
    pub(crate) fn is_recording(&self) -> bool {
        self.rule.kind == RuleKind::Record
    }
}

/// The site's own rules, then those of its rule files; each compiled.
pub(crate) fn groups(
    site: &site::Monitor,
    manager: &Config,
    notes: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Vec<Group> {
    let mut all: Vec<settings::Group> = group::own(&site.alert).into_iter().collect();
    for file in &site.rule_files {
        match rule_file::read(file.text.reveal(), &file.name) {
            Ok(read) => {
                all.extend(read.groups);
                notes.extend(read.warnings);
            }
            Err(mistakes) => errors.extend(mistakes.iter().map(ToString::to_string)),
        }
    }
    // Without routes every receiver hears of what rule files find.
    let everyone: Vec<String> = manager.receivers.iter().map(|r| r.name.clone()).collect();
    let mut groups = Vec::new();
    for mut settings in all {
        if manager.route.is_none() && !settings.file.is_empty() {
            settings.rules.iter_mut().for_each(|rule| rule.to.clone_from(&everyone));
        }
        let mut rules = Vec::new();
        for (rule, key) in settings.rules.iter().zip(group::keys(&settings)) {
            match Query::parse(&rule.expr) {
                Ok(query) => rules.push(Rule { key, rule: rule.clone(), query }),
                Err(error) => {
                    let kind = if rule.kind == RuleKind::Record { "recording rule" } else { "alert" };
                    let place = match settings.file.as_str() {
                        "" => String::new(),
                        file => format!("{file}:{}: ", rule.place),
                    };
                    let (name, expr) = (&rule.name, &rule.expr);
                    errors.push(format!("{place}{kind} `{name}`: `{expr}` is not an expression: {error}"));
                }
            }
        }
        let interval_ms = match (settings.interval.0, settings.file.is_empty()) {
            (0, true) => site.alert.interval.0,
            (0, false) => FILE_INTERVAL_MS,
            (own_ms, _) => own_ms,
        };
        let interval_ms = interval_ms.max(100);
        groups.push(Group { settings, interval_ms, rules });
    }
    groups
}

/// Who is told of what: the file's receivers, and what Alertmanager's file says.
pub(crate) fn told(site: &site::Monitor, errors: &mut Vec<String>) -> Config {
    let own = Config::of(&site.alert);
    let config = match &site.alertmanager {
        None => own,
        Some(file) => {
            let texts = |pattern: &str| named_files(&file.folder, pattern);
            let read = manager::file::read(file.text.reveal(), &file.name, &texts)
                .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())
                .and_then(|read| own.clone().with_file(read).map_err(|why| vec![why]));
            read.unwrap_or_else(|wrong| {
                errors.extend(wrong);
                own
            })
        }
    };
    for receiver in &config.receivers {
        for integration in &receiver.integrations {
            // The URL itself is a secret: it may hold a token.
            if let Err(why) = notify::check(integration) {
                let kind = integration.kind.name();
                errors.push(format!("receiver `{}`: its {kind} URL {why}", receiver.name));
            }
        }
    }
    if let Some(dead_man) = &site.dead_man
        && let Err(why) = notify::Target::parse(dead_man.url.reveal())
    {
        errors.push(format!("the dead man's URL {why}"));
    }
    if let Err(why) = config.check() {
        errors.push(why);
    }
    config
}

/// The texts of the files that a path or a pattern names; `*` stands for any
/// part of the last name.
fn named_files(folder: &Path, pattern: &str) -> Result<Vec<String>, String> {
    let path = folder.join(pattern);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let read = |path: &Path| {
        let wrong = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
        if std::fs::metadata(path).map_err(wrong)?.len() > MAX_NAMED_FILE {
            return Err(format!("`{}` is larger than 1 MiB", path.display()));
        }
        std::fs::read_to_string(path).map_err(wrong)
    };
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![read(&path)?]) };
    let parent = path.parent().unwrap_or(folder);
    let entries =
        std::fs::read_dir(parent).map_err(|error| format!("cannot read `{}`: {error}", parent.display()))?;
    let fits = |name: &str| {
        name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.is_file() && p.file_name().is_some_and(|n| fits(&n.to_string_lossy())));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}
