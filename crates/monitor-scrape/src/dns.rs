//! Questions to the domain name system and what is answered (RFC 1035 §4; RFC
//! 2782 for SRV; RFC 3596 for AAAA). Sending them is the assembly's.

use crate::settings::WhichRecord;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A, AAAA.
    Address(IpAddr),
    /// SRV: where a service is.
    Service {
        /// The host, with a dot at its end.
        target: String,
        /// The port.
        port: u16,
    },
    /// MX, NS: a name, with a dot at its end.
    Name(String),
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `RCODE`: 0 is well, 3 is no such name.
    pub code: u8,
    /// There is more than fits: ask again over TCP.
    pub truncated: bool,
    /// Records of the type that was asked for, in order; those of aliases among them.
    pub records: Vec<Record>,
}

/// `RCODE`: the name does not exist.
pub const NO_SUCH_NAME: u8 = 3;

fn number(record: WhichRecord) -> u16 {
    match record {
        WhichRecord::A => 1,
        WhichRecord::Ns => 2,
        WhichRecord::Mx => 15,
        WhichRecord::Aaaa => 28,
        WhichRecord::Srv => 33,
    }
}

/// A question, as it is sent over UDP. `id` is chance, so that nobody else can answer.
pub fn question(id: u16, name: &str, record: WhichRecord) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{name}` is not a name that DNS could have");
    // Recursion desired; one question.
    let mut out = Vec::with_capacity(64);
    for field in [id, 0x0100, 1, 0, 0, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    let labels = name.strip_suffix('.').unwrap_or(name);
    if labels.is_empty() || labels.len() > 253 {
        return Err(wrong());
    }
    for label in labels.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        out.push(length.ok_or_else(wrong)?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&number(record).to_be_bytes());
    out.extend_from_slice(&1u16.to_be_bytes()); // The internet.
    Ok(out)
}

/// Reads an answer to `question`. A message that answers something else is an error.
pub fn answer(question: &[u8], message: &[u8], record: WhichRecord) -> Result<Answer, String> {
    read(question, message, record).ok_or_else(|| "that is no answer to what was asked".to_owned())
}

fn read(question: &[u8], message: &[u8], record: WhichRecord) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let (id, flags) = (reader.u16()?, reader.u16()?);
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.at += 4;
    // It answers, and it answers this.
    if question.get(..2)? != id.to_be_bytes() || flags & 0x8000 == 0 {
        return None;
    }
    let code = (flags & 0xf) as u8;
    if questions == 1 {
        let asked = question.get(12..)?;
        let echoed = message.get(12..12 + asked.len())?;
        if !echoed.eq_ignore_ascii_case(asked) {
            return None;
        }
        reader.at = 12 + asked.len();
    } else if questions != 0 || code == 0 {
        return None;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        reader.skip_name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        reader.at += 4;
        let length = usize::from(reader.u16()?);
        let end = reader.at.checked_add(length).filter(|end| *end <= message.len())?;
        if kind == number(record) && class == 1 {
            records.push(reader.record(record, length)?);
        }
        reader.at = end;
    }
    Some(Answer { code, truncated: flags & 0x0200 != 0, records })
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

    fn record(&mut self, record: WhichRecord, length: usize) -> Option<Record> {
        let bytes = self.message.get(self.at..self.at + length)?;
        Some(match record {
            WhichRecord::A => Record::Address(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
            WhichRecord::Aaaa => Record::Address(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
            WhichRecord::Srv => {
                self.at += 4; // Priority and weight: all are scraped.
                let port = self.u16()?;
                Record::Service { port, target: self.name()? }
            }
            WhichRecord::Mx => {
                self.at += 2;
                Record::Name(self.name()?)
            }
            WhichRecord::Ns => Record::Name(self.name()?),
        })
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = usize::from(*self.message.get(self.at)?);
            match length {
                0 => {
                    self.at += 1;
                    return Some(());
                }
                _ if length & 0xc0 == 0xc0 => {
                    self.at += 2;
                    return Some(());
                }
                _ if length & 0xc0 != 0 => return None,
                _ => self.at += 1 + length,
            }
        }
    }

    /// A name, which may go on elsewhere (RFC 1035 §4.1.4): only before where it
    /// stands, so that it ends.
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let (mut at, mut limit) = (self.at, self.at);
        loop {
            let length = usize::from(*self.message.get(at)?);
            if length == 0 {
                break;
            }
            if length & 0xc0 == 0xc0 {
                let to = (length & 0x3f) << 8 | usize::from(*self.message.get(at + 1)?);
                if to >= limit {
                    return None;
                }
                (at, limit) = (to, to);
                continue;
            }
            let label = self.message.get(at + 1..at + 1 + length).filter(|_| length & 0xc0 == 0)?;
            // What is no printable character stands as DNS writes it, `\ddd`.
            for byte in label {
                match byte {
                    b'!'..=b'~' if !b".\\\"".contains(byte) => out.push(char::from(*byte)),
                    _ => out.push_str(&format!("\\{byte:03}")),
                }
            }
            out.push('.');
            if out.len() > 1_024 {
                return None;
            }
            at += 1 + length;
        }
        Some(out)
    }
}

/// Who is asked, and which names: `/etc/resolv.conf` (resolv.conf(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Servers, in order.
    pub servers: Vec<IpAddr>,
    search: Vec<String>,
    dots: usize,
}

impl Resolver {
    /// Reads the file's text; without a server it is the one on this machine.
    pub fn read(text: &str) -> Self {
        let mut found = Self { servers: Vec::new(), search: Vec::new(), dots: 1 };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let text = words.next().and_then(|text| text.split('%').next());
                    let address: Option<IpAddr> = text.and_then(|text| text.parse().ok());
                    // resolv.conf(5): three are asked at most.
                    found.servers.extend(address);
                    found.servers.truncate(3);
                }
                Some("search" | "domain") => found.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let dots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    found.dots = dots.unwrap_or(found.dots);
                }
                _ => {}
            }
        }
        if found.servers.is_empty() {
            found.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        found
    }

    /// The names to try for one that was written, each with a dot at its end.
    pub fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let itself = format!("{name}.");
        let searched = self.search.iter().map(|domain| format!("{name}.{}.", domain.trim_end_matches('.')));
        let dots = name.bytes().filter(|b| *b == b'.').count();
        if dots >= self.dots {
            [itself].into_iter().chain(searched).collect()
        } else {
            searched.chain([itself.clone()]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(asked: &[u8], flags: u16, answers: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = asked.to_vec();
        out[2..4].copy_from_slice(&flags.to_be_bytes());
        out[6..8].copy_from_slice(&(answers.len() as u16).to_be_bytes());
        for (kind, data) in answers {
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }

    #[test]
    fn answers() {
        let srv = question(7, "_m._tcp.example.org", WhichRecord::Srv).unwrap();
        // `host` and then, at 12, the question's name.
        let data = [&[0, 1, 0, 2, 0x23, 0x8c][..], &[4], b"host", &[0xc0, 12]].concat();
        let message = reply(&srv, 0x8180, &[(33, &data), (5, &[0xc0, 12])]);
        let got = answer(&srv, &message, WhichRecord::Srv).unwrap();
        let target = "host._m._tcp.example.org.".to_owned();
        assert_eq!(
            got,
            Answer { code: 0, truncated: false, records: vec![Record::Service { target, port: 9100 }] }
        );

        let a = question(7, "h.", WhichRecord::A).unwrap();
        let got = answer(&a, &reply(&a, 0x8380, &[(1, &[10, 0, 0, 1])]), WhichRecord::A).unwrap();
        assert_eq!((got.truncated, &got.records[..]), (true, &[Record::Address([10, 0, 0, 1].into())][..]));
        let mx = question(7, "h", WhichRecord::Mx).unwrap();
        let got = answer(&mx, &reply(&mx, 0x8180, &[(15, &[0, 1, 1, b'm', 0])]), WhichRecord::Mx).unwrap();
        assert_eq!(got.records, [Record::Name("m.".into())]);
        let got = answer(&a, &reply(&a, 0x8183, &[]), WhichRecord::A).unwrap();
        assert_eq!(got.code, NO_SUCH_NAME);
    }

    #[test]
    fn what_is_no_answer() {
        let a = question(7, "h", WhichRecord::A).unwrap();
        let other = question(8, "h", WhichRecord::A).unwrap();
        let another = question(7, "i", WhichRecord::A).unwrap();
        let ns = question(7, "h", WhichRecord::Ns).unwrap();
        let here = ns.len() as u8 + 12;
        let bad: &[(&[u8], Vec<u8>, WhichRecord)] = &[
            (&a, Vec::new(), WhichRecord::A),
            (&a, a.clone(), WhichRecord::A),
            (&other, reply(&a, 0x8180, &[]), WhichRecord::A),
            (&another, reply(&a, 0x8180, &[]), WhichRecord::A),
            (&a, reply(&a, 0x8180, &[(1, &[1, 2, 3])]), WhichRecord::A),
            (&a, reply(&a, 0x8180, &[(1, &[1, 2, 3, 4])])[..30].to_vec(), WhichRecord::A),
            // A name that leads to itself, and one that leads forward.
            (&ns, reply(&ns, 0x8180, &[(2, &[0xc0, here])]), WhichRecord::Ns),
            (&ns, reply(&ns, 0x8180, &[(2, &[0xc0, here + 2, 0])]), WhichRecord::Ns),
        ];
        for (asked, message, record) in bad {
            assert!(answer(asked, message, *record).is_err(), "{message:?}");
        }
        for name in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(200)] {
            assert!(question(1, name, WhichRecord::A).is_err(), "{name}");
        }
    }

    #[test]
    fn who_is_asked_and_what() {
        let resolver = Resolver::read(
            "# x\nsearch a.org b.org.\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\noptions timeout:1 ndots:2\n",
        );
        assert_eq!(resolver.servers.len(), 2);
        let cases: &[(&str, &[&str])] = &[
            ("h", &["h.a.org.", "h.b.org.", "h."]),
            ("h.x", &["h.x.a.org.", "h.x.b.org.", "h.x."]),
            ("h.x.y", &["h.x.y.", "h.x.y.a.org.", "h.x.y.b.org."]),
            ("h.", &["h."]),
        ];
        for (name, expected) in cases {
            assert_eq!(resolver.names(name), *expected, "{name}");
        }
        assert_eq!(Resolver::read("").servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }
}
