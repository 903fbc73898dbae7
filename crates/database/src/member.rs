//! A PostgreSQL server of a database: what is known of it, and its connections.

use crate::backend::{Backend, Failure, Parameters};
use base::{Address, Lsn, Millis, Secret};
use database_route::member::Reading;
use site::MemberRole;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that nobody asked for this long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// Why a member is not used before its first answer.
pub(crate) const NOT_ASKED: &str = "not asked yet";

/// What the monitor found out last.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The last answer, while the connection that gave it lives.
    pub(crate) reading: Option<Reading>,
    /// Whether it may be used in its role.
    pub(crate) up: bool,
    /// Why, for a person.
    pub(crate) why: String,
    /// Since when `up` is what it is, in Unix milliseconds.
    pub(crate) since_ms: u64,
    /// Of a replica: behind the primary.
    pub(crate) lag: Millis,
    /// The same in bytes.
    pub(crate) lag_bytes: u64,
    /// Of a replica: what it has received, if more than replayed.
    pub(crate) received: Option<Lsn>,
}

/// A member with its pool.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) role: MemberRole,
    pool_size: u32,
    limit: Arc<Semaphore>,
    idle: Mutex<VecDeque<(Instant, Parameters, Backend)>>,
    state: Mutex<State>,
}

/// A connection lent to a session. Dropped, it is closed; [`Lease::give_back`] keeps it.
pub(crate) struct Lease {
    pub(crate) backend: Backend,
    pub(crate) member: Arc<Member>,
    parameters: Parameters,
    _permit: OwnedSemaphorePermit,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoLease {
    /// All are in use, and none came free in time.
    Busy,
    /// Opening one failed.
    Failed(Failure),
}

impl Member {
    pub(crate) fn new(site: &site::Member, pool_size: u32) -> Self {
        Self {
            name: site.name.clone(),
            address: site.address.clone(),
            role: site.role,
            pool_size,
            limit: Arc::new(Semaphore::new(pool_size as usize)),
            idle: Mutex::new(VecDeque::new()),
            state: Mutex::new(State {
                reading: None,
                up: false,
                why: NOT_ASKED.into(),
                since_ms: sys::clock::now_ms(),
                lag: Millis(0),
                lag_bytes: 0,
                received: None,
            }),
        }
    }

    /// Whether a new configuration's member is this one, with its connections.
    pub(crate) fn is(&self, site: &site::Member, pool_size: u32) -> bool {
        self.name == site.name
            && self.address == site.address
            && self.role == site.role
            && self.pool_size == pool_size
    }

    /// What is known of it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections in use and idle.
    pub(crate) fn connections(&self) -> (usize, usize) {
        (self.active(), self.idle().len())
    }

    /// Connections in use.
    pub(crate) fn active(&self) -> usize {
        (self.pool_size as usize).saturating_sub(self.limit.available_permits())
    }

    /// Lends a connection with these parameters: an idle one, or a new one. At
    /// most the pool's size are open in all; idle ones of other parameters make room.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        parameters: &Parameters,
        password: &Secret,
        wait: Duration,
    ) -> Result<Lease, NoLease> {
        let acquiring = tokio::time::timeout(wait, self.limit.clone().acquire_owned());
        let Ok(Ok(permit)) = acquiring.await else { return Err(NoLease::Busy) };
        let lease = |backend| Lease {
            backend,
            member: self.clone(),
            parameters: parameters.clone(),
            _permit: permit,
        };
        if let Some(backend) = self.take_idle(parameters) {
            return Ok(lease(backend));
        }
        self.make_room();
        let mut backend =
            Backend::open(&self.address, parameters, password).await.map_err(NoLease::Failed)?;
        self.check_role(&mut backend).await.map_err(NoLease::Failed)?;
        Ok(lease(backend))
    }

    /// A server's role is asked on each new connection too: between two polls it may have changed.
    async fn check_role(&self, backend: &mut Backend) -> Result<(), Failure> {
        let question = "SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() \
                        THEN pg_catalog.pg_last_wal_replay_lsn() END";
        let row = backend.ask(question, crate::backend::CONNECT_TIMEOUT).await?;
        let in_recovery = row.first().cloned().flatten().as_deref() == Some("t");
        if in_recovery != (self.role == MemberRole::Replica) {
            let is = if in_recovery { "a replica" } else { "a primary" };
            let why = format!("`{}` is {is}, not the {} it is meant to be", self.name, self.role.as_str());
            return Err(Failure::Io(std::io::Error::other(why)));
        }
        backend.at_opening = row.get(1).cloned().flatten().and_then(|t| Lsn::parse(&t)).unwrap_or_default();
        Ok(())
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, Parameters, Backend)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection used last, while it is warm; one whose server has said
    /// something meanwhile (good-bye, most likely) is thrown away.
    fn take_idle(&self, parameters: &Parameters) -> Option<Backend> {
        let mut idle = self.idle();
        while let Some(at) = idle.iter().rposition(|(_, p, _)| p == parameters) {
            let (_, _, mut backend) = idle.remove(at)?;
            if backend.is_quiet() {
                return Some(backend);
            }
        }
        None
    }

    /// Closes the oldest idle connection where one more would be too many.
    fn make_room(&self) {
        let mut idle = self.idle();
        while idle.len() + self.active() > self.pool_size as usize {
            if idle.pop_front().is_none() {
                break;
            }
        }
    }

    /// Closes connections idle for too long; all of them where `all`.
    pub(crate) fn close_idle(&self, all: bool) {
        self.idle()
            .retain_mut(|(since, _, backend)| !all && since.elapsed() < IDLE_LIMIT && backend.is_quiet());
    }
}

impl Lease {
    /// Returns the connection, which must be as new, to the pool.
    pub(crate) fn give_back(self) {
        let Self { backend, member, parameters, _permit } = self;
        if backend.prepared.len() < crate::backend::MAX_PREPARED {
            member.idle().push_back((Instant::now(), parameters, backend));
        }
    }
}
