//! From what the file says to what the roles receive: defaults that depend on
//! the machine, ports, passwords, certificates, rule files, secrets.

mod database;
mod edge;
pub(crate) mod firewall;
mod monitor;
pub(crate) mod processes;
mod receivers;
mod waf;
mod waf_files;
mod watching;

use crate::book::Book;
use crate::compile::{Compiled, Facts, Refusal};
use crate::inputs::{Inputs, Kind};
use base::Secret;
use config::{Code, Config, Diagnostic, FilePath, SecretSource, Severity, Span, Spanned};
use role::Fault;
use site::Site;
use std::path::{Path, PathBuf};

/// One lowering and its findings.
pub(crate) struct Lowering<'a> {
    pub(crate) config: &'a Config,
    pub(crate) inputs: &'a Inputs,
    pub(crate) book: &'a mut Book,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) findings: Vec<Diagnostic>,
}

impl Lowering<'_> {
    /// The whole site; `None` where findings say why not. A fault is not the file's.
    pub(crate) fn site(&mut self) -> Result<Option<Compiled>, Refusal> {
        let edge = self.edge()?;
        let databases = self.databases()?;
        let monitor = self.monitor(edge.as_ref(), databases.as_ref())?;
        let (Some(edge), Some(databases), Some(monitor)) = (edge, databases, monitor) else {
            return Ok(None);
        };
        let instances = self.instances(&databases)?;
        let Some(processes) = self.processes(&edge, &databases, &monitor, &instances) else {
            return Ok(None);
        };
        let firewall = self.firewall(&edge, &databases);
        let agent = self.agent(&databases);
        let databases = (!databases.databases.is_empty()).then_some(databases);
        let site = Site { name: self.config.name(), edge, databases, monitor, agent, processes };
        Ok(Some(Compiled { site, warnings: Vec::new(), firewall }))
    }

    /// Notes an error at a place of the file.
    fn error(&mut self, code: Code, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        let finding = self.config.error(code, span, message, Some(hint.into()));
        self.findings.push(finding);
    }

    /// Notes a warning at a place of the file.
    fn warning(&mut self, code: Code, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        let finding = self.config.warning(code, span, message, Some(hint.into()));
        self.findings.push(finding);
    }

    fn failed(&self) -> bool {
        self.findings.iter().any(|d| d.severity == Severity::Error)
    }

    /// A file that the file names: its text.
    fn text_of(&mut self, path: &Spanned<FilePath>, what: &str) -> Option<String> {
        let full = self.inputs.resolve(&path.value.0);
        match self.inputs.text_of(&full) {
            Ok(text) => Some(text),
            Err(why) => {
                let message = format!("{what} `{}` cannot be read: {why}", full.display());
                self.error(Code::File, path.span, message, "paths are relative to the folder of this file");
                None
            }
        }
    }

    /// A folder that the file names.
    fn folder(&mut self, path: &Spanned<FilePath>, what: &str) -> Option<PathBuf> {
        let full = self.inputs.resolve(&path.value.0);
        if self.inputs.kind(&full) == Kind::Folder {
            return Some(full);
        }
        let message = format!("{what} `{}` is not a folder", full.display());
        self.error(Code::File, path.span, message, "paths are relative to the folder of this file");
        None
    }

    /// A secret's text.
    fn secret(&mut self, source: &SecretSource, span: Span) -> Option<Secret> {
        match source {
            SecretSource::Env(name) => {
                let value = self.inputs.variable(&name.0).filter(|v| !v.is_empty());
                if value.is_none() {
                    let message = format!("the environment variable `{}` is not set", name.0);
                    self.error(
                        Code::File,
                        span,
                        message,
                        "set it where you run `bastide up` and `bastide reload`",
                    );
                }
                value.map(Secret::new)
            }
            SecretSource::File(path) => {
                let text = self.text_of(&Spanned::new(path.clone(), span), "the secret's file")?;
                // One newline at the end is the editor's.
                Some(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
            }
        }
    }

    /// The port of an owner: as asked for, or chosen once and kept.
    fn port(&mut self, wanted: u16, owner: &str, process: &str) -> Result<u16, Fault> {
        match wanted {
            0 => self.book.port(owner, self.facts.running.contains(process)),
            port => Ok(port),
        }
    }
}

/// Whether this machine speaks IPv6.
fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| !text.trim().is_empty())
}

/// Where a process' own files are under a run directory: `database.main-0`.
fn flat(name: &str) -> String {
    name.replace('/', "-")
}

fn in_run(paths: Option<&crate::paths::Paths>, name: &str) -> PathBuf {
    paths.map_or_else(|| PathBuf::from("/nonexistent"), |p| p.run_dir.clone()).join(name)
}

fn in_state(paths: Option<&crate::paths::Paths>, name: impl AsRef<Path>) -> PathBuf {
    paths.map_or_else(|| PathBuf::from("/nonexistent"), |p| p.state_dir.clone()).join(name)
}
