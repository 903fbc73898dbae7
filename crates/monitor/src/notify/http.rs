//! One HTTP/1.1 exchange with a receiver.

use crate::fetch;
use base::Address;
use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use monitor_alert::manager::config::{Authorization, Http};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of a receiver's answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// Where a receiver is. Its `Debug` shows no secret.
#[derive(Clone)]
pub(crate) struct Target {
    address: Address,
    tls: bool,
    /// The `Host` header, and the name its certificate must have.
    host: String,
    path: String,
    authorization: Option<String>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.address)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) retry_after_ms: Option<u64>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) struct Problem {
    /// A fragment for a message.
    pub(crate) why: String,
    /// The request may have arrived.
    pub(crate) unsure: bool,
}

impl Target {
    /// Reads `http://` or `https://`, with user and password where there are any.
    /// The error ends the sentence "its URL …" and holds no part of it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.trim().parse().map_err(|_| "is not a URL".to_owned())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("does not begin with `http://` or `https://`".to_owned()),
        };
        let authority = uri.authority().ok_or("names no host")?;
        let host = authority.host();
        let after_user = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, rest)| rest);
        let port_text = after_user.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
        let port: u16 = match port_text {
            Some(text) => text.parse().map_err(|_| "has a port that is none".to_owned())?,
            None if tls => 443,
            None => 80,
        };
        let address = Address::parse(&format!("{host}:{port}")).map_err(|_| "names no host".to_owned())?;
        // The default port is left out of `Host`.
        let host = if port_text.is_none() { host.to_owned() } else { after_user.to_owned() };
        let authorization = authority.as_str().rsplit_once('@').map(|(user, _)| basic(&percent_decode(user)));
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Ok(Self { address, tls, host, path, authorization })
    }

    /// Where it is, without what may be secret.
    pub(crate) fn place(&self) -> String {
        self.address.to_string()
    }

    /// Path and query.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// For an exchange without more.
    pub(crate) fn endpoint(&self) -> fetch::Endpoint {
        fetch::Endpoint { address: self.address.clone(), tls: self.tls, host: self.host.clone() }
    }

    /// Parts that must not be shown.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let secret = self.authorization.as_deref().and_then(|a| a.split_once(' ')).map(|(_, s)| s.to_owned());
        std::iter::once(self.path.clone()).filter(|p| p.len() > 1).chain(secret).collect()
    }

    /// Takes what the settings say of logging in; they go before the URL.
    pub(crate) fn authorize(&mut self, settings: &Http) {
        match &settings.authorization {
            Some(Authorization::Basic { user, password }) => {
                self.authorization = Some(basic(&format!("{user}:{}", password.reveal())));
            }
            Some(Authorization::Token { scheme, credentials }) => {
                self.authorization = Some(format!("{scheme} {}", credentials.reveal()));
            }
            None => {}
        }
    }

    /// One POST of JSON on a connection of its own.
    pub(crate) async fn post(
        &self,
        body: Vec<u8>,
        tls: Arc<ClientConfig>,
        timeout: Duration,
    ) -> Result<Answer, Problem> {
        let sent = AtomicBool::new(false);
        let work = Box::pin(self.connect_and_send(body, tls, &sent));
        let result = match tokio::time::timeout(timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("`{}` gave no complete answer within {timeout:?}", self.address)),
        };
        result.map_err(|why| Problem { why, unsure: sent.load(Ordering::Relaxed) })
    }

    async fn connect_and_send(
        &self,
        body: Vec<u8>,
        tls: Arc<ClientConfig>,
        sent: &AtomicBool,
    ) -> Result<Answer, String> {
        let refused = |error: std::io::Error| format!("cannot connect to `{}`: {error}", self.address);
        let stream = match &self.address {
            Address::Ip(address) => TcpStream::connect(address).await.map_err(refused)?,
            Address::Name(name, port) => TcpStream::connect((name.as_str(), *port)).await.map_err(refused)?,
            Address::Unix(_) => return Err("a receiver is not on a Unix socket".to_owned()),
        };
        let _ = stream.set_nodelay(true); // Saves a wait, and its failure costs only that.
        if !self.tls {
            return self.send(stream, body, sent).await;
        }
        let name = server_name(&self.host)?;
        let stream = TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS with `{}` failed: {error}", self.address))?;
        self.send(stream, body, sent).await
    }

    async fn send<S>(&self, stream: S, body: Vec<u8>, sent: &AtomicBool) -> Result<Answer, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error: &dyn std::fmt::Display| format!("HTTP with `{}` failed: {error}", self.address);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        // The connection's own errors reach us through the sender.
        let driver = AbortOnDrop(tokio::spawn(connection));
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        // The path is a secret, and its error would show it.
        *request.uri_mut() = self.path.parse().map_err(|_| failed(&"the URL's path cannot be sent"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&self.host).map_err(|e| failed(&e))?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("bastide/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            let mut value = HeaderValue::from_str(authorization)
                .map_err(|_| failed(&"the authorization cannot be sent in a header"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        sent.store(true, Ordering::Relaxed);
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = response.status().as_u16();
        let retry_after_ms = response.headers().get(RETRY_AFTER).and_then(|v| retry_after(v.to_str().ok()?));
        // What the receiver says is for people; its status has decided already.
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
        drop(driver);
        Ok(Answer { status, body, retry_after_ms })
    }
}

fn basic(pair: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return seconds.checked_mul(1_000);
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let at_ms = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    Some(u64::try_from(at_ms).ok()?.saturating_sub(sys::clock::now_ms()))
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("`{name}` is no name that a certificate could have"))
}

/// `%41` and the like; `+` stays.
fn percent_decode(text: &str) -> String {
    let kept = text.replace('+', "%2B");
    role::admin::decode_query(&kept).into_iter().next().map(|(name, _)| name).unwrap_or_default()
}

/// How TLS is spoken: with the system's roots, others, or none.
pub(crate) fn tls(settings: &Http) -> Result<Arc<ClientConfig>, String> {
    if settings.insecure {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(edge_cert::Anyone::new(provider.clone()));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        return Ok(Arc::new(config));
    }
    let roots = match settings.ca.as_deref() {
        // Without roots, plain HTTP still works; TLS says what is missing.
        None => fetch::system_roots().unwrap_or_else(|_| Arc::new(rustls::RootCertStore::empty())),
        Some(pem) => {
            let mut store = rustls::RootCertStore::empty();
            let (added, _) =
                store.add_parsable_certificates(rustls_pemfile::certs(&mut pem.as_bytes()).flatten());
            if added == 0 {
                return Err(
                    "has a `ca` without a certificate; hint: it is PEM, `-----BEGIN CERTIFICATE-----`"
                        .to_owned(),
                );
            }
            Arc::new(store)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let cases = [
            ("http://127.0.0.1:9/x?a=b", Ok(("127.0.0.1:9", "127.0.0.1:9", "/x?a=b", false, None))),
            ("https://hooks.example", Ok(("hooks.example:443", "hooks.example", "/", true, None))),
            (
                "https://us%65r:p+w@hooks.example:8443/t",
                Ok(("hooks.example:8443", "hooks.example:8443", "/t", true, Some("Basic dXNlcjpwK3c="))),
            ),
            ("http://[::1]:8/", Ok(("[::1]:8", "[::1]:8", "/", false, None))),
            ("ftp://h/", Err("http")),
            ("hooks.example", Err("http")),
            ("http://h:99999/", Err("URL")),
            ("http://", Err("URL")),
            ("", Err("URL")),
        ];
        for (url, expected) in cases {
            match (Target::parse(url), expected) {
                (Ok(got), Ok((address, host, path, tls, authorization))) => {
                    assert_eq!(got.address.to_string(), address, "{url}");
                    assert_eq!((got.host.as_str(), got.tls), (host, tls), "{url}");
                    assert_eq!(
                        (got.path.as_str(), got.authorization.as_deref()),
                        (path, authorization),
                        "{url}"
                    );
                }
                (Err(_), Err(_)) => {}
                (got, expected) => panic!("{url}: {got:?}, expected {expected:?}"),
            }
        }
        assert_eq!(retry_after("120"), Some(120_000));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:00:10 GMT"), Some(0));
        assert_eq!(retry_after("soon"), None);
    }
}
