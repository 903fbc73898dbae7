//! The short cuts, held against the full path.

use proptest::prelude::*;

use super::super::fold::fold;
use super::super::lexer::{Dialect, Lexer};
use super::super::{Passes, examine, fingerprints};
use super::*;

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

const LETTERS: &[u8; 27] = b"-kUBEtfn1vso&cA(){}.,:;T?X\\";

fn letters(kinds: u32) -> Vec<u8> {
    (0..27)
        .map(|at| Kind::from_letter(LETTERS[at]))
        .filter(|kind| kind.is_in(kinds))
        .map(|kind| kind.letter().to_ascii_uppercase())
        .collect()
}

#[test]
fn no_fingerprint_is_tame() {
    let kinds = TAME | set(&[Kind::Variable, Kind::String]);
    let tame = letters(kinds);
    for fingerprint in fingerprints::all() {
        if !fingerprint.iter().all(|letter| tame.contains(letter)) {
            continue;
        }
        let has = |letter| fingerprint.contains(&letter);
        let bit = |kind: Kind| {
            let letter = kind.letter().to_ascii_uppercase();
            if has(letter) { kind.bit() } else { 0 }
        };
        let seen = (0..27)
            .map(|at| Kind::from_letter(LETTERS[at]))
            .filter(|kind| kind.is_in(kinds))
            .fold(0, |seen, kind| seen | bit(kind));
        assert!(!is_tame_mix(seen), "{}", fingerprint.escape_ascii());
    }
    for settled in SETTLED {
        assert!(!fingerprints::all().any(|text| text.starts_with(settled)));
    }
    assert!(!fingerprints::all().any(|text| text.len() == 1 && text != b"X"));
}

fn hold(value: &[u8]) {
    let shown = value.escape_ascii();
    if is_single(value) {
        assert_eq!(examine(value, true), None, "{shown}");
    }
    match check(value) {
        Plain::Unknown => {}
        Plain::HarmlessUnquoted => assert_eq!(passes(value).run(true), None, "{shown}"),
        Plain::Harmless => assert_eq!(examine(value, true), None, "{shown}"),
    }
    hold_scan(value, 0, scan(value, 0, 0, Lead::Start));
    for quote in [b'\'', b'"'] {
        if let Some(end) = string_end(value, 0, quote) {
            let read = scan(value, end + 1, Kind::String.bit(), Lead::String);
            hold_scan(value, quote, read);
        }
    }
}

fn passes(value: &[u8]) -> Passes<'_> {
    Passes { value, single: false, double: false, skip_bare_exponent: false, bare_exponent: false }
}

/// What a scan claims of the tokens, whether or not they make an attack.
fn hold_scan(value: &[u8], quote: u8, read: Scan) {
    let shown = value.escape_ascii();
    let dialect = Dialect { mysql: quote == b'"', skip_bare_exponent: false };
    let mut lexer = Lexer::new(value, dialect);
    let open_string = (quote != 0).then(|| lexer.open_string(quote));
    match read {
        Scan::Unknown => {}
        Scan::Tame { .. } => {
            let mut kinds = open_string.map_or(0, |token| token.kind.bit());
            while let Some(token) = lexer.next() {
                kinds |= token.kind.bit();
            }
            let tame = TAME | set(&[Kind::Variable, Kind::String]);
            assert_eq!(kinds & !tame, 0, "{shown}");
            assert!(is_tame_mix(kinds), "{shown}");
        }
        Scan::Settled if Marks::of(value).may_be_evil => {}
        Scan::Settled => {
            let folded = fold(&mut lexer, open_string);
            let letters: Vec<u8> =
                folded.tokens().iter().map(|token| token.kind.letter().to_ascii_uppercase()).collect();
            assert!(SETTLED.iter().any(|start| letters.starts_with(start)), "{shown}");
        }
    }
}

/// No fingerprint begins so.
const SETTLED: &[&[u8]] = &[b"NN", b"FN", b"SN", b"VN", b"1NN"];

/// Pieces of one kind each, and those that change kinds or begin phrases.
const PIECES: &[&str] = &[
    " ", "a", "1", "1e", "user", "is", "not", "in", "left", "@a", "@", "-", "+", "--", "=", ".", ",", ":",
    "::", "?", "int", "group", "by", "(", ")", ";", "'", "\"", "`", "[", "]", "{", "}", "\\", "#", "/*",
    "*/", "||", "or", "null", "$", "x'", "b'1'", "e'", "q'a", "select", "union", "from", "collate", "_x",
    "like", "if", "<", ">", "!", "&", "|", "*", "/", "%", "~", "u", "foo", "bar", "into", "\0", "\u{a0}",
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
