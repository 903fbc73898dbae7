//! Why rules do not load.

use std::fmt;

/// One thing wrong in a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The file's name as it was given.
    pub file: String,
    /// The line, from 1; 0 where there is none.
    pub line: u32,
    /// What is wrong, a lower-case fragment.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what)?,
            line => write!(f, "{}:{line}: {}", self.file, self.what)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}

/// What is wrong and what to do, before the place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: Some(hint.into()) }
    }

    /// A `kind` called `name` that nobody knows, with the closest of the known ones.
    pub(crate) fn unknown<'a>(kind: &str, name: &[u8], known: impl Iterator<Item = &'a str>) -> Self {
        let name = shown(name);
        let lower = name.to_ascii_lowercase();
        let close = known
            .map(|k| (strsim::damerau_levenshtein(&k.to_ascii_lowercase(), &lower), k))
            .min()
            .filter(|(distance, k)| *distance <= 1 + k.len() / 5 && *distance < k.len());
        Self {
            what: format!("unknown {kind} `{name}`"),
            hint: Some(match close {
                Some((_, k)) => format!("did you mean `{k}`?"),
                None => format!("no {kind} has a name like it; correct it or take it out"),
            }),
        }
    }
}

/// A text of a file as a message shows it: short, printable.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut short: String =
        text.chars().take(80).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}
