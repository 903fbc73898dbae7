//! What all sessions of one database share: its configuration, which a reload
//! swaps, and what is known of its members and of what was written.

use crate::backend::Parameters;
use crate::cancel::Cancels;
use crate::member::{Lease, Member, NoLease};
use crate::stats::Stats;
use arc_swap::ArcSwap;
use base::{Lsn, Secret};
use database_route::cache::Cache;
use database_route::member::{Candidate, Choice, Cluster, LagTracker, choose, connection_sees};
use database_route::position::{Need, Positions};
use database_route::settings::Settings;
use database_route::{Verdict, classify};
use database_wire::scram::{ITERATIONS, Verifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use site::MemberRole;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// A database's configuration, compiled.
pub(crate) struct Config {
    pub(crate) site: site::Database,
    pub(crate) logins: HashMap<String, Login>,
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Someone who may connect.
pub(crate) struct Login {
    pub(crate) password: Secret,
    pub(crate) verifier: Verifier,
}

impl Config {
    /// Compiles `site`, keeping the members of `before` that did not change. The errors are for the operator.
    pub(crate) fn compile(site: site::Database, before: Option<&Self>) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let name = &site.name;
        let primaries = site.members.iter().filter(|m| m.role == MemberRole::Primary).count();
        if primaries != 1 {
            errors.push(format!("database `{name}` has {primaries} primaries; it needs exactly one"));
        }
        for (i, member) in site.members.iter().enumerate() {
            if site.members[..i].iter().any(|m| m.name == member.name) {
                errors.push(format!("database `{name}` has two members called `{}`", member.name));
            }
        }
        if site.route.pool_size == 0 || site.route.max_clients == 0 {
            errors.push(format!("database `{name}`: `pool_size` and `max_clients` must be at least 1"));
        }
        if site.users.is_empty() {
            errors.push(format!("database `{name}` has no users: nobody could connect"));
        }
        let tls = match site.tls.as_ref().map(server_config).transpose() {
            Ok(tls) => tls.map(Arc::new),
            Err(why) => {
                errors.push(format!("database `{name}`: the certificate cannot be used: {why}"));
                None
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let pool_size = site.route.pool_size;
        let member = |wanted: &site::Member| {
            let kept = before.and_then(|b| b.members.iter().find(|m| m.is(wanted, pool_size)));
            kept.cloned().unwrap_or_else(|| Arc::new(Member::new(wanted, pool_size)))
        };
        let members = site.members.iter().map(member).collect();
        let logins = site.users.iter().map(|user| (user.name.clone(), Login::new(user, before))).collect();
        Ok(Self { site, logins, members, tls })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.site.route
    }

    pub(crate) fn primary(&self) -> &Arc<Member> {
        // `compile` has seen that there is one.
        self.members.iter().find(|m| m.role == MemberRole::Primary).unwrap_or(&self.members[0])
    }

    fn replicas(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().filter(|m| m.role == MemberRole::Replica)
    }
}

impl Login {
    fn new(user: &site::User, before: Option<&Config>) -> Self {
        let known = before.and_then(|b| b.logins.get(&user.name)).filter(|l| l.password == user.password);
        let verifier = known.map_or_else(
            || {
                let mut salt = [0; 16];
                sys::random::fill(&mut salt);
                Verifier::new(user.password.reveal(), &salt, ITERATIONS)
            },
            |login| login.verifier.clone(),
        );
        Self { password: user.password.clone(), verifier }
    }
}

fn server_config(certificate: &site::Certificate) -> Result<rustls::ServerConfig, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.reveal().as_bytes())
        .map_err(|e| format!("its key: {e}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| e.to_string())
}

/// Where a read goes.
pub(crate) enum ReadFrom {
    /// A replica's connection that sees what the login wrote.
    Replica(Box<Lease>),
    /// The primary, and why.
    Primary(&'static str),
}

/// What all sessions of one database share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) config: ArcSwap<Config>,
    pub(crate) cancels: Arc<Cancels>,
    pub(crate) stats: Stats,
    /// For logins that do not exist: their salts.
    pub(crate) mock_secret: [u8; 32],
    /// Connections whose clients have not yet proved who they are.
    pub(crate) arrivals: AtomicUsize,
    /// Sessions that began.
    pub(crate) sessions: AtomicUsize,
    positions: Mutex<Positions>,
    pub(crate) lag: Mutex<LagTracker>,
    pub(crate) cluster: Mutex<Cluster>,
    pub(crate) polls_begun: AtomicU64,
    cache: Mutex<Cache>,
    greetings: Mutex<HashMap<Parameters, Greeting>>,
    changed: watch::Sender<u64>,
    /// Told when a login wrote: replicas are asked soon.
    pub(crate) wrote: Notify,
    turn: AtomicUsize,
}

/// What members say to a new connection: `ParameterStatus` names and values.
pub(crate) type Greeting = Arc<Vec<(String, String)>>;

/// Greetings (parameter statuses) remembered, one for each way of connecting.
const MAX_GREETINGS: usize = 1_000;

impl Shared {
    pub(crate) fn new(config: Config, stats: Stats) -> Self {
        let mut mock_secret = [0; 32];
        sys::random::fill(&mut mock_secret);
        Self {
            name: config.site.name.clone(),
            config: ArcSwap::from_pointee(config),
            cancels: Arc::default(),
            stats,
            mock_secret,
            arrivals: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            positions: Mutex::default(),
            lag: Mutex::default(),
            cluster: Mutex::default(),
            polls_begun: AtomicU64::new(0),
            cache: Mutex::default(),
            greetings: Mutex::default(),
            changed: watch::Sender::new(0),
            wrote: Notify::new(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The verdict on a statement, remembered.
    pub(crate) fn classify(&self, sql: &[u8]) -> Arc<Verdict> {
        match std::str::from_utf8(sql) {
            Ok(sql) => lock(&self.cache).classify(sql),
            // Not ours to read: PostgreSQL will say what is wrong with it.
            Err(_) => Arc::new(classify("\0")),
        }
    }

    /// A write of `login` ended at or before `lsn`; `None` where that could not be asked.
    pub(crate) fn note_write(&self, login: &str, lsn: Option<Lsn>) {
        let mut positions = lock(&self.positions);
        match lsn {
            Some(lsn) => positions.note(login, lsn),
            None => positions.note_unknown(login, self.polls_begun.load(Relaxed)),
        }
        drop(positions);
        self.wrote.notify_waiters();
    }

    /// Poll number `poll` found the primary at `lsn`.
    pub(crate) fn settle(&self, poll: u64, lsn: Lsn) {
        lock(&self.positions).settle(poll, lsn);
    }

    /// What reads of each login that wrote need: a position, or none where only the primary will do.
    pub(crate) fn needs(&self) -> Vec<(String, Option<Lsn>)> {
        let need = |(login, need): (&str, Need)| match need {
            Need::At(lsn) => (login.to_owned(), Some(lsn)),
            Need::Unknown => (login.to_owned(), None),
        };
        lock(&self.positions).all().map(need).collect()
    }

    /// Where replicas must get to for all logins to read from them.
    pub(crate) fn highest_written(&self) -> Lsn {
        lock(&self.positions).highest()
    }

    /// Wakes sessions that wait for a member.
    pub(crate) fn members_changed(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// What a session with these parameters is greeted with, if one was before.
    pub(crate) fn greeting(&self, parameters: &Parameters) -> Option<Greeting> {
        lock(&self.greetings).get(parameters).cloned()
    }

    pub(crate) fn remember_greeting(&self, parameters: &Parameters, status: &[(String, String)]) {
        let mut greetings = lock(&self.greetings);
        if greetings.len() >= MAX_GREETINGS {
            greetings.clear();
        }
        greetings.insert(parameters.clone(), Arc::new(status.to_vec()));
    }

    /// Forgets greetings: a member came back, perhaps as another version.
    pub(crate) fn forget_greetings(&self) {
        lock(&self.greetings).clear();
    }

    /// Chooses and leases a replica for a read of `login`, or says why the primary must answer.
    pub(crate) async fn read_from(
        &self,
        login: &str,
        parameters: &Parameters,
        password: &Secret,
    ) -> ReadFrom {
        let config = self.config.load_full();
        let deadline = Instant::now() + config.settings().read_wait.duration();
        loop {
            let mut changed = self.changed.subscribe();
            let outcome = self.try_read_from(&config, login, parameters, password).await;
            match outcome {
                // A replica may get there in time; the monitor asks it often after a write.
                ReadFrom::Primary("behind") if Instant::now() < deadline => {
                    let _ = tokio::time::timeout_at(deadline.into(), changed.changed()).await;
                }
                other => return other,
            }
        }
    }

    async fn try_read_from(
        &self,
        config: &Config,
        login: &str,
        parameters: &Parameters,
        password: &Secret,
    ) -> ReadFrom {
        let mut replicas: Vec<&Arc<Member>> = config.replicas().collect();
        let need = lock(&self.positions).need(login);
        while !replicas.is_empty() {
            let candidates: Vec<Candidate> = replicas.iter().map(|m| candidate(m)).collect();
            let turn = self.turn.fetch_add(1, Relaxed);
            let which = match choose(need, &candidates, config.settings().max_lag, turn) {
                Choice::Replica(which) => which,
                Choice::NoReplica => return ReadFrom::Primary("no_replica"),
                Choice::Lagging => return ReadFrom::Primary("lagging"),
                Choice::Behind => return ReadFrom::Primary("behind"),
            };
            let member = replicas[which];
            let began = Instant::now();
            // The primary can answer as well: do not wait long for a busy replica.
            let lease = member.lease(parameters, password, Duration::from_millis(100)).await;
            self.stats.waited(began.elapsed());
            if let Ok(lease) = lease {
                let reading = member.state().reading;
                let sees =
                    connection_sees(lease.backend.opened_ms, lease.backend.at_opening, reading.as_ref());
                if need == Need::At(sees) || matches!(need, Need::At(position) if position <= sees) {
                    return ReadFrom::Replica(Box::new(lease));
                }
                // It came back further behind than it was when it was asked last.
                lease.give_back();
            }
            replicas.remove(which);
        }
        ReadFrom::Primary("no_replica")
    }

    /// Leases a connection to the primary, waiting for the primary to be up and
    /// for one to be free, as long as the configuration says.
    pub(crate) async fn primary(
        &self,
        parameters: &Parameters,
        password: &Secret,
    ) -> Result<Lease, PrimaryAway> {
        let began = Instant::now();
        let wait = self.config.load().settings().pool_wait.duration();
        let deadline = began + wait;
        let mut last = None;
        loop {
            let mut changed = self.changed.subscribe();
            let member = self.config.load().primary().clone();
            if member.state().up {
                let left = deadline.saturating_duration_since(Instant::now());
                match member.lease(parameters, password, left).await {
                    Ok(lease) => {
                        self.stats.waited(began.elapsed());
                        return Ok(lease);
                    }
                    Err(NoLease::Busy) => {
                        self.stats.waited(began.elapsed());
                        return Err(PrimaryAway::Busy(member.active()));
                    }
                    // The member speaks and says no: waiting would not help.
                    Err(NoLease::Failed(crate::backend::Failure::Refused { code, body, .. }))
                        if !code.starts_with("57P") =>
                    {
                        return Err(PrimaryAway::Refused { body });
                    }
                    Err(NoLease::Failed(failure)) => last = Some(failure.to_string()),
                }
            }
            if Instant::now() >= deadline {
                self.stats.waited(began.elapsed());
                let why = last.unwrap_or_else(|| member.state().why.clone());
                return Err(PrimaryAway::Away { member: member.name.clone(), why, waited: wait });
            }
            // Woken when the monitor sees a change; now and then without, because
            // an attempt may fail while the monitor's own connection still lives.
            let pause = (Instant::now() + Duration::from_millis(200)).min(deadline);
            let _ = tokio::time::timeout_at(pause.into(), changed.changed()).await;
        }
    }
}

/// Why there is no connection to the primary.
pub(crate) enum PrimaryAway {
    /// It does not answer, or may not be used.
    Away {
        /// Which member.
        member: String,
        /// Why.
        why: String,
        /// How long we waited.
        waited: Duration,
    },
    /// It answered with an error, which the client gets as it is.
    Refused {
        /// The body of the `ErrorResponse`.
        body: bytes::Bytes,
    },
    /// So many connections are all in use.
    Busy(usize),
}

fn candidate(member: &Arc<Member>) -> Candidate {
    let state = member.state();
    Candidate {
        up: state.up,
        lag: state.lag,
        replayed: state.reading.map_or(Lsn(0), |r| r.lsn),
        active: member.active() as u32,
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
