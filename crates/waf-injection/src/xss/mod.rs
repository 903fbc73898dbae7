//! Cross-site scripting: a value read as HTML from five places that it may stand in.
//!
//! The states are those of HTML 5's tokenizer (WHATWG HTML §13.2.5) as far as they matter,
//! with what old browsers added: NUL within names, quoting by ticks, `<% … %>`.

mod names;

use memchr::memchr;

use crate::bytes::{lacks_tag_and_value, occur};
use names::{Attribute, attribute, is_script_tag, is_script_url};

/// Whether the value, put into a page, would run a script.
pub fn xss(value: &[u8]) -> bool {
    // A script needs a tag, or an attribute with a value.
    if lacks_tag_and_value(value) {
        return false;
    }
    examine(value)
}

#[inline(never)]
fn examine(value: &[u8]) -> bool {
    let marks = Marks::of(value);
    (marks.tag && runs(value, State::Data))
        || (marks.leads_on && runs(value, State::BeforeAttribute))
        || (marks.leads_on && marks.single && runs(value, State::Quoted(b'\'')))
        || (marks.leads_on && marks.double && runs(value, State::Quoted(b'"')))
        || (marks.leads_on && marks.tick && runs(value, State::Quoted(b'`')))
}

/// What stands anywhere in a value.
struct Marks {
    /// `<`, without which no place leads to a tag.
    tag: bool,
    /// `=`, or `>` and `<`: without these a value within a tag leads to no attribute's value
    /// and out to no other tag.
    leads_on: bool,
    single: bool,
    double: bool,
    tick: bool,
}

impl Marks {
    fn of(value: &[u8]) -> Marks {
        const BYTES: [u8; 6] = *b"<=>'\"`";
        // Over a long value, calls are worth their while.
        let [tag, equals, end, single, double, tick] = if value.len() <= 256 {
            occur(value, BYTES)
        } else {
            BYTES.map(|byte| memchr(byte, value).is_some())
        };
        Marks { tag, leads_on: equals || (tag && end), single, double, tick }
    }
}

/// Where the reader is.
#[derive(Clone, Copy)]
enum State {
    Data,
    /// Behind `<`.
    TagOpen,
    /// At a tag's name, of an end tag or not.
    TagName {
        end: bool,
    },
    BeforeAttribute,
    /// At an attribute's name.
    AttributeName,
    /// Behind `/` in a tag.
    SelfClosing,
    /// Within quotes, the first of them passed.
    Quoted(u8),
    /// Behind `<!`.
    Markup,
    /// Within what ends at the next `>`: `<?`, `<!`, and `</` before no letter.
    BogusComment,
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// What the value is that comes next.
    attribute: Attribute,
}

/// Reads the value from a state on. Each step goes on in the text or towards a state that
/// does, so that the time is linear.
fn runs(text: &[u8], state: State) -> bool {
    let mut reader = Reader { text, at: 0, attribute: Attribute::Harmless };
    let mut state = state;
    loop {
        match reader.step(state) {
            Step::To(next) => state = next,
            Step::Script => return true,
            Step::End => return false,
        }
    }
}

enum Step {
    To(State),
    Script,
    End,
}

use Step::{End, Script, To};

fn script_or(script: bool, state: State) -> Step {
    if script { Script } else { To(state) }
}

fn script_or_end(script: bool) -> Step {
    if script { Script } else { End }
}

impl<'a> Reader<'a> {
    fn step(&mut self, state: State) -> Step {
        match state {
            State::Data => match memchr(b'<', &self.text[self.at..]) {
                Some(len) => self.go(len + 1, State::TagOpen),
                None => End,
            },
            State::TagOpen => self.tag_open(),
            State::TagName { end } => self.tag_name(end),
            State::BeforeAttribute => match self.skip_white() {
                None => End,
                Some(b'/') => self.go(1, State::SelfClosing),
                Some(b'>') => self.go(1, State::Data),
                Some(_) => To(State::AttributeName),
            },
            State::AttributeName => self.attribute_name(),
            State::SelfClosing => match self.peek() {
                None => End,
                Some(b'>') => self.go(1, State::Data),
                Some(_) => To(State::BeforeAttribute),
            },
            State::Quoted(quote) => self.quoted(quote),
            State::Markup => self.markup(),
            State::BogusComment => self.comment_until(b">"),
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn go(&mut self, len: usize, state: State) -> Step {
        self.at += len;
        To(state)
    }

    fn skip_white(&mut self) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if !is_white(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn tag_open(&mut self) -> Step {
        match self.peek() {
            None => End,
            Some(b'!') => self.go(1, State::Markup),
            Some(b'?') => self.go(1, State::BogusComment),
            // Not of the standard, but of old IE and Safari.
            Some(b'%') => {
                self.at += 1;
                self.comment_until(b"%>")
            }
            Some(b'/') => {
                self.at += 1;
                match self.peek() {
                    None => End,
                    Some(b'>') => To(State::Data),
                    Some(byte) if byte.is_ascii_alphabetic() => To(State::TagName { end: true }),
                    Some(_) => To(State::BogusComment),
                }
            }
            Some(byte) if byte.is_ascii_alphabetic() || byte == 0 => To(State::TagName { end: false }),
            Some(_) => To(State::Data),
        }
    }

    /// NUL belongs to the name.
    fn tag_name(&mut self, end: bool) -> Step {
        let rest = self.rest();
        let Some(len) = find_class(rest, ENDS_TAG_NAME) else {
            return script_or_end(is_script_tag(rest));
        };
        let close = rest[len] == b'>';
        // `</script>` does nothing; `</script x>` is looked at, as in libinjection.
        if !(close && end) && is_script_tag(&rest[..len]) {
            return Script;
        }
        let state = match rest[len] {
            b'>' => State::Data,
            b'/' => State::SelfClosing,
            _ => State::BeforeAttribute,
        };
        self.go(len + 1, state)
    }

    /// The name, and its value where it has one.
    fn attribute_name(&mut self) -> Step {
        let rest = self.rest();
        // The first byte belongs to the name, whatever it is.
        let Some(len) = find_class(rest.get(1..).unwrap_or_default(), ENDS_NAME) else {
            return End;
        };
        let len = len + 1;
        let name = &rest[..len];
        self.at += len + 1;
        match rest[len] {
            b'/' => To(State::SelfClosing),
            b'>' => To(State::Data),
            b'=' => self.value_of(name),
            _ => match self.skip_white() {
                None => End,
                Some(b'/') => self.go(1, State::SelfClosing),
                Some(b'>') => self.go(1, State::Data),
                Some(b'=') => {
                    self.at += 1;
                    self.value_of(name)
                }
                Some(_) => To(State::AttributeName),
            },
        }
    }

    fn value_of(&mut self, name: &[u8]) -> Step {
        let Some(byte) = self.skip_white() else {
            return End;
        };
        self.attribute = attribute(name);
        if matches!(byte, b'"' | b'\'' | b'`') {
            return self.go(1, State::Quoted(byte));
        }
        let rest = self.rest();
        let Some(len) = find_class(rest, ENDS_VALUE) else {
            return script_or_end(self.runs_as_value(rest));
        };
        let script = self.runs_as_value(&rest[..len]);
        let state = if rest[len] == b'>' { State::Data } else { State::BeforeAttribute };
        self.at += len + 1;
        script_or(script, state)
    }

    fn quoted(&mut self, quote: u8) -> Step {
        let rest = self.rest();
        let Some(len) = memchr(quote, rest) else {
            return script_or_end(self.runs_as_value(rest));
        };
        if self.runs_as_value(&rest[..len]) {
            return Script;
        }
        self.at += len + 1;
        match self.peek() {
            None => End,
            Some(b'/') => self.go(1, State::SelfClosing),
            Some(b'>') => self.go(1, State::Data),
            Some(_) => To(State::BeforeAttribute),
        }
    }

    /// Whether the value of the attribute read last runs a script.
    fn runs_as_value(&mut self, value: &[u8]) -> bool {
        match std::mem::replace(&mut self.attribute, Attribute::Harmless) {
            Attribute::Harmless => false,
            Attribute::Script => true,
            Attribute::Url => is_script_url(value),
            Attribute::Name => attribute(value) != Attribute::Harmless,
        }
    }

    fn markup(&mut self) -> Step {
        let rest = self.rest();
        if rest.len() >= 7 && rest[..7].eq_ignore_ascii_case(b"DOCTYPE") {
            // It changes how the whole page is read, and may define entities.
            return Script;
        }
        if rest.starts_with(b"[CDATA[") {
            self.at += 7;
            return match find(self.rest(), b"]]>") {
                Some(len) => self.go(len + 3, State::Data),
                None => End,
            };
        }
        if rest.starts_with(b"--") {
            self.at += 2;
            return self.comment();
        }
        To(State::BogusComment)
    }

    /// A comment that ends at the first `end`, or with the text.
    fn comment_until(&mut self, end: &[u8]) -> Step {
        let rest = self.rest();
        match find(rest, end) {
            Some(len) => {
                self.at += len + end.len();
                script_or(is_script_comment(&rest[..len]), State::Data)
            }
            None => script_or_end(is_script_comment(rest)),
        }
    }

    /// A comment that ends with `-->` or `-!>`, NULs allowed behind the first dash.
    fn comment(&mut self) -> Step {
        let rest = self.rest();
        let mut from = 0;
        while let Some(len) = memchr(b'-', &rest[from..]) {
            let dash = from + len;
            let nuls = rest[dash + 1..].iter().take_while(|&&b| b == 0).count();
            let mark = dash + 1 + nuls;
            if matches!(rest.get(mark), Some(b'-' | b'!')) && rest.get(mark + 1) == Some(&b'>') {
                self.at += mark + 2;
                return script_or(is_script_comment(&rest[..dash]), State::Data);
            }
            from = dash + 1;
        }
        script_or_end(is_script_comment(rest))
    }
}

/// White space within tags, and NUL.
const WHITE: u8 = 1;
/// Ends a tag's name: white space without NUL, `/`, `>`.
const ENDS_TAG_NAME: u8 = 2;
/// Ends an attribute's name: white space, `/`, `=`, `>`.
const ENDS_NAME: u8 = 4;
/// Ends an attribute's value without quotes: white space, `>`.
const ENDS_VALUE: u8 = 8;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            0 => WHITE | ENDS_NAME | ENDS_VALUE,
            b' ' | 9..=13 => WHITE | ENDS_TAG_NAME | ENDS_NAME | ENDS_VALUE,
            b'/' => ENDS_TAG_NAME | ENDS_NAME,
            b'=' => ENDS_NAME,
            b'>' => ENDS_TAG_NAME | ENDS_NAME | ENDS_VALUE,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

fn find_class(text: &[u8], class: u8) -> Option<usize> {
    text.iter().position(|&byte| CLASSES[byte as usize] & class != 0)
}

fn is_white(byte: u8) -> bool {
    CLASSES[byte as usize] & WHITE != 0
}

/// What IE runs: conditional comments, `<?import`, XML; and a tick, which ends a tag for it.
fn is_script_comment(text: &[u8]) -> bool {
    let begins =
        |start: &[u8], min: usize| text.len() >= min && text[..start.len()].eq_ignore_ascii_case(start);
    memchr(b'`', text).is_some()
        || begins(b"[IF", 4)
        || begins(b"XML", 4)
        || begins(b"IMPORT", 6)
        || begins(b"ENTITY", 6)
}

fn find(text: &[u8], end: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(len) = memchr(end[0], &text[from..]) {
        if text[from + len..].starts_with(end) {
            return Some(from + len);
        }
        from += len + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Without the short cuts of [`Marks`].
    fn slow(value: &[u8]) -> bool {
        let quotes = [b'\'', b'"', b'`'].map(State::Quoted);
        let states = [State::Data, State::BeforeAttribute].into_iter().chain(quotes);
        states.into_iter().any(|state| runs(value, state))
    }

    fn check(value: &[u8]) {
        assert_eq!(xss(value), slow(value), "{}", value.escape_ascii());
    }

    const PIECES: &[&str] = &[
        "<", ">", "=", "/", "'", "\"", "`", " ", "\0", "a", "svg", "onload", "href", "java", "!", "--", "-",
        "?", "%", "[if ", "xml:", "&#106;", "style", "script", "doctype", "<a ",
    ];

    #[test]
    fn every_short_value_of_pieces() {
        for a in PIECES {
            for b in PIECES {
                for c in PIECES {
                    for d in PIECES {
                        check([*a, b, c, d].concat().as_bytes());
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn values_of_pieces(pieces in proptest::collection::vec(0..PIECES.len(), 0..14)) {
            let value: String = pieces.iter().map(|&at| PIECES[at]).collect();
            check(value.as_bytes());
        }

        #[test]
        fn values_of_bytes(value in proptest::collection::vec(any::<u8>(), 0..24)) {
            check(&value);
        }
    }
}
