//! Label sets: what names a series.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// A label set: names ascending, each once, no empty value (which means the
/// same as an absent label). Cheap to clone, one allocation whatever its size.
///
/// Inside it is one text: for each label the length of its name, the name, the
/// length of its value, the value. A length is written six bits a byte, lowest
/// first, with bit 6 set on all bytes but the last, so that the whole stays
/// UTF-8 and needs no checking when it is read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// From pairs in any order. Empty values are left out; of a name given
    /// twice the last counts (use [`LabelsBuilder`] to notice that).
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// From pairs already ascending by name, each once; empty values are left
    /// out. The caller vouches for the order: a set in another order equals no
    /// other and finds no label.
    pub fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = String::with_capacity(64);
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            push(&mut text, name);
            push(&mut text, value);
        }
        Self(text.into())
    }

    /// The labels, ascending by name.
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The metric's name, where there is one.
    pub fn name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Bytes of memory that the set's text takes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The set without some of its labels.
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        if self.iter().any(|(name, _)| drop(name)) {
            Self::from_sorted(self.iter().filter(|(name, _)| !drop(name)))
        } else {
            self.clone()
        }
    }

    /// The set without the metric's name.
    pub fn without_name(&self) -> Self {
        self.without(|name| name == METRIC_NAME)
    }

    /// The set with one label set to a value (taken out where it is empty).
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut builder = LabelsBuilder::from(self);
        builder.set(name, value);
        builder.build()
    }
}

/// The labels of a set, ascending by name.
#[derive(Clone, Debug)]
pub struct Iter<'a>(&'a str);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (name, rest) = pull(self.0);
        let (value, rest) = pull(rest);
        self.0 = rest;
        Some((name, value))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Ascending by the first label that differs, its name then its value, as
/// Prometheus orders series.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 { Ordering::Equal } else { self.iter().cmp(other.iter()) }
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As Prometheus writes it: `up{instance="a",job="b"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name().filter(|n| is_metric_name(n));
        f.write_str(name.unwrap_or_default())?;
        let mut open = false;
        for (label, value) in self.iter().filter(|(label, _)| name.is_none() || *label != METRIC_NAME) {
            f.write_str(if open { ", " } else { "{" })?;
            open = true;
            if is_label_name(label) {
                write!(f, "{label}={value:?}")?;
            } else {
                write!(f, "{label:?}={value:?}")?;
            }
        }
        f.write_str(match (open, name) {
            (true, _) => "}",
            (false, None) => "{}",
            (false, Some(_)) => "",
        })
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

/// Builds a label set.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Ascending by name; an empty value stands for an absent label.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value takes it out. Tells whether the label was
    /// already there.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) => {
                let was = !self.pairs[at].1.is_empty();
                self.pairs[at].1 = value.to_owned();
                was
            }
            Err(at) => {
                self.pairs.insert(at, (name.to_owned(), value.to_owned()));
                false
            }
        }
    }

    /// The set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        Self { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }
}

/// Whether a label's name can be written without quotes.
pub fn is_label_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a metric's name can be written without quotes.
pub fn is_metric_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Appends a part with its length.
fn push(text: &mut String, part: &str) {
    let mut length = part.len();
    while length >= 64 {
        text.push(char::from(0x40 | (length & 63) as u8));
        length >>= 6;
    }
    text.push(char::from(length as u8));
    text.push_str(part);
}

/// Splits a part off.
fn pull(text: &str) -> (&str, &str) {
    let mut length = 0usize;
    let mut shift = 0;
    let mut at = 0;
    for byte in text.bytes() {
        at += 1;
        length |= usize::from(byte & 63) << shift;
        shift += 6;
        if byte & 0x40 == 0 {
            break;
        }
    }
    text[at..].split_at(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_and_complete() {
        let long = "é".repeat(5_000);
        let labels = Labels::from_pairs([("job", "a"), ("__name__", "up"), ("gone", ""), ("long", &long)]);
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("__name__", "up"), ("job", "a"), ("long", long.as_str())]);
        assert_eq!((labels.get("job"), labels.get("gone"), labels.name()), (Some("a"), None, Some("up")));
        assert_eq!(labels.without_name().len(), 2);
        assert_eq!(labels.with("job", "").len(), 2);
        assert_eq!(labels.with("job", "b").get("job"), Some("b"));
    }

    #[test]
    fn order_is_by_first_difference() {
        let set = |text: &str| Labels::from_pairs(text.split(',').filter_map(|p| p.split_once('=')));
        let cases = [
            ("", "a=1", Ordering::Less),
            ("a=1", "a=1", Ordering::Equal),
            ("a=1", "a=2", Ordering::Less),
            ("a=1,b=1", "a=1", Ordering::Greater),
            ("b=1", "a=2", Ordering::Greater),
            ("a=10", "a=9", Ordering::Less),
        ];
        for (a, b, expected) in cases {
            assert_eq!(set(a).cmp(&set(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn written_as_prometheus_does() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], "{}"),
            (&[("__name__", "up")], "up"),
            (&[("__name__", "up"), ("a", "x\"y")], r#"up{a="x\"y"}"#),
            (&[("a", "1"), ("b.c", "2")], r#"{a="1", "b.c"="2"}"#),
            (&[("__name__", "a.b")], r#"{__name__="a.b"}"#),
        ];
        for (pairs, expected) in cases {
            assert_eq!(Labels::from_pairs(pairs.iter().copied()).to_string(), *expected);
        }
    }
}
