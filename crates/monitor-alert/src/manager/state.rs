//! What fires, what each receiver knows of it, and what it is to be told now.

use super::config::{Config, Integration, Kind, Receiver, Route};
use super::inhibit::Inhibitor;
use super::route::Tree;
use super::silence::Silences;
use crate::rules::{ActiveAlert, State, label_key};
use crate::{Labels, fingerprint};
use base::Millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Alerts in one message; the rest is counted in it.
pub const MAX_ALERTS_PER_MESSAGE: usize = 500;

/// Alerts kept at once; further pushed ones are refused.
pub const MAX_ALERTS: usize = 100_000;

/// The first wait after a message that was not taken; it doubles each time.
const FIRST_RETRY_MS: u64 = 1_000;

/// The longest wait, unless the receiver asks for a longer one.
const LAST_RETRY_MS: u64 = 60_000;

/// The longest wait that a receiver may ask for.
const LONGEST_WAIT_MS: u64 = 15 * 60_000;

/// Where an alert comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A rule of ours: it fires until the rule says otherwise.
    Own,
    /// It was pushed: it fires until its end.
    Pushed,
}

/// An alert. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What names it, sorted.
    pub labels: Labels,
    /// What it says.
    pub annotations: Labels,
    /// When it began to fire.
    pub starts_at_ms: u64,
    /// When it ended or will; none while a rule of ours lets it fire.
    pub ends_at_ms: Option<u64>,
    /// When it was last heard of.
    pub updated_at_ms: u64,
    /// The page of its expression.
    pub generator_url: String,
    /// The receivers that its rule names.
    pub to: Vec<String>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Alert {
    /// Whether it fires. One of ours that has ended has ended, also where a clock
    /// that was ahead wrote down when.
    pub fn fires(&self, now_ms: u64) -> bool {
        self.ends_at_ms.is_none_or(|end| self.origin == Origin::Pushed && now_ms < end)
    }
}

/// An alert as it is pushed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    /// What names it, in any order.
    pub labels: Labels,
    /// What it says.
    pub annotations: Labels,
    /// When it began; now where it is not said.
    pub starts_at_ms: Option<u64>,
    /// When it ends; after [`Config::resolve_timeout`] where it is not said.
    pub ends_at_ms: Option<u64>,
    /// The page of its expression.
    pub generator_url: String,
}

/// An alert within a message, or as a receiver was told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What names it.
    pub labels: Labels,
    /// What it says.
    pub annotations: Labels,
    /// When it began to fire.
    pub starts_at_ms: u64,
    /// When it resolved; none while it fires.
    pub ends_at_ms: Option<u64>,
    /// The page of its expression.
    pub generator_url: String,
}

impl Told {
    /// Whether it is told as firing.
    pub fn fires(&self) -> bool {
        self.ends_at_ms.is_none()
    }

    fn of(alert: &Alert) -> Self {
        Self {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at_ms: alert.starts_at_ms,
            ends_at_ms: None,
            generator_url: alert.generator_url.clone(),
        }
    }
}

/// One message for one integration of a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The receiver's name.
    pub receiver: String,
    /// Which of its integrations, by its place.
    pub integration: usize,
    /// Names the group: `{}/{team="web"}:{alertname="x"}`.
    pub group_key: String,
    /// The labels that make it one group.
    pub group_labels: Labels,
    /// Firing alerts first, then resolved ones, each part by labels.
    pub alerts: Vec<Told>,
    /// Alerts that found no place.
    pub truncated: usize,
}

impl Message {
    /// Whether any of its alerts fires.
    pub fn fires(&self) -> bool {
        self.alerts.iter().any(Told::fires)
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The receiver asked to wait this long.
    pub retry_after_ms: Option<u64>,
    /// Trying again will not help, unless someone changes something.
    pub permanent: bool,
    /// It may have arrived all the same: the answer was lost.
    pub unsure: bool,
}

/// Alerts that are told together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    node: String,
    /// The labels that make it one group.
    pub labels: Labels,
    /// Its alerts by fingerprint.
    pub alerts: BTreeSet<u64>,
    next_flush_ms: u64,
    flushed: bool,
    told: BTreeMap<usize, Known>,
}

/// What an integration knows of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    /// What it was told fires. Kept here, so that whoever was away hears that an
    /// alert resolved however long ago that was.
    firing: BTreeMap<u64, Told>,
    /// What it may have been told or not: a message whose answer was lost.
    /// Whatever is true of these is news.
    #[serde(default)]
    unsure: BTreeMap<u64, Told>,
    told_at_ms: u64,
    /// Failures in a row, when the last one was, and how long to wait since.
    failures: u32,
    #[serde(default)]
    failed_at_ms: u64,
    #[serde(default)]
    wait_ms: u64,
    /// What the message in flight says.
    in_flight: Option<InFlight>,
    /// Whether the group was to be told while a message was in flight: then it is
    /// looked at as soon as that one has arrived.
    #[serde(default)]
    behind: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct InFlight {
    firing: BTreeMap<u64, Told>,
    resolved: BTreeSet<u64>,
}

/// Whether people hear of an alert, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Ids of the silences that silence it.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that inhibit it.
    pub inhibited_by: Vec<u64>,
}

impl Status {
    /// Whether nobody is told of it.
    pub fn suppressed(&self) -> bool {
        !(self.silenced_by.is_empty() && self.inhibited_by.is_empty())
    }
}

/// What outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    alerts: BTreeMap<u64, Alert>,
    silences: Silences,
    groups: BTreeMap<String, Group>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Manager {
    memory: Memory,
    config: Config,
    tree: Tree,
    inhibitor: Inhibitor,
}

impl Manager {
    /// Follows a configuration from now on; what receivers know stays known.
    /// The error is a sentence, and then nothing has changed.
    pub fn follow(&mut self, config: Config, now_ms: u64) -> Result<(), String> {
        let (tree, inhibitor) = check(&config)?;
        (self.tree, self.inhibitor, self.config) = (tree, inhibitor, config);
        // Groups anew: what is not routed to any more is nobody's matter, as in Alertmanager.
        for group in self.memory.groups.values_mut() {
            group.alerts.clear();
        }
        let prints: Vec<u64> = self.memory.alerts.keys().copied().collect();
        for print in prints {
            self.place(print, now_ms);
        }
        let nodes: BTreeSet<&str> = self.tree.0.iter().map(|n| n.key.as_str()).collect();
        self.memory.groups.retain(|_, group| nodes.contains(group.node.as_str()));
        Ok(())
    }

    /// What runs.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is to be written to disk.
    pub fn save(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.memory)
    }

    /// Reads it back; [`Manager::follow`] comes next. What was in flight may or
    /// may not have arrived, so it is sent again.
    pub fn restore(text: &str) -> serde_json::Result<Self> {
        let mut memory: Memory = serde_json::from_str(text)?;
        for known in memory.groups.values_mut().flat_map(|g| g.told.values_mut()) {
            if let Some(sent) = known.in_flight.take() {
                known.doubt(sent);
                known.failures = known.failures.max(1);
                known.wait_ms = 0;
            }
        }
        Ok(Self { memory, ..Self::default() })
    }

    /// Takes what our rules say: all their alerts, with the receivers that each
    /// one's rule names and the page of its expression. What fired and is not
    /// among them has ended, once `complete` says that every rule was evaluated.
    pub fn sync<'a>(
        &mut self,
        own: impl Iterator<Item = (&'a ActiveAlert, &'a [String], &'a str)>,
        complete: bool,
        now_ms: u64,
    ) {
        let (mut seen, mut ended) = (BTreeSet::new(), Vec::new());
        for (active, to, generator_url) in own {
            let print = fingerprint(&active.labels);
            match active.state {
                State::Pending => continue,
                State::Resolved => {
                    ended.push((print, active.resolved_at_ms.unwrap_or(now_ms)));
                    continue;
                }
                State::Firing => {}
            }
            seen.insert(print);
            let starts_at_ms = active.fired_at_ms.unwrap_or(active.active_at_ms);
            if let Some(known) = self.memory.alerts.get_mut(&print)
                && known.origin == Origin::Own
                && known.ends_at_ms.is_none()
                && known.to == to
            {
                known.annotations.clone_from(&active.annotations);
                known.updated_at_ms = now_ms;
                continue;
            }
            let alert = Alert {
                labels: active.labels.clone(),
                annotations: active.annotations.clone(),
                starts_at_ms,
                ends_at_ms: None,
                updated_at_ms: now_ms,
                generator_url: generator_url.to_owned(),
                to: to.to_vec(),
                origin: Origin::Own,
            };
            self.memory.alerts.insert(print, alert);
            self.place(print, now_ms);
        }
        // A firing one of the same labels, of another rule, goes before one that ended.
        for (print, at_ms) in ended {
            if !seen.contains(&print) {
                self.end_own(print, at_ms);
            }
        }
        if complete {
            let own =
                self.memory.alerts.iter().filter(|(_, a)| a.origin == Origin::Own && a.ends_at_ms.is_none());
            let gone: Vec<u64> = own.map(|(print, _)| *print).filter(|print| !seen.contains(print)).collect();
            for print in gone {
                self.end_own(print, now_ms);
            }
        }
    }

    /// The wall clock jumped by `by_ms` and no time passed: what is counted from a
    /// moment of ours is counted on. Silences, intervals and what was pushed speak
    /// of the wall clock itself, and stay.
    pub fn shift(&mut self, by_ms: i64) {
        let moved = |at_ms: &mut u64| *at_ms = at_ms.saturating_add_signed(by_ms);
        for alert in self.memory.alerts.values_mut() {
            moved(&mut alert.updated_at_ms);
            if alert.origin == Origin::Own {
                moved(&mut alert.starts_at_ms);
                alert.ends_at_ms.iter_mut().for_each(moved);
            }
        }
        for group in self.memory.groups.values_mut() {
            moved(&mut group.next_flush_ms);
            for known in group.told.values_mut() {
                moved(&mut known.told_at_ms);
                moved(&mut known.failed_at_ms);
            }
        }
    }

    fn end_own(&mut self, print: u64, at_ms: u64) {
        if let Some(alert) = self.memory.alerts.get_mut(&print)
            && alert.origin == Origin::Own
            && alert.ends_at_ms.is_none()
        {
            alert.ends_at_ms = Some(at_ms);
        }
    }

    /// Takes an alert that was pushed (Alertmanager's API v2, `POST /alerts`).
    pub fn push(&mut self, pushed: Pushed, now_ms: u64) -> Result<(), String> {
        let mut labels: Labels = pushed.labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.sort();
        if labels.is_empty() {
            return Err("an alert without labels".to_owned());
        }
        if labels.iter().any(|(name, _)| name.is_empty()) || labels.windows(2).any(|w| w[0].0 == w[1].0) {
            return Err("a label without a name, or one that stands there twice".to_owned());
        }
        let print = fingerprint(&labels);
        let starts_at_ms =
            pushed.starts_at_ms.unwrap_or(pushed.ends_at_ms.map_or(now_ms, |end| end.min(now_ms)));
        let ends_at_ms = pushed.ends_at_ms.unwrap_or(now_ms.saturating_add(self.config.resolve_timeout.0));
        if ends_at_ms < starts_at_ms {
            return Err("an alert ends before it begins".to_owned());
        }
        let known = self.memory.alerts.get(&print);
        if known.is_some_and(|alert| alert.origin == Origin::Own && alert.fires(now_ms)) {
            return Err(format!("{} is an alert of a rule here, which alone ends it", label_key(&labels)));
        }
        if known.is_none() && self.memory.alerts.len() >= MAX_ALERTS {
            return Err(format!("there are {MAX_ALERTS} alerts already"));
        }
        if known.is_none() && ends_at_ms <= now_ms {
            return Ok(()); // Nobody heard of it, and it is over.
        }
        let before = known.filter(|alert| alert.fires(now_ms)).map(|alert| alert.starts_at_ms);
        let alert = Alert {
            labels,
            annotations: pushed.annotations,
            starts_at_ms: before.map_or(starts_at_ms, |before| before.min(starts_at_ms)),
            ends_at_ms: Some(ends_at_ms),
            updated_at_ms: now_ms,
            generator_url: pushed.generator_url,
            to: Vec::new(),
            origin: Origin::Pushed,
        };
        self.memory.alerts.insert(print, alert);
        self.place(print, now_ms);
        Ok(())
    }

    /// Puts an alert that fires into the groups it belongs to.
    fn place(&mut self, print: u64, now_ms: u64) {
        let Some(alert) = self.memory.alerts.get(&print).filter(|alert| alert.fires(now_ms)) else { return };
        let places: Vec<(String, Labels, usize)> = self
            .tree
            .of(&alert.labels, &alert.to)
            .into_iter()
            .map(|at| {
                let labels = self.tree.group_labels(at, &alert.labels);
                (format!("{}:{}", self.tree.0[at].key, label_key(&labels)), labels, at)
            })
            .collect();
        let starts_at_ms = alert.starts_at_ms;
        let keys: BTreeSet<&String> = places.iter().map(|(key, ..)| key).collect();
        for (key, group) in &mut self.memory.groups {
            if !keys.contains(key) {
                group.alerts.remove(&print);
            }
        }
        for (key, labels, at) in places {
            let node = &self.tree.0[at];
            let wait_ms = node.settings.group_wait.0;
            let group = self.memory.groups.entry(key).or_insert_with(|| Group {
                node: node.key.clone(),
                labels,
                next_flush_ms: now_ms.saturating_add(wait_ms),
                ..Group::default()
            });
            group.alerts.insert(print);
            // An alert that waited elsewhere already need not wait here.
            if !group.flushed && starts_at_ms.saturating_add(wait_ms) < now_ms {
                group.next_flush_ms = group.next_flush_ms.min(now_ms);
            }
        }
    }

    /// The messages due now. Each is in flight until [`Manager::delivered`] or
    /// [`Manager::failed`] is called with it.
    pub fn due(&mut self, now_ms: u64) -> Vec<Message> {
        self.memory.silences.forget(now_ms);
        let ready = |group: &Group| {
            now_ms >= group.next_flush_ms
                || group.told.values().any(|known| known.failures > 0 || known.behind)
        };
        // Both clocks are the wall clock: one that stepped back must not silence a group.
        let routes: BTreeMap<&str, &Route> =
            self.tree.0.iter().map(|n| (n.key.as_str(), &n.settings)).collect();
        for group in self.memory.groups.values_mut() {
            let longest_ms =
                routes.get(group.node.as_str()).map_or(0, |r| r.group_interval.0.max(r.group_wait.0));
            group.next_flush_ms = group.next_flush_ms.min(now_ms.saturating_add(longest_ms));
        }
        if !self.memory.groups.values().any(ready) {
            return Vec::new();
        }
        let inhibited = self.inhibited(now_ms);
        let Memory { alerts, silences, groups } = &mut self.memory;
        let view = View { alerts, silences, inhibited: &inhibited, now_ms };
        let mut due = Vec::new();
        groups.retain(|key, group| {
            let Some(route) = routes.get(group.node.as_str()) else { return false };
            let Some(receiver) = self.config.receivers.iter().find(|r| r.name == route.receiver) else {
                return false; // Told to nobody.
            };
            let flush = now_ms >= group.next_flush_ms;
            if flush {
                group.flushed = true;
                group.next_flush_ms = now_ms.saturating_add(route.group_interval.0.max(1));
            }
            let named = |names: &[String]| {
                let intervals = names.iter().filter_map(|name| self.config.intervals.get(name)).flatten();
                intervals.into_iter().any(|interval| interval.contains(now_ms))
            };
            let muted = named(&route.mute) || (!route.active.is_empty() && !named(&route.active));
            for (index, integration) in receiver.integrations.iter().enumerate() {
                if muted || matches!(integration.kind, Kind::Alertmanager { .. }) {
                    continue;
                }
                let known = group.told.entry(index).or_default();
                if known.in_flight.is_some() {
                    known.behind |= flush;
                    continue;
                }
                if !known.may_speak(flush, now_ms) {
                    continue;
                }
                known.behind = false;
                if let Some(alerts) = known.due(&group.alerts, integration, route.repeat_interval, &view) {
                    due.push(message(key, &group.labels, receiver, index, alerts));
                }
            }
            if flush {
                let wanted =
                    |print: &u64| view.fires(*print) || group.told.values().any(|known| known.needs(*print));
                let kept: BTreeSet<u64> = group.alerts.iter().copied().filter(wanted).collect();
                group.alerts = kept;
            }
            // What fires nowhere and nobody was told of needs no memory.
            !group.alerts.is_empty() || group.told.values().any(Known::matters)
        });
        let grouped: BTreeSet<u64> = groups.values().flat_map(|group| group.alerts.iter().copied()).collect();
        alerts.retain(|print, alert| alert.fires(now_ms) || grouped.contains(print));
        due
    }

    /// When something may be due next, at the earliest.
    pub fn next_ms(&self) -> Option<u64> {
        let group = |group: &Group| {
            let retries = group
                .told
                .values()
                .filter(|k| k.failures > 0)
                .map(|k| k.failed_at_ms.saturating_add(k.wait_ms));
            retries.chain([group.next_flush_ms]).min()
        };
        self.memory.groups.values().filter_map(group).min()
    }

    /// The receiver took the message.
    pub fn delivered(&mut self, group_key: &str, integration: usize, now_ms: u64) {
        if let Some(known) = self.known(group_key, integration)
            && let Some(sent) = known.in_flight.take()
        {
            known.firing.retain(|print, _| !sent.resolved.contains(print));
            known
                .unsure
                .retain(|print, _| !sent.resolved.contains(print) && !sent.firing.contains_key(print));
            known.firing.extend(sent.firing);
            known.told_at_ms = now_ms;
            known.failures = 0;
        }
    }

    /// The receiver did not take the message; it stays due.
    pub fn failed(&mut self, group_key: &str, integration: usize, failure: Failure, now_ms: u64) {
        if let Some(known) = self.known(group_key, integration) {
            let sent = known.in_flight.take();
            if let Some(sent) = sent.filter(|_| failure.unsure) {
                known.doubt(sent);
            }
            let doubled_ms = FIRST_RETRY_MS.saturating_mul(1 << known.failures.min(10)).min(LAST_RETRY_MS);
            let wait_ms = if failure.permanent { LAST_RETRY_MS } else { doubled_ms };
            let asked_ms = failure.retry_after_ms.unwrap_or(0).min(LONGEST_WAIT_MS);
            known.failures = known.failures.saturating_add(1);
            known.failed_at_ms = now_ms;
            known.wait_ms = wait_ms.max(asked_ms);
        }
    }

    fn known(&mut self, group_key: &str, integration: usize) -> Option<&mut Known> {
        self.memory.groups.get_mut(group_key)?.told.get_mut(&integration)
    }

    fn inhibited(&self, now_ms: u64) -> BTreeMap<u64, BTreeSet<u64>> {
        let all = self.memory.alerts.iter();
        let firing = all.clone().filter(|(_, a)| a.fires(now_ms)).map(|(print, a)| (*print, &a.labels));
        self.inhibitor.inhibited(firing, all.map(|(print, a)| (*print, &a.labels)))
    }

    /// The silences.
    pub fn silences(&self) -> &Silences {
        &self.memory.silences
    }

    /// The silences, to be changed.
    pub fn silences_mut(&mut self) -> &mut Silences {
        &mut self.memory.silences
    }

    /// The alerts that fire, each with its fingerprint, its status and the
    /// receivers it goes to.
    pub fn alerts(&self, now_ms: u64) -> Vec<(u64, &Alert, Status, Vec<&str>)> {
        let inhibited = self.inhibited(now_ms);
        let firing = self.memory.alerts.iter().filter(|(_, alert)| alert.fires(now_ms));
        firing
            .map(|(print, alert)| {
                let nodes = self.tree.of(&alert.labels, &alert.to);
                let receivers: BTreeSet<&str> =
                    nodes.into_iter().map(|at| self.tree.0[at].settings.receiver.as_str()).collect();
                (
                    *print,
                    alert,
                    self.status(*print, alert, &inhibited, now_ms),
                    receivers.into_iter().collect(),
                )
            })
            .collect()
    }

    fn status(
        &self,
        print: u64,
        alert: &Alert,
        inhibited: &BTreeMap<u64, BTreeSet<u64>>,
        now_ms: u64,
    ) -> Status {
        let silenced_by =
            self.memory.silences.of(&alert.labels, now_ms).into_iter().map(str::to_owned).collect();
        let inhibited_by = inhibited.get(&print).into_iter().flatten().copied().collect();
        Status { silenced_by, inhibited_by }
    }

    /// The groups: key, receiver, and the group itself.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &str, &Group)> {
        let receiver = |node: &str| {
            let found = self.tree.0.iter().find(|n| n.key == node);
            found.map_or("", |n| n.settings.receiver.as_str())
        };
        self.memory.groups.iter().map(move |(key, group)| (key.as_str(), receiver(&group.node), group))
    }
}

/// What would be refused by [`Manager::follow`], as a sentence.
fn check(config: &Config) -> Result<(Tree, Inhibitor), String> {
    let tree = Tree::new(config.tree())?;
    for node in &tree.0 {
        let receiver = &node.settings.receiver;
        if !receiver.is_empty() && !config.receivers.iter().any(|r| r.name == *receiver) {
            return Err(format!("undefined receiver {receiver:?} used in route"));
        }
        for name in node.settings.mute.iter().chain(&node.settings.active) {
            if !config.intervals.contains_key(name) {
                return Err(format!("undefined time interval {name:?} used in route"));
            }
        }
    }
    Ok((tree, Inhibitor::new(&config.inhibit)?))
}

impl Config {
    /// What [`Manager::follow`] would refuse, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        check(self).map(|_| ())
    }
}

/// What is true at one moment.
struct View<'a> {
    alerts: &'a BTreeMap<u64, Alert>,
    silences: &'a Silences,
    inhibited: &'a BTreeMap<u64, BTreeSet<u64>>,
    now_ms: u64,
}

impl View<'_> {
    fn fires(&self, print: u64) -> bool {
        self.alerts.get(&print).is_some_and(|alert| alert.fires(self.now_ms))
    }

    fn muted(&self, print: u64, labels: &Labels) -> bool {
        self.inhibited.contains_key(&print) || !self.silences.of(labels, self.now_ms).is_empty()
    }
}

impl Known {
    /// At a flush, or when it is time to try again after a failure.
    fn may_speak(&self, flush: bool, now_ms: u64) -> bool {
        if self.failures == 0 {
            return flush || self.behind;
        }
        // A clock that stepped back must not silence it.
        now_ms < self.failed_at_ms || now_ms - self.failed_at_ms >= self.wait_ms
    }

    /// Whether it must be remembered.
    fn matters(&self) -> bool {
        !(self.firing.is_empty() && self.unsure.is_empty() && self.in_flight.is_none())
    }

    /// A message that may have arrived.
    fn doubt(&mut self, sent: InFlight) {
        for print in sent.resolved {
            if let Some(told) = self.firing.get(&print) {
                self.unsure.insert(print, told.clone());
            }
        }
        self.unsure.extend(sent.firing);
    }

    /// Whether an alert that resolved must be remembered for it.
    fn needs(&self, print: u64) -> bool {
        self.firing.contains_key(&print)
            || self.unsure.contains_key(&print)
            || self.in_flight.as_ref().is_some_and(|sent| sent.firing.contains_key(&print))
    }

    /// The alerts to tell now, if any (Alertmanager's `DedupStage.needsUpdate`).
    fn due(
        &mut self,
        group: &BTreeSet<u64>,
        integration: &Integration,
        repeat: Millis,
        view: &View<'_>,
    ) -> Option<Vec<Told>> {
        let firing: BTreeMap<u64, Told> = group
            .iter()
            .filter_map(|print| Some((*print, view.alerts.get(print)?)))
            .filter(|(print, alert)| alert.fires(view.now_ms) && !view.muted(*print, &alert.labels))
            .map(|(print, alert)| (print, Told::of(alert)))
            .collect();
        let mut resolved = BTreeMap::new();
        for (print, told) in self.unsure.iter().chain(&self.firing) {
            // In the group no more, or fired to its end: resolved, unless nobody may hear of it now.
            let still = group.contains(print) && view.fires(*print);
            if !still && !view.muted(*print, &told.labels) {
                let known =
                    view.alerts.get(print).and_then(|a| a.ends_at_ms).filter(|end| *end <= view.now_ms);
                let ends_at_ms = Some(known.unwrap_or(view.now_ms));
                resolved.insert(*print, Told { ends_at_ms, ..told.clone() });
            }
        }
        if !integration.send_resolved {
            for print in std::mem::take(&mut resolved).keys() {
                self.firing.remove(print);
                self.unsure.remove(print);
            }
        }
        let joined =
            firing.keys().any(|print| !self.firing.contains_key(print) || self.unsure.contains_key(print));
        let since_ms = if view.now_ms >= self.told_at_ms { view.now_ms - self.told_at_ms } else { u64::MAX };
        let repeated = !firing.is_empty() && repeat.0 > 0 && since_ms >= repeat.0;
        if !(joined || repeated || !resolved.is_empty()) {
            self.failures = 0; // What could not be told is no longer so.
            return None;
        }
        let mut tell: Vec<Told> = firing.values().cloned().collect();
        tell.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut ended: Vec<Told> = resolved.values().cloned().collect();
        ended.sort_by(|a, b| a.labels.cmp(&b.labels));
        tell.append(&mut ended);
        self.in_flight = Some(InFlight { firing, resolved: resolved.into_keys().collect() });
        Some(tell)
    }
}

fn message(
    key: &str,
    labels: &Labels,
    receiver: &Receiver,
    integration: usize,
    mut alerts: Vec<Told>,
) -> Message {
    let most = match &receiver.integrations[integration].kind {
        Kind::Webhook { max_alerts, .. } if *max_alerts > 0 => (*max_alerts).min(MAX_ALERTS_PER_MESSAGE),
        _ => MAX_ALERTS_PER_MESSAGE,
    };
    let truncated = alerts.len().saturating_sub(most);
    alerts.truncate(most);
    Message {
        receiver: receiver.name.clone(),
        integration,
        group_key: key.to_owned(),
        group_labels: labels.clone(),
        alerts,
        truncated,
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
