//! A client's arrival: TLS, start-up packet, password, greeting; or a cancel request.

use crate::backend::{self, Parameters, put_message};
use crate::session::Session;
use crate::shared::{Greeting, PrimaryAway, ReadFrom, Shared};
use crate::wire::{Wire, malformed, within};
use base::Secret;
use bytes::BytesMut;
use database_wire::backend::TransactionStatus;
use database_wire::error::sqlstate;
use database_wire::scram::{self, ScramError, Verifier};
use database_wire::startup::{self, Startup};
use database_wire::{Report, backend as reply};
use role::Shutdown;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::TcpStream;

/// From the connection to the right password.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Sent with a wrong password; also the pace at which one connection can guess.
const WRONG_PASSWORD_DELAY: Duration = Duration::from_millis(200);

/// Clients that are logging in at once, at most: beyond it, connections are closed unheard.
const MAX_ARRIVALS: usize = 256;

/// What a client's opening came to.
enum Opening {
    /// A session wants to begin.
    Session(Box<Arrival>),
    /// A cancel request was dealt with, or the client left.
    Done,
    /// It was refused, and told so.
    Refused(&'static str),
}

/// A client whose password was right.
struct Arrival {
    client: Wire,
    login: String,
    password: Secret,
    parameters: Parameters,
}

/// Serves one client connection from its first byte to its last.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, shutdown: Shutdown) {
    if shared.arrivals.fetch_add(1, Relaxed) >= MAX_ARRIVALS {
        shared.arrivals.fetch_sub(1, Relaxed);
        shared.stats.client_result("refused");
        return;
    }
    let opening = within(LOGIN_TIMEOUT, open(&shared, stream)).await;
    shared.arrivals.fetch_sub(1, Relaxed);
    let opening = match opening {
        Ok(opening) => opening,
        Err(error) => {
            // A port scan and a health check connect and leave: that is nobody's fault.
            if error.kind() == io::ErrorKind::InvalidData {
                shared.stats.client_result("protocol_error");
            }
            return;
        }
    };
    match opening {
        Opening::Done => {}
        Opening::Refused(result) => shared.stats.client_result(result),
        Opening::Session(arrival) => {
            let Some(_place) = Place::take(&shared) else {
                let mut client = arrival.client;
                let limit = shared.config.load().settings().max_clients;
                let report = Report::fatal(
                    sqlstate::TOO_MANY_CONNECTIONS,
                    format!("database `{}` has {limit} client sessions already", shared.name),
                );
                refuse(&shared, &mut client, report.hint("raise `max_clients`, or use smaller pools")).await;
                shared.stats.client_result("refused");
                return;
            };
            greet_and_run(&shared, *arrival, shutdown).await;
        }
    }
}

/// One of the sessions that the configuration allows.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let limit = shared.config.load().settings().max_clients as usize;
        if shared.sessions.fetch_add(1, Relaxed) >= limit {
            shared.sessions.fetch_sub(1, Relaxed);
            return None;
        }
        shared.stats.client_began();
        Some(Self(shared.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Relaxed);
        self.0.stats.client_ended();
    }
}

async fn open(shared: &Arc<Shared>, stream: TcpStream) -> io::Result<Opening> {
    stream.set_nodelay(true)?;
    let mut client = Wire::new(stream);
    let mut encrypted = false;
    // SSLRequest, GSSENCRequest, then the start-up packet: more than three is no client.
    for _ in 0..3 {
        match read_packet(&mut client).await? {
            Startup::Ssl if !encrypted && client.input.is_empty() => {
                let config = shared.config.load().tls.clone();
                client.output.extend_from_slice(if config.is_some() { b"S" } else { b"N" });
                client.flush().await?;
                if let Some(config) = config {
                    let acceptor = tokio_rustls::TlsAcceptor::from(config);
                    client = Wire::new(acceptor.accept(client.into_stream()).await?);
                    encrypted = true;
                }
            }
            // Bytes sent in clear text before the handshake must not count as
            // said inside it (CVE-2021-23214).
            Startup::Ssl => return Err(malformed(database_wire::Malformed::Unexpected(b'S'))),
            Startup::Gss => {
                client.output.extend_from_slice(b"N");
                client.flush().await?;
            }
            Startup::Cancel { process, secret } => {
                shared.cancels.cancel(process, secret).await;
                return Ok(Opening::Done);
            }
            Startup::Session { minor, parameters } => return log_in(shared, client, minor, parameters).await,
        }
    }
    Err(malformed(database_wire::Malformed::Unexpected(0)))
}

async fn read_packet(client: &mut Wire) -> io::Result<Startup> {
    loop {
        if let Some(size) = startup::packet_size(&client.input).map_err(malformed)?
            && client.input.len() >= size
        {
            let packet = client.input.split_to(size);
            return startup::parse(&packet).map_err(malformed);
        }
        if client.fill().await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn log_in(
    shared: &Arc<Shared>,
    mut client: Wire,
    minor: u16,
    sent: Vec<(String, String)>,
) -> io::Result<Opening> {
    let unknown: Vec<&str> =
        sent.iter().map(|(n, _)| n.as_str()).filter(|n| n.starts_with("_pq_.")).collect();
    if minor > 0 || !unknown.is_empty() {
        reply::negotiate_version(&mut client.output, &unknown);
    }
    let value = |wanted: &str| sent.iter().find(|(name, _)| name == wanted).map(|(_, v)| v.clone());
    let refusal = match (value("user").filter(|u| !u.is_empty()), value("replication")) {
        (None, _) => Some(Report::fatal(sqlstate::INVALID_AUTHORIZATION, "no user name was sent")),
        (_, Some(replication)) if !["false", "off", "no", "0"].contains(&replication.as_str()) => Some(
            Report::fatal(sqlstate::FEATURE_NOT_SUPPORTED, "the router does not speak replication")
                .hint("connect to the member itself"),
        ),
        _ => None,
    };
    if let Some(report) = refusal {
        refuse(shared, &mut client, report).await;
        return Ok(Opening::Refused("refused"));
    }
    let login = value("user").unwrap_or_default();
    let config = shared.config.load_full();
    let known = config.logins.get(&login);
    let verifier =
        known.map_or_else(|| Verifier::mock(&login, &shared.mock_secret), |known| known.verifier.clone());
    if let Err(error) = check_password(&mut client, verifier, known.is_some()).await? {
        tokio::time::sleep(WRONG_PASSWORD_DELAY).await;
        let report = match error {
            ScramError::WrongPassword => Report::fatal(
                sqlstate::INVALID_PASSWORD,
                format!("password authentication failed for user \"{}\"", login.escape_debug()),
            ),
            other => Report::fatal(sqlstate::PROTOCOL_VIOLATION, other.to_string()),
        };
        refuse(shared, &mut client, report).await;
        return Ok(Opening::Refused("auth_failed"));
    }
    let Some(known) = known else { return Ok(Opening::Refused("auth_failed")) };
    let password = known.password.clone();
    let default = config.site.users.iter().find(|u| u.name == login).map(|u| u.database.clone());
    let database = value("database").filter(|d| !d.is_empty()).or(default).unwrap_or_else(|| login.clone());
    let mut parameters: Vec<(String, String)> = sent
        .into_iter()
        .filter(|(name, _)| !name.starts_with("_pq_.") && name != "database" && name != "replication")
        .collect();
    parameters.push(("database".into(), database));
    parameters.sort();
    let parameters: Parameters = parameters.into();
    Ok(Opening::Session(Box::new(Arrival { client, login, password, parameters })))
}

/// The SCRAM exchange, up to but without `AuthenticationOk`.
async fn check_password(
    client: &mut Wire,
    verifier: Verifier,
    genuine: bool,
) -> io::Result<Result<(), ScramError>> {
    reply::authentication_sasl(&mut client.output, scram::MECHANISM);
    client.flush().await?;
    let body = password_message(client).await?;
    let (mechanism, first) = database_wire::frontend::parse_sasl_initial(&body).map_err(malformed)?;
    if mechanism != scram::MECHANISM.as_bytes() {
        return Ok(Err(ScramError::Malformed("the mechanism was not offered")));
    }
    let (server, challenge) = match scram::Server::start(verifier, genuine, first, &backend::nonce()) {
        Ok(started) => started,
        Err(error) => return Ok(Err(error)),
    };
    reply::authentication_sasl_continue(&mut client.output, challenge.as_bytes());
    client.flush().await?;
    let body = password_message(client).await?;
    Ok(server.finish(&body).map(|last| {
        reply::authentication_sasl_final(&mut client.output, last.as_bytes());
    }))
}

async fn password_message(client: &mut Wire) -> io::Result<bytes::Bytes> {
    match client.message().await? {
        (b'p', body) => Ok(body),
        (other, _) => Err(malformed(database_wire::Malformed::Unexpected(other))),
    }
}

/// Tells the client why its session ends before it began.
async fn refuse(shared: &Shared, client: &mut Wire, report: Report) {
    shared.stats.error(&report.code[..2]);
    report.write(&mut client.output);
    // It may be gone already.
    let _ = within(Duration::from_secs(2), client.flush()).await;
}

async fn greet_and_run(shared: &Arc<Shared>, arrival: Arrival, shutdown: Shutdown) {
    let Arrival { mut client, login, password, parameters } = arrival;
    let status = match greeting(shared, &login, &password, &parameters).await {
        Ok(status) => status,
        Err(error) => {
            shared.stats.client_result("refused");
            client.output.extend_from_slice(&error);
            let _ = within(Duration::from_secs(2), client.flush()).await;
            return;
        }
    };
    let registration = shared.cancels.register();
    reply::authentication_ok(&mut client.output);
    for (name, value) in status.iter() {
        // Whichever member the values came from: the session can write.
        let value = match name.as_str() {
            "in_hot_standby" => "off",
            _ => value.as_str(),
        };
        reply::parameter_status(&mut client.output, name, value);
    }
    reply::key_data(&mut client.output, registration.process, registration.secret());
    reply::ready(&mut client.output, TransactionStatus::Idle);
    shared.stats.client_result("ok");
    let mut session =
        Session::new(shared.clone(), client, login, password, parameters, registration, shutdown);
    for (name, value) in status.iter() {
        session.parameter_changed(name.as_bytes(), value.as_bytes());
    }
    session.run().await;
}

/// What members say to a connection with these parameters; or an error message for the client.
async fn greeting(
    shared: &Arc<Shared>,
    login: &str,
    password: &Secret,
    parameters: &Parameters,
) -> Result<Greeting, BytesMut> {
    if let Some(known) = shared.greeting(parameters) {
        return Ok(known);
    }
    let primary_up = shared.config.load().primary().state().up;
    let lease = match (primary_up, shared.read_from(login, parameters, password).await) {
        (false, ReadFrom::Replica(lease)) => *lease,
        (_, other) => {
            if let ReadFrom::Replica(lease) = other {
                lease.give_back();
            }
            shared.primary(parameters, password).await.map_err(|away| away_message(shared, &away, true))?
        }
    };
    shared.remember_greeting(parameters, &lease.backend.status);
    let status = Arc::new(lease.backend.status.clone());
    lease.give_back();
    Ok(status)
}

/// The error message for a client that needs the primary; `fatal` ends its session.
pub(crate) fn away_message(shared: &Shared, away: &PrimaryAway, fatal: bool) -> BytesMut {
    let mut out = BytesMut::new();
    let report = match away {
        PrimaryAway::Refused { body, .. } => {
            let class = database_wire::ErrorFields::parse(body).map_or("??", |f| f.class()).to_owned();
            shared.stats.error(&class);
            put_message(&mut out, b'E', body);
            return out;
        }
        PrimaryAway::Away { member, why, waited } => Report::error(
            sqlstate::CANNOT_CONNECT_NOW,
            format!(
                "the primary `{member}` of database `{}` is away since before {:.1} s: {why}",
                shared.name,
                waited.as_secs_f64()
            ),
        )
        .hint("reads outside a transaction go on; try the write again later"),
        PrimaryAway::Busy(count) => Report::error(
            sqlstate::TOO_MANY_CONNECTIONS,
            format!("all {count} connections to the primary of database `{}` are in use", shared.name),
        )
        .hint("each session that has written keeps one: close sessions, or raise `pool_size`"),
    };
    let report = if fatal { Report { severity: database_wire::Severity::Fatal, ..report } } else { report };
    shared.stats.error(&report.code[..2]);
    report.write(&mut out);
    out
}
