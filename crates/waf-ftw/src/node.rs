//! Nodes of a case's YAML read as go-ftw does: one value stands for a list of one,
//! nothing for none; the first mistake ends the reading.

use crate::ReadError;
use std::str::FromStr;
use yaml_tree::{Node, Place, Value};

/// Reads the one document in `text`.
pub(crate) fn parse(text: &str) -> Result<Node, ReadError> {
    let documents =
        yaml_tree::parse(text, "").map_err(|mistake| ReadError::new(mistake.line, mistake.message))?;
    documents.into_iter().next().ok_or_else(|| ReadError::new(1, "the file is empty"))
}

/// What is read from a node.
pub(crate) trait Read {
    /// An error at the node's line.
    fn wrong(&self, what: impl Into<String>) -> ReadError;
    fn is_null(&self) -> bool;
    /// The text; nothing is the empty one.
    fn text(&self) -> Result<String, ReadError>;
    fn number<N: FromStr>(&self) -> Result<N, ReadError>;
    fn flag(&self) -> Result<bool, ReadError>;
    /// The items of a list; a single value is a list of one, nothing is none.
    fn items(&self) -> &[Node];
    fn texts(&self) -> Result<Vec<String>, ReadError>;
    fn numbers<N: FromStr>(&self) -> Result<Vec<N>, ReadError>;
    /// The entries of a mapping; nothing has none.
    fn entries(&self) -> Result<&[(String, Place, Node)], ReadError>;
}

impl Read for Node {
    fn wrong(&self, what: impl Into<String>) -> ReadError {
        ReadError::new(self.place.line, what)
    }

    fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    fn text(&self) -> Result<String, ReadError> {
        match &self.value {
            Value::Null => Ok(String::new()),
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong("expected text")),
        }
    }

    fn number<N: FromStr>(&self) -> Result<N, ReadError> {
        let text = self.text()?;
        text.trim().parse().map_err(|_| self.wrong(format!("`{text}` is not a number in range")))
    }

    fn flag(&self) -> Result<bool, ReadError> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            text => Err(self.wrong(format!("`{text}` is neither true nor false"))),
        }
    }

    fn items(&self) -> &[Node] {
        match &self.value {
            Value::Null => &[],
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    fn texts(&self) -> Result<Vec<String>, ReadError> {
        self.items().iter().map(Self::text).collect()
    }

    fn numbers<N: FromStr>(&self) -> Result<Vec<N>, ReadError> {
        self.items().iter().map(Self::number).collect()
    }

    fn entries(&self) -> Result<&[(String, Place, Node)], ReadError> {
        match &self.value {
            Value::Null => Ok(&[]),
            Value::Map(entries) => Ok(entries),
            _ => Err(self.wrong("expected keys with values")),
        }
    }
}
