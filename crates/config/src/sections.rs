//! The tables of the file, and the reader of the whole.

use crate::declare::{Kind, TableDoc};
use crate::diagnostic::{Code, quote};
use crate::keys::{alert, database, firewall, machine, monitor, pool, route, site, waf};
use crate::read::{Context, Node, NodeKind, Table, TableNode, Text, closest, empty, list};
use crate::span::{Span, Spanned};
use crate::values::{Name, read_text};
use std::collections::{HashMap, HashSet};

/// How a table stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Once: `[site]`.
    Single,
    /// Under names: `[pool.NAME]`.
    Named,
    /// In order: `[[route]]`.
    Ordered,
}

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its key in the file: `pool`.
    pub key: &'static str,
    /// How it stands there.
    pub form: Form,
    /// What it has.
    pub doc: &'static TableDoc,
}

/// All tables, in the order of the journey.
pub const SECTIONS: &[Section] = &[
    Section { key: "site", form: Form::Single, doc: site::Site::DOC },
    Section { key: "pool", form: Form::Named, doc: pool::PoolKeys::DOC },
    Section { key: "route", form: Form::Ordered, doc: route::RouteKeys::DOC },
    Section { key: "firewall", form: Form::Single, doc: firewall::Firewall::DOC },
    Section { key: "waf", form: Form::Single, doc: waf::Waf::DOC },
    Section { key: "database", form: Form::Named, doc: database::DatabaseKeys::DOC },
    Section { key: "monitor", form: Form::Single, doc: monitor::Monitor::DOC },
    Section { key: "probe", form: Form::Named, doc: monitor::Probe::DOC },
    Section { key: "alert", form: Form::Named, doc: alert::Alert::DOC },
    Section { key: "receiver", form: Form::Named, doc: alert::Receiver::DOC },
    Section { key: "machine", form: Form::Named, doc: machine::Machine::DOC },
];

/// A table with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T> {
    /// The name.
    pub name: Spanned<Name>,
    /// The table.
    pub value: T,
}

impl<T> std::ops::Deref for Named<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What was read. Tables with a mistake are missing here, but not in the names.
pub(crate) struct Sections {
    pub(crate) site: Option<Spanned<site::Site>>,
    pub(crate) pools: Vec<Named<pool::Pool>>,
    pub(crate) routes: Vec<Spanned<route::Route>>,
    pub(crate) firewall: Option<Spanned<firewall::Firewall>>,
    pub(crate) waf: Option<Option<Spanned<waf::Waf>>>,
    pub(crate) databases: Vec<Named<database::Database>>,
    pub(crate) monitor: Option<Spanned<monitor::Monitor>>,
    pub(crate) probes: Vec<Named<monitor::Probe>>,
    pub(crate) alerts: Vec<Named<alert::Alert>>,
    pub(crate) receivers: Vec<Named<alert::Receiver>>,
    pub(crate) machines: Vec<Named<machine::Machine>>,
    /// Every name of a table, those with mistakes too.
    pub(crate) names: Names,
    /// How many `[[route]]` there are, those with mistakes too.
    pub(crate) routes_written: usize,
    /// The pools that routes with mistakes name: they too must exist.
    pub(crate) pools_of_refused: Vec<Spanned<Name>>,
}

/// The names of pools, databases, receivers and so on, as they are written.
#[derive(Default)]
pub(crate) struct Names {
    listed: HashMap<&'static str, Vec<String>>,
    known: HashSet<(&'static str, String)>,
}

impl Names {
    fn add(&mut self, section: &'static str, name: &str) {
        self.listed.entry(section).or_default().push(name.to_owned());
        self.known.insert((section, name.to_owned()));
    }

    /// In the order of the file.
    pub(crate) fn of(&self, section: &str) -> &[String] {
        self.listed.get(section).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, section: &'static str, name: &str) -> bool {
        self.known.contains(&(section, name.to_owned()))
    }
}

impl Sections {
    /// Reads all tables of the file, reporting all mistakes.
    pub(crate) fn read(root: &toml_edit::Table, cx: &mut Context) -> Self {
        refuse_unknown(root, cx);
        let mut names = Names::default();
        let site = single(root, "site", cx);
        let pools = named(root, "pool", &mut names, cx, |_, table, cx| pool::Pool::read(table, cx));
        let Routes { routes, written: routes_written, pools_of_refused } = routes(root, cx);
        let firewall = single(root, "firewall", cx);
        let waf = root.contains_key("waf").then(|| single(root, "waf", cx));
        let databases = named(root, "database", &mut names, cx, database::Database::read);
        let monitor = single(root, "monitor", cx);
        let probes =
            named(root, "probe", &mut names, cx, |_, table, cx| monitor::Probe::read_table(table, cx));
        let alerts = named(root, "alert", &mut names, cx, |_, table, cx| alert::Alert::read_table(table, cx));
        let receivers =
            named(root, "receiver", &mut names, cx, |_, table, cx| alert::Receiver::read_table(table, cx));
        let machines =
            named(root, "machine", &mut names, cx, |_, table, cx| machine::Machine::read_table(table, cx));
        Self {
            site,
            pools,
            routes,
            firewall,
            waf,
            databases,
            monitor,
            probes,
            alerts,
            receivers,
            machines,
            names,
            routes_written,
            pools_of_refused,
        }
    }
}

/// Reports tables and keys at the file's top that do not exist.
fn refuse_unknown(root: &toml_edit::Table, cx: &mut Context) {
    let known: Vec<&str> = SECTIONS.iter().map(|section| section.key).collect();
    let table = TableNode { like: root, span: Span::default() };
    for (name, item) in root.iter() {
        if known.contains(&name) {
            continue;
        }
        let kind = if item.is_table() || item.is_array_of_tables() { "table" } else { "key" };
        let hint = match closest(name, &known) {
            Some(near) => format!("did you mean `{}`?", heading(near)),
            None => match SECTIONS.iter().find(|section| section.doc.keys.iter().any(|key| key.name == name))
            {
                Some(home) => format!("`{name}` is a key of `{}`: write it below that line", home.doc.title),
                None => {
                    let titles: Vec<&str> = SECTIONS.iter().map(|section| section.doc.title).collect();
                    format!("the tables are {}", list(&titles))
                }
            },
        };
        if crate::read::looks_secret(name) {
            cx.masked.push(table.value_span(name));
        }
        cx.error(Code::UnknownKey, table.key_span(name), format!("unknown {kind} {}", quote(name)))
            .hint(hint);
    }
}

fn heading(key: &str) -> &'static str {
    SECTIONS.iter().find(|section| section.key == key).map_or("", |section| section.doc.title)
}

/// The table that has a key, for a hint to who wrote it elsewhere.
pub(crate) fn homes_of(name: &str, not: &TableDoc) -> Option<String> {
    SECTIONS.iter().find_map(|section| {
        let has = |doc: &TableDoc| !std::ptr::eq(doc, not) && doc.keys.iter().any(|key| key.name == name);
        if has(section.doc) {
            return Some(format!("`{}`", section.doc.title));
        }
        let inline =
            section.doc.keys.iter().find(|key| tables_of(&(key.kind)()).iter().any(|doc| has(doc)))?;
        Some(format!("`{}` of `{}`", inline.name, section.doc.title))
    })
}

/// The inline tables that a kind has.
pub(crate) fn tables_of(kind: &Kind) -> Vec<&'static TableDoc> {
    match kind {
        Kind::Table(doc) => vec![*doc],
        Kind::List(item) | Kind::OneOrMore(item) => tables_of(item),
        Kind::Map { values, .. } => tables_of(values),
        Kind::OneOf(kinds) => kinds.iter().flat_map(tables_of).collect(),
        Kind::Bool
        | Kind::Integer { .. }
        | Kind::Number
        | Kind::Codes(_)
        | Kind::Text { .. }
        | Kind::Choice(_) => Vec::new(),
    }
}

/// Reads `[site]` and the like; where it is absent, as empty.
fn single<T: Table>(root: &toml_edit::Table, key: &'static str, cx: &mut Context) -> Option<Spanned<T>> {
    let place = format!("`[{key}]`");
    let Some(node) = root.get_key_value(key).and_then(|(_, item)| Node::item(item, key_span(root, key)))
    else {
        return cx.within(place, |cx| empty(Span::default(), cx));
    };
    match node.kind {
        NodeKind::Table { like, .. } => {
            let table = TableNode { like, span: node.span };
            let value = cx.within(place, |cx| T::read_table(table, cx));
            Some(Spanned::new(value?, node.span))
        }
        _ => {
            wrong_form(key, node, cx);
            None
        }
    }
}

/// Reads `[pool.NAME]` and the like.
fn named<T>(
    root: &toml_edit::Table,
    key: &'static str,
    names: &mut Names,
    cx: &mut Context,
    read: impl Fn(&Spanned<Name>, TableNode<'_>, &mut Context) -> Option<T>,
) -> Vec<Named<T>> {
    let Some(node) = root.get_key_value(key).and_then(|(_, item)| Node::item(item, key_span(root, key)))
    else {
        return Vec::new();
    };
    let NodeKind::Table { like, .. } = node.kind else {
        wrong_form(key, node, cx);
        return Vec::new();
    };
    let all = TableNode { like, span: node.span };
    let mut tables = Vec::new();
    for (name, item) in like.iter() {
        let span = all.key_span(name);
        let Some(inner) = Node::item(item, span) else { continue };
        let NodeKind::Table { like, .. } = inner.kind else {
            cx.error(Code::WrongType, span, format!("`[{key}]` needs a name"))
                .hint(format!("write `[{key}.NAME]` above `{name}`, with a name of your choice for `NAME`"));
            break;
        };
        names.add(key, name);
        let written: Option<Name> = read_text(name, span, cx);
        let table = TableNode { like, span: inner.span };
        let place = format!("`[{key}.{name}]`");
        let read_one = |cx: &mut Context| {
            let name = Spanned::new(written?, span);
            let value = read(&name, table, cx)?;
            Some(Named { name, value })
        };
        tables.extend(cx.within(place, read_one));
    }
    tables
}

/// `[[route]]` as far as it was read.
#[derive(Default)]
struct Routes {
    routes: Vec<Spanned<route::Route>>,
    /// How many are written, those with mistakes too.
    written: usize,
    /// The pools that those with mistakes name.
    pools_of_refused: Vec<Spanned<Name>>,
}

/// Reads `[[route]]`.
fn routes(root: &toml_edit::Table, cx: &mut Context) -> Routes {
    let Some(node) =
        root.get_key_value("route").and_then(|(_, item)| Node::item(item, key_span(root, "route")))
    else {
        return Routes::default();
    };
    let nodes: Vec<Node<'_>> = match node.kind {
        NodeKind::Tables(tables) => tables
            .iter()
            .map(|table| Node {
                kind: NodeKind::Table { like: table, header: true },
                span: table.span().map_or(node.span, Span::from),
            })
            .collect(),
        NodeKind::Value(toml_edit::Value::Array(array)) => {
            array.iter().map(|value| Node::value(value, node.span)).collect()
        }
        _ => {
            wrong_form("route", node, cx);
            return Routes { written: 1, ..Routes::default() };
        }
    };
    let (mut routes, mut pools) = (Vec::new(), Vec::new());
    let written = nodes.len();
    for node in nodes {
        let NodeKind::Table { like, .. } = node.kind else {
            wrong_form("route", node, cx);
            continue;
        };
        let table = TableNode { like, span: node.span };
        let route = cx.within("`[[route]]`".to_owned(), |cx| route::Route::read(table, cx));
        match route {
            Some(route) => routes.push(Spanned::new(route, node.span)),
            None => pools.extend(pool_of(table)),
        }
    }
    Routes { routes, written, pools_of_refused: pools }
}

/// The pool that a route with a mistake names, where that is a name.
fn pool_of(table: TableNode<'_>) -> Option<Spanned<Name>> {
    let text = table.like.get("pool")?.as_str()?;
    Some(Spanned::new(Name::parse(text).ok()?, table.value_span("pool")))
}

fn key_span(root: &toml_edit::Table, key: &str) -> Span {
    TableNode { like: root, span: Span::default() }.key_span(key)
}

/// `[route]` for `[[route]]`, `[[pool]]` for `[pool.NAME]`, `site = 1`.
fn wrong_form(key: &'static str, node: Node<'_>, cx: &mut Context) {
    let heading = heading(key);
    let found = match node.kind {
        NodeKind::Table { .. } => format!("`[{key}]`"),
        NodeKind::Tables(_) => format!("`[[{key}]]`"),
        NodeKind::Value(_) => format!("`{key} = …`"),
    };
    let why = match SECTIONS.iter().find(|section| section.key == key).map(|section| section.form) {
        Some(Form::Single) => "there is one such table",
        Some(Form::Named) => "each has a name",
        _ => "their order matters, so they are a list",
    };
    cx.error(Code::WrongType, node.span, format!("{found} stands where `{heading}` is expected"))
        .hint(format!("write `{heading}`: {why}"));
}
