//! Labels in place: iterated without a copy, unless an escape makes one needed.

use crate::number::canonical;
use crate::wire::Reader;
use std::borrow::Cow;

/// The labels of a sample in the order in which they were written, escapes
/// undone. A bucket's `le` and a quantile's `quantile` are in canonical form
/// (`1` becomes `1.0`), as Prometheus 3 stores them. The metric's name is not
/// among them.
#[derive(Clone, Debug)]
pub struct LabelPairs<'a>(pub(crate) Inner<'a>);

#[derive(Clone, Debug)]
pub(crate) enum Inner<'a> {
    /// What stands between the braces; it was checked.
    Text {
        rest: &'a str,
        /// The label whose value is a number.
        number: Option<&'static str>,
    },
    /// A `Metric` message (or an `Exemplar`), whose field 1 are the labels; it
    /// was checked.
    Proto { rest: Reader<'a>, extra: Option<(&'static str, f64)> },
}

impl<'a> LabelPairs<'a> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.clone().find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

impl<'a> Iterator for LabelPairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Text { rest, number } => {
                let (name, value, after) = next_pair(rest)?;
                *rest = after;
                let value = unescape(value);
                let value = match number {
                    Some(label) if name == *label => normalised(value),
                    _ => value,
                };
                Some((name, value))
            }
            Inner::Proto { rest, extra } => {
                while let Some(field) = rest.next_field().ok().flatten() {
                    if let (1, Some(bytes)) = (field.number, field.bytes()) {
                        let (name, value) = pair(bytes).ok()?;
                        return Some((Cow::Borrowed(name), Cow::Borrowed(value)));
                    }
                }
                let (name, value) = extra.take()?;
                Some((Cow::Borrowed(name), Cow::Owned(canonical(value))))
            }
        }
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
