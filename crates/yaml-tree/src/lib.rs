//! A YAML document as a tree whose scalars stay text, each node with its place,
//! and a reader that collects every mistake instead of stopping at the first.
//!
//! Text, because `007` and `1.10` mean different things to different keys; a tree
//! of our own, because what misses its line cannot be mended. Depth, size and the
//! number of nodes are bounded, aliases counted.
//!
//! Pure: no I/O. Source: YAML 1.2, and 1.1's merge key, which Prometheus' and
//! Alertmanager's reader knows.

use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::BTreeMap;
use std::fmt;

/// How deep a document may be nested.
const MAX_DEPTH: usize = 32;

/// Nodes of one document, those that aliases repeat included: a small file of
/// aliases to aliases must not fill the memory.
const MAX_NODES: usize = 1_000_000;

/// Bytes of one file.
const MAX_BYTES: usize = 8 << 20;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Mistake {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Where a node begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar, unescaped and unfolded.
    Text(String),
    /// Nodes in order.
    List(Vec<Node>),
    /// Keys with their places, in order, each once.
    Map(Vec<(String, Place, Node)>),
}

/// Reads the documents in `text`; empty ones give a null node.
pub fn parse(text: &str, file: &str) -> Result<Vec<Node>, Mistake> {
    let mistake = |place: Place, message: String| Mistake {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        message,
    };
    if text.len() > MAX_BYTES {
        let start = Place { line: 1, column: 1 };
        return Err(mistake(
            start,
            format!("a file of `{}` bytes; hint: at most {MAX_BYTES}, split it", text.len()),
        ));
    }
    let mut builder = Builder { events: Parser::new_from_str(text), anchors: BTreeMap::new(), nodes: 0 };
    builder.documents().map_err(|(place, message)| mistake(place, message))
}

type Fault = (Place, String);

struct Builder<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Fault> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                Ok((event, Place { line: span.start.line(), column: span.start.col() + 1 }))
            }
            Some(Err(error)) => {
                let at = error.marker();
                Err((Place { line: at.line(), column: at.col() + 1 }, format!("not YAML: {}", error.info())))
            }
            None => Err((Place { line: 1, column: 1 }, "the file ends within its document".to_owned())),
        }
    }

    fn documents(&mut self) -> Result<Vec<Node>, Fault> {
        let mut found = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(found),
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (event, place) => found.push(self.node(event, place, 0)?),
            }
        }
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err((
                place,
                format!("more than {MAX_NODES} values, aliases counted; hint: split the file"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Fault> {
        if depth > MAX_DEPTH {
            return Err((place, format!("nested deeper than {MAX_DEPTH}")));
        }
        self.count(1, place)?;
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                (if null { Value::Null } else { Value::Text(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, place) => list.push(self.node(event, place, depth + 1)?),
                    }
                }
                (Value::List(list), anchor)
            }
            Event::MappingStart(anchor, _) => (Value::Map(self.map(depth)?), anchor),
            Event::Alias(anchor) => {
                let Some((node, nodes)) = self.anchors.get(&anchor).cloned() else {
                    return Err((place, "an alias of an anchor that is not complete yet".to_owned()));
                };
                self.count(nodes, place)?;
                return Ok(Node { place, value: node.value });
            }
            _ => return Err((place, "a value is missing".to_owned())),
        };
        let node = Node { place, value };
        if anchor > 0 {
            let nodes = self.nodes - before + 1;
            self.count(nodes, place)?; // The copy that is kept.
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Place, Node)>, Fault> {
        let mut map: Vec<(String, Place, Node)> = Vec::new();
        let mut merged: Vec<(String, Place, Node)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let (key, place) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(key, ..), place) => (key.into_owned(), place),
                (_, place) => return Err((place, "a key that is not text".to_owned())),
            };
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            // YAML 1.1's merge key: what the map itself says goes before what is merged.
            if key == "<<" {
                let parts = match node.value {
                    Value::List(list) => list,
                    _ => vec![node],
                };
                for part in parts {
                    match part.value {
                        Value::Map(entries) => merged.extend(entries),
                        _ => return Err((part.place, "`<<` merges maps only".to_owned())),
                    }
                }
                continue;
            }
            if !seen.insert(key.clone()) {
                return Err((place, format!("mapping key {key:?} already defined")));
            }
            map.push((key, place, node));
        }
        for (key, place, node) in merged {
            if seen.insert(key.clone()) {
                map.push((key, place, node));
            }
        }
        Ok(map)
    }
}

/// Reads nodes into types and remembers what was wrong.
#[derive(Debug)]
pub struct Reader {
    file: String,
    /// What was found wrong, in the order of reading.
    pub mistakes: Vec<Mistake>,
}

impl Reader {
    /// Of `file`, as it is named in mistakes.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), mistakes: Vec::new() }
    }

    /// Notes a mistake.
    pub fn wrong(&mut self, place: Place, message: impl Into<String>) {
        let (file, message) = (self.file.clone(), message.into());
        self.mistakes.push(Mistake { file, line: place.line, column: place.column, message });
    }

    /// A key that is not among those that may stand there.
    pub fn unknown(&mut self, place: Place, key: &str, known: &[&str]) {
        let near = known.iter().map(|name| (distance(key, name), *name)).min();
        let hint = match near {
            Some((edits, name)) if edits <= 3 => format!("; hint: did you mean `{name}`?"),
            _ => String::new(),
        };
        self.wrong(place, format!("`{key}` is no key that may stand here{hint}"));
    }

    /// The entries of a map; nothing is an empty one.
    pub fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(String, Place, Node)] {
        match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                self.wrong(node.place, format!("{what} is a map of keys and values"));
                &[]
            }
        }
    }

    /// The items of a list; nothing is an empty one.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                self.wrong(node.place, format!("`{what}` is a list"));
                &[]
            }
        }
    }

    /// A scalar's text; nothing is empty.
    pub fn text(&mut self, node: &Node, what: &str) -> String {
        match &node.value {
            Value::Text(text) => text.clone(),
            Value::Null => String::new(),
            _ => {
                self.wrong(node.place, format!("`{what}` is a text"));
                String::new()
            }
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        self.list(node, what).iter().map(|item| self.text(item, what)).collect()
    }

    /// Whatever `read` makes of a text; its error is told with the place.
    pub fn parsed<T>(
        &mut self,
        node: &Node,
        what: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(node, what);
        match read(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.wrong(node.place, format!("`{what}`: {why}"));
                None
            }
        }
    }

    /// A number.
    pub fn number<N: std::str::FromStr>(&mut self, node: &Node, what: &str) -> Option<N> {
        self.parsed(node, what, |text| {
            text.trim().parse().map_err(|_| format!("`{text}` is not a number in range"))
        })
    }

    /// `true` or `false`, as YAML 1.2 and yaml.v3 have them.
    pub fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        self.parsed(node, what, |text| match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(format!("`{text}` is neither `true` nor `false`")),
        })
    }

    /// Names and values, sorted by name, with the place of each.
    pub fn pairs(&mut self, node: &Node, what: &str) -> Vec<(String, String, Place)> {
        let mut pairs: Vec<(String, String, Place)> = self
            .map(node, &format!("`{what}`"))
            .iter()
            .map(|(name, place, node)| (name.clone(), self.text(node, name), *place))
            .collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    }
}

/// Edits from one word to another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(list) => format!("[{}]", list.iter().map(flat).collect::<Vec<_>>().join(",")),
            Value::Map(map) => {
                let parts: Vec<String> = map.iter().map(|(k, _, n)| format!("{k}:{}", flat(n))).collect();
                format!("{{{}}}", parts.join(","))
            }
        }
    }

    #[test]
    fn documents() {
        let cases = [
            ("a: 1\nb: [x, '', ~]\n", r#"{a:"1",b:["x","",~]}"#),
            ("a: &x {b: 1}\nc: *x\n", r#"{a:{b:"1"},c:{b:"1"}}"#),
            ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3\n", r#"{a:{b:"1",c:"2"},d:{b:"3",c:"2"}}"#),
            ("", ""),
            ("---\na: 1\n---\nb: 2\n", r#"{a:"1"} {b:"2"}"#),
        ];
        for (text, expected) in cases {
            let got: Vec<String> = parse(text, "f").unwrap().iter().map(flat).collect();
            assert_eq!(got.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_have_places() {
        let laughs = (0..22).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
            format!("{text}a{}: &a{} [*a{i}, *a{i}, *a{i}, *a{i}]\n", i + 1, i + 1)
        });
        let deep = "[".repeat(100) + &"]".repeat(100);
        let cases = [
            ("a: 1\na: 2\n", "f:2:1: mapping key \"a\" already defined"),
            ("a: [1\nb: 2", "f:2:"),
            (laughs.as_str(), "more than 1000000 values"),
            (deep.as_str(), "nested deeper"),
            ("a: &x [*x]\n", "not complete"),
        ];
        for (text, expected) in cases {
            let error = parse(text, "f").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(distance("scrape_intervall", "scrape_interval"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
