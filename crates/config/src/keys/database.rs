//! `[database.NAME]`: PostgreSQL and the router before it.

use crate::declare::{Kind, choice, table};
use crate::defaults;
use crate::diagnostic::{Code, quote};
use crate::keys::site::Tls;
use crate::read::{Context, Node, NodeKind, Table, TableNode, Text, Value, Wrong};
use crate::span::Spanned;
use crate::values::{FilePath, Name, Pairs, SecretSource, text_value, toml_string};
use base::{Address, Millis};
use std::net::SocketAddr;
use std::ops::Deref;

table! {
    /// A PostgreSQL database and the router that its clients connect to: writes go to the primary, plain reads
    /// to replicas. PostgreSQL is created and run here, or exists already (`primary`).
    pub struct DatabaseKeys: "[database.NAME]";

    /// How many replicas are run here, or, with `primary`, where the replicas answer.
    default replicas: Replicas = Replicas::Count(0);
    why "reads should be shared, and a copy should exist"; example "replicas = 2";

    /// The primary that exists already. Absent: Bastide creates and runs PostgreSQL.
    optional primary: Address;
    why "the database is already there"; example r#"primary = "10.0.0.9:5432""#;

    /// The user that clients log in as, and that the router logs in as. Absent: the name of this table.
    optional user: Identifier;
    why "the application or the existing database has another"; example r#"user = "shop""#;

    /// With `primary`: the user's password. PostgreSQL run here gets one of its own.
    optional password: SecretSource;
    why "always with `primary`"; example r#"password = { env = "DB_PASSWORD" }"#;

    /// The database that clients connect to. Absent: the name of this table.
    optional dbname: Identifier;
    why "the application or the existing server has another"; example r#"dbname = "shop""#;

    /// Where the router's clients connect.
    default listen: SocketAddr = defaults::DATABASE_LISTEN;
    why "clients are on other machines, or the port is taken"; example r#"listen = "0.0.0.0:6432""#;

    /// The certificate the router shows to clients that ask for TLS, as in `[site]`. Absent: it offers none.
    optional tls: Tls;
    why "clients are on other machines"; example r#"tls = "internal""#;

    /// A replica further behind than this gets no reads.
    default max_lag: Millis = defaults::MAX_LAG, in Millis(10)..=Millis(86_400_000);
    why "reads may be older, or must be newer"; example r#"max_lag = "500ms""#;

    /// When a write is acknowledged.
    default durability: Durability = Durability::Local;
    why "an acknowledged write must survive the loss of the primary"; example r#"durability = "replicated""#;

    /// Connections of the router to each PostgreSQL server, at most.
    default pool_size: u32 = defaults::POOL_SIZE, in 1..=10_000;
    why "the server has more processors, or must keep connections for others"; example "pool_size = 100";

    /// Clients of the router, at most; others are refused with SQLSTATE 53300.
    default max_clients: u32 = defaults::MAX_CLIENTS, in 1..=1_000_000;
    why "there are many web servers"; example "max_clients = 5000";

    /// How long a client waits for one of the router's connections.
    default pool_wait: Millis = defaults::POOL_WAIT, in Millis(0)..=Millis(600_000);
    why "a page should fail soon rather than late"; example r#"pool_wait = "2s""#;

    /// How long a read waits for a replica to have the client's own writes before it goes to the primary; `"0s"` is not at all.
    default read_wait: Millis = defaults::READ_WAIT, in Millis(0)..=Millis(60_000);
    why "the primary should be spared and replicas are rarely behind"; example r#"read_wait = "20ms""#;

    /// Settings of the PostgreSQL run here, as in `postgresql.conf`.
    default settings: Pairs<Parameter, ParameterValue> = Pairs(vec![]);
    why "the machine's memory should be used"; example r#"settings = { shared_buffers = "256MB", work_mem = "16MB" }"#;

    /// The folder of PostgreSQL's programs (`postgres`, `initdb`). Absent: the newest that the usual places have.
    optional bin_dir: FilePath;
    why "several versions are installed"; example r#"bin_dir = "/usr/lib/postgresql/15/bin""#;
}

/// A database, and where its servers are.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// What the file says.
    pub keys: DatabaseKeys,
    /// Where its servers are.
    pub source: DatabaseSource,
    /// The user that clients log in as: `user`, or the table's name.
    pub user: Spanned<Identifier>,
    /// The database that clients connect to: `dbname`, or the table's name.
    pub dbname: Spanned<Identifier>,
}

/// Where a database's servers are.
#[derive(Clone, Debug, PartialEq)]
pub enum DatabaseSource {
    /// Created and run here: one primary and so many replicas.
    Run {
        /// How many replicas.
        replicas: u16,
    },
    /// Existing servers.
    Servers {
        /// The primary.
        primary: Spanned<Address>,
        /// Its replicas.
        replicas: Vec<Spanned<Address>>,
        /// The password of `user`.
        password: Spanned<SecretSource>,
    },
}

impl Deref for Database {
    type Target = DatabaseKeys;

    fn deref(&self) -> &DatabaseKeys {
        &self.keys
    }
}

impl Database {
    /// Reads the table and decides where the servers are.
    pub(crate) fn read(name: &Spanned<Name>, table: TableNode<'_>, cx: &mut Context) -> Option<Self> {
        let keys = DatabaseKeys::read_table(table, cx)?;
        let source = match keys.primary.clone() {
            Some(primary) => existing(&keys, primary, table, cx)?,
            None => run_here(&keys, table, cx)?,
        };
        let user = identifier(keys.user.clone(), "user", name, cx);
        let dbname = identifier(keys.dbname.clone(), "dbname", name, cx);
        Some(Self { keys, source, user: user?, dbname: dbname? })
    }

    /// Whether there is a replica.
    pub fn has_replica(&self) -> bool {
        match &self.source {
            DatabaseSource::Run { replicas } => *replicas > 0,
            DatabaseSource::Servers { replicas, .. } => !replicas.is_empty(),
        }
    }
}

fn run_here(keys: &DatabaseKeys, table: TableNode<'_>, cx: &mut Context) -> Option<DatabaseSource> {
    if table.like.contains_key("password") {
        let message = "`password` has no meaning without `primary`";
        cx.error(Code::Conflict, table.key_span("password"), message)
            .hint("remove it: PostgreSQL run here gets a password of its own, and the web servers get it in `DATABASE_URL`");
        return None;
    }
    let Replicas::Count(replicas) = keys.replicas.value else {
        cx.error(Code::Conflict, keys.replicas.span, "a list of replicas needs `primary`").hint(
            "write `primary = \"host:5432\"` too, or the number of replicas to run here: `replicas = 2`",
        );
        return None;
    };
    if keys.durability.value == Durability::Replicated && replicas == 0 {
        cx.error(Code::Conflict, keys.durability.span, "`durability = \"replicated\"` without a replica")
            .hint("add `replicas = 1` or more, or every write would wait for ever");
        return None;
    }
    Some(DatabaseSource::Run { replicas })
}

fn existing(
    keys: &DatabaseKeys,
    primary: Spanned<Address>,
    table: TableNode<'_>,
    cx: &mut Context,
) -> Option<DatabaseSource> {
    let replicas = match &keys.replicas.value {
        Replicas::Addresses(replicas) => replicas.clone(),
        Replicas::Count(_) if !keys.replicas.given => Vec::new(),
        Replicas::Count(_) => {
            cx.error(
                Code::Conflict,
                keys.replicas.span,
                "a number of replicas has no meaning with `primary`",
            )
            .hint("write where they answer: `replicas = [\"10.0.0.10:5432\"]`");
            return None;
        }
    };
    for key in ["settings", "bin_dir"] {
        if table.like.contains_key(key) {
            cx.error(Code::Conflict, table.key_span(key), format!("`{key}` has no meaning with `primary`"))
                .hint(format!("`{key}` is for PostgreSQL that Bastide runs; set it on the existing server"));
            return None;
        }
    }
    if keys.durability.value == Durability::Replicated {
        let message = "`durability = \"replicated\"` cannot be promised for an existing server";
        cx.error(Code::Conflict, keys.durability.span, message)
            .hint("set `synchronous_standby_names` on that server and leave `durability` out");
        return None;
    }
    let Some(password) = keys.password.clone() else {
        if !cx.partial {
            let place = cx.place.clone();
            cx.error(Code::MissingKey, primary.span, format!("{place} has `primary` but no `password`"))
                .hint("add `password = { env = \"DB_PASSWORD\" }` or `password = { file = \"path\" }`");
        }
        return None;
    };
    Some(DatabaseSource::Servers { primary, replicas, password })
}

/// What the file says, or the table's name where PostgreSQL can have it.
fn identifier(
    given: Option<Spanned<Identifier>>,
    key: &str,
    name: &Spanned<Name>,
    cx: &mut Context,
) -> Option<Spanned<Identifier>> {
    if given.is_some() {
        return given;
    }
    match Identifier::parse(name.as_str()) {
        Ok(value) => Some(Spanned { value, span: name.span, given: false }),
        Err(_) => {
            let message = format!("{} cannot be the `{key}` of PostgreSQL", quote(name.as_str()));
            cx.error(Code::BadValue, name.span, message).hint(format!(
                "add `{key} = \"app\"`, or name the table with lower-case letters, digits and `_`"
            ));
            None
        }
    }
}

/// How many replicas, or where they answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Replicas {
    /// So many, run here.
    Count(u16),
    /// These, existing.
    Addresses(Vec<Spanned<Address>>),
}

/// Replicas of one primary; beyond this, replicas follow replicas, which is not built.
const MAX_REPLICAS: u16 = 16;

impl Value for Replicas {
    fn kind() -> Kind {
        let count = Kind::Integer { min: 0, max: i64::from(MAX_REPLICAS) };
        Kind::OneOf(vec![count, Kind::List(Box::new(Address::kind()))])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        if node.is_array() {
            return Vec::read(node, cx).map(Self::Addresses);
        }
        let Some(number) = node.as_integer() else {
            cx.refuse_type(node, &Self::kind());
            return None;
        };
        let count = u16::try_from(number).ok().filter(|count| *count <= MAX_REPLICAS);
        if count.is_none() {
            cx.error(Code::OutOfRange, node.span, format!("`replicas` is `{number}`, beyond its range"))
                .hint(format!("it goes from `0` to `{MAX_REPLICAS}`"));
        }
        count.map(Self::Count)
    }

    fn show(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Addresses(addresses) => addresses.show(),
        }
    }
}

choice! {
    /// When a write is acknowledged.
    pub enum Durability {
        /// when it is on the primary's disk
        Local = "local",
        /// when it is on the disk of at least one replica, too
        Replicated = "replicated",
    }
}

text_value!(Identifier);

/// A name of a user or database that needs no quotes anywhere: lower-case
/// letters, digits and `_`, at most 63 bytes (PostgreSQL manual, 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identifier(pub String);

impl Text for Identifier {
    const WHAT: &'static str = "a name";
    const SAMPLE: &'static str = "\"shop\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
        let reserved = matches!(text, "postgres" | "template0" | "template1") || text.starts_with("pg_");
        match starts_well && text.len() <= 63 && text.bytes().all(ok) && !reserved {
            true => Ok(Self(text.to_owned())),
            false if reserved => Err(Wrong::new(
                format!("{} is PostgreSQL's own", quote(text)),
                "applications have a user and a database of their own",
            )),
            false => Err(Wrong::new(
                format!("{} cannot name a user or database", quote(text)),
                "use up to 63 lower-case letters, digits, `-` and `_`, beginning with a letter",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// The name of a parameter of `postgresql.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parameter(pub String);

/// Parameters that Bastide sets itself, because replication and routing rest on them.
const OWN_PARAMETERS: &[&str] = &[
    "archive_mode",
    "cluster_name",
    "config_file",
    "data_directory",
    "external_pid_file",
    "fsync",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "listen_addresses",
    "password_encryption",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_target_timeline",
    "synchronous_commit",
    "synchronous_standby_names",
    "unix_socket_directories",
    "wal_level",
];

impl Text for Parameter {
    const WHAT: &'static str = "the name of a parameter of PostgreSQL";
    const SAMPLE: &'static str = "\"shared_buffers\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let lower = text.to_ascii_lowercase();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        if text.is_empty() || text.len() > 63 || !text.bytes().all(ok) {
            let hint = "parameters have letters, digits, `_` and `.`: `shared_buffers`";
            return Err(Wrong::new(format!("{} is not a parameter of PostgreSQL", quote(text)), hint));
        }
        if lower.starts_with("include") {
            return Err(Wrong::new(
                format!("{} cannot be used here", quote(text)),
                "write the parameters themselves",
            ));
        }
        match OWN_PARAMETERS.contains(&lower.as_str()) {
            false => Ok(Self(lower)),
            true => Err(Wrong::new(
                format!("{} is set by Bastide", quote(text)),
                "remove it: replication, routing or durability rest on it",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// The value of a parameter, as `postgresql.conf` would have it between quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParameterValue(pub String);

impl Value for ParameterValue {
    fn kind() -> Kind {
        Kind::OneOf(vec![String::kind(), Kind::Number, Kind::Bool])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        use toml_edit::Value as V;
        match node.kind {
            NodeKind::Value(V::Integer(number)) => Some(Self(number.value().to_string())),
            NodeKind::Value(V::Float(number)) => Some(Self(number.value().to_string())),
            NodeKind::Value(V::Boolean(on)) => Some(Self(if *on.value() { "on" } else { "off" }.to_owned())),
            NodeKind::Value(V::String(text)) if text.value().chars().any(char::is_control) => {
                cx.error(
                    Code::BadValue,
                    node.span,
                    "a value of PostgreSQL's settings has a control character",
                )
                .hint("write it on one line");
                None
            }
            NodeKind::Value(V::String(text)) => Some(Self(text.value().clone())),
            _ => {
                cx.refuse_type(node, &Self::kind());
                None
            }
        }
    }

    fn show(&self) -> String {
        toml_string(&self.0)
    }
}
