//! What the monitor receives.

use crate::Line;
use base::{Address, Bytes, Millis};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything the monitor scrapes, reads, evaluates and shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Ours: one JSON object a line.
    Bastide,
    /// nginx' and Apache's combined (or common) format.
    Combined,
}

/// What the agent receives: it reads its host whatever this says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// The admin socket that is asked (`GET /processes`) which supervised
    /// processes there are; none reads the host alone.
    #[serde(default)]
    pub control: Option<PathBuf>,
}
