//! Runs PromQL scripts: series that are loaded, queries, and what they must
//! answer. The format is that of Prometheus' own tests (`promql/promqltest`).
//!
//! Each instant case is evaluated also with `@` at other times, and as a range
//! query. A case that needs what this version does not have is skipped and says
//! what: it counts neither as passed nor as failed.

mod parse;

use crate::stats::almost_equal;
use crate::{
    Answer, Error, Labels, METRIC_NAME, Matcher, Options, Outcome, Point, Query, Sample, Series, SeriesData,
};
use parse::{Block, Eval, Expect, Load, Note, Range, Value};
use regex::Regex;
use std::collections::BTreeMap;

/// What running a script gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many cases passed.
    pub passed: usize,
    /// Those that did not.
    pub failed: Vec<Case>,
    /// Those that need what is not there.
    pub skipped: Vec<Case>,
}

/// A case that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// `file:line: query`.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Runs a script; `file` names it in the report.
pub fn run(file: &str, text: &str) -> Report {
    let mut report = Report::default();
    let mut data = Data::default();
    for block in parse::blocks(text) {
        let (line, what) = match block {
            Ok(Block::Clear) => {
                data = Data::default();
                continue;
            }
            Ok(Block::Load(load)) => match data.load(load) {
                Ok(()) => continue,
                Err((line, why)) => (line, why),
            },
            Ok(Block::Eval(eval)) => {
                let name = format!("{file}:{}: {}", eval.line, eval.query);
                match data.check(&eval) {
                    Ok(()) => report.passed += 1,
                    Err(Verdict::Failed(why)) => report.failed.push(Case { name, why }),
                    Err(Verdict::Skipped(why)) => report.skipped.push(Case { name, why }),
                }
                continue;
            }
            Err((line, why)) => (line, why),
        };
        report.failed.push(Case { name: format!("{file}:{line}"), why: what });
    }
    report
}

enum Verdict {
    Failed(String),
    Skipped(String),
}

fn failed<T>(why: impl Into<String>) -> Result<T, Verdict> {
    Err(Verdict::Failed(why.into()))
}

/// The series that are loaded.
#[derive(Default)]
struct Data {
    series: Vec<SeriesData>,
    /// Series that cannot be loaded, and why.
    missing: Vec<(Labels, &'static str)>,
}

const HISTOGRAMS: &str = "native histograms";
const START_TIMESTAMPS: &str = "start timestamps";

impl Data {
    fn load(&mut self, load: Load) -> Result<(), (usize, String)> {
        let mut series: BTreeMap<Labels, SeriesData> =
            std::mem::take(&mut self.series).into_iter().map(|s| (s.labels.clone(), s)).collect();
        for line in load.series {
            if line.start_timestamps {
                self.missing.push((line.labels.clone(), START_TIMESTAMPS));
            }
            let into = series
                .entry(line.labels.clone())
                .or_insert_with(|| SeriesData::of_points(line.labels.clone(), Vec::new()));
            for (i, value) in line.values.iter().enumerate() {
                match value {
                    Value::Number(value) => {
                        into.points.push(Point { at_ms: load.step_ms * i as i64, value: *value });
                    }
                    Value::Gap => {}
                    Value::Histogram => {
                        self.missing.push((line.labels.clone(), HISTOGRAMS));
                        break;
                    }
                }
            }
            if load.with_histograms
                && let Some(name) = line.labels.name().and_then(histogram_of)
            {
                let labels = line.labels.without(|label| label == "le").with(METRIC_NAME, name);
                self.missing.push((labels, HISTOGRAMS));
            }
        }
        self.series = series.into_values().collect();
        for series in &mut self.series {
            series.points.sort_by_key(|p| p.at_ms);
            series.points.dedup_by_key(|p| p.at_ms);
        }
        Ok(())
    }

    fn check(&self, eval: &Eval) -> Result<(), Verdict> {
        let query = match Query::parse(&eval.query) {
            Ok(query) => query,
            Err(Error::NotImplemented(what)) => return Err(Verdict::Skipped(what)),
            Err(error) => return self.check_unread(eval, &error),
        };
        let wanted = query.selectors();
        if let Some((_, why)) =
            self.missing.iter().find(|(labels, _)| wanted.iter().any(|m| Matcher::all_match(m, labels)))
        {
            return Err(Verdict::Skipped((*why).into()));
        }
        if eval.expected.iter().any(|(_, values)| values.iter().any(|v| matches!(v, Value::Histogram))) {
            return Err(Verdict::Skipped(HISTOGRAMS.into()));
        }
        match eval.range {
            Some(range) => self.check_range(eval, &query, range),
            None => self.check_instant(eval, &query),
        }
    }

    /// A query that the parser does not read.
    fn check_unread(&self, eval: &Eval, error: &Error) -> Result<(), Verdict> {
        if let Some(syntax) = unread_syntax(&eval.query) {
            return Err(Verdict::Skipped(syntax.into()));
        }
        if eval.fails() { self.check_error(eval, error) } else { failed(format!("not read: {error}")) }
    }

    fn check_range(&self, eval: &Eval, query: &Query, range: Range) -> Result<(), Verdict> {
        let result = query.range(&self.series, range.start_ms, range.end_ms, range.step_ms, &options());
        let Some(outcome) = self.settle(eval, result)? else { return Ok(()) };
        match outcome.answer {
            Answer::Matrix(series) => compare_matrix(eval, &series, range),
            other => failed(format!("a matrix was expected, not {other:?}")),
        }
    }

    fn check_instant(&self, eval: &Eval, query: &Query) -> Result<(), Verdict> {
        let result = query.instant(&self.series, eval.at_ms, &options());
        let outcome = self.settle(eval, result)?;
        if let Some(outcome) = &outcome {
            compare_instant(eval, &outcome.answer)?;
        }
        let at_other_times = |why| match why {
            Verdict::Failed(why) => Verdict::Failed(format!("with @: {why}")),
            skipped => skipped,
        };
        self.check_pinned(eval, query).map_err(at_other_times)?;
        match outcome.map(|outcome| outcome.answer) {
            Some(Answer::Vector(_) | Answer::Scalar(_)) if !eval.ordered() && !query.sees_query() => {
                self.check_as_range(eval, query).map_err(|why| match why {
                    Verdict::Failed(why) => Verdict::Failed(format!("as a range query: {why}")),
                    skipped => skipped,
                })
            }
            _ => Ok(()),
        }
    }

    /// The same query fixed by `@`, evaluated at other times.
    fn check_pinned(&self, eval: &Eval, query: &Query) -> Result<(), Verdict> {
        let Some(pinned) = query.pinned(eval.at_ms) else { return Ok(()) };
        let at = eval.at_ms;
        let times = if at == 0 { vec![-1_000, 1_000] } else { vec![-10 * at, 0, at / 5, 10 * at] };
        for time in times {
            let result = pinned.instant(&self.series, time, &options());
            if let Some(outcome) = self.settle(eval, result)? {
                compare_instant(eval, &outcome.answer)?;
            }
        }
        Ok(())
    }

    /// The middle of a range query of three steps.
    fn check_as_range(&self, eval: &Eval, query: &Query) -> Result<(), Verdict> {
        let (at, minute) = (eval.at_ms, 60_000);
        let outcome = match query.range(&self.series, at - minute, at + minute, minute, &options()) {
            Ok(outcome) => outcome,
            Err(error) => return failed(error.to_string()),
        };
        let Answer::Matrix(series) = outcome.answer else { return failed("no matrix") };
        let here = |series: Series| {
            let point = series.points.iter().find(|p| p.at_ms == at).copied();
            point.map(|point| Sample { labels: series.labels, point })
        };
        let samples: Vec<Sample> = series.into_iter().filter_map(here).collect();
        match (&eval.expected_scalar, samples.first()) {
            (Some(_), Some(sample)) => compare_instant(eval, &Answer::Scalar(sample.point)),
            _ => compare_instant(eval, &Answer::Vector(samples)),
        }
    }

    /// Checks error and notes; `None` where an error was expected and came.
    fn settle(&self, eval: &Eval, result: Result<Outcome, Error>) -> Result<Option<Outcome>, Verdict> {
        match result {
            Err(Error::NotImplemented(what)) => Err(Verdict::Skipped(what)),
            Err(error) if eval.fails() => self.check_error(eval, &error).map(|()| None),
            Err(error) => failed(format!("error: {error}")),
            Ok(_) if eval.fails() => failed("an error was expected"),
            Ok(outcome) => {
                check_notes(eval, &outcome)?;
                Ok(Some(outcome))
            }
        }
    }

    fn check_error(&self, eval: &Eval, error: &Error) -> Result<(), Verdict> {
        let text = error.to_string();
        for expect in &eval.expects {
            if let Expect::Fail(note) = expect
                && !note_matches(note, &text)
            {
                return failed(format!("another error was expected: {note:?}, not {text:?}"));
            }
        }
        Ok(())
    }
}

/// Prometheus' settings for its scripts.
fn options() -> Options<'static> {
    Options { delayed_name_removal: true, ..Options::default() }
}

/// The name of the histogram that a classic series belongs to.
fn histogram_of(name: &str) -> Option<&str> {
    ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix))
}

/// What of the language the parser does not read yet, where the query has it.
fn unread_syntax(query: &str) -> Option<&'static str> {
    let has = |pattern: &str| Regex::new(pattern).is_ok_and(|r| r.is_match(query));
    if has(r"\b(anchored|smoothed)\b") {
        Some("`anchored` and `smoothed`")
    } else if has(r"</|>/") {
        Some("trimming operators")
    } else if has(r"\binfo\(") {
        // Its second argument is a selector that may match everything.
        Some("info()")
    } else if has(r"\[[^\]]*([-+*/%^()]|step|range)") || has(r"offset\s*[-+]*\s*(\(|step|range|m..?_of)") {
        Some("duration expressions")
    } else {
        None
    }
}

fn note_matches(note: &Note, text: &str) -> bool {
    match note {
        Note::Any => true,
        Note::Message(message) => message == text,
        Note::Pattern(pattern) => Regex::new(pattern).is_ok_and(|r| r.is_match(text)),
    }
}

fn check_notes(eval: &Eval, outcome: &Outcome) -> Result<(), Verdict> {
    let of =
        |wanted: fn(&Expect) -> Option<&Note>| eval.expects.iter().filter_map(wanted).collect::<Vec<_>>();
    let warns = of(|e| if let Expect::Warn(note) = e { Some(note) } else { None });
    let infos = of(|e| if let Expect::Info(note) = e { Some(note) } else { None });
    let none = |what: &Expect| {
        eval.expects.iter().any(|e| std::mem::discriminant(e) == std::mem::discriminant(what))
    };
    check_kind("warning", &warns, &outcome.warnings, none(&Expect::NoWarn))?;
    check_kind("info", &infos, &outcome.infos, none(&Expect::NoInfo))
}

fn check_kind(kind: &str, expected: &[&Note], notes: &[String], none: bool) -> Result<(), Verdict> {
    if none && !notes.is_empty() {
        return failed(format!("unexpected {kind}: {notes:?}"));
    }
    if expected.is_empty() {
        return Ok(());
    }
    if notes.is_empty() {
        return failed(format!("an expected {kind} is missing"));
    }
    let problem = |text_of: &dyn Fn(&str) -> String| {
        let matches = |note: &Note, text: &str| match note {
            Note::Any => true,
            Note::Message(message) => text_of(message) == text,
            Note::Pattern(pattern) => Regex::new(&text_of(pattern)).is_ok_and(|r| r.is_match(text)),
        };
        if let Some(missing) = expected.iter().find(|e| !notes.iter().any(|n| matches(e, n))) {
            return Some(format!("expected {kind} {missing:?}, got {notes:?}"));
        }
        let other = notes.iter().find(|n| !expected.iter().any(|e| matches(e, n)));
        other.map(|other| format!("unexpected {kind} {other:?}"))
    };
    let Some(why) = problem(&str::to_owned) else { return Ok(()) };
    // Prometheus ends a note with its place in the query, `(1:6)`; the parser
    // does not tell places yet. A note that differs in that alone is neither right nor wrong.
    let place = Regex::new(r" ?\\?\((\d+|\[0-9\]\+):(\d+|\[0-9\]\+)\\?\)$");
    let without_place = |text: &str| match &place {
        Ok(place) => place.replace(text, "").into_owned(),
        Err(_) => text.to_owned(),
    };
    match problem(&without_place) {
        None => Err(Verdict::Skipped("the place in the query that a note ends with".into())),
        Some(_) => failed(why),
    }
}

fn compare_instant(eval: &Eval, answer: &Answer) -> Result<(), Verdict> {
    match answer {
        Answer::Scalar(point) => match eval.expected_scalar {
            Some(expected) => same(expected, point.value, "the scalar"),
            None => failed(format!("series were expected, not the scalar {}", point.value)),
        },
        Answer::String { text, .. } => match &eval.expected_string {
            Some(expected) if expected == text => Ok(()),
            expected => failed(format!("expected the text {expected:?}, got {text:?}")),
        },
        Answer::Matrix(series) => match eval.range_vector {
            Some(range) => compare_matrix(eval, series, range),
            None => failed("an instant vector was expected, not ranges"),
        },
        Answer::Vector(samples) => compare_vector(eval, samples),
    }
}

fn compare_vector(eval: &Eval, samples: &[Sample]) -> Result<(), Verdict> {
    if let Some(expected) = eval.expected_scalar {
        return failed(format!("the scalar {expected} was expected, not series"));
    }
    if samples.len() != eval.expected.len() {
        let got: Vec<String> = samples.iter().map(|s| format!("{} {}", s.labels, s.point.value)).collect();
        return failed(format!("expected {} series, got {}: {got:?}", eval.expected.len(), samples.len()));
    }
    for (place, sample) in samples.iter().enumerate() {
        let Some(at) = eval.expected.iter().position(|(labels, _)| *labels == sample.labels) else {
            return failed(format!("unexpected series {} with {}", sample.labels, sample.point.value));
        };
        if eval.ordered() && at != place {
            return failed(format!("{} was expected at place {at}, not {place}", sample.labels));
        }
        let Some(Value::Number(expected)) = eval.expected[at].1.first() else {
            return failed(format!("{} was not expected to have a value", sample.labels));
        };
        same(*expected, sample.point.value, &sample.labels.to_string())?;
    }
    Ok(())
}

fn compare_matrix(eval: &Eval, series: &[Series], range: Range) -> Result<(), Verdict> {
    if series.len() != eval.expected.len() {
        let got: Vec<String> = series.iter().map(|s| s.labels.to_string()).collect();
        return failed(format!("expected {} series, got {}: {got:?}", eval.expected.len(), series.len()));
    }
    for one in series {
        let Some((_, values)) = eval.expected.iter().find(|(labels, _)| *labels == one.labels) else {
            return failed(format!("unexpected series {}", one.labels));
        };
        let expected: Vec<(i64, f64)> = values
            .iter()
            .enumerate()
            .filter_map(|(i, value)| match value {
                Value::Number(value) => Some((range.start_ms + range.step_ms * i as i64, *value)),
                _ => None,
            })
            .collect();
        let got: Vec<(i64, f64)> = one.points.iter().map(|p| (p.at_ms, p.value)).collect();
        if expected.iter().map(|(at, _)| at).ne(got.iter().map(|(at, _)| at)) {
            return failed(format!("{}: expected {expected:?}, got {got:?}", one.labels));
        }
        for ((at, expected), (_, got)) in expected.iter().zip(&got) {
            same(*expected, *got, &format!("{} at {at} ms", one.labels))?;
        }
    }
    Ok(())
}

fn same(expected: f64, got: f64, what: &str) -> Result<(), Verdict> {
    if almost_equal(expected, got, 1e-6) {
        Ok(())
    } else {
        failed(format!("{what}: expected {expected}, got {got}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own scripts. Each of the good ones passes, and the runner notices a
    /// wrong expectation.
    #[test]
    fn scripts() {
        let report = run("own.test", include_str!("own.test"));
        assert_eq!(report.failed, []);
        assert_eq!(report.skipped, []);
        assert!(report.passed > 60, "{}", report.passed);
        let wrong = "load 1m\n  a 1\n\neval instant at 0 a\n  a 2\n\neval instant at 0 a\n  b 1\n\neval instant at 0 a\n\neval instant at 0 a\n  expect fail\n";
        assert_eq!(run("wrong.test", wrong).failed.len(), 4);
        let unread = "load 1m\n  h {{count:1}}\n\neval instant at 0 h\n\neval instant at 0 a[5m+1m]\n";
        assert_eq!(run("unread.test", unread).skipped.len(), 2);
    }

    /// Prometheus' own scripts, where they are beside the project.
    #[test]
    fn scripts_of_prometheus() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/promql");
        let Ok(entries) = std::fs::read_dir(&dir) else {
            println!("skipped: Prometheus' scripts are not beside the project");
            return;
        };
        let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
        for path in entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "test"))
        {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let report = run(&name, &std::fs::read_to_string(&path).unwrap());
            passed += report.passed;
            skipped.extend(report.skipped);
            failed.extend(report.failed);
        }
        println!("{passed} passed, {} failed, {} skipped", failed.len(), skipped.len());
        for case in failed.iter().chain(&skipped) {
            println!("{}\n    {}", case.name, case.why);
        }
        assert!(passed >= PASSED, "{passed} passed, {} failed: {failed:#?}", failed.len());
    }

    const PASSED: usize = 820;
}
