//! Annotation templates: the part of Go's `text/template` that alerts use.
//!
//! `{{ $labels.x }}`, `{{ $value }}`, `{{ $value | humanize }}`,
//! `{{ printf "%.2f" $value }}`, `{{ .Labels.x }}`, `{{ .Value }}`, comments and
//! trim markers (`{{-`, `-}}`). Functions: see [`FUNCTIONS`]. Control structures
//! (`if`, `range`, `with`) and `query` are an error that names them.

use crate::Labels;

/// The functions a template may call.
pub const FUNCTIONS: &[&str] = &[
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "printf",
    "title",
    "toLower",
    "toUpper",
];

/// Text beyond this is refused: an annotation is for people.
const MAX_TEMPLATE_BYTES: usize = 16 * 1024;

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` at byte {at} has no `}}}}`")]
    Open {
        /// The byte in the template.
        at: usize,
    },
    /// The template is too long.
    #[error("a template of {bytes} bytes; hint: at most {MAX_TEMPLATE_BYTES}")]
    Long {
        /// Its length.
        bytes: usize,
    },
    /// A word that is no value and no function.
    #[error(
        "`{word}` in `{{{{ {action} }}}}` is not known; hint: write `$labels.NAME`, `$value`, a text in quotes, or one of: humanize, humanize1024, humanizeDuration, humanizePercentage, humanizeTimestamp, printf, title, toLower, toUpper"
    )]
    Unknown {
        /// The word.
        word: String,
        /// The whole action.
        action: String,
    },
    /// A function got what it cannot use.
    #[error("`{{{{ {action} }}}}`: {why}")]
    Argument {
        /// The whole action.
        action: String,
        /// What is wrong.
        why: String,
    },
}

/// A template that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Action { source: String, pipeline: Vec<Vec<Term>> },
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Label(String),
    Value,
    Text(String),
    Number(f64),
    Call(&'static str),
}

#[derive(Clone, Debug)]
enum Datum {
    Text(String),
    Number(f64),
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::Long { bytes: text.len() });
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut trim_next = false;
        while let Some(open) = rest.find("{{") {
            let at = text.len() - rest.len() + open;
            let after = &rest[open + 2..];
            let close = end_of_action(after).ok_or(TemplateError::Open { at })?;
            let mut literal = &rest[..open];
            let mut action = &after[..close];
            rest = &after[close + 2..];
            if std::mem::take(&mut trim_next) {
                literal = literal.trim_start();
            }
            // `{{- ` and ` -}}` eat the white space beside them (text/template, "Text and spaces").
            if let Some(inner) = action.strip_prefix("- ") {
                action = inner;
                literal = literal.trim_end();
            }
            if let Some(inner) = action.strip_suffix(" -") {
                action = inner;
                trim_next = true;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(literal.to_owned()));
            }
            let action = action.trim();
            if !action.starts_with("/*") {
                pieces.push(Piece::Action { source: action.to_owned(), pipeline: pipeline(action)? });
            }
        }
        let rest = if trim_next { rest.trim_start() } else { rest };
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Fills in labels and value. A label that is absent is empty, as in Prometheus.
    pub fn render(&self, labels: &Labels, value: f64) -> Result<String, TemplateError> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Action { source, pipeline } => {
                    let datum = run(source, pipeline, labels, value)?;
                    out.push_str(&datum.text());
                }
            }
        }
        Ok(out)
    }
}

impl Datum {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => plain(*number),
        }
    }
}

/// Reads and renders at once; a template that cannot be used gives its error as
/// text, so that an alert is never lost over its words (Prometheus does the same).
pub fn expand(template: &str, labels: &Labels, value: f64) -> String {
    Template::parse(template)
        .and_then(|t| t.render(labels, value))
        .unwrap_or_else(|error| format!("<error expanding template: {error}>"))
}

/// Where `}}` ends the action, looking past quoted text.
fn end_of_action(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quoted = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quoted, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(quote), byte) if byte == quote => quoted = None,
            (None, b'"' | b'`') => quoted = Some(bytes[at]),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn pipeline(action: &str) -> Result<Vec<Vec<Term>>, TemplateError> {
    let unknown = |word: &str| TemplateError::Unknown { word: word.to_owned(), action: action.to_owned() };
    let mut commands = vec![Vec::new()];
    let mut rest = action;
    while !rest.is_empty() {
        let first = rest.as_bytes()[0];
        if first.is_ascii_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        if first == b'|' {
            commands.push(Vec::new());
            rest = &rest[1..];
            continue;
        }
        let (term, length) = if first == b'"' || first == b'`' {
            quoted(rest).map(|(text, n)| (Term::Text(text), n)).ok_or_else(|| unknown(rest))?
        } else {
            let length = rest.find(|c: char| c.is_whitespace() || c == '|').unwrap_or(rest.len());
            let word = &rest[..length];
            (term(word).ok_or_else(|| unknown(word))?, length)
        };
        commands.last_mut().expect("never empty").push(term);
        rest = &rest[length..];
    }
    for (index, command) in commands.iter().enumerate() {
        let call = matches!(command.first(), Some(Term::Call(_)));
        let arguments_are_values = command.iter().skip(1).all(|t| !matches!(t, Term::Call(_)));
        // A value stands alone and first; everything else is a call.
        let value = index == 0 && command.len() == 1 && !call;
        let sound = value || (call && arguments_are_values);
        if !sound {
            return Err(TemplateError::Argument {
                action: action.to_owned(),
                why: "a value stands alone, a function first; hint: `{{ $value | humanize }}`".to_owned(),
            });
        }
    }
    Ok(commands)
}

fn term(word: &str) -> Option<Term> {
    if matches!(word, "$value" | ".Value") {
        return Some(Term::Value);
    }
    if let Some(label) = word.strip_prefix("$labels.").or_else(|| word.strip_prefix(".Labels.")) {
        let ok = !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        return ok.then(|| Term::Label(label.to_owned()));
    }
    if let Some(function) = FUNCTIONS.iter().find(|f| **f == word) {
        return Some(Term::Call(function));
    }
    // A number, not `inf` or `nan`, which Go has no literal for.
    let number = word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    number.then(|| word.parse().ok().map(Term::Number)).flatten()
}

/// A Go string literal and its length in the source.
fn quoted(text: &str) -> Option<(String, usize)> {
    if let Some(raw) = text.strip_prefix('`') {
        let end = raw.find('`')?;
        return Some((raw[..end].to_owned(), end + 2));
    }
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                c @ ('"' | '\\') => out.push(c),
                _ => return None,
            },
            c => out.push(c),
        }
    }
    None
}

fn run(source: &str, pipeline: &[Vec<Term>], labels: &Labels, value: f64) -> Result<Datum, TemplateError> {
    let datum = |term: &Term| match term {
        Term::Label(name) => {
            Datum::Text(labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default())
        }
        Term::Value => Datum::Number(value),
        Term::Text(text) => Datum::Text(text.clone()),
        Term::Number(number) => Datum::Number(*number),
        Term::Call(name) => Datum::Text((*name).to_owned()), // `pipeline` lets none through here.
    };
    let mut last: Option<Datum> = None;
    for command in pipeline {
        let Some(first) = command.first() else { continue };
        let mut arguments: Vec<Datum> = command.iter().skip(1).map(datum).collect();
        arguments.extend(last.take());
        last = Some(match first {
            Term::Call(function) => call(function, &arguments)
                .map_err(|why| TemplateError::Argument { action: source.to_owned(), why })?,
            value => datum(value),
        });
    }
    Ok(last.unwrap_or(Datum::Text(String::new())))
}

fn call(function: &str, arguments: &[Datum]) -> Result<Datum, String> {
    if function == "printf" {
        return printf(arguments);
    }
    let [argument] = arguments else {
        return Err(format!("`{function}` takes one argument, not {}", arguments.len()));
    };
    let text = argument.text();
    let number = || match argument {
        Datum::Number(number) => Ok(*number),
        Datum::Text(text) => text.parse().map_err(|_| format!("`{text}` is not a number")),
    };
    Ok(Datum::Text(match function {
        "toUpper" => text.to_uppercase(),
        "toLower" => text.to_lowercase(),
        "title" => title(&text),
        "humanize" => humanize(number()?),
        "humanize1024" => humanize_1024(number()?),
        "humanizeDuration" => humanize_duration(number()?),
        "humanizePercentage" => format!("{}%", general(number()? * 100.0)),
        "humanizeTimestamp" => humanize_timestamp(number()?),
        _ => return Err(format!("`{function}` is not known")),
    }))
}

/// `%v %s %d %f %.Nf %g %q %%`; other verbs are an error.
fn printf(arguments: &[Datum]) -> Result<Datum, String> {
    let Some(Datum::Text(format)) = arguments.first() else {
        return Err("`printf` begins with a format in quotes".to_owned());
    };
    let mut values = arguments[1..].iter();
    let mut out = String::new();
    let mut rest = format.as_str();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or("`%` without a verb")?;
        let (flags, verb) = (&rest[..end], rest.as_bytes()[end]);
        rest = &rest[end + 1..];
        let value = values.next().ok_or_else(|| format!("no value for `%{flags}{}`", char::from(verb)))?;
        let precision = match flags {
            "" => None,
            _ => {
                let digits =
                    flags.strip_prefix('.').and_then(|d| d.parse::<usize>().ok()).filter(|d| *d <= 17);
                Some(digits.ok_or_else(|| format!("`%{flags}` is not supported; hint: `%.2f`"))?)
            }
        };
        match (verb, value) {
            (b'f', Datum::Number(number)) => out.push_str(&format!("{number:.*}", precision.unwrap_or(6))),
            (b'g' | b'v', Datum::Number(number)) => out.push_str(&plain(*number)),
            (b'd', Datum::Number(number)) => out.push_str(&format!("{:.0}", number.trunc())),
            (b's' | b'v', value) => out.push_str(&value.text()),
            (b'q', value) => out.push_str(&format!("{:?}", value.text())),
            (verb, value) => return Err(format!("`%{}` cannot show `{}`", char::from(verb), value.text())),
        }
    }
    out.push_str(rest);
    Ok(Datum::Text(out))
}

fn title(text: &str) -> String {
    let mut start = true;
    let upper_first = |c: char| {
        let upper = std::mem::replace(&mut start, c.is_whitespace());
        if upper { c.to_uppercase().next().unwrap_or(c) } else { c }
    };
    text.chars().map(upper_first).collect()
}

/// Go's `%v` of a float: the shortest text that reads back, with an exponent
/// from 1e21 on and below 1e-4.
fn plain(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if number != 0.0 && (number.abs() >= 1e21 || number.abs() < 1e-4) {
        exponent(&format!("{number:e}"))
    } else {
        format!("{number}")
    }
}

/// Rust's `1e-7` as Go's `1e-07`.
fn exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Go's `%.4g`: four significant digits, without trailing zeros.
fn general(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return plain(number);
    }
    let scientific = format!("{number:.3e}");
    let power: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..4).contains(&power) {
        trim(&format!("{number:.*}", usize::try_from(3 - power).unwrap_or(0)))
    } else {
        let (mantissa, exp) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        exponent(&format!("{}e{exp}", trim(mantissa)))
    }
}

fn humanize(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return general(number);
    }
    let mut value = number;
    let mut prefix = "";
    if number.abs() >= 1.0 {
        for p in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if value.abs() < 1000.0 {
                break;
            }
            prefix = p;
            value /= 1000.0;
        }
    } else {
        for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if value.abs() >= 1.0 {
                break;
            }
            prefix = p;
            value *= 1000.0;
        }
    }
    format!("{}{prefix}", general(value))
}

fn humanize_1024(number: f64) -> String {
    let mut value = number;
    let mut prefix = "";
    if number.abs() > 1.0 && number.is_finite() {
        for p in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
            if value.abs() < 1024.0 {
                break;
            }
            prefix = p;
            value /= 1024.0;
        }
    }
    format!("{}{prefix}", general(value))
}

fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return general(seconds);
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() >= 1.0 {
        let sign = if seconds < 0.0 { "-" } else { "" };
        let whole = seconds.abs() as u64;
        let (d, h, m, s) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
        return match (d, h, m) {
            (1.., _, _) => format!("{sign}{d}d {h}h {m}m {s}s"),
            (0, 1.., _) => format!("{sign}{h}h {m}m {s}s"),
            (0, 0, 1..) => format!("{sign}{m}m {s}s"),
            (0, 0, 0) => format!("{sign}{}s", general(seconds.abs())),
        };
    }
    let mut value = seconds;
    let mut prefix = "";
    for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = p;
        value *= 1000.0;
    }
    format!("{}{prefix}s", general(value))
}

fn humanize_timestamp(seconds: f64) -> String {
    let whole = seconds.is_finite().then(|| jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64));
    match whole {
        Some(Ok(time)) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        _ => plain(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        vec![("pool".into(), "app".into()), ("server".into(), "app/1".into())]
    }

    #[test]
    fn what_alerts_write() {
        // The humanize cases are those of Prometheus' documentation and tests.
        let cases: &[(&str, f64, &str)] = &[
            ("plain", 0.0, "plain"),
            ("{{ $labels.server }} of {{$labels.pool}}: {{ $value }}", 0.25, "app/1 of app: 0.25"),
            ("{{ .Labels.server }} {{ .Value }}", 3.0, "app/1 3"),
            ("{{ $labels.absent }}|", 0.0, "|"),
            ("a {{- $value -}} b", 1.0, "a1b"),
            ("a{{/* said */}}b", 1.0, "ab"),
            ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
            ("{{ humanize $value }}", 0.001, "1m"),
            ("{{ humanize $value }}", 0.0, "0"),
            ("{{ humanize1024 $value }}", 1_048_576.0, "1Mi"),
            ("{{ humanizePercentage $value }}", 0.1234567, "12.35%"),
            ("{{ $value | humanizeDuration }}", 0.0, "0s"),
            ("{{ $value | humanizeDuration }}", 899.99, "14m 59s"),
            ("{{ $value | humanizeDuration }}", 86_400.0, "1d 0h 0m 0s"),
            ("{{ $value | humanizeDuration }}", 0.1, "100ms"),
            ("{{ $value | humanizeDuration }}", 12.345_67, "12.35s"),
            ("{{ $value | humanizeTimestamp }}", 1_435_065_584.128, "2015-06-23 13:19:44 UTC"),
            ("{{ printf \"%.2f of %s\" $value $labels.pool }}", 1.0 / 3.0, "0.33 of app"),
            ("{{ $value | printf \"%.1f%%\" }}", 12.34, "12.3%"),
            ("{{ $labels.pool | toUpper }} {{ \"a b\" | title }}", 0.0, "APP A B"),
            ("{{ `}}` }}", 0.0, "}}"),
            ("{{ $value }}", f64::NAN, "NaN"),
            ("{{ $value }}", 1e-7, "1e-07"),
            ("{{ $value | humanize }}", f64::INFINITY, "+Inf"),
        ];
        for (template, value, expected) in cases {
            assert_eq!(expand(template, &labels(), *value), *expected, "{template} {value}");
        }
    }

    #[test]
    fn what_is_not_understood_says_so() {
        let cases = [
            ("{{ $value", "has no"),
            ("x {{ if $value }}y{{ end }}", "`if`"),
            ("{{ query \"up\" }}", "`query`"),
            ("{{ $lables.x }}", "`$lables.x`"),
            ("{{ \"open }}", "has no"),
            ("{{ $value $value }}", "stands alone"),
            ("{{ $value | \"x\" }}", "stands alone"),
        ];
        for (template, expected) in cases {
            let error = Template::parse(template).unwrap_err().to_string();
            assert!(error.contains(expected), "{template}: {error}");
        }
        let rendered = Template::parse("{{ humanize $labels.pool }}").unwrap().render(&labels(), 0.0);
        assert!(rendered.unwrap_err().to_string().contains("not a number"));
        assert!(expand("{{ printf \"%d\" }}", &labels(), 0.0).contains("error expanding"));
        assert!(expand("{{ printf \"%99999999f\" $value }}", &labels(), 0.0).contains("not supported"));
        assert!(Template::parse(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
    }
}
