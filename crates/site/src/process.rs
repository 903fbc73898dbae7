//! What the supervisor keeps running. It gets this and nothing else: it never
//! reads the file.

use base::{Millis, Secret};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// One supervised process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Unique: `edge`, `app/1`, `database.main/0`.
    pub name: String,
    /// Program and arguments; the program is an absolute path.
    pub argv: Vec<String>,
    /// The whole environment besides `PATH`, `HOME`, `LANG`, `TZ`.
    pub env: Vec<(String, Secret)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Under whose uid it runs where the supervisor is root.
    pub user: UserClass,
    /// Directories made before it starts, 0700, its user's.
    #[serde(default)]
    pub dirs: Vec<PathBuf>,
    /// Files written before each start, 0600, its user's: what it must be told
    /// but nobody else may read.
    #[serde(default)]
    pub files: Vec<ProcessFile>,
    /// Sockets that the supervisor binds, keeps and hands to it.
    pub listeners: Vec<ListenerSpec>,
    /// The signal that asks it to end: `TERM`, or `INT` for PostgreSQL's fast shutdown.
    pub stop_signal: StopSignal,
    /// It is killed when it has not ended after this.
    pub stop_timeout: Millis,
    /// Processes of a lower stage start first and stop last.
    pub stage: u8,
}

/// A file for one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessFile {
    /// Where, inside the run directory.
    pub path: PathBuf,
    /// Its whole content.
    pub content: Secret,
}

/// Under whose uid a process runs where the supervisor is root; otherwise all run as the supervisor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserClass {
    /// `bastide`: the roles.
    Role,
    /// `bastide-db`: PostgreSQL.
    Database,
    /// `bastide-app`: the web servers.
    App,
    /// The supervisor's own: the helper that speaks netlink. Only the program `bastide run privileged`.
    Privileged,
}

/// A socket that the supervisor binds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// The name under which the process finds it: `https`.
    pub name: String,
    /// Where; port 0 means chosen by the kernel.
    pub address: SocketAddr,
    /// How many sockets share it by `SO_REUSEPORT`: one a worker.
    pub count: u16,
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
}
