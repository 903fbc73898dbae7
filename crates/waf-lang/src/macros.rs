//! Texts with `%{…}` in them.

use std::sync::Arc;

use memchr::{memchr, memmem};

use crate::error::{Wrong, shown};
use crate::model::{Macro, Part, Variable};
use crate::target::{rule_member, variable};

/// A text with its macros. `%{` without `}`, or with what cannot be a name behind
/// it, is text, as it is to libmodsecurity; expressions have `%{2}`.
pub(crate) fn parse(text: &[u8]) -> Result<Macro, Wrong> {
    let mut parts = Vec::new();
    // Where the text begins that is not yet in `parts`.
    let mut from = 0;
    let mut at = 0;
    // Where the last `}` was found: looked for once, however many `%{` stand before it.
    let mut closed = 0;
    while let Some(open) = memmem::find(&text[at..], b"%{").map(|n| at + n) {
        let inner = open + 2;
        if closed < inner {
            let Some(close) = memchr(b'}', &text[inner..]) else { break };
            closed = inner + close;
        }
        let close = closed;
        if !text[inner].is_ascii_alphabetic() {
            at = inner;
            continue;
        }
        if from < open {
            parts.push(Part::Text(text[from..open].into()));
        }
        parts.push(part(&text[inner..close])?);
        at = close + 1;
        // v2's manual wrote `%{x}%` in places, and v3 reads that as the same.
        if text.get(at) == Some(&b'%') && text.get(at + 1) != Some(&b'{') {
            at += 1;
        }
        from = at;
    }
    if from < text.len() {
        parts.push(Part::Text(text[from..].into()));
    }
    Ok(Macro(parts))
}

/// What stands between `%{` and `}`: `NAME`, `NAME.member`, `NAME:member`.
fn part(text: &[u8]) -> Result<Part, Wrong> {
    let end = text.iter().position(|b| matches!(b, b'.' | b':')).unwrap_or(text.len());
    let variable = variable(&text[..end])
        .map_err(|wrong| Wrong { what: format!("in `%{{{}}}`: {}", shown(text), wrong.what), ..wrong })?;
    let member = text.get(end + 1..).map(|member| {
        member.strip_prefix(b"'").and_then(|member| member.strip_suffix(b"'")).unwrap_or(member)
    });
    match member {
        Some(_) if !variable.is_collection() => Err(Wrong::new(
            format!("in `%{{{}}}`: `{}` has no members", shown(text), variable.name()),
            format!("write `%{{{}}}`", variable.name()),
        )),
        Some([]) => Err(Wrong::new(
            format!("in `%{{{}}}`: a member's name is missing", shown(text)),
            "name the member after the dot",
        )),
        None if variable == Variable::Rule => Err(Wrong::new(
            "in `%{RULE}`: a member's name is missing",
            "write `%{RULE.id}`, `%{RULE.msg}` and the like",
        )),
        Some(member) if variable == Variable::Rule => {
            rule_member(member)?;
            Ok(Part::Variable(variable, Some(Arc::from(member))))
        }
        member => Ok(Part::Variable(variable, member.map(Arc::from))),
    }
}

impl Macro {
    /// The whole text, where it has no macros.
    pub fn as_text(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its text as it would be written, for reports and comparisons.
    pub fn written(&self) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(&String::from_utf8_lossy(text)),
                Part::Variable(variable, None) => {
                    out.extend(["%{", variable.name(), "}"]);
                }
                Part::Variable(variable, Some(member)) => {
                    out.extend(["%{", variable.name(), ".", &String::from_utf8_lossy(member), "}"]);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros() {
        for (text, parts, written) in [
            ("", 0, ""),
            ("plain", 1, "plain"),
            ("%{tx.0}%b", 2, "%{TX.0}b"),
            ("%{tx.0}%{tx.1}", 2, "%{TX.0}%{TX.1}"),
            ("%{tx.0}", 1, "%{TX.0}"),
            ("a %{REQUEST_HEADERS:Accept}% b", 3, "a %{REQUEST_HEADERS.Accept} b"),
            ("%{MATCHED_VAR}%{matched_var_name}", 2, "%{MATCHED_VAR}%{MATCHED_VAR_NAME}"),
            ("%{ENV.x}=%{time_epoch}", 3, "%{ENV.x}=%{TIME_EPOCH}"),
            ("%{rule.id}", 1, "%{RULE.id}"),
            ("%{TX:/a.b/}", 1, "%{TX./a.b/}"),
            ("open %{tx.x", 1, "open %{tx.x"),
            ("%{2}%{}", 1, "%{2}%{}"),
            ("%{2}%{tx.a}", 2, "%{2}%{TX.a}"),
            ("100%", 1, "100%"),
        ] {
            let found = parse(text.as_bytes()).unwrap();
            assert_eq!((found.0.len(), found.written().as_str()), (parts, written), "{text}");
        }
        for (text, expected) in [
            ("%{txx.a}", "in `%{txx.a}`: unknown variable `txx`"),
            ("%{matched_var.x}", "in `%{matched_var.x}`: `MATCHED_VAR` has no members"),
            ("%{tx.}", "in `%{tx.}`: a member's name is missing"),
            ("%{rule}", "in `%{RULE}`: a member's name is missing"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().what, expected, "{text}");
        }
    }
}
