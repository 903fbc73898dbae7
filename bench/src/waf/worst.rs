//! Worst-case inputs: for each operator, transformation and body processor, and for
//! the whole rule set, what our engine takes for inputs of n, 2n and 4n bytes. Work
//! must grow with the input and no faster: more than [`STEEPEST`] times for twice
//! the input is a failure. Budgets are out of the way, since they would hide it.

mod probes;

use super::ours::{Ours, Prepared, file};
use super::request::Request;
use super::rules::Rules;
use crate::machine::thread_cpu;
use crate::rows::{OURS, Report, Row};
use probes::{BODIES, OPERATORS, Shape, TRANSFORMATIONS, UNITS, VALUES};
use std::time::Duration;
use waf_engine::settings::{Limits, RawBody};

/// Twice the input may take at most this many times as long: two, and some room
/// for caches that overflow and for a machine that others use too.
const STEEPEST: f64 = 2.6;

/// Below this a measurement is mostly the clock's.
const LEAST: Duration = Duration::from_micros(40);

/// How often a growth that is too steep is measured again before it counts.
const ATTEMPTS: usize = 6;

/// The smallest input of a probe, bytes; the largest is four times that.
const SMALLEST: usize = 16 << 10;

/// A probe's outcome.
struct Growth {
    /// Of the time, for twice the input.
    worst: f64,
    /// The shape that gave it.
    shape: String,
    /// What the largest input took.
    longest: Duration,
}

/// Runs all probes and adds a row and, where one grows too steeply, a failure for each.
pub(super) fn run(rules: &Rules, quick: bool, report: &mut Report) -> Result<(), String> {
    for name in TRANSFORMATIONS {
        let mut ours = engine(&format!(
            "SecRule ARGS:v \"!@contains q~q\" \"id:1,phase:2,pass,nolog,t:none,t:{name}\"\n"
        ))?;
        let growth = steepest(UNITS, |shape, size| ours_time(&mut ours, &form(shape, size)));
        add(report, &format!("t:{name}"), growth);
    }
    for probe in OPERATORS {
        let mut ours = engine(&format!(
            "SecRule ARGS:v \"{}\" \"id:1,phase:2,pass,nolog,t:none,capture\"\n",
            probe.written
        ))?;
        let mut shapes = probe.shapes.to_vec();
        shapes.extend(UNITS);
        // Where an engine backtracks, the growth is seen early, and the end is not.
        let part = if probe.written.contains("(?") || probe.written.contains("\\1") { 4 } else { 1 };
        let growth = steepest(&shapes, |shape, size| ours_time(&mut ours, &form(shape, size / part)));
        add(report, &format!("@{}", probe.name), growth);
    }
    for probe in BODIES {
        let mut ours = engine(&format!(
            "SecAction \"id:1,phase:1,pass,nolog,ctl:requestBodyProcessor={}\"\n\
             SecRule ARGS|ARGS_NAMES|FILES|XML:/* \"@rx nothing of it\" \"id:2,phase:2,pass,nolog\"\n",
            probe.processor
        ))?;
        let growth = steepest(probe.shapes, |shape, size| {
            let request = Request::new("POST", "/", &[("Host", "a.example")])
                .with_body(probe.content_type, shape.text(size));
            ours_time(&mut ours, &request)
        });
        add(report, probe.name, growth);
    }
    for probe in VALUES {
        let mut ours = engine(&format!("{}\n", probe.rules))?;
        let growth = steepest(MANY, |shape, size| ours_time(&mut ours, &many(shape, size)));
        add(report, probe.name, growth);
    }
    let mut ours = Ours::load_with(rules, 4, no_limits(), RawBody::Forms)?;
    let shapes: Vec<Shape> = if quick { UNITS.iter().step_by(7).copied().collect() } else { UNITS.to_vec() };
    let growth = steepest(&shapes, |shape, size| ours_time(&mut ours, &form(shape, size / 4)));
    add(report, "rule set, value", growth);
    let growth = steepest(&shapes, |shape, size| {
        let mut request = Request::new("GET", "/", &[("Host", "a.example"), ("Accept", "*/*")]);
        request.set_header("User-Agent", shape.text(size / 4));
        ours_time(&mut ours, &request)
    });
    add(report, "rule set, header", growth);
    let growth = steepest(MANY, |shape, size| ours_time(&mut ours, &many(shape, size / 4)));
    add(report, "rule set, values", growth);
    for probe in BODIES {
        let growth = steepest(probe.shapes, |shape, size| {
            let request = Request::new("POST", "/", &[("Host", "a.example"), ("Accept", "*/*")])
                .with_body(probe.content_type, shape.text(size / 4));
            ours_time(&mut ours, &request)
        });
        add(report, &format!("rule set, {}", probe.name), growth);
    }
    Ok(())
}

/// Many values, of one name or of many.
const MANY: &[Shape] =
    &[Shape { prefix: b"", unit: b"a#=1&", suffix: b"" }, Shape { prefix: b"", unit: b"a=1&", suffix: b"" }];

/// The value as argument `v` of a form, again as `w`, and its first half as `h`.
fn form(shape: &Shape, size: usize) -> Request {
    let value = shape.text(size);
    let encoded = |bytes: &[u8]| {
        let mut text = String::with_capacity(bytes.len() * 3);
        for &byte in bytes {
            if byte.is_ascii_alphanumeric() {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02x}"));
            }
        }
        text
    };
    let all = encoded(&value);
    let body = format!("v={all}&w={all}&h={}", encoded(&value[..value.len() / 2]));
    Request::new("POST", "/", &[("Host", "a.example"), ("Accept", "*/*")])
        .with_body("application/x-www-form-urlencoded", body.into_bytes())
}

/// Many arguments in query and form, and as many cookies.
fn many(shape: &Shape, size: usize) -> Request {
    let text = shape.text(size / 3);
    let cookies: Vec<u8> = text.iter().map(|&b| if b == b'&' { b';' } else { b }).collect();
    let mut request =
        Request::new("POST", [b"/?", &text[..]].concat(), &[("Host", "a.example"), ("Accept", "*/*")]);
    request.set_header("Cookie", cookies);
    request.with_body("application/x-www-form-urlencoded", text)
}

/// An engine of these rules alone.
fn engine(rules: &str) -> Result<Ours, String> {
    let text = format!("SecRuleEngine On\nSecRequestBodyAccess On\nSecArgumentsLimit 1000000\n{rules}");
    Ours::of(vec![file("probe.conf", text.as_bytes())], Vec::new(), no_limits(), RawBody::Forms)
        .map_err(|why| format!("{why}, of the probe\n{rules}"))
}

/// As high as limits go.
fn no_limits() -> Limits {
    Limits {
        request_body: base::Bytes(64 << 20),
        values: 1 << 20,
        inspected: base::Bytes(1 << 50),
        time_us: u64::MAX / 2,
        ..Limits::default()
    }
}

/// The least of a few runs: what disturbs only adds.
fn ours_time(ours: &mut Ours, request: &Request) -> Duration {
    let prepared = Prepared::new(request);
    ours.run(&prepared);
    let (mut least, mut spent) = (Duration::MAX, Duration::ZERO);
    for _ in 0..7 {
        let before = thread_cpu();
        ours.run(&prepared);
        let took = thread_cpu() - before;
        least = least.min(took);
        spent += took;
        if spent > Duration::from_millis(200) {
            break;
        }
    }
    least
}

/// The steepest growth among `shapes`.
fn steepest(shapes: &[Shape], mut time: impl FnMut(&Shape, usize) -> Duration) -> Growth {
    let mut worst = Growth { worst: 0.0, shape: String::new(), longest: Duration::ZERO };
    for shape in shapes {
        let mut best = f64::MAX;
        let mut longest = Duration::ZERO;
        for _ in 0..ATTEMPTS {
            let times = [1, 2, 4].map(|factor| time(shape, SMALLEST * factor));
            longest = times[2];
            best = best.min(growth(times));
            // What takes this long is not the machine's noise.
            if best <= STEEPEST || longest > Duration::from_millis(500) {
                break;
            }
        }
        worst.longest = worst.longest.max(longest);
        if best > worst.worst {
            worst.worst = best;
            let text = [shape.prefix, b"(", shape.unit, b")*", shape.suffix].concat();
            worst.shape = text.escape_ascii().to_string();
        }
    }
    worst
}

/// For one doubling, on the (geometric) mean of both, since one of them may be where a
/// cache overflows; what is too short to tell counts as nothing.
fn growth([one, _, four]: [Duration; 3]) -> f64 {
    if four < LEAST { 0.0 } else { (four.as_secs_f64() / one.as_secs_f64().max(1e-9)).sqrt() }
}

fn add(report: &mut Report, name: &str, growth: Growth) {
    let longest_us = growth.longest.as_secs_f64() * 1e6;
    eprintln!("{name:<28} × {:.2} for twice `{}`, at most {longest_us:.0} µs", growth.worst, growth.shape);
    if growth.worst > STEEPEST {
        report.failed.push(format!(
            "{name}: {:.1} times as long for twice the input `{}` (at most {STEEPEST})",
            growth.worst, growth.shape
        ));
    }
    report.rows.push(Row {
        workload: name.to_owned(),
        contender: OURS.to_owned(),
        metric: "growth",
        median: growth.worst,
        min: growth.worst,
        max: growth.worst,
        ratio: None,
    });
    report.rows.push(Row {
        workload: name.to_owned(),
        contender: OURS.to_owned(),
        metric: "worst_us",
        median: longest_us,
        min: longest_us,
        max: longest_us,
        ratio: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_for_one_doubling_and_short_times_count_for_nothing() {
        let ms = Duration::from_millis;
        assert_eq!(growth([ms(1), ms(2), ms(4)]), 2.0);
        assert_eq!(growth([ms(1), ms(4), ms(16)]), 4.0);
        assert_eq!(growth([ms(0), Duration::from_micros(1), Duration::from_micros(20)]), 0.0);
    }

    #[test]
    fn a_quadratic_engine_is_seen() {
        let quadratic = |_: &Shape, size: usize| Duration::from_nanos((size * size / 100) as u64);
        let linear = |_: &Shape, size: usize| Duration::from_nanos(size as u64 * 10);
        assert!(steepest(&UNITS[..2], quadratic).worst > STEEPEST);
        assert!(steepest(&UNITS[..2], linear).worst <= STEEPEST);
    }

    #[test]
    fn shapes_have_their_size_and_numbers() {
        let shape = Shape { prefix: b"<", unit: b"a#", suffix: b">" };
        assert_eq!(shape.text(6), b"<a0a1a2>");
    }
}
