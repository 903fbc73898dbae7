//! Groups of targets, as static configuration, files and HTTP give them.

use serde::Deserialize;
use std::collections::BTreeMap;
use yaml_tree::Reader;

/// Addresses that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Where it comes from; a later group of the same source replaces it.
    pub source: String,
    /// The labels of each address, `__address__` among them.
    pub targets: Vec<Vec<(String, String)>>,
    /// Labels of all of them.
    pub labels: Vec<(String, String)>,
}

impl Group {
    /// Of addresses.
    pub fn of_addresses<'a>(source: &str, addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let label = |address: &str| vec![("__address__".to_owned(), address.to_owned())];
        Self {
            source: source.to_owned(),
            targets: addresses.into_iter().map(label).collect(),
            labels: Vec::new(),
        }
    }
}

/// Targets of one file or answer.
const MAX_TARGETS: usize = 100_000;

/// A group as JSON has it (Prometheus, "HTTP SD").
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    targets: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Reads JSON of `file_sd_configs` or `http_sd_configs`. `source` names it in
/// errors and in the groups; `more` are labels of all groups, `__meta_url` say.
pub fn read_json(text: &[u8], source: &str, more: (&str, &str)) -> Result<Vec<Group>, String> {
    let written: Option<Vec<Written>> = serde_json::from_slice(text).map_err(|error| {
        format!("`{source}` is not a list of groups, `[{{\"targets\": […], \"labels\": {{…}}}}]`: {error}")
    })?;
    let groups = written.unwrap_or_default().into_iter().map(|group| {
        let labels = group.labels.unwrap_or_default().into_iter().collect();
        (group.targets.unwrap_or_default(), labels)
    });
    finish(groups.collect(), source, more)
}

/// Reads YAML of `file_sd_configs`.
pub fn read_yaml(text: &str, source: &str, more: (&str, &str)) -> Result<Vec<Group>, String> {
    let documents = yaml_tree::parse(text, source).map_err(|mistake| mistake.to_string())?;
    let mut reader = Reader::new(source);
    let mut groups = Vec::new();
    if let Some(list) = documents.first() {
        for node in reader.list(list, "groups of targets") {
            groups.push(written_group(&mut reader, node));
        }
    }
    match reader.mistakes.into_iter().next() {
        Some(mistake) => Err(mistake.to_string()),
        None => finish(groups, source, more),
    }
}

type Parts = (Vec<String>, Vec<(String, String)>);

/// `targets` and `labels`; `static_configs` have the same form.
pub(crate) fn written_group(reader: &mut Reader, node: &yaml_tree::Node) -> Parts {
    let (mut targets, mut labels) = (Vec::new(), Vec::new());
    for (key, place, value) in reader.map(node, "a group") {
        match key.as_str() {
            "targets" => targets = reader.texts(value, key),
            "labels" => labels = reader.pairs(value, key).into_iter().map(|(n, v, _)| (n, v)).collect(),
            _ => reader.unknown(*place, key, &["targets", "labels"]),
        }
    }
    (targets, labels)
}

fn finish(groups: Vec<Parts>, source: &str, more: (&str, &str)) -> Result<Vec<Group>, String> {
    let all: usize = groups.iter().map(|(targets, _)| targets.len()).sum();
    if all > MAX_TARGETS {
        return Err(format!("`{source}` has {all} targets; hint: at most {MAX_TARGETS}"));
    }
    let mut out = Vec::with_capacity(groups.len());
    for (at, (targets, mut labels)) in groups.into_iter().enumerate() {
        if let Some((name, _)) = labels.iter().find(|(name, _)| name.is_empty()) {
            return Err(format!("`{source}`, group {at}: `{name}` is not a label's name"));
        }
        labels.push((more.0.to_owned(), more.1.to_owned()));
        let source = format!("{source}:{at}");
        let group = Group::of_addresses(&source, targets.iter().map(String::as_str));
        out.push(Group { labels, ..group });
    }
    Ok(out)
}

/// Whether a file's name fits a pattern with `*`, `?` and `[…]`, as Go's
/// `filepath.Match` has it, without its error for a class that is not closed: such
/// a pattern fits nothing.
pub fn name_fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where to go on after the last `*`: linear in practice, quadratic at worst.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => class(&pattern, p, name[n]),
            Some('\\') if pattern.get(p + 1) == Some(&name[n]) => Some(p + 2),
            Some(c) if *c == name[n] && *c != '\\' => Some(p + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after, from))) => {
                p = after;
                n = from + 1;
                star = Some((after, n));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// `[a-z]` or `[^a-z]`: what follows it, where `c` fits.
fn class(pattern: &[char], at: usize, c: char) -> Option<usize> {
    let mut at = at + 1;
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut fits = false;
    let mut first = true;
    while first || pattern.get(at)? != &']' {
        first = false;
        let low = *pattern.get(at)?;
        let high = if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|c| *c != ']') {
            at += 2;
            pattern[at]
        } else {
            low
        };
        fits |= (low..=high).contains(&c);
        at += 1;
    }
    (fits != negated).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let json = br#"[{"targets":["a:1","b:2"],"labels":{"env":"x"}},{"targets":[]}]"#;
        let yaml = "- targets: ['a:1', b:2]\n  labels:\n    env: x\n- targets: []\n";
        let more = ("__meta_filepath", "f");
        let groups = read_json(json, "f", more).unwrap();
        assert_eq!(groups, read_yaml(yaml, "f", more).unwrap());
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].targets[1], [("__address__".to_owned(), "b:2".to_owned())]);
        assert_eq!(groups[0].labels, [("env".into(), "x".into()), ("__meta_filepath".into(), "f".into())]);
        assert_eq!((&*groups[0].source, &*groups[1].source), ("f:0", "f:1"));
        assert!(read_json(b"null", "f", more).unwrap().is_empty());
        assert!(read_yaml("", "f", more).unwrap().is_empty());
    }

    #[test]
    fn what_is_refused() {
        let more = ("a", "b");
        for (text, expected) in [
            ("{}", "list of groups"),
            ("[{\"target\":[]}]", "unknown field `target`"),
            ("[{\"targets\":[1]}]", "line 1"),
            ("[{\"targets\":[],\"labels\":{\"\":\"x\"}}]", "not a label's name"),
        ] {
            let got = read_json(text.as_bytes(), "f", more).unwrap_err();
            assert!(got.contains(expected), "{text}: {got}");
        }
        for (text, expected) in [
            ("a: b", "is a list"),
            ("- target: []", "f:1:3: `target`"),
            ("- targets: {a: b}", "`targets` is a list"),
            ("[", "not YAML"),
        ] {
            let got = read_yaml(text, "f", more).unwrap_err();
            assert!(got.contains(expected), "{text}: {got}");
        }
    }

    #[test]
    fn patterns() {
        let cases = [
            ("*.json", "a.json", true),
            ("*.json", "a.yml", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*", "", true),
            ("", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(name_fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
