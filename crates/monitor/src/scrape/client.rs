//! HTTP/1.1 to a target, over one connection that is kept: TLS as configured,
//! logging in, redirects, gzip (Prometheus, `http_config`).

mod tls;

use super::Endpoint;
use base::Address;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION,
    USER_AGENT,
};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use monitor_scrape::{Authentication, Http, SecretSource};
use std::sync::Arc;
use std::time::Duration;
use tls::Connector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// As Go's HTTP client, and with it Prometheus.
const MAX_REDIRECTS: usize = 10;

/// Bytes of a file that holds a secret.
const MAX_SECRET: u64 = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The body is larger than it may be.
    #[error("body size limit exceeded: the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// It is not what was asked for.
    #[error("{0}")]
    NoExposition(String),
    /// Anything else, as a fragment for a message.
    #[error("{0}")]
    Other(String),
}

impl From<String> for FetchError {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The status code.
    pub(crate) status: u16,
    /// `Content-Type`; empty where there is none.
    pub(crate) content_type: String,
    /// Whether the body is gzip's.
    gzip: bool,
    body: Bytes,
    max_body: u64,
}

impl Fetched {
    /// The body, unpacked; may take a while, so call it where that is no harm.
    pub(crate) fn body(self) -> Result<Bytes, FetchError> {
        if !self.gzip {
            return Ok(self.body);
        }
        let mut out = Vec::with_capacity(self.body.len().saturating_mul(8).min(1 << 20));
        let mut reader =
            std::io::Read::take(flate2::read::MultiGzDecoder::new(&*self.body), self.max_body + 1);
        std::io::Read::read_to_end(&mut reader, &mut out).map_err(|error| {
            FetchError::NoExposition(format!("the gzip body cannot be unpacked: {error}"))
        })?;
        if out.len() as u64 > self.max_body {
            return Err(FetchError::TooLarge(self.max_body));
        }
        Ok(out.into())
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// Path and query.
    pub(crate) target: &'a str,
    /// Further header lines.
    pub(crate) headers: &'a [(HeaderName, String)],
    /// For all of it, from looking up the name to the last byte.
    pub(crate) timeout: Duration,
    /// Bytes of the body, packed and unpacked.
    pub(crate) max_body: u64,
}

/// Asks one server.
pub(crate) struct Client {
    endpoint: Endpoint,
    http: Arc<Http>,
    connector: Connector,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint, http: Arc<Http>) -> Self {
        let connector = Connector::new(http.tls.clone());
        Self { endpoint, http, connector, connection: None }
    }

    /// One GET, redirects followed.
    pub(crate) async fn get(&mut self, question: &Question<'_>) -> Result<Fetched, FetchError> {
        let timeout = question.timeout;
        match tokio::time::timeout(timeout, Box::pin(self.follow(question))).await {
            Ok(Ok(fetched)) => Ok(fetched),
            Ok(Err(error)) => {
                self.connection = None;
                Err(error)
            }
            Err(_) => {
                self.connection = None;
                Err(FetchError::Other(format!("no complete answer within {timeout:?}")))
            }
        }
    }

    async fn follow(&mut self, question: &Question<'_>) -> Result<Fetched, FetchError> {
        let response = self.exchange(question, question.target, true).await?;
        let Some(mut location) = self.redirected(&response) else {
            return self.finish(response, question).await;
        };
        // Elsewhere: connections of their own, and a login only for the same host.
        let mut from = (self.endpoint.clone(), question.target.to_owned());
        drop(response);
        self.connection = None;
        for _ in 0..MAX_REDIRECTS {
            let to = resolve(&from, &location)?;
            let login = to.0.host_name() == self.endpoint.host_name();
            let mut client = Client::new(to.0.clone(), self.http.clone());
            let response = Box::pin(client.exchange(question, &to.1, login)).await?;
            match client.redirected(&response) {
                None => return client.finish(response, question).await,
                Some(next) => location = next,
            }
            from = to;
        }
        Err(FetchError::Other(format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn redirected<B>(&self, response: &Response<B>) -> Option<String> {
        let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = response.headers().get(LOCATION)?;
        (moved && self.http.follow_redirects)
            .then(|| String::from_utf8_lossy(location.as_bytes()).into_owned())
    }

    async fn exchange(
        &mut self,
        question: &Question<'_>,
        target: &str,
        login: bool,
    ) -> Result<Response<hyper::body::Incoming>, FetchError> {
        // A connection that was kept may have ended meanwhile: then once more on a new one.
        if let Some(mut kept) = self.connection.take()
            && kept.sender.ready().await.is_ok()
        {
            let request = self.request(question, target, login).await?;
            if let Ok(response) = kept.sender.send_request(request).await {
                self.connection = Some(kept);
                return Ok(response);
            }
        }
        let mut new = self.connect().await?;
        let request = self.request(question, target, login).await?;
        let response = new.sender.send_request(request).await.map_err(|error| self.failed(&error))?;
        self.connection = Some(new);
        Ok(response)
    }

    async fn finish(
        &mut self,
        response: Response<hyper::body::Incoming>,
        question: &Question<'_>,
    ) -> Result<Fetched, FetchError> {
        let status = response.status().as_u16();
        let header = |name: HeaderName| {
            let value = response.headers().get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
        };
        let content_type = header(CONTENT_TYPE);
        let gzip = match header(CONTENT_ENCODING).to_ascii_lowercase().as_str() {
            "" | "identity" => false,
            "gzip" | "x-gzip" => true,
            other => {
                return Err(FetchError::Other(format!(
                    "the answer is packed as `{other}`, which was not asked for"
                )));
            }
        };
        let max_body = question.max_body;
        let limit = usize::try_from(max_body).unwrap_or(usize::MAX);
        let body = Limited::new(response.into_body(), limit).collect().await.map_err(|error| {
            match error.is::<http_body_util::LengthLimitError>() {
                true => FetchError::TooLarge(max_body),
                false => self.failed(&error),
            }
        })?;
        Ok(Fetched { status, content_type, gzip, body: body.to_bytes(), max_body })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> FetchError {
        FetchError::Other(format!("HTTP with `{}` failed: {error}", self.endpoint.address))
    }

    async fn request(
        &self,
        question: &Question<'_>,
        target: &str,
        login: bool,
    ) -> Result<Request<Empty<Bytes>>, FetchError> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| self.failed(&error));
        let mut request = Request::new(Empty::new());
        *request.uri_mut() =
            target.parse().map_err(|error: hyper::http::uri::InvalidUri| self.failed(&error))?;
        let headers = request.headers_mut();
        headers.insert(HOST, value(&self.endpoint.host)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("bastide/", env!("CARGO_PKG_VERSION"))));
        let coding = if self.http.compression { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
        for (name, text) in question.headers {
            headers.insert(name.clone(), value(text)?);
        }
        if login {
            if let Some(line) = self.login().await? {
                let mut line = value(&line)?;
                line.set_sensitive(true);
                headers.insert(AUTHORIZATION, line);
            }
            for (name, source) in &self.http.headers {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| self.failed(&error))?;
                let mut line = value(&reveal(source).await?)?;
                line.set_sensitive(true);
                headers.append(name, line);
            }
        }
        Ok(request)
    }

    async fn login(&self) -> Result<Option<String>, FetchError> {
        use base64::Engine;
        Ok(match &self.http.authentication {
            Authentication::None => None,
            Authentication::Basic { user, password } => {
                let pair = format!("{}:{}", reveal(user).await?, reveal(password).await?);
                Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
            }
            Authentication::Token { kind, credentials } => {
                Some(format!("{kind} {}", reveal(credentials).await?))
            }
        })
    }

    async fn connect(&mut self) -> Result<Connection, FetchError> {
        let refused =
            |error: std::io::Error| format!("cannot connect to `{}`: {error}", self.endpoint.address);
        let stream = match &self.endpoint.address {
            Address::Unix(path) => {
                return self.speak(UnixStream::connect(path).await.map_err(refused)?).await;
            }
            Address::Ip(address) => TcpStream::connect(address).await.map_err(refused)?,
            Address::Name(name, port) => TcpStream::connect((name.as_str(), *port)).await.map_err(refused)?,
        };
        let _ = stream.set_nodelay(true); // Saves a wait, and its failure costs only that.
        if !self.endpoint.tls {
            return self.speak(stream).await;
        }
        let stream = self.connector.connect(self.endpoint.host_name(), stream).await?;
        self.speak(stream).await
    }

    async fn speak<S>(&self, stream: S) -> Result<Connection, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(256 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.failed(&error))?;
        // The connection's own errors reach us through the sender.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, driver })
    }
}

/// A secret, or what its file holds now.
async fn reveal(source: &SecretSource) -> Result<String, FetchError> {
    match source {
        SecretSource::Text(secret) => Ok(secret.reveal().to_owned()),
        SecretSource::File(path) => {
            let wrong = |why: &dyn std::fmt::Display| {
                format!("cannot read the secret in `{}`: {why}", path.display())
            };
            let length = tokio::fs::metadata(path).await.map_err(|error| wrong(&error))?.len();
            if length > MAX_SECRET {
                return Err(FetchError::Other(wrong(&format_args!("it is larger than {MAX_SECRET} bytes"))));
            }
            let text = tokio::fs::read_to_string(path).await.map_err(|error| wrong(&error))?;
            Ok(text.trim().to_owned())
        }
    }
}

/// Where a redirect leads (RFC 9110 §10.2.2; RFC 3986 §5).
fn resolve(from: &(Endpoint, String), location: &str) -> Result<(Endpoint, String), FetchError> {
    if location.contains("://") {
        return Ok(Endpoint::of_url(location)?);
    }
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = if from.0.tls { "https" } else { "http" };
        return Ok(Endpoint::of_url(&format!("{scheme}://{rest}"))?);
    }
    let path = match location.strip_prefix('/') {
        Some(_) => location.to_owned(),
        None => {
            let path = from.1.split('?').next().unwrap_or("/");
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{folder}{location}")
        }
    };
    let path = path.split('#').next().unwrap_or("/").to_owned();
    Ok((from.0.clone(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_somewhere() {
        let (endpoint, _) = Endpoint::of_url("http://h:1/").unwrap();
        let from = (endpoint, "/a/b?c".to_owned());
        let cases = [
            ("/x", "h:1", false, "/x"),
            ("x?y#z", "h:1", false, "/a/x?y"),
            ("https://o/p", "o:443", true, "/p"),
            ("//o:7", "o:7", false, "/"),
        ];
        for (location, address, tls, path) in cases {
            let (to, target) = resolve(&from, location).unwrap();
            assert_eq!(
                (to.address.to_string().as_str(), to.tls, target.as_str()),
                (address, tls, path),
                "{location}"
            );
        }
        assert!(resolve(&from, "ftp://h/").is_err());
    }
}
