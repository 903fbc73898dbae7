//! One HTTP/1.1 exchange with a target or a receiver: over TCP, TLS or a Unix
//! socket, within a time and a size.

use base::Address;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Where and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Where it answers.
    pub(crate) address: Address,
    /// Whether TLS is spoken there.
    pub(crate) tls: bool,
    /// The `Host` header, and the name its certificate must have.
    pub(crate) host: String,
}

impl Endpoint {
    /// Of an address in a revision.
    pub(crate) fn of(address: &Address, tls: bool) -> Self {
        let host = match address {
            Address::Ip(ip) => ip.to_string(),
            Address::Name(name, port) => format!("{name}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        };
        Self { address: address.clone(), tls, host }
    }

    /// Of `host:port`, `[::1]:port`, or a host alone, whose port is the scheme's.
    pub(crate) fn of_authority(text: &str, tls: bool) -> Result<Self, String> {
        let bare = text.rsplit_once(']').map_or(text, |(_, after)| after);
        let address = match bare.contains(':') {
            true => Address::parse(text)?,
            false => Address::parse(&format!("{text}:{}", if tls { 443 } else { 80 }))?,
        };
        if matches!(address, Address::Unix(_)) {
            return Err(format!("`{text}` is not `host:port`"));
        }
        Ok(Self { address, tls, host: text.to_owned() })
    }

    /// Of a URL, with its path and query.
    pub(crate) fn of_url(url: &str) -> Result<(Self, String), String> {
        let (tls, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return Err(format!("`{url}` is not a URL; hint: `http://host:port/path`")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok((Self::of_authority(authority, tls)?, format!("{slash}{path}")))
    }

    /// The host without its port: the name that its certificate must have.
    pub(crate) fn host_name(&self) -> &str {
        let host = match self.host.rsplit_once(':') {
            // A bare IPv6 address in brackets has colons of its own.
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.host,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// `GET` or `POST`.
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: &'a str,
    /// Further header lines.
    pub(crate) headers: &'a [(HeaderName, &'a str)],
    /// The body.
    pub(crate) body: Bytes,
    /// For all of it, from looking up the name to the last byte.
    pub(crate) timeout: Duration,
    /// Bytes of the answer's body, at most.
    pub(crate) max_body: usize,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
}

/// Performs one exchange on a connection of its own. The error is a fragment
/// for a message.
pub(crate) async fn fetch(endpoint: &Endpoint, exchange: Exchange<'_>) -> Result<Answer, String> {
    let timeout = exchange.timeout;
    match tokio::time::timeout(timeout, Box::pin(connect_and_send(endpoint, exchange))).await {
        Ok(result) => result,
        Err(_) => Err(format!("no complete answer within {timeout:?}")),
    }
}

async fn connect_and_send(endpoint: &Endpoint, exchange: Exchange<'_>) -> Result<Answer, String> {
    let refused = |error: std::io::Error| format!("cannot connect to `{}`: {error}", endpoint.address);
    let stream = match &endpoint.address {
        Address::Unix(path) => {
            return send(UnixStream::connect(path).await.map_err(refused)?, endpoint, exchange).await;
        }
        Address::Ip(address) => TcpStream::connect(address).await.map_err(refused)?,
        Address::Name(name, port) => TcpStream::connect((name.as_str(), *port)).await.map_err(refused)?,
    };
    let _ = stream.set_nodelay(true); // Saves a wait, and its failure costs only that.
    if !endpoint.tls {
        return send(stream, endpoint, exchange).await;
    }
    let name = endpoint.host_name();
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("`{name}` is no name that a certificate could have"))?;
    let connector = TlsConnector::from(client_config()?);
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| format!("TLS with `{}` failed: {error}", endpoint.address))?;
    send(stream, endpoint, exchange).await
}

async fn send<S>(stream: S, endpoint: &Endpoint, exchange: Exchange<'_>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: &dyn std::fmt::Display| format!("HTTP with `{}` failed: {error}", endpoint.address);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    // The connection's own errors reach us through the sender.
    let driver = AbortOnDrop(tokio::spawn(connection));
    let mut request = Request::new(Full::new(exchange.body));
    *request.method_mut() = exchange.method;
    *request.uri_mut() = exchange.target.parse().map_err(|e| failed(&e))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&endpoint.host).map_err(|e| failed(&e))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("bastide/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in exchange.headers {
        headers.insert(name.clone(), HeaderValue::from_str(value).map_err(|e| failed(&e))?);
    }
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let status = response.status().as_u16();
    // Read to its end, so that the other side is not cut off.
    Limited::new(response.into_body(), exchange.max_body).collect().await.map_err(|error| {
        match error.is::<http_body_util::LengthLimitError>() {
            true => format!("the answer is larger than {} bytes", exchange.max_body),
            false => failed(&error),
        }
    })?;
    drop(driver);
    Ok(Answer { status })
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where distributions keep the roots they trust (the list of Go's `crypto/x509`).
pub(crate) const ROOT_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of the system's roots, or `SSL_CERT_FILE`.
pub(crate) fn root_file() -> Result<std::path::PathBuf, String> {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let found =
        named.or_else(|| ROOT_FILES.iter().map(std::path::PathBuf::from).find(|path| path.is_file())).ok_or(
            "no file of trusted root certificates; hint: install `ca-certificates` or set SSL_CERT_FILE",
        )?;
    Ok(found)
}

/// Who is trusted unless told otherwise: the system's roots, or those of
/// `SSL_CERT_FILE`; read once.
pub(crate) fn system_roots() -> Result<Arc<rustls::RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<rustls::RootCertStore>, String>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let path = root_file()?;
            let pem = std::fs::read(&path)
                .map_err(|error| format!("cannot read the trusted roots `{}`: {error}", path.display()))?;
            let roots: Vec<CertificateDer<'static>> =
                rustls_pemfile::certs(&mut pem.as_slice()).flatten().collect();
            let mut store = rustls::RootCertStore::empty();
            let (added, _) = store.add_parsable_certificates(roots);
            if added == 0 {
                return Err(format!(
                    "no certificate in `{}`; hint: reinstall `ca-certificates`",
                    path.display()
                ));
            }
            Ok(Arc::new(store))
        })
        .clone()
}

/// TLS as clients speak it where nothing else is configured.
pub(crate) fn client_config() -> Result<Arc<rustls::ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<rustls::ClientConfig>, String>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(system_roots()?)
                .with_no_client_auth();
            Ok(Arc::new(config))
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const URL: &str = "BASTIDE_TEST_TLS_ADDRESS";
    const EXPECTED: &str = "BASTIDE_TEST_TLS_EXPECTED";

    /// Run by the test below, with `SSL_CERT_FILE` set: a process may not change its own.
    #[tokio::test]
    async fn tls_child() {
        let Ok(address) = std::env::var(URL) else { return };
        let endpoint = Endpoint::of(&Address::parse(&address).unwrap(), true);
        let exchange = Exchange {
            method: Method::GET,
            target: "/",
            headers: &[],
            body: Bytes::new(),
            timeout: Duration::from_secs(10),
            max_body: 1_000,
        };
        let got = match fetch(&endpoint, exchange).await {
            Ok(answer) => format!("status {}", answer.status),
            Err(why) => why,
        };
        let expected = std::env::var(EXPECTED).unwrap();
        assert!(got.contains(&expected), "{got}");
    }

    #[test]
    fn only_a_certificate_of_a_trusted_root_and_the_right_name_is_spoken_to() {
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (right, other) = (made("localhost"), made("localhost"));
        let key = rustls::pki_types::PrivateKeyDer::try_from(right.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![right.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut tls = rustls::StreamOwned::new(connection, stream);
                // A client that refuses us ends the connection, which is its right.
                if tls.read(&mut [0; 1_000]).is_ok() {
                    let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nwelcome");
                }
            }
        });
        let dir = tempfile::tempdir().unwrap();
        for (name, cert) in [("right.pem", &right), ("other.pem", &other)] {
            std::fs::write(dir.path().join(name), cert.cert.pem()).unwrap();
        }
        std::fs::write(dir.path().join("empty.pem"), "").unwrap();
        let cases = [
            ("right.pem", "localhost", "status 200"),
            ("other.pem", "localhost", "TLS with"),
            ("right.pem", "127.0.0.1", "TLS with"),
            ("empty.pem", "localhost", "no certificate in"),
            ("missing.pem", "localhost", "cannot read the trusted roots"),
        ];
        for (roots, host, expected) in cases {
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "fetch::tests::tls_child", "--nocapture"])
                .env("SSL_CERT_FILE", dir.path().join(roots))
                .env(URL, format!("{host}:{port}"))
                .env(EXPECTED, expected)
                .output()
                .unwrap();
            let said =
                String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
            assert!(child.status.success() && said.contains("1 passed"), "{roots} {host}: {said}");
        }
    }
}
