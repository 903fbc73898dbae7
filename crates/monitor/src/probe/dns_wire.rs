//! DNS messages, as far as a probe needs them (RFC 1035 §4, RFC 3596, RFC 2782).

use std::net::{Ipv4Addr, Ipv6Addr};

/// What an answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The response code; 0 is well.
    pub(super) code: u8,
    /// Whether it was cut, so that TCP must be asked.
    pub(super) truncated: bool,
    /// Records in each section: answers, authority, additional.
    pub(super) counts: [u16; 3],
    /// The answers of the kind that was asked for, as `dig +short` shows them.
    pub(super) records: Vec<String>,
    /// The serial of a zone's start, where there was one.
    pub(super) serial: Option<u32>,
}

/// The number of a record's kind.
pub(super) fn kind(record: &str) -> Option<u16> {
    Some(match record {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "SRV" => 33,
        _ => return None,
    })
}

/// A question, recursion desired.
pub(super) fn question(id: u16, name: &str, kind: u16) -> Result<Vec<u8>, String> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    let name = name.trim_end_matches('.');
    for label in name.split('.').filter(|_| !name.is_empty()) {
        match u8::try_from(label.len()) {
            Ok(length @ 1..=63) => out.push(length),
            _ => return Err(format!("`{name}` is no name: a label has 1 to 63 bytes")),
        }
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    // RFC 1035 §3.1: 255 bytes, the lengths among them.
    if out.len() - 12 > 255 {
        return Err(format!("`{name}` is too long for a name"));
    }
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&1_u16.to_be_bytes());
    Ok(out)
}

/// Reads an answer to `question`. `None` is no answer to it, or damaged.
pub(super) fn answer(question: &[u8], message: &[u8]) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let (id, flags, asked) = (reader.u16()?, reader.u16()?, reader.u16()?);
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?];
    if question.get(..2)? != id.to_be_bytes() || flags & 0x8000 == 0 || asked > 1 {
        return None;
    }
    let mut answer =
        Answer { code: (flags & 15) as u8, truncated: flags & 0x0200 != 0, counts, ..Answer::default() };
    let wanted = question.get(question.len().checked_sub(4)?..)?;
    let kind = u16::from_be_bytes([wanted[0], wanted[1]]);
    if asked == 1 {
        let own = question.get(12..)?;
        if !message.get(12..12 + own.len())?.eq_ignore_ascii_case(own) {
            return None;
        }
        reader.at += own.len();
    }
    if answer.truncated {
        return Some(answer);
    }
    for at in 0..u32::from(counts[0]) + u32::from(counts[1]) {
        reader.name()?;
        let (found, _class) = (reader.u16()?, reader.u16()?);
        reader.at += 4;
        let length = usize::from(reader.u16()?);
        let end = reader.at.checked_add(length).filter(|end| *end <= message.len())?;
        if found == 6 {
            answer.serial = answer.serial.or(reader.serial());
        }
        if found == kind && at < u32::from(counts[0]) {
            answer.records.push(reader.record(kind, end)?);
        }
        reader.at = end;
    }
    Some(answer)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn u16(&mut self) -> Option<u16> {
        let bytes = self.message.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name, with a dot at its end. Pointers only go back, so this ends
    /// (RFC 1035 §4.1.4).
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let (mut at, mut limit, mut behind) = (self.at, self.at, None);
        loop {
            let length = usize::from(*self.message.get(at)?);
            match length {
                0 => break,
                1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + length)?;
                    out.extend(label.escape_ascii().map(char::from));
                    out.push('.');
                    at += 1 + length;
                }
                192.. => {
                    let to = (length & 0x3F) << 8 | usize::from(*self.message.get(at + 1)?);
                    behind.get_or_insert(at + 2);
                    if to >= limit {
                        return None;
                    }
                    (at, limit) = (to, to);
                }
                _ => return None,
            }
            if out.len() > 1_024 {
                return None;
            }
        }
        self.at = behind.unwrap_or(at + 1);
        Some(if out.is_empty() { ".".to_owned() } else { out })
    }

    /// Of a zone's start, whose data begins here.
    fn serial(&self) -> Option<u32> {
        let mut reader = Reader { message: self.message, at: self.at };
        reader.name()?;
        reader.name()?;
        reader.u32()
    }

    /// A record's data up to `end`, as text.
    fn record(&mut self, kind: u16, end: usize) -> Option<String> {
        let bytes = self.message.get(self.at..end)?;
        Some(match kind {
            1 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
            28 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
            2 | 5 => self.name()?,
            15 => format!("{} {}", self.u16()?, self.name()?),
            33 => format!("{} {} {} {}", self.u16()?, self.u16()?, self.u16()?, self.name()?),
            6 => {
                let (server, mailbox) = (self.name()?, self.name()?);
                let mut numbers = String::new();
                for _ in 0..5 {
                    numbers.push_str(&format!(" {}", self.u32()?));
                }
                format!("{server} {mailbox}{numbers}")
            }
            _ => {
                let (mut rest, mut text) = (bytes, String::new());
                while let Some((length, after)) = rest.split_first() {
                    let (part, behind) = after.split_at_checked(usize::from(*length))?;
                    text.push_str(&String::from_utf8_lossy(part));
                    rest = behind;
                }
                text
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with one record, whose name points to the question's.
    fn reply(question: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        let mut out = question[..2].to_vec();
        out.extend_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        out.extend_from_slice(&question[12..]);
        out.extend_from_slice(&[0xC0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn records_are_shown_as_dig_shows_them() {
        let soa =
            [&[0xC0, 12][..], &[0xC0, 12], &[0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]];
        let cases: &[(&str, Vec<u8>, &str)] = &[
            ("A", vec![192, 0, 2, 1], "192.0.2.1"),
            ("AAAA", [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat(), "2001:db8::1"),
            ("NS", [&[2][..], b"ns", &[0xC0, 12]].concat(), "ns.shop.example."),
            ("CNAME", vec![0xC0, 12], "shop.example."),
            ("MX", [&[0, 10, 4][..], b"mail", &[0xC0, 12]].concat(), "10 mail.shop.example."),
            ("SRV", vec![0, 1, 0, 2, 0, 80, 0xC0, 12], "1 2 80 shop.example."),
            ("TXT", [&[3][..], b"a=b", &[2], b"cd"].concat(), "a=bcd"),
            ("SOA", soa.concat(), "shop.example. shop.example. 7 1 2 3 4"),
        ];
        for (record, data, expected) in cases {
            let kind = kind(record).unwrap();
            let question = question(7, "shop.example", kind).unwrap();
            let read = answer(&question, &reply(&question, kind, data)).unwrap_or_else(|| panic!("{record}"));
            assert_eq!(read.records, [*expected], "{record}");
            assert_eq!(read.serial, (*record == "SOA").then_some(7));
            // Whatever is cut off, it ends with nothing and never panics.
            let whole = reply(&question, kind, data);
            for cut in 0..whole.len() {
                assert_eq!(answer(&question, &whole[..cut]), None, "{record} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let question = question(7, "shop.example", 1).unwrap();
        let whole = reply(&question, 1, &[192, 0, 2, 1]);
        for (at, value) in [(0, 9), (2, 0x01), (5, 9), (13, b'x')] {
            let mut wrong = whole.clone();
            wrong[at] = value;
            assert_eq!(answer(&question, &wrong), None, "byte {at}");
        }
        // A name that points at itself.
        let mut looping = whole.clone();
        let pointer = question.len();
        looping[pointer + 1] = pointer as u8;
        assert_eq!(answer(&question, &looping), None);
        let mut refused = whole;
        refused[3] = 0x85;
        assert_eq!(answer(&question, &refused).unwrap().code, 5);
        assert!(super::question(1, "a..b", 1).is_err() && super::question(1, &"a.".repeat(200), 1).is_err());
        assert!(super::question(1, ".", 2).is_ok());
    }
}
