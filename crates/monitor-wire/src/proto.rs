//! Walking over Protocol Buffers, and writing them.
//!
//! Source: Protocol Buffers documentation, "Encoding".

use crate::WireError;

/// A message, field by field.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the message begins in the outermost one, for errors.
    base: usize,
    /// What is read, for errors.
    place: &'static str,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], place: &'static str) -> Self {
        Self { bytes, at: 0, base: 0, place }
    }

    /// A reader of a field's bytes.
    pub(crate) fn inside(&self, bytes: &'a [u8], place: &'static str) -> Self {
        let offset = (bytes.as_ptr() as usize).saturating_sub(self.bytes.as_ptr() as usize);
        Self { bytes, at: 0, base: self.base + offset, place }
    }

    /// How far it is.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The message.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    #[cold]
    pub(crate) fn wrong(&self, what: impl Into<std::borrow::Cow<'static, str>>) -> WireError {
        WireError::new(what.into(), self.base + self.at, self.place)
    }

    /// The next field, or none at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let Ok(number) = u32::try_from(tag >> 3) else {
            return Err(self.wrong("field number is out of range"));
        };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(self.wrong_type(other)),
        };
        if number == 0 {
            return Err(self.wrong("field number is zero"));
        }
        Ok(Some((number, value)))
    }

    #[cold]
    fn wrong_type(&self, wire_type: u64) -> WireError {
        self.wrong(format!("wire type `{wire_type}` is not supported"))
    }

    /// Skips the fields of bytes with which the message begins and that have a
    /// number below 16: what [`Reader::next`] would, several times as fast. It
    /// stops before what is out of the ordinary.
    #[inline]
    pub(crate) fn skip_leading(&mut self, number: u8) {
        let tag = number << 3 | 2;
        while let [found, length, rest @ ..] = &self.bytes[self.at..] {
            let (low, length) = (usize::from(*length), *length);
            let (head, length) = match rest.first() {
                _ if length < 0x80 => (2, low),
                Some(high) if *high < 0x80 => (3, low & 0x7f | usize::from(*high) << 7),
                _ => return,
            };
            if *found != tag || self.bytes.len() - self.at < head + length {
                return;
            }
            self.at += head + length;
        }
    }

    /// A number of variable length.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        let rest = &self.bytes[self.at..];
        match rest.first() {
            Some(byte) if byte & 0x80 == 0 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            Some(byte) => match rest.get(1) {
                Some(high) if high & 0x80 == 0 => {
                    self.at += 2;
                    Ok(u64::from(byte & 0x7f) | u64::from(*high) << 7)
                }
                _ => self.long_varint(),
            },
            None => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (i, byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.wrong("a number is cut off or longer than ten bytes"))
    }

    /// A message that is a double in field 1 and a time in field 2 and nothing
    /// else: a sample as all write it. Else nothing is read.
    #[inline]
    pub(crate) fn plain_sample(&mut self) -> Option<(f64, i64)> {
        let (head, time) = self.bytes.split_first_chunk::<10>()?;
        if self.at != 0 || head[0] != 0x09 || head[9] != 0x10 || time.len() > 9 {
            return None;
        }
        let (last, more) = time.split_last()?;
        let mut at_ms = u64::from(*last);
        if *last >= 0x80 {
            return None;
        }
        for byte in more.iter().rev() {
            if *byte < 0x80 {
                return None;
            }
            at_ms = at_ms << 7 | u64::from(byte & 0x7f);
        }
        let value = f64::from_le_bytes(*head[1..].first_chunk()?);
        Some((value, at_ms as i64))
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let rest = &self.bytes[self.at..];
        let Some(array) = rest.first_chunk::<N>() else {
            return Err(self.wrong("a number of fixed length is cut off"));
        };
        self.at += N;
        Ok(*array)
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let Some(taken) = taken else {
            return Err(self.cut_off(length, rest.len()));
        };
        self.at += taken.len();
        Ok(taken)
    }

    #[cold]
    fn cut_off(&self, length: u64, left: usize) -> WireError {
        self.wrong(format!("field of {length} bytes is cut off: {left} are left"))
    }

    /// A field as text.
    pub(crate) fn text(&self, value: Value<'a>) -> Result<&'a str, WireError> {
        let bytes = self.message(value)?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong("text is not UTF-8"))
    }

    /// A field as bytes.
    pub(crate) fn message(&self, value: Value<'a>) -> Result<&'a [u8], WireError> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong("field has a number where bytes belong")),
        }
    }

    pub(crate) fn double(&self, value: Value<'_>) -> Result<f64, WireError> {
        Ok(f64::from_bits(self.fixed64(value)?))
    }

    pub(crate) fn fixed64(&self, value: Value<'_>) -> Result<u64, WireError> {
        match value {
            Value::Fixed64(bits) => Ok(bits),
            _ => Err(self.wrong("field has no number of eight bytes, which belongs there")),
        }
    }

    pub(crate) fn unsigned(&self, value: Value<'_>) -> Result<u64, WireError> {
        match value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong("field has no number of variable length, which belongs there")),
        }
    }

    pub(crate) fn signed(&self, value: Value<'_>) -> Result<i64, WireError> {
        Ok(self.unsigned(value)? as i64)
    }

    pub(crate) fn zigzag(&self, value: Value<'_>) -> Result<i64, WireError> {
        Ok(unzigzag(self.unsigned(value)?))
    }

    pub(crate) fn unsigned32(&self, value: Value<'_>) -> Result<u32, WireError> {
        u32::try_from(self.unsigned(value)?).map_err(|_| self.wrong("number does not fit 32 bits"))
    }

    pub(crate) fn zigzag32(&self, value: Value<'_>) -> Result<i32, WireError> {
        i32::try_from(self.zigzag(value)?).map_err(|_| self.wrong("number does not fit 32 bits"))
    }

    /// Repeated numbers of variable length, packed or one by one (a reader must
    /// take both); at most `limit` altogether.
    pub(crate) fn varints<T>(
        &self,
        value: Value<'a>,
        into: &mut Vec<T>,
        limit: usize,
        convert: impl Fn(u64) -> T,
    ) -> Result<(), WireError> {
        match value {
            Value::Varint(value) if into.len() < limit => into.push(convert(value)),
            Value::Bytes(bytes) => {
                let mut packed = self.inside(bytes, self.place);
                while !packed.is_done() {
                    if into.len() >= limit {
                        return Err(packed.wrong(format!("more than {limit} numbers")));
                    }
                    into.push(convert(packed.varint()?));
                }
            }
            Value::Varint(_) => return Err(self.wrong(format!("more than {limit} numbers"))),
            _ => return Err(self.wrong("field has no numbers of variable length, which belong there")),
        }
        Ok(())
    }

    /// Repeated numbers of eight bytes, packed or one by one.
    pub(crate) fn fixed64s<T>(
        &self,
        value: Value<'a>,
        into: &mut Vec<T>,
        limit: usize,
        convert: impl Fn(u64) -> T,
    ) -> Result<(), WireError> {
        match value {
            Value::Fixed64(value) if into.len() < limit => into.push(convert(value)),
            Value::Bytes(bytes) => {
                let (numbers, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(self.wrong("a number of fixed length is cut off"));
                }
                if numbers.len() > limit.saturating_sub(into.len()) {
                    return Err(self.wrong(format!("more than {limit} numbers")));
                }
                into.extend(numbers.iter().map(|number| convert(u64::from_le_bytes(*number))));
            }
            Value::Fixed64(_) => return Err(self.wrong(format!("more than {limit} numbers"))),
            _ => return Err(self.wrong("field has no numbers of eight bytes, which belong there")),
        }
        Ok(())
    }
}

/// Signed numbers with the sign in the lowest bit.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends fields to a message.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number, left out where it is zero.
    pub(crate) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.always_number(field, value);
        }
    }

    /// A number, also where it is zero.
    pub(crate) fn always_number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    pub(crate) fn zigzag(&mut self, field: u32, value: i64) {
        self.number(field, zigzag(value));
    }

    /// A double, left out where it is (positive) zero.
    pub(crate) fn double(&mut self, field: u32, value: f64) {
        if value.to_bits() != 0 {
            self.always_double(field, value);
        }
    }

    /// A double, also where it is zero.
    pub(crate) fn always_double(&mut self, field: u32, value: f64) {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message inside: written behind, then moved to make room for its length.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Writer<'_>)) {
        self.varint(u64::from(field) << 3 | 2);
        let begin = self.0.len();
        write(&mut Writer(self.0));
        let length = self.0.len() - begin;
        let mut prefix = [0u8; 10];
        let mut used = 0;
        let mut left = length as u64;
        loop {
            prefix[used] = (left as u8 & 0x7f) | if left >= 0x80 { 0x80 } else { 0 };
            used += 1;
            left >>= 7;
            if left == 0 {
                break;
            }
        }
        self.0.splice(begin..begin, prefix[..used].iter().copied());
    }
}

/// The sign in the lowest bit.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        writer.number(1, 300);
        writer.number(2, 0);
        writer.zigzag(3, -7);
        writer.double(4, -0.0);
        writer.bytes(5, b"abc");
        writer.message(6, |inner| inner.bytes(1, &[7; 200]));
        let mut reader = Reader::new(&bytes, "test");
        let mut fields = Vec::new();
        while let Some(field) = reader.next().unwrap() {
            fields.push(field);
        }
        assert_eq!(fields[0], (1, Value::Varint(300)));
        assert_eq!(reader.zigzag(fields[1].1), Ok(-7));
        assert_eq!(fields[2], (4, Value::Fixed64(1 << 63)));
        assert_eq!(reader.text(fields[3].1), Ok("abc"));
        let inner = reader.message(fields[4].1).unwrap();
        assert_eq!((inner.len(), &inner[..3]), (203, &[10, 200, 1][..]));
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn hostile_bytes() {
        let cases: &[(&[u8], &str)] = &[
            (&[0x80], "cut off"),
            (&[0xff; 11], "longer than ten bytes"),
            (&[0x0a, 5, 1], "field of 5 bytes is cut off: 1 are left"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "cut off"),
            (&[0x09, 1], "fixed length is cut off"),
            (&[0x0b], "wire type `3`"),
            (&[0x00, 0], "field number is zero"),
        ];
        for (bytes, expected) in cases {
            let error = Reader::new(bytes, "test").next().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("`test`"), "{bytes:?}: {error}");
        }
    }
}
