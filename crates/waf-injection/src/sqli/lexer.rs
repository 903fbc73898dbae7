//! A value cut into tokens, as SQL servers of several makes would read it.
//!
//! The value may be hostile: any bytes. Each token takes time linear in its length, or
//! runs to the end of the value, so that a whole value takes linear time.

use memchr::memchr;

use super::classes::{
    BINARY_DIGIT, DIGIT, HEX_DIGIT, IN_MONEY, IN_VARIABLE, IN_WORD, SPLITS_WORD, Start, WHITE, class_of, has,
    span, start_of,
};
use super::kind::{Kind, Token, traits};
use super::words;

/// Whose comments and numbers are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dialect {
    /// MySQL: `#` begins a comment, and `--` only where white space follows.
    pub(super) mysql: bool,
    /// MySQL passes over a number that ends at its exponent's `e`: `1.e(2)` is `(2)`.
    pub(super) skip_bare_exponent: bool,
}

pub(super) struct Lexer<'a> {
    text: &'a [u8],
    pos: usize,
    dialect: Dialect,
    /// How many tokens were made, comments among them.
    pub(super) made: u32,
    /// Whether MySQL would read a comment otherwise.
    pub(super) reads_otherwise: bool,
    /// Whether a number ended at its exponent's `e`.
    pub(super) bare_exponent: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], dialect: Dialect) -> Lexer<'a> {
        Lexer { text, pos: 0, dialect, made: 0, reads_otherwise: false, bare_exponent: false }
    }

    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The string that the value begins within.
    pub(super) fn open_string(&mut self, quote: u8) -> Token {
        self.made += 1;
        self.string(0, 0, quote)
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Token> {
        loop {
            let at = self.pos;
            let byte = *self.text.get(at)?;
            let start = start_of(byte);
            if start == Start::White {
                self.pos = at + 1;
                continue;
            }
            let token = if start == Start::Word { self.word(at) } else { self.token(start, byte, at) };
            if token.kind != Kind::None {
                self.made += 1;
                return Some(token);
            }
        }
    }

    fn token(&mut self, start: Start, byte: u8, at: usize) -> Token {
        match start {
            Start::White => Token::NONE,
            Start::Word => self.word(at),
            Start::Number => self.number(at),
            Start::Single => self.operator(at, 1),
            Start::Double => self.double(byte, at),
            Start::Dash => self.dash(at),
            Start::Slash => self.slash(at),
            Start::Hash => self.hash(at),
            Start::Quote => self.string(at, 1, byte),
            Start::Tick => self.tick(at),
            Start::Itself => self.itself(byte, at),
            Start::Dollar => self.dollar(at),
            Start::At => self.variable(at),
            Start::Bracket => self.bracket(at),
            Start::Backslash => self.backslash(at),
            Start::Binary => self.digits_in_quotes(at, BINARY_DIGIT),
            Start::Hex => self.digits_in_quotes(at, HEX_DIGIT),
            Start::Escaped => self.escaped_string(at),
            Start::National if self.peek(at + 1) == b'\'' => self.escaped_string(at),
            Start::National => self.alternative(at, at + 1),
            Start::Alternative => self.alternative(at, at),
            Start::Unicode => self.unicode_string(at),
        }
    }

    /// The byte at a place, NUL beyond the end.
    fn peek(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn take(&mut self, kind: Kind, start: usize, end: usize) -> Token {
        self.pos = end;
        Token::new(kind, start, end - start)
    }

    fn operator(&mut self, at: usize, len: usize) -> Token {
        let mut token = self.take(Kind::Operator, at, at + len);
        if len == 1 {
            token.traits = match self.text[at] {
                b'+' | b'-' => traits::UNARY | traits::ARITHMETIC,
                b'*' | b'/' | b'%' => traits::ARITHMETIC,
                b'!' | b'~' => traits::UNARY,
                _ => 0,
            };
        }
        token
    }

    fn double(&mut self, byte: u8, at: usize) -> Token {
        let next = self.peek(at + 1);
        match (byte, next) {
            (b'<', b'=') if self.peek(at + 2) == b'>' => self.operator(at, 3),
            (b'!', b'!') => {
                let mut token = self.operator(at, 2);
                token.traits = traits::UNARY;
                token
            }
            (b':', b':') => {
                let mut token = self.operator(at, 2);
                token.traits = traits::CAST;
                token
            }
            (b'&', b'&') | (b'|', b'|') => self.take(Kind::Logic, at, at + 2),
            (b'!', b'<' | b'=' | b'>')
            | (b'&' | b'*' | b':' | b'<' | b'>' | b'|', b'=')
            | (b'<', b'<' | b'>' | b'@')
            | (b'>', b'>')
            | (b'|', b'/') => self.operator(at, 2),
            // At the very end it is an operator, as in libinjection.
            (b':', _) if at + 1 < self.text.len() => self.take(Kind::Colon, at, at + 1),
            _ => self.operator(at, 1),
        }
    }

    /// To the line's end, which is passed over.
    fn line_comment(&mut self, at: usize) -> Token {
        match memchr(b'\n', &self.text[at..]) {
            Some(len) => {
                let token = self.take(Kind::Comment, at, at + len);
                self.pos += 1;
                token
            }
            None => self.take(Kind::Comment, at, self.text.len()),
        }
    }

    fn hash(&mut self, at: usize) -> Token {
        self.reads_otherwise = true;
        if self.dialect.mysql {
            return self.line_comment(at);
        }
        self.operator(at, 1)
    }

    fn dash(&mut self, at: usize) -> Token {
        if self.peek(at + 1) != b'-' {
            return self.operator(at, 1);
        }
        match self.text.get(at + 2) {
            Some(&byte) if !has(byte, WHITE) => {
                if self.dialect.mysql {
                    return self.operator(at, 1);
                }
                self.reads_otherwise = true;
                self.line_comment(at)
            }
            _ => self.line_comment(at),
        }
    }

    fn slash(&mut self, at: usize) -> Token {
        if self.peek(at + 1) != b'*' {
            return self.operator(at, 1);
        }
        let inner = &self.text[at + 2..];
        let end = find_pair(inner, b'*', b'/');
        // PostgreSQL nests comments, others don't; MySQL runs `/*! … */`.
        let nests = end.is_some_and(|len| find_pair(&inner[..len + 1], b'/', b'*').is_some());
        let kind = if nests || inner.first() == Some(&b'!') { Kind::Evil } else { Kind::Comment };
        let end = end.map_or(self.text.len(), |len| at + 2 + len + 2);
        self.take(kind, at, end)
    }

    fn itself(&mut self, byte: u8, at: usize) -> Token {
        let kind = match byte {
            b'(' => Kind::LeftParen,
            b')' => Kind::RightParen,
            b'{' => Kind::LeftBrace,
            b'}' => Kind::RightBrace,
            b',' => Kind::Comma,
            b';' => Kind::Semicolon,
            _ => Kind::Unknown,
        };
        self.take(kind, at, at + 1)
    }

    /// MySQL's `\N` is its NULL.
    fn backslash(&mut self, at: usize) -> Token {
        if self.peek(at + 1) == b'N' {
            return self.take(Kind::Number, at, at + 2);
        }
        self.take(Kind::Backslash, at, at + 1)
    }

    /// A string whose text begins `skip` bytes on from `at`: to the quote that neither a
    /// backslash nor its double escapes, or to the end. `skip` is 0 where the value begins
    /// within the string.
    fn string(&mut self, at: usize, skip: usize, quote: u8) -> Token {
        let start = at + skip;
        let end = string_end(self.text, start, quote);
        let mut token = self.take(Kind::String, start, end.unwrap_or(self.text.len()));
        token.open = if skip > 0 { quote } else { 0 };
        if let Some(end) = end {
            token.close = quote;
            self.pos = end + 1;
        }
        token
    }

    fn escaped_string(&mut self, at: usize) -> Token {
        if self.peek(at + 1) != b'\'' || at + 2 >= self.text.len() {
            return self.word(at);
        }
        self.string(at, 2, b'\'')
    }

    fn unicode_string(&mut self, at: usize) -> Token {
        if self.peek(at + 1) != b'&' || self.peek(at + 2) != b'\'' {
            return self.word(at);
        }
        let mut token = self.string(at + 2, 1, b'\'');
        token.open = b'u';
        if token.close != 0 {
            token.close = b'u';
        }
        token
    }

    /// Oracle's `q'[…]'`, the `q` at `from`; a word begins at `at` where it is none.
    fn alternative(&mut self, at: usize, from: usize) -> Token {
        let text = self.text;
        let (b'q' | b'Q', b'\'') = (self.peek(from), self.peek(from + 1)) else {
            return self.word(at);
        };
        let close = match self.peek(from + 2) {
            // Neither space nor control nor beyond ASCII; also the end.
            0..33 | 128.. => return self.word(at),
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            other => other,
        };
        let start = from + 3;
        let end = find_pair(&text[start..], close, b'\'').map(|len| start + len);
        let mut token = self.take(Kind::String, start, end.unwrap_or(text.len()));
        token.open = b'q';
        if let Some(end) = end {
            token.close = b'q';
            self.pos = end + 2;
        }
        token
    }

    /// `b'01'`, `x'0f'`: a number; a word where the quotes hold else.
    fn digits_in_quotes(&mut self, at: usize, class: u8) -> Token {
        if self.peek(at + 1) != b'\'' || at + 2 >= self.text.len() {
            return self.word(at);
        }
        let end = at + 2 + span(&self.text[at + 2..], class);
        if self.peek(end) != b'\'' {
            return self.word(at);
        }
        self.take(Kind::Number, at, end + 1)
    }

    /// T-SQL's `[name]`.
    fn bracket(&mut self, at: usize) -> Token {
        let len = memchr(b']', &self.text[at..]);
        let end = len.map_or(self.text.len(), |len| at + len + 1);
        self.take(Kind::Bareword, at, end)
    }

    #[inline]
    fn word(&mut self, at: usize) -> Token {
        let mut classes = 0;
        let mut end = at;
        while let Some(&byte) = self.text.get(end) {
            let class = class_of(byte);
            if class & IN_WORD == 0 {
                break;
            }
            classes |= class;
            end += 1;
        }
        if classes & SPLITS_WORD != 0
            && let Some(token) = self.split_word(at, end)
        {
            return token;
        }
        let mut token = self.take(Kind::Bareword, at, end);
        let id = words::lookup(&self.text[at..end]);
        if id != 0 {
            set_word(&mut token, id);
        }
        token
    }

    /// `select.1`, ``select`a` ``: the keyword before the dot or the tick.
    #[cold]
    fn split_word(&mut self, at: usize, end: usize) -> Option<Token> {
        let end = end.min(at + super::kind::TEXT_MAX);
        for split in at..end {
            if !has(self.text[split], SPLITS_WORD) {
                continue;
            }
            let id = words::lookup(&self.text[at..split]);
            if !matches!(words::word(id).kind, Kind::None | Kind::Bareword) {
                let mut token = self.take(Kind::Bareword, at, split);
                set_word(&mut token, id);
                return Some(token);
            }
        }
        None
    }

    /// MySQL's `` `name` ``, which may be a function's.
    fn tick(&mut self, at: usize) -> Token {
        let mut token = self.string(at, 1, b'`');
        token.kind = Kind::Bareword;
        let start = token.start as usize;
        let id = words::lookup(&self.text[start..start + token.len as usize]);
        if id != 0 {
            set_word(&mut token, id);
            if token.kind != Kind::Function {
                token.kind = Kind::Bareword;
            }
        }
        token
    }

    /// `@name`, `@@name`, `` @`name` ``, `@'name'`: the name.
    fn variable(&mut self, at: usize) -> Token {
        let start = if self.peek(at + 1) == b'@' { at + 2 } else { at + 1 };
        let mut token = match self.peek(start) {
            b'`' => self.tick(start),
            quote @ (b'\'' | b'"') => self.string(start, 1, quote),
            _ => {
                let len = span(&self.text[start..], IN_VARIABLE);
                self.take(Kind::Variable, start, start + len)
            }
        };
        token.kind = Kind::Variable;
        token
    }

    /// `$1,000.00`, `$$text$$`, `$tag$text$tag$`, or a lone `$`.
    fn dollar(&mut self, at: usize) -> Token {
        let rest = &self.text[at + 1..];
        let digits = span(rest, IN_MONEY);
        if digits == 1 && rest[0] == b'.' {
            return self.word(at);
        }
        if digits > 0 {
            return self.take(Kind::Number, at, at + 1 + digits);
        }
        // NUL counts as a letter here, as it does in libinjection.
        let letters = rest.iter().take_while(|&&b| b.is_ascii_alphabetic() || b == 0);
        let tag = 1 + letters.count();
        if rest.get(tag - 1) != Some(&b'$') {
            return self.take(Kind::Bareword, at, at + 1);
        }
        let text = self.text;
        let start = at + tag + 1;
        let end = find_tag(&text[start..], &text[at..start]).map(|len| start + len);
        let mut token = self.take(Kind::String, start, end.unwrap_or(text.len()));
        token.open = b'$';
        if let Some(end) = end {
            token.close = b'$';
            self.pos = end + tag + 1;
        }
        token
    }

    fn number(&mut self, at: usize) -> Token {
        let (kind, end, bare_exponent) = read_number(self.text, at);
        if bare_exponent {
            self.bare_exponent = true;
            if self.dialect.skip_bare_exponent {
                self.pos = end;
                return Token::NONE;
            }
        }
        self.take(kind, at, end)
    }
}

/// Where the quote stands that ends a string, neither a backslash nor its double escaping it.
pub(super) fn string_end(text: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut from = start;
    loop {
        let end = from + memchr(quote, text.get(from..)?)?;
        let before = &text[start..end];
        let backslashes = before.iter().rev().take_while(|&&b| b == b'\\').count();
        if backslashes % 2 == 1 {
            from = end + 1;
        } else if text.get(end + 1) == Some(&quote) {
            from = end + 2;
        } else {
            return Some(end);
        }
    }
}

/// A number that begins with a digit or a dot: its kind, its end, and whether it ends at its
/// exponent's `e`.
pub(super) fn read_number(text: &[u8], at: usize) -> (Kind, usize, bool) {
    let peek = |at: usize| text.get(at).copied().unwrap_or(0);
    if text[at] == b'0' {
        let class = match peek(at + 1) {
            b'x' | b'X' => HEX_DIGIT,
            b'b' | b'B' => BINARY_DIGIT,
            _ => 0,
        };
        if class != 0 {
            let digits = span(&text[at + 2..], class);
            let kind = if digits == 0 { Kind::Bareword } else { Kind::Number };
            return (kind, at + 2 + digits, false);
        }
    }
    let mut end = at + span(&text[at..], DIGIT);
    if peek(end) == b'.' {
        end += 1;
        end += span(&text[end..], DIGIT);
        if end - at == 1 {
            return (Kind::Dot, end, false);
        }
    }
    let mut bare_exponent = false;
    if let b'e' | b'E' = peek(end) {
        end += 1;
        if let b'+' | b'-' = peek(end) {
            end += 1;
        }
        let digits = span(&text[end..], DIGIT);
        bare_exponent = digits == 0;
        end += digits;
    }
    // Oracle's suffix of floats; `1fUNION` is `1f UNION`, `123FROM` is `123 FROM`.
    if let b'd' | b'D' | b'f' | b'F' = peek(end) {
        let ends =
            text.get(end + 1).is_none_or(|&next| has(next, WHITE) || matches!(next, b';' | b'u' | b'U'));
        end += usize::from(ends);
    }
    let kind = if bare_exponent { Kind::Bareword } else { Kind::Number };
    (kind, end, bare_exponent)
}

#[inline]
fn set_word(token: &mut Token, id: words::WordId) {
    let word = words::word(id);
    token.word = id;
    token.traits = word.traits;
    if word.kind != Kind::None {
        token.kind = word.kind;
    }
}

/// Where two bytes stand together.
fn find_pair(text: &[u8], first: u8, second: u8) -> Option<usize> {
    let mut from = 0;
    while let Some(len) = memchr(first, &text[from..]) {
        if text.get(from + len + 1) == Some(&second) {
            return Some(from + len);
        }
        from += len + 1;
    }
    None
}

/// Where a tag `$…$` stands again. The tag has `$` at its ends only, so that what is
/// compared at one `$` ends at the next.
fn find_tag(text: &[u8], tag: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(len) = memchr(b'$', &text[from..]) {
        if text[from + len..].starts_with(tag) {
            return Some(from + len);
        }
        from += len + 1;
    }
    None
}
