//! The templates in a body: `{{ "1" | repeat 152 }}`.
//!
//! go-ftw runs bodies through Go's `text/template` with sprig's functions. The
//! Core Rule Set uses it for text that would be too long to write: a literal, and
//! `repeat`. Anything else is an error rather than a body nobody meant.

/// No case needs more; a repeat of a repeat stays within memory.
const MAX_LENGTH: usize = 16 << 20;

/// The body with its templates replaced.
pub(crate) fn expand(text: &str) -> Result<Vec<u8>, String> {
    let mut body = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let (before, behind) = rest.split_at(at);
        let end = behind.find("}}").ok_or("`{{` without `}}`")?;
        let action = &behind[2..end];
        rest = &behind[end + 2..];
        // A dash takes the blanks beside it away (text/template, "Text and spaces").
        let (trim_before, action) = strip(action.strip_prefix("- "), action);
        let (trim_behind, action) = strip(action.strip_suffix(" -"), action);
        body.push_str(if trim_before { before.trim_end() } else { before });
        body.push_str(&evaluate(action)?);
        if trim_behind {
            rest = rest.trim_start();
        }
        if body.len() > MAX_LENGTH {
            return Err(format!("the template gives more than `{MAX_LENGTH}` bytes"));
        }
    }
    body.push_str(rest);
    Ok(body.into_bytes())
}

fn strip<'a>(stripped: Option<&'a str>, action: &'a str) -> (bool, &'a str) {
    (stripped.is_some(), stripped.unwrap_or(action))
}

/// `"text"`, `repeat 3 "text"`, or either followed by `| repeat 3`.
fn evaluate(action: &str) -> Result<String, String> {
    let unknown = || format!("the template `{{{{{action}}}}}` is not known; hint: `\"text\" | repeat 3` is");
    let (mut text, mut rest) = match action.trim().strip_prefix("repeat ") {
        None => literal(action.trim()).ok_or_else(unknown)?,
        Some(rest) => {
            let (count, rest) = rest.trim_start().split_once(' ').ok_or_else(unknown)?;
            let (text, rest) = literal(rest.trim_start()).ok_or_else(unknown)?;
            (repeat(&text, count).ok_or_else(unknown)?, rest)
        }
    };
    while let Some(next) = rest.trim_start().strip_prefix('|') {
        let next = next.trim_start().strip_prefix("repeat ").ok_or_else(unknown)?.trim_start();
        let end = next.find(|c: char| !c.is_ascii_digit()).unwrap_or(next.len());
        text = repeat(&text, &next[..end]).ok_or_else(unknown)?;
        rest = &next[end..];
    }
    if rest.trim().is_empty() { Ok(text) } else { Err(unknown()) }
}

fn repeat(text: &str, count: &str) -> Option<String> {
    let count: usize = count.parse().ok()?;
    (text.len().checked_mul(count)? <= MAX_LENGTH).then(|| text.repeat(count))
}

/// A Go string at the front, with its escapes of one letter; and what follows.
fn literal(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, rest) = raw.split_once('`')?;
        return Some((value.to_owned(), rest));
    }
    let mut chars = text.strip_prefix('"')?.char_indices();
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 2..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (text, expected) in [
            ("a=b", Some("a=b")),
            ("a{{ \"1\" | repeat 3 }}b", Some("a111b")),
            ("{{\"x\\n\"}}{{ repeat 2 \"ab\" }}", Some("x\nabab")),
            ("a {{- `q` -}} b", Some("aqb")),
            ("{{ \"a\" | repeat 2 | repeat 2 }}", Some("aaaa")),
            ("{{7*7}}", None),
            ("{{ \"a\" | upper }}", None),
            ("{{ \"a\" | repeat 99999999999 }}", None),
            ("{{", None),
        ] {
            assert_eq!(expand(text).ok().as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
