//! A YAML document as a tree whose scalars stay text, each node with its line.
//!
//! Text, because a header's value `007` or `1.10` is sent as it stands; a tree of
//! our own, because what misses a line number cannot be mended.

use crate::ReadError;
use saphyr_parser::{Event, Parser, ScalarStyle};

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar, unescaped and unfolded.
    Text(String),
    List(Vec<Node>),
    /// In order.
    Map(Vec<(String, Node)>),
}

/// How deep a document may be nested; go-ftw's go to six.
const MAX_DEPTH: usize = 16;

/// Reads the one document in `text`.
pub(crate) fn parse(text: &str) -> Result<Node, ReadError> {
    let mut events = Events(Parser::new_from_str(text));
    loop {
        match events.next()? {
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::StreamEnd | Event::DocumentEnd, line) => {
                return Err(ReadError::new(line, "the file is empty"));
            }
            (event, line) => return node(event, line, &mut events, 0),
        }
    }
}

struct Events<'a>(Parser<'a, saphyr_parser::StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), ReadError> {
        match self.0.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => {
                Err(ReadError::new(error.marker().line(), format!("not YAML: {}", error.info())))
            }
            None => Err(ReadError::new(0, "the file ends within its document")),
        }
    }
}

fn node(event: Event<'_>, line: usize, events: &mut Events<'_>, depth: usize) -> Result<Node, ReadError> {
    if depth > MAX_DEPTH {
        return Err(ReadError::new(line, format!("nested deeper than `{MAX_DEPTH}`")));
    }
    let value = match event {
        Event::Scalar(text, style, ..) => {
            let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
            if null { Value::Null } else { Value::Text(text.into_owned()) }
        }
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match events.next()? {
                    (Event::SequenceEnd, _) => break Value::List(list),
                    (event, line) => list.push(node(event, line, events, depth + 1)?),
                }
            }
        }
        Event::MappingStart(..) => Value::Map(map(events, depth)?),
        Event::Alias(_) => {
            return Err(ReadError::new(line, "an alias; hint: write the value out"));
        }
        _ => return Err(ReadError::new(line, "a value is missing")),
    };
    Ok(Node { line, value })
}

fn map(events: &mut Events<'_>, depth: usize) -> Result<Vec<(String, Node)>, ReadError> {
    let mut map: Vec<(String, Node)> = Vec::new();
    loop {
        let (key, line) = match events.next()? {
            (Event::MappingEnd, _) => return Ok(map),
            (Event::Scalar(key, ..), line) => (key.into_owned(), line),
            (_, line) => return Err(ReadError::new(line, "a key that is not text")),
        };
        if map.iter().any(|(known, _)| *known == key) {
            return Err(ReadError::new(line, format!("`{key}` stands there twice")));
        }
        let (event, line) = events.next()?;
        map.push((key, node(event, line, events, depth + 1)?));
    }
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text; nothing is the empty one.
    pub(crate) fn text(&self) -> Result<String, ReadError> {
        match &self.value {
            Value::Null => Ok(String::new()),
            Value::Text(text) => Ok(text.clone()),
            _ => Err(ReadError::new(self.line, "expected text")),
        }
    }

    pub(crate) fn number<N: std::str::FromStr>(&self) -> Result<N, ReadError> {
        let text = self.text()?;
        text.trim()
            .parse()
            .map_err(|_| ReadError::new(self.line, format!("`{text}` is not a number in range")))
    }

    pub(crate) fn flag(&self) -> Result<bool, ReadError> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            text => Err(ReadError::new(self.line, format!("`{text}` is neither true nor false"))),
        }
    }

    /// The items of a list; a single value is a list of one, nothing is none.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::Null => &[],
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    pub(crate) fn texts(&self) -> Result<Vec<String>, ReadError> {
        self.items().iter().map(Node::text).collect()
    }

    pub(crate) fn numbers<N: std::str::FromStr>(&self) -> Result<Vec<N>, ReadError> {
        self.items().iter().map(Node::number).collect()
    }

    /// The pairs of a mapping; nothing has none.
    pub(crate) fn pairs(&self) -> Result<&[(String, Node)], ReadError> {
        match &self.value {
            Value::Null => Ok(&[]),
            Value::Map(pairs) => Ok(pairs),
            _ => Err(ReadError::new(self.line, "expected keys with values")),
        }
    }
}
