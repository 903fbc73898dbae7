//! The command line.

use base::net::IpNet;
use base::{EventId, Millis};
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
    /// Colours: auto, always, never
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", hide_possible_values = true)]
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
    /// Write a file to begin with
    Init(Init),
    /// Check a file and say all that is wrong with it
    Check(File),
    /// Show what a file would change
    Plan(File),
    /// Bring the site up
    ///
    /// Starts the site's processes and returns when it is told to stop (Ctrl-C), or
    /// with `--detach` when the site is ready. What an earlier `up` left running is
    /// taken over without losing a request.
    Up(Up),
    /// Stop the site and everything that runs for it
    Down(Down),
    /// Apply the file to the running site, without dropping a request
    ///
    /// Either every part of the site takes the new file or none does. Processes whose
    /// command changed are restarted one at a time.
    Reload(File),
    /// Show how the site fares
    Status(Status),
    /// Watch the line: load, errors, latency, servers, database
    Top(Top),
    /// Show what processes, requests and events left in the logs
    Logs(Logs),
    /// Evaluate a PromQL expression
    Query(Query),
    /// Show the alerts that fire or are about to
    Alerts(Alerts),
    /// Keep alerts from being told for a while
    #[command(subcommand)]
    Silence(Silence),
    /// Say which resource runs out first, when, and on which evidence
    Grow(Grow),
    /// Refuse an address or network for a while
    Ban(Ban),
    /// End a ban
    Unban(Unban),
    /// List the bans in force
    Bans(SiteFile),
    /// The firewall that follows from the file
    #[command(subcommand)]
    Firewall(Firewall),
    /// The web application firewall
    #[command(subcommand)]
    Waf(Waf),
    /// The databases and their router
    #[command(subcommand)]
    Database(Database),
    /// The site's certificate and its authority
    #[command(subcommand)]
    Cert(Cert),
    /// Explain a key, metric, alert, server, process, event or request
    ///
    /// What the file's key means; what a metric counts; when an alert fires and whether
    /// it does; why a server is up or down, with its last events; which rule refused a
    /// request; what became of one.
    Explain(Explain),
    /// Look for what keeps a site from working, and say what to do
    Doctor(File),
    /// Print the file's JSON schema, for editors
    Schema,
    /// Print a shell's completions
    Completions(Completions),
    /// Run one role in the foreground
    #[command(subcommand)]
    Run(Run),
}

/// The commands as `--help` lists them.
pub(crate) const GROUPS: &[(&str, &[&str])] = &[
    ("The site", &["init", "check", "plan", "up", "reload", "down"]),
    ("How it fares", &["status", "top", "logs", "query", "alerts", "grow", "silence", "explain", "doctor"]),
    ("Its parts", &["ban", "unban", "bans", "firewall", "waf", "database", "cert"]),
    ("Tools", &["schema", "completions", "run"]),
];

/// The command line with its help in groups.
pub(crate) fn command() -> clap::Command {
    use clap::CommandFactory;
    use std::fmt::Write as _;
    let mut command = Args::command();
    let mut list = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(list, "\u{1b}[1m\u{1b}[4m{title}:\u{1b}[0m");
        for name in *names {
            let about = command.find_subcommand(name).and_then(|c| c.get_about()).map(ToString::to_string);
            let _ = writeln!(list, "  \u{1b}[1m{name:<12}\u{1b}[0m {}", about.unwrap_or_default());
        }
        list.push('\n');
    }
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}\u{1b}[1m\u{1b}[4mOptions:\u{1b}[0m\n{{options}}{{after-help}}"
    );
    command = command.help_template(clap::builder::StyledStr::from(template));
    command.after_help("`bastide COMMAND --help` says more. FILE is `bastide.toml` where none is given.")
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// The folder to write `bastide.toml` into
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// What kind of site
    #[arg(long, default_value = "app", value_parser = templates(), value_name = "NAME")]
    pub(crate) template: String,
}

fn templates() -> clap::builder::PossibleValuesParser {
    let value = |t: &config::Template| clap::builder::PossibleValue::new(t.name).help(t.about);
    clap::builder::PossibleValuesParser::new(config::TEMPLATES.iter().map(value))
}

/// The site by its file.
#[derive(Debug, ClapArgs)]
pub(crate) struct SiteFile {
    /// The site's file; absent, the site that runs
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// Print one picture and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Between two pictures
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub(crate) every: Millis,
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Logs {
    #[command(subcommand)]
    pub(crate) command: Option<LogsCommand>,
    /// Whose log, `edge`, `app/1`, or `app` for all of a pool; absent, everyone's
    pub(crate) process: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// Go on with what comes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the last lines [default: 50, or 10 of each of several]
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) lines: Option<u32>,
    /// The access log: every request
    #[arg(long, conflicts_with_all = ["process", "events"])]
    pub(crate) access: bool,
    /// The event log: health, alerts, bans, WAF, revisions, processes
    #[arg(long, conflicts_with = "process")]
    pub(crate) events: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// Find requests among the lines of access logs that are kept
    ///
    /// The newest first. All that is said must be true of a line.
    Search(LogsSearch),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogsSearch {
    /// A text in the line
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// The text is a regular expression
    #[arg(long, short = 'e', requires = "text")]
    pub(crate) regex: bool,
    /// Whatever the case of letters
    #[arg(long, short = 'i', requires = "text")]
    pub(crate) ignore_case: bool,
    /// Only of the last hour, say (`1h`)
    #[arg(long, value_parser = duration, value_name = "DURATION", conflicts_with_all = ["start", "end"])]
    pub(crate) since: Option<Millis>,
    /// From this time, RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub(crate) end: Option<String>,
    /// Only these statuses, `404`, `5xx`, `500-504`; several with commas
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only this host
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Only this client
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// Only this method
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Only this route, as metrics name it: `/orders/:id`
    #[arg(long)]
    pub(crate) route: Option<String>,
    /// Only what took at least this long
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) slower: Option<Millis>,
    /// Only these logs: `edge`, or the name that the file gives
    #[arg(long, value_name = "NAME")]
    pub(crate) log: Vec<String>,
    /// How many lines
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) lines: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Query {
    /// The expression, such as `site:qps` or `rate(node_cpu_seconds_total[1m])`
    pub(crate) expr: String,
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// Over the last hour, say (`1h`), instead of now
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) range: Option<Millis>,
    /// Between two points of a range [default: 1/60 of it, at least 1s]
    #[arg(long, value_parser = duration, value_name = "DURATION", requires = "range")]
    pub(crate) step: Option<Millis>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Alerts {
    /// One alert: its threshold, and what it would have fired
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// How far back one alert is looked at
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=400))]
    pub(crate) days: u16,
    /// All rules, those at rest too
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Silence {
    /// Silence the alerts whose labels match
    Add(SilenceAdd),
    /// List silences
    List(SilenceList),
    /// End silences
    Expire(SilenceExpire),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SilenceAdd {
    /// What is silenced, `alertname=server-down` or `server=~"app/.*"`; all must match.
    /// A word without `=` is an alert's name
    #[arg(required = true, value_name = "MATCHER")]
    pub(crate) matchers: Vec<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// For how long
    #[arg(long = "for", default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub(crate) duration: Millis,
    /// Why, for whoever wonders where an alert went
    #[arg(long, required = true, value_name = "TEXT")]
    pub(crate) why: String,
    /// Who silences; the user at this terminal unless said
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SilenceList {
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// Those that ended, too
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SilenceExpire {
    /// Their ids, or beginnings of them that fit one alone
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Grow {
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Ban {
    /// An address or network, `203.0.113.9` or `2001:db8::/32`
    #[arg(value_parser = net)]
    pub(crate) net: IpNet,
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// For how long
    #[arg(long = "for", default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub(crate) duration: Millis,
    /// Why, for whoever looks at `bastide bans`
    #[arg(long, default_value = "by hand", value_name = "TEXT")]
    pub(crate) why: String,
    /// Even where it holds the address that you are connected from
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Unban {
    /// The address or network, as it was banned
    #[arg(value_parser = net)]
    pub(crate) net: IpNet,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Firewall {
    /// Show who may reach a machine, and why
    Show(FirewallShow),
    /// Show what is in force in this machine's kernel
    Status(SiteFile),
    /// Keep the policy that is on trial
    ///
    /// Run this from a NEW connection: only that proves that the policy lets you in.
    Confirm(SiteFile),
    /// Go back to the policy before now, instead of when the trial ends
    Revert(SiteFile),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FirewallShow {
    /// The site's file
    #[arg(default_value = "bastide.toml")]
    pub(crate) file: PathBuf,
    /// One machine only, a `[machine.NAME]` of the file
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
    /// As nftables rules
    #[arg(long)]
    pub(crate) nft: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Waf {
    /// Say which rule matches what in which value, and why
    ///
    /// Of an event by its id, which stands on the page that refused the request, or of a
    /// request that is tried here, through the rules of the site's file, and sent nowhere:
    /// `bastide waf explain 'GET /search?q=rock & roll'`.
    Explain(WafExplain),
    /// List what the rules matched lately, the newest last, or count it
    Events(WafEvents),
    /// Propose what honest traffic needs let pass, as a change of the file
    ///
    /// Reads the site's events, or tries recorded requests, and proposes the narrowest
    /// exclusions: one rule for one argument of one path. What looks like an attack is
    /// not proposed.
    Learn(WafLearn),
    /// Let a rule's match pass: writes the exclusion into the file
    Allow(WafAllow),
    /// Send a folder of go-ftw's cases to the running site and judge what comes of them
    Test(WafTest),
    /// Load the rules of a site's file, or rule files, and count them
    Check(WafCheck),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WafExplain {
    /// An event's id; a request, such as `'GET /search?q=x'`; a file with a raw one; or `-`
    #[arg(required = true, value_name = "ID|REQUEST")]
    pub(crate) what: Vec<String>,
    /// A header line of the request, `'Name: value'`; several may be given
    #[arg(long, short = 'H', value_name = "LINE")]
    pub(crate) header: Vec<String>,
    /// The request's body, or `@FILE`; a form's unless a Content-Type says otherwise
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) data: Option<String>,
    /// The host that is asked [default: the site's first]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Who asks [default: an address of nobody]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client: Option<std::net::IpAddr>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WafEvents {
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// Count them by rule, path or client
    #[arg(long, value_enum, value_name = "SIDE")]
    pub(crate) by: Option<By>,
    /// Only those of the last hour, say (`1h`)
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) since: Option<Millis>,
    /// How many, at most [default: 20, or 100000 where they are counted]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: Option<u32>,
}

/// What events are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The rules that matched
    Rule,
    /// Host and path
    Path,
    /// The client's address
    Client,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WafLearn {
    /// `events` (what the site wrote down), `capture`, `access-log`, or a file or folder of
    /// recorded requests; several may be given [default: events]
    #[arg(long, value_name = "SOURCE", num_args = 1..)]
    pub(crate) from: Vec<String>,
    /// Write the proposal into the file
    #[arg(long)]
    pub(crate) apply: bool,
    /// Also for what matched without being refused
    #[arg(long)]
    pub(crate) all: bool,
    /// The site's file [default: bastide.toml, or that of the site that runs]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WafAllow {
    /// The event whose request was honest
    #[arg(value_parser = event_id, required_unless_present = "rule")]
    pub(crate) id: Option<EventId>,
    /// The rule; of an event: only this one of those that matched
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rule: Option<u64>,
    /// Only on this path, or below it where it ends in `*`
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Only in this argument
    #[arg(long)]
    pub(crate) arg: Option<String>,
    /// Write without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// And apply it to the running site
    #[arg(long)]
    pub(crate) reload: bool,
    /// The site's file [default: bastide.toml, or that of the site that runs]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WafTest {
    /// A folder of go-ftw's YAML, or one file
    pub(crate) dir: PathBuf,
    /// Where the site is reached from here [default: where it says it is]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WafCheck {
    /// A site's file, or rule files in their order
    #[arg(default_value = "bastide.toml", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Also what was understood and has no effect
    #[arg(long)]
    pub(crate) notes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Database {
    /// Show members, roles, lag and connections
    Status(SiteFile),
    /// Print the URL that an application connects to, password included
    Url(DatabaseName),
    /// Open psql on the router
    Psql(DatabasePsql),
    /// Say where a statement would run, and why
    Explain(DatabaseExplain),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DatabaseName {
    /// Which, where the site has several
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DatabasePsql {
    /// Which, where the site has several
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// Arguments for psql, after `--`
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<std::ffi::OsString>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DatabaseExplain {
    /// The statement
    pub(crate) sql: String,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Show the certificates that are served, and the authority
    Show(SiteFile),
    /// Write the authority's root certificate (PEM) to a file or standard output
    Export(CertExport),
    /// Make this machine trust the authority
    ///
    /// Adds the root to the system's trusted roots (as root), and to those of your
    /// Chromium and Firefox where `certutil` is installed. `--undo` takes it out again.
    Trust(CertTrust),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CertExport {
    /// Where to; absent, standard output
    pub(crate) to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CertTrust {
    #[command(flatten)]
    pub(crate) site: SiteFile,
    /// Trust it no more
    #[arg(long)]
    pub(crate) undo: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// `pool.instances`, `bastide_edge_requests_total`, `server-down`, `app/1`, or an id
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) site: SiteFile,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

fn duration(text: &str) -> Result<Millis, String> {
    match Millis::parse(text)? {
        Millis(0) => Err("it must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

fn net(text: &str) -> Result<IpNet, String> {
    control::compile::parse_net(text)
}

fn event_id(text: &str) -> Result<EventId, String> {
    EventId::parse(text.trim()).ok_or_else(|| {
        "an id has 20 letters and digits; it stands on the page that refused the request".to_owned()
    })
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
    /// Also start the helper that speaks to the kernel's firewall
    #[arg(long)]
    pub(crate) firewall: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_is_in_one_group_and_hidden_ones_in_none() {
        let command = command();
        let visible: BTreeSet<&str> =
            command.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name()).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        assert_eq!(grouped.len(), visible.len());
        assert_eq!(grouped.into_iter().collect::<BTreeSet<_>>(), visible);
        command.debug_assert();
    }

    #[test]
    fn help_fits_80_columns() {
        let help = command().term_width(80).render_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "too long: {line}");
        }
        for expected in ["The site:", "  up           Bring the site up", "--json", "Usage: bastide"] {
            assert!(help.contains(expected), "`{expected}` is not in\n{help}");
        }
        assert!(!help.contains("supervisor"));
    }

    #[test]
    fn wrong_values_are_usage_errors() {
        for args in [
            &["bastide", "ban", "nonsense"][..],
            &["bastide", "ban", "10.0.0.1", "--for", "soon"],
            &["bastide", "ban", "10.0.0.1", "--for", "0s"],
            &["bastide", "waf", "explain"],
            &["bastide", "waf", "allow"],
            &["bastide", "waf", "allow", "short"],
            &["bastide", "logs", "edge", "--access"],
            &["bastide", "query", "up", "--step", "1s"],
            &["bastide", "init", "--template", "none"],
        ] {
            assert!(Args::try_parse_from(args).is_err(), "{args:?}");
        }
    }
}
