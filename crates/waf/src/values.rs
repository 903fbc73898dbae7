//! A request's values: where rules find what to look at, and what they look like
//! transformed.

use crate::limits::{ARGUMENTS_MAX, TRANSFORMED_MAX};
use crate::transform::{Transformation, url_decode};
use crate::variable::Place;
use std::ops::Range;

/// All values of one request, in one piece of memory with a bound.
#[derive(Debug)]
pub(crate) struct Values {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    bytes_max: usize,
    arguments: usize,
}

/// One value with its name, as ranges of the bytes.
#[derive(Clone, Debug)]
struct Entry {
    place: Place,
    name: Range<usize>,
    value: Range<usize>,
}

/// More than is kept: what, for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch(pub(crate) &'static str);

impl Values {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::with_capacity(1_024), entries: Vec::new(), bytes_max, arguments: 0 }
    }

    /// Keeps a value.
    pub(crate) fn add(&mut self, place: Place, name: &[u8], value: &[u8]) -> Result<(), TooMuch> {
        self.check(place, name.len() + value.len())?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.push(place, start, middle);
        Ok(())
    }

    /// Keeps an argument written as in a query: percent-encoded, `+` for a blank.
    pub(crate) fn add_encoded(&mut self, place: Place, name: &[u8], value: &[u8]) -> Result<(), TooMuch> {
        self.check(place, name.len() + value.len())?;
        let start = self.bytes.len();
        url_decode(name, true, &mut self.bytes);
        let middle = self.bytes.len();
        url_decode(value, true, &mut self.bytes);
        self.push(place, start, middle);
        Ok(())
    }

    fn check(&mut self, place: Place, len: usize) -> Result<(), TooMuch> {
        if matches!(place, Place::ArgsGet | Place::ArgsPost | Place::Files) {
            if self.arguments >= ARGUMENTS_MAX {
                return Err(TooMuch("arguments"));
            }
            self.arguments += 1;
        }
        if len > self.bytes_max.saturating_sub(self.bytes.len()) {
            return Err(TooMuch("bytes of names and values"));
        }
        Ok(())
    }

    fn push(&mut self, place: Place, start: usize, middle: usize) {
        self.entries.push(Entry { place, name: start..middle, value: middle..self.bytes.len() });
    }

    /// Keeps the arguments of a query or form (WHATWG URL §5.1; `&` alone separates).
    pub(crate) fn add_query(&mut self, place: Place, text: &[u8]) -> Result<(), TooMuch> {
        for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            self.add_encoded(place, &pair[..at], pair.get(at + 1..).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Keeps the cookies of one header line (RFC 6265 §4.2.1), not decoded.
    pub(crate) fn add_cookies(&mut self, text: &[u8]) -> Result<(), TooMuch> {
        for pair in text.split(|b| *b == b';') {
            let pair = pair.trim_ascii();
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            if at > 0 {
                self.add(Place::Cookies, &pair[..at], pair.get(at + 1..).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn place(&self, index: usize) -> Place {
        self.entries[index].place
    }

    pub(crate) fn name(&self, index: usize) -> &[u8] {
        &self.bytes[self.entries[index].name.clone()]
    }

    pub(crate) fn value(&self, index: usize) -> &[u8] {
        &self.bytes[self.entries[index].value.clone()]
    }
}

/// Transformed values, made once for all rules with the same transformations, as
/// far as [`TRANSFORMED_MAX`] goes.
#[derive(Debug, Default)]
pub(crate) struct Transformed {
    bytes: Vec<u8>,
    /// By pipeline, then by value and whether it is the name.
    known: Vec<Vec<Known>>,
    scratch: (Vec<u8>, Vec<u8>),
}

#[derive(Clone, Debug)]
enum Known {
    NotYet,
    Same,
    At(Range<usize>),
}

impl Transformed {
    /// A value (or its name) after the transformations of a pipeline.
    pub(crate) fn get<'a>(
        &'a mut self,
        values: &'a Values,
        index: usize,
        name: bool,
        number: usize,
        pipeline: &[Transformation],
    ) -> &'a [u8] {
        let original = if name { values.name(index) } else { values.value(index) };
        if pipeline.is_empty() {
            return original;
        }
        if self.known.len() <= number {
            self.known.resize_with(number + 1, Vec::new);
        }
        let slot = index * 2 + usize::from(name);
        if self.known[number].len() <= slot {
            self.known[number].resize(values.len() * 2, Known::NotYet);
        }
        match &self.known[number][slot] {
            Known::Same => return original,
            Known::At(range) => return &self.bytes[range.clone()],
            Known::NotYet => {}
        }
        let (from, to) = (&mut self.scratch.0, &mut self.scratch.1);
        from.clear();
        from.extend_from_slice(original);
        for transformation in pipeline {
            to.clear();
            transformation.apply(from, to);
            std::mem::swap(from, to);
        }
        if from == original {
            self.known[number][slot] = Known::Same;
            return original;
        }
        let start = self.bytes.len();
        if start + from.len() > TRANSFORMED_MAX {
            return from;
        }
        self.bytes.extend_from_slice(from);
        self.known[number][slot] = Known::At(start..self.bytes.len());
        &self.bytes[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(values: &Values) -> Vec<(Place, String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let one = |i| (values.place(i), text(values.name(i)), text(values.value(i)));
        (0..values.len()).map(one).collect()
    }

    #[test]
    fn queries_and_cookies() {
        let mut values = Values::new(1_000);
        values.add_query(Place::ArgsGet, b"a=1&b=%27+x%3D&&c&=d&e=f=g").unwrap();
        values.add_cookies(b" sid=a=b ; ;=x; flag").unwrap();
        let expected = [
            (Place::ArgsGet, "a", "1"),
            (Place::ArgsGet, "b", "' x="),
            (Place::ArgsGet, "c", ""),
            (Place::ArgsGet, "", "d"),
            (Place::ArgsGet, "e", "f=g"),
            (Place::Cookies, "sid", "a=b"),
            (Place::Cookies, "flag", ""),
        ];
        assert_eq!(all(&values), expected.map(|(p, n, v)| (p, n.to_owned(), v.to_owned())));
    }

    #[test]
    fn there_are_bounds() {
        let mut values = Values::new(1 << 20);
        let many = "a&".repeat(ARGUMENTS_MAX + 1);
        assert_eq!(values.add_query(Place::ArgsGet, many.as_bytes()), Err(TooMuch("arguments")));
        let mut values = Values::new(10);
        assert!(values.add(Place::Uri, b"", b"0123456789").is_ok());
        assert_eq!(values.add(Place::Uri, b"", b"0"), Err(TooMuch("bytes of names and values")));
    }

    #[test]
    fn transformed_values_are_kept_within_bounds() {
        let pipeline = [Transformation::Lowercase];
        let mut values = Values::new(4 << 20);
        let large = vec![b'A'; TRANSFORMED_MAX / 2 + 1];
        for value in [&b"Ab"[..], b"ab", &large, &large] {
            values.add(Place::ArgsGet, b"N", value).unwrap();
        }
        let mut transformed = Transformed::default();
        for _ in 0..2 {
            assert_eq!(transformed.get(&values, 0, false, 3, &pipeline), b"ab");
            assert_eq!(transformed.get(&values, 0, true, 3, &pipeline), b"n");
            assert_eq!(transformed.get(&values, 1, false, 3, &pipeline), b"ab");
            assert_eq!(transformed.get(&values, 1, false, 0, &[]), b"ab");
            for index in [2, 3] {
                assert!(transformed.get(&values, index, false, 3, &pipeline).iter().all(|b| *b == b'a'));
            }
        }
        assert!(transformed.bytes.len() <= TRANSFORMED_MAX);
    }
}
