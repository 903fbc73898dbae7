//! A cluster of members, and the router before it, inside the test.

use base::{Millis, RevisionId, Secret};
use role::client::Admin;
use role::{Events, Listeners, Registry, Shutdown, Start};
use serde_json::Value;
use site::database::ReplicaOf;
use site::{Database, Databases, Durability, MemberRole, PostgresInstance, Revision, User};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::postgres::{Folder, Process, free_port, psql};

/// A member: its specification and its process.
pub(crate) struct Member {
    pub(crate) instance: PostgresInstance,
    pub(crate) process: Option<Process>,
    spec: PathBuf,
    log: PathBuf,
}

impl Member {
    pub(crate) fn start(&mut self) {
        std::fs::write(&self.spec, serde_json::to_vec(&self.instance).unwrap()).unwrap();
        testkit::postgres::give(&self.spec);
        let program = std::env::current_exe().unwrap();
        let argv = [program.to_str().unwrap(), "member_process", "--exact", "--ignored", "--nocapture"];
        let env = [("BASTIDE_TEST_MEMBER", self.spec.to_str().unwrap())];
        self.process = Some(Process::start(&argv, &env, &self.log).unwrap());
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// A crash: the postmaster and all its children at once.
    pub(crate) fn crash(&mut self) {
        let pid = self.process().pid();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        self.process().kill();
        for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
            if let Some(child) = rustix::process::Pid::from_raw(child) {
                let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
            }
        }
    }

    /// A URL straight to it, not by the router.
    pub(crate) fn url(&self, user: &User) -> String {
        format!(
            "postgres://{}:{}@127.0.0.1:{}/{}",
            user.name,
            user.password.reveal(),
            self.instance.port,
            user.database
        )
    }

    /// A URL for the superuser, by the Unix socket.
    pub(crate) fn superuser_url(&self) -> String {
        format!(
            "postgres://postgres:{}@/postgres?host={}&port={}",
            self.instance.superuser_password.reveal(),
            self.instance.socket_dir.display(),
            self.instance.port
        )
    }

    pub(crate) fn superuser(&self, sql: &str) -> String {
        psql(&self.superuser_url(), sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Waits until it answers.
    pub(crate) fn wait(&mut self) {
        let url = self.superuser_url();
        eventually(&format!("{} answers", self.instance.name), || {
            let process = self.process.as_mut().expect("it was started");
            assert!(process.is_running(), "{} ended:\n{}", self.instance.name, process.log());
            psql(&url, "select 1").map(|_| ())
        });
    }
}

/// Waits until `check` is content; panics with its last complaint.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match check() {
            Ok(value) => return value,
            Err(why) if began.elapsed() > Duration::from_secs(40) => panic!("never: {what}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Members in a folder.
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) user: User,
    pub(crate) monitor: User,
    _folder: Folder,
}

pub(crate) fn user(name: &str, database: &str) -> User {
    User { name: name.into(), password: Secret::new(format!("pass:of\\{name}")), database: database.into() }
}

impl Cluster {
    /// Specifications for a primary and `replicas`; nothing is started.
    pub(crate) fn plan(replicas: usize) -> Self {
        let folder = Folder::new();
        let shop = user("shop", "shop");
        let monitor = user("bastide_monitor", "postgres");
        let ports: Vec<u16> = (0..=replicas).map(|_| free_port()).collect();
        let members = (0..=replicas)
            .map(|n| {
                let base = folder.path();
                let instance = PostgresInstance {
                    name: format!("main/{n}"),
                    data_dir: base.join(format!("data{n}")),
                    socket_dir: base.join(format!("run{n}")),
                    listen_host: "127.0.0.1".into(),
                    port: ports[n],
                    role: if n == 0 { MemberRole::Primary } else { MemberRole::Replica },
                    primary: (n > 0).then(|| ReplicaOf {
                        host: "127.0.0.1".into(),
                        port: ports[0],
                        slot: format!("bastide_{n}"),
                    }),
                    slots: if n == 0 {
                        (1..=replicas).map(|n| format!("bastide_{n}")).collect()
                    } else {
                        vec![]
                    },
                    superuser_password: Secret::new("super'secret"),
                    replication: user("bastide_replication", "postgres"),
                    monitor: monitor.clone(),
                    users: vec![shop.clone()],
                    durability: Durability::Local,
                    settings: vec![("shared_buffers".into(), "16MB".into())],
                    bin_dir: None,
                };
                let spec = base.join(format!("spec{n}.json"));
                Member { instance, process: None, spec, log: base.join(format!("log{n}")) }
            })
            .collect();
        Self { members, user: shop, monitor, _folder: folder }
    }

    /// A running primary with `replicas`.
    pub(crate) fn start(replicas: usize) -> Self {
        let mut cluster = Self::plan(replicas);
        for member in &mut cluster.members {
            member.start();
        }
        for member in &mut cluster.members {
            member.wait();
        }
        cluster
    }

    /// The router's site for these members.
    pub(crate) fn database(&self) -> Database {
        Database {
            name: "main".into(),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            users: vec![self.user.clone()],
            monitor: self.monitor.clone(),
            members: self
                .members
                .iter()
                .map(|m| site::Member {
                    name: m.instance.name.clone(),
                    address: base::Address::Ip(([127, 0, 0, 1], m.instance.port).into()),
                    role: m.instance.role,
                })
                .collect(),
            route: database_route::settings::Settings {
                max_lag: Millis(2_000),
                pool_size: 20,
                max_clients: 100,
                pool_wait: Millis(10_000),
                read_wait: Millis(0),
            },
            durability: Durability::Local,
            tls: None,
        }
    }
}

/// The router, running inside the test.
pub(crate) struct Router {
    pub(crate) admin: Admin,
    pub(crate) port: u16,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: tokio::task::JoinHandle<Result<(), role::Fault>>,
    folder: tempfile::TempDir,
    user: User,
}

pub(crate) fn revision(id: u64, database: Database) -> Revision<Databases> {
    let site = Databases { databases: vec![database] };
    Revision { id: RevisionId(id), hash: format!("h{id}"), made_at_ms: 0, site }
}

impl Router {
    /// Starts it and waits until `up` members are up.
    pub(crate) async fn start(database: Database, up: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        let registry = Arc::new(Registry::default());
        let shutdown = Shutdown::manual();
        let user = database.users[0].clone();
        let start = Start {
            role: "database",
            revision: revision(1, database),
            listeners: Listeners::default(),
            run_dir: folder.path().to_owned(),
            state_dir: folder.path().to_owned(),
            events: Events::open("database", folder.path(), &registry),
            registry,
            shutdown: shutdown.clone(),
        };
        let task = tokio::spawn(database::run(start));
        let admin = Admin::new(&folder.path().join("database.sock"));
        let mut router = Self { admin, port: 0, shutdown, task, folder, user };
        let status = router
            .until("members are up", |status| {
                let members = status["databases"][0]["members"].as_array().cloned().unwrap_or_default();
                members.iter().filter(|m| m["up"] == true).count() >= up
            })
            .await;
        let listen = status["databases"][0]["listen"][0].as_str().unwrap().to_owned();
        router.port = listen.rsplit(':').next().unwrap().parse().unwrap();
        router
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(&self.user)
    }

    pub(crate) fn url_of(&self, user: &User) -> String {
        let password = user.password.reveal().replace('\\', "%5C").replace(':', "%3A");
        format!("postgres://{}:{password}@127.0.0.1:{}/{}", user.name, self.port, user.database)
    }

    /// Runs `sql` by psql through the router, without blocking the runtime that the router is on.
    pub(crate) async fn psql(&self, sql: &str) -> Result<String, String> {
        let (url, sql) = (self.url(), sql.to_owned());
        tokio::task::spawn_blocking(move || psql(&url, &sql)).await.unwrap()
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.admin.get("/status").await.unwrap_or_default();
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(40), "never: {what}: {status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The sum of a metric's series whose labels contain all of `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.admin.text("/metrics").await.unwrap();
        text.lines()
            .filter(|line| line.starts_with(&format!("{name}{{")) && labels.iter().all(|l| line.contains(l)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub(crate) fn events(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log/events.jsonl")).unwrap_or_default()
    }
}

/// Whether this machine can run these tests; says so where not.
#[allow(clippy::print_stderr, reason = "who runs the tests must see what was not tested")]
pub(crate) fn possible() -> bool {
    let possible = testkit::postgres::is_installed();
    if !possible {
        eprintln!("skipped: PostgreSQL's server programs are not installed");
    }
    possible
}
