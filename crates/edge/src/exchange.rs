//! One request and its answer, for the counters and the access log. It is
//! counted exactly once, when the answer's last byte is on its way or the
//! client has gone: whatever path a request takes, dropping this says so.

use crate::compiled::{PoolState, ServerState};
use crate::connection::Connection;
use base::EventId;
use edge_http::path::escape;
use hyper::header::{HeaderMap, HeaderValue, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The status noted where the client went away before there was an answer
/// (nginx' custom; no such status goes over the wire).
const CLIENT_GONE: u16 = 499;

/// What is known of a request so far.
pub(crate) struct Exchange {
    connection: Arc<Connection>,
    started: Instant,
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    version: Version,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    pub(crate) client: IpAddr,
    pub(crate) status: u16,
    /// Body bytes sent to the client.
    pub(crate) sent: u64,
    pub(crate) pool: Option<Arc<PoolState>>,
    pub(crate) server: Option<Arc<ServerState>>,
    pub(crate) retries: u32,
    pub(crate) request_id: HeaderValue,
    pub(crate) waf: Option<EventId>,
    /// Whether the request was a stand-in for one that was refused, so that its
    /// target and host are not the client's.
    pub(crate) stand_in: bool,
}

/// A line of the access log.
#[derive(Serialize)]
struct Line<'a> {
    at_ms: u64,
    client: IpAddr,
    method: &'a str,
    host: String,
    path: String,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    pool: Option<&'a str>,
    server: Option<&'a str>,
    protocol: &'static str,
    user_agent: Option<String>,
    referer: Option<String>,
    request_id: &'a str,
    retries: u32,
    waf: Option<EventId>,
}

/// Bytes of a client's text in a log line.
const TEXT_MAX: usize = 1_024;

impl Exchange {
    pub(crate) fn begin(connection: &Arc<Connection>, parts: &Parts, request_id: HeaderValue) -> Self {
        connection.worker.edge.metrics.in_flight.add(1);
        let get = |headers: &HeaderMap, name| headers.get(name).cloned();
        Self {
            connection: connection.clone(),
            started: Instant::now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            host: get(&parts.headers, hyper::header::HOST),
            version: parts.version,
            user_agent: get(&parts.headers, USER_AGENT),
            referer: get(&parts.headers, REFERER),
            client: connection.peer,
            status: 0,
            sent: 0,
            pool: None,
            server: None,
            retries: 0,
            request_id,
            waf: None,
            stand_in: false,
        }
    }

    /// So many bytes of the answer's body are on their way.
    pub(crate) fn sent(&mut self, length: u64) {
        self.sent += length;
        self.connection.progress();
    }

    fn log(&self, status: u16, duration_ms: f64) {
        let edge = &self.connection.worker.edge;
        if !edge.access_log.is_on() {
            return;
        }
        let text = |value: &Option<HeaderValue>| value.as_ref().map(|v| escape(v.as_bytes(), TEXT_MAX));
        let authority = self.uri.authority().map(|a| escape(a.as_str().as_bytes(), TEXT_MAX));
        let line = Line {
            at_ms: sys::clock::now_ms(),
            client: self.client,
            method: if self.stand_in { "-" } else { self.method.as_str() },
            host: if self.stand_in { None } else { authority.or_else(|| text(&self.host)) }
                .unwrap_or_default(),
            path: if self.stand_in { String::new() } else { escape(self.uri.path().as_bytes(), TEXT_MAX) },
            status,
            bytes: self.sent,
            duration_ms,
            pool: self.pool.as_ref().map(|p| p.name()),
            server: self.server.as_ref().map(|s| s.name.as_str()),
            protocol: match self.version {
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            user_agent: text(&self.user_agent),
            referer: text(&self.referer).map(without_query),
            request_id: self.request_id.to_str().unwrap_or_default(),
            retries: self.retries,
            waf: self.waf,
        };
        edge.access_log.write(&line);
    }
}

/// A referer's query may hold what no log may show.
fn without_query(mut referer: String) -> String {
    if let Some(at) = referer.find('?') {
        referer.truncate(at);
    }
    referer
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let metrics = &self.connection.worker.edge.metrics;
        let duration = self.started.elapsed();
        let status = if self.status == 0 { CLIENT_GONE } else { self.status };
        let pool = self.pool.as_ref().map_or(&metrics.own, |p| &p.metrics);
        pool.answered(status);
        pool.duration.observe(duration);
        metrics.sent_bytes.add(self.sent);
        metrics.in_flight.add(-1);
        // Microseconds are enough for a person.
        self.log(status, duration.as_micros() as f64 / 1_000.0);
        self.connection.end_request();
    }
}
