//! The file and what it names, made into a site, or into a list of all that is
//! wrong with it.

use crate::book::{Book, read_json};
use crate::inputs::Inputs;
use crate::life_of_a_change::Committed;
use crate::lower::Lowering;
pub use crate::lower::firewall::{FirewallPlan, THIS_MACHINE};
use crate::paths::Paths;
use crate::plan::{self, Change};
use base::RevisionId;
use base::net::IpNet;
use config::{Config, Diagnostic, Severity};
use role::Fault;
use site::Site;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

/// What a site is made from besides the file.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Where the site's files are; none while a file is only checked.
    pub paths: Option<&'a Paths>,
    /// The `bastide` program.
    pub program: &'a Path,
    /// The processes that run: their ports are theirs.
    pub running: &'a HashSet<String>,
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// A file that can be applied.
#[derive(Debug)]
pub struct Compiled {
    /// The site.
    pub site: Site,
    /// What probably does not do what was meant.
    pub warnings: Vec<Diagnostic>,
    /// What the firewall of each machine follows from.
    pub firewall: FirewallPlan,
}

/// A file that was only looked at.
#[derive(Debug)]
pub struct Checked {
    /// What probably does not do what was meant.
    pub warnings: Vec<Diagnostic>,
    /// What there is: `1 pool, 3 routes`.
    pub summary: String,
    /// Why `up` cannot bring it up here.
    pub not_here: Option<Fault>,
    /// What was read, to be sent to control.
    pub inputs: Inputs,
    /// The site's name.
    pub name: String,
    /// What the firewall of each machine follows from.
    pub firewall: FirewallPlan,
}

/// What a file would change.
#[derive(Debug)]
pub struct Planned {
    /// The revision compared with.
    pub current: Option<RevisionId>,
    /// The changes.
    pub changes: Vec<Change>,
    /// What runs on which machine, where the file has several.
    pub machines: Vec<(String, Vec<String>)>,
    /// What probably does not do what was meant.
    pub warnings: Vec<Diagnostic>,
}

/// Why a file cannot be applied.
#[derive(Debug, Default)]
pub struct Refusal {
    /// A fault that has no place in the file.
    pub fault: Option<Fault>,
    /// Everything that is wrong with the file, warnings too.
    pub diagnostics: Vec<Diagnostic>,
}

impl Refusal {
    /// One line each.
    pub fn messages(&self) -> Vec<String> {
        let errors = self.diagnostics.iter().filter(|d| d.severity == Severity::Error);
        let lines = errors.map(|d| format!("{}:{}:{}: {}", d.file, d.line, d.column, d.message));
        lines.chain(self.fault.iter().map(Fault::to_string)).collect()
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault: Some(fault), diagnostics: Vec::new() }
    }
}

impl From<Vec<Diagnostic>> for Refusal {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self { fault: None, diagnostics }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages().join("; "))
    }
}

/// The site's name, from the file alone.
pub fn site_name(file: &Path) -> Result<String, Fault> {
    let inputs = read(file)?;
    match config::parse(&inputs.file.display().to_string(), &inputs.text) {
        Ok(parsed) => Ok(parsed.config.name()),
        Err(diagnostics) => Err(Fault::new(format!("`{}` has {} errors", file.display(), diagnostics.len()))
            .hint(format!(
                "`bastide check {}` shows them; `--site NAME` names a running site without its file",
                file.display()
            ))),
    }
}

/// Looks at a file and all that it names.
pub fn check(file: &Path) -> Result<Checked, Refusal> {
    let inputs = read(file)?;
    let program = std::env::current_exe().unwrap_or_default();
    let facts =
        Facts { paths: None, program: &program, running: &HashSet::new(), now_ms: sys::clock::now_ms() };
    let (compiled, config) = compile_config(&shown(file), &inputs, &mut Book::blank(), &facts)?;
    let not_here = (config.machines.len() > 1).then(|| {
        Fault::new(format!("the file has {} machines; `up` starts one", config.machines.len()))
            .hint("several machines come with a later version; `check`, `plan` and `firewall show` understand them already")
    });
    Ok(Checked {
        warnings: compiled.warnings,
        summary: summary(&config),
        not_here,
        name: config.name(),
        firewall: compiled.firewall,
        inputs,
    })
}

/// Compares a file with what was committed last.
pub fn plan(file: &Path) -> Result<Planned, Refusal> {
    let inputs = read(file)?;
    let program = std::env::current_exe().unwrap_or_default();
    let parsed = config::parse(&shown(file), &inputs.text)?;
    let paths = Paths::of(&parsed.config.name())?;
    let mut book = Book::open(&paths.state_dir)?;
    let committed: Option<Committed> = read_json(&crate::life_of_a_change::committed_path(&paths))?;
    // Whatever was committed keeps its ports, running or not.
    let known: HashSet<String> =
        committed.iter().flat_map(|c| &c.revision.site.processes).map(|p| p.name.clone()).collect();
    let facts =
        Facts { paths: Some(&paths), program: &program, running: &known, now_ms: sys::clock::now_ms() };
    let (compiled, config) = compile_config(&shown(file), &inputs, &mut book, &facts)?;
    let current = committed.as_ref().map(|c| (&c.revision.site, &c.firewall));
    let machines = config.machines.iter().map(|machine| {
        let parts = machine.runs.iter().map(|part| config::read::Text::text(&part.value)).collect();
        (format!("{} ({})", machine.name.value, machine.address.value), parts)
    });
    Ok(Planned {
        current: committed.as_ref().map(|c| c.revision.id),
        changes: plan::changes(current, (&compiled.site, &compiled.firewall)),
        machines: machines.collect(),
        warnings: compiled.warnings,
    })
}

/// Makes a site of what was read.
pub fn compile(inputs: &Inputs, book: &mut Book, facts: &Facts<'_>) -> Result<Compiled, Refusal> {
    compile_config(&inputs.file.display().to_string(), inputs, book, facts).map(|(compiled, _)| compiled)
}

fn compile_config(
    name: &str,
    inputs: &Inputs,
    book: &mut Book,
    facts: &Facts<'_>,
) -> Result<(Compiled, Config), Refusal> {
    let parsed = config::parse(name, &inputs.text)?;
    let config = parsed.config;
    let mut lowering = Lowering { config: &config, inputs, book, facts, findings: parsed.warnings };
    let lowered = lowering.site()?;
    let findings = lowering.findings;
    match lowered {
        Some(lowered) if findings.iter().all(|d| d.severity != Severity::Error) => {
            Ok((Compiled { warnings: findings, ..lowered }, config))
        }
        _ => Err(findings.into()),
    }
}

fn read(file: &Path) -> Result<Inputs, Fault> {
    Inputs::read(file).map_err(|e| {
        let fault = Fault::new(format!("cannot read `{}`: {e}", file.display()));
        match e.kind() {
            std::io::ErrorKind::NotFound => fault.hint("`bastide init` writes one to begin with"),
            _ => fault,
        }
    })
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

/// The first 16 hexadecimal digits of the SHA-256 of the site.
pub fn hash(site: &Site) -> String {
    let text = serde_json::to_vec(site).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    digest.as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// An address or network as people write it.
pub fn parse_net(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<std::net::IpAddr>() {
        return Ok(IpNet::from(base::net::canonical(ip)));
    }
    let wrong = || format!("`{text}` is no address or network: write `203.0.113.9` or `2001:db8::/32`");
    let net: IpNet = text.parse().map_err(|_| wrong())?;
    // One of the two was not meant, and the wider one may ban many.
    match net.trunc() == net {
        true => Ok(net),
        false => Err(format!(
            "`{text}` is an address within `{}`: write the network, or the address alone",
            net.trunc()
        )),
    }
}

fn summary(config: &Config) -> String {
    let plural = |n: usize, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let parts = [
        plural(config.pools.len(), "pool", "pools"),
        plural(config.routes.len(), "route", "routes"),
        plural(config.databases.len(), "database", "databases"),
        plural(config.machines.len(), "machine", "machines"),
        plural(config.alerts.len(), "alert of your own", "alerts of your own"),
        config.waf.as_ref().map(|waf| format!("WAF ({})", waf.mode.as_str())),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing but a site".to_owned() } else { parts.join(", ") }
}
