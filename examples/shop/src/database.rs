//! The connection to PostgreSQL: patience when it is away, and no wish to know
//! what is behind the URL.

use crate::{log, schema};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a request waits for a database that is away before its visitor is
/// told: about as long as a restart or a failover of PostgreSQL takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long `/healthz` waits.
const HEALTH: Duration = Duration::from_secs(1);
const MOST_CONNECTIONS: u32 = 10;

/// The shop's database.
#[derive(Clone)]
pub(crate) struct Database {
    pool: PgPool,
    /// One connection of its own: a busy shop is not a sick one.
    health: PgPool,
    prepared: Arc<AtomicBool>,
    retries: Arc<AtomicU64>,
}

/// Why a piece of work was not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The database is away; trying again later will help.
    Away(String),
    /// It answered that something is wrong with what we asked.
    Broken(sqlx::Error),
}

impl Database {
    /// Reads the URL; connects to nothing yet.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        // The URL holds a password: say what is wrong with it, never what it is.
        let options = PgConnectOptions::from_str(url)
            .map_err(|e| format!("DATABASE_URL is no PostgreSQL URL: {e}"))?
            .application_name("shop");
        let pool = PgPoolOptions::new()
            .max_connections(MOST_CONNECTIONS)
            .acquire_timeout(Duration::from_secs(2))
            .idle_timeout(Duration::from_secs(300))
            .connect_lazy_with(options.clone());
        let health =
            PgPoolOptions::new().max_connections(1).acquire_timeout(HEALTH).connect_lazy_with(options);
        Ok(Self { pool, health, prepared: Arc::default(), retries: Arc::default() })
    }

    /// Brings the schema up to date, however long the database takes to appear;
    /// afterwards tidies up once an hour.
    pub(crate) async fn prepare(self) {
        let mut pause = Duration::from_millis(100);
        let mut said = String::new();
        while let Err(error) = schema::migrate(&self.pool).await {
            let why = error.to_string();
            if why != said {
                log(format_args!("the database is not ready: {why}; trying again"));
                said = why;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        self.prepared.store(true, Ordering::Release);
        log(format_args!("ready"));
        loop {
            if let Err(error) = schema::tidy(&self.pool).await {
                log(format_args!("could not remove abandoned carts: {error}; trying again in an hour"));
            }
            sleep(Duration::from_secs(3600)).await;
        }
    }

    /// Does a piece of work, again if the database goes away in the middle. So the
    /// work must be safe to do twice: a read, or a write that notices its own trace.
    pub(crate) async fn run<T, W>(&self, mut work: impl FnMut() -> W) -> Result<T, Fault>
    where
        W: Future<Output = Result<T, sqlx::Error>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(50);
        let mut why = "its tables are not there yet".to_owned();
        loop {
            if self.prepared.load(Ordering::Acquire) {
                match timeout_at(deadline, work()).await {
                    Ok(Ok(done)) => return Ok(done),
                    Ok(Err(error)) if is_passing(&error) => why = error.to_string(),
                    Ok(Err(error)) => return Err(Fault::Broken(error)),
                    Err(_) => {
                        return Err(Fault::Away(format!(
                            "no answer within {PATIENCE:?}; before that: {why}"
                        )));
                    }
                }
                self.retries.fetch_add(1, Ordering::Relaxed);
            }
            if Instant::now() + pause >= deadline {
                return Err(Fault::Away(why));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Whether the shop can serve: its tables are there and the database answers.
    pub(crate) async fn health(&self) -> Result<(), String> {
        if !self.prepared.load(Ordering::Acquire) {
            return Err("starting: the database's tables are not ready".to_owned());
        }
        match timeout(HEALTH, sqlx::query("SELECT 1").execute(&self.health)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the database is away: {error}")),
            Err(_) => Err(format!("the database did not answer within {HEALTH:?}")),
        }
    }

    /// Where work takes its connections from.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Connections open, and of them idle.
    pub(crate) fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// Pieces of work begun again because the database went away in the middle.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Says goodbye to the database.
    pub(crate) async fn close(&self) {
        // A database that is away does not answer goodbyes.
        let _ = timeout(Duration::from_secs(2), async {
            self.pool.close().await;
            self.health.close().await;
        })
        .await;
    }
}

/// Whether an error is of the kind that goes away: a broken connection, a server
/// that restarts, changes its role or is full, a transaction that lost a race.
/// Codes: PostgreSQL manual, appendix A.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(e) => e.code().is_some_and(|code| {
            code.starts_with("08")
                || matches!(
                    code.as_ref(),
                    "57P01" | "57P02" | "57P03" | "53300" | "25006" | "40001" | "40P01"
                )
        }),
        _ => false,
    }
}
