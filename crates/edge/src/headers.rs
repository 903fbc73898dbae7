//! Between hyper's types and ours: the head as routing, WAF and limits see it,
//! and the request as a web server gets it, written anew from what was parsed.

use crate::body::RequestBody;
use crate::compiled::Compiled;
use crate::connection::Connection;
use crate::life_of_a_request::told;
use edge_http::check::upgrade_wanted;
use edge_http::hygiene::{VIA_NAME, is_client_claim, is_hop_by_hop, named_by_connection};
use edge_http::{Client, RequestHead, forwarded};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri, Version};
use smallvec::SmallVec;

/// Header lines, on the stack for nearly all requests.
pub(crate) type Lines<'a> = SmallVec<[(&'a [u8], &'a [u8]); 32]>;

/// A request's header lines.
pub(crate) fn lines(parts: &Parts) -> Lines<'_> {
    parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect()
}

/// The head as everyone but the engine sees it.
pub(crate) fn request_head<'a>(parts: &'a Parts, lines: &'a [(&'a [u8], &'a [u8])]) -> RequestHead<'a> {
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts.headers.get(header::HOST).map_or(&[][..], HeaderValue::as_bytes),
    };
    RequestHead {
        method: parts.method.as_str().as_bytes(),
        target: target.as_bytes(),
        authority,
        version: match parts.version {
            Version::HTTP_2 => edge_http::Version::Http2,
            Version::HTTP_10 => edge_http::Version::Http10,
            _ => edge_http::Version::Http11,
        },
        headers: lines,
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The request's id: a trusted proxy's, or a new one.
pub(crate) fn request_id(parts: &Parts, connection: &Connection) -> HeaderValue {
    let from_proxy = forwarded::is_trusted(connection.peer, &connection.compiled.settings.trusted_proxies);
    if from_proxy && let Some(id) = parts.headers.get(REQUEST_ID) {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain) {
            return id.clone();
        }
    }
    let id = base::EventId::new(sys::clock::now_ms(), connection.worker.random());
    HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// The target that the web server gets: the client's own, or with another path.
pub(crate) fn target(parts: &Parts, path: Option<&[u8]>) -> Option<Uri> {
    let original = parts.uri.path_and_query()?;
    let Some(path) = path else { return Some(Uri::from(original.clone())) };
    let mut target = path.to_vec();
    if let Some(query) = original.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    Some(Uri::from(PathAndQuery::try_from(target).ok()?))
}

/// A request on its way to a web server.
pub(crate) struct Passing<'a> {
    parts: &'a Parts,
    target: Uri,
    host: HeaderValue,
    told: [(&'static str, Option<HeaderValue>); 3],
    via: HeaderValue,
    request_id: HeaderValue,
    /// Names that the client's Connection lines give.
    named: SmallVec<[&'a [u8]; 4]>,
    upgrade: Option<HeaderValue>,
    trailers: bool,
    keep_claims: bool,
    /// Messages of a WebSocket are inspected: none may be compressed.
    plain_messages: bool,
}

impl<'a> Passing<'a> {
    pub(crate) fn new(
        connection: &Connection,
        site: &Compiled,
        parts: &'a Parts,
        head: &RequestHead<'a>,
        client: &Client,
        target: Uri,
        request_id: HeaderValue,
    ) -> Self {
        let host = HeaderValue::from_bytes(head.authority).ok().filter(|h| !h.is_empty());
        let first_domain =
            || site.settings.domains.first().and_then(|d| HeaderValue::try_from(d.as_str()).ok());
        let te_trailers = |value: &[u8]| {
            value.split(|&b| b == b',').any(|p| p.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        };
        let via = match parts.version {
            Version::HTTP_2 => "2.0",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        Self {
            parts,
            target,
            host: host.or_else(first_domain).unwrap_or_else(|| HeaderValue::from_static("localhost")),
            told: told(connection, client, head),
            via: via_value(&parts.headers, via),
            request_id,
            named: named_by_connection(values(parts, header::CONNECTION)).collect(),
            upgrade: upgrade_wanted(head).and_then(|u| HeaderValue::from_bytes(u).ok()),
            trailers: values(parts, header::TE).any(te_trailers),
            keep_claims: client.behind_proxy,
            plain_messages: false,
        }
    }

    /// Offers the web server no extension of WebSocket (RFC 6455 §9.1), so that
    /// messages are what they seem.
    pub(crate) fn without_websocket_extensions(&mut self) {
        self.plain_messages = true;
    }

    /// Whether the web server was offered no extension of WebSocket.
    pub(crate) fn may_not_be_extended(&self) -> bool {
        self.plain_messages
    }

    /// Whether the client asks to switch to WebSocket.
    pub(crate) fn wants_websocket(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }

    pub(crate) fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The protocol to switch to, if the client asks for one that we pass on.
    pub(crate) fn upgrade(&self) -> Option<&HeaderValue> {
        self.upgrade.as_ref()
    }

    /// The request as it is sent, with this body.
    pub(crate) fn request(&self, body: RequestBody) -> Option<Request<RequestBody>> {
        let empty = hyper::body::Body::is_end_stream(&body);
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.try_reserve(self.parts.headers.len() + 10).ok()?;
        headers.insert(header::HOST, self.host.clone());
        for (name, value) in &self.parts.headers {
            if self.passes(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        // RFC 9113 §8.2.3: cookies that HTTP/2 split are one line in HTTP/1.1.
        join_cookies(headers);
        for (name, value) in &self.told {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value.clone());
            }
        }
        if !self.keep_claims || !headers.contains_key(X_FORWARDED_HOST) {
            headers.insert(X_FORWARDED_HOST, self.host.clone());
        }
        headers.insert(header::VIA, self.via.clone());
        headers.insert(REQUEST_ID, self.request_id.clone());
        if let Some(protocol) = &self.upgrade {
            switch(headers, protocol);
        } else if self.trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        // RFC 9110 §8.6: a method that anticipates a body says that there is none.
        if empty && matches!(self.parts.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(request)
    }

    /// Whether a client's header line goes on as it is. Length and expectation
    /// are ours to write: the body's real length, and our own `100 Continue`.
    fn passes(&self, name: &HeaderName) -> bool {
        let ours = *name == header::HOST
            || *name == header::CONTENT_LENGTH
            || *name == header::EXPECT
            || *name == header::VIA
            || *name == REQUEST_ID
            || (self.plain_messages && *name == header::SEC_WEBSOCKET_EXTENSIONS);
        let text = name.as_str();
        !ours
            && !is_hop_by_hop(text)
            && (self.keep_claims || !is_client_claim(text))
            && !self.named.iter().any(|n| n.eq_ignore_ascii_case(text.as_bytes()))
    }
}

fn values(parts: &Parts, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    parts.headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// Via with us at its end (RFC 9110 §7.6.3).
fn via_value(headers: &HeaderMap, version: &str) -> HeaderValue {
    let mut text = Vec::new();
    for value in headers.get_all(header::VIA) {
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(version.as_bytes());
    text.push(b' ');
    text.extend_from_slice(VIA_NAME.as_bytes());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(VIA_NAME))
}

fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::try_from(all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Removes what ends at this hop from a response (RFC 9110 §7.6.1).
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named = headers.get_all(header::CONNECTION).into_iter().map(HeaderValue::as_bytes);
        let named: SmallVec<[HeaderName; 4]> =
            named_by_connection(named).filter_map(|n| HeaderName::from_bytes(n).ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    let found: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// The lines of a switch of protocols (RFC 9110 §7.8).
pub(crate) fn switch(headers: &mut HeaderMap, protocol: &HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol.clone());
}
