//! `info(v, selector)`: series get labels of the info series of their target.

use super::{Evaluator, Sink};
use crate::column::{At, Column, Merge, Steps};
use crate::plan::{Call, Kind, Part, TimeShift, sampled_at};
use crate::{Error, Labels, LabelsBuilder, METRIC_NAME, Matcher, is_stale};
use monitor_model::Column as Rollup;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};

/// What names a target; Prometheus has no others.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
/// The info metric where none is named.
const TARGET_INFO: &str = "target_info";

impl<'a> Evaluator<'a> {
    pub(super) fn info(&mut self, call: &Call<'_>, steps: Steps, sink: Sink<'_, 'a>) -> Result<(), Error> {
        let base = self.columns(&call.args[0], steps)?;
        let wanted = match call.args.get(1).map(|arg| inner(arg)) {
            Some(Kind::Selector(selector)) => Wanted::new(selector.matchers),
            Some(_) => {
                return Err(Error::Execution("info() wants a label selector as second argument".into()));
            }
            None => Wanted::new(&[]),
        };
        let ignored: Vec<bool> =
            base.iter().map(|column| wanted.is_info(column.labels.name().unwrap_or_default())).collect();
        let enriched = base.iter().zip(&ignored).filter(|(_, ignored)| !**ignored).map(|(column, _)| column);
        let infos = match wanted.selection(enriched.map(|column| &column.labels))? {
            // Info series hold at the time that the samples are from. Where these are
            // from several times, or from none, that is the time of evaluation.
            Some(matchers) => {
                let time = sampled_at(&call.args[0]).unwrap_or_default();
                self.info_series(&matchers, time, steps)?
            }
            None => Infos::default(),
        };
        let mut merged = Merge::default();
        for (mut column, ignored) in base.into_iter().zip(ignored) {
            self.check_stop()?;
            self.release(column.size());
            if ignored {
                self.join(&mut merged, &mut column)?;
            } else {
                self.enrich(&column, &infos, &wanted, steps, &mut merged)?;
            }
        }
        self.pass_merged(merged, sink)
    }

    /// The info series, and for each target and metric which of them holds at each step.
    fn info_series(&mut self, matchers: &[Matcher], time: TimeShift, steps: Steps) -> Result<Infos, Error> {
        let at = |at_ms: i64| time.apply(at_ms);
        let lookback = self.options.lookback_ms;
        let (first, last) = (at(steps.start_ms), at(steps.end_ms));
        let mut selected = self.open(matchers, first - lookback + 1, last, Rollup::Value, None)?;
        let mut infos = Infos::default();
        while selected.next(self)? {
            let data = &selected.data;
            if !has_target(&data.labels) {
                continue;
            }
            let series = infos.series.len();
            infos.series.push(data.labels.clone());
            let name = data.labels.name().unwrap_or_default().to_owned();
            let target = target_of(&data.labels);
            self.hold(steps.count)?;
            let holds = infos
                .holding
                .entry(target)
                .or_default()
                .entry(name)
                .or_insert_with(|| vec![None; steps.count]);
            for (step, holding) in holds.iter_mut().enumerate() {
                let reference = at(steps.at(step));
                let seen = data.histograms.partition_point(|p| p.at_ms <= reference);
                let histogram = seen.checked_sub(1).map(|at| &data.histograms[at]);
                let seen = data.points.partition_point(|p| p.at_ms <= reference);
                let point = seen.checked_sub(1).map(|at| data.points[at]);
                let old = |at_ms: i64| at_ms <= reference - lookback;
                if let Some(histogram) = histogram.filter(|h| !old(h.at_ms) && !h.value.is_stale())
                    && point.is_none_or(|p| p.at_ms < histogram.at_ms)
                {
                    return Err(Error::Execution(format!(
                        "this should be an info metric, with float samples: {}",
                        data.labels
                    )));
                }
                let Some(point) = point.filter(|p| !old(p.at_ms) && !is_stale(p.value)) else { continue };
                match holding {
                    Some((at_ms, other)) if *at_ms == point.at_ms => {
                        return Err(Error::Execution(format!(
                            "found duplicate series for info metric: existing {} @ {at_ms}, new {} @ {}",
                            infos.series[*other], data.labels, point.at_ms
                        )));
                    }
                    Some((at_ms, _)) if *at_ms > point.at_ms => {}
                    _ => *holding = Some((point.at_ms, series)),
                }
            }
        }
        selected.finish(self);
        Ok(infos)
    }

    /// A series with the labels that hold at each step.
    fn enrich(
        &mut self,
        column: &Column,
        infos: &Infos,
        wanted: &Wanted,
        steps: Steps,
        merged: &mut Merge,
    ) -> Result<(), Error> {
        let metrics = infos.holding.get(&target_of(&column.labels)).filter(|_| has_target(&column.labels));
        let mut known: FxHashMap<Vec<usize>, Option<usize>> = FxHashMap::default();
        for step in 0..steps.count {
            let at = column.at(step);
            if matches!(at, At::None) {
                continue;
            }
            let holding: Vec<usize> = metrics
                .into_iter()
                .flat_map(|metrics| metrics.values())
                .filter_map(|holds| holds[step].map(|(_, series)| series))
                .collect();
            let place = match known.get(&holding) {
                Some(place) => *place,
                None => {
                    let place = match wanted.labels(&column.labels, &holding, infos)? {
                        None => None,
                        Some(labels) => {
                            let (place, new) = merged.column(labels, column.drop_name, steps.count);
                            if new {
                                self.hold(steps.count)?;
                                self.check_series(place + 1)?;
                            }
                            Some(place)
                        }
                    };
                    known.insert(holding, place);
                    place
                }
            };
            let Some(place) = place else { continue };
            let into = &mut merged.columns[place];
            if into.has(step) {
                return Err(Error::Execution(crate::column::SAME_LABELS.into()));
            }
            into.copy_step(step, at);
        }
        Ok(())
    }
}

fn inner<'p, 'e>(part: &'p Part<'e>) -> &'p Kind<'e> {
    match &part.kind {
        Kind::Constant(part) => inner(part),
        kind => kind,
    }
}

fn has_target(labels: &Labels) -> bool {
    IDENTIFYING.iter().any(|label| labels.get(label).is_some())
}

/// What identifies the target of a series.
fn target_of(labels: &Labels) -> Labels {
    labels.without(|name| !IDENTIFYING.contains(&name))
}

/// The info series.
#[derive(Default)]
struct Infos {
    series: Vec<Labels>,
    /// By target and metric.
    holding: FxHashMap<Labels, BTreeMap<String, Holding>>,
}

/// The newest sample at each step: its time and series.
type Holding = Vec<Option<(i64, usize)>>;

/// What the second argument asks for.
struct Wanted {
    /// Which info metrics.
    names: Vec<Matcher>,
    /// Which labels of them, and with which values.
    data: Vec<Matcher>,
}

impl Wanted {
    fn new(matchers: &[Matcher]) -> Self {
        let (mut names, data): (Vec<Matcher>, Vec<Matcher>) =
            matchers.iter().cloned().partition(|m| m.name == METRIC_NAME);
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if names.iter().all(|m| m.negated) {
            // What is said is only which info metrics are not meant.
            names.extend(Matcher::regex(METRIC_NAME, ".+_info", false));
        }
        Self { names, data }
    }

    /// Whether a metric is among the info metrics; those are not enriched.
    fn is_info(&self, name: &str) -> bool {
        self.names.iter().all(|m| m.is_match(name))
    }

    /// The conditions on info series of the targets of some series; `None` where
    /// no target is named.
    fn selection<'l>(&self, series: impl Iterator<Item = &'l Labels>) -> Result<Option<Vec<Matcher>>, Error> {
        let mut values: [BTreeSet<&str>; 2] = Default::default();
        for labels in series.filter(|labels| has_target(labels)) {
            for (values, label) in values.iter_mut().zip(IDENTIFYING) {
                values.insert(labels.get(label).unwrap_or_default());
            }
        }
        if values.iter().any(BTreeSet::is_empty) {
            return Ok(None);
        }
        let mut matchers = self.names.clone();
        matchers.extend(self.data.iter().cloned());
        for (values, label) in values.iter().zip(IDENTIFYING) {
            // More than that many targets: the other conditions must do.
            const MOST: usize = 1_000;
            if values.len() <= MOST {
                let any: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
                matchers.push(Matcher::regex(label, &any.join("|"), false)?);
            }
        }
        Ok(Some(matchers))
    }

    /// The labels of a series with those of its info series; `None` where it is
    /// left out, as it has none and the selector wants some.
    fn labels(&self, base: &Labels, holding: &[usize], infos: &Infos) -> Result<Option<Labels>, Error> {
        if holding.is_empty() {
            let wants = self.data.iter().any(|m| !m.matches_empty());
            return Ok((!wants).then(|| base.clone()));
        }
        let mut added: FxHashMap<&str, &str> = FxHashMap::default();
        let asked: FxHashSet<&str> = self.data.iter().map(|m| m.name.as_str()).collect();
        for series in holding {
            for (name, value) in infos.series[*series].iter() {
                if name == METRIC_NAME || !(asked.is_empty() || asked.contains(name)) {
                    continue;
                }
                if added.get(name).is_some_and(|other| *other != value) {
                    return Err(Error::Execution(format!("conflicting label: {name}")));
                }
                if base.get(name).is_none() {
                    added.insert(name, value);
                }
            }
        }
        let mut builder = LabelsBuilder::from(base);
        for (name, value) in added {
            builder.set(name, value);
        }
        Ok(Some(builder.build()))
    }
}
