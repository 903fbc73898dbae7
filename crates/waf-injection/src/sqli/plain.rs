//! Values that are no attack, told from their first look: names, numbers, dates, addresses,
//! prose. Most values are such; what is not told here is examined in full.
//!
//! Why it is sound. Folding drops tokens, and changes a kind only for a phrase, a type, a
//! backslash, a brace, a parenthesis or a semicolon. Where none of these occur the fingerprint
//! has the tokens' own kinds alone, and no fingerprint of an attack is made of [`TAME`] kinds
//! only. Tests hold both the claim about fingerprints and the whole against [`super::examine`].

use memchr::memchr2;

use super::fold::MAX;
use super::kind::{Kind, set, traits};
use super::lexer::{Dialect, Lexer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// In every context.
    Harmless,
    /// Where no quotes stand around it; quotes stand within it.
    HarmlessUnquoted,
    Unknown,
}

/// No fingerprint is made of these alone.
const TAME: u32 = set(&[
    Kind::Bareword,
    Kind::Number,
    Kind::Operator,
    Kind::Function,
    Kind::Comma,
    Kind::Dot,
    Kind::Colon,
    Kind::Unknown,
]);

/// Tokens to read before giving up: a full examination of a long text most often ends sooner.
const TOKENS_MAX: u32 = 24;

/// Reads the value's tokens until one is beyond [`TAME`].
pub(super) fn check(value: &[u8]) -> Plain {
    let mut lexer = Lexer::new(value, Dialect::default());
    let mut seen = 0;
    let mut names = 0;
    while let Some(token) = lexer.next() {
        let end = lexer.pos();
        // Of the tame, names (by a tick, by a bracket) and numbers (`x'0f'`) may hold quotes,
        // which other contexts would see.
        let bracket = value.get(token.start as usize) == Some(&b'[');
        let quoted = token.open != 0 || bracket || value[end - 1] == b'\'';
        if quoted || lexer.reads_otherwise || lexer.bare_exponent {
            return Plain::Unknown;
        }
        let alone = lexer.made == 1 && end == value.len();
        if alone && !token.kind.is_in(set(&[Kind::Evil, Kind::Comment])) {
            // A single token is no attack, whatever else it is.
            return Plain::Harmless;
        }
        if token.traits & traits::RISKY != 0
            || !token.kind.is_in(TAME | Kind::Variable.bit())
            || lexer.made > TOKENS_MAX
        {
            return Plain::Unknown;
        }
        seen |= token.kind.bit();
        if token.kind == Kind::Bareword && token.traits & traits::PHRASE == 0 {
            names += 1;
            if names == MAX && lexer.made as usize == MAX {
                // Names never fold with names: `nnnnn`, whatever follows.
                return match memchr2(b'\'', b'"', &value[end..]) {
                    Some(_) => Plain::HarmlessUnquoted,
                    None => Plain::Harmless,
                };
            }
        }
    }
    if seen & Kind::Variable.bit() != 0 {
        // With numbers there are `1ov` and `n1ovo`, with functions many.
        let tame = seen & set(&[Kind::Number, Kind::Function]) == 0;
        return if tame { Plain::Harmless } else { Plain::Unknown };
    }
    Plain::Harmless
}

#[cfg(test)]
mod tests {
    use super::super::{examine, fingerprints};
    use super::*;
    use proptest::prelude::*;

    fn letters(kinds: u32) -> Vec<u8> {
        (0..27)
            .map(|at| Kind::from_letter(b"-kUBEtfn1vso&cA(){}.,:;T?X\\"[at]))
            .filter(|kind| kind.is_in(kinds))
            .map(|kind| kind.letter().to_ascii_uppercase())
            .collect()
    }

    #[test]
    fn no_fingerprint_is_tame() {
        let tame = letters(TAME);
        for fingerprint in fingerprints::all() {
            assert!(!fingerprint.iter().all(|letter| tame.contains(letter)));
        }
        let beside_variables = TAME & !set(&[Kind::Number, Kind::Function]);
        let tame = letters(beside_variables | Kind::Variable.bit());
        for fingerprint in fingerprints::all() {
            assert!(!fingerprint.iter().all(|letter| tame.contains(letter)));
        }
        assert!(!fingerprints::contains(&[Kind::Bareword; 5]));
        assert!(!fingerprints::all().any(|text| text.len() == 1 && text != b"X"));
    }

    fn hold(value: &[u8]) {
        let found = match check(value) {
            Plain::Unknown => return,
            Plain::HarmlessUnquoted => super::super::Passes {
                value,
                single: false,
                double: false,
                skip_bare_exponent: false,
                bare_exponent: false,
            }
            .run(true),
            Plain::Harmless => examine(value, true),
        };
        assert_eq!(found, None, "{}", value.escape_ascii());
    }

    /// Pieces of one kind each, and those that change kinds or begin phrases.
    const PIECES: &[&str] = &[
        " ", "a", "1", "1e", "user", "is", "not", "in", "left", "@a", "@", "-", "+", "--", "=", ".", ",",
        ":", "::", "?", "int", "group", "by", "(", ")", ";", "'", "\"", "`", "[", "]", "{", "}", "\\", "#",
        "/*", "*/", "||", "or", "null", "$", "x'", "b'1'", "e'", "q'a", "select", "union", "from", "collate",
        "_x", "like", "if", "into", "\0", "\u{a0}",
    ];

    #[test]
    fn every_short_value_of_pieces() {
        for a in PIECES {
            for b in PIECES {
                for c in PIECES {
                    hold([*a, b, c].concat().as_bytes());
                    hold([*a, " ", b, " ", c].concat().as_bytes());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn values_of_pieces(pieces in proptest::collection::vec(0..PIECES.len(), 0..12)) {
            let value: String = pieces.iter().map(|&at| PIECES[at]).collect();
            hold(value.as_bytes());
        }

        #[test]
        fn values_of_bytes(value in proptest::collection::vec(any::<u8>(), 0..24)) {
            hold(&value);
        }
    }
}
