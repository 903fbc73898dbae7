//! Runs PromQL scripts: series that are loaded, queries, and what they must
//! answer. The format is that of Prometheus' own tests (`promql/promqltest`).
//!
//! Each instant case is evaluated also with `@` at other times, and as a range
//! query; these count within the case.

mod parse;
mod storage;
mod values;

use crate::stats::almost_equal;
use crate::{Answer, Error, Labels, Options, Outcome, Point, Query, Sample, Series, SeriesData};
use monitor_model::CounterReset;
use parse::{Block, Eval, Expect, Load, Note, Range};
use regex::Regex;
use std::collections::BTreeMap;
use storage::Loaded;
use values::Value;

/// What running a script gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many cases passed.
    pub passed: usize,
    /// Those that did not.
    pub failed: Vec<Case>,
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
                    Err(why) => report.failed.push(Case { name, why }),
                }
                continue;
            }
            Err((line, why)) => (line, why),
        };
        report.failed.push(Case { name: format!("{file}:{line}"), why: what });
    }
    report
}

fn failed<T>(why: impl Into<String>) -> Result<T, String> {
    Err(why.into())
}

/// The series that are loaded.
#[derive(Default)]
struct Data {
    series: Vec<SeriesData>,
}

impl Data {
    fn load(&mut self, load: Load) -> Result<(), (usize, String)> {
        let mut series: BTreeMap<Labels, Vec<Loaded>> = BTreeMap::new();
        for loaded in std::mem::take(&mut self.series) {
            series.insert(loaded.labels.clone(), storage::samples_of(&loaded));
        }
        if load.with_histograms {
            for (labels, samples) in storage::native_of_classic(&load) {
                series.entry(labels).or_default().extend(samples);
            }
        }
        for line in load.series {
            let into = series.entry(line.labels).or_default();
            for (i, value) in line.values.into_iter().enumerate() {
                let at_ms = load.step_ms * i as i64;
                let start = line.starts.get(i).copied().flatten().map(|offset| at_ms + offset);
                into.extend(Loaded::of(value, at_ms, start));
            }
        }
        self.series = series.into_iter().map(|(labels, samples)| storage::series(labels, samples)).collect();
        Ok(())
    }

    fn check(&self, eval: &Eval) -> Result<(), String> {
        let query = match Query::parse(&eval.query) {
            Ok(query) => query,
            Err(error) if eval.fails() => return self.check_error(eval, &error),
            Err(error) => return failed(format!("not read: {error}")),
        };
        match eval.range {
            Some(range) => self.check_range(eval, &query, range),
            None => self.check_instant(eval, &query),
        }
    }

    fn check_range(&self, eval: &Eval, query: &Query, range: Range) -> Result<(), String> {
        let result = query.range(&self.series, range.start_ms, range.end_ms, range.step_ms, &options());
        let Some(outcome) = self.settle(eval, result)? else { return Ok(()) };
        match outcome.answer {
            Answer::Matrix(series) => compare_matrix(eval, &series, range),
            other => failed(format!("a matrix was expected, not {other:?}")),
        }
    }

    fn check_instant(&self, eval: &Eval, query: &Query) -> Result<(), String> {
        let result = query.instant(&self.series, eval.at_ms, &options());
        let outcome = self.settle(eval, result)?;
        if let Some(outcome) = &outcome {
            compare_instant(eval, &outcome.answer)?;
        }
        self.check_pinned(eval, query).map_err(|why| format!("with @: {why}"))?;
        match outcome.map(|outcome| outcome.answer) {
            Some(Answer::Vector(_) | Answer::Scalar(_)) if !eval.ordered() && !query.sees_query() => {
                self.check_as_range(eval, query).map_err(|why| format!("as a range query: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// The same query fixed by `@`, evaluated at other times.
    fn check_pinned(&self, eval: &Eval, query: &Query) -> Result<(), String> {
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
    fn check_as_range(&self, eval: &Eval, query: &Query) -> Result<(), String> {
        let (at, minute) = (eval.at_ms, 60_000);
        let outcome = match query.range(&self.series, at - minute, at + minute, minute, &options()) {
            Ok(outcome) => outcome,
            Err(error) => return failed(error.to_string()),
        };
        let Answer::Matrix(series) = outcome.answer else { return failed("no matrix") };
        let here = |series: Series| {
            let float = series.points.iter().find(|p| p.at_ms == at).map(|p| crate::Value::Float(p.value));
            let histogram = series.histograms.iter().find(|p| p.at_ms == at);
            let value = float.or(histogram.map(|p| crate::Value::Histogram(p.value.clone())))?;
            Some(Sample { labels: series.labels, at_ms: at, value })
        };
        let samples: Vec<Sample> = series.into_iter().filter_map(here).collect();
        match (&eval.expected_scalar, samples.first().and_then(Sample::float)) {
            (Some(_), Some(value)) => compare_instant(eval, &Answer::Scalar(Point { at_ms: at, value })),
            _ => compare_instant(eval, &Answer::Vector(samples)),
        }
    }

    /// Checks error and notes; `None` where an error was expected and came.
    fn settle(&self, eval: &Eval, result: Result<Outcome, Error>) -> Result<Option<Outcome>, String> {
        match result {
            Err(error) if eval.fails() => self.check_error(eval, &error).map(|()| None),
            Err(error) => failed(format!("error: {error}")),
            Ok(_) if eval.fails() => failed("an error was expected"),
            Ok(outcome) => {
                check_notes(eval, &outcome)?;
                Ok(Some(outcome))
            }
        }
    }

    fn check_error(&self, eval: &Eval, error: &Error) -> Result<(), String> {
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

fn note_matches(note: &Note, text: &str) -> bool {
    match note {
        Note::Any => true,
        Note::Message(message) => message == text,
        Note::Pattern(pattern) => {
            Regex::new(&monitor_model::regex_of_go(pattern)).is_ok_and(|r| r.is_match(text))
        }
    }
}

fn check_notes(eval: &Eval, outcome: &Outcome) -> Result<(), String> {
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

fn check_kind(kind: &str, expected: &[&Note], notes: &[String], none: bool) -> Result<(), String> {
    if none && !notes.is_empty() {
        return failed(format!("unexpected {kind}: {notes:?}"));
    }
    if expected.is_empty() {
        return Ok(());
    }
    if notes.is_empty() {
        return failed(format!("an expected {kind} is missing"));
    }
    if let Some(missing) = expected.iter().find(|e| !notes.iter().any(|n| note_matches(e, n))) {
        return failed(format!("expected {kind} {missing:?}, got {notes:?}"));
    }
    match notes.iter().find(|n| !expected.iter().any(|e| note_matches(e, n))) {
        Some(other) => failed(format!("unexpected {kind} {other:?}")),
        None => Ok(()),
    }
}

fn compare_instant(eval: &Eval, answer: &Answer) -> Result<(), String> {
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

fn compare_vector(eval: &Eval, samples: &[Sample]) -> Result<(), String> {
    if let Some(expected) = eval.expected_scalar {
        return failed(format!("the scalar {expected} was expected, not series"));
    }
    if samples.len() != eval.expected.len() {
        let got: Vec<String> = samples.iter().map(|s| format!("{} {:?}", s.labels, s.value)).collect();
        return failed(format!("expected {} series, got {}: {got:?}", eval.expected.len(), samples.len()));
    }
    for (place, sample) in samples.iter().enumerate() {
        let Some(at) = eval.expected.iter().position(|(labels, _)| *labels == sample.labels) else {
            return failed(format!("unexpected series {} with {:?}", sample.labels, sample.value));
        };
        if eval.ordered() && at != place {
            return failed(format!("{} was expected at place {at}, not {place}", sample.labels));
        }
        same_value(eval.expected[at].1.first(), &sample.value, &sample.labels.to_string())?;
    }
    Ok(())
}

fn compare_matrix(eval: &Eval, series: &[Series], range: Range) -> Result<(), String> {
    if series.len() != eval.expected.len() {
        let got: Vec<String> = series.iter().map(|s| s.labels.to_string()).collect();
        return failed(format!("expected {} series, got {}: {got:?}", eval.expected.len(), series.len()));
    }
    for one in series {
        let Some((_, values)) = eval.expected.iter().find(|(labels, _)| *labels == one.labels) else {
            return failed(format!("unexpected series {}", one.labels));
        };
        let times = (0..).map(|i| range.start_ms + range.step_ms * i);
        let mut got: BTreeMap<i64, crate::Value> = BTreeMap::new();
        got.extend(one.points.iter().map(|p| (p.at_ms, crate::Value::Float(p.value))));
        got.extend(one.histograms.iter().map(|p| (p.at_ms, crate::Value::Histogram(p.value.clone()))));
        for (at, expected) in times.zip(values) {
            match got.remove(&at) {
                Some(got) => same_value(Some(expected), &got, &format!("{} at {at} ms", one.labels))?,
                None if matches!(expected, Value::Gap) => {}
                None => return failed(format!("{} at {at} ms: expected {expected:?}, got none", one.labels)),
            }
        }
        if let Some((at, value)) = got.first_key_value() {
            return failed(format!("{} at {at} ms: unexpected {value:?}", one.labels));
        }
    }
    Ok(())
}

fn same_value(expected: Option<&Value>, got: &crate::Value, what: &str) -> Result<(), String> {
    match (expected, got) {
        (Some(Value::Number(expected)), crate::Value::Float(got)) => same(*expected, *got, what),
        (Some(Value::Histogram(expected)), crate::Value::Histogram(got)) => {
            let (mut compact, mut compact_got) = (expected.as_ref().clone(), got.as_ref().clone());
            compact.compact();
            compact_got.compact();
            let hint = expected.reset == CounterReset::Unknown || expected.reset == got.reset;
            if hint && compact.matches(&compact_got, |a, b| almost_equal(a, b, 1e-6)) {
                return Ok(());
            }
            failed(format!(
                "{what}: expected {} ({:?}), got {} ({:?})",
                compact.to_script(),
                expected.reset,
                compact_got.to_script(),
                got.reset
            ))
        }
        (expected, got) => failed(format!("{what}: expected {expected:?}, got {got:?}")),
    }
}

fn same(expected: f64, got: f64, what: &str) -> Result<(), String> {
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
        assert!(report.passed > 60, "{}", report.passed);
        let wrong = "load 1m\n  a 1\n\neval instant at 0 a\n  a 2\n\neval instant at 0 a\n  b 1\n\neval instant at 0 a\n\neval instant at 0 a\n  expect fail\n";
        assert_eq!(run("wrong.test", wrong).failed.len(), 4);
    }

    /// Prometheus' own scripts, where they are beside the project.
    #[test]
    fn scripts_of_prometheus() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/promql");
        let Ok(entries) = std::fs::read_dir(&dir) else {
            println!("skipped: Prometheus' scripts are not beside the project");
            return;
        };
        let (mut passed, mut failed) = (0, Vec::new());
        for path in entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "test"))
        {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let report = run(&name, &std::fs::read_to_string(&path).unwrap());
            passed += report.passed;
            failed.extend(report.failed);
        }
        println!("{passed} passed, {} failed", failed.len());
        for case in &failed {
            println!("{}\n    {}", case.name, case.why);
        }
        assert!(failed.is_empty() && passed > 0, "{passed} passed, {} failed: {failed:#?}", failed.len());
    }
}
