//! XML 1.0 without DTDs, and the part of XPath that rules use.

use crate::{Error, Full, Limits, Scratch, Sink};

/// An XPath expression that a rule selects with, compiled when rules are loaded.
#[derive(Debug, Clone)]
pub struct Selector {}

/// What is wrong with an XPath expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError {
    /// Where, bytes from its beginning.
    pub at: usize,
    /// What, as a lower-case fragment.
    pub what: String,
}

impl Selector {
    /// Compiles `text`. `namespaces` are the rule's `xmlns` actions, prefix and
    /// URI.
    pub fn parse(text: &str, namespaces: &[(&str, &str)]) -> Result<Self, SelectorError> {
        let _ = (text, namespaces);
        Ok(Self {})
    }
}

/// An XML document, kept flat; used again from one body to the next.
#[derive(Debug, Default)]
pub struct Document {}

impl Document {
    /// Reads `text`, forgetting what was read before. After an error, what came
    /// before it can be selected.
    pub fn parse(&mut self, text: &[u8], complete: bool, limits: &Limits) -> Result<(), Error> {
        let _ = (text, complete, limits);
        Ok(())
    }

    /// Hands the string value of each node that `selector` selects to `take`, in
    /// document order.
    pub fn select(
        &self,
        selector: &Selector,
        limits: &Limits,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Full>,
    ) -> Result<(), Error> {
        let _ = (selector, limits, take);
        Ok(())
    }

    /// Each leaf element's text as an argument `xml.a.b`, and each attribute's
    /// value as `xml.a.b.@name` (`SecParseXmlIntoArgs`).
    pub fn args(&self, sink: &mut impl Sink, scratch: &mut Scratch) -> Result<(), Full> {
        let _ = (sink, scratch);
        Ok(())
    }

    /// The document is there: `XML` is set.
    pub fn is_empty(&self) -> bool {
        true
    }
}
