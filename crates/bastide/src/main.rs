//! The `bastide` binary: one file a subcommand, and nothing else prints.
//!
//! Data goes to standard output, everything else to standard error. Exit codes:
//! 0 done, 1 failed, 64 wrong usage.

mod alerts;
mod args;
mod ask;
mod ban;
mod cert;
mod check;
mod completions;
mod database;
mod doctor;
mod down;
mod events;
mod explain;
mod firewall;
mod grow;
mod init;
mod lines;
mod logs;
mod plan;
mod query;
mod reload;
mod run;
mod schema;
mod show;
mod silence;
mod status;
mod target;
mod terminal;
mod top;
mod up;
mod waf;

use args::{Args, Command};
use clap::FromArgMatches;
use std::process::ExitCode;
use terminal::Terminal;

/// What a command comes to.
type Outcome = Result<ExitCode, role::Fault>;

fn main() -> ExitCode {
    let parsed = args::command().try_get_matches().and_then(|matches| Args::from_arg_matches(&matches));
    let args = match parsed {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { terminal::USAGE } else { terminal::OK });
        }
    };
    let terminal = Terminal::new(args.global.color, args.global.json);
    let outcome = match &args.command {
        Command::Init(command) => init::run(command, &terminal),
        Command::Check(command) => check::run(command, &args.global, &terminal),
        Command::Plan(command) => plan::run(command, &args.global, &terminal),
        Command::Up(command) => up::run(command, &args.global, &terminal),
        Command::Down(command) => down::run(command, &args.global, &terminal),
        Command::Reload(command) => reload::run(command, &args.global, &terminal),
        Command::Status(command) => status::run(command, &args.global, &terminal),
        Command::Top(command) => top::run(command, &args.global, &terminal),
        Command::Logs(command) => logs::run(command, &args.global, &terminal),
        Command::Query(command) => query::run(command, &args.global, &terminal),
        Command::Grow(command) => grow::run(command, &args.global, &terminal),
        Command::Alerts(command) => alerts::run(command, &args.global, &terminal),
        Command::Silence(command) => silence::run(command, &args.global, &terminal),
        Command::Ban(command) => ban::ban(command, &args.global, &terminal),
        Command::Unban(command) => ban::unban(command, &args.global, &terminal),
        Command::Bans(command) => ban::list(command, &args.global, &terminal),
        Command::Firewall(command) => firewall::run(command, &args.global, &terminal),
        Command::Waf(command) => waf::run(command, &args.global, &terminal),
        Command::Database(command) => database::run(command, &args.global, &terminal),
        Command::Cert(command) => cert::run(command, &args.global, &terminal),
        Command::Explain(command) => explain::run(command, &args.global, &terminal),
        Command::Doctor(command) => doctor::run(command, &args.global, &terminal),
        Command::Schema => schema::run(&terminal),
        Command::Completions(command) => completions::run(command),
        Command::Run(command) => run::run(command),
    };
    outcome.unwrap_or_else(|fault| {
        terminal.fault(&fault);
        ExitCode::from(terminal::FAILED)
    })
}

/// A runtime on this thread, for commands that ask over sockets.
fn runtime() -> Result<tokio::runtime::Runtime, role::Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| role::Fault::new(format!("cannot start the runtime: {e}")))
}
