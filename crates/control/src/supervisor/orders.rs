//! What the supervisor can be told: one JSON object a line, one line back.

use serde::{Deserialize, Serialize};
use site::ProcessSpec;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// An order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// These processes, and no others besides the supervisor's own, are wanted.
    Apply {
        /// All of them.
        processes: Vec<ProcessSpec>,
    },
    /// End a process and start it with its latest specification.
    Restart {
        /// Which.
        name: String,
    },
    /// Report all processes.
    List,
    /// Stop everything; a second time, at once.
    Shutdown,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done, or begun.
    Done,
    /// Applied; the named processes run with an older specification until they are restarted.
    Applied {
        /// Their names.
        changed: Vec<String>,
    },
    /// The report.
    Processes(Vec<ProcessReport>),
    /// Nothing was changed.
    Refused(String),
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessReport {
    /// `app/1`.
    pub name: String,
    /// Its pid while it runs.
    pub pid: Option<i32>,
    /// `running`, `ending`, `restarting`, `stopped`.
    pub state: String,
    /// Times it was started again after it ended by itself.
    pub restarts: u64,
    /// How it ended last, or why it could not be started.
    pub last_end: Option<String>,
    /// The addresses of its sockets, by name.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// The socket in a run directory.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("supervisor.sock")
}

/// Gives one order and waits for the answer.
pub async fn ask(run_dir: &Path, order: &Order) -> std::io::Result<Reply> {
    let mut stream = UnixStream::connect(socket_path(run_dir)).await?;
    let mut text = serde_json::to_vec(order)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}
