//! Relabelling, with every action of Prometheus 3 (`relabel_config`;
//! `model/relabel`).

use md5::{Digest, Md5};
use monitor_model::{Labels, compile_anchored};
use regex::Regex;
use std::collections::BTreeMap;

/// What a step does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Sets `target_label` where the expression matches.
    #[default]
    Replace,
    /// Drops what the expression does not match.
    Keep,
    /// Drops what it matches.
    Drop,
    /// Drops what is not equal to `target_label`.
    KeepEqual,
    /// Drops what is.
    DropEqual,
    /// Sets `target_label` to the remainder of a hash.
    HashMod,
    /// Copies labels whose names match to other names.
    LabelMap,
    /// Takes labels out whose names match.
    LabelDrop,
    /// Takes the others out.
    LabelKeep,
    /// Sets `target_label` in lower case.
    Lowercase,
    /// Sets `target_label` in upper case.
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl Action {
    /// From its name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        ACTIONS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, action)| *action)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ACTIONS.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A step as it is written; what is `None` has Prometheus' default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// `source_labels`
    pub source_labels: Vec<String>,
    /// `separator`, `;`
    pub separator: Option<String>,
    /// `regex`, `(.*)`
    pub regex: Option<String>,
    /// `modulus`
    pub modulus: Option<u64>,
    /// `target_label`
    pub target_label: Option<String>,
    /// `replacement`, `$1`
    pub replacement: Option<String>,
    /// `action`, `replace`
    pub action: Action,
}

/// A step, checked and compiled.
#[derive(Clone, Debug)]
pub struct Relabel {
    written: Written,
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    any: bool,
    modulus: u64,
    target: String,
    replacement: String,
    action: Action,
}

impl PartialEq for Relabel {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Relabel {}

impl Relabel {
    /// Checks a step as Prometheus does. The error is a fragment for a message.
    pub fn compile(written: &Written) -> Result<Self, String> {
        use Action::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
        };
        let Written { source_labels, separator, regex, modulus, target_label, replacement, action } = written;
        let name = action.name();
        let target = target_label.clone().unwrap_or_default();
        let modulus = modulus.unwrap_or(0);
        match action {
            HashMod if modulus == 0 => return Err("`hashmod` needs a `modulus` above 0".to_owned()),
            Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual if target.is_empty() => {
                return Err(format!("`{name}` needs a `target_label`"));
            }
            Lowercase | Uppercase if replacement.is_some() => {
                return Err(format!("`{name}` takes no `replacement`"));
            }
            KeepEqual | DropEqual
                if regex.is_some() || modulus != 0 || separator.is_some() || replacement.is_some() =>
            {
                return Err(format!("`{name}` takes `source_labels` and `target_label`, and nothing else"));
            }
            LabelDrop | LabelKeep
                if !source_labels.is_empty()
                    || !target.is_empty()
                    || modulus != 0
                    || separator.is_some()
                    || replacement.is_some() =>
            {
                return Err(format!("`{name}` takes a `regex`, and nothing else"));
            }
            LabelMap if replacement.as_deref() == Some("") => {
                return Err("the `replacement` of `labelmap` is no label's name".to_owned());
            }
            _ => {}
        }
        let text = regex.as_deref().unwrap_or("(.*)");
        Ok(Self {
            written: written.clone(),
            source_labels: source_labels.clone(),
            separator: separator.clone().unwrap_or_else(|| ";".to_owned()),
            regex: compile_anchored(text).map_err(|error| error.to_string())?,
            any: text == "(.*)",
            modulus,
            target,
            replacement: replacement.clone().unwrap_or_else(|| "$1".to_owned()),
            action: *action,
        })
    }

    /// Changes labels; `false` where they are dropped.
    fn apply(&self, labels: &mut Builder) -> bool {
        let mut value = String::new();
        for (at, name) in self.source_labels.iter().enumerate() {
            if at > 0 {
                value.push_str(&self.separator);
            }
            value.push_str(labels.get(name));
        }
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.get(&self.target) == value,
            Action::DropEqual => return labels.get(&self.target) != value,
            Action::Replace => self.replace(labels, &value),
            Action::Lowercase => labels.set(&self.target, &value.to_lowercase()),
            Action::Uppercase => labels.set(&self.target, &value.to_uppercase()),
            Action::HashMod => {
                // "Use only the last 8 bytes of the hash" (`relabel.go`).
                let hash = Md5::digest(value.as_bytes());
                let last = hash.iter().skip(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
                labels.set(&self.target, &(last % self.modulus).to_string());
            }
            Action::LabelMap => {
                for (name, value) in labels.pairs() {
                    if let Some(captures) = self.regex.captures(&name) {
                        let mut to = String::new();
                        captures.expand(&self.replacement, &mut to);
                        if !to.is_empty() {
                            labels.set(&to, &value);
                        }
                    }
                }
            }
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, labels: &mut Builder, value: &str) {
        // The step that sets or deletes a label, whatever there is.
        if value.is_empty() && self.any && !self.target.contains('$') && !self.replacement.contains('$') {
            return labels.set(&self.target, &self.replacement);
        }
        let Some(captures) = self.regex.captures(value) else { return };
        let expand = |template: &str| {
            let mut out = String::new();
            captures.expand(template, &mut out);
            out
        };
        let target = expand(&self.target);
        if !target.is_empty() {
            labels.set(&target, &expand(&self.replacement));
        }
    }
}

/// Labels while they are changed. An empty value is an absent label.
#[derive(Clone, Debug, Default)]
pub struct Builder(BTreeMap<String, String>);

impl Builder {
    /// A label's value; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Sets a label; an empty value takes it out.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            match self.0.get_mut(name) {
                Some(known) => value.clone_into(known),
                None => drop(self.0.insert(name.to_owned(), value.to_owned())),
            }
        }
    }

    /// Takes out the labels whose names do not fit.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// The labels, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn pairs(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }

    /// Step after step; `false` where one dropped the labels.
    pub fn relabel(&mut self, steps: &[Relabel]) -> bool {
        steps.iter().all(|step| step.apply(self))
    }
}

impl From<&Labels> for Builder {
    fn from(labels: &Labels) -> Self {
        Self(labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Result<Relabel, String> {
        let mut written = Written::default();
        for part in text.split_whitespace() {
            let (key, value) = part.split_once('=').unwrap();
            let value = value.to_owned();
            match key {
                "src" => written.source_labels = value.split(',').map(str::to_owned).collect(),
                "sep" => written.separator = Some(value),
                "re" => written.regex = Some(value),
                "mod" => written.modulus = Some(value.parse().unwrap()),
                "to" => written.target_label = Some(value),
                "with" => written.replacement = Some(value),
                "do" => written.action = Action::from_name(&value).unwrap(),
                _ => panic!("{key}"),
            }
        }
        Relabel::compile(&written)
    }

    fn run(labels: &str, steps: &str) -> String {
        let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
        let mut builder = Builder::from(&Labels::from_pairs(pairs));
        let steps: Vec<Relabel> = steps.split('|').map(|text| step(text.trim()).unwrap()).collect();
        match builder.relabel(&steps) {
            true => builder.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(","),
            false => "dropped".to_owned(),
        }
    }

    /// The cases of `model/relabel/relabel_test.go`'s kinds, in our own words.
    #[test]
    fn actions() {
        let cases = [
            ("a=foo,b=bar", "src=a re=f(.*) to=d with=ch${1}-ch${1}", "a=foo,b=bar,d=choo-choo"),
            ("a=foo,b=bar", "src=a,b re=f(.*);(.*)r to=a with=b${1}${2}m", "a=boobam,b=bar"),
            ("a=foo", "src=a re=o(.*) to=d with=x", "a=foo"),
            ("a=foo", "src=a to=d", "a=foo,d=foo"),
            // An empty replacement deletes.
            ("a=foo", "src=a re=f.* to=a with=", ""),
            ("a=foo", "src=none to=d with=set", "a=foo,d=set"),
            ("a=foo", "src=none re=x* to=d with=$0", "a=foo"),
            ("a=foo", "src=a re=(f)(o) to=d with=$1", "a=foo"),
            ("a=foo", "src=a re=(f).* to=${1}x with=1", "a=foo,fx=1"),
            ("a=foo", "src=a re=(?P<n>.).* to=d with=${n}", "a=foo,d=f"),
            ("a=foo", "src=a re=.*o.* do=drop", "dropped"),
            ("a=foo", "src=a re=o do=drop", "a=foo"),
            ("a=foo", "src=a re=no-match do=keep", "dropped"),
            ("a=foo", "src=a re=f.* do=keep", "a=foo"),
            ("a=foo,b=foo", "src=a to=b do=keepequal", "a=foo,b=foo"),
            ("a=foo,b=bar", "src=a to=b do=keepequal", "dropped"),
            ("a=foo,b=foo", "src=a to=b do=dropequal", "dropped"),
            // Prometheus' own expectations of these two hashes.
            ("a=foo,b=bar,c=baz", "src=c to=d mod=1000 do=hashmod", "a=foo,b=bar,c=baz,d=976"),
            ("a=foo\nbar", "src=a to=b mod=1000 do=hashmod", "a=foo\nbar,b=734"),
            (
                "a=foo,b1=bar,b2=baz",
                "re=(b.*) with=bar_${1} do=labelmap",
                "a=foo,b1=bar,b2=baz,bar_b1=bar,bar_b2=baz",
            ),
            ("a=foo,b1=bar,b2=baz", "re=(b.*) do=labeldrop", "a=foo"),
            ("a=foo,b1=bar,b2=baz", "re=(b.*) do=labelkeep", "b1=bar,b2=baz"),
            ("a=FoO", "src=a to=b do=lowercase | src=a to=c do=uppercase", "a=FoO,b=foo,c=FOO"),
            ("a=1", "src=a to=b | src=b re=2 do=keep", "dropped"),
        ];
        for (labels, steps, expected) in cases {
            assert_eq!(run(labels, steps), expected, "{labels} {steps}");
        }
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("do=hashmod to=x", "`modulus`"),
            ("do=replace src=a", "`target_label`"),
            ("do=lowercase src=a", "`target_label`"),
            ("do=uppercase src=a to=b with=x", "`replacement`"),
            ("do=keepequal src=a to=b re=x", "nothing else"),
            ("do=labeldrop src=a re=x", "nothing else"),
            ("do=labelmap re=x with=", "no label's name"),
            ("do=keep re=(", "regular expression"),
        ];
        for (text, expected) in cases {
            let got = step(text).unwrap_err();
            assert!(got.contains(expected), "{text}: {got}");
        }
    }
}
