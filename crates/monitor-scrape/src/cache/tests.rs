use super::*;
use crate::relabel::{Action, Written};
use crate::settings::Pool;
use monitor_exposition::{Format, Writer};
use monitor_model::{MetricType, is_stale};

/// Remembers rows as text; series are numbers in the order in which they came.
#[derive(Default)]
struct Rows {
    series: Vec<Labels>,
    rows: Vec<String>,
    refuse: Option<&'static str>,
    asked: usize,
}

impl Appender for Rows {
    type Series = usize;

    fn series(&mut self, labels: &Labels) -> Result<usize, String> {
        self.asked += 1;
        if self.refuse.is_some_and(|name| labels.name() == Some(name)) {
            return Err("too many series".into());
        }
        Ok(self.series.iter().position(|known| known == labels).unwrap_or_else(|| {
            self.series.push(labels.clone());
            self.series.len() - 1
        }))
    }
    fn float(&mut self, series: usize, at_ms: i64, value: f64, start_ms: i64) {
        let value = if is_stale(value) { "stale".to_owned() } else { value.to_string() };
        let start = if start_ms == 0 { String::new() } else { format!(" since {start_ms}") };
        self.rows.push(format!("{} {value} @{at_ms}{start}", self.series[series]));
    }
    fn histogram(&mut self, series: usize, at_ms: i64, value: Arc<Histogram>, _start_ms: i64) {
        self.rows.push(format!("{} {} @{at_ms}", self.series[series], value.to_script()));
    }
    fn exemplar(&mut self, series: usize, exemplar: Exemplar, at_ms: i64) {
        self.rows.push(format!("{} # {} {} @{at_ms}", self.series[series], exemplar.labels, exemplar.value));
    }
    fn clear(&mut self) {
        self.rows.clear();
    }
}

struct Bench {
    scrape: Scrape<usize>,
    rows: Rows,
    at_ms: i64,
}

fn pool() -> Pool {
    Pool::named("j")
}

fn target(pool: &Pool) -> Target {
    let group = crate::Group::of_addresses("t", ["h:1"]);
    match crate::target::of_group(pool, &group).remove(0) {
        crate::Found::Target(target) => *target,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    fn new(change: impl FnOnce(&mut Pool)) -> Self {
        let mut pool = pool();
        change(&mut pool);
        let scrape = Scrape::new(Rules::new(&pool, &target(&pool)), 7);
        Self { scrape, rows: Rows::default(), at_ms: 0 }
    }

    fn take(&mut self, body: &str) -> (Outcome, Vec<String>) {
        self.take_of(Format::Text, body.as_bytes())
    }

    fn take_of(&mut self, format: Format, body: &[u8]) -> (Outcome, Vec<String>) {
        self.at_ms += 1;
        self.rows.rows.clear();
        let outcome = self.scrape.take(format, body, self.at_ms, &mut self.rows);
        let rows = self.rows.rows.iter().map(|row| {
            row.replace(", instance=\"h:1\", job=\"j\"", "").replace("{instance=\"h:1\", job=\"j\"}", "")
        });
        (outcome, rows.collect())
    }
}

fn step(action: Action, label: &str, regex: &str) -> Relabel {
    let source_labels = if action == Action::LabelDrop { Vec::new() } else { vec![label.to_owned()] };
    Relabel::compile(&Written { source_labels, regex: Some(regex.into()), action, ..Written::default() })
        .unwrap()
}

#[test]
fn a_warm_scrape_asks_for_no_series() {
    let mut bench = Bench::new(|_| {});
    let (outcome, rows) = bench.take("a{x=\"1\"} 1\nb 2\n");
    assert_eq!((outcome.scraped, outcome.kept, outcome.added), (2, 2, 2));
    assert_eq!(
        rows,
        ["a{x=\"1\"} 1 @1".replace("x=\"1\"}", "instance=\"h:1\", job=\"j\", x=\"1\"}"), "b 2 @1".into()]
    );
    let asked = bench.rows.asked;
    // In another order, too.
    let (outcome, _) = bench.take("b 3\na{x=\"1\"} 1\n");
    assert_eq!((outcome.kept, outcome.added, bench.rows.asked), (2, 0, asked));
}

#[test]
fn series_that_end_are_marked_once() {
    let mut bench = Bench::new(|_| {});
    bench.take("a 1\nb 1\nc 1 50\n");
    let (_, rows) = bench.take("a 1\n");
    // `c` has times of its own: its end is not tracked.
    assert_eq!(rows, ["a 1 @2", "b stale @2"]);
    let (_, rows) = bench.take("a 1\n");
    assert_eq!(rows, ["a 1 @3"]);
    // The same series under another text goes on.
    let (_, rows) = bench.take("a{} 1\n");
    assert_eq!(rows, ["a 1 @4"]);
    // A body that is refused ends all of them, and nothing of it is kept.
    let (outcome, rows) = bench.take("a 1\nnew 1\nbad\n");
    assert!(matches!(outcome.failure, Some(Failure::Parse(_))), "{outcome:?}");
    assert_eq!((rows, bench.scrape.series()), (vec!["a stale @5".to_owned()], 1));
    let (_, rows) = bench.take("a{} 1\nbad");
    assert_eq!(rows, [""; 0]);
    let (outcome, rows) = bench.take("a{} 1\n");
    assert_eq!((rows, outcome.added), (vec!["a 1 @7".to_owned()], 0));
    bench.rows.rows.clear();
    bench.scrape.fail(8, &mut bench.rows);
    bench.scrape.fail(9, &mut bench.rows);
    assert_eq!(bench.rows.rows, ["a{instance=\"h:1\", job=\"j\"} stale @8"]);
}

#[test]
fn honor_timestamps_and_their_staleness() {
    let mut bench = Bench::new(|pool| pool.honor_timestamps = false);
    assert_eq!(bench.take("a 1 50\n").1, ["a 1 @1"]);
    assert_eq!(bench.take("").1, ["a stale @2"]);
    let mut bench = Bench::new(|pool| pool.track_timestamps_staleness = true);
    assert_eq!(bench.take("a 1 50\n").1, ["a 1 @50"]);
    assert_eq!(bench.take("").1, ["a stale @2"]);
}

#[test]
fn duplicates_are_counted_and_left_out() {
    let mut bench = Bench::new(|_| {});
    let (outcome, rows) = bench.take("a 1\na 2\nb 1 5\nb 2 6\n");
    assert_eq!((outcome.duplicates, outcome.scraped, outcome.kept), (1, 4, 3));
    assert_eq!(rows, ["a 1 @1", "b 1 @5", "b 2 @6"]);
}

#[test]
fn relabelling_of_samples() {
    let mut bench = Bench::new(|pool| {
        pool.metric_relabel = vec![step(Action::Drop, "__name__", "go_.*"), step(Action::LabelDrop, "", "x")];
    });
    let (outcome, rows) = bench.take("go_a 1\nb{x=\"1\"} 2\n");
    assert_eq!((outcome.scraped, outcome.kept, outcome.added), (2, 1, 1));
    assert_eq!(rows, ["b 2 @1"]);
    // Two texts that became one series.
    let (outcome, rows) = bench.take("b{x=\"1\"} 2\nb{x=\"2\"} 3\n");
    assert_eq!((outcome.kept, rows.len()), (2, 2));
    let (_, rows) = bench.take("b{x=\"2\"} 3\n");
    assert_eq!(rows, ["b 3 @3"]);
    let mut bench = Bench::new(|pool| pool.metric_relabel = vec![step(Action::LabelDrop, "", "__name__")]);
    let (outcome, _) = bench.take("a 1\n");
    assert!(matches!(outcome.failure, Some(Failure::Name(_))), "{outcome:?}");
}

#[test]
fn limits_fail_the_whole_scrape() {
    let mut bench = Bench::new(|pool| pool.limits.samples = 2);
    assert!(bench.take("a 1\nb 1\n").0.failure.is_none());
    let (outcome, rows) = bench.take("a 1\nb 1\nc 1\nd 1\n");
    let said = outcome.failure.as_ref().unwrap().to_string();
    assert!(said.contains("sample limit exceeded: 4 samples after relabelling, limit 2"), "{said}");
    assert_eq!(
        (outcome.scraped, outcome.kept, rows),
        (4, 4, vec!["a stale @2".to_owned(), "b stale @2".into()])
    );
    let mut bench = Bench::new(|pool| pool.limits.labels = 3);
    assert!(bench.take("a 1\n").0.failure.is_none());
    assert!(matches!(bench.take("a{x=\"1\"} 1\n").0.failure, Some(Failure::Labels(_))));
}

#[test]
fn a_target_has_so_many_series_a_day() {
    let mut bench = Bench::new(|pool| pool.limits.series = 2);
    let (first, _) = bench.take("a{id=\"1\"} 1\na{id=\"2\"} 1\n");
    assert_eq!((first.kept, first.refused.0), (2, 0));
    // A third one is refused, and what is known is not; one that was here today may come back.
    let (third, _) = bench.take("a{id=\"2\"} 1\na{id=\"3\"} 1\n");
    let why = third.refused.1.unwrap();
    assert!(third.refused.0 == 1 && third.failure.is_none() && why.contains("had 2 within a day"), "{why}");
    assert_eq!(bench.take("a{id=\"1\"} 1\na{id=\"2\"} 1\n").0.refused, (0, None));
    // Another day begins with those that are there.
    bench.at_ms += 86_400_000;
    assert_eq!(bench.take("a{id=\"2\"} 1\n").0.refused.0, 0);
    assert_eq!(bench.take("a{id=\"2\"} 1\na{id=\"4\"} 1\n").0.refused.0, 1);
    // As does one whose clock was set back.
    bench.at_ms -= 3 * 86_400_000;
    assert_eq!(bench.take("a{id=\"5\"} 1\n").0.refused.0, 0);
    assert_eq!(bench.take("a{id=\"5\"} 1\na{id=\"6\"} 1\n").0.refused.0, 1);
}

#[test]
fn what_the_store_does_not_take_is_counted() {
    let mut bench = Bench::new(|_| {});
    bench.rows.refuse = Some("b");
    let (outcome, rows) = bench.take("a 1\nb 1\nb{x=\"1\"} 1\n");
    assert_eq!(outcome.refused, (2, Some("too many series".into())));
    assert_eq!((outcome.added, rows), (1, vec!["a 1 @1".to_owned()]));
    bench.rows.refuse = None;
    assert_eq!(bench.take("a 1\nb 1\n").0.added, 1);
}

#[test]
fn reports_and_the_end() {
    let mut bench = Bench::new(|pool| pool.extra_metrics = true);
    bench.take("a 1\n");
    let report = Report { up: true, took_s: 0.5, scraped: 1, kept: 1, added: 1, body_bytes: 4 };
    bench.rows.rows.clear();
    bench.scrape.report(9, &report, &mut bench.rows);
    let names: Vec<&str> = bench.rows.rows.iter().map(|row| row.split('{').next().unwrap()).collect();
    assert_eq!(names, REPORT);
    assert!(bench.rows.rows[5].ends_with("} 10 @9"), "{:?}", bench.rows.rows);
    bench.rows.rows.clear();
    bench.scrape.end(10, &mut bench.rows);
    assert_eq!(bench.rows.rows.len(), 9);
    assert!(bench.rows.rows.iter().all(|row| row.ends_with(" stale @10")));
    // And only once.
    bench.rows.rows.clear();
    bench.scrape.end(11, &mut bench.rows);
    assert_eq!(bench.rows.rows, [""; 0]);
}

#[test]
fn series_that_the_store_forgot_get_new_names() {
    let mut bench = Bench::new(|_| {});
    bench.take("a 1\nb 1\n");
    let found = bench.scrape.labels_of(&[1]);
    assert_eq!((found.len(), found[0].1.name()), (1, Some("b")));
    bench.rows.series.push(found[0].1.clone());
    bench.scrape.rename(1, 2);
    bench.rows.series[1] = Labels::empty();
    assert_eq!(bench.take("a 1\nb 1\n").1, ["a 1 @2", "b 1 @2"]);
}

#[test]
fn new_rules_end_what_they_drop() {
    let mut bench = Bench::new(|_| {});
    bench.take("a 1\nb 1\n");
    let mut pool = pool();
    pool.metric_relabel = vec![step(Action::Drop, "__name__", "b")];
    bench.scrape.set_rules(Rules::new(&pool, &target(&pool)));
    let (outcome, rows) = bench.take("a 1\nb 1\n");
    assert_eq!((rows, outcome.kept), (vec!["a 1 @2".to_owned(), "b stale @2".into()], 1));
}

#[test]
fn classic_histograms_become_native_ones() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n\
                h_bucket{x=\"1\",le=\"+Inf\"} 1\nh_count{x=\"1\"} 1\nh_sum{x=\"1\"} 1\n# TYPE g gauge\ng 1\n";
    let mut bench = Bench::new(|pool| pool.classic_to_native = true);
    let (outcome, rows) = bench.take(body);
    assert_eq!(outcome.scraped, 3);
    assert_eq!(
        rows,
        [
            "h {{schema:-53 count:3 sum:4 custom_values:[1] buckets:[2 1]}} @1",
            "h{instance=\"h:1\", job=\"j\", x=\"1\"} {{schema:-53 count:1 sum:1 custom_values:[] buckets:[1]}} @1",
            "g 1 @1",
        ]
    );
    assert_eq!(bench.take("g 1\n").1.len(), 3);
    let mut bench = Bench::new(|pool| (pool.classic_to_native, pool.classic_too) = (true, true));
    assert_eq!(bench.take(body).0.scraped, 3 + 7);
}

#[test]
fn native_histograms_within_limits() {
    let histogram = Histogram::from_script("{{schema:3 count:6 sum:4 buckets:[1 2 3]}}").unwrap();
    let mut writer = Writer::new(Format::Protobuf, true);
    writer.family("h", MetricType::Histogram, "", "");
    writer.histogram(&Labels::from_pairs([("__name__", "h")]), &histogram, None);
    let body = writer.finish();
    // Unless they are wanted, such a histogram is a classic one.
    assert_eq!(Bench::new(|_| {}).take_of(Format::Protobuf, &body).1.len(), 3);
    let rows = Bench::new(|pool| pool.native_histograms = true).take_of(Format::Protobuf, &body).1;
    assert_eq!(rows, ["h {{schema:3 count:6 sum:4 buckets:[1 2 3]}} @1"]);
    let fitted = |limit, factor| {
        Bench::new(|pool| {
            (pool.native_histograms, pool.bucket_limit, pool.min_bucket_factor) = (true, limit, factor)
        })
        .take_of(Format::Protobuf, &body)
    };
    assert!(fitted(2, 0.0).1[0].contains("schema:2 "), "{:?}", fitted(2, 0.0).1);
    assert!(fitted(0, 1.9).1[0].contains("{{schema:1 "), "{:?}", fitted(0, 1.9).1);
    assert_eq!((schema_of(1.1), schema_of(2.0), schema_of(1e9), schema_of(1.000_001)), (3, 0, -4, 8));
}

#[test]
fn the_legacy_scheme_of_names() {
    for (legacy, good) in [(false, true), (true, false)] {
        let mut bench = Bench::new(|pool| pool.legacy_names = legacy);
        assert!(bench.take("a:b{x=\"é\"} 1\n").0.failure.is_none());
        assert_eq!(bench.take("{\"a.b\"} 1\n").0.failure.is_none(), good);
        assert_eq!(bench.take("a{\"x.y\"=\"1\"} 1\n").0.failure.is_none(), good);
    }
}

#[test]
fn metadata_is_remembered() {
    let mut bench = Bench::new(|_| {});
    bench.take("# HELP a What.\n# TYPE a counter\na 1\n");
    let told: Vec<_> = bench.scrape.metadata().collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1.kind, told[0].1.help.as_str()), ("a", MetricType::Counter, "What."));
}
