//! The far end of remote write: connections that stay open, and what its answers
//! mean.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use monitor_wire::remote::{Version, Written};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For one request, from connecting to the last byte of the answer; Prometheus
/// has the same.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read: enough for what went wrong.
const MAX_ANSWER: usize = 64 << 10;

/// A `Retry-After` is followed up to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Where requests go.
pub(crate) struct Far {
    host: String,
    port: u16,
    authority: HeaderValue,
    target: Uri,
    tls: Option<Arc<rustls::ClientConfig>>,
    authorization: Option<HeaderValue>,
}

/// How it is logged in there.
#[derive(Clone, Debug)]
pub(crate) enum Login<'a> {
    Basic { user: &'a str, password: &'a str },
    Bearer(&'a str),
}

impl Far {
    /// Reads a URL. `tls` makes the configuration where one is needed.
    pub(crate) fn new(
        url: &str,
        login: Option<Login<'_>>,
        tls: impl FnOnce() -> Result<Arc<rustls::ClientConfig>, String>,
    ) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{url}` {what}; hint: `https://host/api/v1/write`");
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("begins with neither `http://` nor `https://`")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(format!("`{}` has a user in it; hint: give `user` and `password`", authority.host()));
        }
        let mut authorization = match login {
            None => None,
            Some(Login::Bearer(token)) => HeaderValue::from_str(&format!("Bearer {token}")).ok(),
            Some(Login::Basic { user, password }) => {
                use base64::Engine as _;
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                HeaderValue::from_str(&format!("Basic {pair}")).ok()
            }
        };
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("has no usable host"))?,
            target: target.parse().map_err(|_| wrong("has no usable path"))?,
            tls: https.then(tls).transpose()?,
            authorization,
        })
    }

    async fn connect(&self) -> Result<Open, String> {
        let refused =
            |error: std::io::Error| format!("cannot connect to `{}:{}`: {error}", self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(refused)?;
        let _ = stream.set_nodelay(true); // Saves a wait, and its failure costs only that.
        let Some(tls) = &self.tls else { return handshake(stream).await };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| format!("`{}` is no name that a certificate could have", self.host))?;
        let stream = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS with `{}` failed: {error}", self.host))?;
        handshake(stream).await
    }
}

async fn handshake<S>(stream: S) -> Result<Open, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("HTTP failed: {error}"))?;
    // The connection's own errors reach us through the sender.
    Ok(Open { sender, driver: tokio::spawn(async move { drop(connection.await) }) })
}

/// A connection that is open.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One connection, opened when it is needed and used again.
#[derive(Default)]
pub(crate) struct Connection {
    open: Option<Open>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Connection {
    /// Sends a message, compressed already.
    pub(crate) async fn send(&mut self, far: &Far, version: Version, body: Bytes) -> Result<Answer, String> {
        let sent = tokio::time::timeout(TIMEOUT, Box::pin(self.try_both(far, version, body))).await;
        let answer = sent.unwrap_or_else(|_| Err(format!("no complete answer within {TIMEOUT:?}")));
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    /// A connection that was open may have been closed by the far end just now:
    /// a new one decides. Sending a message twice changes nothing.
    async fn try_both(&mut self, far: &Far, version: Version, body: Bytes) -> Result<Answer, String> {
        if let Some(mut open) = self.open.take()
            && let Ok(answer) = exchange(&mut open, far, version, body.clone()).await
        {
            self.open = Some(open);
            return Ok(answer);
        }
        let mut open = far.connect().await?;
        let answer = exchange(&mut open, far, version, body).await?;
        self.open = Some(open);
        Ok(answer)
    }
}

async fn exchange(open: &mut Open, far: &Far, version: Version, body: Bytes) -> Result<Answer, String> {
    let failed = |error: &dyn std::fmt::Display| format!("HTTP with `{}` failed: {error}", far.host);
    open.sender.ready().await.map_err(|error| failed(&error))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = far.target.clone();
    let headers = request.headers_mut();
    headers.insert(header::HOST, far.authority.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert(
        HeaderName::from_static("x-prometheus-remote-write-version"),
        HeaderValue::from_static(version.header()),
    );
    let agent = concat!("bastide/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    if let Some(authorization) = &far.authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    let response = open.sender.send_request(request).await.map_err(|error| failed(&error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Bytes::from_static(b"(a long answer)")
        }
        Err(error) => return Err(failed(&error)),
    };
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// What an answer means (Remote-Write 2.0, "Retries & Backoff", and 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has what it counted; `None`: all.
    Taken(Option<Written>),
    /// It will never take the rest of this; it has what it counted.
    Refused(Written, String),
    /// It may take it later; not before the time, where it said one.
    Later(Option<Duration>, String),
    /// It does not know this version.
    OtherVersion(String),
}

/// Reads an answer.
pub(crate) fn judge(answer: &Answer, version: Version, now: std::time::SystemTime) -> Verdict {
    let text = |name: &'static str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let written = Written::from_headers(text);
    let why = || {
        let body = String::from_utf8_lossy(&answer.body);
        let line: String = body.lines().next().unwrap_or_default().chars().take(300).collect();
        format!("status {}: {}", answer.status, line.trim())
    };
    match answer.status {
        // "A Receiver that supports 2.0 MUST send the headers": one that does not
        // took the message for 1.0, and has nothing of it.
        200..=299 if version == Version::V2 => match written {
            Some(written) => Verdict::Taken(Some(written)),
            None => Verdict::OtherVersion("it answers without saying what it wrote".into()),
        },
        200..=299 => Verdict::Taken(None),
        415 => Verdict::OtherVersion(why()),
        429 | 500..=599 => {
            let after = text("retry-after").and_then(|value| retry_after(value, now));
            Verdict::Later(after.map(|after| after.min(MAX_RETRY_AFTER)), why())
        }
        _ => Verdict::Refused(written.unwrap_or_default(), why()),
    }
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(value).ok().map(|at| at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn urls() {
        let far = |url: &str| Far::new(url, None, || Err("no roots".into()));
        let good = far("http://[::1]:8428/api/v1/write?x=1").unwrap();
        assert_eq!(
            (good.host.as_str(), good.port, good.target.to_string()),
            ("::1", 8428, "/api/v1/write?x=1".into())
        );
        assert_eq!(far("http://a/").unwrap().port, 80);
        let cases = [
            ("ftp://a/", "neither"),
            ("/write", "neither"),
            ("http://", "is no URL"),
            ("http://u:p@a/", "has a user in it"),
            ("https://a/", "no roots"),
        ];
        for (url, expected) in cases {
            let error = far(url).err().unwrap();
            assert!(error.contains(expected), "{url}: {error}");
        }
        let login = Some(Login::Basic { user: "a", password: "b" });
        let far = Far::new("http://a/", login, || Err(String::new())).unwrap();
        assert_eq!(far.authorization.unwrap(), "Basic YTpi");
        let far = Far::new("http://a/", Some(Login::Bearer("t")), || Err(String::new())).unwrap();
        assert_eq!(far.authorization.unwrap(), "Bearer t");
    }

    #[test]
    fn answers() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let answer = |status: u16, headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            Answer { status, headers: map, body: Bytes::from_static(b"out of order\nmore") }
        };
        let (v1, v2) = (Version::V1, Version::V2);
        let said = |status| format!("status {status}: out of order");
        let samples = ("x-prometheus-remote-write-samples-written", "3");
        let three = Written { samples: 3, ..Written::default() };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let cases = [
            (answer(204, &[]), v1, Verdict::Taken(None)),
            (answer(200, &[samples]), v2, Verdict::Taken(Some(three))),
            (answer(204, &[]), v2, Verdict::OtherVersion("it answers without saying what it wrote".into())),
            (answer(415, &[]), v2, Verdict::OtherVersion(said(415))),
            (answer(400, &[]), v1, Verdict::Refused(Written::default(), said(400))),
            (answer(400, &[samples]), v2, Verdict::Refused(three, said(400))),
            (answer(302, &[]), v1, Verdict::Refused(Written::default(), said(302))),
            (answer(500, &[]), v1, Verdict::Later(None, said(500))),
            (answer(429, &[("retry-after", "7")]), v1, Verdict::Later(seconds(7), said(429))),
            (answer(503, &[("retry-after", "86400")]), v1, Verdict::Later(seconds(300), said(503))),
            (
                answer(503, &[("retry-after", "Sun, 06 Nov 1994 08:49:39 GMT")]),
                v1,
                Verdict::Later(seconds(2), said(503)),
            ),
        ];
        for (answer, version, expected) in cases {
            assert_eq!(judge(&answer, version, now), expected, "{answer:?}");
        }
    }
}
