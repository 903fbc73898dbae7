//! All automation: `cargo xtask check | conformance NAME | bench NAME`.
//!
//! - `check` reads manifests and files and says where the house's rules are broken.
//! - `conformance` runs somebody else's suite against our crates.
//! - `backtest` forecasts real series that Python packages ship.
//! - `bench` builds the release binaries and runs `bench/`, which measures them
//!   side by side with other programs.
//!
//! Data goes to stdout, the rest to stderr; exit codes are 0 ok, 1 failed, 64 usage.
//! Never part of the product: no product crate may depend on this one.

// A tool for developers that is read on a terminal; only the product's crates
// leave printing to `bastide`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod backtest;
mod bench;
mod check;
mod conformance;
mod differential;
mod replay;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "All automation of this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the house's rules: directions, purity, licences, sources, strings, lengths
    Check {
        /// Print the problems as JSON
        #[arg(long)]
        json: bool,
        /// Write the long files' lengths of today into xtask/long-files.txt
        #[arg(long)]
        bless: bool,
    },
    /// Run a conformance suite
    Conformance {
        /// Which; without a name the suites are listed
        name: Option<String>,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
        /// Fail only where the run is worse than xtask/conformance.toml says
        #[arg(long, conflicts_with = "dir")]
        ratchet: bool,
        /// Where the suite's data is, instead of its usual place beside the repository
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Of `crs`: the folder of the rules
        #[arg(long)]
        rules: Option<PathBuf>,
        /// Of `crs`: the folder of the cases
        #[arg(long)]
        tests: Option<PathBuf>,
        /// Of `crs`: only this case (920100-2) or rule (920100), told at length
        #[arg(long = "case", conflicts_with = "ratchet")]
        cases: Vec<String>,
    },
    /// Forecast real hourly series from every day on; fails where the seasonal naive forecast is
    /// better on the whole, or the 80 % interval holds less than 75 % or more than 85 %
    Backtest {
        /// Print the scores as JSON
        #[arg(long)]
        json: bool,
    },
    /// A week of a site's samples through store, PromQL and the ready-made alerts: what goes wrong in it
    /// must be found, and in its quiet hours nothing
    Replay {
        /// From Monday on; Friday to Sunday are quiet
        #[arg(long, default_value_t = 7)]
        days: i64,
        /// What chance begins with
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print the incidents as JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure side by side against other programs
    #[command(disable_help_flag = true)]
    Bench {
        /// The bench's name and options; `cargo xtask bench --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    // A suite that is run by `bench` and has options of its own.
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [command, name, rest @ ..] = &words[..]
        && command == "conformance"
        && name == differential::NAME
    {
        return differential::run(&repository(), rest);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let root = repository();
    match arguments.command {
        Command::Check { json, bless } => check::run(&root, json, bless),
        Command::Conformance { name, json, ratchet, dir, rules, tests, cases } => {
            let options = conformance::CrsOptions { rules, tests, cases };
            conformance::run(&root, name.as_deref(), json, ratchet, dir, &options)
        }
        Command::Backtest { json } => backtest::run(&root, json),
        Command::Replay { days, seed, json } => replay::run(days, seed, json),
        Command::Bench { arguments } => bench::run(&root, &arguments),
    }
}

/// The repository's root: the folder above this crate's manifest.
fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
