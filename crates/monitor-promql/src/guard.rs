//! What a text must keep to before the parser sees it.
//!
//! `promql-parser` 0.11 builds its tree without a limit on depth, and turns some
//! numbers into durations that it cannot hold, which panics. Both are refused
//! here, on the text, so that a hostile query gets an error.

use crate::Error;

/// Bytes of a query's text. Grafana's largest generated queries are around 20 kB.
const MAX_BYTES: usize = 65_536;
/// Operators in a query, and brackets inside one another: the depth of the tree
/// is at most the sum, and walking it must fit a thread's stack of 2 MiB.
const MAX_OPERATORS: usize = 400;
const MAX_NESTING: usize = 100;
/// The longest duration, in seconds: 1,000 years.
const MAX_SECONDS: f64 = 31_536_000_000.0;

/// Refuses what the parser must not see.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::Limit(format!(
            "the query has {} bytes; at most {MAX_BYTES} are read",
            text.len()
        )));
    }
    let (mut nesting, mut operators) = (0usize, 0usize);
    // Whether the next number is a duration: in `[ ]` and after `offset`.
    let (mut in_range, mut after_offset) = (false, false);
    for token in Tokens(text) {
        match token {
            Token::Open(bracket) => {
                nesting += 1;
                in_range |= bracket == '[';
                after_offset = false;
            }
            Token::Close(bracket) => {
                nesting = nesting.saturating_sub(1);
                in_range &= bracket != ']';
                after_offset = false;
            }
            // A sign may stand between `offset` and its number.
            Token::Operator => operators += 1,
            Token::Word(word) => {
                let number = word.parse::<f64>().or_else(|_| number_with_prefix(word));
                if (in_range || after_offset) && number.is_ok_and(|n| !(0.0..=MAX_SECONDS).contains(&n)) {
                    return Err(Error::Parse(format!("`{word}` is not a duration in seconds")));
                }
                let lower = word.to_ascii_lowercase();
                operators += usize::from(matches!(lower.as_str(), "and" | "or" | "unless" | "atan2"));
                after_offset = lower == "offset";
            }
        }
        if nesting > MAX_NESTING || operators > MAX_OPERATORS {
            return Err(Error::Limit(format!(
                "the query is too large: at most {MAX_NESTING} brackets inside one another and {MAX_OPERATORS} operators are read"
            )));
        }
    }
    Ok(())
}

/// Hexadecimal and octal numbers are at most 2⁶³, too long for a duration all the same.
fn number_with_prefix(word: &str) -> Result<f64, std::num::ParseIntError> {
    let digits = word.to_ascii_lowercase();
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).map(|n| n as f64),
        None => u64::from_str_radix(&digits, 8).map(|n| n as f64),
    }
}

enum Token<'a> {
    Open(char),
    Close(char),
    Operator,
    /// A name, keyword, number or duration.
    Word(&'a str),
}

/// The parts of a query that matter here; strings, comments and blanks are passed over.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let first = self.0.chars().next()?;
            let rest = &self.0[first.len_utf8()..];
            match first {
                '#' => self.0 = rest.find(['\r', '\n']).map_or("", |at| &rest[at..]),
                '"' | '\'' | '`' => self.0 = after_string(rest, first),
                '(' | '[' | '{' => {
                    self.0 = rest;
                    return Some(Token::Open(first));
                }
                ')' | ']' | '}' => {
                    self.0 = rest;
                    return Some(Token::Close(first));
                }
                '+' | '-' | '*' | '/' | '%' | '^' | '<' | '>' | '=' | '!' => {
                    self.0 = rest.strip_prefix(['=', '~']).unwrap_or(rest);
                    return Some(Token::Operator);
                }
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') => {
                    let word = self.0;
                    let length = word_length(word);
                    self.0 = &word[length..];
                    return Some(Token::Word(&word[..length]));
                }
                _ => self.0 = rest,
            }
        }
    }
}

/// The length of the name or number at the start; a number's exponent may have a sign.
fn word_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let hex = text.len() > 1 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
    let number = bytes[0].is_ascii_digit() || bytes[0] == b'.';
    let mut at = 1;
    while at < bytes.len() {
        let exponent_sign =
            number && !hex && matches!(bytes[at], b'+' | b'-') && bytes[at - 1].eq_ignore_ascii_case(&b'e');
        if !(bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'_' | b'.') || exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

/// The text after a string that began with `quote`.
fn after_string(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_refused() {
        let refused = [
            "x[1e300]".to_owned(),
            "x offset 1e300".into(),
            "x offset - 1e300".into(),
            "x offset Inf".into(),
            "x offset #\n nan".into(),
            "x[5m:1e18]".into(),
            "x[0xffffffffffffff]".into(),
            "(".repeat(101),
            "1".to_owned() + &"+1".repeat(401),
            "-".repeat(500) + "1",
            "x".repeat(70_000),
        ];
        for text in refused {
            assert!(check(&text).is_err(), "{}", &text[..text.len().min(40)]);
        }
        let fine = [
            "sum by (a) (rate(x{a=\"[1e300]\"}[5m])) > 1e300",
            "x offset 5m > 1e300",
            "x[90]",
            "x # offset 1e300",
            "a-b",
            "x @ 1e12",
        ];
        for text in fine {
            assert!(check(text).is_ok(), "{text}");
        }
    }
}
