//! `bench agent`: what one reading of this machine costs, beside node_exporter.
//!
//! | workload | what is asked for |
//! |---|---|
//! | `scrape` | `GET /metrics`, one after the other, each on a new connection |
//!
//! The metrics are `cpu_us`, user + system time of the process from `/proc`
//! divided by the answers, and `rss_mb`, its resident memory when the rounds are
//! over. node_exporter runs the [same collectors](monitor_agent::COLLECTORS) and
//! no other, as far as its version has them; ours runs as `bastide up` runs it,
//! with what it does besides (processes, control groups, units), at its own
//! intervals. Neither compresses. The contender has one core, the one who asks
//! another.

use crate::process::{self, Running};
use crate::rounds::{Named, Pace, chosen, interleaved};
use crate::rows::{self, Report, Sample, summarise};
use crate::{AgentOptions, machine};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// An answer takes longer than this only where something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// Series that an answer must have to count, of collectors that every machine has.
const EXPECTED: [&str; 4] =
    ["\nnode_cpu_seconds_total{", "\nnode_memory_MemTotal_bytes ", "\nnode_load1 ", "\nnode_vmstat_pgfault "];

enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

struct Contender {
    address: Address,
    running: Running,
}

/// Starts both, measures in interleaved rounds, ends both.
pub(crate) fn run(target: &Path, options: &AgentOptions) -> Result<Report, String> {
    let names = chosen(vec![(rows::OURS, ()), ("node_exporter", ())], &options.contender);
    let pace = Pace::new(&options.common);
    let cores = machine::two_cores();
    let folder = machine::folder("agent")?;
    let core = cores.map(|(first, _)| first);
    let mut report = Report::default();
    let mut contenders: Vec<Named<Contender>> = Vec::new();
    for (name, ()) in names {
        let started = if name == rows::OURS {
            bastide(target, folder.path(), core)
        } else {
            node_exporter(folder.path(), core)
        };
        match started {
            Ok((contender, version)) => {
                eprintln!("{name:<14} {version}");
                contenders.push((name, contender));
            }
            Err(why) => report.skipped.push(format!("{name}: {why}")),
        }
    }
    if let Some((_, second)) = cores {
        machine::pin(second)?;
    }
    let workloads = [("scrape", ())];
    interleaved(pace.rounds, "cpu_us", &workloads, &contenders, &mut report, |(), contender| {
        cell(pace, contender)
    });
    let mut memory = Vec::new();
    for (name, contender) in &contenders {
        let value = resident_mb(contender.running.pid())?;
        memory.push(Sample { workload: "scrape", contender: (*name).to_owned(), value });
    }
    report.rows.extend(summarise("rss_mb", &memory));
    Ok(report)
}

/// CPU µs for each answer.
fn cell(pace: Pace, contender: &Contender) -> Result<f64, String> {
    ask_until(Instant::now() + pace.warm_up, contender)?;
    let before = machine::cpu_seconds(contender.running.pid())?;
    let answers = ask_until(Instant::now() + pace.measured, contender)?;
    let after = machine::cpu_seconds(contender.running.pid())?;
    Ok((after - before) * 1e6 / f64::from(answers))
}

fn ask_until(end: Instant, contender: &Contender) -> Result<u32, String> {
    let mut answers = 0;
    while answers == 0 || Instant::now() < end {
        let answer = ask(&contender.address)?;
        if let Some(missing) = EXPECTED.iter().find(|series| !answer.contains(**series)) {
            return Err(format!("an answer of {} bytes has no `{}`", answer.len(), missing.trim()));
        }
        answers += 1;
    }
    Ok(answers)
}

/// The body of `GET /metrics`. The connection ends with it.
fn ask(address: &Address) -> Result<String, String> {
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    let outcome = match address {
        Address::Tcp(address) => TcpStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request)?;
            stream.read_to_end(&mut answer)
        }),
        Address::Unix(path) => UnixStream::connect(path).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request)?;
            stream.read_to_end(&mut answer)
        }),
    };
    outcome.map_err(|error| format!("asking for /metrics: {error}"))?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    if !text.starts_with("HTTP/1.1 200 ") {
        return Err(format!("the answer is `{}`", text.lines().next().unwrap_or("")));
    }
    Ok(text)
}

fn resident_mb(pid: u32) -> Result<f64, String> {
    let file = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map(|kb| kb / 1024.0).ok_or_else(|| format!("{file} says no VmRSS"))
}

/// The role alone, with a revision as control leaves it.
fn bastide(target: &Path, folder: &Path, core: Option<usize>) -> Result<(Contender, String), String> {
    let program = target.join("release/bastide");
    let (run, state) = (folder.join("run"), folder.join("state"));
    for dir in [&run, &state] {
        std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let revision = serde_json::json!({ "id": 1, "hash": "", "made_at_ms": 0, "site": {} });
    let file = run.join("agent.revision.json");
    std::fs::write(&file, revision.to_string()).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new(&program);
    command.args(["run", "agent", "--run-dir"]).arg(&run).arg("--state-dir").arg(&state);
    let running = Running::start(command, core, &folder.join("bastide.log"))?;
    let contender = Contender { address: Address::Unix(run.join("agent.sock")), running };
    ready(contender, process::version(&program, &["--version"]))
}

fn node_exporter(folder: &Path, core: Option<usize>) -> Result<(Contender, String), String> {
    let names = ["prometheus-node-exporter", "node_exporter"];
    let program = names.into_iter().find_map(process::find);
    let program = program.ok_or("not installed (Debian: prometheus-node-exporter)")?;
    let help = Command::new(&program).arg("--help").output().map_err(|error| error.to_string())?;
    // It is written to stderr by some versions, and to stdout by others.
    let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
    let address = SocketAddr::from(([127, 0, 0, 1], process::free_port()?));
    let mut command = Command::new(&program);
    command.arg("--collector.disable-defaults").arg(format!("--web.listen-address={address}"));
    for collector in monitor_agent::COLLECTORS {
        let flag = format!("--collector.{collector}");
        if help.split_whitespace().any(|word| word == flag || word == format!("--[no-]collector.{collector}"))
        {
            command.arg(flag);
        } else {
            eprintln!("note: this node_exporter has no collector {collector}");
        }
    }
    let running = Running::start(command, core, &folder.join("node_exporter.log"))?;
    let version = process::version(&program, &["--version"]);
    ready(Contender { address: Address::Tcp(address), running }, version)
}

fn ready(mut contender: Contender, version: String) -> Result<(Contender, String), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask(&contender.address) {
            Ok(_) => return Ok((contender, version)),
            Err(why) if Instant::now() > deadline || contender.running.ended() => {
                return Err(format!("{why}: {}", contender.running.last_words()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let answers = ["HTTP/1.1 500 no\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nnode_load1 1\n"];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(ask(&address), Err("the answer is `HTTP/1.1 500 no`".to_owned()));
        assert!(ask(&address).unwrap().ends_with("\nnode_load1 1\n"));
        server.join().unwrap();
    }

    #[test]
    fn our_own_memory_is_some() {
        assert!(resident_mb(std::process::id()).unwrap() > 0.5);
    }
}
