//! What is chosen once and then kept: ports and passwords. A JSON file in the
//! state directory, 0600, replaced whole.

use base::Secret;
use role::Fault;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use sys::file::Staged;

/// Ports are chosen here: below the kernel's range for outgoing connections
/// (32768 to 60999), so that none of those takes one while its owner is away.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Chosen ports and passwords.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Book {
    /// By what they are for: `app/1`, `database.main/0`, `https`.
    #[serde(default)]
    ports: BTreeMap<String, u16>,
    /// By whose they are: `database.main/app`.
    #[serde(default)]
    passwords: BTreeMap<String, Secret>,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    changed: bool,
}

impl Book {
    /// Opens `<state>/book.json`; a missing one is empty.
    pub fn open(state_dir: &Path) -> Result<Self, Fault> {
        let path = state_dir.join("book.json");
        let book: Option<Self> = read_json(&path)?;
        Ok(Self { path, ..book.unwrap_or_default() })
    }

    /// A book that is never written: for `check` and `plan` before the first `up`.
    pub fn blank() -> Self {
        Self::default()
    }

    /// The port of `owner`, the same each time. One that is taken by a stranger is
    /// chosen anew, unless `running` says that its owner has it.
    pub fn port(&mut self, owner: &str, running: bool) -> Result<u16, Fault> {
        let free = |port: u16| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok();
        if let Some(&port) = self.ports.get(owner)
            && (running || free(port))
        {
            return Ok(port);
        }
        let taken: Vec<u16> = self.ports.values().copied().collect();
        let size = PORTS.end - PORTS.start;
        // The name decides where the search begins: before the first `up`, `plan`
        // and `firewall show` say what it will choose.
        let start = (base::hash::fnv1a(owner.as_bytes()) % u64::from(size)) as u16;
        let port = (0..size)
            .map(|i| PORTS.start + (start + i) % size)
            .find(|port| !taken.contains(port) && free(*port))
            .ok_or_else(|| {
                Fault::new(format!("no port between {} and {} is free", PORTS.start, PORTS.end))
            })?;
        self.ports.insert(owner.to_owned(), port);
        self.changed = true;
        Ok(port)
    }

    /// The password of `owner`, made at the first call.
    pub fn password(&mut self, owner: &str) -> Secret {
        if let Some(password) = self.passwords.get(owner) {
            return password.clone();
        }
        let password = Secret::new(sys::random::token());
        self.passwords.insert(owner.to_owned(), password.clone());
        self.changed = true;
        password
    }

    /// Writes what was added. Passwords of databases that left the file stay: the
    /// data directory still expects them.
    pub fn save(&mut self) -> Result<(), Fault> {
        if self.changed && !self.path.as_os_str().is_empty() {
            write_json(&self.path, self)?;
            self.changed = false;
        }
        Ok(())
    }
}

/// Reads a JSON file; `None` where there is none.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::new(format!("cannot read `{}`: {error}", path.display()))),
    };
    serde_json::from_slice(&text).map(Some).map_err(|e| {
        Fault::new(format!("`{}` is damaged: {e}", path.display())).hint(
            "restore it from a backup; it is never written in place, so this is not from a crash of ours",
        )
    })
}

/// Writes a JSON file whole, 0600.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Fault> {
    stage_json(path, value)?.commit().map_err(|e| cannot_write(path, &e))
}

/// Writes a JSON file's next content beside it, 0600.
pub fn stage_json(path: &Path, value: &impl Serialize) -> Result<Staged, Fault> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| Fault::new(e.to_string()))?;
    Staged::write(path, &text, 0o600).map_err(|e| cannot_write(path, &e))
}

/// What it means that a file cannot be written.
pub fn cannot_write(path: &Path, error: &std::io::Error) -> Fault {
    let fault = Fault::new(format!("cannot write `{}`: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::StorageFull => fault.hint("the disk is full; free some space and try again"),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(folder.path()).unwrap();
        let port = book.port("app/1", false).unwrap();
        let password = book.password("database.main/app");
        assert_ne!(book.port("app/2", false).unwrap(), port);
        book.save().unwrap();
        let mut again = Book::open(folder.path()).unwrap();
        assert_eq!(again.password("database.main/app"), password);
        assert_eq!(again.port("app/1", false).unwrap(), port);
    }

    #[test]
    fn a_port_that_a_stranger_took_is_chosen_anew() {
        let mut book = Book::blank();
        let port = book.port("app/1", false).unwrap();
        let _stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert_eq!(book.port("app/1", true).unwrap(), port);
        assert_ne!(book.port("app/1", false).unwrap(), port);
    }

    #[test]
    fn a_damaged_book_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("book.json"), "{").unwrap();
        let fault = Book::open(folder.path()).unwrap_err().to_string();
        assert!(fault.contains("book.json") && fault.contains("damaged"), "{fault}");
    }
}
