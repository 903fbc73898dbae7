//! XPath expressions, compiled when rules are loaded.
//!
//! Understood: location paths (absolute or from the document) with the axes
//! `child`, `attribute`, `descendant`, `descendant-or-self`, `self`, `parent` in
//! full and short; names, `prefix:name`, `prefix:*`, `*`, `text()`, `node()`;
//! predicates with a position, `last()`, a path, `=` and `!=` between paths,
//! literals, `.`, `local-name()`, `name()`, `namespace-uri()`, `normalize-space()`;
//! `contains()`, `starts-with()`, `not()`, `and`, `or`. Everything else is an error
//! when the rule is loaded, never a rule that silently selects nothing.

use std::fmt;

/// An XPath expression that a rule selects with, compiled when rules are loaded.
#[derive(Debug, Clone)]
pub struct Selector {
    pub(super) steps: Vec<Step>,
}

/// What is wrong with an XPath expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError {
    /// Where, bytes from its beginning.
    pub at: usize,
    /// What, as a lower-case fragment.
    pub what: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {} of the XPath expression", self.what, self.at + 1)
    }
}

impl std::error::Error for SelectorError {}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) axis: Axis,
    pub(super) test: Test,
    pub(super) predicates: Vec<Predicate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Child,
    Attribute,
    Descendant,
    DescendantOrSelf,
    Itself,
    Parent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// `node()`.
    Node,
    /// `text()`.
    Text,
    /// `*`.
    Any,
    /// `prefix:*`: the namespace's URI.
    Namespace(Vec<u8>),
    /// A name in a namespace; in none where the URI is empty.
    Name { uri: Vec<u8>, local: Vec<u8> },
}

#[derive(Debug, Clone)]
pub(super) enum Predicate {
    Position(u32),
    Last,
    Or(Box<Predicate>, Box<Predicate>),
    And(Box<Predicate>, Box<Predicate>),
    Not(Box<Predicate>),
    Exists(Operand),
    Equal(Operand, Operand),
    NotEqual(Operand, Operand),
    Contains(Operand, Operand),
    StartsWith(Operand, Operand),
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Literal(Vec<u8>),
    /// Relative steps: any node's string value may fit.
    Path(Vec<Step>),
    LocalName,
    FullName,
    NamespaceUri,
    NormalizedSpace,
}

/// How deep expressions may nest. Rules are written by people.
const DEEPEST: usize = 16;

impl Selector {
    /// Compiles `text`. `namespaces` are the rule's `xmlns` actions, prefix and
    /// URI.
    ///
    /// # Errors
    /// What is not XPath, not of the part that we know, or uses a prefix that the
    /// rule does not declare.
    pub fn parse(text: &str, namespaces: &[(&str, &str)]) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, at: 0, depth: 0, namespaces };
        let steps = parser.path()?;
        parser.blanks();
        if parser.at < text.len() {
            return parser.error("the expression goes on where it should end");
        }
        if steps.is_empty() {
            return parser.error("an expression without a step");
        }
        Ok(Self { steps })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    namespaces: &'a [(&'a str, &'a str)],
}

impl Parser<'_> {
    fn error<T>(&self, what: impl Into<String>) -> Result<T, SelectorError> {
        Err(SelectorError { at: self.at, what: what.into() })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn take(&mut self, word: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn due(&mut self, word: &str) -> Result<(), SelectorError> {
        match self.take(word) {
            true => Ok(()),
            false => self.error(format!("`{word}` is due")),
        }
    }

    /// XPath 1.0 §2: steps between slashes.
    fn path(&mut self) -> Result<Vec<Step>, SelectorError> {
        let mut steps = Vec::new();
        if self.take("//") {
            steps.push(anywhere());
        } else if self.take("/") {
            self.blanks();
            if self.rest().is_empty() {
                // The document itself.
                steps.push(Step { axis: Axis::Itself, test: Test::Node, predicates: Vec::new() });
                return Ok(steps);
            }
        }
        loop {
            steps.push(self.step()?);
            if self.take("//") {
                steps.push(anywhere());
            } else if !self.take("/") {
                return Ok(steps);
            }
        }
    }

    fn step(&mut self) -> Result<Step, SelectorError> {
        if self.take("..") {
            return Ok(Step { axis: Axis::Parent, test: Test::Node, predicates: Vec::new() });
        }
        if self.take(".") {
            return Ok(Step { axis: Axis::Itself, test: Test::Node, predicates: Vec::new() });
        }
        let mut axis = Axis::Child;
        if self.take("@") {
            axis = Axis::Attribute;
        } else {
            let names = [
                ("child::", Axis::Child),
                ("attribute::", Axis::Attribute),
                ("descendant::", Axis::Descendant),
                ("descendant-or-self::", Axis::DescendantOrSelf),
                ("self::", Axis::Itself),
                ("parent::", Axis::Parent),
            ];
            for (name, named) in names {
                if self.take(name) {
                    axis = named;
                    break;
                }
            }
        }
        let test = self.test()?;
        let mut predicates = Vec::new();
        while self.take("[") {
            predicates.push(self.any()?);
            self.due("]")?;
        }
        Ok(Step { axis, test, predicates })
    }

    fn test(&mut self) -> Result<Test, SelectorError> {
        if self.take("*") {
            return Ok(Test::Any);
        }
        let begin = self.at;
        let name = self.name()?;
        if self.rest().starts_with("::") {
            self.at = begin;
            return self.error(format!("the axis `{name}` is not supported"));
        }
        if self.take("(") {
            let test = match name.as_str() {
                "text" => Test::Text,
                "node" => Test::Node,
                _ => {
                    self.at = begin;
                    return self.error(format!("`{name}()` is not supported here"));
                }
            };
            self.due(")")?;
            return Ok(test);
        }
        let Some((prefix, local)) = name.split_once(':') else {
            // §2.3: a name without a prefix is in no namespace.
            return Ok(Test::Name { uri: Vec::new(), local: name.into_bytes() });
        };
        let declared = self.namespaces.iter().find(|(known, _)| *known == prefix);
        let Some((_, uri)) = declared else {
            self.at = begin;
            return self.error(format!(
                "the prefix `{prefix}` is not declared; hint: add `xmlns:{prefix}=…` to the rule"
            ));
        };
        let uri = uri.as_bytes().to_vec();
        Ok(match local {
            "*" => Test::Namespace(uri),
            _ => Test::Name { uri, local: local.as_bytes().to_vec() },
        })
    }

    /// A name, with its prefix; `prefix:*` too.
    fn name(&mut self) -> Result<String, SelectorError> {
        self.blanks();
        let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let mut length = self.rest().find(|c| !in_name(c)).unwrap_or(self.rest().len());
        let good = self.rest().starts_with(|c: char| c.is_alphabetic() || c == '_');
        if !good {
            return self.error("a name is due");
        }
        let after = &self.rest()[length..];
        if let Some(local) = after.strip_prefix(':')
            && !local.starts_with(':')
        {
            let local_length = match local.starts_with('*') {
                true => 1,
                false => local.find(|c| !in_name(c)).unwrap_or(local.len()),
            };
            if local_length == 0 {
                return self.error("a name is due after the prefix");
            }
            length += 1 + local_length;
        }
        let name = self.rest()[..length].to_owned();
        self.at += length;
        Ok(name)
    }

    fn any(&mut self) -> Result<Predicate, SelectorError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.error("an expression nested too deep");
        }
        let mut left = self.all()?;
        while self.word("or") {
            left = Predicate::Or(Box::new(left), Box::new(self.all()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn all(&mut self) -> Result<Predicate, SelectorError> {
        let mut left = self.comparison()?;
        while self.word("and") {
            left = Predicate::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    /// An operator that is a word: not the beginning of a longer one.
    fn word(&mut self, word: &str) -> bool {
        self.blanks();
        let after = self.rest().strip_prefix(word);
        let found = after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '-'));
        if found {
            self.at += word.len();
        }
        found
    }

    fn comparison(&mut self) -> Result<Predicate, SelectorError> {
        self.blanks();
        if self.take("(") {
            let inner = self.any()?;
            self.due(")")?;
            return Ok(inner);
        }
        let digits = self.rest().find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest().len());
        if digits > 0 {
            let Ok(position) = self.rest()[..digits].parse() else {
                return self.error("a position that is too large");
            };
            self.at += digits;
            return Ok(Predicate::Position(position));
        }
        if self.call("last")? {
            self.due(")")?;
            return Ok(Predicate::Last);
        }
        if self.call("position")? {
            self.due(")")?;
            self.due("=")?;
            return match self.comparison()? {
                same @ (Predicate::Position(_) | Predicate::Last) => Ok(same),
                _ => self.error("`position()` compares with a number or `last()` only"),
            };
        }
        if self.call("not")? {
            let inner = self.any()?;
            self.due(")")?;
            return Ok(Predicate::Not(Box::new(inner)));
        }
        for (name, make) in [
            ("contains", Predicate::Contains as fn(Operand, Operand) -> Predicate),
            ("starts-with", Predicate::StartsWith),
        ] {
            if self.call(name)? {
                let left = self.operand()?;
                self.due(",")?;
                let right = self.operand()?;
                self.due(")")?;
                return Ok(make(left, right));
            }
        }
        let left = self.operand()?;
        if self.take("!=") {
            return Ok(Predicate::NotEqual(left, self.operand()?));
        }
        if self.take("=") {
            return Ok(Predicate::Equal(left, self.operand()?));
        }
        Ok(Predicate::Exists(left))
    }

    /// `name(`: a function's call begins.
    fn call(&mut self, name: &str) -> Result<bool, SelectorError> {
        self.blanks();
        let after = self.rest().strip_prefix(name);
        let Some(arguments) = after.map(str::trim_start).and_then(|after| after.strip_prefix('(')) else {
            return Ok(false);
        };
        self.at = self.text.len() - arguments.len();
        Ok(true)
    }

    fn operand(&mut self) -> Result<Operand, SelectorError> {
        self.blanks();
        for quote in ['"', '\''] {
            if let Some(rest) = self.rest().strip_prefix(quote) {
                let Some(length) = rest.find(quote) else {
                    return self.error("a literal without its closing quote");
                };
                let literal = rest.as_bytes()[..length].to_vec();
                self.at += length + 2;
                return Ok(Operand::Literal(literal));
            }
        }
        for (name, operand) in [
            ("local-name", Operand::LocalName),
            ("name", Operand::FullName),
            ("namespace-uri", Operand::NamespaceUri),
            ("normalize-space", Operand::NormalizedSpace),
        ] {
            if self.call(name)? {
                self.due(")")?;
                return Ok(operand);
            }
        }
        if self.rest().starts_with('/') {
            return self.error("an absolute path inside a predicate is not supported");
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.error("an expression nested too deep");
        }
        let path = self.path()?;
        self.depth -= 1;
        Ok(Operand::Path(path))
    }
}

/// What `//` stands for: `/descendant-or-self::node()/`.
fn anywhere() -> Step {
    Step { axis: Axis::DescendantOrSelf, test: Test::Node, predicates: Vec::new() }
}
