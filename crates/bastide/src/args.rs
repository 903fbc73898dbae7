//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A website's whole infrastructure: one binary, one file.
#[derive(Debug, Parser)]
#[command(name = "bastide", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, ClapArgs)]
pub(crate) struct Global {
    /// The site, where this folder's `bastide.toml` is not the one meant
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) site: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// When to use colours; NO_COLOR is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// Where the output is a terminal
    Auto,
    /// Also into files and pipes
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a file and say all that is wrong with it
    Check(File),
    /// Show what a file would change
    Plan(File),
    /// Bring the site up
    Up(Up),
    /// Stop the site and everything that runs for it
    Down(Down),
    /// Apply the file to the running site, without dropping a request
    Reload(File),
    /// Show how the site fares
    Status(Status),
    /// Run one role in the foreground
    #[command(subcommand)]
    Run(Run),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct File {
    /// The site's file
    #[arg(default_value = "bastide.toml")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    /// The site's file
    #[arg(default_value = "bastide.toml")]
    pub(crate) file: PathBuf,
    /// Return when the site is ready, and leave it running
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Give up when the site is not ready after this many seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Down {
    /// The site's file; absent, the site that runs
    pub(crate) file: Option<PathBuf>,
    /// Kill instead of letting requests finish
    #[arg(long)]
    pub(crate) now: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Status {
    /// The site's file; absent, the site that runs
    pub(crate) file: Option<PathBuf>,
}

/// Roles. Under `bastide up` they get `--run-dir` and `--state-dir`; on their own, `--config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Run {
    /// TLS, HTTP, routes, WAF, web servers
    Edge(RoleDirs),
    /// The database router
    Database(RoleDirs),
    /// Scraping, store, alerts, page
    Monitor(RoleDirs),
    /// Readings of this machine
    Agent(RoleDirs),
    /// File, revisions, admin
    #[command(hide = true)]
    Control(RoleDirs),
    /// The kernel's firewall, for control
    #[command(hide = true)]
    Privileged(RoleDirs),
    /// A PostgreSQL member: prepared, then executed in this process' place
    #[command(hide = true)]
    Postgres(Postgres),
    /// Processes and sockets
    #[command(hide = true)]
    Supervisor(Supervisor),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RoleDirs {
    /// The site's file: the role compiles it and binds its own sockets
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run_dir", "state_dir"])]
    pub(crate) config: Option<PathBuf>,
    /// Where control leaves the role's revision, and its socket is made
    #[arg(long, value_name = "DIR", requires = "state_dir")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Logs and data
    #[arg(long, value_name = "DIR", requires = "run_dir")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Postgres {
    /// The member's specification
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Supervisor {
    /// Sockets, records
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: PathBuf,
    /// Logs
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
}
