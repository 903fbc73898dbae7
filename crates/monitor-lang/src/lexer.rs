//! Cuts a query's text into words and signs.
//!
//! What a character means depends on where it stands: inside of braces there
//! are no keywords, inside of brackets no identifiers. The messages are those
//! of Prometheus, so the conditions follow its lexer's.

use crate::ast::{BinaryOp, Place};
use crate::quote::quote;
use crate::quote::quote_char;
use crate::token::{Keyword, Preprocessor, Token, TokenKind};

pub(crate) struct Lexer<'a> {
    text: &'a str,
    /// The next character.
    at: usize,
    /// Where the token begins.
    start: usize,
    open_parens: usize,
    brace_open: bool,
    bracket_open: bool,
    /// Whether what is next is a duration expression from its beginning on.
    duration_next: bool,
    /// Whether there was a duration, and a colon, after `[`.
    had_duration: bool,
    had_colon: bool,
    /// What is wrong; nothing is read after that.
    wrong: Option<String>,
}

type Read = Result<TokenKind, String>;

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            start: 0,
            open_parens: 0,
            brace_open: false,
            bracket_open: false,
            duration_next: false,
            had_duration: false,
            had_colon: false,
            wrong: None,
        }
    }

    /// The next token. After something wrong only that comes again.
    pub(crate) fn next(&mut self) -> Token {
        if self.wrong.is_none() {
            match self.read() {
                Ok(kind) => return Token { kind, place: self.place(self.at) },
                Err(message) => self.wrong = Some(message),
            }
        }
        Token { kind: TokenKind::Wrong, place: self.place(self.text.len()) }
    }

    /// What is wrong, after [`TokenKind::Wrong`].
    pub(crate) fn wrong(&self) -> &str {
        self.wrong.as_deref().unwrap_or_default()
    }

    fn place(&self, end: usize) -> Place {
        Place { start: self.start as u32, end: end as u32 }
    }

    fn read(&mut self) -> Read {
        loop {
            let rest = self.text[self.at..].trim_start_matches(is_space);
            self.at = self.text.len() - rest.len();
            self.start = self.at;
            if self.duration_next || !rest.starts_with('#') {
                break;
            }
            self.at = self.text.len() - rest.find(is_line_end).map_or(0, |end| rest.len() - end);
        }
        if self.brace_open {
            self.in_braces()
        } else if self.duration_next {
            self.in_duration()
        } else {
            self.statement()
        }
    }

    fn statement(&mut self) -> Read {
        let Some(c) = self.take() else { return self.end() };
        let kind = match c {
            ',' => TokenKind::Comma,
            '@' => TokenKind::At,
            '=' => match self.peek() {
                Some('=') => self.two(BinaryOp::Equal),
                Some('~') => {
                    return Err(format!("unexpected character after '=': {}", quote_char(Some('~'))));
                }
                _ => TokenKind::Assign,
            },
            '!' => match self.take() {
                Some('=') => TokenKind::Binary(BinaryOp::NotEqual),
                other => return Err(format!("unexpected character after '!': {}", quote_char(other))),
            },
            '<' => match self.peek() {
                Some('=') => self.two(BinaryOp::LessEqual),
                Some('/') => self.two(BinaryOp::TrimUpper),
                _ => TokenKind::Binary(BinaryOp::Less),
            },
            '>' => match self.peek() {
                Some('=') => self.two(BinaryOp::GreaterEqual),
                Some('/') => self.two(BinaryOp::TrimLower),
                _ => TokenKind::Binary(BinaryOp::Greater),
            },
            '"' | '\'' => return self.quoted(c),
            '`' => return self.raw(),
            '(' | ')' => return self.paren(c),
            '{' => {
                self.brace_open = true;
                TokenKind::LeftBrace
            }
            '[' => return self.bracket(),
            ']' if !self.bracket_open => return Err(unexpected("right bracket", c)),
            ']' => {
                self.bracket_open = false;
                TokenKind::RightBracket
            }
            c if arithmetic(c).is_some() => return arithmetic(c).ok_or_else(String::new),
            c if c.is_ascii_digit() => return self.number_or_duration(),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => return self.number_or_duration(),
            c if is_alpha(c) || c == ':' => return self.word(c),
            c => return Err(format!("unexpected character: {}", quote_char(Some(c)))),
        };
        Ok(kind)
    }

    fn end(&self) -> Read {
        match () {
            () if self.open_parens > 0 => Err("unclosed left parenthesis".into()),
            () if self.bracket_open => Err("unclosed left bracket".into()),
            () => Ok(TokenKind::End),
        }
    }

    fn bracket(&mut self) -> Read {
        if self.bracket_open {
            return Err(unexpected("left bracket", '['));
        }
        self.bracket_open = true;
        self.duration_next = true;
        self.had_colon = false;
        self.had_duration = false;
        Ok(TokenKind::LeftBracket)
    }

    fn paren(&mut self, c: char) -> Read {
        if c == '(' {
            self.open_parens += 1;
            return Ok(TokenKind::LeftParen);
        }
        match self.open_parens.checked_sub(1) {
            Some(fewer) => self.open_parens = fewer,
            None => {
                self.start = self.at;
                return Err(unexpected("right parenthesis", c));
            }
        }
        Ok(TokenKind::RightParen)
    }

    /// A name or keyword; inside of brackets a colon or a word of durations.
    fn word(&mut self, c: char) -> Read {
        if !self.bracket_open {
            self.take_while(|c| is_alphanumeric(c) || c == ':');
            return Ok(match TokenKind::of_word(&self.text[self.start..self.at]) {
                // Metrics had these names before there was such a modifier.
                TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)
                    if !self.text[self.at..].trim_start_matches(is_space).starts_with('(') =>
                {
                    TokenKind::Identifier
                }
                kind => kind,
            });
        }
        if c == ':' {
            if self.had_colon {
                return Err(unexpected("colon", ':'));
            }
            self.had_colon = true;
            return Ok(TokenKind::Colon);
        }
        self.duration_word()
            .ok_or_else(|| format!("unexpected character: {}, expected ':'", quote_char(Some(c))))
    }

    fn duration_word(&mut self) -> Option<TokenKind> {
        self.take_while(is_alpha);
        let kind = TokenKind::of_word(&self.text[self.start..self.at]);
        use Preprocessor::{MaxOf, MinOf, Range, Step};
        matches!(kind, TokenKind::Preprocessor(Step | Range | MinOf | MaxOf)).then(|| {
            self.had_duration = true;
            kind
        })
    }

    /// After `[`, until a number has come.
    fn in_duration(&mut self) -> Read {
        let wrong = |c| format!("unexpected character in duration expression: {}", quote_char(Some(c)));
        let Some(c) = self.take() else {
            return Err("unexpected end of input in duration expression".into());
        };
        match c {
            ']' => {
                self.bracket_open = false;
                self.duration_next = false;
                Ok(TokenKind::RightBracket)
            }
            ':' => {
                self.start = self.at;
                if !self.had_duration {
                    return Err("unexpected colon before duration in duration expression".into());
                }
                if self.had_colon {
                    return Err("unexpected repeated colon in duration expression".into());
                }
                self.start = self.at - 1;
                self.had_colon = true;
                Ok(TokenKind::Colon)
            }
            ',' => Ok(TokenKind::Comma),
            '(' | ')' => self.paren(c),
            c if arithmetic(c).is_some() => arithmetic(c).ok_or_else(String::new),
            c if is_alpha(c) => self.duration_word().ok_or_else(|| wrong(c)),
            c if c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit())) => {
                self.duration_next = false;
                self.had_duration = true;
                self.number_or_duration()
            }
            c => Err(wrong(c)),
        }
    }

    fn in_braces(&mut self) -> Read {
        let Some(c) = self.take() else {
            return Err("unexpected end of input inside braces".into());
        };
        Ok(match c {
            ',' => TokenKind::Comma,
            '"' | '\'' => return self.quoted(c),
            '`' => return self.raw(),
            '=' if self.peek() == Some('~') => {
                self.take();
                TokenKind::EqualRegex
            }
            '=' => TokenKind::Assign,
            '!' => match self.take() {
                Some('~') => TokenKind::NotRegex,
                Some('=') => TokenKind::Binary(BinaryOp::NotEqual),
                other => {
                    let other = quote_char(other);
                    return Err(format!("unexpected character after '!' inside braces: {other}"));
                }
            },
            '{' => return Err(unexpected("left brace", c)),
            '}' => {
                self.brace_open = false;
                TokenKind::RightBrace
            }
            c if is_alpha(c) => {
                self.take_while(is_alphanumeric);
                TokenKind::Identifier
            }
            c => return Err(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        })
    }

    fn quoted(&mut self, mark: char) -> Read {
        loop {
            match self.take() {
                Some('\\') => self.escape(mark)?,
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some(c) if c == mark => return Ok(TokenKind::Text),
                Some(_) => {}
            }
        }
    }

    /// Source: the Go specification, "Rune literals".
    fn escape(&mut self, mark: char) -> Result<(), String> {
        let unterminated = || "escape sequence not terminated".to_owned();
        let (mut digits, radix, most) = match self.take() {
            None => return Err(unterminated()),
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => return Ok(()),
            Some(c) if c == mark => return Ok(()),
            Some('0'..='7') => {
                self.at -= 1;
                (3, 8, 0xff)
            }
            Some('x') => (2, 16, 0xff),
            Some('u') => (4, 16, 0x10_ffff),
            Some('U') => (8, 16, 0x10_ffff),
            Some(c) => return Err(format!("unknown escape sequence {}", code_point(c))),
        };
        let mut number = 0u64;
        while digits > 0 {
            let c = self.take().ok_or_else(unterminated)?;
            let digit = c
                .to_digit(radix)
                .ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
            number = number * u64::from(radix) + u64::from(digit);
            digits -= 1;
        }
        if number > most || (0xd800..0xe000).contains(&number) {
            return Err("escape sequence is an invalid Unicode code point".into());
        }
        Ok(())
    }

    fn raw(&mut self) -> Read {
        loop {
            match self.take() {
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                None => return Err("unterminated raw string".into()),
                Some('`') => return Ok(TokenKind::Text),
                Some(_) => {}
            }
        }
    }

    fn number_or_duration(&mut self) -> Read {
        self.at = self.start;
        if self.number() {
            return Ok(TokenKind::Number);
        }
        if self.rest_of_duration() {
            return Ok(TokenKind::Duration);
        }
        Err(format!("bad number or duration syntax: {}", quote(&self.text[self.start..self.at])))
    }

    /// Goes beyond a number: decimal, octal, hexadecimal or float, with `_`
    /// between digits. Whether it is one is seen when it is read.
    fn number(&mut self) -> bool {
        let hexadecimal = self.accept("0") && self.accept("xX");
        let digits = if hexadecimal {
            self.accept("_");
            "0123456789abcdefABCDEF"
        } else {
            "0123456789"
        };
        self.accept(".");
        self.accept(digits);
        let (mut dot, mut exponent) = (false, false);
        while let Some(c) = self.peek().filter(|c| digits.contains(*c) || "._eE".contains(*c)) {
            if c == '.' {
                self.take();
                if dot || hexadecimal || self.accept("_.") {
                    return false;
                }
                dot = true;
            } else if "eE".contains(c) && !hexadecimal {
                self.take();
                if exponent {
                    return false;
                }
                exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if c == '_' {
                self.take();
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else {
                self.take_while(|c| digits.contains(c));
            }
        }
        self.at > self.start && !self.peek().is_some_and(is_alphanumeric)
    }

    /// Goes beyond the first unit of a duration, whose number has been read,
    /// and all that follows.
    fn rest_of_duration(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        // `ms`; `hs` is found to be no unit when the duration is read.
        self.accept("s");
        while self.accept("0123456789") {
            self.take_while(|c| c.is_ascii_digit());
            // Years come first or not at all.
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        match self.peek() {
            Some(c) if is_alphanumeric(c) => {
                self.take();
                false
            }
            _ => true,
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, any: &str) -> bool {
        let found = self.peek().is_some_and(|c| any.contains(c));
        if found {
            self.take();
        }
        found
    }

    fn take_while(&mut self, test: impl Fn(char) -> bool) {
        let rest = &self.text[self.at..];
        self.at += rest.find(|c| !test(c)).unwrap_or(rest.len());
    }

    fn two(&mut self, op: BinaryOp) -> TokenKind {
        self.take();
        TokenKind::Binary(op)
    }
}

fn arithmetic(c: char) -> Option<TokenKind> {
    Some(TokenKind::Binary(match c {
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '^' => BinaryOp::Pow,
        _ => return None,
    }))
}

fn unexpected(what: &str, c: char) -> String {
    format!("unexpected {what} {}", quote_char(Some(c)))
}

/// As Go's `%#U`.
fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// Only ASCII: other letters are in names that are quoted.
fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}
