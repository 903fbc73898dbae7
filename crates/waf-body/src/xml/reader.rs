//! The text, checked and laid flat.

use super::{Attribute, Document, Element, Name, Span, TextNode, encoding};
use crate::{Error, ErrorKind, Limits};

/// Namespaces that may be declared around one place. Each name is looked up among
/// them, so this bounds the work per name.
const MOST_NAMESPACES: usize = 128;

pub(super) fn read(
    document: &mut Document,
    text: &[u8],
    complete: bool,
    limits: &Limits,
) -> Result<(), Error> {
    // A body's size is bounded far below this; places are kept in 32 bits.
    if text.len() > (u32::MAX / 2) as usize {
        return Err(Error::new(ErrorKind::Xml("a document larger than 2 GiB"), 0));
    }
    let mut source = std::mem::take(&mut document.source);
    let encoded = encoding::to_utf8(text, complete, &mut source);
    let mut reader = Reader { text: &source, at: 0, complete, limits, document };
    let mut result = match reader.document() {
        Ok(()) => Ok(()),
        // What is wrong at the very end may be because it is cut there.
        Err(Stop::Wrong(what, at)) if complete || at < source.len() => Err((what, at)),
        Err(Stop::End) if complete => Err(("the document ends too early", source.len())),
        Err(_) => Ok(()),
    };
    reader.close_all();
    document.source = source;
    // That comes first: what follows it was not read.
    if encoded.is_err() {
        result = encoded;
    }
    result.map_err(|(what, at)| Error::new(ErrorKind::Xml(what), at))
}

enum Stop {
    /// The text ends here.
    End,
    Wrong(&'static str, usize),
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    complete: bool,
    limits: &'a Limits,
    document: &'a mut Document,
}

impl Reader<'_> {
    /// XML 1.0 §2.1: prolog, one element, and nothing after but comments,
    /// instructions and blanks.
    fn document(&mut self) -> Result<(), Stop> {
        let mut doctype_seen = false;
        if self.looking_at(b"<?xml") && self.byte(5).is_some_and(is_blank) {
            self.at += b"<?xml".len();
            self.declaration()?;
        }
        loop {
            self.skip_blanks();
            if self.at == self.text.len() {
                return match self.document.elements.is_empty() {
                    true => Err(Stop::End),
                    false => Ok(()),
                };
            }
            if self.looking_at(b"<!--") {
                self.comment()?;
            } else if self.looking_at(b"<?") {
                self.instruction()?;
            } else if !self.document.elements.is_empty() {
                return self.wrong("something follows the document's element");
            } else if self.looking_at(b"<!DOCTYPE") && !doctype_seen {
                doctype_seen = true;
                self.doctype()?;
            } else if self.byte(0) == Some(b'<') {
                self.start_tag()?;
                self.content()?;
            } else {
                return self.wrong("text outside of the document's element");
            }
        }
    }

    /// §2.8: version, encoding, standalone, in this order; the first is due.
    fn declaration(&mut self) -> Result<(), Stop> {
        const WRONG: &str = "a malformed XML declaration";
        let mut allowed = &[&b"version"[..], b"encoding", b"standalone"][..];
        loop {
            let blanks = self.byte(0).is_some_and(is_blank);
            self.skip_blanks();
            if self.byte(0).ok_or(Stop::End)? == b'?' {
                // After the version, at least.
                if allowed.len() == 3 || self.byte(1).ok_or(Stop::End)? != b'>' {
                    return self.wrong(WRONG);
                }
                self.at += 2;
                return Ok(());
            }
            let name = self.name()?;
            let place = allowed.iter().position(|known| *known == name.of(self.text));
            let first = allowed.len() == 3;
            let Some(place) = place.filter(|place| blanks && (*place == 0 || !first)) else {
                return self.wrong(WRONG);
            };
            let which = allowed[place];
            allowed = &allowed[place + 1..];
            self.skip_blanks();
            if self.byte(0).ok_or(Stop::End)? != b'=' {
                return self.wrong(WRONG);
            }
            self.at += 1;
            self.skip_blanks();
            let quote = self.byte(0).ok_or(Stop::End)?;
            if !matches!(quote, b'"' | b'\'') {
                return self.wrong(WRONG);
            }
            self.at += 1;
            let value = self.through(&[quote])?.of(self.text);
            let good = match which {
                b"version" => match value {
                    [first, b'.', rest @ ..] => first.is_ascii_digit() && rest.iter().all(u8::is_ascii_digit),
                    _ => false,
                },
                b"standalone" => matches!(value, b"yes" | b"no"),
                _ => {
                    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
                    value.first().is_some_and(u8::is_ascii_alphabetic) && value.iter().all(goes_on)
                }
            };
            if !good {
                return self.wrong(WRONG);
            }
        }
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, Stop> {
        Err(Stop::Wrong(what, self.at))
    }

    #[inline]
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    #[inline]
    fn looking_at(&self, word: &[u8]) -> bool {
        self.text[self.at..].starts_with(word)
    }

    fn skip_blanks(&mut self) {
        while self.byte(0).is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Over everything up to and with `mark`; what lies before it.
    fn through(&mut self, mark: &[u8]) -> Result<Span, Stop> {
        let found = memchr::memmem::find(&self.text[self.at..], mark).ok_or(Stop::End)?;
        let span = Span { begin: self.at as u32, end: (self.at + found) as u32 };
        self.at += found + mark.len();
        Ok(span)
    }

    /// §2.5: no two dashes inside.
    fn comment(&mut self) -> Result<(), Stop> {
        self.at += b"<!--".len();
        self.through(b"--")?;
        match self.byte(0) {
            Some(b'>') => {
                self.at += 1;
                Ok(())
            }
            Some(_) => self.wrong("two dashes inside a comment"),
            None => Err(Stop::End),
        }
    }

    /// §2.6: the name `xml` is reserved.
    fn instruction(&mut self) -> Result<(), Stop> {
        self.at += b"<?".len();
        let target = self.name()?;
        if target.of(self.text).eq_ignore_ascii_case(b"xml") {
            return self.wrong("an XML declaration that is not at the beginning");
        }
        if !self.looking_at(b"?>") && !self.byte(0).is_some_and(is_blank) {
            return self.wrong("a malformed processing instruction");
        }
        self.through(b"?>")?;
        Ok(())
    }

    /// §2.8, without an internal subset.
    fn doctype(&mut self) -> Result<(), Stop> {
        self.at += b"<!DOCTYPE".len();
        self.skip_blanks();
        self.name()?;
        loop {
            self.skip_blanks();
            match self.byte(0).ok_or(Stop::End)? {
                b'>' => {
                    self.at += 1;
                    return Ok(());
                }
                b'[' => return self.wrong("a document type with declarations of its own is refused"),
                quote @ (b'"' | b'\'') => {
                    self.document.external_dtd = true;
                    self.at += 1;
                    self.through(&[quote])?;
                }
                _ => {
                    let word = self.name()?;
                    if !matches!(word.of(self.text), b"SYSTEM" | b"PUBLIC") {
                        return self.wrong("a malformed document type declaration");
                    }
                }
            }
        }
    }

    /// What stands inside the outermost element, up to its end tag.
    fn content(&mut self) -> Result<(), Stop> {
        while !self.document.open.is_empty() {
            let next = memchr::memchr(b'<', &self.text[self.at..]);
            let end = next.map_or(self.text.len(), |found| self.at + found);
            if end > self.at {
                self.characters(end)?;
            }
            if next.is_none() {
                return Err(Stop::End);
            }
            match self.byte(1).ok_or(Stop::End)? {
                b'/' => self.end_tag()?,
                b'?' => self.instruction()?,
                b'!' if self.looking_at(b"<!--") => self.comment()?,
                b'!' if self.looking_at(b"<![CDATA[") => self.cdata()?,
                b'!' if self.is_cut(b"<!--") || self.is_cut(b"<![CDATA[") => return Err(Stop::End),
                b'!' => return self.wrong("a declaration inside the document's element"),
                _ => self.start_tag()?,
            }
        }
        Ok(())
    }

    fn is_cut(&self, word: &[u8]) -> bool {
        word.starts_with(&self.text[self.at..])
    }

    fn count_node(&self) -> Result<(), Stop> {
        let document = &*self.document;
        let nodes = document.elements.len() + document.attributes.len() + document.texts.len();
        match nodes < self.limits.xml_nodes as usize {
            true => Ok(()),
            false => self.wrong("more nodes than the limit"),
        }
    }

    /// Character data up to `end`, with its references, as one text node.
    fn characters(&mut self, end: usize) -> Result<(), Stop> {
        self.count_node()?;
        let begin = self.document.text.len();
        let raw = &self.text[self.at..end];
        // §2.4: the mark that ends a CDATA section must not stand alone.
        let result = match memchr::memmem::find(raw, b"]]>") {
            Some(found) => Err(Stop::Wrong("`]]>` in character data", self.at + found)),
            None => append_characters(raw, self.at, Blanks::Kept, &mut self.document.text),
        };
        self.text_node(begin);
        self.at = end;
        match result {
            // A reference that the text's end cuts.
            Err(Stop::Wrong(_, at)) if !self.complete && end == self.text.len() && end - at < 16 => {
                Err(Stop::End)
            }
            result => result,
        }
    }

    fn cdata(&mut self) -> Result<(), Stop> {
        self.count_node()?;
        self.at += b"<![CDATA[".len();
        let begin = self.document.text.len();
        let from = self.at;
        let (to, cut) = match self.through(b"]]>") {
            Ok(span) => (span.end as usize, false),
            Err(_) => (self.text.len(), true),
        };
        let raw = &self.text[from..to];
        append_plain(raw, from, &mut self.document.text)?;
        self.text_node(begin);
        if cut { Err(Stop::End) } else { Ok(()) }
    }

    /// What was appended to the text since `begin` is a node.
    fn text_node(&mut self, begin: usize) {
        let end = self.document.text.len();
        let Some(&parent) = self.document.open.last() else { return };
        if end == begin {
            return;
        }
        let after = self.document.elements.len() as u32 - 1;
        let text = Span { begin: begin as u32, end: end as u32 };
        self.document.texts.push(TextNode { parent, after, text });
    }

    /// §3.1: `<name attributes>` or `<name attributes/>`.
    fn start_tag(&mut self) -> Result<(), Stop> {
        self.count_node()?;
        if self.document.open.len() >= self.limits.depth as usize {
            return self.wrong("elements nested deeper than the limit");
        }
        self.at += 1;
        let full = self.name()?;
        let index = self.document.elements.len() as u32;
        let first_attribute = self.document.attributes.len() as u32;
        let first_text = self.document.texts.len() as u32;
        let text = self.document.text.len() as u32;
        // Pushed first: what an error leaves of it can still be selected.
        self.document.elements.push(Element {
            name: Name { full, ..self.split(full) },
            parent: self.document.open.last().copied().unwrap_or(index),
            end: index + 1,
            first_attribute,
            end_attribute: first_attribute,
            first_text,
            end_text: first_text,
            text: Span { begin: text, end: text },
        });
        self.document.open.push(index);
        let empty = self.attributes(index)?;
        self.resolve(index);
        if empty {
            self.close();
        }
        Ok(())
    }

    /// The attributes of element `index`, up to and with the tag's end; whether
    /// the element is empty.
    fn attributes(&mut self, index: u32) -> Result<bool, Stop> {
        let mut count = 0;
        loop {
            let before = self.at;
            self.skip_blanks();
            match self.byte(0).ok_or(Stop::End)? {
                b'>' => {
                    self.at += 1;
                    return Ok(false);
                }
                b'/' => {
                    return match self.byte(1).ok_or(Stop::End)? {
                        b'>' => {
                            self.at += 2;
                            Ok(true)
                        }
                        _ => self.wrong("a malformed tag"),
                    };
                }
                _ if self.at == before => return self.wrong("a malformed tag"),
                _ => {}
            }
            count += 1;
            if count > self.limits.xml_attributes {
                return self.wrong("more attributes in one element than the limit");
            }
            self.attribute(index)?;
        }
    }

    fn attribute(&mut self, index: u32) -> Result<(), Stop> {
        self.count_node()?;
        let begin = self.at;
        let full = self.name()?;
        self.skip_blanks();
        if self.byte(0).ok_or(Stop::End)? != b'=' {
            return self.wrong("an attribute without a value");
        }
        self.at += 1;
        self.skip_blanks();
        let quote = self.byte(0).ok_or(Stop::End)?;
        if !matches!(quote, b'"' | b'\'') {
            return self.wrong("an attribute's value without quotes");
        }
        self.at += 1;
        let from = self.at;
        let (to, cut) = match self.through(&[quote]) {
            Ok(span) => (span.end as usize, false),
            Err(_) => (self.text.len(), true),
        };
        let raw = &self.text[from..to];
        if let Some(found) = memchr::memchr(b'<', raw) {
            return Err(Stop::Wrong("`<` in an attribute's value", from + found));
        }
        let value_begin = self.document.values.len();
        let appended = append_characters(raw, from, Blanks::Normalised, &mut self.document.values);
        let value = Span { begin: value_begin as u32, end: self.document.values.len() as u32 };
        let name = Name { full, ..self.split(full) };
        let text = self.text;
        let prefix = match full.of(text) {
            b"xmlns" => Some(Span::default()),
            other if other.starts_with(b"xmlns:") => Some(name.local),
            _ => None,
        };
        let element = &mut self.document.elements[index as usize];
        if let Some(prefix) = prefix {
            // Namespaces in XML §3: a declaration is no attribute.
            self.document.scope.push((prefix, value, index));
            if self.document.scope.len() > MOST_NAMESPACES {
                return Err(Stop::Wrong("more namespaces than the limit", begin));
            }
        } else {
            let others = &self.document.attributes[element.first_attribute as usize..];
            if others.iter().any(|other| other.name.full.of(text) == full.of(text)) {
                return Err(Stop::Wrong("an attribute that is there twice", begin));
            }
            self.document.attributes.push(Attribute { name, owner: index, value });
            element.end_attribute += 1;
        }
        if cut {
            return Err(Stop::End);
        }
        appended
    }

    /// Gives element `index` and its attributes their namespaces.
    fn resolve(&mut self, index: u32) {
        let text = self.text;
        let Document { elements, attributes, scope, .. } = &mut *self.document;
        let uri = |name: &Name, default: bool| {
            let prefix_length = (name.local.begin - name.full.begin).saturating_sub(1);
            let prefix = Span { begin: name.full.begin, end: name.full.begin + prefix_length };
            if prefix_length == 0 && !default {
                return Span::default();
            }
            let declared = scope.iter().rev().find(|(known, _, _)| known.of(text) == prefix.of(text));
            declared.map_or(Span::default(), |(_, uri, _)| *uri)
        };
        let element = &mut elements[index as usize];
        element.name.uri = uri(&element.name, true);
        let own = element.first_attribute as usize..element.end_attribute as usize;
        for attribute in &mut attributes[own] {
            // An attribute without a prefix is in no namespace.
            attribute.name.uri = uri(&attribute.name, false);
        }
    }

    fn end_tag(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        self.at += b"</".len();
        let name = self.name()?;
        self.skip_blanks();
        if self.byte(0).ok_or(Stop::End)? != b'>' {
            return self.wrong("a malformed end tag");
        }
        self.at += 1;
        let Some(&index) = self.document.open.last() else { return Ok(()) };
        let element = &self.document.elements[index as usize];
        if element.name.full.of(self.text) != name.of(self.text) {
            return Err(Stop::Wrong("an end tag that fits no start tag", begin));
        }
        self.close();
        Ok(())
    }

    /// Closes the innermost open element.
    fn close(&mut self) {
        let Some(index) = self.document.open.pop() else { return };
        let document = &mut *self.document;
        let end = document.elements.len() as u32;
        let element = &mut document.elements[index as usize];
        element.end = end;
        element.end_text = document.texts.len() as u32;
        element.text.end = document.text.len() as u32;
        while document.scope.pop_if(|(_, _, declared_by)| *declared_by == index).is_some() {}
    }

    /// Closes what an error or the text's end left open.
    fn close_all(&mut self) {
        while let Some(&index) = self.document.open.last() {
            self.resolve(index);
            self.close();
        }
    }

    /// §2.3: a name. Characters beyond ASCII are all taken for name characters.
    fn name(&mut self) -> Result<Span, Stop> {
        let begin = self.at;
        let starts = |byte: u8| byte.is_ascii_alphabetic() || byte >= 0x80 || b"_:".contains(&byte);
        let goes_on = |byte: u8| starts(byte) || byte.is_ascii_digit() || b"-.".contains(&byte);
        if !starts(self.byte(0).ok_or(Stop::End)?) {
            return self.wrong("a name is due");
        }
        while self.byte(0).is_some_and(goes_on) {
            self.at += 1;
        }
        // At the text's end the name may be cut, which the caller finds out.
        Ok(Span { begin: begin as u32, end: self.at as u32 })
    }

    /// A name without its prefix.
    fn split(&self, full: Span) -> Name {
        let colon = memchr::memchr(b':', full.of(self.text));
        let local = match colon {
            Some(at) if at > 0 && full.begin + at as u32 + 1 < full.end => {
                Span { begin: full.begin + at as u32 + 1, ..full }
            }
            _ => full,
        };
        Name { full, local, uri: Span::default() }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Appends character data that begins at byte `base` of the text, its references
/// replaced.
fn append_characters(raw: &[u8], base: usize, blanks: Blanks, out: &mut Vec<u8>) -> Result<(), Stop> {
    let plain = |at: usize, end: usize, out: &mut Vec<u8>| {
        let begin = out.len();
        append_plain(&raw[at..end], base + at, out)?;
        if let Blanks::Normalised = blanks {
            for byte in &mut out[begin..] {
                if matches!(byte, b'\t' | b'\n') {
                    *byte = b' ';
                }
            }
        }
        Ok(())
    };
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'&', &raw[at..]) {
        plain(at, at + found, out)?;
        at += found;
        // The longest is `&#x10FFFF;`, but leading zeros are allowed.
        let end = memchr::memchr(b';', &raw[at..raw.len().min(at + 64)]);
        let Some(end) = end else {
            return Err(Stop::Wrong("a reference without its semicolon", base + at));
        };
        let Some(character) = reference(&raw[at + 1..at + end]) else {
            return Err(Stop::Wrong("a reference to what is not defined", base + at));
        };
        crate::json::push_utf8(out, u32::from(character));
        at += end + 1;
    }
    plain(at, raw.len(), out)
}

/// What becomes of tabs and line ends that are written as such.
#[derive(Clone, Copy)]
enum Blanks {
    Kept,
    /// §3.3.3: in an attribute's value they become spaces; those written as
    /// references stay.
    Normalised,
}

/// §4.1, §4.6: a character's number, or one of the five predefined entities.
fn reference(name: &[u8]) -> Option<char> {
    let number = match name {
        b"lt" => return Some('<'),
        b"gt" => return Some('>'),
        b"amp" => return Some('&'),
        b"apos" => return Some('\''),
        b"quot" => return Some('"'),
        [b'#', b'x', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    };
    let character = char::from_u32(number)?;
    // §2.2: not every number is an XML character.
    let excluded = number < 0x20 && !matches!(number, 0x09 | 0x0A | 0x0D);
    (!excluded && !matches!(number, 0xFFFE | 0xFFFF)).then_some(character)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, &digit| {
        number.checked_mul(radix)?.checked_add((digit as char).to_digit(radix)?)
    })
}

/// Appends text without references. §2.11: every line end becomes LF.
fn append_plain(raw: &[u8], base: usize, out: &mut Vec<u8>) -> Result<(), Stop> {
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    if let Some(at) = raw.iter().position(control) {
        out.extend_from_slice(&raw[..at]);
        return Err(Stop::Wrong("a control character", base + at));
    }
    let mut rest = raw;
    while let Some(found) = memchr::memchr(b'\r', rest) {
        out.extend_from_slice(&rest[..found]);
        out.push(b'\n');
        rest = &rest[found + 1..];
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    }
    out.extend_from_slice(rest);
    Ok(())
}
