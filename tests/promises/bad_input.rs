//! What is wrong is said with its cause and its remedy, and what runs goes on.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, ExitStatus, Output};
use testkit::site::Site;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A site of two lines: no database, no web server.
fn small(site: &Site, more: &str) {
    std::fs::create_dir_all(site.path("public")).expect("a folder");
    site.write("public/index.html", "<!doctype html><html lang=\"en\"><title>small</title>");
    site.write(
        "bastide.toml",
        &format!(
            "[site]\nname = \"small\"\nlisten = {{ https = \"127.0.0.1:0\", http = [] }}\n\n[monitor]\nlisten = \"127.0.0.1:0\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n{more}"
        ),
    );
}

#[test]
fn wrong_usage_is_64_and_a_missing_file_is_said() {
    let site = Site::empty();
    assert_eq!(site.run(&["no-such-command"]).status.code(), Some(64));
    assert_eq!(site.run(&["up", "--no-such-option"]).status.code(), Some(64));
    let output = site.run(&["check", "nothing.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("nothing.toml") && said(&output).contains("hint:"), "{}", said(&output));
}

#[test]
fn all_errors_of_a_file_are_reported_at_once() {
    let site = Site::empty();
    site.write("bastide.toml", "[site]\ndomain = [\"localhost\"]\n\n[pool.app]\nrun = \"./shop\"\ninstanses = 2\n\n[[route]]\npath = \"api\"\npool = \"ap\"\n");
    let output = site.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for expected in [
        "bastide.toml:2:",
        "domains",
        "bastide.toml:6:",
        "instances",
        "bastide.toml:9:",
        "bastide.toml:10:",
        "^",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&site.run(&["check", "--json"]).stdout).expect("JSON");
    assert_eq!(json["ok"], false);
    assert!(json["diagnostics"].as_array().is_some_and(|list| list.len() >= 4), "{json}");
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_left_behind() {
    let site = Site::empty();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    small(&site, "");
    site.edit(|text| text.replacen("https = \"127.0.0.1:0\"", &format!("https = \"{address}\""), 1));
    let output = site.run(&["up", "--detach"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("hint:"), "{said}");
    drop(taken);
    site.up();
    assert_eq!(site.status()["ready"], true);
}

#[test]
fn a_missing_program_is_named_before_anything_starts() {
    let site = Site::empty();
    small(&site, "\n[pool.app]\nrun = \"./missing --port $PORT\"\n");
    let output = site.run(&["up", "--detach"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("missing") && said.contains("does not exist") && said.contains("hint:"), "{said}");
    assert!(!site.run_dir().join("supervisor.sock").exists());
}

#[test]
fn what_later_versions_bring_is_refused_clearly() {
    let site = Site::empty();
    small(&site, "");
    site.edit(|text| {
        text.replacen("name = \"small\"", "name = \"small\"\ntls = { acme = \"ops@shop.example\" }", 1)
    });
    let output = site.run(&["up", "--detach"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("acme") && said(&output).contains("hint:"), "{}", said(&output));

    small(
        &site,
        "\n[machine.a]\naddress = \"10.0.0.2\"\nruns = [\"edge\", \"monitor\"]\n\n[machine.b]\naddress = \"10.0.0.3\"\nruns = [\"edge\"]\n",
    );
    assert!(site.run(&["check"]).status.success(), "{}", said(&site.run(&["check"])));
    let output = site.run(&["up", "--detach"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("2 machines"), "{}", said(&output));
}

#[test]
fn a_postgresql_that_will_not_start_is_said_with_its_own_words() {
    let site = Site::empty();
    small(
        &site,
        "\n[database.main]\nlisten = \"127.0.0.1:0\"\nsettings = { shared_buffers = \"nonsense\" }\n",
    );
    let output = site.run(&["up", "--detach", "--timeout", "60"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("database.main/0") && said.contains("shared_buffers") && said.contains("hint:"),
        "{said}"
    );
    assert!(!site.run_dir().join("supervisor.sock").exists(), "nothing is left behind");
}

#[test]
fn a_second_up_of_a_running_site_says_so() {
    let site = Site::empty();
    small(&site, "");
    site.up();
    let output = site.run(&["up", "--detach"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("is up already") && said(&output).contains("bastide reload"),
        "{}",
        said(&output)
    );
    assert_eq!(site.status()["ready"], true);
}

#[test]
fn ctrl_c_stops_everything() {
    let site = Site::empty();
    small(&site, "");
    let mut up = Foreground::ready(&site);
    up.interrupt();
    assert!(up.ends().success(), "{}", site.logs());
    assert!(!site.run_dir().join("supervisor.sock").exists());
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let site = Site::empty();
    // A web server that ignores SIGTERM, and a limit that nobody waits for.
    site.write("stubborn", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(site.path("stubborn"), executable).expect("its mode");
    small(
        &site,
        "\n[pool.app]\nrun = \"./stubborn\"\nstop_timeout = \"1h\"\n\n[[route]]\npath = \"/app\"\npool = \"app\"\n",
    );
    let mut up = Foreground::ready(&site);
    let stubborn = site.pid("app/1");
    up.interrupt();
    assert!(up.says("stopping"), "{}", site.logs());
    up.interrupt();
    assert!(up.ends().success(), "{}", site.logs());
    assert!(!std::path::Path::new(&format!("/proc/{stubborn}")).exists(), "it is gone");
}

/// `bastide up` in the foreground.
struct Foreground {
    up: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Foreground {
    /// Waits until it says so itself: before that, Ctrl-C interrupts a start.
    fn ready(site: &Site) -> Self {
        let mut up = site.up_in_foreground();
        let lines = BufReader::new(up.stderr.take().expect("its standard error")).lines();
        let mut started = Self { up, lines };
        assert!(started.says("ready"), "{}", site.logs());
        started
    }

    /// Whether a line begins with `word`, sooner or later.
    fn says(&mut self, word: &str) -> bool {
        self.lines.by_ref().map_while(Result::ok).any(|line| line.starts_with(word))
    }

    fn interrupt(&self) {
        let pid = rustix::process::Pid::from_raw(self.up.id() as i32).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
    }

    fn ends(&mut self) -> ExitStatus {
        // Read to its end, or a full pipe would hold it.
        self.lines.by_ref().for_each(drop);
        self.up.wait().expect("it ends")
    }
}
