//! Raw bytes to a site and its answer back, over TCP or TLS, from an address of
//! loopback that nobody else has: the site's events then say whose they are, and the
//! bytes are sent as they are.

use role::Fault;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// An answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// And read so far.
const LONGEST_ANSWER: usize = 4 << 20;

/// Where requests go.
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    next: AtomicU32,
}

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) bytes: Vec<u8>,
    pub(crate) location: Option<String>,
    pub(crate) cookies: Vec<String>,
}

impl Destination {
    /// `https://localhost:8443`. Only this machine's sites: their events are read from
    /// the log beside.
    pub(crate) fn of(url: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new(format!("`{}` is no address of a site", crate::terminal::escape(url)))
                .hint("write it like `https://localhost:8443`")
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(wrong()),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, default_port),
        };
        let name = host.trim_matches(['[', ']']).to_owned();
        let found = (name.as_str(), port)
            .to_socket_addrs()
            .map_err(|e| Fault::new(format!("`{}` has no address: {e}", crate::terminal::escape(&name))))?;
        // IPv4: loopback has an address for each request there.
        let mut all: Vec<SocketAddr> = found.collect();
        all.sort_by_key(|address| !address.is_ipv4());
        let address = *all.first().ok_or_else(wrong)?;
        if !address.is_ipv4() {
            return Err(Fault::new(format!("`{url}` is reached over IPv6 only"))
                .hint("name an IPv4 address of this machine"));
        }
        let tls = match scheme {
            "https" => {
                let server = ServerName::try_from(name).map_err(|_| wrong())?;
                Some((Arc::new(config()?), server))
            }
            _ => None,
        };
        // Another run's addresses are others.
        let first = sys::random::u64() as u32;
        Ok(Self { address, tls, next: AtomicU32::new(first) })
    }

    /// Sends a request from an address of its own; that, and what was answered.
    pub(crate) fn send(&self, request: &[u8]) -> (IpAddr, Result<Answer, String>) {
        let from = self.own_address();
        (from.into(), self.exchange(from, request))
    }

    fn own_address(&self) -> Ipv4Addr {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // 127.64.0.1 and on: no network or broadcast address, none that services listen on.
        let (high, low) = ((number / 253) % (128 << 8), number % 253 + 1);
        Ipv4Addr::new(127, 64 + (high >> 8) as u8, high as u8, low as u8)
    }

    fn exchange(&self, from: Ipv4Addr, request: &[u8]) -> Result<Answer, String> {
        let stream = self.connect(from).map_err(|e| format!("cannot connect to {}: {e}", self.address))?;
        match &self.tls {
            None => converse(stream, request),
            Some((config, name)) => {
                let session =
                    ClientConnection::new(config.clone(), name.clone()).map_err(|e| e.to_string())?;
                converse(StreamOwned::new(session, stream), request)
            }
        }
    }

    fn connect(&self, from: Ipv4Addr) -> std::io::Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
        bind(&socket, &SocketAddr::from((from, 0)))?;
        connect(&socket, &self.address)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> Result<Answer, String> {
    // An edge that refuses early may close before all is written: its answer counts.
    let written = stream.write_all(request).and_then(|()| stream.flush());
    let mut bytes = Vec::new();
    let mut block = [0; 16 << 10];
    let no_body = request.starts_with(b"HEAD ");
    let broken = loop {
        match stream.read(&mut block) {
            Ok(0) => break None,
            Ok(count) => bytes.extend_from_slice(&block[..count]),
            Err(error) => break Some(error),
        }
        if bytes.len() > LONGEST_ANSWER || is_whole(&bytes, no_body) {
            break None;
        }
    };
    match read(&bytes) {
        Some(answer) => Ok(answer),
        None => Err(match (broken, written) {
            (Some(error), _) if error.kind() == std::io::ErrorKind::WouldBlock => {
                format!("none within {} s", PATIENCE.as_secs())
            }
            (Some(error), _) | (None, Err(error)) => error.to_string(),
            (None, Ok(())) => "the connection was closed without one".to_owned(),
        }),
    }
}

/// The final answer's head without its last empty line, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    loop {
        let end = memchr::memmem::find(rest, b"\r\n\r\n")?;
        let (head, body) = (&rest[..end], &rest[end + 4..]);
        // RFC 9110 §15.2: interim answers come before the one that counts.
        match status(head)? {
            100..200 => rest = body,
            _ => return Some((head, body)),
        }
    }
}

fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

fn headers<'a>(head: &'a [u8], name: &'a str) -> impl Iterator<Item = String> + 'a {
    head.split(|b| *b == b'\n').skip(1).filter_map(move |line| {
        let colon = memchr::memchr(b':', line)?;
        let is = line[..colon].eq_ignore_ascii_case(name.as_bytes());
        is.then(|| String::from_utf8_lossy(&line[colon + 1..]).trim().to_owned())
    })
}

/// Whether the answer's end is there (RFC 9112 §6.3), as far as it can be known
/// before the connection is closed.
fn is_whole(bytes: &[u8], no_body: bool) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    if no_body || matches!(status(head), Some(204 | 304)) {
        return true;
    }
    if headers(head, "transfer-encoding").any(|value| value.eq_ignore_ascii_case("chunked")) {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = headers(head, "content-length").next().and_then(|value| value.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

fn read(bytes: &[u8]) -> Option<Answer> {
    let (head, _) = split(bytes)?;
    Some(Answer {
        status: status(head)?,
        bytes: bytes.to_vec(),
        location: headers(head, "location").next(),
        cookies: headers(head, "set-cookie").filter_map(|c| Some(c.split(';').next()?.to_owned())).collect(),
    })
}

/// Any certificate will do: the site is on this machine, and nothing secret is sent,
/// only attacks.
fn config() -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Fault::new(format!("cannot set TLS up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(edge_cert::Anyone::new(provider)))
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answers_end_where_their_framing_says() {
        let cases: [(&[u8], bool); 7] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", false),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", true),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", false),
            (b"HTTP/1.1 204 No Content\r\n\r\n", true),
            (b"HTTP/1.1 100 Continue\r\n\r\n", false),
            (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", false),
        ];
        for (bytes, whole) in cases {
            assert_eq!(is_whole(bytes, false), whole, "{}", String::from_utf8_lossy(bytes));
        }
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true));
        let answer =
            read(b"HTTP/1.1 303 See Other\r\nLocation: /x\r\nset-cookie: a=b; Path=/\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.location.as_deref()), (303, Some("/x")));
        assert_eq!(answer.cookies, ["a=b"]);
        assert!(read(b"garbage\r\n\r\n").is_none());
    }

    #[test]
    fn each_request_comes_from_an_address_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let (mut stream, peer) = listener.accept().unwrap();
                let mut block = [0; 64];
                assert!(stream.read(&mut block).unwrap() > 0);
                stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").unwrap();
                seen.push(peer.ip());
            }
            seen
        });
        let destination = Destination::of(&url).unwrap();
        let sent = [0, 1].map(|_| destination.send(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(sent.iter().all(|(_, answer)| answer.as_ref().is_ok_and(|a| a.status == 403)), "{sent:?}");
        let peers = server.join().unwrap();
        assert_eq!(peers, sent.map(|(from, _)| from));
        assert_ne!(peers[0], peers[1]);
        for wrong in ["localhost", "ftp://localhost", "http://localhost:x"] {
            assert!(Destination::of(wrong).is_err(), "{wrong}");
        }
    }
}
