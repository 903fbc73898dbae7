//! XML 1.0 without DTDs, and the part of XPath that rules use.
//!
//! [`Document::parse`] checks well-formedness and keeps the document flat:
//! elements in document order, each with the end of its subtree, so that the
//! string value of any element is one slice of the text. [`Selector::parse`]
//! compiles an XPath expression when rules are loaded; [`Document::select`] runs
//! it and hands over the string value of each node, as libxml2 gives it to
//! ModSecurity.
//!
//! **Never**: reads a DTD, fetches an entity, or expands one but the five that XML
//! predefines. A document type declaration with declarations of its own (an
//! internal subset) is an error; one that only names a DTD is passed over and
//! shown by [`Document::has_external_dtd`]. UTF-8, UTF-16 and ISO-8859-1 (also as
//! windows-1252 and US-ASCII) are read; a document that declares another encoding
//! is an error, since what rules would see is not what its reader sees.
//!
//! Prefixes that the document does not declare are no error, as in ModSecurity,
//! which asks libxml2 about well-formedness only.
//!
//! Sources: XML 1.0 (fifth edition), Namespaces in XML 1.0, XPath 1.0.

mod encoding;
mod evaluate;
mod reader;
mod selector;

use crate::scratch::Level;
use crate::{Error, Full, Limits, Scratch, Sink};

pub use selector::{Selector, SelectorError};

/// A stretch of one of the document's buffers.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    begin: u32,
    end: u32,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.begin as usize..self.end as usize]
    }
}

/// A name in the document: where it is written, and its namespace's URI.
#[derive(Debug, Clone, Copy, Default)]
struct Name {
    /// With its prefix, in `source`.
    full: Span,
    /// Without it.
    local: Span,
    /// In `values`; empty for none.
    uri: Span,
}

#[derive(Debug, Clone, Copy)]
struct Element {
    name: Name,
    /// The element around it; its own index for the outermost.
    parent: u32,
    /// The first element that is not inside it.
    end: u32,
    /// Its attributes; those of the next element follow.
    first_attribute: u32,
    end_attribute: u32,
    /// The text nodes inside it, at any depth.
    first_text: u32,
    end_text: u32,
    /// Its string value, in `text`.
    text: Span,
}

#[derive(Debug, Clone, Copy)]
struct Attribute {
    name: Name,
    owner: u32,
    /// In `values`.
    value: Span,
}

#[derive(Debug, Clone, Copy)]
struct TextNode {
    parent: u32,
    /// The last element that began before it: for document order.
    after: u32,
    /// In `text`.
    text: Span,
}

/// An XML document, kept flat; used again from one body to the next.
#[derive(Debug, Default)]
pub struct Document {
    /// The document in UTF-8.
    source: Vec<u8>,
    /// All character data, in document order.
    text: Vec<u8>,
    /// Attributes' values, namespaces' URIs.
    values: Vec<u8>,
    elements: Vec<Element>,
    attributes: Vec<Attribute>,
    texts: Vec<TextNode>,
    /// Namespaces that are declared where the reader stands: prefix, URI, and the
    /// element that declares them.
    scope: Vec<(Span, Span, u32)>,
    /// The elements around the place where the reader stands.
    open: Vec<u32>,
    external_dtd: bool,
}

impl Document {
    /// Reads `text`, forgetting what was read before. After an error, what came
    /// before it can be selected. An empty text gives an empty document.
    ///
    /// # Errors
    /// Text that is not well-formed, in an encoding that is not read, with a
    /// document type of its own, or beyond the limits on depth, nodes and
    /// attributes.
    pub fn parse(&mut self, text: &[u8], complete: bool, limits: &Limits) -> Result<(), Error> {
        self.clear();
        if text.is_empty() {
            return Ok(());
        }
        reader::read(self, text, complete, limits)
    }

    /// Forgets the document, keeping the memory.
    pub fn clear(&mut self) {
        self.source.clear();
        self.text.clear();
        self.values.clear();
        self.elements.clear();
        self.attributes.clear();
        self.texts.clear();
        self.scope.clear();
        self.open.clear();
        self.external_dtd = false;
    }

    /// Gives back memory beyond `bytes` for each buffer, after an unusually
    /// large body.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.source.shrink_to(bytes);
        self.text.shrink_to(bytes);
        self.values.shrink_to(bytes);
        self.elements.shrink_to(bytes / size_of::<Element>());
        self.attributes.shrink_to(bytes / size_of::<Attribute>());
        self.texts.shrink_to(bytes / size_of::<TextNode>());
    }

    /// There is no document, or nothing of it could be read.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The document names a DTD, which we do not read.
    pub fn has_external_dtd(&self) -> bool {
        self.external_dtd
    }

    /// Hands the string value of each node that `selector` selects to `take`, in
    /// document order.
    ///
    /// # Errors
    /// When `take` takes no more, or [`Limits::xpath_steps`] are used up.
    pub fn select(
        &self,
        selector: &Selector,
        limits: &Limits,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Full>,
    ) -> Result<(), Error> {
        evaluate::select(self, selector, limits, take)
    }

    /// `SecParseXmlIntoArgs`: each element without elements in it as an argument
    /// `xml.a.b`, by local names. Beyond ModSecurity, text between elements is an
    /// argument too where it is not blank, and so is an attribute, as
    /// `xml.a.b.@name`: with `OnlyArgs` nothing else would show them to rules.
    ///
    /// # Errors
    /// When the sink takes no more.
    pub fn args(&self, sink: &mut impl Sink, scratch: &mut Scratch) -> Result<(), Full> {
        /// Bytes; a longer path is cut.
        const LONGEST_PATH: usize = 4096;
        let path = &mut scratch.name;
        path.clear();
        path.extend_from_slice(b"xml");
        // A level's index is where its element ends.
        let open = &mut scratch.levels;
        open.clear();
        for (index, element) in self.elements.iter().enumerate() {
            while let Some(level) = open.pop_if(|level| level.index as usize <= index) {
                path.truncate(level.path as usize);
            }
            open.push(Level { path: path.len() as u32, index: element.end });
            if path.len() < LONGEST_PATH {
                path.push(b'.');
                path.extend_from_slice(element.name.local.of(&self.source));
                path.truncate(LONGEST_PATH);
            }
            let length = path.len();
            for attribute in self.attributes_of(element) {
                path.extend_from_slice(b".@");
                path.extend_from_slice(attribute.name.local.of(&self.source));
                path.truncate(LONGEST_PATH);
                let taken = sink.arg(path, attribute.value.of(&self.values));
                path.truncate(length);
                taken?;
            }
            if element.end as usize == index + 1 {
                sink.arg(path, element.text.of(&self.text))?;
                continue;
            }
            let texts = &self.texts[element.first_text as usize..element.end_text as usize];
            let own = texts.iter().filter(|text| text.parent as usize == index);
            for text in own {
                let text = text.text.of(&self.text);
                if !text.trim_ascii().is_empty() {
                    sink.arg(path, text)?;
                }
            }
        }
        Ok(())
    }

    fn attributes_of(&self, element: &Element) -> &[Attribute] {
        &self.attributes[element.first_attribute as usize..element.end_attribute as usize]
    }
}

#[cfg(test)]
mod tests;
