//! Where PostgreSQL's programs are, and running them.

use role::Fault;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs of one major version.
pub(super) struct Programs {
    dir: PathBuf,
    major: u32,
}

/// Older ones lack what we rely on (`pg_basebackup` with slots, `ANY 1`, `DISCARD` rules are older still).
const OLDEST: u32 = 13;

impl Programs {
    /// Finds them: in `dir` where it is given; else those of the data
    /// directory's version, or the newest, in the distributions' places and `PATH`.
    pub(super) fn find(dir: Option<&Path>, data: &Path) -> Result<Self, Fault> {
        let data_major = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|t| t.trim().parse().ok());
        let candidates = match dir {
            Some(dir) => vec![dir.to_owned()],
            None => usual_places(),
        };
        let mut found: Vec<Self> = candidates
            .into_iter()
            .filter_map(|dir| major_of(&dir).map(|major| Self { dir, major }))
            .filter(|p| p.major >= OLDEST)
            .collect();
        found.sort_by_key(|p| std::cmp::Reverse(p.major));
        let majors: Vec<String> = found.iter().map(|p| p.major.to_string()).collect();
        let wanted = data_major.map_or(0, |major: u32| major);
        match found.into_iter().find(|p| wanted == 0 || p.major == wanted) {
            Some(programs) => Ok(programs),
            None if majors.is_empty() => {
                let place = dir.map_or("in the usual places".to_owned(), |d| format!("in `{}`", d.display()));
                Err(Fault::new(format!("PostgreSQL's programs (`postgres`, `initdb`) are not {place}")).hint(
                    "install the server: `apt install postgresql-15` on Debian 12, with \
                     `create_main_cluster = false` in /etc/postgresql-common/createcluster.conf",
                ))
            }
            None => Err(Fault::new(format!(
                "`{}` was made by PostgreSQL {wanted}, and only {} is installed",
                data.display(),
                majors.join(", ")
            ))
            .hint(format!("install `postgresql-{wanted}`, or upgrade the data with pg_upgrade"))),
        }
    }

    /// The path of a program.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.dir.join(program)
    }

    /// A command without any `PG…` variable of ours: the environment must not decide.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // Messages are matched and shown: always in English.
        command.env("LC_MESSAGES", "C").current_dir("/");
        command
    }
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.flatten().map(|v| v.path().join("bin")));
    }
    if let Ok(entries) = fs::read_dir("/usr") {
        let pgsql = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("pgsql-"));
        places.extend(pgsql.map(|e| e.path().join("bin")));
    }
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path));
    }
    places
}

/// The major version of the server in `dir`, from `postgres --version`: `postgres (PostgreSQL) 15.8 (Debian …)`.
fn major_of(dir: &Path) -> Option<u32> {
    if !dir.join("initdb").exists() || !dir.join("pg_basebackup").exists() {
        return None;
    }
    let output = Command::new(dir.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<u32> {
    let number = text.split("PostgreSQL)").nth(1)?.trim_start();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Runs a command to its end, with `input`; what it printed, or a fault with its last words.
pub(super) fn run(command: &mut Command, input: &str) -> Result<String, Fault> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| Fault::new(format!("`{program}` failed: {why}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end without reading all of it; its own message says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let fault = failed(last_words(&text));
    Err(if text.contains("No space left on device") {
        fault.hint("the disk is full: free some space")
    } else if text.contains("could not create shared memory") || text.contains("could not map anonymous") {
        fault.hint("not enough memory: lower `shared_buffers`")
    } else {
        fault
    })
}

/// The last few lines that say something, on one line. Statements are not shown: they may hold verifiers.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> =
        stderr.lines().map(str::trim).filter(|l| !l.is_empty() && !l.contains("STATEMENT:")).collect();
    let last = lines.len().saturating_sub(4);
    let text = lines[last..].join("; ");
    if text.is_empty() { "it said nothing".into() } else { text.escape_debug().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, expected) in [
            ("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) devel", None),
            ("something else", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn a_missing_program_names_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let fault = Programs::find(Some(folder.path()), folder.path()).err().unwrap();
        assert!(fault.to_string().contains("postgresql-15"), "{fault}");
    }

    #[test]
    fn data_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("PG_VERSION"), "9999\n").unwrap();
        let fault = Programs::find(None, folder.path()).err().unwrap();
        let text = fault.to_string();
        assert!(text.contains("PostgreSQL 9999") || text.contains("are not in the usual places"), "{text}");
    }
}
