//! The kinds of tokens, and the token.

/// What a token is; its letter is the one that fingerprints are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    None,
    Keyword,
    Union,
    Group,
    Expression,
    SqlType,
    Function,
    Bareword,
    Number,
    Variable,
    String,
    Operator,
    Logic,
    Comment,
    Collate,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    Dot,
    Comma,
    Colon,
    Semicolon,
    Tsql,
    Unknown,
    /// What no server reads alike, and nobody sends by chance: an attack by itself.
    Evil,
    Backslash,
}

use Kind::*;

/// In the order of [`Kind`].
const LETTERS: [(Kind, u8); 27] = [
    (None, b'-'),
    (Keyword, b'k'),
    (Union, b'U'),
    (Group, b'B'),
    (Expression, b'E'),
    (SqlType, b't'),
    (Function, b'f'),
    (Bareword, b'n'),
    (Number, b'1'),
    (Variable, b'v'),
    (String, b's'),
    (Operator, b'o'),
    (Logic, b'&'),
    (Comment, b'c'),
    (Collate, b'A'),
    (LeftParen, b'('),
    (RightParen, b')'),
    (LeftBrace, b'{'),
    (RightBrace, b'}'),
    (Dot, b'.'),
    (Comma, b','),
    (Colon, b':'),
    (Semicolon, b';'),
    (Tsql, b'T'),
    (Unknown, b'?'),
    (Evil, b'X'),
    (Backslash, b'\\'),
];

impl Kind {
    pub(super) const fn letter(self) -> u8 {
        LETTERS[self as usize].1
    }

    /// The kind of a letter in `data/words.txt`.
    pub(super) const fn from_letter(letter: u8) -> Kind {
        let mut at = 0;
        while at < LETTERS.len() {
            if LETTERS[at].1 == letter {
                return LETTERS[at].0;
            }
            at += 1;
        }
        panic!("no kind has this letter")
    }

    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }

    pub(super) const fn is_in(self, set: u32) -> bool {
        self.bit() & set != 0
    }
}

/// A set of kinds.
pub(super) const fn set(kinds: &[Kind]) -> u32 {
    let mut bits = 0;
    let mut at = 0;
    while at < kinds.len() {
        bits |= kinds[at].bit();
        at += 1;
    }
    bits
}

/// What folding asks of a token's text, known when the token is made.
pub(super) mod traits {
    /// `+`, `-`, `!`, `~`, `!!`, `NOT`: may stand before an operand.
    pub(crate) const UNARY: u16 = 1;
    /// `*`, `/`, `-`, `+`, `%`.
    pub(crate) const ARITHMETIC: u16 = 2;
    /// PostgreSQL's `::`.
    pub(crate) const CAST: u16 = 4;
    /// `LIKE`, `NOT LIKE`.
    pub(crate) const LIKE: u16 = 8;
    /// `IN`, `NOT IN`.
    pub(crate) const IN: u16 = 16;
    /// With what follows it may be a phrase: `GROUP` of `GROUP BY`.
    pub(crate) const PHRASE: u16 = 32;
    /// A function whose name begins with `IF`.
    pub(crate) const IF: u16 = 64;
    /// A name that is a function before a parenthesis.
    pub(crate) const CALLABLE: u16 = 128;
    /// A name, an operator or a function, and so is every phrase that it begins.
    pub(crate) const TAME: u16 = 256;
}

/// The text of a token is cut at this many bytes, as libinjection does: fingerprints
/// depend on it (a word beyond it is never a keyword).
pub(super) const TEXT_MAX: usize = 31;

/// A token; its text lies in the value, or in the table of words for a merged phrase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The quote that opens a string, 0 where the value begins within it.
    pub(super) open: u8,
    /// The quote that closes it, 0 where the value ends within it.
    pub(super) close: u8,
    /// Bytes of text, at most [`TEXT_MAX`].
    pub(super) len: u8,
    pub(super) traits: u16,
    /// The word of the table that the text is, 0 for none.
    pub(super) word: u16,
    /// Where in the value the text begins.
    pub(super) start: u32,
}

impl Token {
    pub(super) const NONE: Token =
        Token { kind: None, open: 0, close: 0, len: 0, traits: 0, word: 0, start: 0 };

    pub(super) fn new(kind: Kind, start: usize, len: usize) -> Token {
        Token { kind, len: len.min(TEXT_MAX) as u8, start: start as u32, ..Token::NONE }
    }

    pub(super) fn is_unary(&self) -> bool {
        self.kind == Operator && self.traits & traits::UNARY != 0
    }

    pub(super) fn is_arithmetic(&self) -> bool {
        self.kind == Operator && self.traits & traits::ARITHMETIC != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_in_the_order_of_kinds() {
        for (at, (kind, _)) in LETTERS.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
    }
}
