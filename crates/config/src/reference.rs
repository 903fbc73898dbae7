//! The reference of the file, in Markdown: `docs/reference/file.md`.

use crate::declare::{Key, Kind, Presence, TableDoc};
use crate::schema::text;
use crate::sections::{Form, SECTIONS, tables_of};
use std::fmt::Write as _;

const HEAD: &str = "\
<!-- Generated from the declarations in crates/config/src/keys; a test keeps it in step.
     BASTIDE_BLESS=1 cargo nextest run -p config writes it anew. -->

# The file

One TOML file describes the site. Named things are tables, `[pool.app]`; ordered things are lists of
tables, `[[route]]`, where the first that matches wins; everything else is written inside its table,
and a table nests no other table header. Every key has a default worth keeping, except where it says
*required*. A key that Bastide does not know is an error.

- Durations: `\"250ms\"`, `\"2s\"`, `\"5m\"`, `\"1h30m\"`, `\"30d\"`.
- Sizes: `\"512B\"`, `\"64KiB\"`, `\"10MiB\"`, or decimal `\"10MB\"`.
- Rates: `\"20/s\"`, `\"100/m\"`, `\"5000/h\"`.
- Paths are relative to the folder of the file.
- Secrets are `{ env = \"NAME\" }` or `{ file = \"path\" }`, never text.
- Port 0 is chosen and printed.

`bastide check` reads the file and says all that is wrong with it; `bastide schema` prints its JSON
schema for editors.
";

/// The whole reference.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n| table | |\n|---|---|\n");
    for section in SECTIONS {
        let about = text(section.doc.about);
        let first = about.split_inclusive(". ").next().unwrap_or_default().trim_end();
        let anchor: String = section
            .doc
            .title
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == '-')
            .collect::<String>()
            .to_lowercase();
        let _ = writeln!(out, "| [`{}`](#{anchor}) | {first} |", section.doc.title);
    }
    for section in SECTIONS {
        let _ = write!(out, "\n## `{}`\n\n{}\n", section.doc.title, wrap(&text(section.doc.about)));
        let form = match section.form {
            Form::Single => None,
            Form::Named => {
                Some("Any number of these, each with a name of up to 63 letters, digits, `-` and `_`.")
            }
            Form::Ordered => Some("Any number of these, in order."),
        };
        if let Some(form) = form {
            let _ = write!(out, "\n{form}\n");
        }
        for key in section.doc.keys {
            describe(key, "###", &mut out);
        }
        later(section.doc, &mut out);
    }
    ready_made(&mut out);
    out
}

/// What the reference says of one key, such as `pool.instances` or
/// `site.timeouts.head`; for `bastide explain`.
pub fn explain(path: &str) -> Option<String> {
    let mut steps = path.trim().split('.');
    let section = steps.next()?;
    let section = SECTIONS.iter().find(|known| known.key == section)?;
    let mut doc = section.doc;
    let mut found: Option<&Key> = None;
    for step in steps {
        if let Some(outer) = found {
            let inner = tables_of(&(outer.kind)());
            doc = inner.into_iter().find(|doc| doc.keys.iter().any(|key| key.name == step))?;
        }
        found = Some(doc.keys.iter().find(|key| key.name == step)?);
    }
    let mut out = String::new();
    match found {
        Some(key) => describe(key, "#", &mut out),
        None => {
            let names: Vec<String> = doc.keys.iter().map(|key| format!("`{}`", key.name)).collect();
            let _ = write!(out, "# `{}`\n\n{}\n\n", doc.title, wrap(&text(doc.about)));
            let _ = writeln!(out, "{}", wrap(&format!("Keys: {}.", names.join(", "))));
        }
    }
    Some(out.trim_start().to_owned())
}

fn describe(key: &Key, heading: &str, out: &mut String) {
    let kind = (key.kind)();
    let _ = write!(out, "\n{heading} `{}`\n\n", key.name);
    let _ = write!(out, "{}\n\n", wrap(&text(key.meaning)));
    let mut facts = vec![sentence(&kind.describe())];
    if let Some(range) = key.range {
        let (low, high) = range();
        facts.push(format!("from `{low}` to `{high}`"));
    }
    facts.push(match key.presence {
        Presence::Required => "*required*".to_owned(),
        Presence::Optional => "optional".to_owned(),
        Presence::Default(default) => format!("default `{}`", default()),
        Presence::Nested => "each of its keys has a default".to_owned(),
    });
    let _ = writeln!(out, "- {}", facts.join("; "));
    if let Kind::Choice(options) = &kind {
        for (name, meaning) in *options {
            let _ = writeln!(out, "- `\"{name}\"`: {meaning}");
        }
    }
    match key.why {
        "always" => {}
        why if why.starts_with("always") => drop(writeln!(out, "- write it {why}")),
        why => drop(writeln!(out, "- write it when {why}")),
    }
    let _ = write!(out, "\n```toml,fragment\n{}\n```\n", key.example);
    for doc in tables_of(&kind) {
        inline(doc, out);
    }
}

/// The keys of an inline table, as a table.
fn inline(doc: &TableDoc, out: &mut String) {
    let _ = write!(out, "\n{}\n\n| key | takes | default | |\n|---|---|---|---|\n", wrap(&text(doc.about)));
    for key in doc.keys {
        let mut takes = (key.kind)().brief();
        if let Some(range) = key.range {
            let (low, high) = range();
            takes = format!("{takes}, `{low}` to `{high}`");
        }
        let default = match key.presence {
            Presence::Required => "*required*".to_owned(),
            Presence::Optional | Presence::Nested => String::new(),
            Presence::Default(default) => format!("`{}`", default()),
        };
        let why = if key.why.starts_with("always") {
            String::new()
        } else {
            format!(" Write it when {}.", key.why)
        };
        let meaning = format!("{}{why}", text(key.meaning));
        let cells = [format!("`{}`", key.name), takes, default, meaning];
        let _ = writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    later(doc, out);
}

fn later(doc: &TableDoc, out: &mut String) {
    for (name, until) in doc.later {
        let _ = write!(out, "\n`{name}` is not built yet: {until}.\n");
    }
}

fn ready_made(out: &mut String) {
    out.push_str("\n## Ready-made alerts\n\n");
    out.push_str(&wrap(
        "These are there without being written. A table `[alert.NAME]` of the same name with an `expr` replaces one; \
         without, it changes only the keys that are given; `enabled = false` switches it off.",
    ));
    out.push_str("\n\n| name | fires when |\n|---|---|\n");
    for (name, meaning) in crate::defaults::READY_MADE_ALERTS {
        let _ = writeln!(out, "| `{name}` | {meaning} |");
    }
}

/// The first letter in upper case, unless it is quoted.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Lines of at most 100 characters.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= 100);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
