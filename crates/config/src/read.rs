//! From TOML nodes to typed values, reporting everything that is wrong.
//!
//! A reader never stops at the first mistake: it reports it to the [`Context`]
//! and gives `None`, and its caller goes on with the next key.

use crate::declare::{Key, Kind, TableDoc};
use crate::diagnostic::{Code, Problem, Severity, quote};
use crate::span::{Span, Spanned};
use std::ops::RangeInclusive;
use toml_edit::{Item, TableLike};

/// A value of the file.
pub trait Value: Sized {
    /// What it looks like, for messages, schema and reference.
    fn kind() -> Kind;
    /// Reads it; `None` after what is wrong has been reported.
    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self>;
    /// As it would be written in the file; secrets appear as their source.
    fn show(&self) -> String;
}

/// A value written as a string of some form.
pub trait Text: Sized {
    /// With its article: `a duration`.
    const WHAT: &'static str;
    /// As written in the file, with its quotes.
    const SAMPLE: &'static str;
    /// Reads it.
    fn parse(text: &str) -> Result<Self, Wrong>;
    /// Writes it, without quotes.
    fn text(&self) -> String;
}

/// Why a string is refused, and what to write instead.
#[derive(Debug)]
pub struct Wrong {
    /// A fragment for a message.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Wrong {
    /// With a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

impl From<String> for Wrong {
    /// From a fragment of `base`: what is wrong, a semicolon, what to write.
    fn from(fragment: String) -> Self {
        match fragment.split_once("; ") {
            Some((message, hint)) => Self::new(message, hint),
            None => Self { message: fragment, hint: None },
        }
    }
}

/// A table whose keys `declare::table!` declares.
pub trait Table: Value {
    /// Its documentation.
    const DOC: &'static TableDoc;
    /// Reads its keys.
    fn read_table(table: TableNode<'_>, cx: &mut Context) -> Option<Self>;
}

/// What has been found so far, and where the reader stands.
pub struct Context {
    pub(crate) problems: Vec<Problem>,
    /// Secrets: never shown.
    pub(crate) masked: Vec<Span>,
    /// Parts of the file are missing because they are not TOML: what is absent is not complained of.
    pub(crate) partial: bool,
    /// The table being read, as the file names it: `[pool.app]`.
    pub(crate) place: String,
    /// The key being read.
    key: Option<&'static Key>,
    /// An element of the key's list or table is being read.
    each: bool,
}

impl Context {
    pub(crate) fn new() -> Self {
        let place = "the file".to_owned();
        Self { problems: Vec::new(), masked: Vec::new(), partial: false, place, key: None, each: false }
    }

    pub(crate) fn error(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Problem {
        self.report(Severity::Error, code, span, message)
    }

    pub(crate) fn warning(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Problem {
        self.report(Severity::Warning, code, span, message)
    }

    fn report(
        &mut self,
        severity: Severity,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Problem {
        let at = self.problems.len();
        let message = message.into();
        self.problems.push(Problem { severity, code, span, message, hint: None, related: Vec::new() });
        &mut self.problems[at]
    }

    /// Reports keys that the table does not have.
    pub(crate) fn refuse_unknown(&mut self, table: TableNode<'_>, doc: &'static TableDoc) {
        for (name, _) in table.like.iter() {
            if doc.keys.iter().any(|key| key.name == name) {
                continue;
            }
            let span = table.key_span(name);
            let place = self.place.clone();
            if let Some((_, until)) = doc.later.iter().find(|(later, _)| *later == name) {
                self.error(Code::NotBuilt, span, format!("`{name}` is not built yet")).hint(*until);
                continue;
            }
            let names: Vec<&str> = doc.keys.iter().map(|key| key.name).collect();
            let near = closest(name, &names);
            if near.is_none_or(is_secret) && looks_secret(name) || near.is_some_and(is_secret) {
                self.masked.push(table.value_span(name));
            }
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => match crate::sections::homes_of(name, doc) {
                    Some(home) => format!("`{name}` is a key of {home}"),
                    None => format!("the keys here are {}", list(&names)),
                },
            };
            let message = format!("unknown key {} in {place}", quote(name));
            self.error(Code::UnknownKey, span, message).hint(hint);
        }
    }

    /// Reports a string that is none of a few.
    pub(crate) fn refuse_choice(&mut self, text: &str, span: Span, options: &[&str]) {
        let key = self.key_name();
        let hint = match closest(text, options) {
            Some(near) => format!("did you mean `\"{near}\"`?"),
            None => {
                format!("write {}", list(&options.iter().map(|o| format!("\"{o}\"")).collect::<Vec<_>>()))
            }
        };
        self.error(Code::BadValue, span, format!("{key} cannot be {}", quote(text))).hint(hint);
    }

    /// Reports a value of another type.
    pub(crate) fn refuse_type(&mut self, node: Node<'_>, kind: &Kind) {
        let (key, found) = (self.key_name(), node.describe());
        let hint = match (self.key, node.unit_missing(kind)) {
            (_, Some(unit)) => Some(unit),
            (Some(key), None) => Some(format!("for example: {}", key.example.lines().next().unwrap_or(""))),
            (None, None) => None,
        };
        let each = if self.each { "each of " } else { "" };
        let message = format!("{each}{key} takes {}, not {found}", kind.describe());
        self.error(Code::WrongType, node.span, message).hint = hint;
    }

    /// The least and the greatest value of the key being read.
    pub(crate) fn range(&self) -> Option<Ends> {
        Some(self.key?.range?())
    }

    /// The key being read, for a message.
    pub(crate) fn key_name(&self) -> String {
        self.key.map_or_else(|| "this".to_owned(), |key| format!("`{}`", key.name))
    }

    /// Runs a reader with another table named in messages.
    pub(crate) fn within<R>(&mut self, place: String, read: impl FnOnce(&mut Self) -> R) -> R {
        let place = std::mem::replace(&mut self.place, place);
        let key = self.key.take();
        let each = std::mem::take(&mut self.each);
        let result = read(self);
        self.place = place;
        self.key = key;
        self.each = each;
        result
    }

    /// Runs the reader of an element.
    pub(crate) fn element<R>(&mut self, read: impl FnOnce(&mut Self) -> R) -> R {
        let each = std::mem::replace(&mut self.each, true);
        let result = read(self);
        self.each = each;
        result
    }
}

/// A node of the document and where it stands.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub(crate) kind: NodeKind<'a>,
    pub(crate) span: Span,
}

/// The three shapes of a node.
#[derive(Clone, Copy)]
pub(crate) enum NodeKind<'a> {
    Value(&'a toml_edit::Value),
    Table { like: &'a dyn TableLike, header: bool },
    Tables(&'a toml_edit::ArrayOfTables),
}

impl<'a> Node<'a> {
    /// From an item of a table; `fallback` is where it stands if it does not know.
    pub(crate) fn item(item: &'a Item, fallback: Span) -> Option<Self> {
        let span = item.span().map_or(fallback, Span::from);
        let kind = match item {
            Item::None => return None,
            Item::Value(value) => return Some(Self::value(value, fallback)),
            Item::Table(table) => NodeKind::Table { like: table, header: !table.is_dotted() },
            Item::ArrayOfTables(tables) => NodeKind::Tables(tables),
        };
        Some(Self { kind, span })
    }

    /// From an element of an array.
    pub(crate) fn value(value: &'a toml_edit::Value, fallback: Span) -> Self {
        let span = value.span().map_or(fallback, Span::from);
        let kind = match value {
            toml_edit::Value::InlineTable(table) => NodeKind::Table { like: table, header: false },
            _ => NodeKind::Value(value),
        };
        Self { kind, span }
    }

    /// The string it is.
    pub(crate) fn as_text(self) -> Option<&'a str> {
        match self.kind {
            NodeKind::Value(value) => value.as_str(),
            _ => None,
        }
    }

    pub(crate) fn as_integer(self) -> Option<i64> {
        match self.kind {
            NodeKind::Value(value) => value.as_integer(),
            _ => None,
        }
    }

    pub(crate) fn is_bool(self) -> bool {
        matches!(self.kind, NodeKind::Value(toml_edit::Value::Boolean(_)))
    }

    pub(crate) fn is_array(self) -> bool {
        matches!(self.kind, NodeKind::Value(value) if value.is_array())
            || matches!(self.kind, NodeKind::Tables(_))
    }

    pub(crate) fn is_table(self) -> bool {
        matches!(self.kind, NodeKind::Table { .. })
    }

    /// The string it must be, and where.
    pub(crate) fn text(self, kind: fn() -> Kind, cx: &mut Context) -> Option<(&'a str, Span)> {
        match self.as_text() {
            Some(text) => Some((text, self.span)),
            None => {
                cx.refuse_type(self, &kind());
                None
            }
        }
    }

    /// The inline table it must be: a table does not nest another table header.
    pub(crate) fn inline_table(self, kind: fn() -> Kind, cx: &mut Context) -> Option<TableNode<'a>> {
        match self.kind {
            NodeKind::Table { like, header: false } => Some(TableNode { like, span: self.span }),
            NodeKind::Table { header: true, .. } => {
                let key = cx.key.map_or("key", |key| key.name);
                let place = cx.place.clone();
                cx.error(Code::WrongType, self.span, format!("`{key}` is no table of its own"))
                    .hint(format!("write it on one line of {place}: `{key} = {{ … }}`"));
                None
            }
            _ => {
                cx.refuse_type(self, &kind());
                None
            }
        }
    }

    /// What it is, for a message: `the integer `2``.
    fn describe(self) -> String {
        use toml_edit::Value as V;
        match self.kind {
            NodeKind::Table { .. } => "a table".to_owned(),
            NodeKind::Tables(_) => "a list of tables".to_owned(),
            NodeKind::Value(V::String(_)) => "a string".to_owned(),
            NodeKind::Value(V::Integer(n)) => format!("the integer `{}`", n.value()),
            NodeKind::Value(V::Float(n)) => format!("the number `{}`", n.value()),
            NodeKind::Value(V::Boolean(b)) => format!("`{}`", b.value()),
            NodeKind::Value(V::Datetime(_)) => "a date".to_owned(),
            NodeKind::Value(V::Array(_)) => "a list".to_owned(),
            NodeKind::Value(V::InlineTable(_)) => "a table".to_owned(),
        }
    }

    /// What to write where a bare number stands for something with a unit.
    fn unit_missing(self, kind: &Kind) -> Option<String> {
        let number = self.as_integer()?;
        match kind {
            Kind::Text { what, .. } if *what == <base::Millis as Text>::WHAT => {
                Some(format!("give the unit: `\"{number}s\"`, `\"{number}m\"`"))
            }
            Kind::Text { what, .. } if *what == <base::Bytes as Text>::WHAT => {
                Some(format!("give the unit: `\"{number}B\"`, `\"{number}KiB\"`"))
            }
            _ => None,
        }
    }
}

/// A table being read.
#[derive(Clone, Copy)]
pub struct TableNode<'a> {
    pub(crate) like: &'a dyn TableLike,
    pub(crate) span: Span,
}

impl<'a> TableNode<'a> {
    /// Where a key stands.
    pub(crate) fn key_span(self, name: &str) -> Span {
        let key = self.like.get_key_value(name).and_then(|(key, _)| key.span());
        key.map_or(self.span, Span::from)
    }

    /// Where a key's value stands.
    pub(crate) fn value_span(self, name: &str) -> Span {
        let value = self.like.get(name).and_then(Item::span);
        value.map_or(self.span, Span::from)
    }

    /// A key's value.
    pub(crate) fn get(self, name: &str) -> Option<Node<'a>> {
        let (_, item) = self.like.get_key_value(name)?;
        Node::item(item, self.key_span(name))
    }
}

/// The least and the greatest value of a range, as written in the file.
pub(crate) type Ends = (String, String);

/// One key of a table being read.
pub struct Field<'n, 'c, T> {
    table: TableNode<'n>,
    key: &'static Key,
    cx: &'c mut Context,
    /// The table has a key that is not built yet, so nobody is told to add this one besides.
    excused: bool,
    /// Gives the least and the greatest value when a value is beyond them.
    pub(crate) check: Option<fn(&T) -> Option<Ends>>,
}

impl<'n, 'c, T: Value> Field<'n, 'c, T> {
    /// Finds the declaration of a key.
    pub(crate) fn new(table: TableNode<'n>, doc: &'static TableDoc, name: &str, cx: &'c mut Context) -> Self {
        let key = doc.keys.iter().find(|key| key.name == name);
        let excused = doc.later.iter().any(|(later, _)| table.like.contains_key(later));
        Self { table, key: key.expect("a field reads a key of its own table"), cx, excused, check: None }
    }

    /// Reads the value where there is one: `None` where there is none, and
    /// `Some(None)` where there is one that is wrong.
    fn read(&mut self) -> Option<Option<Spanned<T>>> {
        let node = self.table.get(self.key.name)?;
        let outer = self.cx.key.replace(self.key);
        let each = std::mem::take(&mut self.cx.each);
        let value = T::read(node, self.cx);
        self.cx.key = outer;
        self.cx.each = each;
        let value = value.filter(|value| match self.check.and_then(|check| check(value)) {
            None => true,
            Some((low, high)) => {
                let message = format!("`{}` is {}, beyond its range", self.key.name, quote(&value.show()));
                let hint = format!("it goes from `{low}` to `{high}`");
                self.cx.error(Code::OutOfRange, node.span, message).hint(hint);
                false
            }
        });
        Some(value.map(|value| Spanned::new(value, node.span)))
    }

    pub(crate) fn required(mut self) -> Option<Spanned<T>> {
        if let Some(value) = self.read() {
            return value;
        }
        if !self.cx.partial && !self.excused {
            let message = format!("{} needs the key `{}`", self.cx.place, self.key.name);
            let hint = format!("for example: {}", self.key.example.lines().next().unwrap_or(""));
            self.cx.error(Code::MissingKey, self.table.span, message).hint(hint);
        }
        None
    }

    pub(crate) fn optional(mut self) -> Option<Option<Spanned<T>>> {
        match self.read() {
            None => Some(None),
            Some(value) => value.map(Some),
        }
    }

    pub(crate) fn or_default(mut self, default: fn() -> T) -> Option<Spanned<T>> {
        let span = self.table.span;
        match self.read() {
            None => Some(Spanned { value: default(), span, given: false }),
            Some(value) => value,
        }
    }
}

impl<T: Table> Field<'_, '_, T> {
    pub(crate) fn nested(mut self) -> Option<Spanned<T>> {
        match self.read() {
            Some(value) => value,
            None => empty(self.table.span, self.cx),
        }
    }
}

/// A table that the file does not have: the defaults of its keys.
pub(crate) fn empty<T: Table>(span: Span, cx: &mut Context) -> Option<Spanned<T>> {
    let nothing = toml_edit::Table::new();
    let value = T::read_table(TableNode { like: &nothing, span }, cx)?;
    Some(Spanned { value, span, given: false })
}

/// The range's ends, where the value is beyond them.
pub(crate) fn beyond<T: Value + PartialOrd>(value: &T, range: RangeInclusive<T>) -> Option<Ends> {
    (!range.contains(value)).then(|| (range.start().show(), range.end().show()))
}

/// The name that was probably meant: close enough that a slip of the fingers explains it.
pub(crate) fn closest<'a, S: AsRef<str>>(name: &str, names: &'a [S]) -> Option<&'a str> {
    /// Longer names are no slips, and comparing costs the product of the lengths.
    const LONGEST: usize = 64;
    /// Among more names than these the nearest is nearest by chance.
    const MOST: usize = 500;
    if name.len() > LONGEST || names.len() > MOST {
        return None;
    }
    let lower = name.to_lowercase().replace('-', "_");
    let distance = |other: &str| strsim::damerau_levenshtein(&lower, &other.to_lowercase().replace('-', "_"));
    let (near, edits) = names
        .iter()
        .map(|other| (other.as_ref(), distance(other.as_ref())))
        .min_by_key(|(_, edits)| *edits)?;
    let allowed = (near.chars().count().max(name.chars().count()) / 3).max(1);
    let starts_alike = name.len() >= 4 && near.starts_with(&lower);
    (edits <= allowed || starts_alike).then_some(near)
}

/// Whether a key's value is a secret in this file.
fn is_secret(key: &str) -> bool {
    matches!(key, "password" | "webhook")
}

/// Whether a key that we do not know sounds like a secret.
pub(crate) fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["pass", "secret", "token", "webhook", "credential", "api_key", "apikey", "private"]
        .iter()
        .any(|word| key.contains(word))
}

/// Names in back-ticks with commas; of very many the first.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 24;
    let mut text =
        names.iter().take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
