//! Writing the text exposition format, version 0.0.4.

use std::fmt::Write as _;

/// What a family is, as the `# TYPE` line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only goes up.
    Counter,
    /// Goes both ways.
    Gauge,
    /// The kernel does not say.
    Untyped,
}

impl Type {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
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
        let _ = write!(self.out, "# HELP {name} ");
        escape(self.out, help, false);
        let _ = writeln!(self.out, "\n# TYPE {name} {}", kind.word());
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
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}

fn number(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(out, "{value}");
    }
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
}
