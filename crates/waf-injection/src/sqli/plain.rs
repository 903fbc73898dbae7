//! Values that are no attack, told from their first look: names, numbers, dates, addresses,
//! prose. Most values are such; what is not told here is examined in full.
//!
//! Why it is sound:
//!
//! - Folding drops tokens, and changes a kind only for a phrase, a type, a backslash, a brace,
//!   a parenthesis or a semicolon. Where none of these occur the fingerprint has the tokens'
//!   own kinds alone, and no fingerprint of an attack is made of tame kinds only: names,
//!   numbers, operators, functions, `,`, `.`, `:` and `?`, and beside some of them variables
//!   or strings ([`is_tame_mix`]).
//! - A name, number, function, variable or string and then a name stay the first two tokens
//!   whatever follows, unless they begin a phrase, or the name is one that a parenthesis makes
//!   a function. No fingerprint begins with `nn`, `fn`, `sn`, `vn` or `1nn`: such a value is
//!   settled ([`Lead`]). Only [`Kind::Evil`] makes an attack from wherever it stands.
//!
//! Tests hold both the claims about fingerprints and the whole against [`super::examine`].

use super::classes::{DIGIT, IN_VARIABLE, IN_WORD, SPLITS_WORD, class_of, span};
use super::kind::{Kind, TEXT_MAX, set, traits};
use super::lexer::{read_number, string_end};
use super::words;
use crate::bytes::{is_identifier, occur};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// In every context.
    Harmless,
    /// Where no quotes stand around it; quotes stand within it.
    HarmlessUnquoted,
    Unknown,
}

/// Words to read before giving up: a full examination of a long text most often ends sooner.
const WORDS_MAX: u32 = 24;

/// What a token that begins with a byte is here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    White,
    Word,
    /// A digit or a dot.
    Number,
    /// An operator, whatever stands beside it.
    Sign,
    Comma,
    /// `?`, `:`, which may begin an operator.
    Punctuation,
    /// `&`, `|`, `-`: an operator, unless it stands twice.
    Twin,
    Slash,
    At,
    Quote,
    Hash,
    Other,
}

static ROLES: [Role; 256] = roles();

/// What the tokens from some place on are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    Tame {
        /// Whether quotes occurred.
        quotes: bool,
    },
    /// Harmless by the first of them, unless something evil follows.
    Settled,
    Unknown,
}

/// Whether the value is a single word or number of ASCII, which is no attack, whatever it is.
#[inline]
pub(super) fn is_single(value: &[u8]) -> bool {
    match value {
        [] => true,
        [b'0'..=b'9', ..] => {
            let whole = span(value, DIGIT);
            let fraction = &value[whole..];
            fraction.is_empty() || (fraction[0] == b'.' && span(&fraction[1..], DIGIT) + 1 == fraction.len())
        }
        [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => is_identifier(value),
        _ => false,
    }
}

pub(super) fn check(value: &[u8]) -> Plain {
    let scan = scan(value, 0, 0, Lead::Start);
    match scan {
        Scan::Tame { quotes: false } => return Plain::Harmless,
        Scan::Unknown => return Plain::Unknown,
        Scan::Tame { quotes: true } | Scan::Settled => {}
    }
    let marks = Marks::of(value);
    if scan == Scan::Settled && marks.may_be_evil {
        return Plain::Unknown;
    }
    let tame = (!marks.single || is_tame_within(value, b'\'', &marks))
        && (!marks.double || is_tame_within(value, b'"', &marks));
    if tame { Plain::Harmless } else { Plain::HarmlessUnquoted }
}

/// Whether the value is tame where it begins within a string.
fn is_tame_within(value: &[u8], quote: u8, marks: &Marks) -> bool {
    let Some(end) = string_end(value, 0, quote) else {
        // A single token.
        return true;
    };
    match scan(value, end + 1, Kind::String.bit(), Lead::String) {
        Scan::Tame { .. } => true,
        Scan::Settled => !marks.may_be_evil,
        Scan::Unknown => false,
    }
}

/// What stands anywhere in a value.
struct Marks {
    single: bool,
    double: bool,
    /// A comment of MySQL's kind, or a tick: either may be [`Kind::Evil`].
    may_be_evil: bool,
}

impl Marks {
    fn of(value: &[u8]) -> Marks {
        let [single, double, star, tick] = occur(value, *b"'\"*`");
        Marks { single, double, may_be_evil: star || tick }
    }
}

/// The tokens read so far, folded: what they begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    Start,
    Name,
    Function,
    Variable,
    String,
    Number,
    NumberName,
    /// The first token, and an operator that will fold with what follows.
    NameOperator,
    VariableOperator,
    NumberOperator,
    NameComma,
    VariableComma,
    StringComma,
    NumberComma,
    /// No fingerprint begins so.
    Settled,
    /// Something else.
    Other,
}

/// A token, as far as it matters to [`Lead`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Name,
    /// A name that a parenthesis makes a function.
    Callable,
    /// A name that may begin a phrase.
    Phrase,
    Function,
    Operator,
    Comma,
    Number,
    Variable,
    String,
    Other,
}

impl Lead {
    /// As `fold` does with what comes next.
    const fn then(self, next: Next) -> Lead {
        let name = matches!(next, Next::Name | Next::Callable | Next::Phrase);
        let operand = name || matches!(next, Next::Number);
        let item = operand || matches!(next, Next::Variable | Next::String);
        match (self, next) {
            (Lead::Start, Next::Name | Next::Callable) => Lead::Name,
            (Lead::Start, Next::Function) => Lead::Function,
            (Lead::Start, Next::Variable) => Lead::Variable,
            (Lead::Start, Next::String) => Lead::String,
            (Lead::Start, Next::Number) => Lead::Number,
            (Lead::Number, Next::Name) => Lead::NumberName,
            (Lead::Name | Lead::Function | Lead::Variable | Lead::String | Lead::NumberName, Next::Name) => {
                Lead::Settled
            }
            (Lead::String, Next::String) => Lead::String,
            (Lead::Name, Next::Operator) => Lead::NameOperator,
            (Lead::Variable, Next::Operator) => Lead::VariableOperator,
            (Lead::Number, Next::Operator) => Lead::NumberOperator,
            (Lead::Name, Next::Comma) => Lead::NameComma,
            (Lead::Variable, Next::Comma) => Lead::VariableComma,
            (Lead::String, Next::Comma) => Lead::StringComma,
            (Lead::Number, Next::Comma) => Lead::NumberComma,
            (Lead::NameOperator, _) if operand => Lead::Name,
            (Lead::NumberOperator, _) if operand => Lead::Number,
            (Lead::VariableOperator, _) if operand || matches!(next, Next::Variable) => Lead::Variable,
            (Lead::NameComma, _) if item => Lead::Name,
            (Lead::VariableComma, _) if item => Lead::Variable,
            (Lead::StringComma, _) if item => Lead::String,
            (Lead::NumberComma, _) if item => Lead::Number,
            _ => Lead::Other,
        }
    }
}

const LEADS: [Lead; 16] = [
    Lead::Start,
    Lead::Name,
    Lead::Function,
    Lead::Variable,
    Lead::String,
    Lead::Number,
    Lead::NumberName,
    Lead::NameOperator,
    Lead::VariableOperator,
    Lead::NumberOperator,
    Lead::NameComma,
    Lead::VariableComma,
    Lead::StringComma,
    Lead::NumberComma,
    Lead::Settled,
    Lead::Other,
];

const NEXTS: [Next; 10] = [
    Next::Name,
    Next::Callable,
    Next::Phrase,
    Next::Function,
    Next::Operator,
    Next::Comma,
    Next::Number,
    Next::Variable,
    Next::String,
    Next::Other,
];

/// [`Lead::then`], by both.
static THEN: [[Lead; 10]; 16] = {
    let mut then = [[Lead::Other; 10]; 16];
    let mut lead = 0;
    while lead < 16 {
        assert!(LEADS[lead] as usize == lead);
        let mut next = 0;
        while next < 10 {
            assert!(NEXTS[next] as usize == next);
            then[lead][next] = LEADS[lead].then(NEXTS[next]);
            next += 1;
        }
        lead += 1;
    }
    then
};

/// Reads the tokens from `at` on until one is not tame. `seen` are the kinds before.
fn scan(value: &[u8], mut at: usize, mut seen: u32, mut lead: Lead) -> Scan {
    let mut words = 0;
    let mut quotes = false;
    while let Some(&byte) = value.get(at) {
        let next = match ROLES[byte as usize] {
            Role::White => {
                at += 1;
                continue;
            }
            Role::Word => {
                let Some((end, id)) = word(value, at) else {
                    return Scan::Unknown;
                };
                at = end;
                words += 1;
                if words > WORDS_MAX {
                    return Scan::Unknown;
                }
                if id == 0 {
                    Next::Name
                } else {
                    let word = words::word(id);
                    if word.traits & traits::TAME == 0 {
                        return Scan::Unknown;
                    }
                    seen |= word.kind.bit();
                    next_of_word(word)
                }
            }
            Role::Number => {
                let (end, bare_exponent) = number_end(value, at);
                if bare_exponent {
                    return Scan::Unknown;
                }
                at = end;
                seen |= Kind::Number.bit();
                // A lone dot is here too.
                if byte == b'.' { Next::Other } else { Next::Number }
            }
            Role::Sign => {
                at += 1;
                seen |= Kind::Operator.bit();
                next_of_sign(value, at)
            }
            Role::Comma => {
                at += 1;
                Next::Comma
            }
            Role::Punctuation => {
                at += 1;
                seen |= Kind::Operator.bit();
                Next::Other
            }
            Role::Twin => {
                at += 1;
                if value.get(at) == Some(&byte) {
                    return Scan::Unknown;
                }
                seen |= Kind::Operator.bit();
                next_of_sign(value, at)
            }
            Role::Slash => {
                at += 1;
                if value.get(at) == Some(&b'*') {
                    return Scan::Unknown;
                }
                seen |= Kind::Operator.bit();
                next_of_sign(value, at)
            }
            // `<@` is an operator.
            Role::At if at > 0 && value[at - 1] == b'<' => return Scan::Unknown,
            Role::At => {
                let Some(end) = variable_end(value, at) else {
                    return Scan::Unknown;
                };
                at = end;
                seen |= Kind::Variable.bit();
                Next::Variable
            }
            Role::Quote => {
                quotes = true;
                seen |= Kind::String.bit();
                at = behind_string(value, at);
                Next::String
            }
            // MySQL reads a comment, and nothing else where it begins the only line.
            Role::Hash if at == 0 && is_one_line(value) => {
                at += 1;
                seen |= Kind::Operator.bit();
                Next::Other
            }
            Role::Hash | Role::Other => return Scan::Unknown,
        };
        lead = THEN[lead as usize][next as usize];
        if lead == Lead::Settled {
            return Scan::Settled;
        }
    }
    if is_tame_mix(seen) { Scan::Tame { quotes } } else { Scan::Unknown }
}

fn next_of_word(word: &words::Word) -> Next {
    match word.kind {
        Kind::Operator => Next::Operator,
        Kind::Function if word.traits & traits::PHRASE == 0 => Next::Function,
        Kind::Function => Next::Other,
        _ if word.traits & (traits::PHRASE | traits::CALLABLE) == 0 => Next::Name,
        _ if word.traits & traits::PHRASE == 0 => Next::Callable,
        _ => Next::Phrase,
    }
}

/// An operator of one byte before `at`, or part of a longer one.
fn next_of_sign(value: &[u8], at: usize) -> Next {
    let next = value.get(at).map_or(Role::White, |&byte| ROLES[byte as usize]);
    if matches!(next, Role::White | Role::Word | Role::Number) { Next::Operator } else { Next::Other }
}

/// Whether no fingerprint is made of these kinds, all of them tame, variables or strings.
fn is_tame_mix(seen: u32) -> bool {
    // `1ov`, `fnov`; `os`, `1sv`.
    let beside_variable = set(&[Kind::Number, Kind::Function, Kind::String]);
    let beside_string = set(&[Kind::Operator, Kind::Variable]);
    (seen & Kind::Variable.bit() == 0 || seen & beside_variable == 0)
        && (seen & Kind::String.bit() == 0 || seen & beside_string == 0)
}

/// Where a word ends and which one it is; nothing where it may be more than one token, or
/// the beginning of a string such as `n'…'`.
#[inline]
fn word(value: &[u8], at: usize) -> Option<(usize, words::WordId)> {
    let mut end = at + 1;
    for &byte in &value[end..] {
        let class = class_of(byte) & (IN_WORD | SPLITS_WORD);
        if class != IN_WORD {
            if class == 0 {
                break;
            }
            // A keyword may end at a tick or a dot.
            if byte == b'`' || (end - at < TEXT_MAX && is_keyword(&value[at..end])) {
                return None;
            }
        }
        end += 1;
    }
    let word = &value[at..end];
    if word.len() <= 2 && matches!(value.get(end), Some(b'\'' | b'&')) && may_quote(word) {
        return None;
    }
    Some((end, words::lookup(word)))
}

fn is_keyword(text: &[u8]) -> bool {
    !matches!(words::word(words::lookup(text)).kind, Kind::None | Kind::Bareword)
}

/// Whether a string or a number in quotes may begin with the word: `x'0f'`, `nq'[…]'`,
/// `u&'…'`.
#[cold]
fn may_quote(word: &[u8]) -> bool {
    b"beqnux".contains(&word[0].to_ascii_lowercase())
}

/// Where the number ends that begins here, and whether with its exponent's `e`.
#[inline]
fn number_end(value: &[u8], at: usize) -> (usize, bool) {
    let end = at + 1 + span(&value[at + 1..], DIGIT);
    match value.get(end) {
        Some(b'.' | b'b' | b'B' | b'd'..=b'f' | b'D'..=b'F' | b'x' | b'X') => {
            let (_, end, bare_exponent) = read_number(value, at);
            (end, bare_exponent)
        }
        // A lone dot is here too.
        _ => (end, false),
    }
}

/// Where the variable ends that begins here; nothing where it is quoted.
#[inline(never)]
fn variable_end(value: &[u8], at: usize) -> Option<usize> {
    let name = &value[at + 1..];
    if matches!(name.first(), Some(b'@' | b'`' | b'\'' | b'"')) {
        return None;
    }
    Some(at + 1 + span(name, IN_VARIABLE))
}

#[inline(never)]
fn behind_string(value: &[u8], at: usize) -> usize {
    string_end(value, at + 1, value[at]).map_or(value.len(), |end| end + 1)
}

#[inline(never)]
fn is_one_line(value: &[u8]) -> bool {
    !value.contains(&b'\n')
}

const fn roles() -> [Role; 256] {
    let mut roles = [Role::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        roles[byte] = match byte as u8 {
            0..=32 | 127 | 0xa0 => Role::White,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 128.. => Role::Word,
            b'0'..=b'9' | b'.' => Role::Number,
            b'!' | b'%' | b'*' | b'+' | b'<' | b'=' | b'>' | b'^' | b'~' => Role::Sign,
            b',' => Role::Comma,
            b'?' | b':' => Role::Punctuation,
            b'&' | b'|' | b'-' => Role::Twin,
            b'/' => Role::Slash,
            b'@' => Role::At,
            b'\'' | b'"' => Role::Quote,
            b'#' => Role::Hash,
            _ => Role::Other,
        };
        byte += 1;
    }
    roles
}

#[cfg(test)]
mod tests;
