//! The rule loop: each group on a schedule of its own, then whoever is to be told.

mod evaluate;
pub(crate) mod plan;

use crate::notify;
use crate::plan::Plan;
use crate::state::{State, lock};
use base::events::Event;
use base::names;
use evaluate::Evaluation;
use monitor_alert::api::Health;
use monitor_alert::group::{Written, next_evaluation};
use monitor_alert::manager::{Failure, Kind, Manager, Message};
use monitor_alert::receiver::Builder;
use monitor_alert::receiver::alertmanager::{Sent, SentAlert};
use monitor_alert::receiver::webhook::generator_url;
use monitor_alert::rules::{ActiveAlert, Change};
use monitor_alert::{Rules, rfc3339};
use role::Shutdown;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};

/// Between two looks at what is to be told.
const DISPATCH: Duration = Duration::from_millis(500);

/// The state is saved at least this often, so that the time away is known.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Where nothing begins or ends, the words of alerts are brought up to date this often.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// Groups evaluated at once.
const AT_ONCE: usize = 4;

/// Messages on their way at once; the others wait.
const SENDING: usize = 32;

/// Rule states and what receivers know; the API reads it.
#[derive(Default)]
pub(crate) struct Book {
    /// Alerts by rule.
    pub(crate) rules: Rules,
    /// How each rule fared, by key.
    pub(crate) health: BTreeMap<String, Health>,
    /// When each group was evaluated, by its name with its file.
    pub(crate) ran: BTreeMap<String, Ran>,
    /// Who is told of what.
    pub(crate) manager: Manager,
    /// What remote Alertmanagers were sent, by receiver and integration.
    sent: BTreeMap<(String, usize), Sent>,
    /// The last delivery that failed, by receiver.
    pub(crate) undelivered: BTreeMap<String, String>,
    /// Whether something changed since the last save that must outlive us.
    pub(crate) touched: bool,
}

/// A group's last evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
}

/// What is saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    rules: String,
    #[serde(default)]
    manager: String,
}

/// The loop's own memory.
pub(crate) struct Loop {
    state: Arc<State>,
    file: PathBuf,
    groups: BTreeMap<String, Running>,
    gate: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    saved_at: Instant,
    synced_at: Instant,
    pinged_at_ms: u64,
    done: mpsc::Sender<Done>,
    incoming: mpsc::Receiver<Done>,
}

/// A group that is followed.
struct Running {
    next_ms: u64,
    /// Taken while it is evaluated, so that it never overlaps itself.
    written: Arc<Mutex<Written>>,
    busy: bool,
}

/// What came to an end.
enum Done {
    Group { name: String, changes: Vec<Change> },
    Message { message: Message, result: Result<(), notify::Undelivered> },
    Alerts { receiver: String, integration: usize, at_ms: u64, result: Result<(), notify::Undelivered> },
    Ping(Result<(), String>),
}

impl Loop {
    /// Goes on from the state saved in `file`; tells why where it cannot be read.
    pub(crate) fn new(state: Arc<State>, file: PathBuf) -> (Self, Option<String>) {
        let mut trouble = None;
        let now_ms = sys::clock::now_ms();
        if let Ok(text) = std::fs::read(&file) {
            let read = serde_json::from_slice::<Saved>(&text).and_then(|saved| {
                let manager = match saved.manager.as_str() {
                    "" => Manager::default(), // Of a version that had none.
                    text => Manager::restore(text)?,
                };
                Ok((Rules::restore(&saved.rules, now_ms)?, manager))
            });
            match read {
                Ok((rules, manager)) => {
                    let mut book = lock(&state.book);
                    book.rules = rules;
                    book.manager = manager;
                }
                Err(error) => {
                    trouble = Some(format!(
                        "the alert state `{}` is damaged and was not used: {error}",
                        file.display()
                    ));
                }
            }
        }
        // Each group and each receiver's group has one thing under way; tasks wait where this is full.
        let (done, incoming) = mpsc::channel(64);
        let this = Self {
            state,
            file,
            groups: BTreeMap::new(),
            gate: Arc::new(Semaphore::new(AT_ONCE)),
            sending: Arc::new(Semaphore::new(SENDING)),
            saved_at: Instant::now(),
            synced_at: Instant::now(),
            pinged_at_ms: 0,
            done,
            incoming,
        };
        (this, trouble)
    }

    /// Evaluates and tells until draining begins.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(DISPATCH);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut plans = self.state.plan.subscribe();
        let plan = plans.borrow_and_update().clone();
        self.follow(&plan);
        loop {
            let wait = self.wait();
            tokio::select! {
                () = shutdown.wait() => break,
                changed = plans.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let plan = plans.borrow_and_update().clone();
                    self.follow(&plan);
                }
                Some(done) = self.incoming.recv() => self.note(done),
                () = tokio::time::sleep(wait) => self.start_due(),
                _ = tick.tick() => {
                    // By a clock that stepped back the next group is far away, and this
                    // tick always comes before the wait for it ends.
                    self.start_due();
                    self.tell();
                    self.ping();
                    self = self.saved(false).await;
                }
            }
        }
        self.save(true);
    }

    /// Takes up a plan: new groups begin, gone ones end, the rest goes on.
    fn follow(&mut self, plan: &Plan) {
        let now_ms = sys::clock::now_ms();
        let keys: BTreeSet<String> =
            plan.groups.iter().flat_map(|g| &g.rules).map(|r| r.key.clone()).collect();
        let names: BTreeSet<String> = plan.groups.iter().map(plan::Group::name).collect();
        let changes = {
            let mut book = lock(&self.state.book);
            if let Err(why) = book.manager.follow(plan.manager.clone(), now_ms) {
                // `Plan::compile` has checked it.
                lock(&self.state.trouble).push(format!("the routes of alerts cannot be followed: {why}"));
            }
            book.health.retain(|key, _| keys.contains(key));
            book.ran.retain(|name, _| names.contains(name));
            let receivers: BTreeSet<&str> = plan.manager.receivers.iter().map(|r| r.name.as_str()).collect();
            book.sent.retain(|(receiver, _), _| receivers.contains(receiver.as_str()));
            book.undelivered.retain(|receiver, _| receivers.contains(receiver.as_str()));
            book.rules.retain(&keys, now_ms)
        };
        self.groups.retain(|name, running| {
            let kept = names.contains(name);
            let state = self.state.clone();
            let written = running.written.clone();
            let keys = if kept { keys.clone() } else { BTreeSet::new() };
            // Waits for an evaluation under way, and for the disk.
            tokio::task::spawn_blocking(move || {
                evaluate::end_gone(&state, &mut lock(&written), &keys, now_ms)
            });
            kept
        });
        for group in &plan.groups {
            let settings = &group.settings;
            let next_ms = next_evaluation(&settings.file, &settings.name, group.interval_ms, now_ms);
            let running = self.groups.entry(group.name()).or_insert_with(|| Running {
                next_ms,
                written: Arc::default(),
                busy: false,
            });
            running.next_ms = next_ms;
        }
        self.emit(changes);
        self.sync(plan);
    }

    /// Until the next group is due; a second at most, for the clock may jump.
    fn wait(&self) -> Duration {
        let now_ms = sys::clock::now_ms();
        let next_ms = self.groups.values().filter(|g| !g.busy).map(|g| g.next_ms).min().unwrap_or(u64::MAX);
        Duration::from_millis(next_ms.saturating_sub(now_ms).min(1_000))
    }

    fn start_due(&mut self) {
        let plan = self.state.plan();
        let now_ms = sys::clock::now_ms();
        for group in &plan.groups {
            let name = group.name();
            let Some(running) = self.groups.get_mut(&name).filter(|running| !running.busy) else { continue };
            let next =
                |at_ms| next_evaluation(&group.settings.file, &group.settings.name, group.interval_ms, at_ms);
            // A clock that stepped back: its moment lies too far ahead.
            running.next_ms = running.next_ms.min(next(now_ms));
            if now_ms < running.next_ms {
                continue;
            }
            let at_ms = running.next_ms;
            let missed = (now_ms - at_ms) / group.interval_ms.max(1);
            if missed > 0 {
                self.state.registry.counter(&names::MONITOR_RULE_MISSED).with(&[&name]).add(missed);
            }
            // What was missed is not made up for: it would say of now what was then.
            let at_ms = at_ms + missed * group.interval_ms;
            running.next_ms = next(now_ms);
            running.busy = true;
            let (state, plan, gate) = (self.state.clone(), plan.clone(), self.gate.clone());
            let (written, done) = (running.written.clone(), self.done.clone());
            let (ended, failures) = (state.clone(), state.registry.counter(&names::MONITOR_RULE_FAILURES));
            tokio::spawn(async move {
                let _permit = gate.acquire_owned().await;
                let task_name = name.clone();
                let work = tokio::task::spawn_blocking(move || {
                    let Some(group) = plan.groups.iter().find(|g| g.name() == task_name) else {
                        return Vec::new();
                    };
                    let external_url = state.external_url();
                    let evaluation = Evaluation {
                        state: &state,
                        group,
                        external_labels: &plan.site.external_labels,
                        external_url: &external_url,
                        at_ms,
                    };
                    evaluation.run(&mut lock(&written))
                });
                // A rule that ends its thread must not end its group, or the others.
                let changes = work.await.unwrap_or_else(|panic| {
                    failures.with(&[&name]).inc();
                    lock(&ended.trouble).push(format!("the evaluation of group `{name}` ended: {panic}"));
                    Vec::new()
                });
                let _ = done.send(Done::Group { name, changes }).await; // The loop is gone: the monitor ends.
            });
        }
    }

    fn note(&mut self, done: Done) {
        let now_ms = sys::clock::now_ms();
        let sent = self.state.registry.counter(&names::MONITOR_NOTIFICATIONS);
        match done {
            Done::Group { name, changes } => {
                if let Some(running) = self.groups.get_mut(&name) {
                    running.busy = false;
                }
                let plan = self.state.plan();
                if !changes.is_empty() || self.synced_at.elapsed() >= SYNC_EVERY {
                    lock(&self.state.book).touched |= !changes.is_empty();
                    self.emit(changes);
                    self.sync(&plan);
                }
                self.send_on(&plan, &name);
                self.tell();
            }
            Done::Message { message, result } => {
                let mut book = lock(&self.state.book);
                book.touched = true;
                let (key, integration) = (&message.group_key, message.integration);
                match result {
                    Ok(()) => {
                        sent.with(&[&message.receiver, "ok"]).inc();
                        book.manager.delivered(key, integration, now_ms);
                        book.undelivered.remove(&message.receiver);
                    }
                    Err(error) => {
                        sent.with(&[&message.receiver, "failed"]).inc();
                        book.manager.failed(key, integration, error.failure, now_ms);
                        book.undelivered
                            .insert(message.receiver, format!("{} at {}", error.why, rfc3339(now_ms)));
                    }
                }
            }
            Done::Alerts { receiver, integration, at_ms, result } => {
                let mut book = lock(&self.state.book);
                match result {
                    Ok(()) => {
                        sent.with(&[&receiver, "ok"]).inc();
                        book.undelivered.remove(&receiver);
                    }
                    Err(error) => {
                        sent.with(&[&receiver, "failed"]).inc();
                        if let Some(known) = book.sent.get_mut(&(receiver.clone(), integration)) {
                            known.failed(at_ms);
                        }
                        book.undelivered.insert(receiver, format!("{} at {}", error.why, rfc3339(now_ms)));
                    }
                }
            }
            Done::Ping(result) => {
                let said = self.state.registry.counter(&names::MONITOR_DEAD_MAN);
                let mut book = lock(&self.state.book);
                match result {
                    Ok(()) => {
                        said.with(&["ok"]).inc();
                        book.undelivered.remove(DEAD_MAN);
                    }
                    Err(why) => {
                        said.with(&["failed"]).inc();
                        // Soon again: its silence is an alarm elsewhere.
                        self.pinged_at_ms =
                            now_ms.saturating_sub(plan_every(&self.state).saturating_sub(5_000));
                        book.undelivered.insert(DEAD_MAN.to_owned(), format!("{why} at {}", rfc3339(now_ms)));
                    }
                }
            }
        }
    }

    fn emit(&self, changes: Vec<Change>) {
        for change in changes {
            self.state.events.emit(event(change));
        }
    }

    /// Tells the manager what our rules say.
    fn sync(&mut self, plan: &Plan) {
        self.synced_at = Instant::now();
        let external_url = self.state.external_url();
        let mut book = lock(&self.state.book);
        let mut told: Vec<(ActiveAlert, &[String], String)> = Vec::new();
        let mut complete = true;
        for rule in plan.groups.iter().flat_map(|g| &g.rules) {
            complete &= book.rules.knows(&rule.key) || rule.is_recording();
            for alert in book.rules.of(&rule.key) {
                let url = generator_url(&external_url, &rule.rule.expr);
                let mut alert = alert.clone();
                // Routes may look at what tells this monitor from others, as if we were its Prometheus.
                for (name, value) in &plan.site.external_labels {
                    if alert.labels.iter().all(|(known, _)| known != name) {
                        alert.labels.push((name.clone(), value.clone()));
                    }
                }
                alert.labels.sort();
                told.push((alert, &rule.rule.to, url));
            }
        }
        let own = told.iter().map(|(alert, to, url)| (alert, *to, url.as_str()));
        book.manager.sync(own, complete, sys::clock::now_ms());
    }

    /// Sends the alerts of a group that was evaluated to remote Alertmanagers.
    fn send_on(&self, plan: &Plan, name: &str) {
        let Some(group) = plan.groups.iter().find(|g| g.name() == name) else { return };
        let external_url = self.state.external_url();
        let mut book = lock(&self.state.book);
        let Some(at_ms) = book.ran.get(name).map(|ran| ran.at_ms) else { return };
        for receiver in &plan.manager.receivers {
            for (index, integration) in receiver.integrations.iter().enumerate() {
                if !matches!(integration.kind, Kind::Alertmanager { .. }) {
                    continue;
                }
                let Book { rules, sent, .. } = &mut *book;
                let known = sent.entry((receiver.name.clone(), index)).or_default();
                let mut due: Vec<SentAlert> = Vec::new();
                for rule in &group.rules {
                    if rule.rule.to.is_empty() || rule.rule.to.contains(&receiver.name) {
                        let url = generator_url(&external_url, &rule.rule.expr);
                        let labels = &plan.site.external_labels;
                        due.extend(known.due(rules.of(&rule.key), labels, &url, group.interval_ms, at_ms));
                    }
                }
                known.forget(at_ms.saturating_sub(86_400_000));
                if due.is_empty() {
                    continue;
                }
                let (done, integration, receiver) =
                    (self.done.clone(), integration.clone(), receiver.name.clone());
                let sending = self.sending.clone();
                tokio::spawn(async move {
                    let _permit = sending.acquire_owned().await;
                    let result = notify::send_alerts(&due, &integration).await;
                    let ended = Done::Alerts { receiver, integration: index, at_ms, result };
                    let _ = done.send(ended).await; // The loop is gone: the monitor ends.
                });
            }
        }
    }

    /// Sends what is due; never waits for a receiver.
    fn tell(&self) {
        self.state.look_at_clock();
        let plan = self.state.plan();
        let now_ms = sys::clock::now_ms();
        let due = lock(&self.state.book).manager.due(now_ms);
        if due.is_empty() {
            return;
        }
        let external_url = self.state.external_url();
        for message in due {
            let receiver = plan.manager.receivers.iter().find(|r| r.name == message.receiver);
            let integration = receiver.and_then(|r| r.integrations.get(message.integration)).cloned();
            let (done, sending, plan) = (self.done.clone(), self.sending.clone(), plan.clone());
            let external_url = external_url.clone();
            tokio::spawn(async move {
                let _permit = sending.acquire_owned().await;
                let result = match integration {
                    None => Err(undelivered("the receiver is not declared any more")),
                    Some(integration) => {
                        let templates = &plan.manager.templates;
                        let built =
                            Builder::new(&message, templates, &external_url, now_ms).build(&integration.kind);
                        match built {
                            Ok(outgoing) => Box::pin(notify::send(outgoing, &integration)).await,
                            Err(why) => Err(undelivered(&why)),
                        }
                    }
                };
                let _ = done.send(Done::Message { message, result }).await; // The loop is gone: the monitor ends.
            });
        }
    }

    /// Whether no group is late: what the dead man's call vouches for.
    fn in_time(&self, plan: &Plan, now_ms: u64) -> bool {
        plan.groups.iter().all(|group| {
            let patience_ms = group.interval_ms.saturating_mul(2).max(15_000);
            // What hangs does not get its next turn, and what waits is not asked before its first.
            self.groups.get(&group.name()).is_some_and(|g| now_ms <= g.next_ms.saturating_add(patience_ms))
        })
    }

    /// Calls the outside checker, while all groups are evaluated in time.
    fn ping(&mut self) {
        let plan = self.state.plan();
        let Some(dead_man) = &plan.site.dead_man else { return };
        let now_ms = sys::clock::now_ms();
        let since_ms = now_ms.abs_diff(self.pinged_at_ms);
        if since_ms < dead_man.every.0.max(1_000) || !self.in_time(&plan, now_ms) {
            return;
        }
        self.pinged_at_ms = now_ms;
        let (url, post, done) = (dead_man.url.clone(), dead_man.post, self.done.clone());
        tokio::spawn(async move {
            let result = notify::ping(&url, post).await;
            let _ = done.send(Done::Ping(result)).await;
        });
    }

    async fn saved(mut self, now: bool) -> Self {
        // The disk may be slow; the loop's own memory travels with the work.
        let task = tokio::task::spawn_blocking(move || {
            self.save(now);
            self
        });
        match task.await {
            Ok(this) => this,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Writes the state where it changed, and at intervals. A full disk keeps the
    /// older one, and the next call tries again.
    fn save(&mut self, now: bool) {
        let saved = {
            let mut book = lock(&self.state.book);
            let due = now || book.touched || self.saved_at.elapsed() >= SAVE_EVERY;
            if !due {
                return;
            }
            book.touched = false;
            let manager = book.manager.save();
            let rules = book.rules.save(sys::clock::now_ms());
            rules.and_then(|rules| serde_json::to_vec(&Saved { rules, manager: manager? }))
        };
        let written = saved
            .map_err(std::io::Error::other)
            .and_then(|text| sys::file::write_atomic(&self.file, &text, 0o600));
        match written {
            Ok(()) => self.saved_at = Instant::now(),
            Err(_) => lock(&self.state.book).touched = true,
        }
    }
}

/// How the dead man's call is named among receivers.
const DEAD_MAN: &str = "dead man's call";

fn plan_every(state: &State) -> u64 {
    state.plan().site.dead_man.as_ref().map_or(0, |d| d.every.0)
}

fn undelivered(why: &str) -> notify::Undelivered {
    notify::Undelivered { why: why.to_owned(), failure: Failure { permanent: true, ..Failure::default() } }
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
