//! Names and units, as Prometheus has them.
//!
//! Sources: OpenTelemetry specification, "Prometheus and OpenMetrics
//! compatibility"; Prometheus manual, `otlp`; UCUM for units.

use super::{Settings, Strategy};

/// What of a metric decides over its name's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Other,
}

/// A metric's name in Prometheus; empty where nothing is left of it. `counter`:
/// whether it only grows; `gauge`: whether it is a gauge.
pub fn metric_name(name: &str, unit: &str, counter: bool, gauge: bool, strategy: Strategy) -> String {
    let kind = if counter {
        Kind::Counter
    } else if gauge {
        Kind::Gauge
    } else {
        Kind::Other
    };
    build(name, unit, kind, strategy)
}

pub(super) fn build(name: &str, unit: &str, kind: Kind, strategy: Strategy) -> String {
    let (main, per) = units(unit);
    let ratio = unit.trim() == "1" && kind == Kind::Gauge;
    match (strategy.escapes(), strategy.has_suffixes()) {
        (false, false) => name.to_owned(),
        (false, true) => with_suffixes(name, &main, &per, kind, ratio),
        (true, false) => from_letter(joined(name, |c| is_letter(c) || c == '_')),
        (true, true) => {
            let mut tokens: Vec<String> = tokens(name, is_letter).map(str::to_owned).collect();
            let (main, per) = (joined(&main, is_letter), joined(&per, is_letter));
            if !main.is_empty() && !tokens.contains(&main) {
                tokens.push(main);
            }
            if !per.is_empty() && !tokens.contains(&per) {
                tokens.push("per".into());
                tokens.push(per);
            }
            for (end, wanted) in [("total", kind == Kind::Counter), ("ratio", ratio)] {
                if wanted {
                    tokens.retain(|token| token != end);
                    tokens.push(end.into());
                }
            }
            from_letter(tokens.join("_"))
        }
    }
}

/// Names that keep their characters get their ends once, in this order: unit,
/// `per_…`, `total`, `ratio`.
fn with_suffixes(name: &str, main: &str, per: &str, kind: Kind, ratio: bool) -> String {
    let per = if per.is_empty() { String::new() } else { format!("per_{per}") };
    let total = if kind == Kind::Counter { "total" } else { "" };
    let ratio = if ratio { "ratio" } else { "" };
    let mut name = name;
    for end in [ratio, total, &per] {
        name = without_end(name, end);
    }
    let mut name = name.to_owned();
    if !main.is_empty() && !name.ends_with(main) {
        name = format!("{name}_{main}");
    }
    for end in [&per, total, ratio] {
        if !end.is_empty() {
            name = format!("{name}_{end}");
        }
    }
    name
}

fn without_end<'a>(name: &'a str, end: &str) -> &'a str {
    match name.strip_suffix(end) {
        Some(before) if !end.is_empty() && !before.is_empty() => {
            before.strip_suffix(|c: char| !c.is_alphanumeric()).unwrap_or(before)
        }
        _ => name,
    }
}

/// The unit in words: `s` is `seconds`; both parts of a quotient.
pub(super) fn unit_name(unit: &str) -> String {
    let (main, per) = units(unit);
    match (main.is_empty(), per.is_empty()) {
        (_, true) => main,
        (true, false) => format!("per_{per}"),
        (false, false) => format!("{main}_per_{per}"),
    }
}

/// Both parts of a unit, in words; annotations in braces are no unit.
fn units(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let part = |text: &str, table: &[(&str, &str)]| {
        let text = text.trim();
        if text.contains(['{', '}']) {
            return String::new();
        }
        let known = table.iter().find(|(short, _)| *short == text);
        known.map_or(text, |(_, word)| word).to_owned()
    };
    (part(main, UNITS), part(per, PER_UNITS))
}

const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

const PER_UNITS: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// A label's name in Prometheus; `None` where nothing is left of it.
pub fn label_name(name: &str, settings: &Settings) -> Option<String> {
    if !settings.strategy.escapes() {
        return (!name.trim_matches('_').is_empty()).then(|| name.to_owned());
    }
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '_' };
        if c != '_' || settings.label_preserve_multiple_underscores || !text.ends_with('_') {
            text.push(c);
        }
    }
    if text.trim_matches('_').is_empty() {
        return None;
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert_str(0, "key_");
    } else if settings.label_underscore_sanitization && text.starts_with('_') && !text.starts_with("__") {
        text.insert_str(0, "key");
    }
    Some(text)
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn tokens(name: &str, keep: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    name.split(move |c| !keep(c)).filter(|token| !token.is_empty())
}

/// What may stay, with one underscore for what may not.
fn joined(name: &str, keep: impl Fn(char) -> bool) -> String {
    tokens(name, keep).collect::<Vec<_>>().join("_")
}

/// A name cannot begin with a digit.
fn from_letter(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics() {
        use Strategy::*;
        let cases = [
            ("system.io", "By", Kind::Counter, UnderscoreEscapingWithSuffixes, "system_io_bytes_total"),
            (
                "system.io.bytes.total",
                "By",
                Kind::Counter,
                UnderscoreEscapingWithSuffixes,
                "system_io_bytes_total",
            ),
            ("total.requests", "{request}", Kind::Counter, UnderscoreEscapingWithSuffixes, "requests_total"),
            ("cpu", "1", Kind::Gauge, UnderscoreEscapingWithSuffixes, "cpu_ratio"),
            ("cpu", "1", Kind::Counter, UnderscoreEscapingWithSuffixes, "cpu_total"),
            ("speed", "m/s", Kind::Gauge, UnderscoreEscapingWithSuffixes, "speed_meters_per_second"),
            ("hits", "{hit}/m", Kind::Gauge, UnderscoreEscapingWithSuffixes, "hits_per_minute"),
            ("a__b..c", "", Kind::Gauge, UnderscoreEscapingWithSuffixes, "a_b_c"),
            ("2xx", "", Kind::Other, UnderscoreEscapingWithSuffixes, "_2xx"),
            ("rule:x", "furlong.é", Kind::Other, UnderscoreEscapingWithSuffixes, "rule:x_furlong"),
            ("é", "", Kind::Other, UnderscoreEscapingWithSuffixes, ""),
            ("a__b..c", "By", Kind::Counter, UnderscoreEscapingWithoutSuffixes, "a__b_c"),
            ("system.io", "By", Kind::Counter, NoUtf8EscapingWithSuffixes, "system.io_bytes_total"),
            (
                "system.io.bytes.total",
                "By",
                Kind::Counter,
                NoUtf8EscapingWithSuffixes,
                "system.io.bytes_total",
            ),
            ("speed", "m/s", Kind::Other, NoUtf8EscapingWithSuffixes, "speed_meters_per_second"),
            ("cpu.ratio", "1", Kind::Gauge, NoUtf8EscapingWithSuffixes, "cpu_ratio"),
            ("system.io", "By", Kind::Counter, NoTranslation, "system.io"),
        ];
        for (name, unit, kind, strategy, expected) in cases {
            assert_eq!(build(name, unit, kind, strategy), expected, "{name} in `{unit}` {strategy:?}");
        }
    }

    #[test]
    fn labels() {
        let plain = Settings::default();
        let collapsing = Settings { label_preserve_multiple_underscores: false, ..Settings::default() };
        let raw = Settings { strategy: Strategy::NoTranslation, ..Settings::default() };
        let cases = [
            ("http.method", &plain, Some("http_method")),
            ("2xx", &plain, Some("key_2xx")),
            ("_private", &plain, Some("key_private")),
            ("__name", &plain, Some("__name")),
            ("a..b", &plain, Some("a__b")),
            ("a..b", &collapsing, Some("a_b")),
            ("é", &plain, None),
            ("", &plain, None),
            ("http.é", &raw, Some("http.é")),
            ("__", &raw, None),
        ];
        for (name, settings, expected) in cases {
            assert_eq!(label_name(name, settings).as_deref(), expected, "{name}");
        }
    }
}
