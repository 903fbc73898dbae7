//! One evaluation of a group: its rules in order, each seeing what those before
//! it wrote.

use super::plan::{Group, Rule};
use crate::sink::Pending;
use crate::state::{State, lock};
use base::names;
use monitor_alert::group::{Written, recorded};
use monitor_alert::rules::{Change, Context, GRACE_MS, OUTAGE_TOLERANCE_MS};
use monitor_alert::settings::RuleKind;
use monitor_alert::{Rules, Sample, api::Health};
use monitor_promql::{
    Answer, Labels, METRIC_NAME, Matcher, Options, Query, STALE, Selection, SeriesData, Source, Stop, Value,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One rule may take this long.
const RULE_TIMEOUT: Duration = Duration::from_secs(10);

/// A group at one moment.
pub(super) struct Evaluation<'a> {
    pub(super) state: &'a State,
    pub(super) group: &'a Group,
    pub(super) external_labels: &'a monitor_alert::Labels,
    pub(super) external_url: &'a str,
    /// Unix milliseconds.
    pub(super) at_ms: u64,
}

impl Evaluation<'_> {
    /// Runs it; gives what changed.
    pub(super) fn run(&self, written: &mut Written) -> Vec<Change> {
        self.state.look_at_clock();
        if self.state.clock.rests(self.scrape_interval()) {
            return Vec::new(); // What would be missing is not gone.
        }
        let began = Instant::now();
        let mut changes = Vec::new();
        for rule in &self.group.rules {
            let started = Instant::now();
            let result = match rule.rule.kind {
                RuleKind::Record => self.record(rule, written),
                RuleKind::Alert => self.alert(rule, written).map(|found| changes.extend(found)),
            };
            let error = result.err().unwrap_or_default();
            if !error.is_empty() {
                self.state.registry.counter(&names::MONITOR_RULE_FAILURES).with(&[&rule.rule.name]).inc();
            }
            let health = Health { error, at_ms: self.at_ms, took_s: started.elapsed().as_secs_f64() };
            lock(&self.state.book).health.insert(rule.key.clone(), health);
        }
        let name = self.group.name();
        let took = began.elapsed();
        self.state.registry.counter(&names::MONITOR_RULE_EVALUATIONS).with(&[&name]).inc();
        self.state.registry.gauge(&names::MONITOR_RULE_GROUP_SECONDS).with(&[&name]).set(took.as_secs_f64());
        let ran = super::Ran { at_ms: self.at_ms, took_s: took.as_secs_f64() };
        lock(&self.state.book).ran.insert(name, ran);
        changes
    }

    /// The longest time between two samples of anything.
    fn scrape_interval(&self) -> Duration {
        let plan = self.state.plan();
        let pools = plan.pools.iter().map(|plan| plan.pool.interval_ms);
        Duration::from_millis(pools.chain([plan.site.scrape_interval.0]).max().unwrap_or(0))
    }

    /// The moment that expressions see and samples get.
    fn query_ms(&self) -> u64 {
        self.at_ms.saturating_sub(self.group.settings.query_offset.0)
    }

    fn record(&self, rule: &Rule, written: &mut Written) -> Result<(), String> {
        let given = self.ask(&rule.query)?;
        let samples = recorded(&rule.rule, self.group.settings.limit, given)?;
        let series = samples.iter().map(|s| s.labels.clone()).collect();
        self.write(samples);
        self.end(written.replace(&rule.key, series));
        Ok(())
    }

    /// One alerting rule: its state, and the series `ALERTS` and `ALERTS_FOR_STATE`.
    fn alert(&self, rule: &Rule, written: &mut Written) -> Result<Vec<Change>, String> {
        let given = self.ask(&rule.query)?;
        let ask = |expr: &str| {
            let query = Query::parse(expr).map_err(|error| error.to_string())?;
            self.ask(&query)
        };
        let context = Context {
            now_ms: self.at_ms,
            limit: self.group.settings.limit,
            external_labels: self.external_labels,
            external_url: self.external_url,
            query: Some(&ask),
        };
        // A copy of the rule's own alerts: templates may ask the store, and the API does not wait for that.
        let (mut own, fresh, moved_ms) = {
            let book = lock(&self.state.book);
            (book.rules.part(&rule.key), !book.rules.knows(&rule.key), self.state.clock.moved_ms())
        };
        let changes =
            own.evaluate(&rule.key, &rule.rule, &given, &context).map_err(|error| error.to_string())?;
        if fresh && rule.rule.hold.0 >= GRACE_MS && !changes.is_empty() {
            self.restore(rule, &mut own);
        }
        let series = own.series(&rule.key);
        {
            let mut book = lock(&self.state.book);
            own.shift(self.state.clock.moved_ms() - moved_ms); // It jumped meanwhile.
            book.rules.put(&rule.key, own);
        }
        let labels: BTreeSet<Labels> = series.iter().map(|(labels, _)| labels.clone()).collect();
        self.write(
            series.into_iter().map(|(labels, value)| Sample { labels, value: Value::Float(value) }).collect(),
        );
        self.end(written.replace(&rule.key, labels));
        Ok(changes)
    }

    /// Looks in the series `ALERTS_FOR_STATE` for what was pending before an
    /// outage that the saved state did not outlive.
    fn restore(&self, rule: &Rule, own: &mut Rules) {
        let matchers =
            [Matcher::equal(METRIC_NAME, "ALERTS_FOR_STATE"), Matcher::equal("alertname", &rule.rule.name)];
        let end_ms = self.at_ms as i64 - 1;
        let selection = Selection::new(&matchers, end_ms - OUTAGE_TOLERANCE_MS as i64, end_ms);
        let mut found: Vec<SeriesData> = Vec::new();
        if let Ok(mut stream) = self.state.sink.store().select(&selection) {
            while let Ok(Some(series)) = stream.next_series() {
                found.push(series);
            }
        }
        own.restore_from_series(&rule.key, &rule.rule, self.at_ms, |labels| {
            let wanted = Labels::from_pairs(labels.iter().map(|(n, v)| (n, v)));
            let series = found.iter().find(|series| series.labels.without_name() == wanted)?;
            series.points.last().map(|p| (p.at_ms as u64, p.value))
        });
    }

    /// Evaluates an expression; a scalar counts as one sample without labels.
    fn ask(&self, query: &Query) -> Result<Vec<Sample>, String> {
        let began = Instant::now();
        let queries = &self.state.queries;
        let stop = || match queries.is_closing() {
            true => Some(Stop::Cancelled),
            false => (began.elapsed() >= RULE_TIMEOUT).then_some(Stop::Deadline),
        };
        let settings = queries.settings();
        let options = Options {
            subquery_step_ms: self.group.interval_ms as i64,
            ..crate::queries::options(&settings, &stop)
        };
        let outcome = query
            .instant(&self.state.sink.seen(), self.query_ms() as i64, &options)
            .map_err(|error| error.to_string())?;
        match outcome.answer {
            Answer::Vector(samples) => {
                Ok(samples.into_iter().map(|s| Sample { labels: s.labels, value: s.value }).collect())
            }
            Answer::Scalar(point) => {
                Ok(vec![Sample { labels: Labels::empty(), value: Value::Float(point.value) }])
            }
            Answer::Matrix(_) => {
                Err("the expression is a range vector; hint: use a function such as `rate`".to_owned())
            }
            Answer::String { .. } => {
                Err("the expression is a string; hint: it must be a vector or a number".to_owned())
            }
        }
    }

    fn write(&self, samples: Vec<Sample>) {
        let at_ms = self.query_ms() as i64;
        let mut floats = Vec::with_capacity(samples.len());
        let mut histograms = Vec::new();
        for sample in samples {
            match sample.value {
                Value::Float(value) => floats.push(Pending { labels: sample.labels, at_ms, value }),
                Value::Histogram(histogram) => histograms.push((sample.labels, at_ms, histogram)),
            }
        }
        self.state.sink.append(&floats);
        self.state.sink.append_histograms(&histograms);
    }

    /// Marks series that nobody writes any more.
    fn end(&self, series: Vec<Labels>) {
        let at_ms = self.query_ms() as i64;
        let batch: Vec<Pending> =
            series.into_iter().map(|labels| Pending { labels, at_ms, value: STALE }).collect();
        self.state.sink.append(&batch);
    }
}

/// Marks the series of rules that are gone.
pub(super) fn end_gone(state: &Arc<State>, written: &mut Written, keys: &BTreeSet<String>, at_ms: u64) {
    let gone = written.retain(keys);
    let batch: Vec<Pending> =
        gone.into_iter().map(|labels| Pending { labels, at_ms: at_ms as i64, value: STALE }).collect();
    state.sink.append(&batch);
}
