//! What the tests stand on: a PostgreSQL of their own, the shop's program, and
//! visitors who keep their cookie.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Waits for a condition, at most half a minute.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 30 s in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A PostgreSQL server with a database `shop`, gone when dropped.
pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// A running one.
    pub(crate) fn start() -> Self {
        let mut postgres = Self::prepare();
        postgres.run();
        postgres
    }

    /// One that is there but does not run.
    pub(crate) fn prepare() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let user = unprivileged(folder.path());
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("the folder can be given away");
        }
        // A port that was free a moment ago; nothing here would take it meanwhile.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let postgres = Self { folder, programs: programs(), user, port, server: None };
        let mut initdb = postgres.command("initdb");
        let done = initdb
            .args(["--no-sync", "--auth=trust", "--username=shop", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(postgres.data());
        let done = done.output().expect("initdb runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        postgres
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/").env_remove("PGPORT").env_remove("PGHOST").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts it and waits until it answers.
    pub(crate) fn run(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""]);
        for setting in ["fsync=off", "max_connections=60", "shared_buffers=16MB"] {
            command.args(["-c", setting]);
        }
        self.server =
            Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres runs"));
        wait_until("PostgreSQL answers", || {
            let mut psql = self.psql("postgres");
            psql.args(["-c", "SELECT 1"]).output().is_ok_and(|o| o.status.success())
        });
        let mut psql = self.psql("postgres");
        // The second time it exists.
        let _ = psql.args(["-c", "CREATE DATABASE shop"]).output();
    }

    /// Ends it at once ("immediate shutdown" of the manual, 19.5): connections break.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal("QUIT", server.id());
            server.wait().expect("postgres ends");
        }
    }

    /// How the shop reaches it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://shop@127.0.0.1:{}/shop", self.port)
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = self.command("psql");
        psql.args([
            "-X",
            "-A",
            "-t",
            "-h",
            "127.0.0.1",
            "-U",
            "shop",
            "-p",
            &self.port.to_string(),
            "-d",
            database,
        ]);
        psql
    }

    /// One value.
    pub(crate) fn ask(&self, query: &str) -> String {
        let output = self.psql("shop").args(["-c", query]).output().expect("psql runs");
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A session that did this and waits; ends when dropped.
    pub(crate) fn hold(&self, statements: &str) -> Held {
        let mut child =
            self.psql("shop").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql runs");
        let mut input = child.stdin.take().expect("a pipe");
        writeln!(input, "{statements};\n\\echo held").expect("psql reads");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.any(|line| line.is_ok_and(|l| l == "held")), "psql ended early");
        Held { input: Some(input), child }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A session of [`Postgres::hold`].
pub(crate) struct Held {
    input: Option<ChildStdin>,
    child: Child,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn signal(name: &str, pid: u32) {
    let done = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()), "cannot signal {pid}");
}

/// The newest PostgreSQL of the machine; Debian keeps server programs out of PATH.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, path)| path.join("initdb").exists())
        .collect();
    found.sort();
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    let found = found.pop().map(|(_, path)| path).or_else(on_path);
    found.expect("no PostgreSQL server programs found; hint: ./script/test installs them")
}

/// PostgreSQL refuses to run as root: as root, the user `nobody` runs it.
fn unprivileged(ours: &Path) -> Option<(u32, u32)> {
    if std::fs::metadata(ours).expect("our folder").uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let nobody = users.lines().find(|line| line.starts_with("nobody:")).expect("a user `nobody`");
    let mut ids = nobody.split(':').skip(2).map(|id| id.parse().expect("an id"));
    Some((ids.next().expect("a user id"), ids.next().expect("a group id")))
}

/// The shop's program, ended when dropped.
pub(crate) struct Shop {
    child: Child,
    address: SocketAddr,
}

impl Shop {
    /// Starts it on a port of its own; returns when it listens.
    pub(crate) fn start(database_url: &str) -> Self {
        let mut child =
            program(Some(database_url), "0").stderr(Stdio::piped()).spawn().expect("the shop runs");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = loop {
            let line = lines.next().expect("the shop says where it listens").expect("text");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.parse().expect("an address");
            }
        };
        // Read on, or the shop would wait for us one day.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, address }
    }

    /// Waits for `/healthz`.
    pub(crate) fn wait_healthy(&self) {
        wait_until("the shop is healthy", || self.send("GET", "/healthz", &[], "").status == 200);
    }

    /// Someone new.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { address: self.address, cookie: None }
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.address, method, path, headers, body)
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        signal("TERM", self.child.id());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the shop ends")
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(database_url: Option<&str>, port: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.env_clear().env("PORT", port).envs(database_url.map(|url| ("DATABASE_URL", url)));
    command
}

/// Runs the shop where it cannot start.
pub(crate) fn run_to_its_end(database_url: Option<&str>, port: &str) -> Output {
    program(database_url, port).output().expect("the shop runs")
}

/// A browser without the pictures: keeps its cookie.
#[derive(Clone)]
pub(crate) struct Visitor {
    address: SocketAddr,
    cookie: Option<String>,
}

impl Visitor {
    /// The same visitor at another instance.
    pub(crate) fn at(&self, shop: &Shop) -> Self {
        Self { address: shop.address, cookie: self.cookie.clone() }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    pub(crate) fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        self.send("POST", path, &pairs.join("&"))
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let cookie = self.cookie.clone();
        let headers: Vec<_> = cookie.iter().map(|c| ("cookie", c.as_str())).collect();
        let answer = send(self.address, method, path, &headers, body);
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        answer
    }
}

fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: BTreeMap<String, String>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the shop listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if method == "POST" {
        request +=
            &format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += body;
    // A server that refuses a long body may answer and close before it has read all of it.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) =
        text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response to {method} {path}: {text:?}"));
    let mut lines = head.lines();
    let status =
        lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).expect("a status");
    let headers =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    Answer { status, headers, body: body.to_owned() }
}

/// The value of a form's hidden field.
pub(crate) fn field(page: &str, name: &str) -> String {
    let marker = format!("name=\"{name}\" value=\"");
    let from = page.find(&marker).unwrap_or_else(|| panic!("no field `{name}` in {page}")) + marker.len();
    page[from..].split('"').next().expect("a value").to_owned()
}
