//! A rule file's text to its directives: logical lines, quoted arguments.

use crate::error::Wrong;

/// One directive with its arguments, unquoted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    /// The first of its lines, from 1.
    pub(crate) line: u32,
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
}

/// A file's directives in order, or what is wrong with one.
pub(crate) fn directives(text: &str) -> Vec<Result<Directive, (u32, Wrong)>> {
    let mut found = Vec::new();
    let mut lines = (1u32..).zip(text.lines());
    while let Some((number, first)) = lines.next() {
        let line = first.trim_start();
        if line.is_empty() || line.starts_with('#') {
            if line.ends_with('\\') {
                let what = "this comment ends in a backslash, which may or may not continue it";
                found.push(Err((number, Wrong::new(what, "end the comment with something else"))));
            }
            continue;
        }
        // A backslash at the end of a line joins the next one to it.
        let mut whole = String::new();
        let mut piece = line;
        loop {
            let Some(joined) = piece.strip_suffix('\\') else {
                whole.push_str(piece);
                break;
            };
            whole.push_str(joined);
            match lines.next() {
                Some((_, next)) => piece = next,
                None => break,
            }
        }
        found.push(directive(number, &whole).map_err(|wrong| (number, wrong)));
    }
    found
}

fn directive(line: u32, text: &str) -> Result<Directive, Wrong> {
    let mut words = words(text)?.into_iter();
    let name = words.next().unwrap_or_default();
    Ok(Directive { line, name, arguments: words.collect() })
}

/// Words between blanks; quotes of either kind hold blanks, and a backslash in
/// them takes the quote literally. Every other backslash stays.
fn words(text: &str) -> Result<Vec<String>, Wrong> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        if !matches!(first, '"' | '\'') {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
            continue;
        }
        let (word, after) = quoted(&rest[1..], first)?;
        if after.chars().next().is_some_and(|c| !c.is_whitespace()) {
            let what = format!("text follows the closing {first} without a blank");
            return Err(Wrong::new(what, "write a quote inside an argument as `\\\"`"));
        }
        found.push(word);
        rest = after.trim_start();
    }
    Ok(found)
}

/// The text up to the closing `quote`, and what follows it.
fn quoted(text: &str, quote: char) -> Result<(String, &str), Wrong> {
    let mut word = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|(_, next)| *next == quote) => {
                word.push(quote);
                chars.next();
            }
            c if c == quote => return Ok((word, &text[at + 1..])),
            c => word.push(c),
        }
    }
    let what = format!("a quote {quote} is opened and not closed");
    Err(Wrong::new(what, "end the line before with a backslash to continue it"))
}

/// Splits at `separator` outside of single quotes, blanks around removed. A
/// backslash keeps the quote after it.
pub(crate) fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut in_quotes, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '\'' if !escaped => in_quotes = !in_quotes,
            c if c == separator && !in_quotes => {
                found.push(text[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
        escaped = false;
    }
    found.push(text[start..].trim());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let cases: &[(&str, Result<&[&str], &str>)] = &[
            ("SecRule ARGS \"@rx a b\"", Ok(&["SecRule", "ARGS", "@rx a b"])),
            (r#"SecRule ARGS "say \"hi\" \d\\""#, Err("not closed")),
            (r#"SecRule ARGS "say \"hi\" \d""#, Ok(&["SecRule", "ARGS", r#"say "hi" \d"#])),
            ("SecRule 'ARGS' x", Ok(&["SecRule", "ARGS", "x"])),
            ("SecRule \"ARGS\"x", Err("without a blank")),
            ("SecRule \"é", Err("not closed")),
            ("", Ok(&[])),
        ];
        for (text, expected) in cases {
            match (words(text), expected) {
                (Ok(words), Ok(expected)) => assert_eq!(words, *expected, "{text}"),
                (Err(wrong), Err(part)) => assert!(wrong.what.contains(part), "{text}: {wrong:?}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn lines_continue_and_count() {
        let text =
            "# a comment\n\n  SecRule ARGS \\\n  \"@rx a\\\nb\" \\\n \"id:1\"\nSecRule B\n# bad \\\nSecX\\";
        let found = directives(text);
        let name = |i: usize| found[i].as_ref().map(|d| (d.line, d.name.as_str(), d.arguments.len())).ok();
        assert_eq!(name(0), Some((3, "SecRule", 3)));
        assert_eq!(found[0].as_ref().unwrap().arguments[1], "@rx ab");
        assert_eq!(name(1), Some((7, "SecRule", 1)));
        assert_eq!(found[2].as_ref().unwrap_err().0, 8);
        assert_eq!(name(3), Some((9, "SecX", 0)));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn splitting_respects_quotes() {
        let cases: &[(&str, &[&str])] = &[
            ("id:1, msg:'a, b' ,deny", &["id:1", "msg:'a, b'", "deny"]),
            (r"msg:'it\'s, ok',t:none", &[r"msg:'it\'s, ok'", "t:none"]),
            ("", &[""]),
            ("a,", &["a", ""]),
        ];
        for (text, expected) in cases {
            assert_eq!(split_outside_quotes(text, ','), *expected, "{text}");
        }
    }
}
