//! What the supervisor keeps running.

use super::database::{process_name, spec_file};
use super::{Lowering, flat, in_run, in_state};
use crate::inputs::Kind;
use base::{Millis, Secret};
use config::{Code, Named, Pool, PoolSource, TextOrSecret};
use site::{
    Databases, Edge, ListenerSpec, MemberRole, Monitor, PostgresInstance, ProcessFile, ProcessSpec,
    StopSignal, UserClass,
};
use std::path::PathBuf;

/// Stages: lower ones start first and stop last. Stage 0 is the supervisor's own.
const POSTGRES_PRIMARY: u8 = 1;
const POSTGRES_REPLICA: u8 = 2;
const ROUTER: u8 = 3;
const WEB_SERVERS: u8 = 4;
const MONITORING: u8 = 5;
const EDGE: u8 = 6;

/// PostgreSQL's fast shutdown writes a checkpoint: a slow disk takes its time.
const POSTGRES_STOP: Millis = Millis(60_000);
/// The store is flushed at the end.
const MONITOR_STOP: Millis = Millis(20_000);
/// Beyond its drain the edge needs a moment to end.
const BEYOND_DRAIN: Millis = Millis(5_000);

impl Lowering<'_> {
    /// `None` where findings say why not.
    pub(super) fn processes(
        &mut self,
        edge: &Edge,
        databases: &Databases,
        monitor: &Monitor,
        instances: &[PostgresInstance],
    ) -> Option<Vec<ProcessSpec>> {
        let mut all = Vec::new();
        for instance in instances {
            all.push(self.postgres(instance));
        }
        let drain = edge.timeouts.drain;
        if !databases.databases.is_empty() {
            let mut router = self.role("database", ROUTER, Millis(drain.0 + BEYOND_DRAIN.0));
            for database in &databases.databases {
                let name = format!("database.{}", database.name);
                router.listeners.extend(database.listen.iter().map(|at| listener(&name, *at, 1)));
            }
            all.push(router);
        }
        for pool in &self.config.pools {
            all.extend(self.web_servers(pool, edge, databases));
        }
        let mut role = self.role("monitor", MONITORING, MONITOR_STOP);
        role.listeners.extend(monitor.listen.iter().map(|at| listener("monitor", *at, 1)));
        all.push(role);
        all.push(self.role("agent", MONITORING, MONITOR_STOP));
        let mut role = self.role("edge", EDGE, Millis(drain.0 + BEYOND_DRAIN.0));
        role.listeners.extend(edge.https.iter().map(|at| listener("https", *at, edge.workers)));
        role.listeners.extend(edge.http.iter().map(|at| listener("http", *at, edge.workers)));
        all.push(role);
        (!self.failed()).then_some(all)
    }

    fn role(&self, name: &str, stage: u8, stop_timeout: Millis) -> ProcessSpec {
        role_process(self.facts.program, self.facts.paths, name, stage, stop_timeout)
    }

    fn postgres(&self, instance: &PostgresInstance) -> ProcessSpec {
        let name = process_name(instance);
        let spec_path = in_run(self.facts.paths, &spec_file(&name));
        let content = serde_json::to_string(instance).unwrap_or_default();
        let folder = instance.data_dir.parent().map_or_else(|| instance.data_dir.clone(), PathBuf::from);
        ProcessSpec {
            argv: vec![
                self.facts.program.display().to_string(),
                "run".into(),
                "postgres".into(),
                "--spec".into(),
                spec_path.display().to_string(),
            ],
            env: Vec::new(),
            cwd: "/".into(),
            user: UserClass::Database,
            dirs: vec![folder, instance.socket_dir.clone()],
            files: vec![ProcessFile { path: spec_path, content: Secret::new(content) }],
            listeners: Vec::new(),
            stop_signal: StopSignal::Int,
            stop_timeout: POSTGRES_STOP,
            stage: if instance.role == MemberRole::Primary { POSTGRES_PRIMARY } else { POSTGRES_REPLICA },
            name,
        }
    }

    /// The processes of a pool with `run`.
    fn web_servers(&mut self, pool: &Named<Pool>, edge: &Edge, databases: &Databases) -> Vec<ProcessSpec> {
        let PoolSource::Run { command, .. } = &pool.source else { return Vec::new() };
        let lowered = edge.pools.iter().find(|p| p.name == pool.name.value.as_str());
        let Some(mut env) = self.environment(pool, databases) else { return Vec::new() };
        let cwd = match &pool.cwd {
            Some(cwd) => match self.folder(cwd, "the folder of the web servers") {
                Some(folder) => folder,
                None => return Vec::new(),
            },
            None => self.inputs.folder().to_owned(),
        };
        let mut specs = Vec::new();
        for server in lowered.iter().flat_map(|p| &p.servers) {
            let base::Address::Ip(address) = &server.address else { continue };
            env.retain(|(name, _)| name != "PORT");
            env.push(("PORT".to_owned(), Secret::new(address.port().to_string())));
            let lookup = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.reveal().to_owned());
            let mut argv = match command.value.argv(lookup) {
                Ok(argv) => argv,
                Err(missing) => {
                    let hint = format!(
                        "add it to `env` of the pool: `env = {{ {missing} = \"…\" }}`; web servers do not inherit your environment"
                    );
                    self.error(
                        Code::UnknownName,
                        command.span,
                        format!("`${missing}` is not in the web servers' environment"),
                        hint,
                    );
                    return Vec::new();
                }
            };
            if let Some(program) = argv.first_mut()
                && program.contains('/')
            {
                let full = self.inputs.resolve(std::path::Path::new(program));
                match self.inputs.kind(&full) {
                    Kind::File { executable: true } => *program = full.display().to_string(),
                    Kind::File { executable: false } => {
                        self.error(
                            Code::File,
                            command.span,
                            format!("`{}` may not be executed", full.display()),
                            "`chmod +x` it",
                        );
                        return Vec::new();
                    }
                    _ => {
                        let hint = "build the program first; paths are relative to the folder of this file";
                        self.error(
                            Code::File,
                            command.span,
                            format!("the program `{}` does not exist", full.display()),
                            hint,
                        );
                        return Vec::new();
                    }
                }
            }
            specs.push(ProcessSpec {
                name: server.name.clone(),
                argv,
                env: env.clone(),
                cwd: cwd.clone(),
                user: UserClass::App,
                dirs: Vec::new(),
                files: Vec::new(),
                listeners: Vec::new(),
                stop_signal: StopSignal::Term,
                stop_timeout: pool.stop_timeout.value,
                stage: WEB_SERVERS,
            });
        }
        specs
    }

    /// The variables of the file, and the database's URL.
    fn environment(&mut self, pool: &Named<Pool>, databases: &Databases) -> Option<Vec<(String, Secret)>> {
        let mut env = Vec::new();
        for (name, value) in pool.env.iter() {
            let text = match &value.value {
                TextOrSecret::Text(text) => Secret::new(text.clone()),
                TextOrSecret::Secret(source) => self.secret(source, value.span)?,
            };
            env.push((name.value.0.clone(), text));
        }
        if let Some(database) = self.config.database_of(pool)
            && let Some(lowered) = databases.databases.iter().find(|d| d.name == database.name.value.as_str())
            && !env.iter().any(|(name, _)| name == "DATABASE_URL")
        {
            env.push(("DATABASE_URL".to_owned(), database_url(lowered)));
        }
        Some(env)
    }
}

/// A role's process.
pub(crate) fn role_process(
    program: &std::path::Path,
    paths: Option<&crate::paths::Paths>,
    name: &str,
    stage: u8,
    stop_timeout: Millis,
) -> ProcessSpec {
    let directory = |path: PathBuf| {
        path.components().filter(|c| c.as_os_str() != ".").collect::<PathBuf>().display().to_string()
    };
    ProcessSpec {
        name: flat(name),
        argv: vec![
            program.display().to_string(),
            "run".into(),
            name.to_owned(),
            "--run-dir".into(),
            directory(in_run(paths, ".")),
            "--state-dir".into(),
            directory(in_state(paths, ".")),
        ],
        env: Vec::new(),
        cwd: "/".into(),
        user: UserClass::Role,
        dirs: Vec::new(),
        files: Vec::new(),
        listeners: Vec::new(),
        stop_signal: StopSignal::Term,
        stop_timeout,
        stage,
    }
}

fn listener(name: &str, address: std::net::SocketAddr, count: u16) -> ListenerSpec {
    ListenerSpec { name: name.to_owned(), address, count }
}

/// The URL that an application connects to: the router, with the login made for it.
pub fn database_url(database: &site::Database) -> Secret {
    let (Some(at), Some(user)) = (database.listen.first(), database.users.first()) else {
        return Secret::default();
    };
    let host = match at.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
        ip => ip.to_string(),
    };
    let password = encode(user.password.reveal());
    Secret::new(format!(
        "postgres://{}:{password}@{host}:{}/{}",
        encode(&user.name),
        at.port(),
        encode(&user.database)
    ))
}

/// Percent-encodes what a URL's user information may not hold (RFC 3986 §3.2.1).
fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}
