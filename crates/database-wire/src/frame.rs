//! Cutting a stream into messages: a tag byte, a length that counts itself, a body.

use thiserror::Error;

/// Tag and length.
pub const HEADER: usize = 5;

/// The largest message: PostgreSQL's own bound (`PQ_LARGE_MESSAGE_LIMIT`,
/// `MaxAllocSize - 1`), with the header.
pub const MAX_MESSAGE: usize = 0x3fff_fffe;

/// What is wrong with bytes that should be a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A length below 4 or beyond the limit.
    #[error("a message `{}` of length {length} is not possible here", char::from(*tag).escape_default())]
    Length {
        /// The message's tag.
        tag: u8,
        /// The length it claims.
        length: i64,
    },
    /// A field goes past the message's end, or has no terminator.
    #[error("the field `{0}` is cut off")]
    Truncated(&'static str),
    /// Bytes after the last field.
    #[error("there are {0} bytes after the last field")]
    Trailing(usize),
    /// A value that the protocol does not have.
    #[error("`{field}` cannot be {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it was.
        value: i64,
    },
    /// A message that does not exist, or not in this place.
    #[error("a message `{}` is not expected here", char::from(*.0).escape_default())]
    Unexpected(u8),
}

/// What lies at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not yet enough; at least this many bytes in all are needed.
    Need(usize),
    /// A whole message of `len` bytes, header included.
    Whole {
        /// Its tag.
        tag: u8,
        /// Its bytes, header included.
        len: usize,
    },
    /// A piece of a message too large to be kept whole.
    Part {
        /// Its tag.
        tag: u8,
        /// Bytes of this piece.
        len: usize,
        /// Whether the piece starts with the header.
        first: bool,
        /// Whether the message ends with it.
        last: bool,
    },
}

/// Cuts one direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Cutter {
    tag: u8,
    left: usize,
}

impl Cutter {
    /// Whether the next byte belongs to a message already begun.
    pub const fn inside_message(&self) -> bool {
        self.left > 0
    }

    /// Looks at the front of `buffer`. The caller takes `len` bytes off it before
    /// it asks again. Messages up to `whole` bytes are given whole, larger ones
    /// in pieces as they come.
    pub fn cut(&mut self, buffer: &[u8], whole: usize) -> Result<Cut, Malformed> {
        if self.left > 0 {
            if buffer.is_empty() {
                return Ok(Cut::Need(1));
            }
            let len = buffer.len().min(self.left);
            self.left -= len;
            return Ok(Cut::Part { tag: self.tag, len, first: false, last: self.left == 0 });
        }
        let Some((tag, total)) = header(buffer)? else { return Ok(Cut::Need(HEADER)) };
        if total <= whole.max(HEADER) {
            return Ok(if buffer.len() < total { Cut::Need(total) } else { Cut::Whole { tag, len: total } });
        }
        let len = buffer.len().min(total);
        self.tag = tag;
        self.left = total - len;
        Ok(Cut::Part { tag, len, first: true, last: self.left == 0 })
    }
}

/// Tag and whole size of the message at the front of `buffer`, once its header is there.
pub fn header(buffer: &[u8]) -> Result<Option<(u8, usize)>, Malformed> {
    let Some(head) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let [tag, a, b, c, d] = *head;
    let length = i64::from(i32::from_be_bytes([a, b, c, d]));
    if !(4..MAX_MESSAGE as i64).contains(&length) {
        return Err(Malformed::Length { tag, length });
    }
    Ok(Some((tag, length as usize + 1)))
}

/// Reads a body field by field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Malformed::Truncated(field))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        Ok(self.take(1, field)?[0])
    }

    pub(crate) fn int16(&mut self, field: &'static str) -> Result<i16, Malformed> {
        let bytes = self.take(2, field)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn int32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        let bytes = self.take(4, field)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A zero-terminated string, without its terminator.
    pub(crate) fn string(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|&b| b == 0).ok_or(Malformed::Truncated(field))?;
        let (head, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Ok(head)
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.0.len())) }
    }
}

/// Appends a message: tag, then whatever `body` appends, with the length filled in.
pub(crate) fn message(out: &mut bytes::BytesMut, tag: u8, body: impl FnOnce(&mut bytes::BytesMut)) {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    body(out);
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + HEADER].copy_from_slice(&length.to_be_bytes());
}

/// Appends a zero-terminated string. A zero inside would end it early and let
/// the rest be taken for other fields, so the string is cut there.
pub(crate) fn put_string(out: &mut bytes::BytesMut, text: &[u8]) {
    let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
    out.extend_from_slice(&text[..end]);
    out.extend_from_slice(&[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_come_whole_and_large_ones_in_pieces() {
        let mut cutter = Cutter::default();
        let small = [b'Z', 0, 0, 0, 5, b'I'];
        assert_eq!(cutter.cut(&small[..3], 64), Ok(Cut::Need(5)));
        assert_eq!(cutter.cut(&small[..5], 64), Ok(Cut::Need(6)));
        assert_eq!(cutter.cut(&small, 64), Ok(Cut::Whole { tag: b'Z', len: 6 }));

        let large = [b'D', 0, 0, 0, 104];
        assert_eq!(cutter.cut(&large, 64), Ok(Cut::Part { tag: b'D', len: 5, first: true, last: false }));
        assert!(cutter.inside_message());
        assert_eq!(cutter.cut(&[], 64), Ok(Cut::Need(1)));
        assert_eq!(cutter.cut(&[7; 60], 64), Ok(Cut::Part { tag: b'D', len: 60, first: false, last: false }));
        assert_eq!(cutter.cut(&[7; 60], 64), Ok(Cut::Part { tag: b'D', len: 40, first: false, last: true }));
        assert!(!cutter.inside_message());
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for length in [0i32, 3, -1, i32::MIN, i32::MAX, 0x3fff_fffe] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            assert!(header(&bytes).is_err(), "{length}");
        }
        assert_eq!(header(&[b'S', 0, 0, 0, 4]), Ok(Some((b'S', 5))));
    }

    proptest::proptest! {
        /// Whatever arrives in whatever chunks, the pieces add up to the bytes.
        #[test]
        fn arbitrary_bytes_never_panic_and_pieces_add_up(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
            whole in 0usize..64,
            chunk in 1usize..50,
        ) {
            let mut cutter = Cutter::default();
            let mut buffer: Vec<u8> = Vec::new();
            let mut taken = 0;
            'feed: for piece in bytes.chunks(chunk) {
                buffer.extend_from_slice(piece);
                loop {
                    match cutter.cut(&buffer, whole) {
                        Ok(Cut::Need(n)) => { proptest::prop_assert!(n > buffer.len()); break; }
                        Ok(Cut::Whole { len, .. } | Cut::Part { len, .. }) => {
                            proptest::prop_assert!(len > 0 && len <= buffer.len());
                            buffer.drain(..len);
                            taken += len;
                        }
                        Err(_) => break 'feed,
                    }
                }
            }
            proptest::prop_assert!(taken + buffer.len() <= bytes.len());
        }
    }
}
