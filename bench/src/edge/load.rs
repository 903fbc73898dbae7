//! The load: connections that each send one request after the other (HTTP/2:
//! one a stream) and check every answer, status, length and bytes.
//!
//! A phase runs until its time is over and then lets what is in flight finish,
//! so that the count is exact and nothing runs while CPU time is read.

use super::origin;
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Nothing on a loopback takes longer; a contender that does has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    /// HTTP/1.1 with keep-alive, in the clear.
    Plain,
    /// HTTP/1.1 with keep-alive over TLS 1.3.
    Tls,
    /// HTTP/1.1 over TLS 1.3, a new connection and a full handshake for each.
    Handshake,
    /// HTTP/2 over TLS 1.3, this many streams at once on each connection.
    Http2 {
        /// Streams at once.
        streams: usize,
    },
}

/// What is sent, and how much at once.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) travel: Travel,
    pub(crate) connections: usize,
    /// Of the body asked for; 0 sends a POST instead.
    pub(crate) body: usize,
}

/// Where a contender answers, and the authority of its certificate.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) authority: CertificateDer<'static>,
}

/// Open connections, ready for the next phase.
pub(crate) struct Load {
    clients: Vec<Client>,
}

enum Client {
    Plain(Http1<TcpStream>),
    Tls(Box<Http1<tokio_rustls::client::TlsStream<TcpStream>>>),
    Handshake { connector: TlsConnector, address: SocketAddr, request: Arc<Request> },
    Http2 { sender: h2::client::SendRequest<Bytes>, streams: usize, request: Arc<Request> },
}

/// The bytes sent and the body expected.
struct Request {
    path: String,
    bytes: Vec<u8>,
    expected: Vec<u8>,
}

impl Load {
    /// Opens all connections (a plan of handshakes opens them as it goes).
    pub(crate) async fn open(plan: &Plan, site: &Site) -> Result<Self, String> {
        let request = Arc::new(Request::new(plan));
        let connector = connector(&site.authority, matches!(plan.travel, Travel::Http2 { .. }))?;
        let mut clients = Vec::with_capacity(plan.connections);
        for _ in 0..plan.connections {
            clients.push(Client::open(plan.travel, site, &connector, &request).await?);
        }
        Ok(Self { clients })
    }

    /// Runs all connections for `duration`, then until what is in flight is
    /// answered; returns the number of answers.
    pub(crate) async fn run(&mut self, duration: Duration) -> Result<u64, String> {
        let deadline = Instant::now() + duration;
        let mut running = JoinSet::new();
        for mut client in self.clients.drain(..) {
            running.spawn(async move {
                let count = tokio::time::timeout(duration + PATIENCE, client.run(deadline)).await;
                (client, count.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))))
            });
        }
        let (mut sum, mut problem) = (0, None);
        while let Some(joined) = running.join_next().await {
            let (client, count) = joined.map_err(|error| format!("a connection's task ended: {error}"))?;
            self.clients.push(client);
            match count {
                Ok(count) => sum += count,
                Err(error) => problem = Some(error),
            }
        }
        problem.map_or(Ok(sum), Err)
    }
}

/// TLS 1.3 with one key exchange and one cipher that every contender has, so
/// that all do the same work; no resumption.
fn connector(authority: &CertificateDer<'static>, http2: bool) -> Result<TlsConnector, String> {
    use rustls::crypto::aws_lc_rs::{
        cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider, kx_group::X25519,
    };
    let mut provider = default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![X25519];
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(|error| format!("the bench's own authority: {error}"))?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, String> {
    let stream =
        TcpStream::connect(address).await.map_err(|error| format!("connecting to {address}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("TCP_NODELAY: {error}"))?;
    Ok(stream)
}

async fn tls(
    connector: &TlsConnector,
    address: SocketAddr,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    connector.connect(name, tcp(address).await?).await.map_err(|error| format!("TLS with {address}: {error}"))
}

impl Request {
    fn new(plan: &Plan) -> Self {
        let close = if plan.travel == Travel::Handshake { "Connection: close\r\n" } else { "" };
        let fields = format!("Host: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n{close}");
        if plan.body == 0 {
            let posted = origin::body(1 << 10);
            let head = format!("POST /post HTTP/1.1\r\n{fields}Content-Length: {}\r\n\r\n", posted.len());
            let bytes = [head.into_bytes(), posted].concat();
            return Self { path: "/post".to_owned(), bytes, expected: b"taken, thank you".to_vec() };
        }
        let path =
            origin::PATHS.iter().find(|(_, length)| *length == plan.body).map_or("/", |(path, _)| path);
        let bytes = format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into_bytes();
        Self { path: path.to_owned(), bytes, expected: origin::body(plan.body) }
    }
}

impl Client {
    async fn open(
        travel: Travel,
        site: &Site,
        connector: &TlsConnector,
        request: &Arc<Request>,
    ) -> Result<Self, String> {
        let request = Arc::clone(request);
        Ok(match travel {
            Travel::Plain => Self::Plain(Http1::new(tcp(site.plain).await?, request)),
            Travel::Tls => Self::Tls(Box::new(Http1::new(tls(connector, site.tls).await?, request))),
            Travel::Handshake => Self::Handshake { connector: connector.clone(), address: site.tls, request },
            Travel::Http2 { streams } => {
                let (sender, connection) = h2::client::Builder::new()
                    .initial_window_size(1 << 20)
                    .initial_connection_window_size(16 << 20)
                    .handshake(tls(connector, site.tls).await?)
                    .await
                    .map_err(|error| format!("HTTP/2 with {}: {error}", site.tls))?;
                // Ends when the last sender is dropped; its errors come to light in requests.
                tokio::spawn(async move { drop(connection.await) });
                Self::Http2 { sender, streams, request }
            }
        })
    }

    /// Sends until `deadline`, at least once; returns how many were answered.
    async fn run(&mut self, deadline: Instant) -> Result<u64, String> {
        let mut count = 0;
        match self {
            Self::Plain(client) => count = client.run(deadline).await?,
            Self::Tls(client) => count = client.run(deadline).await?,
            Self::Handshake { connector, address, request } => {
                while count == 0 || Instant::now() < deadline {
                    let stream = tls(connector, *address).await?;
                    let mut client = Http1::new(stream, Arc::clone(request));
                    client.exchange().await?;
                    count += 1;
                    // close_notify, as a polite client sends.
                    let _ = client.stream.shutdown().await;
                }
            }
            Self::Http2 { sender, streams, request } => {
                let mut running = JoinSet::new();
                for _ in 0..*streams {
                    running.spawn(http2_stream(sender.clone(), Arc::clone(request), deadline));
                }
                while let Some(joined) = running.join_next().await {
                    count += joined.map_err(|error| format!("a stream's task ended: {error}"))??;
                }
            }
        }
        Ok(count)
    }
}

async fn http2_stream(
    sender: h2::client::SendRequest<Bytes>,
    request: Arc<Request>,
    deadline: Instant,
) -> Result<u64, String> {
    let fail = |error: h2::Error| format!("HTTP/2: {error}");
    let mut count = 0;
    while count == 0 || Instant::now() < deadline {
        let head = http::Request::get(format!("https://localhost{}", request.path))
            .header("user-agent", "bench")
            .header("accept", "*/*")
            .body(())
            .map_err(|error| format!("HTTP/2: {error}"))?;
        let mut ready = sender.clone().ready().await.map_err(fail)?;
        let (response, _) = ready.send_request(head, true).map_err(fail)?;
        let response = response.await.map_err(fail)?;
        if response.status() != 200 {
            return Err(format!("answered {}", response.status()));
        }
        let mut body = response.into_body();
        let mut seen = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(fail)?;
            seen = compare(&request.expected, seen, &piece)?;
            body.flow_control().release_capacity(piece.len()).map_err(fail)?;
        }
        whole(&request.expected, seen)?;
        count += 1;
    }
    Ok(count)
}

/// One HTTP/1.1 connection.
struct Http1<S> {
    stream: S,
    buffer: Vec<u8>,
    request: Arc<Request>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    fn new(stream: S, request: Arc<Request>) -> Self {
        Self { stream, buffer: Vec::with_capacity(64 << 10), request }
    }

    async fn run(&mut self, deadline: Instant) -> Result<u64, String> {
        let mut count = 0;
        while count == 0 || Instant::now() < deadline {
            self.exchange().await?;
            count += 1;
        }
        Ok(count)
    }

    /// One request and its whole answer.
    async fn exchange(&mut self) -> Result<(), String> {
        let fail = |error: std::io::Error| format!("HTTP/1.1: {error}");
        self.stream.write_all(&self.request.bytes).await.map_err(fail)?;
        self.stream.flush().await.map_err(fail)?;
        self.buffer.clear();
        let (head, length) = loop {
            if self.stream.read_buf(&mut self.buffer).await.map_err(fail)? == 0 {
                return Err("HTTP/1.1: closed before an answer".to_owned());
            }
            if let Some(parsed) = parse(&self.buffer)? {
                break parsed;
            }
        };
        let expected = &self.request.expected;
        if length != expected.len() {
            return Err(format!("a body of {length} bytes was announced, not {}", expected.len()));
        }
        let mut seen = compare(expected, 0, &self.buffer[head..])?;
        while seen < length {
            self.buffer.clear();
            if self.stream.read_buf(&mut self.buffer).await.map_err(fail)? == 0 {
                break;
            }
            seen = compare(expected, seen, &self.buffer)?;
        }
        whole(expected, seen)
    }
}

/// Lengths of head and body, once the head is whole.
fn parse(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).map_err(|e| format!("HTTP/1.1: {e}"))?
    else {
        return Ok(None);
    };
    if response.code != Some(200) {
        return Err(format!("answered {}", response.code.unwrap_or_default()));
    }
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse().ok());
    Ok(Some((head, length.ok_or("answered without a Content-Length")?)))
}

/// Compares a piece of a body at `seen`; returns where the next begins.
fn compare(expected: &[u8], seen: usize, piece: &[u8]) -> Result<usize, String> {
    let end = seen + piece.len();
    match expected.get(seen..end) {
        Some(same) if same == piece => Ok(end),
        Some(_) => Err(format!("the body differs between bytes {seen} and {end}")),
        None => Err(format!("the body goes on after its {} bytes", expected.len())),
    }
}

fn whole(expected: &[u8], seen: usize) -> Result<(), String> {
    if seen == expected.len() {
        Ok(())
    } else {
        Err(format!("the body ended after {seen} of {} bytes", expected.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked() {
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(parse(ok), Ok(Some((38, 3))));
        assert_eq!(parse(&ok[..20]), Ok(None));
        for bad in [
            &b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"SSH-2.0-x\r\n\r\n",
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn bodies_are_compared_piece_by_piece() {
        assert_eq!(compare(b"abcdef", 0, b"abc"), Ok(3));
        assert_eq!(compare(b"abcdef", 3, b"def"), Ok(6));
        assert!(compare(b"abcdef", 3, b"dex").is_err());
        assert!(compare(b"abcdef", 3, b"defg").is_err());
        assert!(whole(b"abcdef", 5).is_err() && whole(b"abcdef", 6).is_ok());
    }
}
