//! `bastide top`: the line, live.

use crate::Outcome;
use crate::args::{Global, Top};
use crate::ask::Monitor;
use crate::events::{self, text};
use crate::lines;
use crate::show::{self, Table};
use crate::status::{count, list};
use crate::target;
use crate::terminal::{FAILED, OK, Style, Terminal, escape};
use control::paths::Paths;
use role::Fault;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// A part that does not answer within this is shown as not answering.
const PATIENCE: Duration = Duration::from_secs(2);
/// The chart's range and step.
const CHART: (u64, u64) = (300, 5);
/// The paths asked for most are those of this time, among at most so many requests.
const PATHS_MS: u64 = 30_000;
const PATHS_REQUESTS: usize = 20_000;
const PATHS_SHOWN: usize = 5;
const EVENTS_SHOWN: usize = 5;

/// The numbers of a picture: name and PromQL. Those with a label are tables.
const NUMBERS: &[(&str, &str)] = &[
    ("qps", "site:qps"),
    ("error_ratio", "site:errors:ratio"),
    ("p50_seconds", "site:latency:p50"),
    ("p95_seconds", "site:latency:p95"),
    ("p99_seconds", "site:latency:p99"),
];
const BY_NAME: &[(&str, &str, &str)] = &[
    ("server_qps", "server", "sum by (server) (rate(bastide_edge_server_requests_total[30s]))"),
    (
        "server_errors",
        "server",
        "sum by (server) (rate(bastide_edge_server_requests_total{code=~\"5..|error\"}[30s]))",
    ),
    (
        "server_p99",
        "server",
        "histogram_quantile(0.99, sum by (server, le) (rate(bastide_edge_server_duration_seconds_bucket[1m])))",
    ),
    (
        "member_reads",
        "member",
        "sum by (member) (rate(bastide_database_statements_total{kind=\"read\"}[30s]))",
    ),
    (
        "member_writes",
        "member",
        "sum by (member) (rate(bastide_database_statements_total{kind=\"write\"}[30s]))",
    ),
    (
        "member_p99",
        "member",
        "histogram_quantile(0.99, sum by (member, le) (rate(bastide_database_statement_duration_seconds_bucket[1m])))",
    ),
];

pub(crate) fn run(args: &Top, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    crate::runtime()?.block_on(watch(args, &paths, terminal))
}

async fn watch(args: &Top, paths: &Paths, terminal: &Terminal) -> Outcome {
    if args.once || terminal.json {
        let picture = Picture::take(paths).await?;
        match terminal.json {
            true => terminal.print_json(&picture.json()),
            false => picture.lines(terminal, usize::MAX).iter().for_each(|line| terminal.line(line)),
        }
        return Ok(ExitCode::from(if picture.status["ready"] == true { OK } else { FAILED }));
    }
    let mut stop = Stop::new()?;
    // The first picture before the screen changes: an error stays readable.
    let mut picture = Ok(Picture::take(paths).await?);
    let screen = Screen::open();
    let mut every = tokio::time::interval(args.every.duration());
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.tick().await;
    loop {
        show(&picture, screen.as_deref(), terminal);
        if !terminal.is_read() {
            return Ok(ExitCode::SUCCESS);
        }
        let next = async {
            every.tick().await;
            Picture::take(paths).await
        };
        picture = tokio::select! {
            picture = next => picture,
            () = stop.wait(screen.as_deref()) => return Ok(ExitCode::SUCCESS),
        };
    }
}

/// On the screen where there is one, otherwise picture after picture.
fn show(picture: &Result<Picture, Fault>, screen: Option<&Screen>, terminal: &Terminal) {
    let (rows, columns) = screen.map_or((usize::MAX, usize::MAX), Screen::size);
    let lines = match picture {
        Ok(picture) => picture.lines(terminal, columns),
        Err(fault) => {
            let mut lines = vec![terminal.paint(Style::Bad, "the site does not answer")];
            lines.extend(fault.to_string().lines().map(str::to_owned));
            lines
        }
    };
    match screen {
        Some(_) => Screen::draw(&lines, rows, columns),
        None => {
            lines.iter().for_each(|line| terminal.line(line));
            terminal.line("");
        }
    }
}

/// What ends the watching: Ctrl-C, SIGTERM, the end of the terminal, `q`.
struct Stop {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Stop {
    fn new() -> Result<Self, Fault> {
        let on = |kind| signal(kind).map_err(|e| Fault::new(format!("cannot listen for signals: {e}")));
        Ok(Self {
            int: on(SignalKind::interrupt())?,
            term: on(SignalKind::terminate())?,
            hup: on(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self, screen: Option<&Screen>) {
        let key = async {
            match screen {
                Some(screen) => screen.keys.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = key => {}
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
            _ = self.hup.recv() => {}
        }
    }
}

/// Everything that is shown at one moment.
struct Picture {
    at_ms: u64,
    status: Value,
    numbers: BTreeMap<&'static str, f64>,
    by_name: BTreeMap<&'static str, HashMap<String, f64>>,
    chart: Vec<Option<f64>>,
    asked: Vec<Asked>,
    events: Vec<Value>,
}

/// A path and what became of requests for it.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    path: String,
    requests: u64,
    errors: u64,
    mean_ms: f64,
}

impl Picture {
    async fn take(paths: &Paths) -> Result<Self, Fault> {
        let at_ms = sys::clock::now_ms();
        let admin = target::control(paths).timeout(PATIENCE * 2);
        let (status, numbers) = tokio::join!(admin.get("/site"), numbers(paths, at_ms));
        let status = status.map_err(|error| target::explain(paths, error))?;
        let (numbers, by_name, chart) = numbers.unwrap_or_default();
        let mut events = Vec::new();
        // Logs that cannot be read leave their part of the picture empty.
        let _ = lines::backwards(&events::event_log(paths), |line| {
            events.extend(serde_json::from_slice::<Value>(line).ok());
            events.len() < EVENTS_SHOWN
        });
        events.reverse();
        Ok(Self { at_ms, status, numbers, by_name, chart, asked: asked(paths, at_ms), events })
    }

    fn json(&self) -> Value {
        let asked: Vec<Value> = self
            .asked
            .iter()
            .map(|a| json!({ "path": a.path, "requests": a.requests, "errors": a.errors, "mean_ms": a.mean_ms }))
            .collect();
        json!({
            "at_ms": self.at_ms, "ready": self.status["ready"], "numbers": self.numbers, "by_name": self.by_name,
            "qps_last_5m": self.chart, "paths_last_30s": asked, "firing": firing(&self.status),
            "events": self.events, "status": self.status,
        })
    }

    fn lines(&self, terminal: &Terminal, columns: usize) -> Vec<String> {
        let status = &self.status;
        let word = match status["ready"] == true {
            true => terminal.paint(Style::Good, "ready"),
            false => terminal.paint(Style::Bad, "not ready"),
        };
        let mut out = vec![format!(
            "{}  {word}  r{}  {}  {}",
            terminal.paint(Style::Bold, text(status, "site")),
            status["revision"]["id"],
            text(&status["urls"], "site"),
            terminal.paint(Style::Dim, show::time(self.at_ms, self.at_ms)),
        )];
        match self.numbers.is_empty() && self.chart.is_empty() {
            true => {
                out.push(terminal.paint(Style::Warn, "the monitor does not answer: there are no numbers"))
            }
            false => out.extend(self.signals(terminal, columns)),
        }
        out.push(String::new());
        out.extend(self.servers(terminal));
        out.extend(self.members(terminal));
        out.extend(self.paths(terminal));
        out.extend(self.troubles(terminal));
        if !self.events.is_empty() {
            out.push(String::new());
            out.extend(self.events.iter().map(|event| events::event_line(event, self.at_ms, terminal)));
        }
        out
    }

    /// The golden signals, and their last minutes.
    fn signals(&self, terminal: &Terminal, columns: usize) -> Vec<String> {
        let top = self.chart.iter().flatten().copied().fold(0.0, f64::max);
        let edge = &self.status["edge"];
        let beside = format!(
            "peak {}  {} in flight  {} connections",
            show::number(top),
            count(&edge["in_flight"]),
            count(&edge["connections"])
        );
        let room = columns.saturating_sub(show::width(&beside) + 10).clamp(10, 60);
        vec![self.golden(terminal), format!("5 min  {}  {beside}", show::sparkline(&self.chart, room))]
    }

    /// The golden signals in one line.
    fn golden(&self, terminal: &Terminal) -> String {
        let get = |name: &str| self.numbers.get(name).copied();
        let told = |value: Option<f64>, how: fn(f64) -> String| value.map_or("-".to_owned(), how);
        let ratio = get("error_ratio");
        let errors = told(ratio, show::percent);
        let errors = match ratio {
            Some(ratio) if ratio >= 0.01 => terminal.paint(Style::Bad, errors),
            Some(ratio) if ratio > 0.0 => terminal.paint(Style::Warn, errors),
            _ => errors,
        };
        format!(
            "{} requests/s  {errors} errors  p50 {}  p95 {}  p99 {}",
            terminal.paint(Style::Bold, told(get("qps"), show::number)),
            told(get("p50_seconds"), show::seconds),
            told(get("p95_seconds"), show::seconds),
            told(get("p99_seconds"), show::seconds),
        )
    }

    fn named(&self, table: &str, name: &Value, how: fn(f64) -> String) -> String {
        let value = name.as_str().and_then(|name| self.by_name.get(table)?.get(name));
        value.map_or("-".to_owned(), |value| how(*value))
    }

    fn servers(&self, terminal: &Terminal) -> Vec<String> {
        let mut table =
            Table::new(&["server", "state", ">req/s", ">errors/s", ">p99", ">in flight", ">restarts", ""]);
        let processes = list(&self.status["processes"]);
        for server in list(&self.status["edge"]["pools"]).iter().flat_map(|pool| list(&pool["servers"])) {
            let name = &server["name"];
            let process = processes.iter().find(|p| p["name"] == *name);
            let restarts = process.map_or("-".to_owned(), |p| text(p, "restarts"));
            table.row([
                text(server, "name"),
                state(server, terminal),
                self.named("server_qps", name, show::number),
                self.named("server_errors", name, show::number),
                self.named("server_p99", name, show::seconds),
                count(&server["in_flight"]),
                restarts,
                if server["up"] == true { String::new() } else { text(server, "why") },
            ]);
        }
        if table.is_empty() { Vec::new() } else { table.lines(terminal) }
    }

    fn members(&self, terminal: &Terminal) -> Vec<String> {
        let mut out = Vec::new();
        for database in list(&self.status["database"]["databases"]) {
            let mut table = Table::new(&[
                "member",
                "state",
                "role",
                ">reads/s",
                ">writes/s",
                ">p99",
                ">lag",
                ">active",
                "",
            ]);
            for member in list(&database["members"]) {
                let name = &member["name"];
                let lag = member["lag_seconds"].as_f64().map_or("-".to_owned(), |s| format!("{s:.1} s"));
                table.row([
                    text(member, "name"),
                    state(member, terminal),
                    text(member, "role"),
                    self.named("member_reads", name, show::number),
                    self.named("member_writes", name, show::number),
                    self.named("member_p99", name, show::seconds),
                    lag,
                    text(&member["connections"], "active"),
                    if member["up"] == true { String::new() } else { text(member, "why") },
                ]);
            }
            out.push(String::new());
            out.extend(table.lines(terminal));
        }
        out
    }

    fn paths(&self, terminal: &Terminal) -> Vec<String> {
        if self.asked.is_empty() {
            return Vec::new();
        }
        let mut table = Table::new(&["path, last 30 s", ">requests", ">5xx", ">mean"]);
        for asked in &self.asked {
            let mean = show::seconds(asked.mean_ms / 1e3);
            let path = show::clip(&escape(&asked.path), 40);
            table.row([path, asked.requests.to_string(), asked.errors.to_string(), mean]);
        }
        let mut out = vec![String::new()];
        out.extend(table.lines(terminal));
        out
    }

    fn troubles(&self, terminal: &Terminal) -> Vec<String> {
        let mut out = Vec::new();
        let firing = firing(&self.status);
        if !firing.is_empty() {
            out.push(format!("{} {}", terminal.paint(Style::Bad, "firing"), firing.join(", ")));
        }
        for why in list(&self.status["waiting_for"]).iter().filter_map(Value::as_str) {
            out.push(format!("{} {}", terminal.paint(Style::Warn, "waiting for"), escape(why)));
        }
        if !out.is_empty() {
            out.insert(0, String::new());
        }
        out
    }
}

fn state(part: &Value, terminal: &Terminal) -> String {
    match part["up"] == true {
        true => terminal.paint(Style::Good, "● up"),
        false => terminal.paint(Style::Bad, "○ down"),
    }
}

/// The names of the alerts that fire.
pub(crate) fn firing(status: &Value) -> Vec<String> {
    let firing = list(&status["monitor"]["alerts"]).iter().filter(|alert| alert["state"] == "firing");
    let mut names: Vec<String> = firing
        .map(|alert| {
            let label = |name: &str| {
                list(&alert["labels"]).iter().find(|pair| pair[0] == name).and_then(|pair| pair[1].as_str())
            };
            let of = label("server").or(label("member")).or(label("mountpoint")).or(label("process"));
            let name = escape(label("alertname").unwrap_or("?"));
            of.map_or(name.clone(), |of| format!("{name} ({})", escape(of)))
        })
        .collect();
    names.dedup();
    names
}

type Numbers = (BTreeMap<&'static str, f64>, BTreeMap<&'static str, HashMap<String, f64>>, Vec<Option<f64>>);

/// What the monitor knows; none where it does not answer.
async fn numbers(paths: &Paths, now_ms: u64) -> Option<Numbers> {
    let monitor = Monitor::find(paths, PATIENCE).await.ok()?;
    let mut numbers = BTreeMap::new();
    for (name, expr) in NUMBERS {
        numbers.extend(monitor.value(expr).await.map(|value| (*name, value)));
    }
    let mut by_name = BTreeMap::new();
    for (name, label, expr) in BY_NAME {
        let Ok(data) = monitor.prometheus("query", &[("query", expr)]).await else { continue };
        let one = |sample: &Value| {
            let value: f64 = sample["value"][1].as_str()?.parse().ok()?;
            Some((sample["metric"][*label].as_str()?.to_owned(), value))
        };
        by_name.insert(*name, list(&data["result"]).iter().filter_map(one).collect());
    }
    let now_s = now_ms / 1_000;
    let (start, end, step) = ((now_s - CHART.0).to_string(), now_s.to_string(), CHART.1.to_string());
    let form = [("query", "site:qps"), ("start", start.as_str()), ("end", &end), ("step", &step)];
    let data = monitor.prometheus("query_range", &form).await.unwrap_or_default();
    let mut chart = vec![None; (CHART.0 / CHART.1 + 1) as usize];
    for point in list(&data["result"][0]["values"]) {
        let at = point[0].as_f64().unwrap_or_default() as u64;
        let place = (at.saturating_sub(now_s - CHART.0) / CHART.1) as usize;
        if let Some(place) = chart.get_mut(place) {
            *place = point[1].as_str().and_then(|v| v.parse().ok());
        }
    }
    Some((numbers, by_name, chart))
}

/// The paths asked for most lately, from the end of the access log.
fn asked(paths: &Paths, now_ms: u64) -> Vec<Asked> {
    let mut seen: HashMap<String, (u64, u64, f64)> = HashMap::new();
    let mut left = PATHS_REQUESTS;
    // A log that cannot be read leaves the table empty.
    let _ = lines::backwards(&events::access_log(paths), |line| {
        let Ok(request) = serde_json::from_slice::<Value>(line) else { return true };
        if request["at_ms"].as_u64().is_none_or(|at| at + PATHS_MS < now_ms) {
            return false;
        }
        let path = format!(
            "{} {}",
            request["method"].as_str().unwrap_or("?"),
            request["path"].as_str().unwrap_or("?")
        );
        let entry = seen.entry(path).or_default();
        entry.0 += 1;
        entry.1 += u64::from(request["status"].as_u64().is_some_and(|status| status >= 500));
        entry.2 += request["duration_ms"].as_f64().unwrap_or_default();
        left -= 1;
        left > 0
    });
    let mut asked: Vec<Asked> = seen
        .into_iter()
        .map(|(path, (requests, errors, ms))| Asked { path, requests, errors, mean_ms: ms / requests as f64 })
        .collect();
    asked.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.path.cmp(&b.path)));
    asked.truncate(PATHS_SHOWN);
    asked
}

/// The terminal's other screen, without a cursor or echo; as it was when dropped.
struct Screen {
    before: Option<Termios>,
    keys: tokio::sync::Notify,
}

impl Screen {
    /// None where standard output is no terminal.
    fn open() -> Option<std::sync::Arc<Self>> {
        let stdin = std::io::stdin();
        if !std::io::stdout().is_terminal() {
            return None;
        }
        let before = rustix::termios::tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            // Stopping would leave the shell on our screen.
            raw.special_codes[SpecialCodeIndex::VSUSP] = 0;
            let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        let mut out = std::io::stdout().lock();
        // xterm's private modes: the alternate screen, the cursor.
        let _ = out.write_all(b"\x1b[?1049h\x1b[?25l").and_then(|()| out.flush());
        let screen = std::sync::Arc::new(Self { before, keys: tokio::sync::Notify::new() });
        if screen.before.is_some() {
            let keys = std::sync::Arc::downgrade(&screen);
            std::thread::spawn(move || {
                let mut byte = [0];
                while std::io::stdin().read(&mut byte).is_ok_and(|n| n == 1) {
                    let Some(screen) = keys.upgrade() else { return };
                    if matches!(byte[0], b'q' | b'Q') {
                        screen.keys.notify_one();
                    }
                }
            });
        }
        Some(screen)
    }

    /// Rows and columns.
    fn size(&self) -> (usize, usize) {
        match rustix::termios::tcgetwinsize(std::io::stdout()) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
            _ => (24, 80),
        }
    }

    /// Draws over what is there, line by line, so that nothing flickers.
    fn draw(lines: &[String], rows: usize, columns: usize) {
        let mut frame = String::from("\x1b[H");
        for line in lines.iter().take(rows.saturating_sub(1)) {
            frame.push_str(&show::clip(line, columns));
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        frame.push_str("\x1b[2mq quits\x1b[0m");
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(frame.as_bytes()).and_then(|()| out.flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;

    fn picture() -> Picture {
        let status = json!({
            "site": "shop", "ready": false, "waiting_for": ["web server app/2: refused"],
            "revision": { "id": 3 }, "urls": { "site": "https://localhost/" },
            "edge": { "in_flight": 1.0, "connections": 2, "pools": [{ "servers": [
                { "name": "app/1", "up": true, "in_flight": 1, "why": "it answers" },
                { "name": "app/2", "up": false, "in_flight": 0, "why": "refused" } ] }] },
            "processes": [{ "name": "app/1", "restarts": 2 }],
            "database": { "databases": [{ "name": "main", "members": [
                { "name": "main/1", "up": true, "role": "replica", "lag_seconds": 0.25, "connections": { "active": 1 } } ] }] },
            "monitor": { "alerts": [{ "state": "firing", "labels": [["alertname", "server-down"], ["server", "app/2"]] }] },
        });
        Picture {
            at_ms: 1_000,
            status,
            numbers: [("qps", 12.5), ("error_ratio", 0.02)].into(),
            by_name: [("server_qps", [("app/1".to_owned(), 12.5)].into())].into(),
            chart: vec![Some(1.0), None, Some(12.5)],
            asked: vec![Asked { path: "GET /".into(), requests: 3, errors: 0, mean_ms: 1.5 }],
            events: vec![
                json!({ "at_ms": 1, "event": "server_health", "server": "app/2", "up": false, "why": "refused" }),
            ],
        }
    }

    #[test]
    fn a_picture_shows_the_line() {
        let lines = picture().lines(&Terminal::new(Color::Never, false), 80).join("\n");
        for expected in [
            "shop  not ready  r3  https://localhost/",
            "12.5 requests/s  2.00 % errors  p50 -",
            "peak 12.5  1 in flight  2 connections",
            "app/1   ● up     12.5",
            "app/2   ○ down",
            "refused",
            "main/1  ● up   replica",
            "0.2 s",
            "GET /",
            "firing server-down (app/2)",
            "waiting for web server app/2: refused",
            "app/2 down: refused",
            "peak 12.5",
        ] {
            assert!(lines.contains(expected), "`{expected}` is not in\n{lines}");
        }
        assert_eq!(picture().json()["numbers"]["qps"], 12.5);
    }
}
