//! What the monitor receives.

use crate::Line;
use base::{Address, Bytes, Millis, Secret};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything the monitor scrapes, reads, evaluates and shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Where page and API are served; inherited sockets are named `monitor`.
    pub listen: Vec<SocketAddr>,
    /// What is scraped.
    pub targets: Vec<Target>,
    /// Between two scrapes of a target.
    pub scrape_interval: Millis,
    /// Access logs that are read.
    pub logs: Vec<Log>,
    /// Rules and receivers.
    pub alert: monitor_alert::settings::Settings,
    /// Samples older than this are dropped.
    pub retention: Millis,
    /// The store is kept below this; 0 means no limit.
    pub retention_bytes: Bytes,
    /// The drawing.
    pub line: Line,
    /// How the store keeps what it is given.
    #[serde(default)]
    pub store: Store,
    /// What one scrape may bring.
    #[serde(default)]
    pub limits: ScrapeLimits,
    /// What queries may take.
    #[serde(default)]
    pub queries: Queries,
    /// How OTLP's metrics are translated.
    #[serde(default)]
    pub otlp: Otlp,
    /// Whether samples may be pushed here: remote write, OTLP.
    #[serde(default)]
    pub receive: bool,
    /// Whether the API may delete series and make snapshots.
    #[serde(default)]
    pub admin_api: bool,
    /// Labels that are added to what leaves this monitor: alerts, remote write, federation.
    #[serde(default)]
    pub external_labels: Vec<(String, String)>,
    /// Where readers of alerts find this monitor's page; none means its own address.
    #[serde(default)]
    pub external_url: Option<String>,
    /// Prometheus' files with `scrape_configs`, as they were read.
    #[serde(default)]
    pub scrape_files: Vec<NamedText>,
    /// Prometheus' rule files, as they were read.
    #[serde(default)]
    pub rule_files: Vec<NamedText>,
    /// Alertmanager's file: routes, inhibitions, receivers.
    #[serde(default)]
    pub alertmanager: Option<NamedText>,
    /// Where samples are sent on to.
    #[serde(default)]
    pub remote_write: Vec<RemoteWrite>,
    /// How long and how large the lines of logs are kept for searching.
    #[serde(default)]
    pub log_archive: LogArchive,
    /// What is probed from outside.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// What the pools' servers can bear, where the file says so.
    #[serde(default)]
    pub capacities: Vec<Capacity>,
    /// Who is told at intervals that rules are evaluated; its silence alerts elsewhere.
    #[serde(default)]
    pub dead_man: Option<DeadMan>,
}

/// What a pool's servers can bear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The pool.
    pub pool: String,
    /// Its servers.
    pub servers: u32,
    /// Requests a second of one server; none where the file does not say.
    pub per_second: Option<f64>,
}

/// A file and its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedText {
    /// As it is named in messages.
    pub name: String,
    /// The folder that paths in it are relative to.
    pub folder: PathBuf,
    /// What it holds; it may hold secrets.
    pub text: Secret,
}

/// How the store keeps samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Store {
    /// Rollups of five minutes older than this are dropped.
    pub retention_5m: Millis,
    /// Rollups of an hour older than this are dropped.
    pub retention_1h: Millis,
    /// What a loss of power may cost, of acknowledged samples; 0 syncs every write.
    pub sync: Millis,
    /// How much older than the newest sample one may be.
    pub out_of_order: Millis,
    /// Series in memory at once.
    pub max_series: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            retention_5m: Millis::from_secs(180 * 86_400),
            retention_1h: Millis::from_secs(3 * 365 * 86_400),
            sync: Millis::from_secs(1),
            out_of_order: Millis::from_secs(3_600),
            max_series: 1_000_000,
        }
    }
}

/// What one scrape may bring; what brings more fails and says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrapeLimits {
    /// Bytes of the body, unpacked.
    pub body: Bytes,
    /// Samples after relabelling.
    pub samples: usize,
    /// Different series of a target within a day; 0 means no limit.
    #[serde(default)]
    pub series: usize,
    /// Labels of a series.
    pub labels: usize,
    /// Bytes of a label's value.
    pub label_value: usize,
}

impl Default for ScrapeLimits {
    fn default() -> Self {
        Self { body: Bytes(64 << 20), samples: 100_000, series: 500_000, labels: 64, label_value: 4_096 }
    }
}

/// What queries may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queries {
    /// Queries that run at once; further ones wait for their turn.
    pub at_once: usize,
    /// The longest that one may take, waiting included.
    pub timeout: Millis,
    /// Samples that one may hold, 16 bytes each.
    pub samples: u64,
    /// How far back a value counts as current.
    pub lookback: Millis,
    /// One that takes longer is told in the event log.
    pub slow: Millis,
}

impl Queries {
    /// How far back a value counts as current, in milliseconds.
    pub fn lookback_ms(&self) -> i64 {
        i64::try_from(self.lookback.0).unwrap_or(i64::MAX)
    }
}

impl Default for Queries {
    fn default() -> Self {
        Self {
            at_once: 8,
            timeout: Millis::from_secs(30),
            samples: 5_000_000,
            lookback: Millis::from_secs(300),
            slow: Millis::from_secs(5),
        }
    }
}

/// How OTLP's metrics are translated (Prometheus' manual, `otlp`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Otlp {
    /// `translation_strategy`, by its name there.
    pub strategy: String,
    /// Attributes of a resource that become labels.
    pub promote: Vec<String>,
    /// All do but these; then `promote` is empty.
    pub promote_all_but: Option<Vec<String>>,
    /// `keep_identifying_resource_attributes`.
    pub keep_identifying: bool,
    /// `promote_scope_metadata`.
    pub promote_scope: bool,
    /// `convert_histograms_to_nhcb`.
    pub histograms_to_native: bool,
    /// Differences are stored as they are, else refused.
    pub store_deltas: bool,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            strategy: "UnderscoreEscapingWithSuffixes".to_owned(),
            promote: Vec::new(),
            promote_all_but: None,
            keep_identifying: false,
            promote_scope: false,
            histograms_to_native: false,
            store_deltas: false,
        }
    }
}

/// How long lines of logs can be searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogArchive {
    /// Lines older than this are dropped; 0 keeps none.
    pub retention: Millis,
    /// The oldest lines are dropped while the archive is larger.
    pub bytes: Bytes,
}

impl Default for LogArchive {
    fn default() -> Self {
        Self { retention: Millis::from_secs(14 * 86_400), bytes: Bytes(2 << 30) }
    }
}

/// Where samples are sent on to by remote write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoteWrite {
    /// Its name in metrics and messages.
    pub name: String,
    /// The URL; `http://` or `https://`.
    pub url: String,
    /// Version 2 of the protocol, else 1.
    pub version_2: bool,
    /// How it is logged in there.
    pub login: Option<Login>,
    /// More certificate authorities that are trusted, as PEM.
    pub ca: Option<String>,
    /// Samples that wait while the far end is away are dropped beyond so many bytes.
    pub queue: Bytes,
    /// The most requests under way at once.
    pub shards: usize,
    /// Only samples of series that match one of these selectors; none means all.
    pub only: Vec<String>,
    /// Not those that match one of these.
    #[serde(default)]
    pub except: Vec<String>,
    /// Labels that are left out of what is sent.
    #[serde(default)]
    pub without: Vec<String>,
}

/// How we log in somewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Login {
    /// `Authorization: Basic`.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// `Authorization: Bearer`.
    Bearer(Secret),
}

/// Something that is tried from outside at intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The label `instance`, and its name on the status page.
    pub name: String,
    /// What is tried.
    pub kind: ProbeKind,
    /// Between two tries.
    pub every: Millis,
    /// What takes longer has failed.
    pub timeout: Millis,
    /// Whether the status page shows it.
    pub public: bool,
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProbeKind {
    /// A page.
    Http {
        /// The URL.
        url: String,
        /// Statuses that are well; none means 200 to 299.
        status: Vec<u16>,
        /// A regular expression that the body must match.
        body: Option<String>,
        /// A regular expression that the body may not match.
        #[serde(default)]
        not_body: Option<String>,
        /// Whether a redirect is an answer, instead of being followed.
        #[serde(default)]
        no_redirects: bool,
        /// Whether any certificate will do.
        insecure: bool,
        /// More certificate authorities that are trusted, as PEM.
        #[serde(default)]
        ca: Option<String>,
    },
    /// A connection: `host:port`.
    Tcp {
        /// Where.
        address: String,
        /// Whether TLS is spoken; its certificate's end becomes a metric.
        tls: bool,
        /// Whether any certificate will do.
        #[serde(default)]
        insecure: bool,
        /// More certificate authorities that are trusted, as PEM.
        #[serde(default)]
        ca: Option<String>,
        /// What is said and expected, in order.
        #[serde(default)]
        talk: Vec<ProbeStep>,
    },
    /// A name.
    Dns {
        /// The server: `host:port`.
        server: String,
        /// What is asked for.
        name: String,
        /// `A`, `AAAA`, `MX`, …
        record: String,
        /// A regular expression that one of the answers must match.
        #[serde(default)]
        expect: Option<String>,
    },
    /// An echo.
    Icmp {
        /// The host.
        host: String,
    },
    /// A database that must take a login and a statement, or at least answer.
    Postgres {
        /// Where: `host:port`.
        address: String,
        /// Who; without one only the first message is exchanged.
        login: Option<(String, Secret)>,
        /// The database.
        database: String,
    },
}

/// A step of a talk over a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProbeStep {
    /// A line is sent.
    Send(String),
    /// A line must come that matches this regular expression.
    Expect(String),
    /// TLS begins.
    StartTls,
}

/// An outside checker that misses us.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadMan {
    /// The URL that is asked.
    pub url: Secret,
    /// By POST, with an empty body, instead of GET.
    #[serde(default)]
    pub post: bool,
    /// Between two times.
    pub every: Millis,
}

/// One thing that serves metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The label `job`: `edge`, `database`, `agent`, or a pool's name.
    pub job: String,
    /// The label `instance`: `edge`, `app/1`.
    pub instance: String,
    /// Where it answers.
    pub address: Address,
    /// Whether TLS is spoken there.
    #[serde(default)]
    pub tls: bool,
    /// The path, `/metrics`.
    pub path: String,
}

/// An access log of someone else or of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Log {
    /// The label `log`: its file name, or as the file says.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// How its lines are written.
    pub format: LogFormat,
}

/// How an access log's lines are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Ours: one JSON object a line.
    Bastide,
    /// nginx' and Apache's combined (or common) format.
    Combined,
    /// One JSON object a line, whose fields have these names.
    Json(Vec<(String, String)>),
    /// A pattern of nginx' `log_format`, or of Apache's `LogFormat`.
    Pattern(String),
    /// Caddy's JSON lines.
    Caddy,
    /// Traefik's JSON lines.
    Traefik,
}

/// What the agent receives: it reads its host whatever this says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// The admin socket that is asked (`GET /processes`) which supervised
    /// processes there are; none reads the host alone.
    #[serde(default)]
    pub control: Option<PathBuf>,
    /// A folder whose `*.prom` files are shown as they are.
    #[serde(default)]
    pub textfiles: Option<PathBuf>,
    /// What is read of this host, and how often.
    #[serde(default)]
    pub host: AgentHost,
    /// Databases that are asked about themselves.
    #[serde(default)]
    pub postgres: Vec<AgentPostgres>,
}

/// What the agent reads of its host. Patterns are regular expressions that match
/// anywhere unless they are anchored; none means the agent's own default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHost {
    /// Collectors that are not run.
    pub without: Vec<String>,
    /// Mount points that are left out.
    pub except_mounts: Option<String>,
    /// Types of file systems that are left out.
    pub except_filesystems: Option<String>,
    /// Disks that are left out.
    pub except_disks: Option<String>,
    /// Network devices that are left out.
    pub except_devices: Option<String>,
    /// The only systemd units that are read.
    pub only_units: Option<String>,
    /// Units that are left out.
    pub except_units: Option<String>,
    /// Between two readings of programs, control groups and units.
    pub slow_interval: Millis,
    /// Between two readings of a PostgreSQL.
    pub postgres_interval: Millis,
}

impl Default for AgentHost {
    fn default() -> Self {
        Self {
            without: Vec::new(),
            except_mounts: None,
            except_filesystems: None,
            except_disks: None,
            except_devices: None,
            only_units: None,
            except_units: None,
            slow_interval: Millis::from_secs(30),
            postgres_interval: Millis::from_secs(30),
        }
    }
}

/// A PostgreSQL that the agent asks about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentPostgres {
    /// The label `server`.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The database that is logged in to.
    pub database: String,
}
