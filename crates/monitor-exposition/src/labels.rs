//! Labels in place: iterated without a copy, unless an escape makes one needed.

use crate::number::canonical;
use crate::wire::Reader;
use std::borrow::Cow;

/// The labels of a sample in the order in which they were written, escapes
/// undone. A bucket's `le` and a quantile's `quantile` are in canonical form
/// (`1` becomes `1.0`), as Prometheus 3 stores them. The metric's name is not
/// among them.
#[derive(Clone, Copy, Debug)]
pub struct LabelPairs<'a> {
    /// In text what stands between the braces; in protobuf a `Metric` message (or
    /// an `Exemplar`), whose field 1 are the labels. It was checked.
    rest: &'a [u8],
    proto: bool,
    number: Number,
    /// The value of `number` in protobuf, until it was given.
    bound: f64,
}

/// The label whose value is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    None,
    Le,
    Quantile,
}

impl Number {
    fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Le => "le",
            Self::Quantile => "quantile",
        }
    }
}

impl<'a> LabelPairs<'a> {
    pub(crate) fn text(inside: &'a str, number: Number) -> Self {
        Self { rest: inside.as_bytes(), proto: false, number, bound: 0.0 }
    }

    /// Without a bound that is a label of its own `number` is `None`.
    pub(crate) fn proto(message: &'a [u8], number: Number, bound: f64) -> Self {
        Self { rest: message, proto: true, number, bound }
    }

    fn next_of_text(&mut self) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        let text = std::str::from_utf8(self.rest).ok()?;
        let (name, value, after) = next_pair(text)?;
        self.rest = after.as_bytes();
        let value = unescape(value);
        let number = self.number != Number::None && name == self.number.name();
        Some((name, if number { normalised(value) } else { value }))
    }

    fn next_of_proto(&mut self) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        let mut reader = Reader::new(self.rest, 0);
        while let Some(field) = reader.next_field().ok().flatten() {
            if let (1, Some(bytes)) = (field.number, field.bytes()) {
                self.rest = &self.rest[reader.place()..];
                let (name, value) = pair(bytes).ok()?;
                return Some((Cow::Borrowed(name), Cow::Borrowed(value)));
            }
        }
        self.rest = &[];
        let number = std::mem::replace(&mut self.number, Number::None);
        (number != Number::None).then(|| (Cow::Borrowed(number.name()), Cow::Owned(canonical(self.bound))))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        { *self }.next().is_none()
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        { *self }.find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

impl<'a> Iterator for LabelPairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.proto { self.next_of_proto() } else { self.next_of_text() }
    }
}

/// A `LabelPair` message.
pub(crate) fn pair(message: &[u8]) -> Result<(&str, &str), String> {
    let (mut name, mut value) = ("", "");
    let mut reader = Reader::new(message, 0);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn normalised(value: Cow<'_, str>) -> Cow<'_, str> {
    let Ok(number) = value.parse::<f64>() else { return value };
    let text = canonical(number);
    if text == value { value } else { Cow::Owned(text) }
}

/// Splits the first `name="value"` off; a lone `"metric"` before it is skipped.
fn next_pair(text: &str) -> Option<(Cow<'_, str>, &str, &str)> {
    let mut text = text.trim_start_matches(separator);
    loop {
        let (name, after) = if let Some(quoted) = text.strip_prefix('"') {
            let end = end_of_quoted(quoted.as_bytes())?;
            (unescape(&quoted[..end]), &quoted[end + 1..])
        } else {
            let end = text.find(|c| c == '=' || blank(c))?;
            (Cow::Borrowed(&text[..end]), &text[end..])
        };
        let after = after.trim_start_matches(blank);
        if let Some(value) = after.strip_prefix('=') {
            let value = value.trim_start_matches(blank).strip_prefix('"')?;
            let end = end_of_quoted(value.as_bytes())?;
            return Some((name, &value[..end], &value[end + 1..]));
        }
        // The metric's name, in quotes.
        text = after.trim_start_matches(separator);
    }
}

pub(crate) fn blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn separator(c: char) -> bool {
    blank(c) || c == ','
}

/// Where the closing quote is.
pub(crate) fn end_of_quoted(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

/// `\\`, `\"` and `\n`; what else follows a backslash stays as it is.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
