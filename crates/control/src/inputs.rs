//! Everything that a file is made of besides its own text: certificates, rule
//! files, secrets, what exists.
//!
//! Whoever types the command reads it all, once, with their own rights, and
//! sends it along: control, which has none, compiles from what was sent. So a
//! key that only root may read works, and what was checked is what is applied.

mod glob;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file.
    File {
        /// Somebody may execute it.
        executable: bool,
    },
    /// A folder.
    Folder,
    /// Nothing, or nothing that may be looked at.
    Missing,
}

/// The file and all that was read for it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Inputs {
    /// The site's file, absolute.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// Whether root reads it: ports and users follow from that.
    pub root: bool,
    answers: Mutex<Answers>,
    /// Questions are answered from the machine and noted; otherwise only from the notes.
    #[serde(skip)]
    live: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answers {
    files: BTreeMap<PathBuf, Result<String, String>>,
    #[serde(default)]
    loose: BTreeMap<PathBuf, Result<String, String>>,
    #[serde(default)]
    folders: BTreeMap<PathBuf, Vec<PathBuf>>,
    kinds: BTreeMap<PathBuf, Kind>,
    variables: BTreeMap<String, Option<String>>,
    globs: BTreeMap<PathBuf, Vec<PathBuf>>,
}

/// Files read for a site, at most: a certificate chain or rule file is far smaller.
const MAX_FILE: u64 = 16 << 20;

impl Inputs {
    /// Reads the site's file; further questions go to this machine.
    pub fn read(file: &Path) -> io::Result<Self> {
        let file = std::path::absolute(file)?;
        let text = read_text(&file)?;
        Ok(Self { file, text, root: sys::user::is_root(), answers: Mutex::default(), live: true })
    }

    /// The folder that paths in the file are relative to.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    /// A path of the file, absolute, without `.` parts.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.folder().join(path).components().filter(|c| c.as_os_str() != ".").collect()
    }

    /// A file's text, or why there is none.
    pub fn text_of(&self, path: &Path) -> Result<String, String> {
        let read = || read_text(path).map_err(|e| explain(&e));
        self.ask(|a| &mut a.files, path.to_owned(), read, Err("it was not sent along".to_owned()))
    }

    /// The same of a file that need not be UTF-8: what is not is taken for Latin-1.
    pub fn loose_text_of(&self, path: &Path) -> Result<String, String> {
        let read = || read_bytes(path).map(loose).map_err(|e| explain(&e));
        self.ask(|a| &mut a.loose, path.to_owned(), read, Err("it was not sent along".to_owned()))
    }

    /// What is at a path.
    pub fn kind(&self, path: &Path) -> Kind {
        self.ask(|a| &mut a.kinds, path.to_owned(), || look(path), Kind::Missing)
    }

    /// An environment variable of whoever applies the file.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.ask(|a| &mut a.variables, name.to_owned(), || std::env::var(name).ok(), None)
    }

    /// The files that a pattern names: `*` stands for any part of a name, `?` for one
    /// character, `[a-z]` for one of some. Sorted, at most 10,000.
    pub fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        self.ask(|a| &mut a.globs, pattern.to_owned(), || glob::files(pattern), Vec::new())
    }

    /// Every file in a folder and in those below it. Sorted, at most 10,000.
    pub fn below(&self, folder: &Path) -> Vec<PathBuf> {
        self.ask(|a| &mut a.folders, folder.to_owned(), || glob::below(folder), Vec::new())
    }

    fn ask<K: Ord, V: Clone>(
        &self,
        notes: impl Fn(&mut Answers) -> &mut BTreeMap<K, V>,
        key: K,
        answer: impl FnOnce() -> V,
        unknown: V,
    ) -> V {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = notes(&mut answers);
        if let Some(known) = notes.get(&key) {
            return known.clone();
        }
        if !self.live {
            return unknown;
        }
        let value = answer();
        notes.insert(key, value.clone());
        value
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(io::Error::other(format!("it has {size} bytes; more than {MAX_FILE} are not read")));
    }
    std::fs::read(path)
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_bytes(path)?).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn loose(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => error.as_bytes().iter().map(|&byte| char::from(byte)).collect(),
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

fn look(path: &Path) -> Kind {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Kind::Folder,
        Ok(found) => Kind::File { executable: found.permissions().mode() & 0o111 != 0 },
        Err(_) => Kind::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_what_is_applied() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bastide.toml");
        std::fs::write(&file, "text").unwrap();
        std::fs::write(folder.path().join("a.conf"), "rules").unwrap();
        let inputs = Inputs::read(&file).unwrap();
        let conf = inputs.resolve(Path::new("./a.conf"));
        assert_eq!(inputs.text_of(&conf), Ok("rules".to_owned()));
        assert_eq!(inputs.kind(&conf), Kind::File { executable: false });
        assert_eq!(inputs.glob(&inputs.resolve(Path::new("*.conf"))).len(), 1);
        std::fs::write(folder.path().join("old.data"), b"caf\xe9").unwrap();
        assert_eq!(inputs.loose_text_of(&inputs.resolve(Path::new("old.data"))), Ok("café".to_owned()));
        let sent = serde_json::to_string(&inputs).unwrap();
        drop(folder);
        let received: Inputs = serde_json::from_str(&sent).unwrap();
        assert_eq!(received.text_of(&conf), Ok("rules".to_owned()));
        assert_eq!(received.kind(&conf), Kind::File { executable: false });
        assert!(received.text_of(Path::new("/etc/passwd")).is_err());
        assert!(received.loose_text_of(Path::new("/etc/passwd")).is_err());
        assert_eq!(received.variable("HOME"), None);
    }
}
