//! Writing the text exposition format, version 0.0.4.

use std::collections::HashSet;
use std::fmt::Write as _;

/// What a family is, as the `# TYPE` line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only goes up.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Cumulative buckets with a sum and a count.
    Histogram,
    /// Quantiles with a sum and a count.
    Summary,
    /// The source does not say.
    Untyped,
}

impl Type {
    /// The word of the `# TYPE` line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }
}

/// Writes families into a buffer that the caller keeps between readings.
pub struct Text<'a> {
    out: &'a mut String,
}

impl<'a> Text<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// Begins a family; its samples must follow before the next family begins.
    pub fn family(&mut self, name: &str, kind: Type, help: &str) {
        self.out.push_str("# HELP ");
        self.out.push_str(name);
        self.out.push(' ');
        escape(self.out, help, false);
        self.out.push_str("\n# TYPE ");
        self.out.push_str(name);
        self.out.push(' ');
        self.out.push_str(kind.word());
        self.out.push('\n');
    }

    /// One sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            self.out.push(if i == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(self.out, text, true);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.out.push(' ');
        number(self.out, value);
        self.out.push('\n');
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Type, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A family of one sample for each of `rows`: the value of its one label, and
    /// the value. No row, no family.
    pub fn rows<S: AsRef<str>>(
        &mut self,
        name: &str,
        kind: Type,
        help: &str,
        label: &str,
        rows: impl IntoIterator<Item = (S, f64)>,
    ) {
        let mut begun = false;
        for (text, value) in rows {
            if !begun {
                self.family(name, kind, help);
                begun = true;
            }
            self.sample(name, &[(label, text.as_ref())], value);
        }
    }

    /// The names of the families written so far.
    pub(crate) fn families(&self) -> HashSet<&str> {
        families_of(self.out).collect()
    }

    /// Appends lines that are already in the format.
    pub(crate) fn lines(&mut self, lines: &str) {
        self.out.push_str(lines);
    }
}

/// The names of an exposition's families.
pub(crate) fn families_of(exposition: &str) -> impl Iterator<Item = &str> {
    exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
}

/// `text` as a part of a metric's name: what a name may not hold becomes `_`
/// (Prometheus' data model: `[a-zA-Z_:][a-zA-Z0-9_:]*`). A file of the kernel's may
/// hold anything, and one bad name would spoil the whole exposition.
pub fn name_of(prefix: &str, text: &str) -> String {
    let mut name = String::with_capacity(prefix.len() + text.len());
    name.push_str(prefix);
    name.extend(text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
    name
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    if !text.bytes().any(|b| b == b'\\' || b == b'\n' || b == b'"') {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}

/// Integers up to this are written by hand: formatting a float costs ten times
/// as much, and most readings are counts.
const HAND_WRITTEN: f64 = 1e15;

pub(crate) fn number(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value.fract() == 0.0 && value.abs() < HAND_WRITTEN {
        if value < 0.0 {
            out.push('-');
        }
        integer(out, value.abs() as u64);
    } else {
        let _ = write!(out, "{value}");
    }
}

fn integer(out: &mut String, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|b| char::from(*b)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_read_back() {
        let mut out = String::new();
        let mut text = Text::new(&mut out);
        text.family("a", Type::Gauge, "with \\ and\nnew line");
        text.sample("a", &[("x", "q\"b\\n\n"), ("y", "")], f64::NEG_INFINITY);
        text.single("b_total", Type::Counter, "b", 12_884_901_888.25);
        assert_eq!(
            out,
            "# HELP a with \\\\ and\\nnew line\n# TYPE a gauge\na{x=\"q\\\"b\\\\n\\n\",y=\"\"} -Inf\n\
             # HELP b_total b\n# TYPE b_total counter\nb_total 12884901888.25\n"
        );
    }

    #[test]
    fn a_number_reads_back_as_it_was() {
        let cases = [0.0, 1.0, -1.0, 9.0, 10.0, 0.1, 1e14, 1e15, 1e16, -12_345.0, 0.10400000000000001, 1e300];
        for value in cases.into_iter().chain([f64::MIN_POSITIVE, f64::MAX, 999_999_999_999_999.0]) {
            let mut out = String::new();
            number(&mut out, value);
            assert_eq!(out.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{out}");
        }
    }

    #[test]
    fn a_name_is_always_one() {
        assert_eq!(name_of("node_x_", "a.b-c{d} \u{e9}"), "node_x_a_b_c_d___");
        assert_eq!(name_of("node_x_", ""), "node_x_");
    }
}
