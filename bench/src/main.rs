//! Side-by-side runs against other programs: `cargo xtask bench NAME`.
//!
//! A bench starts every contender on this machine, gives each the same work in
//! interleaved rounds (A B C, B C A, …), and reports medians and their ratio to
//! the best peer of the same run. On a machine that is shared or slow the ratio
//! means something; the figure itself does not.
//!
//! Data goes to stdout (a table, or rows as JSON), the rest to stderr; exit codes
//! are 0 ok, 1 failed, 64 usage. Traffic stays on the loopback addresses, bounded
//! in count and time. Never part of the product.

// A tool for developers that is read on a terminal; only the product's crates
// leave printing to `bastide`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod agent;
mod differential;
mod edge;
mod logs;
mod machine;
mod newer;
mod process;
mod rounds;
mod router;
mod rows;
mod store;
mod waf;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

// Counting costs a few instructions a call, the same for whatever runs in here.
#[global_allocator]
static ALLOCATOR: sys::allocations::Counting = sys::allocations::Counting;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measure side by side against other programs")]
struct Arguments {
    /// Cargo's target directory
    #[arg(long, hide = true, default_value = "target")]
    target: PathBuf,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// One reading of this machine: CPU µs of the agent, and its memory, against node_exporter
    Agent(AgentOptions),
    /// Proxied HTTP requests: CPU µs of the proxy per request, against nginx, HAProxy and others
    Edge(EdgeOptions),
    /// SQL through a router: CPU µs of the router per transaction, against PgBouncer
    Router(RouterOptions),
    /// Samples in, queries out: CPU, memory, disk and losses of the store, against VictoriaMetrics and Prometheus
    Store(StoreOptions),
    /// Lines of an access log, read and counted per CPU-second, against a regular expression and goaccess
    Logs(LogsOptions),
    /// Requests through the Core Rule Set: CPU µs of the WAF engine per request, against libmodsecurity
    Waf(WafOptions),
    /// The same requests through the WAF engine and libmodsecurity: do they decide alike?
    /// (`cargo xtask conformance waf-differential`)
    WafDifferential(DifferentialOptions),
}

#[derive(Args)]
struct AgentOptions {
    #[command(flatten)]
    common: Common,
    /// Only these contenders
    #[arg(long, value_delimiter = ',', value_parser = ["bastide", "node_exporter"])]
    contender: Vec<String>,
}

#[derive(Args)]
struct EdgeOptions {
    #[command(flatten)]
    common: Common,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_parser = ["W1", "W2", "W3", "W4", "W5a", "W5b", "W6"])]
    workload: Vec<String>,
    /// Only these contenders
    #[arg(long, value_delimiter = ',', value_parser = ["bastide", "nginx", "haproxy", "nginx-new", "envoy", "caddy"])]
    contender: Vec<String>,
    /// Do without the newer programs that PyPI has
    #[arg(long)]
    no_newer: bool,
}

#[derive(Args)]
struct LogsOptions {
    #[command(flatten)]
    common: Common,
    /// Lines of the log [default: 500000, quick: 100000]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1_000..=50_000_000))]
    lines: Option<usize>,
    /// Only these contenders
    #[arg(long, value_delimiter = ',', value_parser = ["bastide", "regex", "goaccess"])]
    contender: Vec<String>,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_parser = ["combined", "timed", "archive"])]
    workload: Vec<String>,
}

#[derive(Args)]
struct RouterOptions {
    #[command(flatten)]
    common: Common,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_parser = ["R1", "R2", "R3"])]
    workload: Vec<String>,
    /// Only these contenders
    #[arg(long, value_delimiter = ',', value_parser = ["bastide", "pgbouncer"])]
    contender: Vec<String>,
}

#[derive(Args)]
struct StoreOptions {
    #[command(flatten)]
    common: Common,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_parser = ["ingest", "one-4h", "rate-1000", "topk-10k", "range-30d", "million", "kill"])]
    workload: Vec<String>,
    /// Only these contenders
    #[arg(long, value_delimiter = ',', value_parser = ["bastide", "victoria-metrics", "prometheus"])]
    contender: Vec<String>,
    /// How often each contender is killed while samples come [default: 10, quick: 2]
    #[arg(long)]
    kills: Option<u32>,
    /// What chance begins with: the same seed kills after the same times
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct WafOptions {
    #[command(flatten)]
    common: Common,
    /// The rule set: a folder with *.conf and *.data [default: ../shared/testdata/crs/rules]
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Only these workloads: `get3`, `browser`, `form1k`, `json4k`, `multipart64k`, or one with `/PL1`, `/PL4`
    #[arg(long, value_delimiter = ',')]
    workload: Vec<String>,
    /// Without the worst-case inputs
    #[arg(long)]
    no_worst: bool,
    /// Count instructions, too: needs valgrind, and minutes
    #[arg(long)]
    callgrind: bool,
    /// Run each workload this often and do nothing else: what callgrind counts
    #[arg(long, hide = true)]
    only_run: Option<u32>,
}

#[derive(Args)]
struct DifferentialOptions {
    /// The rule set: a folder with *.conf and *.data [default: ../shared/testdata/crs/rules]
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Its regression cases, whose inputs are what mutations start from
    /// [default: ../shared/testdata/crs/regression]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Requests at each level
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// What chance begins with: the same seed gives the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these paranoia levels
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4", value_parser = clap::value_parser!(u8).range(1..=4))]
    pl: Vec<u8>,
    /// Compare with `REQUEST_BODY` as it is by default, of forms only; libmodsecurity has it of every body
    #[arg(long)]
    forms: bool,
    /// Examples shown of each group of disagreements
    #[arg(long, default_value_t = 1)]
    examples: usize,
    /// Show this request (its number, from 0) and what both engines say of it
    #[arg(long)]
    request: Option<usize>,
    /// Show what both engines say of the request in this file: its bytes as HTTP/1.1
    #[arg(long, conflicts_with = "request")]
    file: Option<PathBuf>,
}

#[derive(Args)]
struct Common {
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
    /// Rounds, each of which measures every contender once [default: 5, quick: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Short rounds, to see that everything runs
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let target = std::path::absolute(&arguments.target).unwrap_or(arguments.target);
    let (outcome, json) = match &arguments.bench {
        Bench::Agent(options) => (agent::run(&target, options), options.common.json),
        Bench::Edge(options) => (edge::run(&target, options), options.common.json),
        Bench::Logs(options) => (logs::run(&target, options), options.common.json),
        Bench::Router(options) => (router::run(&target, options), options.common.json),
        Bench::Store(options) => (store::run(&target, options), options.common.json),
        Bench::Waf(options) => (waf::run(&target, options), options.common.json),
        Bench::WafDifferential(options) => return differential::main(&target, options),
    };
    match outcome {
        Ok(report) if report.is_nothing() => ExitCode::SUCCESS,
        Ok(report) => rows::print(&report, json),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}
