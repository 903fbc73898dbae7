//! What is worth a reading less often: control groups, systemd's units, and the
//! programs that use most. Each collector is named by
//! `bastide_agent_collector_success`; node_exporter's families of that kind are
//! those of [`Host`](crate::Host).

use crate::files::Files;
use crate::settings::{BadPattern, Rules, Settings};
use crate::text::{Text, Type};
use crate::{Fault, cgroup, top, units};

/// The slow collectors, with what must be remembered between two readings.
#[derive(Debug)]
pub struct Slow {
    settings: Settings,
    rules: Rules,
    files: Files,
    units: units::Known,
    programs: top::Known,
    /// The collectors that failed in the last reading, with the reason; those whose
    /// subject this host lacks are not among them.
    pub failures: Vec<(&'static str, Fault)>,
}

/// The collectors of [`Slow::read`].
pub const SLOW_COLLECTORS: &[&str] = &["cgroup", "processes", "systemd"];

impl Slow {
    /// What is read as `settings` say.
    pub fn new(settings: Settings) -> Result<Self, BadPattern> {
        Ok(Self {
            rules: Rules::new(&settings)?,
            // Groups come and go: nothing stays open.
            files: Files::fleeting(&settings.roots),
            units: units::Known::default(),
            programs: top::Known::default(),
            failures: Vec::new(),
            settings,
        })
    }

    /// Appends every reading to `out`.
    pub fn read(&mut self, out: &mut String) {
        self.failures.clear();
        self.files.begin();
        let mut outcomes: Vec<(&'static str, bool, usize)> = Vec::new();
        for name in SLOW_COLLECTORS {
            if self.settings.without.iter().any(|without| without == name) {
                continue;
            }
            let whole = out.len();
            let outcome = self.collect(name, &mut Text::new(out));
            outcomes.push((name, outcome.is_ok(), *outcome.as_ref().unwrap_or(&0)));
            if let Err(fault) = outcome {
                out.truncate(whole);
                if !fault.is_absence() {
                    self.failures.push((name, fault));
                }
            }
        }
        let mut text = Text::new(out);
        let rows = outcomes.iter().map(|(name, ok, _)| (name, f64::from(u8::from(*ok))));
        let metric = &base::names::AGENT_COLLECTOR_SUCCESS;
        text.rows(metric.name, Type::Gauge, metric.help, metric.labels[0], rows);
        let rows = outcomes.iter().map(|(name, _, left_out)| (name, *left_out as f64));
        let metric = &base::names::AGENT_LEFT_OUT;
        text.rows(metric.name, Type::Gauge, metric.help, metric.labels[0], rows);
    }

    fn collect(&mut self, name: &str, text: &mut Text<'_>) -> Result<usize, Fault> {
        let settings = &self.settings;
        match name {
            "cgroup" => {
                let (depth, limit) =
                    (settings.cgroup_depth.clamp(1, 8), settings.cgroup_limit.clamp(1, 10_000));
                cgroup::read(&mut self.files, &mut self.rules.cgroups, depth, limit, text)
            }
            "processes" => {
                let count = settings.top_processes.min(100);
                top::read(&self.files, &mut self.programs, count, text).map(|()| 0)
            }
            _ => units::read(&mut self.units, &mut self.rules.units, text),
        }
    }
}
