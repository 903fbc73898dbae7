//! A YAML document as a tree whose scalars stay text, each node with its place,
//! and a reader that collects every mistake instead of stopping at the first.

use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::BTreeMap;

/// How deep a document may be nested.
const MAX_DEPTH: usize = 32;

/// Nodes of one document, those that aliases repeat included.
const MAX_NODES: usize = 1_000_000;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Mistake {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Where a node begins: line and column, from 1.
pub(crate) type Place = (usize, usize);

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar, unescaped and unfolded.
    Text(String),
    List(Vec<Node>),
    /// Keys with their places, in order, each once.
    Map(Vec<(String, Place, Node)>),
}

/// Reads the documents in `text`.
pub(crate) fn parse(text: &str, file: &str) -> Result<Vec<Node>, Mistake> {
    let mut builder = Builder { events: Parser::new_from_str(text), anchors: BTreeMap::new(), nodes: 0 };
    builder.documents().map_err(|((line, column), message)| Mistake {
        file: file.to_owned(),
        line,
        column,
        message,
    })
}

type Fault = (Place, String);

struct Builder<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Complete nodes that aliases may repeat, with how many nodes each holds.
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Fault> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, (span.start.line(), span.start.col() + 1))),
            Some(Err(error)) => {
                let at = error.marker();
                Err(((at.line(), at.col() + 1), format!("not YAML: {}", error.info())))
            }
            None => Err(((1, 1), "the file ends within its document".to_owned())),
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
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
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
                return Err((place, format!("`{key}` stands there twice")));
            }
            map.push((key, place, node));
        }
        map.extend(merged.into_iter().filter(|(key, ..)| seen.insert(key.clone())));
        Ok(map)
    }
}

/// Reads nodes into types and remembers what was wrong.
pub(crate) struct Reader {
    file: String,
    /// What was found wrong, in the order of reading.
    pub(crate) mistakes: Vec<Mistake>,
}

impl Reader {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), mistakes: Vec::new() }
    }

    pub(crate) fn wrong(&mut self, (line, column): Place, message: impl Into<String>) {
        let message = message.into();
        self.mistakes.push(Mistake { file: self.file.clone(), line, column, message });
    }

    /// A key that is not among those that may stand there.
    pub(crate) fn unknown(&mut self, place: Place, key: &str, known: &[&str]) {
        let near = known.iter().map(|name| (distance(key, name), *name)).min();
        let hint = match near {
            Some((edits, name)) if edits <= 3 => format!("; hint: did you mean `{name}`?"),
            _ => String::new(),
        };
        self.wrong(place, format!("`{key}` is no key that may stand here{hint}"));
    }

    /// The entries of a map; nothing is an empty one.
    pub(crate) fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(String, Place, Node)] {
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
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
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
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> String {
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
    pub(crate) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        self.list(node, what).iter().map(|item| self.text(item, what)).collect()
    }

    /// Whatever `read` makes of a text; its error is told with the place.
    pub(crate) fn parsed<T>(
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
    pub(crate) fn number<N: std::str::FromStr>(&mut self, node: &Node, what: &str) -> Option<N> {
        self.parsed(node, what, |text| {
            text.trim().parse().map_err(|_| format!("`{text}` is not a number in range"))
        })
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        self.parsed(node, what, |text| match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(format!("`{text}` is neither `true` nor `false`")),
        })
    }

    /// Names and values with the place of each.
    pub(crate) fn pairs(&mut self, node: &Node, what: &str) -> Vec<(String, String, Place)> {
        self.map(node, &format!("`{what}`"))
            .iter()
            .map(|(name, place, node)| (name.clone(), self.text(node, name), *place))
            .collect()
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

    #[test]
    fn mistakes_have_places() {
        let laughs = (0..20).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
            format!("{text}a{}: &a{} [*a{i}, *a{i}, *a{i}, *a{i}]\n", i + 1, i + 1)
        });
        let deep = "[".repeat(100) + &"]".repeat(100);
        let cases = [
            ("a: 1\na: 2\n", "f:2:1: `a` stands there twice"),
            ("a: [1\nb: 2", "f:2:"),
            (laughs.as_str(), "values, aliases counted"),
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
