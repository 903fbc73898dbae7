//! One connection: logging in, and statements by the simple protocol (PostgreSQL
//! manual, 55.2.3), blocking, each wait no longer than its deadline.

use super::Server;
use base::Address;
use base64::Engine as _;
use bytes::BytesMut;
use database_wire::backend::{self, Authentication};
use database_wire::{ErrorFields, frame, frontend, scram, startup};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// For connecting and logging in.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);

/// `statement_timeout` and `lock_timeout` of our own statements, in milliseconds.
const STATEMENT_LIMIT_MS: &str = "5000";
const LOCK_LIMIT_MS: &str = "1000";

/// All rows of one answer together.
const MAX_ANSWER: usize = 8 << 20;

/// Columns of one answer.
const MAX_COLUMNS: usize = 100;

/// Why a server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The connection failed.
    #[error("cannot ask `{address}`: {error}")]
    Lost {
        /// Where it listens.
        address: Address,
        /// The system's reason.
        error: io::Error,
    },
    /// It wants a way to log in that is not spoken.
    #[error("`{address}` wants {what}; hint: use `scram-sha-256` in pg_hba.conf")]
    Login {
        /// Where it listens.
        address: Address,
        /// What it wants, or what is wrong.
        what: String,
    },
    /// It refused a statement, or the login.
    #[error("`{address}` refuses: {message}")]
    Refused {
        /// Where it listens.
        address: Address,
        /// Its message and SQLSTATE.
        message: String,
    },
    /// It does not speak the protocol as the manual has it.
    #[error("`{address}` does not answer as a PostgreSQL server: {what}")]
    Odd {
        /// Where it listens.
        address: Address,
        /// What came.
        what: String,
    },
}

impl Trouble {
    /// Whether the connection is still of use.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A logged-in connection.
#[derive(Debug)]
pub(super) struct Session {
    stream: Stream,
    address: Address,
    input: BytesMut,
    /// `server_version`, as the server says it.
    pub(super) version: String,
}

impl Session {
    /// Connects and logs in.
    pub(super) fn open(server: &Server, deadline: Instant) -> Result<Self, Trouble> {
        let deadline = deadline.min(Instant::now() + LOGIN_LIMIT);
        let address = server.address.clone();
        let stream = match connect(&address, deadline) {
            Ok(stream) => stream,
            Err(error) => return Err(Trouble::Lost { address, error }),
        };
        let mut session = Self { stream, address, input: BytesMut::new(), version: String::new() };
        let parameters = [
            ("user", &*server.user),
            ("database", &*server.database),
            ("application_name", "bastide agent"),
            ("client_encoding", "UTF8"),
            ("default_transaction_read_only", "on"),
            ("search_path", "pg_catalog"),
            ("statement_timeout", STATEMENT_LIMIT_MS),
            ("lock_timeout", LOCK_LIMIT_MS),
            ("extra_float_digits", "1"),
            ("DateStyle", "ISO"),
        ];
        let mut out = BytesMut::new();
        startup::session(&mut out, &parameters.map(|(name, value)| (name.to_owned(), value.to_owned())));
        session.send(&out, deadline)?;
        session.authenticate(server, deadline)?;
        loop {
            let (tag, body) = session.message(deadline)?;
            match tag {
                b'Z' => return Ok(session),
                b'S' => {
                    if let Ok((b"server_version", value)) = backend::parse_parameter_status(&body) {
                        session.version = String::from_utf8_lossy(value).into_owned();
                    }
                }
                b'E' => return Err(session.refused(&body)),
                b'K' | b'N' => {}
                other => return Err(session.odd(format!("message `{}`", other.escape_ascii()))),
            }
        }
    }

    fn authenticate(&mut self, server: &Server, deadline: Instant) -> Result<(), Trouble> {
        let mut exchange: Option<scram::Client> = None;
        loop {
            let (tag, body) = self.message(deadline)?;
            match tag {
                b'R' => {}
                b'E' => return Err(self.refused(&body)),
                b'N' | b'v' => continue,
                other => return Err(self.odd(format!("message `{}`", other.escape_ascii()))),
            }
            let mut out = BytesMut::new();
            let asked = backend::parse_authentication(&body).map_err(|error| self.odd(error.to_string()))?;
            match (asked, &mut exchange) {
                (Authentication::Ok, _) => return Ok(()),
                (Authentication::Sasl(mechanisms), None) => {
                    if !mechanisms.split(|b| *b == 0).any(|m| m == scram::MECHANISM.as_bytes()) {
                        return Err(self.login("a SASL mechanism other than SCRAM-SHA-256"));
                    }
                    let client = scram::Client::new(server.password.reveal(), &nonce());
                    frontend::sasl_initial(&mut out, scram::MECHANISM, client.first().as_bytes());
                    exchange = Some(client);
                }
                (Authentication::SaslContinue(data), Some(client)) => {
                    let answer = client.answer(data).map_err(|error| self.login(&error.to_string()))?;
                    frontend::sasl_response(&mut out, answer.as_bytes());
                }
                (Authentication::SaslFinal(data), Some(client)) => {
                    client.finish(data).map_err(|error| self.login(&error.to_string()))?;
                }
                (Authentication::Cleartext, _) => return Err(self.login("the password in clear text")),
                (Authentication::Md5, _) => return Err(self.login("the password as MD5")),
                (other, _) => return Err(self.login(&format!("a login that is not spoken ({other:?})"))),
            }
            if !out.is_empty() {
                self.send(&out, deadline)?;
            }
        }
    }

    /// The rows of one statement. After a refusal the connection is of further use.
    pub(super) fn rows(&mut self, sql: &str, deadline: Instant) -> Result<Vec<Vec<Option<String>>>, Trouble> {
        let mut out = BytesMut::new();
        frontend::query(&mut out, sql);
        self.send(&out, deadline)?;
        let mut rows = Vec::new();
        let mut refusal = None;
        let mut length = 0;
        loop {
            let (tag, body) = self.message(deadline)?;
            length += body.len();
            if length > MAX_ANSWER {
                return Err(self.odd(format!("an answer of more than {MAX_ANSWER} bytes")));
            }
            match tag {
                b'D' => {
                    let row = backend::parse_row(&body, MAX_COLUMNS).map_err(|e| self.odd(e.to_string()))?;
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    rows.push(row.into_iter().map(|value| value.map(text)).collect());
                }
                b'E' => refusal = Some(self.refused(&body)),
                b'Z' => break,
                // Headings, the command's tag, notices, settings that changed.
                b'T' | b'C' | b'I' | b'N' | b'S' | b'A' => {}
                other => return Err(self.odd(format!("message `{}`", other.escape_ascii()))),
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(rows),
        }
    }

    fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Trouble> {
        let outcome = self.limit(deadline).and_then(|()| match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        });
        outcome.map_err(|error| self.lost(error))
    }

    /// Tag and body of the next message.
    fn message(&mut self, deadline: Instant) -> Result<(u8, BytesMut), Trouble> {
        loop {
            match frame::header(&self.input) {
                Ok(Some((_, size))) if size > MAX_ANSWER => {
                    return Err(self.odd(format!("a message of {size} bytes")));
                }
                Ok(Some((tag, size))) if self.input.len() >= size => {
                    let mut body = self.input.split_to(size);
                    let _ = body.split_to(frame::HEADER);
                    return Ok((tag, body));
                }
                Ok(_) => {}
                Err(error) => return Err(self.odd(error.to_string())),
            }
            let mut bytes = [0; 8 << 10];
            let read = self.limit(deadline).and_then(|()| match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut bytes),
                Stream::Unix(stream) => stream.read(&mut bytes),
            });
            match read {
                Ok(0) => return Err(self.lost(io::Error::other("it closed the connection"))),
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    fn limit(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time"));
        }
        match &self.stream {
            Stream::Tcp(s) => s.set_read_timeout(Some(left)).and_then(|()| s.set_write_timeout(Some(left))),
            Stream::Unix(s) => s.set_read_timeout(Some(left)).and_then(|()| s.set_write_timeout(Some(left))),
        }
    }

    fn lost(&self, error: io::Error) -> Trouble {
        let timed_out = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        let error = if timed_out {
            io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time")
        } else {
            error
        };
        Trouble::Lost { address: self.address.clone(), error }
    }

    fn login(&self, what: &str) -> Trouble {
        Trouble::Login { address: self.address.clone(), what: what.to_owned() }
    }

    fn odd(&self, what: String) -> Trouble {
        Trouble::Odd { address: self.address.clone(), what }
    }

    fn refused(&self, body: &[u8]) -> Trouble {
        match ErrorFields::parse(body) {
            Ok(fields) => Trouble::Refused { address: self.address.clone(), message: fields.describe() },
            Err(error) => self.odd(error.to_string()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        // Said out of politeness: a server that is gone needs no farewell.
        let _ = self.send(&out, Instant::now() + Duration::from_millis(100));
    }
}

fn connect(address: &Address, deadline: Instant) -> io::Result<Stream> {
    let resolved: Vec<std::net::SocketAddr> = match address {
        Address::Unix(path) => return UnixStream::connect(path).map(Stream::Unix),
        Address::Ip(address) => vec![*address],
        Address::Name(name, port) => (name.as_str(), *port).to_socket_addrs()?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolved {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time"));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Stream::Tcp(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// 18 random bytes as 24 characters (RFC 5802 §5.1: printable, no comma).
fn nonce() -> String {
    let mut bytes = [0; 18];
    sys::random::fill(&mut bytes);
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Secret;

    /// A server that says `bytes` to whoever connects, and then waits.
    fn saying(bytes: Vec<u8>) -> (Server, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(&bytes);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let server = Server {
            name: "x".into(),
            address: Address::Unix(path),
            user: "u".into(),
            password: Secret::new("p"),
            database: "d".into(),
        };
        (server, dir)
    }

    fn open(bytes: &[u8]) -> String {
        let (server, _dir) = saying(bytes.to_vec());
        match Session::open(&server, Instant::now() + Duration::from_millis(300)) {
            Ok(session) => format!("in, {}", session.version),
            Err(trouble) => trouble.to_string(),
        }
    }

    #[test]
    fn logins_that_are_none() {
        let ok = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\x0015.1\0Z\0\0\0\x05I";
        assert_eq!(open(ok), "in, 15.1");
        let cases: &[(&[u8], &str)] = &[
            (b"R\0\0\0\x08\0\0\0\x03", "clear text"),
            (b"R\0\0\0\x0c\0\0\0\x05abcd", "MD5"),
            (b"R\0\0\0\x0d\0\0\0\x0aPLAIN\0\0", "SCRAM-SHA-256"),
            (b"R\0\0\0\x08\0\0\0\x0b", "not spoken"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as a PostgreSQL server"),
            (b"R\0\0\0\x08", "in time"),
            (b"E\0\0\0\x1dSFATAL\0C28P01\0Mwrong pw\0\0", "wrong pw (28P01)"),
        ];
        for (bytes, expected) in cases {
            let said = open(bytes);
            assert!(said.contains(expected), "{said}, not {expected}");
        }
    }
}
