//! A real PostgreSQL server about itself.

use base::{Address, Secret};
use monitor_agent::postgres::{Client, Server};
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::postgres::{Folder, Process, give, is_installed, owner};

const PASSWORD: &str = "only-for-this-test";

struct Cluster {
    folder: Folder,
    programs: std::path::PathBuf,
    server: Option<Process>,
}

impl Cluster {
    fn new() -> Self {
        let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap().flatten();
        let programs =
            versions.map(|v| v.path().join("bin")).find(|bin| bin.join("initdb").exists()).unwrap();
        let cluster = Self { folder: Folder::new(), programs, server: None };
        let password = cluster.folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        give(&password);
        cluster.run(
            "initdb",
            &[
                "-A",
                "scram-sha-256",
                "-U",
                "postgres",
                "--no-sync",
                "--pwfile",
                &cluster.at("password"),
                "-D",
                &cluster.at("data"),
            ],
        );
        cluster
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).env("PGPASSWORD", PASSWORD).current_dir("/");
        if let Some((uid, gid)) = owner() {
            use std::os::unix::process::CommandExt as _;
            command.gid(gid).uid(uid);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn start(&mut self) {
        let postgres = self.programs.join("postgres").to_string_lossy().into_owned();
        let arguments = [
            &postgres,
            "-D",
            &self.at("data"),
            "-c",
            "listen_addresses=",
            "-c",
            &format!("unix_socket_directories={}", self.folder.path().display()),
            "-c",
            "fsync=off",
            "-c",
            "shared_preload_libraries=pg_stat_statements",
        ];
        self.server = Some(Process::start(&arguments, &[], &self.folder.path().join("log")).unwrap());
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.at(".s.PGSQL.5432")).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", self.server.as_ref().unwrap().log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn sql(&self, sql: &str) -> String {
        self.run(
            "psql",
            &[
                "-h",
                &self.at(""),
                "-U",
                "postgres",
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                sql,
            ],
        )
    }

    fn client(&self, user: &str) -> Client {
        Client::new(Server {
            name: "main".into(),
            address: Address::Unix(self.at(".s.PGSQL.5432").into()),
            user: user.into(),
            password: Secret::new(PASSWORD),
            database: "postgres".into(),
        })
    }
}

fn read(client: &mut Client) -> String {
    let mut out = String::new();
    client.read().write(&mut out);
    out
}

fn value(out: &str, series: &str) -> f64 {
    let line = out.lines().find(|line| line.rsplit_once(' ').is_some_and(|(s, _)| s == series));
    line.unwrap_or_else(|| panic!("no {series} in\n{out}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn a_server_says_how_it_fares() {
    if !is_installed() {
        println!("PostgreSQL is not here: not checked");
        return;
    }
    let mut cluster = Cluster::new();
    let mut client = cluster.client("postgres");
    assert_eq!(value(&read(&mut client), "pg_up{server=\"main\"}"), 0.0);
    cluster.start();
    // `pg_up` once the server, which takes connections before it is ready, lets us in.
    let began = Instant::now();
    while value(&read(&mut client), "pg_up{server=\"main\"}") < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", client.trouble);
        std::thread::sleep(Duration::from_millis(20));
    }
    let extension =
        cluster.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'");
    let statements = extension.trim() == "1";
    if statements {
        cluster.sql("CREATE EXTENSION pg_stat_statements");
    }
    cluster.sql("CREATE TABLE orders (id int PRIMARY KEY, note text)");
    cluster.sql("INSERT INTO orders SELECT n, repeat('x', 100) FROM generate_series(1, 40000) n");
    cluster.sql("DELETE FROM orders WHERE id % 2 = 0");
    cluster.sql("VACUUM ANALYZE orders");
    cluster.sql("CREATE ROLE shop PASSWORD 'never-shown-anywhere'");
    cluster.sql("SELECT count(*) FROM orders WHERE note = 'a constant of a customer'");
    cluster
        .sql("CREATE ROLE watcher LOGIN PASSWORD 'only-for-this-test' IN ROLE pg_monitor, pg_read_all_data");

    let mut client = cluster.client("watcher");
    let out = read(&mut client);
    assert!(
        client.trouble.is_none() && client.refused.is_empty(),
        "{:?} {:?}",
        client.trouble,
        client.refused
    );
    assert_eq!(value(&out, "pg_up{server=\"main\"}"), 1.0);
    assert_eq!(value(&out, "pg_replication_is_replica{server=\"main\"}"), 0.0);
    assert_eq!(value(&out, "pg_replication_lag_seconds{server=\"main\"}"), 0.0);
    assert_eq!(value(&out, "pg_settings_max_connections{server=\"main\"}"), 100.0);
    assert_eq!(
        value(&out, "pg_stat_activity_count{server=\"main\",datname=\"postgres\",state=\"active\"}"),
        1.0
    );
    assert_eq!(
        value(&out, "pg_stat_activity_count{server=\"main\",datname=\"template1\",state=\"idle\"}"),
        0.0
    );
    assert!(value(&out, "pg_database_size_bytes{server=\"main\",datname=\"postgres\"}") > 5e6);
    assert!(
        value(&out, "pg_locks_count{server=\"main\",datname=\"postgres\",mode=\"accesssharelock\"}") >= 1.0
    );
    let table = "{server=\"main\",datname=\"postgres\",schemaname=\"public\",relname=\"orders\"}";
    assert_eq!(value(&out, &format!("pg_stat_user_tables_n_live_tup{table}")), 20_000.0);
    assert_eq!(value(&out, &format!("pg_stat_user_tables_n_tup_del{table}")), 20_000.0);
    // Every second row was deleted: half of the table is bloat.
    let bloat = value(&out, &format!("pg_table_bloat_ratio{table}"));
    assert!((0.45..0.55).contains(&bloat), "{bloat}");
    if statements {
        assert!(out.contains(
            "pg_stat_statements_calls_total{server=\"main\",user=\"postgres\",datname=\"postgres\","
        ));
        assert!(out.contains("query=\"SELECT count(*) FROM orders WHERE note = $1\"}"), "{out}");
    } else {
        println!("pg_stat_statements is not here: not checked");
    }
    assert!(
        !out.contains("never-shown") && !out.contains("a constant of a customer") && !out.contains(PASSWORD)
    );
    let failed = out.lines().filter(|l| l.starts_with("pg_scrape_collector_success") && !l.ends_with(" 1"));
    assert_eq!(failed.count(), 0, "{out}");

    // A transaction that stays open, and one that waits for its lock.
    let commits = "pg_stat_database_xact_commit";
    let datid = out.lines().find(|l| l.starts_with(commits) && l.contains("datname=\"postgres\"")).unwrap();
    let series = datid.rsplit_once(' ').unwrap().0.to_owned();
    let before = value(&out, &series);
    let mut holder = cluster.client("postgres");
    holder.read();
    let waiting = hold_a_lock(&cluster);
    let out = read(&mut client);
    assert_eq!(
        value(&out, "pg_locks_waiting_count{server=\"main\",datname=\"postgres\",mode=\"accesssharelock\"}"),
        1.0,
        "{out}"
    );
    assert!(
        value(
            &out,
            "pg_stat_activity_count{server=\"main\",datname=\"postgres\",state=\"idle in transaction\"}"
        ) >= 1.0
    );
    assert!(value(&out, &series) >= before);
    drop(waiting);

    // It goes away in the middle, and comes back.
    cluster.server = None;
    assert_eq!(read(&mut client).lines().count(), 3);
    assert!(client.trouble.is_some());
    cluster.start();
    let began = Instant::now();
    while value(&read(&mut client), "pg_up{server=\"main\"}") < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", client.trouble);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two sessions of psql: one holds the table, the other waits for it.
fn hold_a_lock(cluster: &Cluster) -> [Session; 2] {
    let holder = Session::start(cluster, "BEGIN; LOCK TABLE orders;\n");
    until(cluster, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted");
    let waiter = Session::start(cluster, "SELECT count(*) FROM orders;\n");
    until(cluster, "SELECT count(*) FROM pg_locks WHERE NOT granted");
    [holder, waiter]
}

fn until(cluster: &Cluster, sql: &str) {
    let began = Instant::now();
    while cluster.sql(sql).trim() == "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "{sql}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Session(std::process::Child);

impl Session {
    fn start(cluster: &Cluster, sql: &str) -> Self {
        use std::io::Write as _;
        let mut command = Command::new(cluster.programs.join("psql"));
        command.args(["-h", &cluster.at(""), "-U", "postgres", "-X", "-q"]).env("PGPASSWORD", PASSWORD);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
        Self(child)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_user_without_rights_gets_what_it_may_see() {
    if !is_installed() {
        println!("PostgreSQL is not here: not checked");
        return;
    }
    let mut cluster = Cluster::new();
    cluster.start();
    let began = Instant::now();
    let mut client = cluster.client("postgres");
    while value(&read(&mut client), "pg_up{server=\"main\"}") < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", client.trouble);
        std::thread::sleep(Duration::from_millis(20));
    }
    cluster.sql("CREATE ROLE nobody_special LOGIN PASSWORD 'only-for-this-test'");
    cluster.sql("REVOKE SELECT ON pg_stat_archiver FROM PUBLIC");
    let mut client = cluster.client("nobody_special");
    let out = read(&mut client);
    assert_eq!(value(&out, "pg_up{server=\"main\"}"), 1.0);
    assert_eq!(value(&out, "pg_scrape_collector_success{server=\"main\",collector=\"stat_archiver\"}"), 0.0);
    assert_eq!(value(&out, "pg_scrape_collector_success{server=\"main\",collector=\"locks\"}"), 1.0);
    let (name, refusal) = &client.refused[0];
    assert_eq!((*name, client.refused.len()), ("stat_archiver", 1));
    assert!(refusal.to_string().contains("42501"), "{refusal}");

    // A wrong password is refused, and not said.
    let mut stranger = Client::new(Server { password: Secret::new("wrong-one"), ..client.server().clone() });
    assert_eq!(value(&read(&mut stranger), "pg_up{server=\"main\"}"), 0.0);
    let said = stranger.trouble.as_ref().unwrap().to_string();
    assert!(said.contains("28P01") && !said.contains("wrong-one"), "{said}");
}
