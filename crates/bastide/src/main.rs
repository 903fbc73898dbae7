//! The `bastide` binary: one file a subcommand, and nothing else prints.
//!
//! Data goes to standard output, everything else to standard error. Exit codes:
//! 0 done, 1 failed, 64 wrong usage.

mod args;
mod check;
mod down;
mod plan;
mod reload;
mod run;
mod status;
mod target;
mod terminal;
mod up;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;
use terminal::Terminal;

/// What a command comes to.
type Outcome = Result<ExitCode, role::Fault>;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { terminal::USAGE } else { terminal::OK });
        }
    };
    let terminal = Terminal::new(args.global.color, args.global.json);
    let outcome = match &args.command {
        Command::Check(command) => check::run(command, &args.global, &terminal),
        Command::Plan(command) => plan::run(command, &args.global, &terminal),
        Command::Up(command) => up::run(command, &args.global, &terminal),
        Command::Down(command) => down::run(command, &args.global, &terminal),
        Command::Reload(command) => reload::run(command, &args.global, &terminal),
        Command::Status(command) => status::run(command, &args.global, &terminal),
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
