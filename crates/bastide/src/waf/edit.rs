//! Exclusions, written into the site's file: its own words, comments and order stay
//! as they are, and what the edit would break is refused before anything is written.

use super::findings::Exclusion;
use super::trial::NoSite;
use crate::terminal::{Style, Terminal};
use control::book::Book;
use control::compile::{self, Facts};
use control::inputs::Inputs;
use role::Fault;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Value};

/// A line of the file is not made longer than this by adding to it.
const LONGEST_LINE: usize = 100;
/// Lines shown around a change.
const CONTEXT: usize = 3;

/// A file before and after.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) before: String,
    pub(crate) after: String,
    /// What was really added.
    pub(crate) added: Vec<Exclusion>,
}

/// The exclusions that a file has; those that do not parse are for `check` to tell.
pub(crate) fn existing(text: &str) -> Vec<Exclusion> {
    let Ok(document) = text.parse::<DocumentMut>() else { return Vec::new() };
    let list = document.get("waf").and_then(|waf| waf.get("exclude")).and_then(Item::as_array);
    let one = |value: &Value| {
        let table = value.as_inline_table()?;
        let text = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        let rule = table.get("rule").and_then(Value::as_integer)?;
        Some(Exclusion { rule: u64::try_from(rule).ok()?, path: text("path"), arg: text("arg") })
    };
    list.into_iter().flatten().filter_map(one).collect()
}

/// The file with more exclusions. What one of them or of the file covers is left out.
pub(crate) fn add(text: &str, wanted: &[Exclusion]) -> Result<Edit, Fault> {
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| {
        Fault::new(format!("the file is not TOML: {}", e.message())).hint("`bastide check` says where")
    })?;
    let mut known = existing(text);
    let mut added = Vec::new();
    for one in wanted {
        if !known.iter().any(|k| k.covers(one)) {
            known.push(one.clone());
            added.push(one.clone());
        }
    }
    if !added.is_empty() {
        let waf = document.get_mut("waf").ok_or_else(|| {
            Fault::new("the file has no `[waf]`").hint("`bastide explain waf` says what it is")
        })?;
        let waf = waf.as_table_like_mut().ok_or_else(|| Fault::new("`waf` of the file is not a table"))?;
        if waf.get("exclude").is_none() {
            waf.insert("exclude", toml_edit::value(Array::new()));
        }
        let array = waf.get_mut("exclude").and_then(Item::as_array_mut);
        let array = array.ok_or_else(|| Fault::new("`exclude` of `[waf]` is not a list"))?;
        extend(array, &added);
    }
    Ok(Edit { before: text.to_owned(), after: document.to_string(), added })
}

/// Adds to a list in the way it is written: on one line while it fits, else one entry
/// a line. What stands between its last entry and `]` keeps its place.
fn extend(array: &mut Array, added: &[Exclusion]) {
    let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
    let had_comma = array.trailing_comma();
    let last = array.len().checked_sub(1);
    // A comment behind the last entry belongs to it.
    let suffix = last.and_then(|at| array.get(at)).and_then(|v| v.decor().suffix()).and_then(|s| s.as_str());
    let gap = match last {
        Some(_) if !had_comma => suffix.unwrap_or_default().to_owned(),
        _ => trailing,
    };
    let shown = array.to_string();
    let lines = shown.contains('\n')
        || shown.len() + added.iter().map(|a| a.toml().len() + 2).sum::<usize>()
            > LONGEST_LINE - "exclude = ".len();
    let indent = last
        .and_then(|at| array.get(at))
        .and_then(|v| v.decor().prefix()?.as_str())
        .and_then(|prefix| prefix.rsplit_once('\n').map(|(_, indent)| indent.to_owned()))
        .unwrap_or_else(|| "    ".to_owned());
    if let Some(at) = last {
        if let Some(value) = array.get_mut(at)
            && !had_comma
        {
            value.decor_mut().set_suffix("");
        }
        // An only line becomes one entry a line.
        if lines && !shown.contains('\n') {
            for value in array.iter_mut() {
                value.decor_mut().set_prefix(format!("\n{indent}"));
                value.decor_mut().set_suffix("");
            }
        }
    }
    for (i, one) in added.iter().enumerate() {
        let mut value = Value::InlineTable(table(one));
        let kept = if i == 0 { gap.trim_end() } else { "" };
        let prefix = match (lines, i == 0 && last.is_none()) {
            (true, _) => format!("{kept}\n{indent}"),
            (false, true) => kept.to_owned(),
            (false, false) => format!("{kept} "),
        };
        value.decor_mut().set_prefix(prefix);
        array.push_formatted(value);
    }
    array.set_trailing_comma(lines);
    array.set_trailing(if lines { "\n" } else { "" });
}

fn table(exclusion: &Exclusion) -> InlineTable {
    let mut table = InlineTable::new();
    table.insert("rule", i64::try_from(exclusion.rule).unwrap_or(i64::MAX).into());
    if let Some(path) = &exclusion.path {
        table.insert("path", path.as_str().into());
    }
    if let Some(arg) = &exclusion.arg {
        table.insert("arg", arg.as_str().into());
    }
    table
}

/// Whether the file still checks with what was added; what is odd about that.
pub(crate) fn check(file: &Path, edit: &Edit) -> Result<Vec<String>, NoSite> {
    let mut inputs =
        Inputs::read(file).map_err(|e| Fault::new(format!("cannot read `{}`: {e}", file.display())))?;
    inputs.text.clone_from(&edit.after);
    let program = std::env::current_exe().unwrap_or_default();
    let facts =
        Facts { paths: None, program: &program, running: &HashSet::new(), now_ms: sys::clock::now_ms() };
    let compiled = compile::compile(&inputs, &mut Book::blank(), &facts).map_err(NoSite::Wrong)?;
    let of_added =
        |message: &str| edit.added.iter().any(|one| message.contains(&format!("id `{}`", one.rule)));
    Ok(compiled.warnings.into_iter().map(|w| w.message).filter(|message| of_added(message)).collect())
}

/// Writes the file, whole, unless somebody changed it meanwhile.
pub(crate) fn write(file: &Path, edit: &Edit) -> Result<(), Fault> {
    let cannot = |e: std::io::Error| {
        let fault = Fault::new(format!("cannot write `{}`: {e}", file.display()));
        match e.kind() {
            std::io::ErrorKind::PermissionDenied => fault.hint("run it as the user who may edit the file"),
            _ => fault,
        }
    };
    // Behind a link, the file itself is replaced and the link stays.
    let real = std::fs::canonicalize(file).map_err(cannot)?;
    if std::fs::read_to_string(&real).map_err(cannot)? != edit.before {
        return Err(
            Fault::new(format!("`{}` was changed meanwhile", file.display())).hint("run the command again")
        );
    }
    let mode = std::fs::metadata(&real).map_err(cannot)?.permissions().mode() & 0o7777;
    sys::file::write_atomic(&real, edit.after.as_bytes(), mode).map_err(cannot)
}

/// The change as `diff -u` writes it. An edit of one list is one hunk.
pub(crate) fn diff(name: &str, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let left = old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(a, b)| a == b).count();
    if same == old.len() && same == new.len() {
        return String::new();
    }
    let (old_end, new_end) = (old.len() - left, new.len() - left);
    let (from, to) = (same.saturating_sub(CONTEXT), (old_end + CONTEXT).min(old.len()));
    let span = |begin: usize, count: usize| match count {
        0 => format!("{begin},0"),
        1 => format!("{}", begin + 1),
        _ => format!("{},{count}", begin + 1),
    };
    let new_count = to - from + (new_end - same) - (old_end - same);
    let mut out =
        format!("--- {name}\n+++ {name}\n@@ -{} +{} @@\n", span(from, to - from), span(from, new_count));
    let mut lines = |sign: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(out, "{sign}{line}");
        }
    };
    lines(' ', &old[from..same]);
    lines('-', &old[same..old_end]);
    lines('+', &new[same..new_end]);
    lines(' ', &old[old_end..to]);
    out
}

/// A diff, coloured where colours are wanted.
pub(crate) fn print(diff: &str, terminal: &Terminal) {
    for line in diff.lines() {
        let line = crate::terminal::escape(line);
        terminal.line(match line.as_bytes().first() {
            Some(b'+') => terminal.paint(Style::Good, line),
            Some(b'-') => terminal.paint(Style::Bad, line),
            Some(b'@') => terminal.paint(Style::Dim, line),
            _ => line,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rule: u64, path: &str, arg: &str) -> Exclusion {
        Exclusion { rule, path: Some(path.into()), arg: (!arg.is_empty()).then(|| arg.into()) }
    }

    fn after(list: &str, added: &[Exclusion]) -> String {
        let text = format!("# mine\n[waf]\nmode = \"block\"  # since May\n{list}\n[site]\n");
        let edit = add(&text, added).unwrap();
        let rest = edit.after.strip_prefix("# mine\n[waf]\nmode = \"block\"  # since May\n").unwrap();
        assert!(edit.after.parse::<DocumentMut>().is_ok(), "{}", edit.after);
        assert_eq!(existing(&edit.after).len(), existing(&text).len() + edit.added.len(), "{}", edit.after);
        rest.strip_suffix("[site]\n").unwrap().trim_end().to_owned()
    }

    #[test]
    fn entries_are_added_in_the_way_the_list_is_written() {
        let new = [one(7, "/s", "q")];
        let entry = "{ rule = 7, path = \"/s\", arg = \"q\" }";
        let cases = [
            ("", format!("exclude = [{entry}]")),
            ("exclude = []", format!("exclude = [{entry}]")),
            ("exclude = [{ rule = 1 }]  # ours", format!("exclude = [{{ rule = 1 }}, {entry}]  # ours")),
            (
                "exclude = [\n  # search\n  { rule = 1 },  # one\n  { rule=2 }   # two\n]",
                format!(
                    "exclude = [\n  # search\n  {{ rule = 1 }},  # one\n  {{ rule=2 }},   # two\n  {entry},\n]"
                ),
            ),
            (
                "exclude = [\n\t{ rule = 1 }, # one\n\t# the end\n]",
                format!("exclude = [\n\t{{ rule = 1 }}, # one\n\t# the end\n\t{entry},\n]"),
            ),
            ("exclude = [\n]", format!("exclude = [\n    {entry},\n]")),
            (
                "exclude = [{ rule = 1, path = \"/a/rather/long/path\", arg = \"argument\" }]",
                format!(
                    "exclude = [\n    {{ rule = 1, path = \"/a/rather/long/path\", arg = \"argument\" }},\n    {entry},\n]"
                ),
            ),
        ];
        for (list, expected) in cases {
            assert_eq!(after(list, &new), expected);
        }
        assert_eq!(
            after("", &[one(1, "/a", ""), one(2, "/b", "")]),
            "exclude = [{ rule = 1, path = \"/a\" }, { rule = 2, path = \"/b\" }]"
        );
    }

    #[test]
    fn what_is_there_is_not_added_again() {
        let text = "[waf]\nexclude = [{ rule = 7, path = \"/s*\" }]\n";
        let edit = add(text, &[one(7, "/search", "q"), one(8, "/x", ""), one(8, "/x", "a")]).unwrap();
        assert_eq!(edit.added, [one(8, "/x", "")]);
        assert_eq!(add(text, &[one(7, "/search", "q")]).unwrap().after, text);
        for wrong in ["[site]\n", "[waf]\nexclude = 1\n", "waf = 1\n", "not toml"] {
            assert!(add(wrong, &[one(1, "/", "")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn differences_are_told_as_diff_does() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let cases = [
            (before.to_owned(), String::new()),
            (
                before.replace("5\n", "5\nnew\n"),
                "--- f\n+++ f\n@@ -3,6 +3,7 @@\n 3\n 4\n 5\n+new\n 6\n 7\n 8\n".to_owned(),
            ),
            (
                before.replace("5\n", "x\ny\n"),
                "--- f\n+++ f\n@@ -2,7 +2,8 @@\n 2\n 3\n 4\n-5\n+x\n+y\n 6\n 7\n 8\n".to_owned(),
            ),
            (
                before.replace("1\n2\n", "1\n"),
                "--- f\n+++ f\n@@ -1,5 +1,4 @@\n 1\n-2\n 3\n 4\n 5\n".to_owned(),
            ),
        ];
        for (after, expected) in cases {
            assert_eq!(diff("f", before, &after), expected);
        }
    }
}
