//! Evaluation: a part of a query gives, for all steps at once, a number or series.
//! Series pass from part to part one after another; only what must see more than
//! one of them keeps them.

mod aggregate;
mod binary;
mod extended;
mod histogram;
mod info;
mod instant;
mod labels;
mod matching;
mod over_time;
mod range;
mod ranked;
mod rate;
mod selector;
mod window;

use crate::column::{At, Column, Merge, SAME_LABELS, Steps, merge_same_labels};
use crate::functions::Kind as FunctionKind;
use crate::notes::{Note, Notes};
use crate::plan::{Call, Kind, Part, QueryTimes, TimeShift};
use crate::query::Stop;
use crate::{Error, Labels, METRIC_NAME, Matcher, Options, Selection, SeriesData, Source};
use monitor_lang::ast::Place;
use monitor_model::{Column as Rollup, Windows};
use rustc_hash::FxHashSet;

/// Labels that describe a metric and go with its name (Prometheus 3, "type and unit labels").
pub(crate) fn is_reserved(label: &str) -> bool {
    matches!(label, METRIC_NAME | "__type__" | "__unit__")
}

/// What is done with each series; it may take the column's contents.
pub(crate) type Sink<'s, 'a> = &'s mut dyn FnMut(&mut Evaluator<'a>, &mut Column) -> Result<(), Error>;

pub(crate) struct Evaluator<'a> {
    source: &'a dyn Source,
    options: &'a Options<'a>,
    times: QueryTimes,
    /// Values in memory.
    held: u64,
    pub(crate) samples_read: u64,
    pub(crate) notes: Notes,
    /// What the source had to say.
    pub(crate) source_warnings: Vec<String>,
    pub(crate) source_infos: Vec<String>,
    /// Memory of series that were read, to be used again.
    spare: Vec<SeriesData>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(source: &'a dyn Source, options: &'a Options<'a>, times: QueryTimes) -> Self {
        Self {
            source,
            options,
            times,
            held: 0,
            samples_read: 0,
            notes: Notes::default(),
            source_warnings: Vec::new(),
            source_infos: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// A number at each step.
    pub(crate) fn scalars(&mut self, part: &Part<'_>, steps: Steps) -> Result<Vec<f64>, Error> {
        // What is made for each step on the way: a subquery may have very many.
        self.hold(steps.count)?;
        let values = match &part.kind {
            Kind::Number(number) => Ok(vec![*number; steps.count]),
            Kind::Negate(inner) => {
                let values = self.scalars(inner, steps)?;
                Ok(values.into_iter().map(|v| -v).collect())
            }
            Kind::Constant(inner) => {
                let value = self.scalars(inner, steps.first_only())?.first().copied();
                Ok(vec![value.unwrap_or(f64::NAN); steps.count])
            }
            Kind::Binary(binary) => self.of_scalars(binary, steps),
            Kind::Call(call) => self.scalar_call(call, steps),
            _ => Err(Error::Execution("expected a scalar".into())),
        };
        self.release(steps.count);
        values
    }

    /// The series of a part, one after another.
    pub(crate) fn each(&mut self, part: &Part<'_>, steps: Steps, sink: Sink<'_, 'a>) -> Result<(), Error> {
        self.check_stop()?;
        if steps.count == 0 {
            return Ok(());
        }
        // What is made for each step while series pass: a series' values, and numbers
        // beside them.
        self.hold(steps.count)?;
        let passed = match &part.kind {
            Kind::Selector(selector) => self.selector(selector, steps, sink),
            Kind::Negate(inner) => self.negate(inner, steps, sink),
            Kind::Binary(binary) => self.binary(part, binary, steps, sink),
            Kind::Aggregate(aggregate) => self.aggregate(part, aggregate, steps, sink),
            Kind::Call(call) => self.call(part, call, steps, sink),
            Kind::Constant(inner) => self.each(inner, steps.first_only(), &mut |this, column| {
                column.repeat(steps.count);
                sink(this, column)
            }),
            Kind::Number(_) | Kind::Text(_) | Kind::Range(_) => {
                Err(Error::Execution("expected an instant vector".into()))
            }
        };
        self.release(steps.count);
        passed
    }

    /// The series of a part, all of them.
    pub(crate) fn columns(&mut self, part: &Part<'_>, steps: Steps) -> Result<Vec<Column>, Error> {
        let mut columns = Vec::new();
        self.each(part, steps, &mut |this, column| this.keep(&mut columns, column))?;
        Ok(columns)
    }

    fn call(
        &mut self,
        part: &Part<'_>,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        match call.function.kind {
            FunctionKind::Range(function) => self.range_function(call, function, steps, sink),
            FunctionKind::AbsentOverTime => self.absent_over_time(call, steps, sink),
            FunctionKind::LabelReplace => self.label_replace(call, steps, sink),
            FunctionKind::LabelJoin => self.label_join(call, steps, sink),
            FunctionKind::Sort { descending } => self.sort(part, call, steps, descending, sink),
            FunctionKind::SortByLabel { descending } => {
                self.sort_by_label(part, call, steps, descending, sink)
            }
            FunctionKind::HistogramQuantile => self.histogram_quantile(call, steps, sink),
            FunctionKind::HistogramQuantiles => self.histogram_quantiles(call, steps, sink),
            FunctionKind::HistogramFraction => self.histogram_fraction(call, steps, sink),
            FunctionKind::Info => self.info(call, steps, sink),
            _ => self.instant_function(call, steps, sink),
        }
    }

    fn negate(&mut self, inner: &Part<'_>, steps: Steps, sink: Sink<'_, 'a>) -> Result<(), Error> {
        self.renamed(inner, sink, Collision::Merge, &mut |this, sink| {
            this.each(inner, steps, &mut |this, column| {
                for step in 0..column.values.len() {
                    match column.at(step) {
                        At::None => {}
                        At::Float(value) => column.values[step] = -value,
                        At::Histogram(histogram) => {
                            let mut histogram = histogram.as_ref().clone();
                            histogram.mul(-1.0);
                            column.set_histogram(step, histogram.into());
                        }
                    }
                }
                this.drop_name(column);
                sink(this, column)
            })
        })
    }

    /// Takes the metric's name off: at once, or at the end where names are kept so long.
    pub(crate) fn drop_name(&self, column: &mut Column) {
        if self.options.delayed_name_removal {
            column.drop_name = true;
        } else {
            column.labels = column.labels.without(is_reserved);
        }
    }

    /// Runs what takes names off: where that may make label sets equal, the
    /// series are brought together before they go on.
    pub(crate) fn renamed(
        &mut self,
        input: &Part<'_>,
        sink: Sink<'_, 'a>,
        collision: Collision,
        run: &mut dyn FnMut(&mut Self, Sink<'_, 'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.options.delayed_name_removal || crate::plan::distinct_without_name(input) {
            return run(self, sink);
        }
        let mut columns = Vec::new();
        run(self, &mut |this, column| this.keep(&mut columns, column))?;
        let columns = match collision {
            Collision::Merge => merge_same_labels(columns)?,
            Collision::Refuse => {
                let mut seen = FxHashSet::default();
                if columns.iter().any(|column| !seen.insert(column.labels.clone())) {
                    return Err(Error::Execution(SAME_LABELS.into()));
                }
                columns
            }
        };
        self.pass(columns, sink)
    }

    /// Passes series on that were kept.
    pub(crate) fn pass(&mut self, columns: Vec<Column>, sink: Sink<'_, 'a>) -> Result<(), Error> {
        for mut column in columns {
            let size = column.size();
            sink(self, &mut column)?;
            self.release(size);
        }
        Ok(())
    }

    /// Passes on what was joined.
    pub(crate) fn pass_merged(&mut self, merged: Merge, sink: Sink<'_, 'a>) -> Result<(), Error> {
        self.pass(merged.columns, sink)
    }

    /// Keeps a series; its memory goes with it.
    pub(crate) fn keep(&mut self, columns: &mut Vec<Column>, column: &mut Column) -> Result<(), Error> {
        self.hold(column.size())?;
        self.check_series(columns.len() + 1)?;
        columns.push(std::mem::take(column));
        Ok(())
    }

    /// The end of the query: names that were kept so long go.
    pub(crate) fn finish(&self, mut columns: Vec<Column>) -> Result<Vec<Column>, Error> {
        for column in columns.iter_mut().filter(|column| column.drop_name) {
            column.labels = column.labels.without(is_reserved);
            column.drop_name = false;
        }
        merge_same_labels(columns)
    }

    /// Accounts for values in memory.
    pub(crate) fn hold(&mut self, values: usize) -> Result<(), Error> {
        self.held = self.held.saturating_add(values as u64);
        if self.held > self.options.max_samples {
            return Err(Error::Limit(format!(
                "query processing would load too many samples into memory in query execution: more than {}",
                self.options.max_samples
            )));
        }
        Ok(())
    }

    /// Accounts for a label's new value, for the rest of the query. Values are made of
    /// values that were made, so that they could double with each function.
    pub(crate) fn hold_label(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > MAX_LABEL_BYTES {
            return Err(Error::Limit(format!(
                "a label value of {bytes} bytes would be longer than the limit of {MAX_LABEL_BYTES}"
            )));
        }
        self.hold(bytes.div_ceil(16))
    }

    pub(crate) fn release(&mut self, values: usize) {
        self.held = self.held.saturating_sub(values as u64);
    }

    pub(crate) fn release_columns(&mut self, columns: &[Column]) {
        self.release(columns.iter().map(Column::size).sum());
    }

    pub(crate) fn check_series(&self, series: usize) -> Result<(), Error> {
        if series > self.options.max_series {
            return Err(Error::Limit(format!(
                "the query has more than {} series; select fewer",
                self.options.max_series
            )));
        }
        Ok(())
    }

    pub(crate) fn check_stop(&self) -> Result<(), Error> {
        match (self.options.stop)() {
            None => Ok(()),
            Some(Stop::Deadline) => Err(Error::Timeout),
            Some(Stop::Cancelled) => Err(Error::Cancelled),
        }
    }

    pub(crate) fn note(&mut self, note: Note<'_>, place: Place) {
        self.notes.add(note, place);
    }

    /// Opens a selection.
    fn open(
        &mut self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        column: Rollup,
        windows: Option<Windows>,
    ) -> Result<Selected<'a>, Error> {
        let selection = Selection { column, windows, ..Selection::new(matchers, start_ms, end_ms) };
        Ok(Selected {
            stream: self.source.select(&selection)?,
            data: self.spare.pop().unwrap_or_default(),
            held: 0,
        })
    }
}

/// The longest label value that a function makes.
const MAX_LABEL_BYTES: usize = 1 << 20;

/// The windows of so much time before each step, where there is time between them.
fn windows(steps: Steps, time: TimeShift, length_ms: i64) -> Option<Windows> {
    let Steps { start_ms, end_ms, step_ms, .. } = steps;
    // A fixed time (`@`) is the same at each step.
    let moves = time.apply(start_ms) != time.apply(end_ms);
    (moves && step_ms > length_ms).then(|| Windows { end_ms: time.apply(start_ms), step_ms, length_ms })
}

/// What happens where names that go make label sets equal.
#[derive(Clone, Copy)]
pub(crate) enum Collision {
    /// Series whose samples are at different steps become one.
    Merge,
    /// It is an error.
    Refuse,
}

/// The series of a selection, accounted for as they come.
struct Selected<'a> {
    stream: Box<dyn crate::SeriesStream + 'a>,
    /// The series at hand.
    data: SeriesData,
    held: usize,
}

impl<'a> Selected<'a> {
    /// Goes to the next series.
    fn next(&mut self, evaluator: &mut Evaluator<'a>) -> Result<bool, Error> {
        evaluator.check_stop()?;
        evaluator.release(self.held);
        self.held = 0;
        if !self.stream.next_into(&mut self.data)? {
            return Ok(false);
        }
        let floats = self.data.points.len();
        let histograms = self.data.histograms.iter().map(|h| crate::column::histogram_size(&h.value));
        self.held = floats + histograms.sum::<usize>();
        evaluator.samples_read += (floats + self.data.histograms.len()) as u64;
        evaluator.hold(self.held)?;
        Ok(true)
    }

    /// Passes on what the source has to say; the memory is kept.
    fn finish(mut self, evaluator: &mut Evaluator<'a>) {
        evaluator.source_warnings.extend(self.stream.warnings());
        evaluator.source_infos.extend(self.stream.infos());
        self.data.clear();
        evaluator.spare.push(self.data);
    }
}

/// A column of numbers, where it has one at all.
pub(crate) fn one_column<'a>(
    evaluator: &mut Evaluator<'a>,
    labels: Labels,
    values: Vec<f64>,
    sink: Sink<'_, 'a>,
) -> Result<(), Error> {
    let mut column = Column::of_values(labels, values);
    if column.any() { sink(evaluator, &mut column) } else { Ok(()) }
}

/// The text that an argument is.
pub(crate) fn text_arg<'e>(call: &Call<'e>, at: usize) -> Result<&'e str, Error> {
    match call.args.get(at).map(|arg| &arg.kind) {
        Some(Kind::Text(text)) => Ok(text),
        _ => Err(Error::Execution(format!("{}() wants a text as argument {}", call.function.name, at + 1))),
    }
}

/// The text that a parameter is.
pub(crate) fn text_arg_of<'e>(param: Option<&Part<'e>>) -> Result<&'e str, Error> {
    match param.map(|param| &param.kind) {
        Some(Kind::Text(text)) => Ok(text),
        _ => Err(Error::Execution("the aggregation wants a text as parameter".into())),
    }
}
