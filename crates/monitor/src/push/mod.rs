//! Samples that are pushed here, and samples that are sent on.
//!
//! ```text
//! POST /api/v1/write ────────────┐ body ─▶ ingest ─▶ store ─▶ rows ─▶ queue ─▶ send ─▶ far end
//! POST /api/v1/otlp/v1/metrics ──┘            scraped, recorded ─▲
//! ```
//!
//! Bounds: bytes of a body, packed and unpacked ([`MAX_BODY`], [`MAX_MESSAGE`]),
//! bodies in memory at once ([`BODIES`]), requests that are stored at once and
//! that wait ([`STORING`], [`WAITING`]), the time that a body may take
//! ([`BODY_TIMEOUT`]); of a queue its bytes on disk.
//!
//! Answers follow Remote-Write 2.0, "Retries & Backoff": what is wrong for good is
//! a 4xx, which no sender repeats; what may go later is a 503 with `Retry-After`.
//! 429 is not used: Prometheus drops what it is refused with that, unless told
//! otherwise.

mod far;
mod forward;
mod ingest;
mod keys;
mod queue;
mod rows;
mod send;

use crate::server::Reply;
use crate::state::{State, lock};
use base::names;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use ingest::{Failed, Taken};
use keys::Cache;
use monitor_store::Store;
use monitor_wire::body::Encoding;
use monitor_wire::{otlp, remote};
use role::Registry;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use forward::{Forward, check};

/// Bytes of a body as it comes.
const MAX_BODY: usize = 32 << 20;

/// Bytes of a body when it is decompressed.
const MAX_MESSAGE: usize = 64 << 20;

/// Bytes of bodies in memory at once; further ones wait before they are read.
const BODIES: usize = 128 << 20;

/// Requests that are stored at once. The store takes one at a time; a second one
/// is decompressed and read meanwhile.
const STORING: usize = 3;

/// Requests that may wait for that, bodies in memory or not.
const WAITING: usize = 256;

/// A body must arrive within this.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Memory for a decompressed body that is kept for the next one; a sender's usual
/// body has a tenth of it.
const KEPT: usize = 8 << 20;

/// What a sender is told to wait when there is no room.
const RETRY_AFTER: &str = "5";

/// The endpoints, and what they need.
pub(crate) struct Push {
    store: Arc<Store>,
    cache: Cache,
    registry: Arc<Registry>,
    waiting: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    storing: Arc<Semaphore>,
    /// Memory for bodies, [`STORING`] of them at most.
    spares: Mutex<Vec<Vec<u8>>>,
    /// How OTLP is translated.
    otlp: Mutex<Arc<otlp::Settings>>,
    /// Where what is stored is sent on to.
    pub(crate) forward: Arc<Forward>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Remote(remote::Version),
    Otlp { json: bool },
}

impl Protocol {
    /// The value of the label `protocol`.
    fn name(self) -> &'static str {
        match self {
            Self::Remote(remote::Version::V1) => "remote_write_1",
            Self::Remote(remote::Version::V2) => "remote_write_2",
            Self::Otlp { .. } => "otlp",
        }
    }
}

/// What is pushed to: a path, and whether it is OTLP.
pub(crate) fn is_push(path: &str) -> bool {
    matches!(path, WRITE | OTLP)
}

const WRITE: &str = "/api/v1/write";
const OTLP: &str = "/api/v1/otlp/v1/metrics";

impl Push {
    /// `series`: how many are known without reading their labels.
    pub(crate) fn new(
        store: Arc<Store>,
        forward: Arc<Forward>,
        series: usize,
        registry: Arc<Registry>,
    ) -> Self {
        Self {
            cache: Cache::new(series),
            waiting: Arc::new(Semaphore::new(WAITING)),
            bodies: Arc::new(Semaphore::new(BODIES >> 10)),
            storing: Arc::new(Semaphore::new(STORING)),
            spares: Mutex::default(),
            otlp: Mutex::default(),
            forward,
            store,
            registry,
        }
    }

    /// How OTLP is translated from now on.
    pub(crate) fn follow(&self, told: &site::monitor::Otlp) {
        *lock(&self.otlp) = Arc::new(otlp::Settings {
            strategy: otlp::Strategy::from_name(&told.strategy).unwrap_or_default(),
            promote: match &told.promote_all_but {
                Some(names) => otlp::Promote::AllBut(names.clone()),
                None => otlp::Promote::Only(told.promote.clone()),
            },
            keep_identifying_attributes: told.keep_identifying,
            promote_scope: told.promote_scope,
            histograms_to_native: told.histograms_to_native,
            store_deltas: told.store_deltas,
            ..otlp::Settings::default()
        });
    }

    /// Answers a request to one of the endpoints.
    pub(crate) async fn answer(self: &Arc<Self>, state: &State, head: &Parts, body: Incoming) -> Reply {
        let is_otlp = head.uri.path() == OTLP;
        let protocol = protocol(is_otlp, &head.headers);
        let reply = match &protocol {
            _ if !state.plan().site.receive => Reply::text(
                StatusCode::NOT_FOUND,
                "nothing is taken here; hint: `receive = true` in `[monitor]` lets samples be pushed\n",
            ),
            _ if head.method != Method::POST => {
                let mut reply = Reply::text(StatusCode::METHOD_NOT_ALLOWED, "samples are pushed by POST\n");
                reply.headers.push((header::ALLOW, HeaderValue::from_static("POST")));
                reply
            }
            Err(reply) => Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, reply.clone()),
            Ok((protocol, encoding)) => self.receive(*protocol, *encoding, &head.headers, body).await,
        };
        let name =
            protocol.map_or(if is_otlp { "otlp" } else { "remote_write" }, |(protocol, _)| protocol.name());
        let requests = self.registry.counter(&names::MONITOR_PUSH_REQUESTS);
        requests.with(&[name, reply.status.as_str()]).inc();
        reply
    }

    async fn receive(
        self: &Arc<Self>,
        protocol: Protocol,
        encoding: Encoding,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Reply {
        let Ok(_place) = self.waiting.clone().try_acquire_owned() else {
            return later(protocol, "as many pushes are under way as may be");
        };
        let (body, room) = match self.collect(headers, body).await {
            Ok(collected) => collected,
            Err((status, why)) => return refusal(protocol, status, &why),
        };
        let Ok(turn) = self.storing.clone().acquire_owned().await else {
            return later(protocol, "the monitor ends");
        };
        let this = self.clone();
        let stored = tokio::task::spawn_blocking(move || {
            let result = this.store(protocol, encoding, &body);
            drop((turn, room));
            result
        });
        match stored.await {
            Ok(result) => self.reply(protocol, result),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Reads the body, within the room that all bodies share.
    async fn collect(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<(Bytes, OwnedSemaphorePermit), (StatusCode, String)> {
        let told = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {MAX_BODY} bytes"));
        let expected = told.unwrap_or(MAX_BODY);
        if expected > MAX_BODY {
            return Err(too_large());
        }
        let blocks = u32::try_from((expected >> 10) + 1).unwrap_or(u32::MAX);
        let read = async {
            let room = self.bodies.clone().acquire_many_owned(blocks).await;
            let room = room.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "the monitor ends".to_owned()))?;
            let mut whole = BytesMut::with_capacity(told.unwrap_or(0));
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| {
                    (StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
                })?;
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + data.len() > MAX_BODY {
                    return Err(too_large());
                }
                whole.extend_from_slice(&data);
            }
            Ok((whole.freeze(), room))
        };
        let late = || (StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {BODY_TIMEOUT:?}"));
        tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or_else(|_| Err(late()))
    }

    /// On a thread that may wait for the disk.
    fn store(
        &self,
        protocol: Protocol,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<Taken, (StatusCode, String)> {
        let mut spare = lock(&self.spares).pop().unwrap_or_default();
        let taken = self.store_with(protocol, encoding, body, &mut spare);
        if spare.capacity() <= KEPT {
            lock(&self.spares).push(spare);
        }
        taken
    }

    fn store_with(
        &self,
        protocol: Protocol,
        encoding: Encoding,
        body: &[u8],
        spare: &mut Vec<u8>,
    ) -> Result<Taken, (StatusCode, String)> {
        let message = encoding.decode(body, MAX_MESSAGE, spare).map_err(|error| {
            use monitor_wire::body::BodyError;
            let status = match error {
                BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                BodyError::Corrupt { .. } => StatusCode::BAD_REQUEST,
            };
            (status, error.to_string())
        })?;
        let now_ms = sys::clock::now_ms() as i64;
        let tap = |batch: &monitor_store::Batch| self.forward.rows(batch);
        let taken = match protocol {
            Protocol::Remote(version) => {
                ingest::remote_write(&self.store, &self.cache, version, message, now_ms, &tap)
            }
            Protocol::Otlp { json } => {
                let settings = lock(&self.otlp).clone();
                ingest::otlp_metrics(&self.store, &settings, json, message, now_ms, &tap)
            }
        };
        taken.map_err(|failed| {
            let status = match failed {
                Failed::Wire(_) => StatusCode::BAD_REQUEST,
                Failed::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, failed.to_string())
        })
    }

    fn reply(&self, protocol: Protocol, result: Result<Taken, (StatusCode, String)>) -> Reply {
        let taken = match result {
            Ok(taken) => taken,
            Err((StatusCode::SERVICE_UNAVAILABLE, why)) => return later(protocol, &why),
            Err((status, why)) => return refusal(protocol, status, &why),
        };
        let pushed = self.registry.counter(&names::MONITOR_PUSHED);
        let counts = [
            ("stored", taken.stored),
            ("duplicate", taken.duplicates),
            ("out_of_order", taken.out_of_order),
            ("refused", taken.refused),
        ];
        for (result, count) in counts {
            pushed.with(&[protocol.name(), result]).add(count);
        }
        let lost = taken.out_of_order + taken.refused;
        let why = taken.why.as_deref().unwrap_or_default();
        match protocol {
            Protocol::Remote(version) => {
                let mut reply = match lost {
                    0 => Reply::text(StatusCode::NO_CONTENT, ""),
                    _ => Reply::text(
                        StatusCode::BAD_REQUEST,
                        format!("{lost} samples were not taken; the first: {why}\n"),
                    ),
                };
                if version == remote::Version::V2 {
                    let counts = taken.written.headers();
                    reply.headers = counts
                        .map(|(name, count)| (HeaderName::from_static(name), HeaderValue::from(count)))
                        .into();
                }
                reply
            }
            // OTLP has an answer of its own for what is taken in part.
            Protocol::Otlp { json } => otlp_reply(StatusCode::OK, json, otlp::answer(json, lost, why)),
        }
    }
}

/// What is spoken, by `Content-Type`, and how it is compressed.
fn protocol(is_otlp: bool, headers: &HeaderMap) -> Result<(Protocol, Encoding), String> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let encoding = text(header::CONTENT_ENCODING);
    let known = encoding.map_or(Some(Encoding::Identity), Encoding::from_header);
    let not_known = || format!("`Content-Encoding: {}` is not known here\n", encoding.unwrap_or_default());
    if is_otlp {
        let json = match kind.split(';').next().unwrap_or_default().trim() {
            kind if kind.eq_ignore_ascii_case("application/x-protobuf") => false,
            kind if kind.eq_ignore_ascii_case("application/json") => true,
            _ => {
                return Err(format!(
                    "`Content-Type: {kind}` is not OTLP; hint: `application/x-protobuf` or `application/json`\n"
                ));
            }
        };
        return Ok((Protocol::Otlp { json }, known.ok_or_else(not_known)?));
    }
    // Senders of the first days say nothing, and mean 1.0 in snappy.
    let version =
        if kind.is_empty() { Some(remote::Version::V1) } else { remote::Version::from_content_type(kind) };
    let Some(version) = version else {
        return Err(format!(
            "`Content-Type: {kind}` is not remote write; hint: `{}`\n",
            remote::Version::V2.content_type()
        ));
    };
    let encoding = match (encoding, known) {
        (None | Some(""), _) => Encoding::Snappy,
        (_, Some(known @ (Encoding::Snappy | Encoding::Zstd))) => known,
        _ => return Err(format!("{}hint: remote write is compressed with snappy\n", not_known())),
    };
    Ok((Protocol::Remote(version), encoding))
}

/// It may go later.
fn later(protocol: Protocol, why: &str) -> Reply {
    let mut reply = refusal(protocol, StatusCode::SERVICE_UNAVAILABLE, why);
    reply.headers.push((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER)));
    reply
}

fn refusal(protocol: Protocol, status: StatusCode, why: &str) -> Reply {
    match protocol {
        Protocol::Remote(_) => Reply::text(status, format!("{why}\n")),
        Protocol::Otlp { json } => otlp_reply(status, json, otlp::refusal(json, why)),
    }
}

/// In the encoding of the request (OTLP specification, "OTLP/HTTP Response").
fn otlp_reply(status: StatusCode, json: bool, body: Vec<u8>) -> Reply {
    let content_type = if json { "application/json" } else { "application/x-protobuf" };
    Reply::of(status, content_type, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken() {
        let remote = |version| Ok((Protocol::Remote(version), Encoding::Snappy));
        let (v1, v2) = (remote::Version::V1, remote::Version::V2);
        let cases = [
            (false, None, None, remote(v1)),
            (false, Some("application/x-protobuf"), Some("snappy"), remote(v1)),
            (
                false,
                Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
                Some("snappy"),
                remote(v2),
            ),
            (false, Some("application/x-protobuf"), Some("zstd"), Ok((Protocol::Remote(v1), Encoding::Zstd))),
            (false, Some("application/x-protobuf"), Some("gzip"), Err("snappy")),
            (false, Some("application/x-protobuf;proto=new"), Some("snappy"), Err("is not remote write")),
            (false, Some("application/json"), None, Err("is not remote write")),
            (
                true,
                Some("application/json; charset=utf-8"),
                None,
                Ok((Protocol::Otlp { json: true }, Encoding::Identity)),
            ),
            (
                true,
                Some("application/x-protobuf"),
                Some("gzip"),
                Ok((Protocol::Otlp { json: false }, Encoding::Gzip)),
            ),
            (true, Some("application/x-protobuf"), Some("br"), Err("is not known here")),
            (true, Some("text/plain"), None, Err("is not OTLP")),
            (true, None, None, Err("is not OTLP")),
        ];
        for (is_otlp, kind, encoding, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, encoding)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            match (protocol(is_otlp, &headers), expected) {
                (Ok(given), Ok(expected)) => assert_eq!(given, expected),
                (Err(given), Err(expected)) => assert!(given.contains(expected), "{given}"),
                (given, expected) => panic!("{kind:?} {encoding:?}: {given:?} is not {expected:?}"),
            }
        }
    }
}
