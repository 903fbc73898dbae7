//! A page: looked up, connected to, asked for, read; redirects are followed.

use super::net::{self, Trust};
use super::{Findings, Http};
use crate::fetch::Endpoint;
use base::Address;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

const PHASES: &str = "probe_http_duration_seconds";

/// Redirects followed, as blackbox_exporter and Go do.
const MAX_REDIRECTS: usize = 10;

/// Bytes of a body that are read.
const MAX_BODY: usize = 10 << 20;

/// Tries a page.
pub(crate) async fn probe(http: &Http, findings: &mut Findings) -> Result<(), String> {
    let mut url = http.url.clone();
    let mut redirects = 0;
    // All phases are there from the beginning, so that charts have no holes.
    for phase in ["resolve", "connect", "tls", "processing", "transfer"] {
        findings.put(PHASES, Some(("phase", phase.to_owned())), 0.0);
    }
    loop {
        let (endpoint, target) = Endpoint::of_url(&url)?;
        let answer = ask(&endpoint, &target, http, findings).await?;
        findings.set("probe_http_redirects", redirects as f64);
        if http.follow
            && let Some(location) = answer.location()
        {
            if redirects == MAX_REDIRECTS {
                return Err(format!("more than {MAX_REDIRECTS} redirects"));
            }
            redirects += 1;
            url = absolute(&url, &endpoint, location);
            continue;
        }
        findings.set("probe_http_ssl", f64::from(u8::from(endpoint.tls)));
        return judge(&answer, http, findings);
    }
}

/// What came, as far as it matters.
struct Answer {
    head: Response<()>,
    body: Bytes,
}

impl Answer {
    /// Where it sends us (RFC 9110 §15.4).
    fn location(&self) -> Option<&str> {
        if !matches!(self.head.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        self.head.headers().get(header::LOCATION)?.to_str().ok()
    }
}

fn judge(answer: &Answer, http: &Http, findings: &mut Findings) -> Result<(), String> {
    let status = answer.head.status().as_u16();
    findings.set("probe_http_status_code", f64::from(status));
    let version = match answer.head.version() {
        Version::HTTP_10 => 1.0,
        Version::HTTP_2 => 2.0,
        _ => 1.1,
    };
    findings.set("probe_http_version", version);
    let length =
        answer.head.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    findings.set("probe_http_content_length", length.unwrap_or(-1.0));
    findings.set("probe_http_uncompressed_body_length", answer.body.len() as f64);
    let missing = http.must_match.iter().find(|regex| !regex.is_match(&answer.body));
    let unwanted = http.must_not_match.iter().find(|regex| regex.is_match(&answer.body));
    if !http.must_match.is_empty() || !http.must_not_match.is_empty() {
        let failed = missing.is_some() || unwanted.is_some();
        findings.set("probe_failed_due_to_regex", f64::from(u8::from(failed)));
    }
    let well = match http.statuses.is_empty() {
        true => (200..300).contains(&status),
        false => http.statuses.contains(&status),
    };
    match (well, missing, unwanted) {
        (false, ..) => Err(format!("the status is {status}")),
        (_, Some(regex), _) => Err(format!("the page does not match `{regex}`")),
        (.., Some(regex)) => Err(format!("the page matches `{regex}`")),
        _ => Ok(()),
    }
}

async fn ask(
    endpoint: &Endpoint,
    target: &str,
    http: &Http,
    findings: &mut Findings,
) -> Result<Answer, String> {
    let (host, port) = match &endpoint.address {
        Address::Ip(address) => (address.ip().to_string(), address.port()),
        Address::Name(name, port) => (name.clone(), *port),
        Address::Unix(_) => return Err("a page is not asked for over a Unix socket".to_owned()),
    };
    let began = Instant::now();
    let address = net::resolve(&host, port, findings).await;
    findings.phase(PHASES, "resolve", began);
    let address = address?;
    let began = Instant::now();
    let stream = net::connect(address).await;
    findings.phase(PHASES, "connect", began);
    let stream = stream?;
    if !endpoint.tls {
        return exchange(stream, endpoint, target, findings).await;
    }
    let began = Instant::now();
    let trust = Trust { anyone: http.insecure, roots: &http.roots };
    let stream = net::tls(stream, endpoint.host_name(), &trust, findings).await;
    findings.phase(PHASES, "tls", began);
    exchange(stream?, endpoint, target, findings).await
}

async fn exchange<S>(
    stream: S,
    endpoint: &Endpoint,
    target: &str,
    findings: &mut Findings,
) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: &dyn std::fmt::Display| format!("HTTP with `{}` failed: {error}", endpoint.host);
    let began = Instant::now();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    // The connection's own errors reach us through the sender.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = target.parse().map_err(|e| failed(&e))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(&endpoint.host).map_err(|e| failed(&e))?);
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("bastide-probe/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let response = sender.send_request(request).await;
    findings.phase(PHASES, "processing", began);
    let (head, body) = response.map_err(|e| failed(&e))?.into_parts();
    let began = Instant::now();
    let body = Limited::new(body, MAX_BODY).collect().await;
    findings.phase(PHASES, "transfer", began);
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => format!("the page has more than {MAX_BODY} bytes"),
        false => failed(&error),
    })?;
    Ok(Answer { head: Response::from_parts(head, ()), body: body.to_bytes() })
}

/// A location against the URL it came from (RFC 3986 §5.2, without dot segments).
fn absolute(url: &str, endpoint: &Endpoint, location: &str) -> String {
    let scheme = if endpoint.tls { "https" } else { "http" };
    let location = location.split('#').next().unwrap_or_default();
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", endpoint.host)
    } else {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let after_scheme = path.find("://").map_or(0, |at| at + 3);
        let folder = path[after_scheme..].rfind('/').map_or(path, |at| &path[..after_scheme + at]);
        format!("{folder}/{location}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        for (url, location, expected) in [
            ("http://a.b/c/d?e", "https://x.y/z#f", "https://x.y/z"),
            ("https://a.b/c/d?e", "//x.y/z", "https://x.y/z"),
            ("https://a.b:8443/c/d", "/z?q", "https://a.b:8443/z?q"),
            ("http://a.b/c/d?e/f", "z", "http://a.b/c/z"),
            ("http://a.b", "z", "http://a.b/z"),
        ] {
            let (endpoint, _) = Endpoint::of_url(url).unwrap();
            assert_eq!(absolute(url, &endpoint, location), expected, "{url} {location}");
        }
    }
}
