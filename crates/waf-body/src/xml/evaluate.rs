//! Selectors run over documents.

use std::cell::Cell;

use super::selector::{Axis, Operand, Predicate, Selector, Step, Test};
use super::{Document, Name};
use crate::{Error, ErrorKind, Full, Limits};

/// A node: its kind, and where it is in the document's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Document,
    Element(u32),
    Attribute(u32),
    Text(u32),
}

/// The steps are used up.
struct UsedUp;

pub(super) fn select(
    document: &Document,
    selector: &Selector,
    limits: &Limits,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Full>,
) -> Result<(), Error> {
    let full = |_| Error::new(ErrorKind::Full, 0);
    // What the Core Rule Set asks for of every document needs no list of nodes.
    match &selector.steps[..] {
        [child] if is_plain(child, Axis::Child, &Test::Any) => {
            let Some(outermost) = document.elements.first() else { return Ok(()) };
            return take(outermost.text.of(&document.text)).map_err(full);
        }
        [anywhere, attributes]
            if is_plain(anywhere, Axis::DescendantOrSelf, &Test::Node)
                && is_plain(attributes, Axis::Attribute, &Test::Any) =>
        {
            for attribute in &document.attributes {
                take(attribute.value.of(&document.values)).map_err(full)?;
            }
            return Ok(());
        }
        _ => {}
    }
    let evaluation = Evaluation { document, steps_left: Cell::new(limits.xpath_steps) };
    let nodes = evaluation.path(&selector.steps, Node::Document);
    let what = ErrorKind::Xml("a selector needs more steps than the limit");
    let nodes = nodes.map_err(|UsedUp| Error::new(what, 0))?;
    for node in nodes {
        take(evaluation.string_value(node)).map_err(full)?;
    }
    Ok(())
}

fn is_plain(step: &Step, axis: Axis, test: &Test) -> bool {
    step.axis == axis && step.test == *test && step.predicates.is_empty()
}

struct Evaluation<'d> {
    document: &'d Document,
    steps_left: Cell<u32>,
}

impl<'d> Evaluation<'d> {
    fn spend(&self) -> Result<(), UsedUp> {
        self.spend_for(b"")
    }

    /// A step, and one more for each 64 bytes that have to be looked through.
    fn spend_for(&self, bytes: &[u8]) -> Result<(), UsedUp> {
        let steps = 1 + (bytes.len() / 64) as u32;
        let left = self.steps_left.get().checked_sub(steps);
        self.steps_left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(UsedUp)
    }

    /// The nodes that `steps` lead to from `from`, in document order.
    fn path(&self, steps: &[Step], from: Node) -> Result<Vec<Node>, UsedUp> {
        let mut nodes = vec![from];
        let mut found = Vec::new();
        for step in steps {
            let mut next = Vec::new();
            // Contexts are in document order: one inside the one before brings
            // no descendants that are not there already.
            let descends = matches!(step.axis, Axis::Descendant | Axis::DescendantOrSelf);
            let merged = descends && step.predicates.is_empty();
            let mut covered = 0;
            for &context in &nodes {
                if merged && let Node::Element(index) = context {
                    if index < covered {
                        continue;
                    }
                    covered = self.document.elements[index as usize].end;
                }
                found.clear();
                self.axis(step, context, &mut found)?;
                for predicate in &step.predicates {
                    self.filter(predicate, &mut found)?;
                }
                next.append(&mut found);
            }
            if nodes.len() > 1 {
                next.sort_unstable_by_key(|&node| self.order(node));
                next.dedup();
            }
            nodes = next;
        }
        Ok(nodes)
    }

    /// Document order: an element, its attributes, what is in it.
    fn order(&self, node: Node) -> (u32, u8, u32) {
        match node {
            Node::Document => (0, 0, 0),
            Node::Element(index) => (index, 1, 0),
            Node::Attribute(index) => (self.document.attributes[index as usize].owner, 2, index),
            Node::Text(index) => (self.document.texts[index as usize].after, 3, index),
        }
    }

    fn axis(&self, step: &Step, context: Node, out: &mut Vec<Node>) -> Result<(), UsedUp> {
        let mut put = |node| {
            self.spend()?;
            if self.fits(&step.test, node, step.axis) {
                out.push(node);
            }
            Ok(())
        };
        match step.axis {
            Axis::Itself => put(context)?,
            Axis::Parent => {
                if let Some(parent) = self.parent(context) {
                    put(parent)?;
                }
            }
            Axis::Attribute => {
                if let Node::Element(index) = context {
                    let element = &self.document.elements[index as usize];
                    for attribute in element.first_attribute..element.end_attribute {
                        put(Node::Attribute(attribute))?;
                    }
                }
            }
            Axis::Child => self.children(context, &mut put)?,
            Axis::Descendant | Axis::DescendantOrSelf => {
                if step.axis == Axis::DescendantOrSelf {
                    put(context)?;
                }
                self.descendants(context, &mut put)?;
            }
        }
        Ok(())
    }

    fn parent(&self, node: Node) -> Option<Node> {
        match node {
            Node::Document => None,
            Node::Element(0) => Some(Node::Document),
            Node::Element(index) => Some(Node::Element(self.document.elements[index as usize].parent)),
            Node::Attribute(index) => Some(Node::Element(self.document.attributes[index as usize].owner)),
            Node::Text(index) => Some(Node::Element(self.document.texts[index as usize].parent)),
        }
    }

    fn children(
        &self,
        context: Node,
        put: &mut impl FnMut(Node) -> Result<(), UsedUp>,
    ) -> Result<(), UsedUp> {
        let elements = &self.document.elements;
        let (mut child, end, mut text, end_text) = match context {
            Node::Document if elements.is_empty() => return Ok(()),
            Node::Document => return put(Node::Element(0)),
            Node::Element(index) => {
                let element = &elements[index as usize];
                (index + 1, element.end, element.first_text, element.end_text)
            }
            _ => return Ok(()),
        };
        // Text and elements by turns; the text inside a child is skipped whole.
        while child < end {
            let element = &elements[child as usize];
            for own in text..element.first_text {
                put(Node::Text(own))?;
            }
            put(Node::Element(child))?;
            text = element.end_text;
            child = element.end;
        }
        for own in text..end_text {
            put(Node::Text(own))?;
        }
        Ok(())
    }

    fn descendants(
        &self,
        context: Node,
        put: &mut impl FnMut(Node) -> Result<(), UsedUp>,
    ) -> Result<(), UsedUp> {
        let document = self.document;
        let (mut element, end, mut text, end_text) = match context {
            Node::Document => (0, document.elements.len() as u32, 0, document.texts.len() as u32),
            Node::Element(index) => {
                let element = &document.elements[index as usize];
                (index + 1, element.end, element.first_text, element.end_text)
            }
            _ => return Ok(()),
        };
        while element < end || text < end_text {
            let text_first =
                text < end_text && (element >= end || document.texts[text as usize].after < element);
            if text_first {
                put(Node::Text(text))?;
                text += 1;
            } else {
                put(Node::Element(element))?;
                element += 1;
            }
        }
        Ok(())
    }

    fn fits(&self, test: &Test, node: Node, axis: Axis) -> bool {
        // §2.3: names are of the axis' principal kind.
        let named = match node {
            Node::Attribute(index) if axis == Axis::Attribute => {
                Some(&self.document.attributes[index as usize].name)
            }
            Node::Element(index) if axis != Axis::Attribute => {
                Some(&self.document.elements[index as usize].name)
            }
            _ => None,
        };
        match test {
            Test::Node => true,
            Test::Text => matches!(node, Node::Text(_)),
            Test::Any => named.is_some(),
            Test::Namespace(uri) => named.is_some_and(|name| self.uri(name) == uri),
            Test::Name { uri, local } => {
                named.is_some_and(|name| self.local(name) == local && self.uri(name) == uri)
            }
        }
    }

    fn uri(&self, name: &Name) -> &'d [u8] {
        name.uri.of(&self.document.values)
    }

    /// The name without its prefix. A prefix that is not declared is part of the
    /// name, as in libxml2.
    fn local(&self, name: &Name) -> &'d [u8] {
        let undeclared = name.uri.begin == name.uri.end;
        let span = if undeclared { name.full } else { name.local };
        span.of(&self.document.source)
    }

    fn name(&self, node: Node) -> Option<&'d Name> {
        match node {
            Node::Element(index) => Some(&self.document.elements[index as usize].name),
            Node::Attribute(index) => Some(&self.document.attributes[index as usize].name),
            Node::Document | Node::Text(_) => None,
        }
    }

    fn string_value(&self, node: Node) -> &'d [u8] {
        let document = self.document;
        match node {
            Node::Document => document.elements.first().map_or(b"", |one| one.text.of(&document.text)),
            Node::Element(index) => document.elements[index as usize].text.of(&document.text),
            Node::Attribute(index) => document.attributes[index as usize].value.of(&document.values),
            Node::Text(index) => document.texts[index as usize].text.of(&document.text),
        }
    }

    fn filter(&self, predicate: &Predicate, nodes: &mut Vec<Node>) -> Result<(), UsedUp> {
        let last = nodes.len();
        let mut kept = 0;
        for position in 0..last {
            let node = nodes[position];
            if self.holds(predicate, node, position + 1, last)? {
                nodes[kept] = node;
                kept += 1;
            }
        }
        nodes.truncate(kept);
        Ok(())
    }

    fn holds(&self, predicate: &Predicate, node: Node, position: usize, last: usize) -> Result<bool, UsedUp> {
        self.spend()?;
        let holds = |inner: &Predicate| self.holds(inner, node, position, last);
        match predicate {
            Predicate::Position(number) => Ok(position == *number as usize),
            Predicate::Last => Ok(position == last),
            Predicate::Or(left, right) => Ok(holds(left)? || holds(right)?),
            Predicate::And(left, right) => Ok(holds(left)? && holds(right)?),
            Predicate::Not(inner) => Ok(!holds(inner)?),
            Predicate::Exists(Operand::Path(steps)) => Ok(!self.path(steps, node)?.is_empty()),
            // §4.3: a string is true when it is not empty.
            Predicate::Exists(operand) => self.any_value(operand, node, &mut |value| Ok(!value.is_empty())),
            Predicate::Equal(left, right) => self.pair(left, right, node, |left, right| left == right),
            Predicate::NotEqual(left, right) => self.pair(left, right, node, |left, right| left != right),
            Predicate::Contains(left, right) => {
                self.first_pair(left, right, node, |left, right| memchr::memmem::find(left, right).is_some())
            }
            Predicate::StartsWith(left, right) => {
                self.first_pair(left, right, node, |left, right| left.starts_with(right))
            }
        }
    }

    /// §3.4: a comparison holds when it does for any two values.
    fn pair(
        &self,
        left: &Operand,
        right: &Operand,
        node: Node,
        fits: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<bool, UsedUp> {
        self.any_value(left, node, &mut |left| {
            self.any_value(right, node, &mut |right| {
                self.spend_for(left)?;
                Ok(fits(left, right))
            })
        })
    }

    /// §4.2: a function takes a path for its first node, an empty one for the
    /// empty text.
    fn first_pair(
        &self,
        left: &Operand,
        right: &Operand,
        node: Node,
        fits: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<bool, UsedUp> {
        let mut result = None;
        let mut with_left = |left: &[u8]| {
            let mut with_right = |right: &[u8]| {
                self.spend_for(left)?;
                result = Some(fits(left, right));
                Ok(true)
            };
            let found = self.any_value(right, node, &mut with_right)?;
            if !found {
                with_right(b"")?;
            }
            Ok(true)
        };
        if !self.any_value(left, node, &mut with_left)? {
            with_left(b"")?;
        }
        Ok(result == Some(true))
    }

    /// Whether `check` holds for a value of `operand`; stops at the first.
    fn any_value(
        &self,
        operand: &Operand,
        node: Node,
        check: &mut dyn FnMut(&[u8]) -> Result<bool, UsedUp>,
    ) -> Result<bool, UsedUp> {
        let name = self.name(node);
        match operand {
            Operand::Literal(literal) => check(literal),
            Operand::Path(steps) => {
                for node in self.path(steps, node)? {
                    if check(self.string_value(node))? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Operand::LocalName => check(name.map_or(b"", |name| self.local(name))),
            Operand::FullName => check(name.map_or(b"", |name| name.full.of(&self.document.source))),
            Operand::NamespaceUri => check(name.map_or(b"", |name| self.uri(name))),
            Operand::NormalizedSpace => {
                let value = self.string_value(node);
                self.spend_for(value)?;
                let words: Vec<_> =
                    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
                check(&words.join(&b' '))
            }
        }
    }
}
