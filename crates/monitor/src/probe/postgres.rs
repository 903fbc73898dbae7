//! A PostgreSQL server: its first answer, or a login and `select 1`.

use super::net;
use super::{Findings, settings::Postgres};
use base64::Engine as _;
use bytes::BytesMut;
use database_wire::backend::{self, Authentication};
use database_wire::{ErrorFields, frame, frontend, scram, startup};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PHASES: &str = "probe_postgres_duration_seconds";

/// A longer message is no answer of a server that is well.
const MAX_MESSAGE: usize = 1 << 20;

/// Messages of one exchange.
const MAX_MESSAGES: usize = 1_000;

/// Tries a server.
pub(crate) async fn probe(postgres: &Postgres, findings: &mut Findings) -> Result<(), String> {
    let (host, port) = net::host_and_port(&postgres.address)?;
    let began = Instant::now();
    let address = net::resolve(host, port, findings).await;
    findings.phase(PHASES, "resolve", began);
    let address = address?;
    let began = Instant::now();
    let stream = net::connect(address).await;
    findings.phase(PHASES, "connect", began);
    let mut session = Session { stream: stream?, input: BytesMut::new() };

    let began = Instant::now();
    let user = postgres.login.as_ref().map_or("bastide_probe", |(user, _)| user.as_str());
    let parameters =
        [("user", user), ("database", &*postgres.database), ("application_name", "bastide probe")];
    let mut out = BytesMut::new();
    startup::session(&mut out, &parameters.map(|(name, value)| (name.to_owned(), value.to_owned())));
    session.send(&out).await?;
    let Some((_, password)) = &postgres.login else {
        let answered = session.first_answer().await;
        findings.phase(PHASES, "login", began);
        return answered;
    };
    let logged_in = session.log_in(password.reveal()).await;
    findings.phase(PHASES, "login", began);
    logged_in?;
    let began = Instant::now();
    let queried = session.select_one().await;
    findings.phase(PHASES, "query", began);
    queried
}

struct Session {
    stream: TcpStream,
    input: BytesMut,
}

impl Session {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| format!("the server is lost: {error}"))
    }

    async fn message(&mut self) -> Result<(u8, BytesMut), String> {
        loop {
            match frame::header(&self.input) {
                Ok(Some((_, size))) if size > MAX_MESSAGE => return Err(odd("a message that is too long")),
                Ok(Some((tag, size))) if self.input.len() >= size => {
                    let mut body = self.input.split_to(size);
                    let _ = body.split_to(frame::HEADER);
                    return Ok((tag, body));
                }
                Ok(_) => {}
                Err(_) => return Err(odd("something that is no message")),
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("the server is lost: {error}")),
            }
        }
    }

    /// Without a login: a server that asks for a password, or refuses this user, is
    /// there and works. One that starts, stops, or has no room is not well.
    async fn first_answer(&mut self) -> Result<(), String> {
        let (tag, body) = self.message().await?;
        match tag {
            b'R' | b'v' => Ok(()),
            b'E' => match ErrorFields::parse(&body) {
                // Class 28: invalid authorization. 3D000: no such database.
                Ok(fields) if fields.class() == "28" || fields.class() == "3D" => Ok(()),
                Ok(fields) => Err(refused(&fields)),
                Err(_) => Err(odd("an error that is none")),
            },
            _ => Err(odd("something else than an answer to a login")),
        }
    }

    async fn log_in(&mut self, password: &str) -> Result<(), String> {
        let mut exchange: Option<scram::Client> = None;
        for _ in 0..MAX_MESSAGES {
            let (tag, body) = self.message().await?;
            match tag {
                b'R' => {}
                b'Z' => return Ok(()),
                b'E' => return Err(error(&body)),
                b'N' | b'v' | b'S' | b'K' => continue,
                _ => return Err(odd("something else than a login")),
            }
            let mut out = BytesMut::new();
            let asked = backend::parse_authentication(&body).map_err(|_| odd("a login that is none"))?;
            match (asked, &mut exchange) {
                (Authentication::Ok, _) => continue,
                (Authentication::Sasl(mechanisms), None) => {
                    if !mechanisms.split(|b| *b == 0).any(|m| m == scram::MECHANISM.as_bytes()) {
                        return Err("the server wants another login than SCRAM-SHA-256".to_owned());
                    }
                    let mut nonce = [0; 18];
                    sys::random::fill(&mut nonce);
                    let nonce = base64::engine::general_purpose::STANDARD.encode(nonce);
                    let client = scram::Client::new(password, &nonce);
                    frontend::sasl_initial(&mut out, scram::MECHANISM, client.first().as_bytes());
                    exchange = Some(client);
                }
                (Authentication::SaslContinue(data), Some(client)) => {
                    let answer = client.answer(data).map_err(|error| format!("the login failed: {error}"))?;
                    frontend::sasl_response(&mut out, answer.as_bytes());
                }
                (Authentication::SaslFinal(data), Some(client)) => {
                    client.finish(data).map_err(|error| format!("the login failed: {error}"))?;
                    continue;
                }
                // A password goes to nobody who asks for it as it is, or as MD5.
                _ => {
                    return Err(
                        "the server wants another login than SCRAM-SHA-256; hint: `scram-sha-256` in pg_hba.conf"
                            .to_owned(),
                    );
                }
            }
            self.send(&out).await?;
        }
        Err(odd("no end of messages"))
    }

    async fn select_one(&mut self) -> Result<(), String> {
        let mut out = BytesMut::new();
        frontend::query(&mut out, "select 1");
        self.send(&out).await?;
        let mut answered = false;
        for _ in 0..MAX_MESSAGES {
            let (tag, body) = self.message().await?;
            match tag {
                b'D' => answered = backend::parse_row(&body, 8).is_ok_and(|row| row == [Some(&b"1"[..])]),
                b'E' => return Err(error(&body)),
                b'Z' if answered => {
                    out.clear();
                    frontend::terminate(&mut out);
                    return self.send(&out).await;
                }
                b'Z' => return Err(odd("something else than 1 to `select 1`")),
                _ => {}
            }
        }
        Err(odd("no end of messages"))
    }
}

fn odd(what: &str) -> String {
    format!("it does not answer as a PostgreSQL server: it sends {what}")
}

fn error(body: &[u8]) -> String {
    ErrorFields::parse(body).map_or_else(|_| odd("an error that is none"), |fields| refused(&fields))
}

fn refused(fields: &ErrorFields<'_>) -> String {
    format!("the server refuses: {}", fields.describe())
}
