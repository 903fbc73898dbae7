//! `[pool.NAME]`: web servers that run the same program.

use crate::command::Command;
use crate::declare::{Kind, choice, table};
use crate::defaults;
use crate::diagnostic::{Code, quote};
use crate::read::{Context, Node, Table, TableNode, Text, Value, Wrong};
use crate::span::Spanned;
use crate::values::{
    EnvName, FilePath, Name, Pairs, TextOrSecret, UrlPath, read_text, text_value, toml_string,
};
use base::{Address, Millis, Rate};
use std::ops::Deref;

table! {
    /// Web servers that run the same program: either started and supervised here (`run`), or already
    /// running elsewhere (`servers`).
    pub struct PoolKeys: "[pool.NAME]";

    /// The command of one web server. It is started `instances` times, each with its own port in the variable
    /// `PORT`, and started again when it ends. `$NAME` and `${NAME}` are replaced from the web server's
    /// environment; quotes keep words together; there is no shell.
    optional run: Command;
    why "Bastide should start the web servers"; example r#"run = "./shop --port $PORT""#;

    /// How many processes of `run`.
    default instances: u16 = defaults::INSTANCES, in 1..=256;
    why "the program uses one processor, or one must be able to fail"; example r#"instances = 2"#;

    /// Variables added to the web servers' environment.
    default env: Pairs<EnvName, TextOrSecret> = Pairs(vec![]);
    why "the program is configured by its environment"; example r#"env = { LOG = "info", API_TOKEN = { env = "API_TOKEN" } }"#;

    /// The folder in which `run` starts. Absent: the folder of this file.
    optional cwd: FilePath;
    why "the program looks for its files in its own folder"; example r#"cwd = "./app""#;

    /// The database whose URL the web servers get as `DATABASE_URL`. Absent: the only one there is.
    optional database: Name;
    why "the file has several databases"; example r#"database = "main""#;

    /// Web servers that already run elsewhere: addresses, or tables with a weight.
    optional servers: Vec<Spanned<Server>>;
    why "something else starts the web servers"; example r#"servers = ["10.0.0.3:8000", { address = "10.0.0.4:8000", weight = 2 }]"#;

    /// A request that shows whether a server is well: it is expected to give a 2xx or 3xx. Absent: only the
    /// traffic tells.
    optional health: Health;
    why "a server that cannot work should get no requests"; example r#"health = "GET /healthz""#;

    /// How a server is chosen for a request.
    default balance: Balance = Balance::LeastRequests;
    why "requests cost the same, and the order should be even"; example r#"balance = "round-robin""#;

    /// Requests at one server at once; further ones go to another, or are answered 503. 0 is no limit.
    default max_in_flight: u32 = defaults::MAX_IN_FLIGHT, in 0..=1_000_000;
    why "the program breaks under more than it can do at once"; example "max_in_flight = 100";

    /// How many requests a second one server bears, by your own measurement: the ceiling that
    /// `bastide grow` holds the traffic's growth against. Absent: not known, and nothing is said.
    optional capacity: Rate;
    why "a load test told it"; example r#"capacity = "400/s""#;

    /// Idle connections kept to each server.
    default idle_connections: u32 = defaults::IDLE_CONNECTIONS, in 0..=65_536;
    why "the servers have few threads, each bound to a connection"; example "idle_connections = 8";

    /// Where each server shows its metrics in Prometheus' text format. Absent: they are not asked.
    optional metrics: UrlPath;
    why "the program has metrics of its own"; example r#"metrics = "/metrics""#;

    /// A web server that is told to stop (SIGTERM) is killed after this.
    default stop_timeout: Millis = defaults::STOP_TIMEOUT, in Millis(100)..=Millis(3_600_000);
    why "the program takes longer to finish its work"; example r#"stop_timeout = "30s""#;
}

/// A pool, and where its servers come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What the file says.
    pub keys: PoolKeys,
    /// Where its servers come from.
    pub source: PoolSource,
}

/// Where a pool's servers come from.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolSource {
    /// Started here.
    Run {
        /// The command.
        command: Spanned<Command>,
        /// How many.
        instances: u16,
    },
    /// Already running.
    Servers(Vec<Spanned<Server>>),
}

impl Deref for Pool {
    type Target = PoolKeys;

    fn deref(&self) -> &PoolKeys {
        &self.keys
    }
}

impl Pool {
    /// Reads the table and decides where the servers come from.
    pub(crate) fn read(table: TableNode<'_>, cx: &mut Context) -> Option<Self> {
        let keys = PoolKeys::read_table(table, cx)?;
        let place = cx.place.clone();
        let given = |name: &str| table.like.contains_key(name);
        if let (Some(_), Some(servers)) = (&keys.run, &keys.servers) {
            cx.error(Code::Conflict, servers.span, format!("{place} has both `run` and `servers`"))
                .hint("make two pools: one that is started here, one that runs elsewhere")
                .related(table.key_span("run"), "the other is here");
            return None;
        }
        for key in ["instances", "env", "cwd", "database", "stop_timeout"] {
            if keys.run.is_none() && keys.servers.is_some() && given(key) {
                cx.error(
                    Code::Conflict,
                    table.key_span(key),
                    format!("`{key}` has no meaning with `servers`"),
                )
                .hint(format!("`{key}` is for web servers started here with `run`"));
                return None;
            }
        }
        if let Some((name, _)) = keys.env.iter().find(|(name, _)| name.0 == "PORT") {
            cx.error(Code::Conflict, name.span, "`PORT` is chosen for each web server")
                .hint("leave it out of `env`; the program reads it, or `run` hands it over as `$PORT`");
            return None;
        }
        let instances = keys.instances.value;
        let source = match (keys.run.clone(), keys.servers.clone()) {
            (Some(command), _) => PoolSource::Run { command, instances },
            (None, Some(servers)) if servers.is_empty() => {
                cx.error(Code::BadValue, servers.span, format!("{place} has no servers"))
                    .hint("write at least one: `servers = [\"10.0.0.3:8000\"]`");
                return None;
            }
            (None, Some(servers)) => PoolSource::Servers(servers.value),
            (None, None) => {
                if !cx.partial {
                    cx.error(
                        Code::MissingKey,
                        table.span,
                        format!("{place} has neither `run` nor `servers`"),
                    )
                    .hint("write `run = \"./program --port $PORT\"` or `servers = [\"10.0.0.3:8000\"]`");
                }
                return None;
            }
        };
        Some(Self { keys, source })
    }
}

/// A server that already runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where it answers.
    pub address: Spanned<Address>,
    /// Its share.
    pub weight: u16,
}

table! {
    /// A server that already runs.
    pub struct ServerKeys: "servers";

    /// Where it answers: `host:port`, or `unix:/path`.
    required address: Address;
    why "always"; example r#"servers = [{ address = "10.0.0.4:8000", weight = 2 }]"#;

    /// Its share of the requests, compared with the others'.
    default weight: u16 = defaults::WEIGHT, in 1..=256;
    why "the servers are of different strength"; example r#"servers = [{ address = "10.0.0.4:8000", weight = 2 }]"#;
}

impl Value for Server {
    fn kind() -> Kind {
        Kind::OneOf(vec![Address::kind(), ServerKeys::kind()])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        if let Some(text) = node.as_text() {
            let address = Spanned::new(read_text(text, node.span, cx)?, node.span);
            return Some(Self { address, weight: defaults::WEIGHT });
        }
        if !node.is_table() {
            cx.refuse_type(node, &Self::kind());
            return None;
        }
        let keys = ServerKeys::read(node, cx)?;
        Some(Self { address: keys.address, weight: keys.weight.value })
    }

    fn show(&self) -> String {
        match self.weight {
            defaults::WEIGHT => self.address.show(),
            weight => format!("{{ address = {}, weight = {weight} }}", self.address.show()),
        }
    }
}

choice! {
    /// How a server is chosen for a request.
    pub enum Balance {
        /// the one with the fewest requests in flight for its weight
        LeastRequests = "least-requests",
        /// in turn, by weight
        RoundRobin = "round-robin",
    }
}

/// `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path.
    pub path: String,
}

text_value!(Check);

impl Text for Check {
    const WHAT: &'static str = "a request";
    const SAMPLE: &'static str = "\"GET /healthz\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let (method, path) = text.split_once(' ').unwrap_or(("", text));
        if !matches!(method, "GET" | "HEAD") {
            let hint = format!(
                "write `\"GET {}\"` or `\"HEAD …\"`",
                if path.starts_with('/') { path } else { "/healthz" }
            );
            return Err(Wrong::new(format!("{} does not begin with `GET` or `HEAD`", quote(text)), hint));
        }
        let path = UrlPath::parse(path.trim())?;
        Ok(Self { method: method.to_owned(), path: path.0 })
    }

    fn text(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

table! {
    /// A health check with all its settings.
    pub struct HealthKeys: "health";

    /// The request.
    required check: Check;
    why "always"; example r#"health = { check = "GET /healthz", interval = "5s" }"#;

    /// Between two checks of a server.
    default interval: Millis = defaults::HEALTH_INTERVAL, in Millis(100)..=Millis(3_600_000);
    why "a check costs the program much"; example r#"health = { check = "GET /healthz", interval = "10s" }"#;

    /// For one check.
    default timeout: Millis = defaults::HEALTH_TIMEOUT, in Millis(10)..=Millis(600_000);
    why "the program answers slowly when it is well"; example r#"health = { check = "GET /healthz", timeout = "3s" }"#;

    /// Successes in a row until a server that was out is in.
    default rise: u32 = defaults::HEALTH_RISE, in 1..=100;
    why "a server should prove itself for longer"; example r#"health = { check = "GET /healthz", rise = 5 }"#;

    /// Failures in a row until a server that was in is out.
    default fall: u32 = defaults::HEALTH_FALL, in 1..=100;
    why "one failure is enough, or some are usual"; example r#"health = { check = "GET /healthz", fall = 1 }"#;
}

/// A health check: a request, or a table with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Health(pub HealthKeys);

impl Deref for Health {
    type Target = HealthKeys;

    fn deref(&self) -> &HealthKeys {
        &self.0
    }
}

impl Value for Health {
    fn kind() -> Kind {
        Kind::OneOf(vec![Check::kind(), HealthKeys::kind()])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        let Some(text) = node.as_text() else {
            if !node.is_table() {
                cx.refuse_type(node, &Self::kind());
                return None;
            }
            return HealthKeys::read(node, cx).map(Self);
        };
        let check = Spanned::new(read_text(text, node.span, cx)?, node.span);
        let span = node.span;
        Some(Self(HealthKeys {
            check,
            interval: Spanned { value: defaults::HEALTH_INTERVAL, span, given: false },
            timeout: Spanned { value: defaults::HEALTH_TIMEOUT, span, given: false },
            rise: Spanned { value: defaults::HEALTH_RISE, span, given: false },
            fall: Spanned { value: defaults::HEALTH_FALL, span, given: false },
        }))
    }

    fn show(&self) -> String {
        toml_string(&self.check.text())
    }
}
