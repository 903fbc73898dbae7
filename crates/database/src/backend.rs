//! A connection to a member: logging in, and the questions we ask it ourselves.

use crate::wire::{Wire, malformed, within};
use base::{Address, Lsn, Secret};
use base64::Engine as _;
use bytes::BytesMut;
use database_route::session::Prepared;
use database_wire::backend::{self, Authentication, TransactionStatus};
use database_wire::{ErrorFields, frontend, scram, startup};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// For connecting and logging in.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements prepared on one replica connection; beyond it the connection is replaced.
pub(crate) const MAX_PREPARED: usize = 500;

/// Everything that makes two connections interchangeable: the start-up
/// parameters, `user` and `database` among them.
pub(crate) type Parameters = Arc<[(String, String)]>;

/// Text and parameter types of a statement.
pub(crate) type StatementKey = (Box<[u8]>, Box<[u8]>);

/// The key under which a statement is remembered as prepared.
pub(crate) fn statement_key(statement: &Prepared) -> StatementKey {
    (statement.sql.clone(), statement.types.clone())
}

/// Why a member did not give what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It answered with an error: SQLSTATE and message, and the body as sent.
    Refused {
        /// The SQLSTATE.
        code: String,
        /// For a person.
        why: String,
        /// The body of its `ErrorResponse`.
        body: bytes::Bytes,
    },
    /// The connection failed.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why, .. } => f.write_str(why),
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("it closed the connection")
            }
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

/// A logged-in connection to a member.
pub(crate) struct Backend {
    pub(crate) wire: Wire,
    /// Process id and secret, for cancelling.
    pub(crate) key: (i32, i32),
    /// What `ParameterStatus` said at the start.
    pub(crate) status: Vec<(String, String)>,
    /// When it was opened, monotonic.
    pub(crate) opened_ms: u64,
    /// What a replica had replayed right after.
    pub(crate) at_opening: Lsn,
    /// Of a replica: statements prepared on it, with the names we gave.
    pub(crate) prepared: HashMap<StatementKey, String>,
    prepared_ever: u64,
    /// Of a primary: whether our own statement for the position is prepared.
    position_prepared: bool,
}

/// A question of ours that the client's statements cannot be taken for.
const POSITION_STATEMENT: &[u8] = b"_bastide_position";

impl Backend {
    /// Connects and logs in.
    pub(crate) async fn open(
        address: &Address,
        parameters: &Parameters,
        password: &Secret,
    ) -> Result<Self, Failure> {
        match tokio::time::timeout(CONNECT_TIMEOUT, Self::log_in(address, parameters, password)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Io(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no login within {CONNECT_TIMEOUT:?}"),
            ))),
        }
    }

    async fn log_in(address: &Address, parameters: &Parameters, password: &Secret) -> Result<Self, Failure> {
        let mut wire = Wire::connect(address, CONNECT_TIMEOUT).await?;
        startup::session(&mut wire.output, parameters);
        wire.flush().await?;
        authenticate(&mut wire, password).await?;
        let mut key = (0, 0);
        let mut status = Vec::new();
        loop {
            let (tag, body) = wire.message().await?;
            match tag {
                b'K' => key = backend::parse_key_data(&body).map_err(malformed)?,
                b'S' => {
                    let (name, value) = backend::parse_parameter_status(&body).map_err(malformed)?;
                    status.push((lossy(name), lossy(value)));
                }
                b'N' => {}
                b'Z' => break,
                b'E' => return Err(refused(body)),
                other => return Err(unexpected(other)),
            }
        }
        Ok(Self {
            wire,
            key,
            status,
            opened_ms: sys::clock::monotonic_ms(),
            at_opening: Lsn(0),
            prepared: HashMap::new(),
            prepared_ever: 0,
            position_prepared: false,
        })
    }

    /// Runs `sql` (ours, one statement) by the simple protocol and gives the first row's columns.
    pub(crate) async fn ask(&mut self, sql: &str, limit: Duration) -> Result<Vec<Option<String>>, Failure> {
        let asking = async {
            frontend::query(&mut self.wire.output, sql);
            self.wire.flush().await?;
            self.answer().await.map(|(row, _)| row)
        };
        timed(limit, asking).await
    }

    /// Reads up to `ReadyForQuery`: the first row, and the transaction status.
    async fn answer(&mut self) -> Result<(Vec<Option<String>>, TransactionStatus), Failure> {
        let mut row = Vec::new();
        let mut failed = None;
        loop {
            let (tag, body) = self.wire.message().await?;
            match tag {
                b'D' if row.is_empty() => {
                    let columns = backend::parse_row(&body, 64).map_err(malformed)?;
                    row = columns.into_iter().map(|c| c.map(lossy)).collect();
                }
                b'E' => {
                    let fatal = ErrorFields::parse(&body).is_ok_and(|f| f.severity != b"ERROR");
                    failed = Some(refused(body));
                    if fatal {
                        break;
                    }
                }
                b'Z' => {
                    let status = backend::parse_ready(&body).map_err(malformed)?;
                    return failed.map_or(Ok((row, status)), Err);
                }
                _ => {}
            }
        }
        Err(failed.unwrap_or_else(|| Failure::Io(io::ErrorKind::UnexpectedEof.into())))
    }

    /// Where the primary's log ends now. By the extended protocol and a statement
    /// of our own: a simple `Query` would drop the client's unnamed statement.
    pub(crate) async fn insert_position(&mut self, limit: Duration) -> Result<Lsn, Failure> {
        let asking = async {
            match self.try_insert_position().await {
                // The client said `DISCARD ALL` or `DEALLOCATE ALL`: ours is gone too.
                Err(Failure::Refused { code, .. }) if code == "26000" => {
                    self.position_prepared = false;
                    self.try_insert_position().await
                }
                other => other,
            }
        };
        timed(limit, asking).await
    }

    async fn try_insert_position(&mut self) -> Result<Lsn, Failure> {
        let out = &mut self.wire.output;
        if !self.position_prepared {
            let sql = b"SELECT pg_catalog.pg_current_wal_insert_lsn()";
            frontend::parse_message(out, POSITION_STATEMENT, sql, &[0, 0]);
        }
        frontend::bind(out, b"", POSITION_STATEMENT, frontend::NO_VALUES);
        frontend::execute(out, b"", 0);
        frontend::sync(out);
        self.wire.flush().await?;
        let (row, _) = self.answer().await?;
        self.position_prepared = true;
        let text = row.into_iter().next().flatten().unwrap_or_default();
        Lsn::parse(&text).ok_or_else(|| Failure::Io(io::Error::other(format!("`{text}` is not an LSN"))))
    }

    /// Makes it as new: `ROLLBACK` where a transaction is open, then `DISCARD ALL`.
    pub(crate) async fn reset(&mut self, in_transaction: bool, limit: Duration) -> Result<(), Failure> {
        if in_transaction {
            self.ask("ROLLBACK", limit).await?;
        }
        self.ask("DISCARD ALL", limit).await?;
        self.position_prepared = false;
        self.prepared.clear();
        Ok(())
    }

    /// The name under which a statement is prepared here, and whether it has to be prepared first.
    pub(crate) fn name_of(&mut self, statement: &Prepared) -> (String, bool) {
        let key = statement_key(statement);
        if let Some(name) = self.prepared.get(&key) {
            return (name.clone(), false);
        }
        self.prepared_ever += 1;
        let name = format!("_bastide_{}", self.prepared_ever);
        self.prepared.insert(key, name.clone());
        (name, true)
    }
}

/// Logs in with whatever of SCRAM-SHA-256 or nothing the member asks for.
async fn authenticate(wire: &mut Wire, password: &Secret) -> Result<(), Failure> {
    let mut client: Option<scram::Client> = None;
    loop {
        let (tag, body) = wire.message().await?;
        match tag {
            b'E' => return Err(refused(body)),
            b'N' => continue,
            b'v' => continue, // NegotiateProtocolVersion: 3.0 is what we asked for
            b'R' => {}
            other => return Err(unexpected(other)),
        }
        match backend::parse_authentication(&body).map_err(malformed)? {
            Authentication::Ok => return Ok(()),
            Authentication::Sasl(mechanisms) => {
                if !mechanisms.split(|&b| b == 0).any(|m| m == scram::MECHANISM.as_bytes()) {
                    return Err(other_method("a SASL mechanism other than SCRAM-SHA-256"));
                }
                let exchange = scram::Client::new(password.reveal(), &nonce());
                let first = exchange.first();
                frontend::sasl_initial(&mut wire.output, scram::MECHANISM, first.as_bytes());
                client = Some(exchange);
            }
            Authentication::SaslContinue(challenge) => {
                let exchange = client.as_mut().ok_or_else(|| unexpected(b'R'))?;
                let answer = exchange.answer(challenge).map_err(io::Error::other)?;
                frontend::sasl_response(&mut wire.output, answer.as_bytes());
            }
            Authentication::SaslFinal(last) => {
                let exchange = client.as_ref().ok_or_else(|| unexpected(b'R'))?;
                exchange.finish(last).map_err(io::Error::other)?;
                continue;
            }
            Authentication::Cleartext => return Err(other_method("a clear-text password")),
            Authentication::Md5 => return Err(other_method("an MD5 password")),
            Authentication::Other(_) => return Err(other_method("a method other than SCRAM-SHA-256")),
        }
        wire.flush().await?;
    }
}

/// 18 random bytes in base 64: RFC 5802 wants a nonce that is never used twice.
pub(crate) fn nonce() -> String {
    let mut bytes = [0; 18];
    sys::random::fill(&mut bytes);
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Asks `address` to cancel what the session with `key` does, and waits until it has taken note.
pub(crate) async fn cancel(address: &Address, key: (i32, i32)) -> io::Result<()> {
    let limit = Duration::from_secs(2);
    within(limit, async {
        let mut wire = Wire::connect(address, limit).await?;
        startup::cancel(&mut wire.output, key.0, key.1);
        wire.flush().await?;
        // PostgreSQL closes the connection once the signal is sent (manual 55.2.8).
        while wire.fill().await? > 0 {
            wire.input.clear();
        }
        Ok(())
    })
    .await
}

async fn timed<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => {
            Err(Failure::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))))
        }
    }
}

pub(crate) fn refused(body: bytes::Bytes) -> Failure {
    let (code, why) = match ErrorFields::parse(&body) {
        Ok(fields) => (lossy(fields.code), fields.describe()),
        Err(error) => (String::new(), format!("an error that cannot be read: {error}")),
    };
    Failure::Refused { code, why, body }
}

fn unexpected(tag: u8) -> Failure {
    Failure::Io(malformed(database_wire::Malformed::Unexpected(tag)))
}

fn other_method(what: &str) -> Failure {
    Failure::Io(io::Error::other(format!(
        "it asks for {what}; hint: use `scram-sha-256` in pg_hba.conf, and set the password anew if it was stored as MD5"
    )))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Appends a raw message with its header.
pub(crate) fn put_message(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.extend_from_slice(&[tag]);
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
}

impl Backend {
    /// Whether the member has said nothing since the last answer and the connection stands.
    pub(crate) fn is_quiet(&mut self) -> bool {
        use futures_util::FutureExt;
        self.wire.input.is_empty() && self.wire.fill().now_or_never().is_none()
    }
}
