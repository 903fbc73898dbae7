//! GraphQL documents (specification of October 2021), and the JSON that carries
//! them.
//!
//! A document's own texts are what its resolvers get: the literal values of
//! arguments, of variables' defaults and of directives. They are handed over as
//! `graphql.<field>.<argument>`, further down by object fields and
//! `array_<index>`; strings unescaped, block strings as they stand, numbers, enum
//! values and booleans as written, `null` as the empty value. The lexical grammar,
//! brackets and arguments are checked, the rest of the grammar is the server's.

use crate::json::push_utf8;
use crate::scratch::Level;
use crate::{Error, ErrorKind, File, Full, Limits, Scratch, Sink};

/// Reads a GraphQL document (`application/graphql`): the whole text as
/// `graphql.query`, then each argument's literal value.
///
/// # Errors
/// What is no GraphQL token, brackets that do not fit, nesting beyond the limit.
pub fn graphql(
    text: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    sink.arg(b"graphql.query", text).map_err(|Full| Error::new(ErrorKind::Full, 0))?;
    document(text, complete, limits, sink, scratch)
}

/// Reads JSON as [`crate::json`] does, and each top-level `query` string (also
/// of a batch) as [`graphql`] does besides. For the paths that serve GraphQL:
/// elsewhere a `query` may be anything.
///
/// # Errors
/// As [`crate::json`]; where the JSON is good, what is wrong with its documents.
pub fn graphql_json(
    text: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let mut queries = std::mem::take(&mut scratch.extra);
    queries.clear();
    let mut watching = Watching { sink, queries: &mut queries };
    let mut result = crate::json(text, complete, limits, &mut watching, scratch);
    let mut rest = &queries[..];
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        if matches!(result, Err(Error { kind: ErrorKind::Full, .. })) {
            break;
        }
        let (query, after) = after.split_at(usize::from_le_bytes(*length));
        rest = after;
        let read = document(query, complete, limits, sink, scratch);
        result = match read {
            Err(error) if result.is_ok() || error.kind == ErrorKind::Full => Err(error),
            _ => result,
        };
    }
    scratch.extra = queries;
    result
}

/// Passes everything on, and keeps the queries, each after its length.
struct Watching<'a, S> {
    sink: &'a mut S,
    queries: &'a mut Vec<u8>,
}

impl<S: Sink> Sink for Watching<'_, S> {
    fn arg(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full> {
        let inner = name.strip_prefix(b"json").and_then(|rest| rest.strip_suffix(b".query"));
        let is_query = inner.is_some_and(|rest| match rest.strip_prefix(b".array_") {
            Some(index) => index.iter().all(u8::is_ascii_digit),
            None => rest.is_empty(),
        });
        if is_query {
            self.queries.extend_from_slice(&value.len().to_le_bytes());
            self.queries.extend_from_slice(value);
        }
        self.sink.arg(name, value)
    }

    fn file(&mut self, file: File<'_>) -> Result<(), Full> {
        self.sink.file(file)
    }
}

fn document(
    text: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let mut reader = Reader { text, at: 0, complete, limits, sink, scratch };
    match reader.selections() {
        Ok(()) => Ok(()),
        Err(Stop::End) if complete => {
            let what = ErrorKind::Graphql("the document ends too early");
            Err(Error::new(what, text.len()))
        }
        Err(Stop::End) => Ok(()),
        Err(Stop::Wrong(what, at)) => Err(Error::new(ErrorKind::Graphql(what), at)),
        Err(Stop::Full) => Err(Error::new(ErrorKind::Full, reader.at)),
    }
}

enum Stop {
    End,
    Wrong(&'static str, usize),
    Full,
}

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// Bytes from and to.
type Place = (usize, usize);

enum Token {
    Punctuator(u8),
    Name(Place),
    Number(Place),
    /// Its value is in `scratch.value`; whether the text's end cuts it.
    String(bool),
    End,
}

struct Reader<'a, S> {
    text: &'a [u8],
    at: usize,
    complete: bool,
    limits: &'a Limits,
    sink: &'a mut S,
    scratch: &'a mut Scratch,
}

impl<S: Sink> Reader<'_, S> {
    /// Everything outside of arguments: names, selections, directives, types.
    fn selections(&mut self) -> Result<(), Stop> {
        let mut depth = 0_u32;
        // What the next arguments belong to: the last name, and its mark.
        let mut last: Place = (0, 0);
        loop {
            let begin = self.at;
            match self.token()? {
                Token::End if depth > 0 => return Err(Stop::End),
                Token::End => return Ok(()),
                Token::Name(place) => {
                    let directive = place.0 > 0 && self.text[place.0 - 1] == b'@';
                    last = (place.0 - usize::from(directive), place.1);
                }
                Token::Punctuator(b'{') => {
                    depth += 1;
                    if depth > self.limits.depth {
                        return Err(Stop::Wrong("selections nested deeper than the limit", begin));
                    }
                }
                Token::Punctuator(b'}') => {
                    depth = depth.checked_sub(1).ok_or(Stop::Wrong("`}` without its `{`", begin))?;
                }
                Token::Punctuator(b'(') => self.arguments(last)?,
                Token::Punctuator(b')') => return Err(Stop::Wrong("`)` without its `(`", begin)),
                Token::Punctuator(_) | Token::Number(_) | Token::String(_) => {}
            }
        }
    }

    /// §2.6 `name: value …)`, and §2.10 `$name: Type = value …)`.
    fn arguments(&mut self, owner: Place) -> Result<(), Stop> {
        let name = &mut self.scratch.name;
        name.clear();
        name.extend_from_slice(b"graphql");
        if owner.1 > owner.0 {
            name.push(b'.');
            name.extend_from_slice(&self.text[owner.0..owner.1]);
        }
        self.check_path(owner.0)?;
        let outer = self.scratch.name.len();
        loop {
            self.scratch.name.truncate(outer);
            self.scratch.name.push(b'.');
            let begin = self.at;
            match self.token()? {
                Token::Punctuator(b')') => return Ok(()),
                Token::Punctuator(b'$') => {
                    self.scratch.name.push(b'$');
                    self.argument_name()?;
                    self.type_and_default()?;
                }
                // A directive of a variable; its arguments follow.
                Token::Punctuator(b'@') => {
                    let Token::Name(_) = self.token()? else {
                        return Err(Stop::Wrong("a directive without a name", begin));
                    };
                }
                Token::Punctuator(b'(') => self.directive_arguments(outer)?,
                Token::Name(place) => {
                    self.scratch.name.extend_from_slice(&self.text[place.0..place.1]);
                    self.check_path(begin)?;
                    self.colon()?;
                    self.value()?;
                }
                Token::End => return Err(Stop::End),
                _ => return Err(Stop::Wrong("an argument's name is due", begin)),
            }
        }
    }

    /// Of a directive of a variable's definition: one level, no deeper.
    fn directive_arguments(&mut self, outer: usize) -> Result<(), Stop> {
        loop {
            self.scratch.name.truncate(outer);
            self.scratch.name.push(b'.');
            let begin = self.at;
            match self.token()? {
                Token::Punctuator(b')') => return Ok(()),
                Token::Name(place) => {
                    self.scratch.name.extend_from_slice(&self.text[place.0..place.1]);
                    self.check_path(begin)?;
                    self.colon()?;
                    self.value()?;
                }
                Token::End => return Err(Stop::End),
                _ => return Err(Stop::Wrong("an argument's name is due", begin)),
            }
        }
    }

    fn argument_name(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        match self.token()? {
            Token::Name(place) => {
                self.scratch.name.extend_from_slice(&self.text[place.0..place.1]);
                self.check_path(begin)?;
                self.colon()
            }
            Token::End => Err(Stop::End),
            _ => Err(Stop::Wrong("an argument's name is due", begin)),
        }
    }

    fn check_path(&self, at: usize) -> Result<(), Stop> {
        match self.scratch.name.len() <= self.limits.path {
            true => Ok(()),
            false => Err(Stop::Wrong("a name longer than the limit", at)),
        }
    }

    fn colon(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        match self.token()? {
            Token::Punctuator(b':') => Ok(()),
            Token::End => Err(Stop::End),
            _ => Err(Stop::Wrong("after an argument's name, `:` is due", begin)),
        }
    }

    /// `[Type!]! = value`, up to what is not part of it.
    fn type_and_default(&mut self) -> Result<(), Stop> {
        loop {
            let begin = self.at;
            match self.token()? {
                Token::Name(_) | Token::Punctuator(b'[' | b']' | b'!') => {}
                Token::Punctuator(b'=') => return self.value(),
                Token::End => return Err(Stop::End),
                _ => {
                    self.at = begin;
                    return Ok(());
                }
            }
        }
    }

    /// One value: a literal, a variable, or a list or object of values. The path
    /// of names stands in `scratch.name`.
    fn value(&mut self) -> Result<(), Stop> {
        self.scratch.levels.clear();
        loop {
            let begin = self.at;
            let opened = match self.token()? {
                Token::String(cut) => {
                    self.sink.arg(&self.scratch.name, &self.scratch.value)?;
                    if cut {
                        return Err(Stop::End);
                    }
                    false
                }
                Token::Number((from, to)) => {
                    self.sink.arg(&self.scratch.name, &self.text[from..to])?;
                    false
                }
                Token::Name((from, to)) => {
                    let word = &self.text[from..to];
                    let value = if word == b"null" { b"" } else { word };
                    self.sink.arg(&self.scratch.name, value)?;
                    false
                }
                Token::Punctuator(b'$') => match self.token()? {
                    Token::Name(_) => false,
                    Token::End => return Err(Stop::End),
                    _ => return Err(Stop::Wrong("a variable without a name", begin)),
                },
                Token::Punctuator(b'[') => self.open(0, begin)?,
                Token::Punctuator(b'{') => self.open(Level::OBJECT, begin)?,
                Token::End => return Err(Stop::End),
                _ => return Err(Stop::Wrong("a value is due", begin)),
            };
            if !self.next_value(opened)? {
                return Ok(());
            }
        }
    }

    fn open(&mut self, index: u32, at: usize) -> Result<bool, Stop> {
        if self.scratch.levels.len() >= self.limits.depth as usize {
            return Err(Stop::Wrong("values nested deeper than the limit", at));
        }
        let path = self.scratch.name.len() as u32;
        self.scratch.levels.push(Level { path, index });
        Ok(true)
    }

    /// To where the next value is due, out of what ends here; `false` when the
    /// outermost is at its end.
    fn next_value(&mut self, mut opened: bool) -> Result<bool, Stop> {
        loop {
            let Some(level) = self.scratch.levels.last_mut() else { return Ok(false) };
            let path = level.path as usize;
            let index = level.index;
            if index != Level::OBJECT && !opened {
                level.index += 1;
            }
            let index = if index == Level::OBJECT { index } else { index + u32::from(!opened) };
            opened = false;
            self.scratch.name.truncate(path);
            let begin = self.at;
            match self.token()? {
                Token::End => return Err(Stop::End),
                Token::Punctuator(b']') if index != Level::OBJECT => {
                    self.scratch.levels.pop();
                }
                Token::Punctuator(b'}') if index == Level::OBJECT => {
                    self.scratch.levels.pop();
                }
                Token::Name((from, to)) if index == Level::OBJECT => {
                    self.scratch.name.push(b'.');
                    self.scratch.name.extend_from_slice(&self.text[from..to]);
                    self.check_path(begin)?;
                    self.colon()?;
                    return Ok(true);
                }
                _ if index == Level::OBJECT => {
                    return Err(Stop::Wrong("a field's name or `}` is due", begin));
                }
                _ => {
                    self.at = begin;
                    // Bounded by the depth.
                    crate::json::push_index(&mut self.scratch.name, index);
                    return Ok(true);
                }
            }
        }
    }

    /// §2.1: the next token; blanks, commas and comments are passed over.
    fn token(&mut self) -> Result<Token, Stop> {
        loop {
            match self.text.get(self.at) {
                None => return Ok(Token::End),
                Some(b' ' | b'\t' | b'\n' | b'\r' | b',') => self.at += 1,
                Some(b'#') => {
                    let rest = &self.text[self.at..];
                    let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    self.at += length;
                }
                Some(0xEF) if self.text[self.at..].starts_with(b"\xEF\xBB\xBF") => self.at += 3,
                Some(_) => break,
            }
        }
        let begin = self.at;
        let run = |good: fn(&u8) -> bool| self.text[begin..].iter().take_while(|byte| good(byte)).count();
        match self.text[begin] {
            byte @ (b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|'
            | b'}') => {
                self.at += 1;
                Ok(Token::Punctuator(byte))
            }
            b'.' if self.text[begin..].starts_with(b"...") => {
                self.at += 3;
                Ok(Token::Punctuator(b'.'))
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.at += run(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
                Ok(Token::Name((begin, self.at)))
            }
            b'-' | b'0'..=b'9' => {
                self.at += run(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
                Ok(Token::Number((begin, self.at)))
            }
            b'"' => self.string(begin),
            _ if !self.complete && self.text.len() - begin < 3 => Ok(Token::End),
            _ => Err(Stop::Wrong("a character that begins no token", begin)),
        }
    }

    /// §2.9.4, into `scratch.value`.
    fn string(&mut self, begin: usize) -> Result<Token, Stop> {
        let block = self.text[begin..].starts_with(b"\"\"\"");
        self.at += if block { 3 } else { 1 };
        let out = &mut self.scratch.value;
        out.clear();
        loop {
            let rest = &self.text[self.at..];
            let Some(length) = memchr::memchr3(b'"', b'\\', b'\n', rest) else {
                out.extend_from_slice(rest);
                self.at = self.text.len();
                return match self.complete {
                    true => Err(Stop::End),
                    false => Ok(Token::String(true)),
                };
            };
            out.extend_from_slice(&rest[..length]);
            self.at += length;
            let rest = &rest[length..];
            match rest[0] {
                b'"' if !block => {
                    self.at += 1;
                    return Ok(Token::String(false));
                }
                b'"' if rest.starts_with(b"\"\"\"") => {
                    self.at += 3;
                    return Ok(Token::String(false));
                }
                b'\\' if block && rest.starts_with(b"\\\"\"\"") => {
                    out.extend_from_slice(b"\"\"\"");
                    self.at += 4;
                }
                b'\\' if !block => self.at += escape(rest, self.at, out)?,
                b'\n' if !block => {
                    return Err(Stop::Wrong("a line ends inside a string", self.at));
                }
                byte => {
                    out.push(byte);
                    self.at += 1;
                }
            }
        }
    }
}

/// §2.9.4: `\uXXXX`, `\u{…}`, and one character after the backslash; how many
/// bytes it took.
fn escape(rest: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Stop> {
    let wrong = Stop::Wrong("a malformed escape in a string", at);
    let byte = match rest.get(1) {
        None => return Err(Stop::End),
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
        Some(b'b') => 0x08,
        Some(b'f') => 0x0C,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') if rest.get(2) == Some(&b'{') => {
            let digits = &rest[3..rest.len().min(16)];
            let length = memchr::memchr(b'}', digits).ok_or(wrong)?;
            let scalar = std::str::from_utf8(&digits[..length])
                .ok()
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32);
            let wrong = Stop::Wrong("a malformed escape in a string", at);
            push_utf8(out, u32::from(scalar.ok_or(wrong)?));
            return Ok(length + 4);
        }
        // The same as in JSON, surrogates too.
        Some(b'u') => {
            return crate::json::unicode_escape(rest, out).ok_or(wrong);
        }
        Some(_) => return Err(wrong),
    };
    out.push(byte);
    Ok(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Collected, Rng, lossy};

    fn read(text: &str, complete: bool) -> (Collected, Result<(), Error>) {
        let mut sink = Collected::default();
        let limits = Limits::default();
        let result = graphql(text.as_bytes(), complete, &limits, &mut sink, &mut Scratch::default());
        assert!(text.is_empty() || sink.args[0] == (b"graphql.query".to_vec(), text.as_bytes().to_vec()));
        if !sink.args.is_empty() {
            sink.args.remove(0);
        }
        (sink, result)
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (sink, result) = read(text, true);
        assert_eq!(result, Ok(()), "{text}");
        assert_eq!(sink.lines(), expected.join("\n"), "{text}");
    }

    #[test]
    fn literals_are_named_by_field_and_argument() {
        check("{ user(id: 4) { name } }", &["graphql.user.id=4"]);
        check(
            "query Q($id: [ID!]! = \"d\\u0041\\u{1F600}\", $n: Int = -1.5e3) @dir(if: true) { user(id: $id, n: $n) { a } }",
            &["graphql.Q.$id=dA😀", "graphql.Q.$n=-1.5e3", "graphql.@dir.if=true"],
        );
        check(
            "mutation { post(input: {title: \"<x>\", tags: [\"a\", B, [1]], z: {q: null}}, e: {}, l: []) { id } }",
            &[
                "graphql.post.input.title=<x>",
                "graphql.post.input.tags.array_0=a",
                "graphql.post.input.tags.array_1=B",
                "graphql.post.input.tags.array_2.array_0=1",
                "graphql.post.input.z.q=",
            ],
        );
        check(
            "{ a(b: \"\"\"one \\n \"two\" \\\"\"\" \"\"\") # c(d: \"no\")\n }",
            &["graphql.a.b=one \\n \"two\" \"\"\" "],
        );
        check(
            "{ a(b: \"\") ...F ... on T { x: y(z: \"w\") } } fragment F on T { a }",
            &["graphql.a.b=", "graphql.y.z=w"],
        );
        check(
            "query ($a: T = {b: [1]} @d(e: \"f\")) { x }",
            &["graphql.query.$a.b.array_0=1", "graphql.query.e=f"],
        );
        check("", &[]);
    }

    #[test]
    fn what_is_malformed_is_said() {
        for (text, what) in [
            ("{ a", "ends too early"),
            ("{ a(b: \"x", "ends too early"),
            ("}", "`}` without"),
            (")", "`)` without"),
            ("{ a(b: ) }", "a value is due"),
            ("{ a(b 1) }", "`:` is due"),
            ("{ a(\"b\": 1) }", "an argument's name is due"),
            ("{ a(b: [1) }", "a value is due"),
            ("{ a(b: {1}) }", "a field's name"),
            ("{ a(b: \"\\q\") }", "malformed escape"),
            ("{ a(b: \"\\u{110000}\") }", "malformed escape"),
            ("{ a(b: \"\n\") }", "a line ends"),
            ("{ % }", "begins no token"),
        ] {
            let (_, result) = read(text, true);
            let error = result.unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn queries_in_json_are_read() {
        let mut sink = Collected::default();
        let mut scratch = Scratch::default();
        let text =
            br#"{"query":"{ a(b: \"' or 1=1\") }","variables":{"x":"y"},"deep":{"query":"{ c(d: 1) }"}}"#;
        graphql_json(text, true, &Limits::default(), &mut sink, &mut scratch).unwrap();
        assert_eq!(
            sink.lines(),
            "json.query={ a(b: \"' or 1=1\") }\njson.variables.x=y\njson.deep.query={ c(d: 1) }\ngraphql.a.b=' or 1=1"
        );
        let mut sink = Collected::default();
        let batch = br#"[{"query":"{ a(b: 1) }"},{"query":"{ a(b: 2"}]"#;
        let error = graphql_json(batch, true, &Limits::default(), &mut sink, &mut scratch).unwrap_err();
        assert!(error.to_string().contains("ends too early"));
        assert!(sink.lines().ends_with("graphql.a.b=1\ngraphql.a.b=2"));
    }

    #[test]
    fn a_partial_document_gives_what_it_has() {
        let text = "mutation { post(input: {title: \"<x>\\u0041\", tags: [\"a\", B, [1]]}) { id } }";
        for length in 0..text.len() {
            let (_, result) = read(&text[..length], false);
            let escape_cut =
                (text.find("\\u").unwrap() + 1..text.find("0041").unwrap() + 4).contains(&length);
            assert!(result.is_ok() || escape_cut, "{length}: {result:?}");
        }
        let (sink, _) = read("{ a(b: \"atta", false);
        assert_eq!(sink.lines(), "graphql.a.b=atta");
    }

    #[test]
    fn depth_is_limited() {
        let deep = format!("{{ a(b: {}1{}) }}", "[".repeat(600), "]".repeat(600));
        assert!(read(&deep, true).1.unwrap_err().to_string().contains("deeper"));
        assert!(read(&"{a".repeat(600), true).1.unwrap_err().to_string().contains("deeper"));
    }

    #[test]
    fn hostile_documents_are_survived() {
        let pieces: [&[u8]; 24] = [
            b"{",
            b"}",
            b"(",
            b")",
            b"[",
            b"]",
            b":",
            b"$",
            b"=",
            b"@",
            b"...",
            b"a",
            b"b ",
            b"1",
            b"\"",
            b"\"\"\"",
            b"\\",
            b"\\u",
            b"{1F600}",
            b"#",
            b"\n",
            b"null",
            b"\xEF\xBB\xBF",
            b"\xFF",
        ];
        let whole = b"query Q($id: [ID!]! = \"d\") @d(if: true) { user(id: {a: [1, \"x\"]}) { a } }";
        let mut rng = Rng::new(19);
        let mut scratch = Scratch::default();
        let limits = Limits { depth: 5, path: 40, ..Limits::default() };
        for round in 0..40_000 {
            let text = match round % 2 {
                0 => rng.pieces(&pieces, 30),
                _ => rng.mutate(whole),
            };
            for complete in [true, false] {
                let mut sink = Collected::default();
                let _ = graphql(&text, complete, &limits, &mut sink, &mut scratch);
                assert!(sink.args.len() <= text.len() + 1, "{}", lossy(&text));
                let _ = graphql_json(&text, complete, &limits, &mut sink, &mut scratch);
            }
        }
    }
}
