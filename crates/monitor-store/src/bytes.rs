//! Reading and writing the formats' small parts (docs/formats/store.md).

use monitor_model::Labels;

/// What is being read ends too early or says what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) fn put_varint(into: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        into.push(n as u8 | 0x80);
        n >>= 7;
    }
    into.push(n as u8);
}

pub(crate) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

pub(crate) fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

pub(crate) fn put_zigzag(into: &mut Vec<u8>, n: i64) {
    put_varint(into, zigzag(n));
}

pub(crate) fn put_text(into: &mut Vec<u8>, text: &str) {
    put_varint(into, text.len() as u64);
    into.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_labels(into: &mut Vec<u8>, labels: &Labels) {
    put_varint(into, labels.len() as u64);
    for (name, value) in labels {
        put_text(into, name);
        put_text(into, value);
    }
}

/// The `i`th of an array of u32; the caller knows that it is there.
pub(crate) fn u32_at(bytes: &[u8], i: usize) -> u32 {
    let at = i * 4;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The `i`th of an array of u64; the caller knows that it is there.
pub(crate) fn u64_at(bytes: &[u8], i: usize) -> u64 {
    u64::from(u32_at(bytes, i * 2)) | u64::from(u32_at(bytes, i * 2 + 1)) << 32
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.bytes(4)?.try_into().map(u32::from_le_bytes).map_err(|_| Malformed)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.bytes(8)?.try_into().map(u64::from_le_bytes).map_err(|_| Malformed)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.u64().map(|n| n as i64)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut n = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.u8()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(Malformed)
    }

    pub(crate) fn size(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed)
    }

    pub(crate) fn u32_varint(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed)
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, Malformed> {
        self.varint().map(unzigzag)
    }

    /// A count of things that each take at least a byte, so that a damaged count
    /// cannot ask for more memory than there are bytes.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        self.size().ok().filter(|n| *n <= self.0.len()).ok_or(Malformed)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.count()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Malformed)
    }

    pub(crate) fn labels(&mut self) -> Result<Labels, Malformed> {
        let count = self.count()?;
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(count);
        for _ in 0..count {
            let pair = (self.text()?, self.text()?);
            if pair.1.is_empty() || pairs.last().is_some_and(|before| before.0 >= pair.0) {
                return Err(Malformed);
            }
            pairs.push(pair);
        }
        Ok(Labels::from_sorted(pairs.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        let mut into = Vec::new();
        let numbers = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, 1_764_000_000_000];
        numbers.iter().for_each(|n| put_zigzag(&mut into, *n));
        let mut reader = Reader(&into);
        for n in numbers {
            assert_eq!(reader.zigzag(), Ok(n));
        }
        assert_eq!(reader.u8(), Err(Malformed));
        assert_eq!(Reader(&[0x80; 11]).varint(), Err(Malformed));
        assert_eq!(Reader(&[0xff, 0x7f]).count(), Err(Malformed));
    }

    #[test]
    fn labels_in_another_order_are_malformed() {
        let labels = Labels::from_pairs([("b", "1"), ("a", "2")]);
        let mut into = Vec::new();
        put_labels(&mut into, &labels);
        assert_eq!(Reader(&into).labels(), Ok(labels));
        assert_eq!(Reader(b"\x02\x01b\x011\x01a\x012").labels(), Err(Malformed));
        assert_eq!(Reader(b"\x01\x01b\x00").labels(), Err(Malformed));
    }
}
