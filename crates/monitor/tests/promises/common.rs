//! A monitor in this process, targets and receivers that a test speaks for, and
//! a plain HTTP client.

use base::{Address, Bytes, Millis, RevisionId, Secret};
use monitor_alert::settings::{Alert, Receiver, Recording, Settings};
use monitor_wire::body::snappy_encode;
use monitor_wire::remote::{Outgoing, Version, write_v2};
use role::{Events, Fault, Listeners, Registry, Shutdown, Start};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a test waits for happens within this, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` gives something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Status, media type, content.
type Said = (u16, &'static str, Vec<u8>);

/// An HTTP server whose answers a test decides.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Said>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) fn new(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((200, "text/plain", body.as_bytes().to_vec())));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (shown, noted) = (answer.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shown, noted) = (shown.clone(), noted.clone());
                std::thread::spawn(move || serve(stream, &shown, &noted));
            }
        });
        Self { address, answer, seen }
    }

    pub(crate) fn say(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, "text/plain", body.as_bytes().to_vec());
    }

    /// With a media type.
    pub(crate) fn say_as(&self, kind: &'static str, body: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = (200, kind, body.into());
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn target(&self, instance: &str) -> site::Target {
        site::Target {
            job: "app".into(),
            instance: instance.into(),
            address: Address::Ip(self.address),
            tls: false,
            path: "/metrics".into(),
        }
    }
}

fn serve(mut stream: TcpStream, answer: &Mutex<Said>, seen: &Mutex<Vec<Seen>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.lock().unwrap().push(Seen { head, body });
    let (status, kind, body) = answer.lock().unwrap().clone();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

/// The directories of a monitor; it can be started on them several times.
pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(dir: tempfile::TempDir) -> Self {
        for name in ["run", "state", "state/log"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// One whose state is on a disk of its own. None, with a word, where that
    /// cannot be had.
    pub(crate) fn on_small_disk(size: &str) -> Option<(Self, SmallDisk)> {
        let dir = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(dir.path().join("state"), size);
        if disk.is_none() {
            eprintln!("skipped: mounting a small file system needs root");
        }
        Some((Self::at(dir), disk?))
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn start<T>(&self, role: &'static str, site: T, shutdown: &Shutdown) -> Start<T> {
        start(role, site, self.dir.path(), shutdown)
    }

    /// Starts a monitor and waits until it is ready.
    pub(crate) fn monitor(&self, site: site::Monitor) -> Running {
        Self::serve(self.dir.path(), site)
    }

    /// The same in a home that somebody else has made.
    pub(crate) fn serve(home: &Path, site: site::Monitor) -> Running {
        let shutdown = Shutdown::manual();
        let start = start("monitor", site, home, &shutdown);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let result = runtime.block_on(monitor::run(start));
            runtime.shutdown_background(); // As the binary: a query under way keeps nobody.
            result
        });
        let socket = home.join("run/monitor.sock");
        let address = until("the monitor listens", || {
            assert!(!thread.is_finished(), "the monitor did not start");
            let status = admin(&socket, "GET", "/status", "").ok()?.1;
            let status: Value = serde_json::from_slice(&status).ok()?;
            status["listening"][0].as_str()?.parse().ok()
        });
        Running { address, socket, shutdown, thread: Some(thread) }
    }
}

fn start<T>(role: &'static str, site: T, home: &Path, shutdown: &Shutdown) -> Start<T> {
    let (run_dir, state_dir) = (home.join("run"), home.join("state"));
    let registry = Arc::new(Registry::default());
    Start {
        role,
        revision: revision(1, site),
        listeners: Listeners::default(),
        run_dir,
        events: Events::open(role, &state_dir, &registry),
        state_dir,
        registry,
        shutdown: shutdown.clone(),
    }
}

/// A small file system; gone when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=0755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(path))
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("ballast")).unwrap();
        while file.write_all(&[7; 65_536]).is_ok() {}
        while file.write_all(&[7; 64]).is_ok() {}
    }

    /// Gives the room back.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what a failed test left running may still be in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(crate) fn revision<T>(id: u64, site: T) -> site::Revision<T> {
    site::Revision { id: RevisionId(id), hash: format!("h{id}"), made_at_ms: 0, site }
}

/// A monitor that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    shutdown: Shutdown,
    thread: Option<std::thread::JoinHandle<Result<(), Fault>>>,
}

impl Running {
    /// Drains it and waits for its end.
    pub(crate) fn stop(mut self) {
        self.shutdown.drain();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    pub(crate) fn get(&self, target: &str) -> (u16, String, Vec<u8>) {
        exchange(TcpStream::connect(self.address).unwrap(), "GET", target, "", "")
    }

    pub(crate) fn post_form(&self, target: &str, form: &str) -> (u16, String, Vec<u8>) {
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        exchange(TcpStream::connect(self.address).unwrap(), "POST", target, kind, form)
    }

    /// Any method; what is not empty is sent as a form.
    pub(crate) fn ask(&self, method: &str, target: &str, form: &str) -> (u16, String, Vec<u8>) {
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        exchange(TcpStream::connect(self.address).unwrap(), method, target, kind, form)
    }

    pub(crate) fn json(&self, target: &str) -> Value {
        let (status, _, body) = self.get(target);
        assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        admin(&self.socket, method, path, body).unwrap()
    }

    /// The value of an instant query that gives one series; none where it gives none.
    pub(crate) fn value(&self, query: &str) -> Option<f64> {
        let answer = self.json(&format!("/api/v1/query?query={}", encode(query)));
        let result = answer["data"]["result"].as_array().unwrap();
        assert!(result.len() <= 1, "{query}: {answer}");
        Some(result.first()?["value"][1].as_str().unwrap().parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.drain();
    }
}

pub(crate) fn admin(socket: &Path, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    // A monitor that ends may still have taken the connection, and drops it.
    let (status, _, body) = try_exchange(stream, method, path, "", body)?;
    Ok((status, body))
}

pub(crate) fn exchange(
    stream: impl Read + Write,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, String, Vec<u8>) {
    try_exchange(stream, method, target, headers, body).unwrap()
}

fn try_exchange(
    mut stream: impl Read + Write,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<(u16, String, Vec<u8>)> {
    let length = body.len();
    let host = if headers.contains("host:") { "" } else { "host: localhost\r\n" };
    let request = format!(
        "{method} {target} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.ok_or_else(|| std::io::Error::other("an answer without a head"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, head.to_ascii_lowercase(), answer[end + 4..].to_vec()))
}

/// A GET without a monitor at hand.
pub(crate) fn get(address: SocketAddr, target: &str) -> (u16, String, Vec<u8>) {
    exchange(TcpStream::connect(address).unwrap(), "GET", target, "", "")
}

impl Running {
    /// A GET with further header lines.
    pub(crate) fn get_with(&self, target: &str, headers: &str) -> (u16, String, Vec<u8>) {
        exchange(TcpStream::connect(self.address).unwrap(), "GET", target, headers, "")
    }
}

impl Running {
    /// A POST of bytes of a kind; status and body.
    pub(crate) fn post(&self, target: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// A remote-write 2.0 message.
    pub(crate) fn push(&self, series: &[Outgoing<'_>]) -> (u16, String) {
        let mut body = Vec::new();
        write_v2(series, &mut body);
        let kind = Version::V2.content_type();
        let headers = format!("content-type: {kind}\r\ncontent-encoding: snappy\r\n");
        self.post("/api/v1/write", &headers, &snappy_encode(&body))
    }

    /// The samples of the one series that a range selector gives: milliseconds and value.
    pub(crate) fn samples(&self, selector: &str) -> Vec<(i64, f64)> {
        let answer = self.json(&format!("/api/v1/query?query={}", encode(selector)));
        let result = answer["data"]["result"].as_array().unwrap();
        assert!(result.len() <= 1, "{selector}: {answer}");
        let values = result.first().and_then(|series| series["values"].as_array()).into_iter().flatten();
        values
            .map(|pair| {
                let at_ms = (pair[0].as_f64().unwrap() * 1e3).round() as i64;
                (at_ms, pair[1].as_str().unwrap().parse().unwrap())
            })
            .collect()
    }

    /// A metric of the monitor's own, by its name with its labels.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let metrics = String::from_utf8(self.admin("GET", "/metrics", "").1).unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// What the operator is told is wrong.
    pub(crate) fn trouble(&self) -> String {
        let status: Value = serde_json::from_slice(&self.admin("GET", "/status", "").1).unwrap();
        status["trouble"].to_string()
    }
}

/// A remote that is sent what `only` selects, or all.
pub(crate) fn sending_to(far: SocketAddr, only: &[&str]) -> site::RemoteWrite {
    site::RemoteWrite {
        name: "far".into(),
        url: format!("http://{far}/api/v1/write"),
        version_2: true,
        login: None,
        ca: None,
        queue: Bytes(64 << 20),
        shards: 2,
        only: only.iter().map(|selector| (*selector).to_owned()).collect(),
        except: Vec::new(),
        without: Vec::new(),
    }
}

/// The alerts of all messages that a webhook had: name and status.
pub(crate) fn told(hook: &Fake) -> Vec<(String, String)> {
    let messages = hook.seen();
    let bodies = messages.iter().map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap());
    let alerts = bodies.flat_map(|body| body["alerts"].as_array().cloned().unwrap_or_default());
    alerts
        .map(|alert| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&alert["labels"]["alertname"]), text(&alert["status"]))
        })
        .collect()
}

/// How often a webhook heard this of an alert.
pub(crate) fn heard(hook: &Fake, alert: &str, status: &str) -> usize {
    told(hook).iter().filter(|(name, said)| name == alert && said == status).count()
}

pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A site with a short interval and nothing in it.
pub(crate) fn site() -> site::Monitor {
    site::Monitor {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        targets: Vec::new(),
        scrape_interval: Millis(200),
        logs: Vec::new(),
        alert: Settings { interval: Millis(200), ..Settings::default() },
        retention: Millis::from_secs(86_400),
        retention_bytes: Bytes(0),
        line: site::Line { site: "shop".into(), ..Default::default() },
        ..site::Monitor::default()
    }
}

pub(crate) fn recording(record: &str, expr: &str) -> Recording {
    Recording { record: record.into(), expr: expr.into() }
}

pub(crate) fn alert(name: &str, expr: &str, hold_ms: u64) -> Alert {
    Alert {
        name: name.into(),
        expr: expr.into(),
        hold: Millis(hold_ms),
        labels: vec![("severity".into(), "page".into())],
        annotations: vec![("summary".into(), "{{ $labels.instance }} says {{ $value }}".into())],
        to: vec!["ops".into()],
    }
}

pub(crate) fn receiver(fake: &Fake) -> Receiver {
    Receiver {
        name: "ops".into(),
        webhook: Secret::new(format!("http://user:secret@{}/hook?a=b", fake.address)),
        repeat: Millis::from_secs(3_600),
    }
}
