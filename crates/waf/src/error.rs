//! Why rules do not load.

use std::fmt;

/// One thing wrong in a rule file or with an exclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The file's name as the settings give it, or `exclude`.
    pub file: String,
    /// The line, from 1; 0 where there is none.
    pub line: u32,
    /// What is wrong, a lower-case fragment.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what)?,
            line => write!(f, "{}:{line}: {}", self.file, self.what)?,
        }
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\nhint: {}", self.hint) }
    }
}

impl std::error::Error for LoadError {}

/// What is wrong and what to do, before the place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) hint: String,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    /// A `kind` called `name` that this version does not know, with what it knows
    /// (`known`, each written with `prefix`).
    pub(crate) fn unknown<'a>(
        kind: &str,
        prefix: &str,
        name: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Self {
        let shown: String = name.chars().take(64).collect();
        let close = known
            .clone()
            .map(|k| (strsim::damerau_levenshtein(&k.to_ascii_lowercase(), &shown.to_ascii_lowercase()), k))
            .min()
            .filter(|(distance, k)| *distance <= 2 && *distance < k.len());
        let all: Vec<String> = known.map(|k| format!("`{prefix}{k}`")).collect();
        let hint = match close {
            Some((_, k)) => format!("did you mean `{prefix}{k}`?"),
            None => format!("this version knows {}; take the rule out or rewrite it", all.join(", ")),
        };
        Self::new(format!("{kind} `{prefix}{shown}` is not supported"), hint)
    }
}
