//! A whole site of its own for one test: the real binary, a folder of its own,
//! ports chosen by it, everything stopped and removed at the end.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// One site under `bastide up`.
#[derive(Debug)]
pub struct Site {
    folder: tempfile::TempDir,
    bastide: PathBuf,
}

/// What the shop example needs beside the file.
const SHOP_FOLDERS: &[&str] = &["public", "waf"];

impl Site {
    /// A folder with the programs and nothing else. The folder is where every
    /// user may look, because web servers and PostgreSQL run as users of their own.
    pub fn empty() -> Self {
        let folder =
            tempfile::Builder::new().prefix("bastide-e2e-").tempdir_in("/tmp").expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let built = built_programs();
        let mut site = Self { folder, bastide: PathBuf::new() };
        for name in ["bastide", "shop"] {
            let from = built.join(name);
            assert!(from.is_file(), "`{}` is not built: `cargo build -p bastide -p shop`", from.display());
            let to = site.path(name);
            // A link where it is the same file system: nothing is copied.
            if std::fs::hard_link(&from, &to).is_err() {
                std::fs::copy(&from, &to).expect("the program copied");
            }
        }
        site.bastide = site.path("bastide");
        site
    }

    /// The shop of `examples/shop`, on ports of its own. `change` edits its file.
    pub fn shop(change: impl FnOnce(String) -> String) -> Self {
        let site = Self::empty();
        let example = repository().join("examples/shop");
        for name in SHOP_FOLDERS {
            copy_folder(&example.join(name), &site.path(name));
        }
        let text = std::fs::read_to_string(example.join("bastide.toml")).expect("the example's file");
        let text = text.replace("../../target/release/shop", "./shop");
        site.write("bastide.toml", &change(own_ports(&text)));
        site
    }

    /// A path in the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the site's folder.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("the folder");
        }
        std::fs::write(&path, text).expect("the file written");
    }

    /// Reads `bastide.toml`, lets `change` edit it, writes it back.
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.path("bastide.toml")).expect("the site's file");
        self.write("bastide.toml", &change(text));
    }

    /// A `bastide` command with this site's directories.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.bastide);
        command.args(args).current_dir(self.folder.path()).env("NO_COLOR", "1");
        command.env("BASTIDE_STATE_DIR", self.path("state")).env("BASTIDE_RUN_DIR", self.path("run"));
        command
    }

    /// Runs a `bastide` command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("bastide runs")
    }

    /// Runs a command that must succeed; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "bastide {args:?} failed\n{out}\n{err}\n{}", self.logs());
        out
    }

    /// Brings the site up; panics with all logs where it is not ready in time.
    pub fn up(&self) {
        self.ok(&["up", "--detach", "--timeout", "90"]);
    }

    /// Starts `bastide up` in the foreground.
    pub fn up_in_foreground(&self) -> Child {
        self.command(&["up"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bastide runs")
    }

    /// Stops the site.
    pub fn down(&self) {
        self.ok(&["down"]);
    }

    /// `bastide status --json`, ready or not.
    pub fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The site's URL, without the slash at its end.
    pub fn url(&self) -> String {
        self.status_text("/urls/site")
    }

    /// The page's URL, without the slash at its end.
    pub fn page(&self) -> String {
        self.status_text("/urls/page")
    }

    fn status_text(&self, pointer: &str) -> String {
        let status = self.status();
        let text = status.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no {pointer} in {status:#}")).trim_end_matches('/').to_owned()
    }

    /// The root of the site's certificate authority.
    pub fn root_pem(&self) -> PathBuf {
        self.state_dir().join("ca/root.pem")
    }

    /// The site's state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.path("state").join(self.name())
    }

    /// The site's run directory.
    pub fn run_dir(&self) -> PathBuf {
        self.path("run").join(self.name())
    }

    fn name(&self) -> String {
        let text = std::fs::read_to_string(self.path("bastide.toml")).unwrap_or_default();
        let named = text.lines().find_map(|line| line.trim().strip_prefix("name")?.trim().strip_prefix('='));
        named.map_or_else(
            || "localhost".to_owned(),
            |n| n.split('#').next().unwrap_or_default().trim().trim_matches('"').to_owned(),
        )
    }

    /// The pid of a supervised process, `edge` or `app/1`.
    pub fn pid(&self, process: &str) -> i32 {
        let status = self.status();
        let list = status["processes"].as_array().cloned().unwrap_or_default();
        let found = list.iter().find(|p| p["name"] == process).and_then(|p| p["pid"].as_i64());
        found.unwrap_or_else(|| panic!("no process {process} in {status:#}")) as i32
    }

    /// The supervisor's pid, by who holds the lock.
    pub fn supervisor_pid(&self) -> i32 {
        let wanted = format!("run\0supervisor\0--run-dir\0{}", self.run_dir().display());
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        let is_ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&wanted)
        };
        pids.into_iter().find(is_ours).expect("a supervisor of this site")
    }

    /// Kills a process of this site.
    pub fn kill(&self, pid: i32) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the process killed");
    }

    /// One request with curl, trusting the site's root; arguments go before the URL.
    pub fn curl(&self, args: &[&str], path: &str) -> Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(self.root_pem());
        command.args(args).arg(format!("{}{path}", self.url()));
        command.output().expect("curl runs")
    }

    /// A page's text; panics where the answer is not 2xx.
    pub fn get(&self, path: &str) -> String {
        let output = self.curl(&["--fail-with-body"], path);
        assert!(output.status.success(), "GET {path}: {}\n{}", text(&output.stderr), text(&output.stdout));
        text(&output.stdout)
    }

    /// The result of a PromQL query as the API gives it.
    pub fn query(&self, expr: &str) -> Value {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "20", "--get", "--data-urlencode", &format!("query={expr}")])
            .arg(format!("{}/api/v1/query", self.page()))
            .output()
            .expect("curl runs");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        assert_eq!(value["status"], "success", "query {expr}: {}", text(&output.stdout));
        value["data"]["result"].clone()
    }

    /// The first value of a query, where it has one.
    pub fn value(&self, expr: &str) -> Option<f64> {
        self.query(expr)[0]["value"][1].as_str()?.parse().ok()
    }

    /// All process logs, for the message of a test that fails.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.state_dir().join("log")).into_iter().flatten().flatten() {
            let content = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = content.lines().collect();
            all.push_str(&format!(
                "--- {}\n{}\n",
                entry.path().display(),
                lines[lines.len().saturating_sub(30)..].join("\n")
            ));
        }
        all
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever reads the failure wants them; printing them is all that is left.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("{}", self.logs());
            }
        }
        let _ = self.run(&["down", "--now"]);
    }
}

/// Waits until `condition` gives a value; panics with `what` after `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every port of a file chosen by the kernel: `[site] listen`, router and page.
fn own_ports(text: &str) -> String {
    let text =
        text.replacen("[site]", "[site]\nlisten = { https = \"127.0.0.1:0\", http = \"127.0.0.1:0\" }", 1);
    let text = match text.contains("[database.main]") {
        true => text.replacen("[database.main]", "[database.main]\nlisten = \"127.0.0.1:0\"", 1),
        false => text,
    };
    format!("{text}\n[monitor]\nlisten = \"127.0.0.1:0\"\nscrape_interval = \"1s\"\n")
}

/// The root of this repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders up").to_owned()
}

/// Where cargo put the programs: beside the test that runs, or where `BASTIDE_BIN_DIR` says.
fn built_programs() -> PathBuf {
    if let Some(dir) = std::env::var_os("BASTIDE_BIN_DIR") {
        return dir.into();
    }
    let test = std::env::current_exe().expect("this test's path");
    test.ancestors().nth(2).expect("the profile's folder").to_owned()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder");
    for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())).flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the file copied");
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
