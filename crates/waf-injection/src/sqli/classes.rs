//! What bytes begin and go on with, for the lexer: tables of 256.

/// What a token that begins with a byte can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    White,
    Word,
    Number,
    /// `%`, `+`, `^`, `~`: an operator of one byte.
    Single,
    /// `!`, `&`, `*`, `:`, `<`, `=`, `>`, `|`: of one to three.
    Double,
    Dash,
    Slash,
    Hash,
    Quote,
    Tick,
    /// A byte that is a kind of its own: parentheses, braces, `,`, `;`, and what SQL lacks.
    Itself,
    Dollar,
    At,
    Bracket,
    Backslash,
    /// `b'01'`
    Binary,
    /// `x'0f'`
    Hex,
    /// `e'…'`
    Escaped,
    /// `n'…'`, `nq'…'`
    National,
    /// `q'[…]'`
    Alternative,
    /// `u&'…'`
    Unicode,
}

static STARTS: [Start; 256] = starts();

#[inline]
pub(super) fn start_of(byte: u8) -> Start {
    STARTS[byte as usize]
}

/// Goes on with a word.
pub(super) const IN_WORD: u8 = 1;
/// Goes on with a variable.
pub(super) const IN_VARIABLE: u8 = 2;
/// `.`, `` ` ``: a keyword may end here.
pub(super) const SPLITS_WORD: u8 = 4;
/// White space, for a comment after `--` and for a number's suffix.
pub(super) const WHITE: u8 = 8;
pub(super) const DIGIT: u8 = 16;
/// NUL counts here and below, as it does in libinjection.
pub(super) const HEX_DIGIT: u8 = 32;
pub(super) const BINARY_DIGIT: u8 = 64;
pub(super) const IN_MONEY: u8 = 128;

static CLASSES: [u8; 256] = classes();

#[inline]
pub(super) fn class_of(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

#[inline]
pub(super) fn has(byte: u8, class: u8) -> bool {
    class_of(byte) & class != 0
}

/// How many bytes from the first on are of a class.
#[inline]
pub(super) fn span(text: &[u8], class: u8) -> usize {
    text.iter().take_while(|&&byte| has(byte, class)).count()
}

const fn starts() -> [Start; 256] {
    let mut starts = [Start::Word; 256];
    let mut byte = 0;
    while byte < 256 {
        starts[byte] = match byte as u8 {
            0..=32 | 127 | 0xa0 => Start::White,
            b'0'..=b'9' | b'.' => Start::Number,
            b'%' | b'+' | b'^' | b'~' => Start::Single,
            b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => Start::Double,
            b'-' => Start::Dash,
            b'/' => Start::Slash,
            b'#' => Start::Hash,
            b'"' | b'\'' => Start::Quote,
            b'`' => Start::Tick,
            b'(' | b')' | b'{' | b'}' | b',' | b';' | b'?' | b']' => Start::Itself,
            b'$' => Start::Dollar,
            b'@' => Start::At,
            b'[' => Start::Bracket,
            b'\\' => Start::Backslash,
            b'b' | b'B' => Start::Binary,
            b'x' | b'X' => Start::Hex,
            b'e' | b'E' => Start::Escaped,
            b'n' | b'N' => Start::National,
            b'q' | b'Q' => Start::Alternative,
            b'u' | b'U' => Start::Unicode,
            _ => Start::Word,
        };
        byte += 1;
    }
    starts
}

const fn classes() -> [u8; 256] {
    const ENDS_WORD: &[u8] = b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\0";
    const ENDS_VARIABLE: &[u8] = b" <>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r'`\"\0";
    let mut classes = [IN_WORD | IN_VARIABLE; 256];
    let mut at = 0;
    while at < ENDS_WORD.len() {
        classes[ENDS_WORD[at] as usize] &= !IN_WORD;
        at += 1;
    }
    at = 0;
    while at < ENDS_VARIABLE.len() {
        classes[ENDS_VARIABLE[at] as usize] &= !IN_VARIABLE;
        at += 1;
    }
    let mut byte = 0;
    while byte < 256 {
        classes[byte] |= match byte as u8 {
            0 => WHITE | HEX_DIGIT | BINARY_DIGIT | IN_MONEY,
            b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0xa0 => WHITE,
            b'0' | b'1' => DIGIT | HEX_DIGIT | BINARY_DIGIT | IN_MONEY,
            b'2'..=b'9' => DIGIT | HEX_DIGIT | IN_MONEY,
            b'a'..=b'f' | b'A'..=b'F' => HEX_DIGIT,
            b'.' => SPLITS_WORD | IN_MONEY,
            b',' => IN_MONEY,
            b'`' => SPLITS_WORD,
            _ => 0,
        };
        byte += 1;
    }
    classes
}
