//! Lines that begin with `#`.

use super::{NAME, TextParser, Wrong, quote_end, skip_blanks, word_end};
use crate::Entry;
use crate::labels::{blank, unescape};
use crate::parser::cut;
use monitor_model::MetricType;
use std::borrow::Cow;

impl<'b> TextParser<'b> {
    /// What stands after `#` in the text format: `HELP`, `TYPE`, or a comment.
    pub(super) fn text_comment(&mut self, line: &'b str, at: usize) -> Result<Option<Entry<'b>>, Wrong> {
        let bytes = line.as_bytes();
        let word = skip_blanks(bytes, at);
        let end = word_end(bytes, word);
        let help = match &line[word..end] {
            // Without a blank it is a comment like any other.
            _ if word == at => return Ok(None),
            "HELP" => true,
            "TYPE" => false,
            _ => return Ok(None),
        };
        let at = skip_blanks(bytes, end);
        if at == bytes.len() {
            return Ok(None); // A keyword alone says nothing of anything.
        }
        let (family, end) = match self.family_name(line, at) {
            Ok((family, end)) if bytes.get(end).is_none_or(|b| matches!(b, b' ' | b'\t')) => (family, end),
            Ok((_, end)) => return self.bad_comment(help, end, line),
            Err(_) => return self.bad_comment(help, at, line),
        };
        let at = skip_blanks(bytes, end);
        let rest = &line[at..];
        if help {
            return Ok(Some(Entry::Help { family, text: unescape(rest) }));
        }
        let word = rest.trim_end_matches(blank);
        let kind = TEXT_TYPES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| (at, format!("`{}` is not a metric's type", cut(rest))))?;
        Ok(Some(self.typed(family, kind)))
    }

    /// A `HELP` of something that is no metric is a comment, unless rules count.
    fn bad_comment(&self, help: bool, at: usize, line: &str) -> Result<Option<Entry<'b>>, Wrong> {
        if help && !self.strict {
            return Ok(None);
        }
        Err((at, format!("`{}` is not a metric's name", cut(&line[at..]))))
    }

    fn typed(&mut self, family: Cow<'b, str>, kind: MetricType) -> Entry<'b> {
        self.family = family.clone();
        self.kind = kind;
        Entry::Type { family, kind }
    }

    /// A metric's name, plain or in quotes, and where it ends.
    fn family_name(&mut self, line: &'b str, at: usize) -> Result<(Cow<'b, str>, usize), Wrong> {
        let bytes = line.as_bytes();
        if bytes.get(at) == Some(&b'"') && !(self.strict && self.open_metrics) {
            return match quote_end(bytes, at + 1) {
                Some(end) if end > at + 1 => Ok((unescape(&line[at + 1..end]), end + 1)),
                _ => Err((at, "a name in quotes without an end".to_owned())),
            };
        }
        let end = self.metric_name_end(line, at);
        if end == at {
            return Err((at, format!("`{}` is not a metric's name", cut(&line[at..word_end(bytes, at)]))));
        }
        Ok((Cow::Borrowed(&line[at..end]), end))
    }

    /// OpenMetrics has four lines that begin with `#`, and no comments.
    pub(super) fn open_metrics_comment(&mut self, line: &'b str) -> Result<Option<Entry<'b>>, Wrong> {
        if line == "# EOF" {
            if self.at < self.body.len() {
                return Err((5, "more follows after `# EOF`".to_owned()));
            }
            self.ended = true;
            return Ok(None);
        }
        let keyword = ["# TYPE ", "# HELP ", "# UNIT "].into_iter().find(|word| line.starts_with(word));
        let Some(keyword) = keyword else {
            let what = format!("`{}`; hint: only TYPE, HELP, UNIT and EOF may follow `# `", cut(line));
            return Err((0, what));
        };
        let (family, end) = self.family_name(line, keyword.len())?;
        if line.as_bytes().get(end) != Some(&b' ') {
            let what = match end == line.len() {
                true => format!(
                    "nothing follows the name `{}`; hint: one space must, then the text",
                    cut(&family)
                ),
                false => format!("`{}` cannot stand in a metric's name", cut(&line[end..])),
            };
            return Err((end, what));
        }
        let at = end + 1;
        let rest = &line[at..];
        match keyword {
            "# TYPE " => {
                // Names are in lower case (ABNF: `%d…`), and `untyped` is the text format's.
                let kind = MetricType::from_name(rest).filter(|_| rest != "untyped");
                let kind = kind.ok_or_else(|| (at, format!("`{}` is not a metric's type", cut(rest))))?;
                Ok(Some(self.typed(family, kind)))
            }
            "# UNIT " => {
                if let Some(wrong) = rest.bytes().position(|b| super::CLASS[usize::from(b)] & NAME == 0) {
                    return Err((at + wrong, format!("`{}` is not a unit", cut(rest))));
                }
                let fits = family.strip_suffix(rest).is_some_and(|before| before.ends_with('_'));
                if !rest.is_empty() && !fits {
                    let what = format!("the unit `{}` does not end the name `{}`", cut(rest), cut(&family));
                    return Err((at, what));
                }
                Ok(Some(Entry::Unit { family, unit: rest }))
            }
            _ => {
                if self.strict {
                    help_text(rest).map_err(|(place, what)| (at + place, what))?;
                }
                Ok(Some(Entry::Help { family, text: unescape(rest) }))
            }
        }
    }
}

/// The types that the text format knows.
const TEXT_TYPES: [(&str, MetricType); 5] = [
    ("counter", MetricType::Counter),
    ("gauge", MetricType::Gauge),
    ("histogram", MetricType::Histogram),
    ("summary", MetricType::Summary),
    ("untyped", MetricType::Unknown),
];

/// `escaped-string` of the ABNF: no bare double quote, no backslash at the end.
fn help_text(text: &str) -> Result<(), Wrong> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Err((at, "a double quote without `\\` before it".to_owned())),
            b'\\' if at + 1 == bytes.len() => return Err((at, "`\\` at the end".to_owned())),
            b'\\' => at += 2,
            b'\r' => return Err((at, "a carriage return".to_owned())),
            _ => at += 1,
        }
    }
    Ok(())
}
