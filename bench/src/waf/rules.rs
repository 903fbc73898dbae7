//! The rules that both engines get: `base.conf`, then a folder's `*.conf` in order.

use std::fs;
use std::path::{Path, PathBuf};

const BASE: &str = include_str!("base.conf");

/// What others wrote and the repository does not hold: beside it.
pub(crate) fn test_data(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/testdata").join(inside)
}

/// A rule set in a folder.
pub(crate) struct Rules {
    /// The folder, absolute.
    pub(crate) folder: PathBuf,
    /// Names and texts of its `*.conf`, in the order of their names.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// Names and texts of its other files that rules may name.
    pub(crate) data: Vec<(String, Vec<u8>)>,
    /// More rules, after the folder's.
    pub(crate) after: String,
}

impl Rules {
    /// Reads `folder`, or where none is given the usual places.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, String> {
        let folder = match folder {
            Some(given) => given.to_path_buf(),
            None => test_data("crs/rules"),
        };
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let fail = |error: std::io::Error| {
            format!(
                "{}: {error}\nhint: name a folder with the Core Rule Set's *.conf with --rules, for example \
                     /usr/share/modsecurity-crs/rules (Debian's package modsecurity-crs)",
                folder.display()
            )
        };
        let mut rules =
            Self { folder: folder.clone(), files: Vec::new(), data: Vec::new(), after: String::new() };
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&folder).map_err(fail)?.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("conf") => rules.files.push((name, fs::read(&path).map_err(fail)?)),
                Some("data") => rules.data.push((name, fs::read(&path).map_err(fail)?)),
                _ => {}
            }
        }
        if rules.files.is_empty() {
            return Err(fail(std::io::Error::other("no *.conf there")));
        }
        Ok(rules)
    }

    /// What stands before the folder's files.
    pub(crate) fn base(paranoia: u8) -> String {
        BASE.replace("@PL@", &paranoia.to_string())
    }

    /// Writes into `folder` one file that libmodsecurity loads.
    pub(crate) fn write(&self, folder: &Path, paranoia: u8) -> Result<PathBuf, String> {
        let mut text = Self::base(paranoia);
        for (name, _) in &self.files {
            text.push_str(&format!("Include {}\n", self.folder.join(name).display()));
        }
        text.push_str(&self.after);
        let file = folder.join(format!("paranoia-{paranoia}.conf"));
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }
}
