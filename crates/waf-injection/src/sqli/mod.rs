//! SQL injection: the contexts that a value may stand in, and what each verdict leaves out.

mod classes;
mod fingerprints;
mod fold;
mod kind;
mod lexer;
mod plain;
mod words;

use fold::{Folded, fold};
use kind::{Kind, TEXT_MAX, Token};
use lexer::{Dialect, Lexer};
use memchr::memmem;
use plain::Plain;

use crate::bytes::occur;

/// What a value's tokens spell when it is an injection of SQL: up to five letters, one for
/// the kind of each token: `k` keyword, `U` union, `B` group or order, `E` expression
/// (`SELECT`, `CASE`, …), `t` type, `f` function, `n` name, `1` number, `v` variable,
/// `s` string, `o` operator, `&` and/or, `c` comment, `A` collate, `T` T-SQL, `X` what no
/// server reads alike, and parentheses, braces and punctuation as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    bytes: [u8; 5],
    len: u8,
}

impl Fingerprint {
    /// `s&1`, say.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len as usize]).unwrap_or_default()
    }

    fn of(kinds: &[Kind]) -> Fingerprint {
        let mut fingerprint = Fingerprint { bytes: [0; 5], len: 0 };
        for (byte, kind) in fingerprint.bytes.iter_mut().zip(kinds) {
            *byte = kind.letter();
            fingerprint.len += 1;
        }
        fingerprint
    }
}

/// Whether the value, put into a statement of SQL, would change it.
pub fn sqli(value: &[u8]) -> Option<Fingerprint> {
    if plain::is_single(value) {
        return None;
    }
    check(value)
}

#[inline(never)]
fn check(value: &[u8]) -> Option<Fingerprint> {
    let value = &value[..value.len().min(u32::MAX as usize)];
    match plain::check(value) {
        Plain::Harmless => None,
        Plain::HarmlessUnquoted => examine(value, false),
        Plain::Unknown => examine(value, true),
    }
}

/// Every context in turn; `unquoted` may be left out where it is known to be harmless.
fn examine(value: &[u8], unquoted: bool) -> Option<Fingerprint> {
    let [single, double] = occur(value, *b"'\"");
    let mut passes = Passes { value, single, double, skip_bare_exponent: false, bare_exponent: false };
    let found = passes.run(unquoted);
    if found.is_some() || !passes.bare_exponent {
        return found;
    }
    // libinjection 3.9.2 ends here; later versions read `1.e(` as MySQL does.
    passes.skip_bare_exponent = true;
    passes.run(true)
}

struct Passes<'a> {
    value: &'a [u8],
    single: bool,
    double: bool,
    skip_bare_exponent: bool,
    /// Whether any pass met a number that ends at its exponent's `e`.
    bare_exponent: bool,
}

impl Passes<'_> {
    fn run(&mut self, unquoted: bool) -> Option<Fingerprint> {
        let mut found = None;
        if unquoted {
            found = self.both_dialects(0);
        }
        if found.is_none() && self.single {
            found = self.both_dialects(b'\'');
        }
        // Only MySQL's strings stand in double quotes.
        if found.is_none() && self.double {
            found = self.pass(b'"', true).0;
        }
        found
    }

    fn both_dialects(&mut self, quote: u8) -> Option<Fingerprint> {
        let (found, reads_otherwise) = self.pass(quote, false);
        if found.is_none() && reads_otherwise {
            return self.pass(quote, true).0;
        }
        found
    }

    /// One context (`quote` 0 for none) and dialect; and whether MySQL's may read otherwise.
    fn pass(&mut self, quote: u8, mysql: bool) -> (Option<Fingerprint>, bool) {
        let dialect = Dialect { mysql, skip_bare_exponent: self.skip_bare_exponent };
        let mut lexer = Lexer::new(self.value, dialect);
        let open_string = (quote != 0).then(|| lexer.open_string(quote));
        let folded = fold(&mut lexer, open_string);
        self.bare_exponent |= lexer.bare_exponent;
        (verdict(self.value, &folded, &lexer), lexer.reads_otherwise)
    }
}

fn verdict(value: &[u8], folded: &Folded, lexer: &Lexer<'_>) -> Option<Fingerprint> {
    let tokens = folded.tokens();
    let mut kinds = [Kind::None; fold::MAX];
    for (kind, token) in kinds.iter_mut().zip(tokens) {
        *kind = token.kind;
    }
    let mut kinds = &kinds[..tokens.len()];
    if kinds.contains(&Kind::Evil) {
        kinds = &[Kind::Evil];
    }
    if !fingerprints::contains(kinds) || is_excused(value, tokens, kinds, lexer.made) {
        return None;
    }
    Some(Fingerprint::of(kinds))
}

/// Whether tokens with an attack's fingerprint are more likely none: `1 union`, `a -- b`,
/// `sexy and 17`. `made` counts the tokens before folding.
fn is_excused(value: &[u8], tokens: &[Token], kinds: &[Kind], made: u32) -> bool {
    // SQL Server leaves out of its log what a comment with this word ends.
    let hides = kinds.len() > 1
        && kinds.last() == Some(&Kind::Comment)
        && memmem::find(value, b"sp_password").is_some();
    if hides {
        return false;
    }
    match (kinds, tokens) {
        ([_, Kind::Union], _) => made == 2,
        ([first, _], [number, second]) => {
            let comment = value.get(second.start as usize).copied().unwrap_or(0);
            is_excused_comment(value, *first, number, second, comment, made)
        }
        ([Kind::String, Kind::Operator | Kind::Logic, Kind::String], [first, _, last]) => {
            // `…foo' + 'bar…`: both strings go on beyond the value.
            let joins = first.open == 0 && last.close == 0 && first.close == last.open;
            !joins
        }
        ([Kind::String, Kind::Logic, Kind::Bareword], _)
        | ([Kind::Bareword, Kind::Logic, Kind::Number], _)
        | ([Kind::Number, Kind::Logic, Kind::Number | Kind::Variable | Kind::String], _) => made == 3,
        ([_, Kind::Keyword, _], [_, keyword, _]) => {
            // Only `INTO OUTFILE` and `INTO DUMPFILE` of MySQL count.
            let phrase = words::word(keyword.word).bytes();
            keyword.len < 5 || !phrase.starts_with(b"INTO")
        }
        _ => false,
    }
}

/// Two tokens, the second a comment that begins with the byte `comment`.
fn is_excused_comment(
    value: &[u8],
    first: Kind,
    number: &Token,
    second: &Token,
    comment: u8,
    made: u32,
) -> bool {
    if comment == b'#' {
        return true;
    }
    match first {
        Kind::Bareword => comment != b'/',
        Kind::Number if comment == b'/' || made > 2 => false,
        Kind::Number => {
            // `1234-ABCDEF--` is no attack, `1234 --` and `1234--` are.
            let at = (number.len as usize).min(TEXT_MAX);
            let rest = value.get(at..).unwrap_or_default();
            let follows = match rest.first() {
                // Signed, as in libinjection: beyond ASCII counts as white.
                None | Some(0..=32 | 128..) => true,
                _ => rest.starts_with(b"/*") || rest.starts_with(b"--"),
            };
            !follows
        }
        _ => second.len > 2 && comment == b'-',
    }
}
