//! Protobuf's wire format (protobuf.dev, "Encoding"), as far as expositions need it.

/// Reads the fields of a message in place.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begins in the whole body, for messages to people.
    start: usize,
    at: usize,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// Its number.
    pub(crate) number: u32,
    /// Its value.
    pub(crate) value: Value<'a>,
    /// Where its content begins in the whole body.
    pub(crate) place: usize,
}

/// The wire types that are in use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Of no field that we read.
    Fixed32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, start, at: 0 }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Where the next byte is in the whole body.
    pub(crate) fn place(&self) -> usize {
        self.start + self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err("a number is cut off".to_owned());
            };
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    pub(crate) fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => {
                let taken = &self.bytes[self.at..self.at + length];
                self.at += length;
                Ok(taken)
            }
            _ => Err(format!("{length} bytes are announced and {left} follow")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N as u64)?;
        taken.try_into().map_err(|_| "a number is cut off".to_owned())
    }

    pub(crate) fn next_field(&mut self) -> Result<Option<Field<'a>>, String> {
        if self.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| "a field's number is too large".to_owned())?;
        if number == 0 {
            return Err("a field has the number 0".to_owned());
        }
        let mut place = self.place();
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                place = self.place();
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.array::<4>()?;
                Value::Fixed32
            }
            other => return Err(format!("wire type {other} is not in use")),
        };
        Ok(Some(Field { number, value, place }))
    }
}

impl<'a> Field<'a> {
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        match self.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn message(&self) -> Result<Reader<'a>, String> {
        match self.value {
            Value::Bytes(bytes) => Ok(Reader::new(bytes, self.place)),
            _ => Err(self.wrong("a message")),
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, String> {
        let bytes = self.bytes().ok_or_else(|| self.wrong("text"))?;
        std::str::from_utf8(bytes).map_err(|_| format!("field {} is not UTF-8", self.number))
    }

    pub(crate) fn double(&self) -> Result<f64, String> {
        match self.value {
            Value::Fixed64(bits) => {
                let value = f64::from_bits(bits);
                Ok(if value.is_nan() { f64::NAN } else { value })
            }
            _ => Err(self.wrong("a double")),
        }
    }

    pub(crate) fn unsigned(&self) -> Result<u64, String> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong("an integer")),
        }
    }

    pub(crate) fn signed(&self) -> Result<i64, String> {
        Ok(self.unsigned()? as i64)
    }

    pub(crate) fn zigzag(&self) -> Result<i64, String> {
        Ok(zigzag(self.unsigned()?))
    }

    /// What is wrong with it.
    fn wrong(&self, expected: &str) -> String {
        format!("field {} is not {expected}", self.number)
    }
}

pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Writes messages.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_unsigned(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

pub(crate) fn put_zigzag(out: &mut Vec<u8>, number: u32, value: i64) {
    put_unsigned(out, number, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
