//! JSON (RFC 8259), flattened: each string, number, boolean and null becomes an
//! argument. Names are ModSecurity v3's: `json.a.b`, and `json.list.array_0` for
//! the members of arrays. Keys that come twice become two arguments.

use super::Problem;
use crate::limits::JSON_DEPTH_MAX;
use crate::values::Values;
use crate::variable::Place;

pub(super) fn read(body: &[u8], complete: bool, values: &mut Values) -> Result<(), Problem> {
    let mut reader = Reader { body, at: 0, name: b"json".to_vec(), values };
    let result = reader.value(0).and_then(|()| {
        reader.blanks();
        if reader.at == body.len() { Ok(()) } else { Err(reader.bad("something after the value")) }
    });
    match result {
        Ok(()) => Ok(()),
        Err(Stop::End) if !complete => Ok(()),
        Err(Stop::End) => Err(Problem::Unreadable("JSON that ends too early".to_owned())),
        Err(Stop::Problem(problem)) => Err(problem),
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    /// The name of the value being read.
    name: Vec<u8>,
    values: &'a mut Values,
}

enum Stop {
    End,
    Problem(Problem),
}

impl Reader<'_> {
    /// Reads one value. The depth is bounded, so recursion is.
    fn value(&mut self, depth: usize) -> Result<(), Stop> {
        if depth > JSON_DEPTH_MAX {
            return Err(Stop::Problem(Problem::TooMuch("objects and arrays inside one another")));
        }
        self.blanks();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => {
                let mut text = Vec::new();
                let ended = self.string(&mut text);
                // Cut inside a string: what there is of it counts.
                if !matches!(ended, Err(Stop::Problem(_))) {
                    self.keep(&text)?;
                }
                ended
            }
            b'-' | b'0'..=b'9' => {
                let rest = &self.body[self.at..];
                let number = |b: &&u8| b.is_ascii_digit() || b"+-.eE".contains(*b);
                let len = rest.iter().take_while(number).count();
                self.at += len;
                self.keep(&rest[..len])
            }
            b't' => self.word(b"true", b"true"),
            b'f' => self.word(b"false", b"false"),
            b'n' => self.word(b"null", b""),
            _ => Err(self.bad("no value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Stop> {
        self.at += 1;
        let outer = self.name.len();
        self.blanks();
        if self.take(b'}')? {
            return Ok(());
        }
        loop {
            self.blanks();
            if self.peek()? != b'"' {
                return Err(self.bad("no name of a member"));
            }
            let mut key = Vec::new();
            self.string(&mut key)?;
            self.blanks();
            if !self.take(b':')? {
                return Err(self.bad("no colon after a member's name"));
            }
            self.name.push(b'.');
            self.name.extend_from_slice(&key);
            self.value(depth + 1)?;
            self.name.truncate(outer);
            if self.ends(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Stop> {
        self.at += 1;
        let outer = self.name.len();
        self.blanks();
        if self.take(b']')? {
            return Ok(());
        }
        for index in 0usize.. {
            self.name.extend_from_slice(format!(".array_{index}").as_bytes());
            self.value(depth + 1)?;
            self.name.truncate(outer);
            if self.ends(b']')? {
                break;
            }
        }
        Ok(())
    }

    /// After a member: whether `close` comes, or a comma.
    fn ends(&mut self, close: u8) -> Result<bool, Stop> {
        self.blanks();
        if self.take(close)? {
            return Ok(true);
        }
        if self.take(b',')? { Ok(false) } else { Err(self.bad("neither a comma nor an end")) }
    }

    /// Reads a string at its opening quote into `text`, decoded.
    fn string(&mut self, text: &mut Vec<u8>) -> Result<(), Stop> {
        self.at += 1;
        loop {
            let rest = &self.body[self.at..];
            let plain = rest.iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1F)).count();
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    self.escape(text)?;
                }
                _ => return Err(self.bad("a control character in a string")),
            }
        }
    }

    /// RFC 8259 §7.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Stop> {
        let byte = match self.peek()? {
            b'u' => {
                self.at += 1;
                return self.unicode(text);
            }
            same @ (b'"' | b'\\' | b'/') => same,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => return Err(self.bad("an unknown escape")),
        };
        self.at += 1;
        text.push(byte);
        Ok(())
    }

    fn unicode(&mut self, text: &mut Vec<u8>) -> Result<(), Stop> {
        let first = self.four_digits()?;
        let low = || {
            let rest = self.body.get(self.at..self.at + 6)?.strip_prefix(b"\\u")?;
            let unit = digits(rest)?;
            (0xDC00..0xE000).contains(&unit).then_some(unit)
        };
        let code = match first {
            0xD800..0xDC00 => match low() {
                Some(low) => {
                    self.at += 6;
                    0x10000 + ((u32::from(first) - 0xD800) << 10) + (u32::from(low) - 0xDC00)
                }
                None => 0xFFFD,
            },
            other => u32::from(other),
        };
        let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u16, Stop> {
        let Some(four) = self.body.get(self.at..self.at + 4) else {
            self.at = self.body.len();
            return Err(Stop::End);
        };
        let unit = digits(four).ok_or_else(|| self.bad("an escape without four digits"))?;
        self.at += 4;
        Ok(unit)
    }

    fn word(&mut self, word: &[u8], value: &[u8]) -> Result<(), Stop> {
        let rest = &self.body[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            return self.keep(value);
        }
        if word.starts_with(rest) { Err(Stop::End) } else { Err(self.bad("no value")) }
    }

    fn keep(&mut self, value: &[u8]) -> Result<(), Stop> {
        let kept = self.values.add(Place::ArgsPost, &self.name, value);
        kept.map_err(|too_much| Stop::Problem(too_much.into()))
    }

    fn blanks(&mut self) {
        let blank = |b: &&u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.body[self.at..].iter().take_while(blank).count();
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.body.get(self.at).copied().ok_or(Stop::End)
    }

    fn take(&mut self, byte: u8) -> Result<bool, Stop> {
        let there = self.peek()? == byte;
        self.at += usize::from(there);
        Ok(there)
    }

    fn bad(&self, what: &str) -> Stop {
        Stop::Problem(Problem::Unreadable(format!("JSON with {what} at byte {}", self.at)))
    }
}

fn digits(four: &[u8]) -> Option<u16> {
    let high = crate::transform::hex_pair(four)?;
    let low = crate::transform::hex_pair(&four[2..])?;
    Some(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(body: &str, complete: bool) -> Result<Vec<String>, Problem> {
        let mut values = Values::new(100_000);
        read(body.as_bytes(), complete, &mut values)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((0..values.len()).map(|i| format!("{}={}", text(values.name(i)), text(values.value(i)))).collect())
    }

    #[test]
    fn values_are_flattened() {
        let cases: &[(&str, &[&str])] = &[
            ("1", &["json=1"]),
            (" {\"a\" : \"x\", \"b\":{\"c\":-1.5e3}} ", &["json.a=x", "json.b.c=-1.5e3"]),
            ("{\"a\":1,\"a\":2}", &["json.a=1", "json.a=2"]),
            (
                "[true,[false,null],{\"k\":\"v\"}]",
                &[
                    "json.array_0=true",
                    "json.array_1.array_0=false",
                    "json.array_1.array_1=",
                    "json.array_2.k=v",
                ],
            ),
            ("{}", &[]),
            ("[ ]", &[]),
            (r#""\u003cscript\u003E \"\\\/\b\n""#, &["json=<script> \"\\/\u{8}\n"]),
            (
                r#"["\ud83d\ude00","\ud83d","\ud83dx","\udc00"]"#,
                &[
                    "json.array_0=😀",
                    "json.array_1=\u{FFFD}",
                    "json.array_2=\u{FFFD}x",
                    "json.array_3=\u{FFFD}",
                ],
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(run(body, true).unwrap(), *expected, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("{", "ends too early"),
            ("\"abc", "ends too early"),
            ("tru", "ends too early"),
            ("\"\\u00", "ends too early"),
            ("nul1", "no value at byte 0"),
            ("{a:1}", "no name of a member at byte 1"),
            ("{\"a\" 1}", "no colon"),
            ("[1 2]", "neither a comma nor an end at byte 3"),
            ("[1,]", "no value at byte 3"),
            ("1 2", "something after"),
            ("\"\u{1}\"", "control character"),
            ("\"\\x\"", "unknown escape"),
            ("\"\\u00zz\"", "four digits"),
        ];
        for (body, part) in cases {
            let problem = run(body, true).unwrap_err();
            assert!(
                matches!(&problem, Problem::Unreadable(why) if why.contains(part)),
                "{body}: {problem:?}"
            );
        }
    }

    #[test]
    fn depth_and_amplification_are_bounded() {
        let nested = |n| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(run(&nested(JSON_DEPTH_MAX), true).is_ok());
        assert!(matches!(run(&nested(JSON_DEPTH_MAX + 1), true), Err(Problem::TooMuch(_))));
        assert!(matches!(run(&"[".repeat(100_000), true), Err(Problem::TooMuch(_))));
        // A long name repeated for each of many values.
        let long = format!("{{\"{}\":[{}1]}}", "k".repeat(1_000), "1,".repeat(500));
        assert_eq!(run(&long, true), Err(Problem::TooMuch("bytes of names and values")));
    }

    #[test]
    fn a_cut_body_is_read_as_far_as_it_goes() {
        let body = r#"{"a":"one","b":[true,"two\u0041"],"c":null}"#;
        for end in 0..body.len() {
            assert!(run(&body[..end], false).is_ok(), "{end}");
        }
        assert_eq!(
            run(&body[..26], false).unwrap(),
            ["json.a=one", "json.b.array_0=true", "json.b.array_1=two"]
        );
    }
}
