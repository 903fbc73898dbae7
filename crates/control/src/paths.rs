//! Where a site's files are.

use role::Fault;
use std::path::{Path, PathBuf};

/// The directories of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The site's name.
    pub site: String,
    /// Data, logs, secrets: survives a reboot.
    pub state_dir: PathBuf,
    /// Sockets and records: gone after a reboot.
    pub run_dir: PathBuf,
}

/// The longest path of a Unix socket (unix(7): 108 bytes with the final zero).
const SOCKET_PATH_MAX: usize = 107;
/// The longest name in the run directory: the router's PostgreSQL socket folders.
const LONGEST_SOCKET_NAME: usize = 40;

impl Paths {
    /// As root `/var/lib/bastide/SITE` and `/run/bastide/SITE`, otherwise under
    /// `XDG_STATE_HOME` and `XDG_RUNTIME_DIR`. `BASTIDE_STATE_DIR` and
    /// `BASTIDE_RUN_DIR` name the directories above the site's own.
    pub fn of(site: &str) -> Result<Self, Fault> {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = sys::user::is_root();
        let home = || {
            variable("HOME").ok_or_else(|| Fault::new("`HOME` is not set").hint("set `BASTIDE_STATE_DIR`"))
        };
        let state_dir = match (variable("BASTIDE_STATE_DIR"), root) {
            (Some(dir), _) => dir,
            (None, true) => "/var/lib/bastide".into(),
            (None, false) => match variable("XDG_STATE_HOME") {
                Some(dir) => dir.join("bastide"),
                None => home()?.join(".local/state/bastide"),
            },
        };
        let run_dir = match (variable("BASTIDE_RUN_DIR"), root) {
            (Some(dir), _) => dir,
            (None, true) => "/run/bastide".into(),
            (None, false) => match variable("XDG_RUNTIME_DIR") {
                Some(dir) => dir.join("bastide"),
                None => PathBuf::from(format!("/tmp/bastide-{}", sys::user::uid())),
            },
        };
        let paths = Self {
            site: site.to_owned(),
            state_dir: absolute(state_dir)?.join(site),
            run_dir: absolute(run_dir)?.join(site),
        };
        if paths.run_dir.as_os_str().len() + LONGEST_SOCKET_NAME > SOCKET_PATH_MAX {
            return Err(Fault::new(format!(
                "the run directory `{}` is too long for Unix sockets",
                paths.run_dir.display()
            ))
            .hint("set `BASTIDE_RUN_DIR` to a shorter path, or give the site a shorter `name`"));
        }
        Ok(paths)
    }

    /// A role's admin socket.
    pub fn socket(&self, role: &str) -> PathBuf {
        self.run_dir.join(format!("{role}.sock"))
    }

    /// What a role starts from.
    pub fn role_revision(&self, role: &str) -> PathBuf {
        revision_file(&self.run_dir, role)
    }

    /// The folder of logs.
    pub fn logs(&self) -> PathBuf {
        self.state_dir.join("log")
    }
}

/// The revision that a role starts from, in a run directory.
pub fn revision_file(run_dir: &Path, role: &str) -> PathBuf {
    run_dir.join(format!("{role}.revision.json"))
}

fn absolute(path: PathBuf) -> Result<PathBuf, Fault> {
    std::path::absolute(&path).map_err(|e| Fault::new(format!("cannot resolve `{}`: {e}", path.display())))
}
