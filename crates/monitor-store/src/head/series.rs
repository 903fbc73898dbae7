//! A series in the head.

use super::floats::Floats;
use crate::Refusal;
use crate::histograms::{Sequence, read_sequence};
use crate::samples::{Samples, settle};
use monitor_model::{Histogram, Labels, is_stale};
use std::sync::Arc;

/// Late numbers are kept one by one up to here, then as bytes.
const MAX_LATE: usize = 120;
/// The rank of a series that has none yet.
pub(crate) const UNRANKED: u32 = u32::MAX;

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Stored,
    Duplicate,
    Refused(Refusal),
}

/// What the newest sample was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    None,
    Float,
    Histogram,
}

/// The newest sample of a series, which may be in a block by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) at_ms: i64,
    pub(crate) bits: u64,
    pub(crate) kind: Kind,
}

impl Default for Last {
    fn default() -> Self {
        Self { at_ms: i64::MIN, bits: 0, kind: Kind::None }
    }
}

/// A series in the head.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    /// Its place among the others by labels; [`UNRANKED`] where that is not known yet.
    pub(crate) rank: u32,
    /// Changes when the slot gets another series.
    pub(crate) generation: u32,
    /// Whether the slot has a series at all.
    pub(crate) used: bool,
    /// Whether the log says what the slot holds.
    pub(crate) logged: bool,
    pub(crate) last: Last,
    floats: Floats,
    extra: Option<Box<Extra>>,
    frozen: Option<Box<Frozen>>,
}

/// What most series do not have.
#[derive(Debug, Default)]
struct Extra {
    /// Starts of `floats`: from an index on.
    starts: Vec<(u32, i64)>,
    /// Ascending by time.
    late: Vec<Late>,
    /// Late numbers as bytes, each with its starts.
    closed: Vec<(Floats, Vec<(u32, i64)>)>,
    histograms: Histograms,
    /// Ascending by time.
    late_histograms: Vec<(i64, Arc<Histogram>, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Late {
    at_ms: i64,
    bits: u64,
    start_ms: i64,
}

#[derive(Debug, Default)]
struct Histograms {
    sequence: Sequence,
    times: Vec<i64>,
    starts: Vec<(u32, i64)>,
    /// The last one, to know a duplicate.
    last: Option<Arc<Histogram>>,
}

/// What a series had when a flush began.
#[derive(Debug)]
struct Frozen {
    floats: Floats,
    extra: Option<Box<Extra>>,
    last: Last,
}

fn note_start(starts: &mut Vec<(u32, i64)>, index: u32, start_ms: i64) {
    if starts.last().map_or(0, |(_, start)| *start) != start_ms {
        starts.push((index, start_ms));
    }
}

impl Series {
    pub(crate) fn new(labels: Labels, generation: u32) -> Self {
        Self {
            labels,
            rank: UNRANKED,
            generation,
            used: true,
            logged: false,
            last: Last::default(),
            floats: Floats::default(),
            extra: None,
            frozen: None,
        }
    }

    /// What a slot without a series has.
    pub(crate) fn unused(generation: u32) -> Self {
        let mut series = Self::new(Labels::empty(), generation);
        series.used = false;
        series
    }

    /// Takes a number. What is decided here depends on what was applied before
    /// alone, so that reading the log decides the same.
    #[inline]
    pub(crate) fn push(&mut self, at_ms: i64, value: f64, start_ms: i64) -> Applied {
        let bits = value.to_bits();
        if at_ms <= self.last.at_ms {
            return self.push_late(at_ms, bits, start_ms);
        }
        if start_ms != 0 || self.extra.as_ref().is_some_and(|extra| !extra.starts.is_empty()) {
            let index = self.floats.len();
            note_start(&mut self.extra.get_or_insert_default().starts, index, start_ms);
        }
        self.floats.push(at_ms, bits);
        self.last = Last { at_ms, bits, kind: Kind::Float };
        Applied::Stored
    }

    #[cold]
    fn push_late(&mut self, at_ms: i64, bits: u64, start_ms: i64) -> Applied {
        if at_ms == self.last.at_ms && self.last.kind == Kind::Float {
            return if bits == self.last.bits {
                Applied::Duplicate
            } else {
                Applied::Refused(Refusal::Conflict)
            };
        }
        if let Some(there) = self.float_at(at_ms) {
            return if there == bits { Applied::Duplicate } else { Applied::Refused(Refusal::Conflict) };
        }
        if self.histogram_at(at_ms).is_some() || at_ms == self.last.at_ms {
            return Applied::Refused(Refusal::Conflict);
        }
        let extra = self.extra.get_or_insert_default();
        let place = extra.late.partition_point(|late| late.at_ms < at_ms);
        extra.late.insert(place, Late { at_ms, bits, start_ms });
        if extra.late.len() >= MAX_LATE {
            let (mut floats, mut starts) = (Floats::default(), Vec::new());
            for late in extra.late.drain(..) {
                note_start(&mut starts, floats.len(), late.start_ms);
                floats.push(late.at_ms, late.bits);
            }
            extra.closed.push((floats, starts));
        }
        Applied::Stored
    }

    /// Takes a histogram; as [`Series::push`].
    pub(crate) fn push_histogram(&mut self, at_ms: i64, value: &Arc<Histogram>, start_ms: i64) -> Applied {
        if at_ms > self.last.at_ms {
            let extra = self.extra.get_or_insert_default();
            let held = &mut extra.histograms;
            note_start(&mut held.starts, held.times.len() as u32, start_ms);
            held.sequence.push(value);
            held.times.push(at_ms);
            held.last = Some(value.clone());
            self.last = Last { at_ms, bits: 0, kind: Kind::Histogram };
            return Applied::Stored;
        }
        if let Some(there) = self.histogram_at(at_ms) {
            return if same(&there, value) {
                Applied::Duplicate
            } else {
                Applied::Refused(Refusal::Conflict)
            };
        }
        if at_ms == self.last.at_ms && self.last.kind == Kind::Histogram {
            // It is in a block by now, where nobody looks for one sample: whatever
            // this one is, the first counts.
            return Applied::Duplicate;
        }
        if self.float_at(at_ms).is_some() || at_ms == self.last.at_ms {
            return Applied::Refused(Refusal::Conflict);
        }
        let late = &mut self.extra.get_or_insert_default().late_histograms;
        let place = late.partition_point(|(time, ..)| *time < at_ms);
        late.insert(place, (at_ms, value.clone(), start_ms));
        Applied::Stored
    }

    fn contents(&self) -> impl Iterator<Item = (&Floats, Option<&Extra>)> {
        let frozen = self.frozen.iter().map(|frozen| (&frozen.floats, frozen.extra.as_deref()));
        frozen.chain(std::iter::once((&self.floats, self.extra.as_deref())))
    }

    /// The number at exactly a time, where it is in the head.
    fn float_at(&self, at_ms: i64) -> Option<u64> {
        self.contents().find_map(|(floats, extra)| {
            floats.at(at_ms).or_else(|| {
                let extra = extra?;
                let late = extra.late.binary_search_by_key(&at_ms, |late| late.at_ms).ok();
                late.map(|i| extra.late[i].bits)
                    .or_else(|| extra.closed.iter().find_map(|(f, _)| f.at(at_ms)))
            })
        })
    }

    fn histogram_at(&self, at_ms: i64) -> Option<Arc<Histogram>> {
        self.contents().find_map(|(_, extra)| {
            let extra = extra?;
            let late = extra.late_histograms.binary_search_by_key(&at_ms, |(time, ..)| *time).ok();
            if let Some(i) = late {
                return Some(extra.late_histograms[i].1.clone());
            }
            let place = extra.histograms.times.binary_search(&at_ms).ok()?;
            if place + 1 == extra.histograms.times.len() {
                return extra.histograms.last.clone();
            }
            let mut found = None;
            let bytes = extra.histograms.sequence.bytes();
            let _ = read_sequence(&mut crate::bytes::Reader(bytes), place + 1, |h| found = Some(h));
            found
        })
    }

    /// Whether the head has samples of it.
    pub(crate) fn has_samples(&self) -> bool {
        self.frozen.is_some() || !self.floats.is_empty() || self.extra.is_some()
    }

    /// Sets what it has aside for a flush; what comes from now on is kept apart.
    pub(crate) fn freeze(&mut self) {
        debug_assert!(self.frozen.is_none());
        let floats = std::mem::take(&mut self.floats);
        self.frozen = Some(Box::new(Frozen { floats, extra: self.extra.take(), last: self.last }));
    }

    /// Whether something was set aside.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// What was set aside, ascending, into the place of what is there; gives the
    /// newest sample then.
    pub(crate) fn frozen(&self, into: &mut Samples) -> Option<Last> {
        into.clear();
        let frozen = self.frozen.as_ref()?;
        collect(&frozen.floats, frozen.extra.as_deref(), i64::MIN, i64::MAX, into);
        settle(into);
        Some(frozen.last)
    }

    /// Forgets what was set aside: it is in a block now.
    pub(crate) fn drop_frozen(&mut self) {
        self.frozen = None;
    }

    /// Whether it may have samples in a time range.
    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        let within = |at_ms: i64| at_ms >= start_ms && at_ms <= end_ms;
        self.contents().any(|(floats, extra)| {
            floats.overlaps(start_ms, end_ms)
                || extra.is_some_and(|extra| {
                    extra.late.iter().any(|late| within(late.at_ms))
                        || extra.closed.iter().any(|(floats, _)| floats.overlaps(start_ms, end_ms))
                        || extra.histograms.times.iter().any(|t| within(*t))
                        || extra.late_histograms.iter().any(|(t, ..)| within(*t))
                })
        })
    }

    /// Copies what a query of a time range needs; `None` where there is nothing.
    /// Numbers are copied as bytes into `arena`, to be decoded later.
    pub(crate) fn part(&self, start_ms: i64, end_ms: i64, arena: &mut Vec<u8>) -> Option<Part> {
        let plain = self.extra.is_none() && self.frozen.as_ref().is_none_or(|f| f.extra.is_none());
        if plain {
            let begin = arena.len();
            for (floats, _) in self.contents().filter(|(floats, _)| floats.overlaps(start_ms, end_ms)) {
                arena.extend_from_slice(floats.slice(start_ms, end_ms));
            }
            return (arena.len() > begin).then_some(Part::Bytes(begin..arena.len()));
        }
        if !self.overlaps(start_ms, end_ms) {
            return None;
        }
        let mut samples = Samples::default();
        for (floats, extra) in self.contents() {
            collect(floats, extra, start_ms, end_ms, &mut samples);
        }
        settle(&mut samples);
        Some(Part::Samples(Box::new(samples)))
    }
}

/// What a query takes along of a series in the head.
#[derive(Debug)]
pub(crate) enum Part {
    /// Numbers, in the arena that the query has.
    Bytes(std::ops::Range<usize>),
    Samples(Box<Samples>),
}

fn same(a: &Histogram, b: &Histogram) -> bool {
    if is_stale(a.sum) { is_stale(b.sum) } else { a == b }
}

/// Appends the numbers and histograms of a time range, and perhaps more, list
/// after list: they may overlap.
fn collect(floats: &Floats, extra: Option<&Extra>, start_ms: i64, end_ms: i64, into: &mut Samples) {
    if floats.overlaps(start_ms, end_ms) {
        collect_floats(floats, extra.map_or(&[], |e| &e.starts), start_ms, end_ms, into);
    }
    let Some(extra) = extra else { return };
    for (floats, starts) in extra.closed.iter().filter(|(floats, _)| floats.overlaps(start_ms, end_ms)) {
        collect_floats(floats, starts, start_ms, end_ms, into);
    }
    for late in &extra.late {
        into.times.push(late.at_ms);
        into.values.push(f64::from_bits(late.bits));
        into.set_starts(into.times.len() - 1, late.start_ms);
    }
    let held = &extra.histograms;
    let had = into.histograms.len();
    let read = read_sequence(&mut crate::bytes::Reader(held.sequence.bytes()), held.times.len(), |h| {
        into.histograms.push(h);
    });
    debug_assert_eq!(read, Ok(()));
    into.histogram_times.extend_from_slice(&held.times[..into.histograms.len() - had]);
    for (i, (from, start_ms)) in held.starts.iter().enumerate() {
        let to = held.starts.get(i + 1).map_or(held.times.len(), |(next, _)| *next as usize);
        into.histogram_starts.resize(had + *from as usize, 0);
        into.histogram_starts.resize(had + to, *start_ms);
    }
    for (at_ms, histogram, start_ms) in &extra.late_histograms {
        into.histogram_times.push(*at_ms);
        into.histograms.push(histogram.clone());
        if *start_ms != 0 || !into.histogram_starts.is_empty() {
            into.histogram_starts.resize(into.histograms.len() - 1, 0);
            into.histogram_starts.push(*start_ms);
        }
    }
    if !into.histogram_starts.is_empty() {
        into.histogram_starts.resize(into.histograms.len(), 0);
    }
}

fn collect_floats(floats: &Floats, starts: &[(u32, i64)], start_ms: i64, end_ms: i64, into: &mut Samples) {
    let had = into.times.len();
    let mut first = None;
    floats.each(start_ms, end_ms, |index, at_ms, bits| {
        first.get_or_insert(index);
        into.times.push(at_ms);
        into.values.push(f64::from_bits(bits));
    });
    if !starts.is_empty() || !into.starts.is_empty() {
        let first = first.unwrap_or(0);
        into.starts.resize(had, 0);
        for i in 0..(into.times.len() - had) as u32 {
            let run = starts.partition_point(|(from, _)| *from <= first + i);
            into.starts.push(run.checked_sub(1).map_or(0, |run| starts[run].1));
        }
    }
}
