//! The rule loop: recordings in order, then alerts, then whoever is to be told.

use crate::notify::Hook;
use crate::plan::{AlertRule, Plan, Recording};
use crate::queries::options;
use crate::sink::{Pending, Sink};
use crate::state::{State, lock};
use base::events::Event;
use base::names;
use monitor_alert::rules::{Change, Context};
use monitor_alert::settings::Rule;
use monitor_alert::{Dispatcher, Rules, Sample, rfc3339, webhook};
use monitor_promql::labels::METRIC_NAME;
use monitor_promql::source::Value;
use monitor_promql::{Answer, Labels, Options, Query, STALE, Stop};
use role::{Counter, Family, Shutdown};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Between two looks at what is to be told.
const DISPATCH: Duration = Duration::from_millis(500);

/// One rule may take this long.
const RULE_TIMEOUT: Duration = Duration::from_secs(10);

/// The state is saved at least this often, so that the time away is known.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Rule states, for the API.
#[derive(Default)]
pub(crate) struct Book {
    /// Alerts by rule.
    pub(crate) rules: Rules,
    /// How each rule fared, by key; recordings under `record:NAME`.
    pub(crate) health: BTreeMap<String, RuleHealth>,
    /// What receivers know.
    dispatcher: Dispatcher,
    /// When all were last evaluated, in Unix milliseconds.
    pub(crate) at_ms: Option<u64>,
    /// How long that took, in seconds.
    pub(crate) took_s: f64,
    /// The last delivery that failed, by receiver.
    pub(crate) undelivered: BTreeMap<String, String>,
}

/// How a rule fared.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleHealth {
    /// Why the last evaluation failed; empty where it did not.
    pub(crate) error: String,
    /// When it was, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
}

/// What is saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    rules: String,
    dispatcher: Dispatcher,
}

/// The loop's own memory.
pub(crate) struct Loop {
    state: Arc<State>,
    file: PathBuf,
    failures: Arc<Family<Counter>>,
    /// Series each rule wrote the last time, for staleness.
    written: BTreeMap<String, BTreeSet<Labels>>,
    last_saved: Option<String>,
    saved_at: Instant,
    outcomes: mpsc::Sender<Outcome>,
    incoming: mpsc::Receiver<Outcome>,
}

/// What became of a message.
struct Outcome {
    group_key: String,
    receiver: String,
    result: Result<(), String>,
}

impl Loop {
    /// Goes on from the state saved in `file`; tells why where it cannot be read.
    pub(crate) fn new(state: Arc<State>, file: PathBuf) -> (Self, Option<String>) {
        let mut trouble = None;
        if let Ok(text) = std::fs::read(&file) {
            let read = serde_json::from_slice::<Saved>(&text).and_then(|saved| {
                Ok((Rules::restore(&saved.rules, sys::clock::now_ms())?, saved.dispatcher))
            });
            match read {
                Ok((rules, dispatcher)) => {
                    let mut book = lock(&state.book);
                    book.rules = rules;
                    book.dispatcher = dispatcher;
                }
                Err(error) => {
                    trouble = Some(format!(
                        "the alert state `{}` is damaged and was not used: {error}",
                        file.display()
                    ));
                }
            }
        }
        let failures = state.registry.counter(&names::MONITOR_RULE_FAILURES);
        // Each group has at most one message in flight; the tasks wait where this is full.
        let (outcomes, incoming) = mpsc::channel(64);
        let (written, last_saved, saved_at) = (BTreeMap::new(), None, Instant::now());
        (Self { state, file, failures, written, last_saved, saved_at, outcomes, incoming }, trouble)
    }

    /// Evaluates and tells until draining begins.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut dispatch = tokio::time::interval(DISPATCH);
        dispatch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next = tokio::time::Instant::now();
        loop {
            let interval = self.state.plan().site.alert.interval.duration().max(Duration::from_millis(100));
            tokio::select! {
                () = shutdown.wait() => break,
                Some(outcome) = self.incoming.recv() => self.note(outcome),
                () = tokio::time::sleep_until(next) => {
                    self = self.evaluate().await;
                    // Steady; where evaluation takes longer than the interval, no backlog.
                    next = (next + interval).max(tokio::time::Instant::now());
                    self.dispatch();
                }
                _ = dispatch.tick() => self.dispatch(),
            }
        }
        self.save(true);
    }

    async fn evaluate(mut self) -> Self {
        let plan = self.state.plan();
        let task = tokio::task::spawn_blocking(move || {
            self.evaluate_now(&plan, sys::clock::now_ms());
            self.save(false);
            self
        });
        match task.await {
            Ok(this) => this,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn evaluate_now(&mut self, plan: &Plan, now_ms: u64) {
        let began = Instant::now();
        let mut written = BTreeMap::new();
        for rule in &plan.recordings {
            let key = format!("record:{}", rule.record);
            let series = self.record(rule, &key, now_ms);
            written.insert(key, series);
        }
        let mut changes = Vec::new();
        for rule in &plan.alerts {
            let (series, changed) = self.alert(rule, now_ms);
            written.insert(rule.key.clone(), series);
            changes.extend(changed);
        }
        let keys: BTreeSet<String> = plan.alerts.iter().map(|rule| rule.key.clone()).collect();
        {
            let mut book = lock(&self.state.book);
            changes.extend(book.rules.retain(&keys, now_ms));
            book.health.retain(|key, _| written.contains_key(key));
            book.at_ms = Some(now_ms);
            book.took_s = began.elapsed().as_secs_f64();
        }
        self.mark_missing(&written, now_ms);
        self.written = written;
        for change in changes {
            self.state.events.emit(event(change));
        }
    }

    fn record(&self, rule: &Recording, key: &str, now_ms: u64) -> BTreeSet<Labels> {
        let given = self.ask(&rule.query, key, &rule.record, now_ms);
        let Some(given) = given else { return self.written.get(key).cloned().unwrap_or_default() };
        let at_ms = now_ms as i64;
        let mut series = BTreeSet::new();
        let mut batch = Vec::new();
        for (labels, value) in given {
            let labels = labels.with(METRIC_NAME, &rule.record);
            if !series.insert(labels.clone()) {
                self.fail(
                    key,
                    &rule.record,
                    "it gives the same labels twice; hint: keep the labels that tell them apart",
                );
                return self.written.get(key).cloned().unwrap_or_default();
            }
            batch.push(Pending { labels, at_ms, value });
        }
        self.state.sink.append(&batch);
        series
    }

    /// One alerting rule: its state, and the series `ALERTS` and `ALERTS_FOR_STATE`.
    fn alert(&self, rule: &AlertRule, now_ms: u64) -> (BTreeSet<Labels>, Vec<Change>) {
        let before = || self.written.get(&rule.key).cloned().unwrap_or_default();
        let Some(given) = self.ask(&rule.query, &rule.key, &rule.rule.name, now_ms) else {
            return (before(), Vec::new());
        };
        let given: Vec<Sample> =
            given.into_iter().map(|(labels, value)| Sample { labels, value: Value::Float(value) }).collect();
        let plan = self.state.plan();
        let external_url = self.state.external_url();
        let context = Context {
            now_ms,
            limit: 0,
            external_labels: &plan.site.external_labels,
            external_url: &external_url,
            query: None,
        };
        let mut book = lock(&self.state.book);
        let changes = match book.rules.evaluate(&rule.key, &Rule::from(&rule.rule), &given, &context) {
            Ok(changes) => changes,
            Err(error) => {
                drop(book);
                self.fail(&rule.key, &rule.rule.name, &error.to_string());
                return (before(), Vec::new());
            }
        };
        let at_ms = now_ms as i64;
        let written = book.rules.series(&rule.key).into_iter();
        let batch: Vec<Pending> = written.map(|(labels, value)| Pending { labels, at_ms, value }).collect();
        drop(book);
        self.state.sink.append(&batch);
        (batch.into_iter().map(|p| p.labels).collect(), changes)
    }

    /// Evaluates an expression; a failure is counted and shown, and changes nothing.
    fn ask(&self, query: &Query, key: &str, name: &str, now_ms: u64) -> Option<Vec<(Labels, f64)>> {
        let began = Instant::now();
        let stop = || match self.state.queries.is_closing() {
            true => Some(Stop::Cancelled),
            false => (began.elapsed() >= RULE_TIMEOUT).then_some(Stop::Deadline),
        };
        let result = vector(query, &self.state.sink, now_ms, &options(&stop));
        let took_s = began.elapsed().as_secs_f64();
        let (given, error) = match result {
            Ok(given) => (Some(given), String::new()),
            Err(error) => (None, error),
        };
        if !error.is_empty() {
            self.failures.with(&[name]).inc();
        }
        lock(&self.state.book).health.insert(key.to_owned(), RuleHealth { error, at_ms: now_ms, took_s });
        given
    }

    fn fail(&self, key: &str, name: &str, why: &str) {
        self.failures.with(&[name]).inc();
        lock(&self.state.book).health.entry(key.to_owned()).or_default().error = why.to_owned();
    }

    fn mark_missing(&self, written: &BTreeMap<String, BTreeSet<Labels>>, now_ms: u64) {
        let now: BTreeSet<&Labels> = written.values().flatten().collect();
        let over = self.written.values().flatten().filter(|labels| !now.contains(labels));
        let batch: Vec<Pending> = over
            .map(|labels| Pending { labels: labels.clone(), at_ms: now_ms as i64, value: STALE })
            .collect();
        self.state.sink.append(&batch);
    }

    /// Sends what is due; never waits for a receiver.
    fn dispatch(&mut self) {
        let plan = self.state.plan();
        let external_url = self.state.external_url();
        let due = {
            let mut book = lock(&self.state.book);
            let Book { rules, dispatcher, .. } = &mut *book;
            let alerts = plan.alerts.iter().flat_map(|r| rules.of(&r.key).map(move |alert| (&r.rule, alert)));
            dispatcher.due(&plan.site.alert.receivers, alerts, sys::clock::now_ms())
        };
        for message in due {
            let expr =
                |name: &str| plan.alerts.iter().find(|r| r.rule.name == name).map(|r| r.rule.expr.clone());
            let body = webhook::body(&message, &external_url, expr).map_err(|e| e.to_string());
            let hook = plan.hooks.get(&message.receiver).cloned();
            let outcomes = self.outcomes.clone();
            tokio::spawn(async move {
                let result = deliver(hook, body).await;
                let outcome = Outcome { group_key: message.group_key, receiver: message.receiver, result };
                let _ = outcomes.send(outcome).await; // The loop is gone: the monitor ends.
            });
        }
    }

    fn note(&self, outcome: Outcome) {
        let sent = self.state.registry.counter(&names::MONITOR_NOTIFICATIONS);
        let mut book = lock(&self.state.book);
        let now_ms = sys::clock::now_ms();
        match outcome.result {
            Ok(()) => {
                sent.with(&[&outcome.receiver, "ok"]).inc();
                book.dispatcher.delivered(&outcome.group_key, now_ms);
                book.undelivered.remove(&outcome.receiver);
            }
            Err(why) => {
                sent.with(&[&outcome.receiver, "failed"]).inc();
                book.dispatcher.failed(&outcome.group_key, now_ms);
                book.undelivered.insert(outcome.receiver, format!("{} at {}", why, rfc3339(now_ms)));
            }
        }
    }

    /// Writes the state where it changed, and at intervals. A full disk keeps the
    /// older one, and the next call tries again.
    fn save(&mut self, now: bool) {
        let saved = {
            let mut book = lock(&self.state.book);
            let dispatcher = serde_json::to_string(&book.dispatcher).unwrap_or_default();
            // Compared without the time of saving, which always differs.
            let content = book.rules.save(0).unwrap_or_default() + &dispatcher;
            let due = now || self.saved_at.elapsed() >= SAVE_EVERY;
            if !due && self.last_saved.as_ref() == Some(&content) {
                return;
            }
            self.last_saved = Some(content);
            book.rules
                .save(sys::clock::now_ms())
                .and_then(|rules| serde_json::to_vec(&Saved { rules, dispatcher: book.dispatcher.clone() }))
        };
        let written = saved
            .map_err(std::io::Error::other)
            .and_then(|text| sys::file::write_atomic(&self.file, &text, 0o600));
        match written {
            Ok(()) => self.saved_at = Instant::now(),
            Err(_) => self.last_saved = None,
        }
    }
}

async fn deliver(hook: Option<Hook>, body: Result<Vec<u8>, String>) -> Result<(), String> {
    let hook = hook.ok_or("the receiver is not declared any more")?;
    hook.send(body?).await
}

/// An expression's instant vector; a scalar counts as one sample without labels.
fn vector(
    query: &Query,
    sink: &Sink,
    now_ms: u64,
    options: &Options<'_>,
) -> Result<Vec<(Labels, f64)>, String> {
    let outcome = query.instant(&**sink.store(), now_ms as i64, options).map_err(|e| e.to_string())?;
    match outcome.answer {
        // A histogram has no one value to compare or to record yet.
        Answer::Vector(samples) => {
            Ok(samples.into_iter().filter_map(|s| Some((s.float()?, s.labels))).map(|(v, l)| (l, v)).collect())
        }
        Answer::Scalar(point) => Ok(vec![(Labels::empty(), point.value)]),
        Answer::Matrix(_) => {
            Err("the expression is a range vector; hint: use a function such as `rate`".to_owned())
        }
        Answer::String { .. } => {
            Err("the expression is a string; hint: it must be a vector or a number".to_owned())
        }
    }
}

fn event(change: Change) -> Event {
    Event::Alert {
        alert: change.alert,
        state: change.state.as_str().to_owned(),
        labels: change.labels,
        // JSON has no other numbers; an alert on NaN (`x != x`) is told as 0.
        value: if change.value.is_finite() { change.value } else { 0.0 },
    }
}
