//! An answer's body, held back while the WAF looks at it: up to a limit of bytes
//! and of time; what is beyond either streams.

use crate::body::{BodyFault, Lazy};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Method, StatusCode};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// An answer that comes drop by drop is not held back longer than this.
const LONGEST: Duration = Duration::from_secs(5);

/// What a web server says that wants nobody to wait for the end (nginx' convention).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What was held back.
#[derive(Default)]
pub(crate) struct Held {
    /// Its pieces, and trailers at the end.
    pub(crate) frames: VecDeque<Frame<Bytes>>,
    /// Bytes in them.
    pub(crate) length: usize,
    /// Whether that is all.
    pub(crate) whole: bool,
}

impl Held {
    /// The bytes as one text; copied only where there are several pieces.
    pub(crate) fn text(&self) -> Bytes {
        let mut pieces = self.frames.iter().filter_map(Frame::data_ref);
        match (pieces.next(), pieces.next()) {
            (None, _) => Bytes::new(),
            (Some(only), None) => only.clone(),
            (Some(first), Some(second)) => {
                let mut all = Vec::with_capacity(self.length);
                [first, second].into_iter().chain(pieces).for_each(|piece| all.extend_from_slice(piece));
                all.into()
            }
        }
    }
}

/// Whether an answer may be held back at all: it has a body, and is no stream.
pub(crate) fn may_hold(method: &Method, status: StatusCode, headers: &HeaderMap, body: &Incoming) -> bool {
    let has_body = *method != Method::HEAD
        && !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT)
        && !body.is_end_stream();
    let kind =
        headers.get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase()).unwrap_or_default();
    let streams: [&[u8]; 4] =
        [b"text/event-stream", b"application/grpc", b"multipart/x-mixed-replace", b"application/x-ndjson"];
    let streams = streams.iter().any(|kind_of| kind.starts_with(kind_of));
    let asked_not_to =
        headers.get(X_ACCEL_BUFFERING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no"));
    has_body && !streams && !asked_not_to
}

/// Reads until the end, the limit, or it has taken too long. A web server that breaks
/// off or goes silent for `idle` is a fault.
pub(crate) async fn hold(body: &mut Incoming, limit: usize, idle: Duration) -> Result<Held, BodyFault> {
    let mut held = Held::default();
    let mut silent = Lazy::default();
    let mut all = Lazy::default();
    let done =
        std::future::poll_fn(|cx| poll(body, &mut held, (&mut silent, &mut all), limit, idle, cx)).await;
    done.map(|()| held)
}

fn poll(
    body: &mut Incoming,
    held: &mut Held,
    (silent, all): (&mut Lazy, &mut Lazy),
    limit: usize,
    idle: Duration,
    cx: &mut Context<'_>,
) -> Poll<Result<(), BodyFault>> {
    loop {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(None) => {
                held.whole = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(BodyFault::ServerBroke)),
            Poll::Ready(Some(Ok(frame))) => {
                silent.rest();
                held.length += frame.data_ref().map_or(0, Bytes::len);
                held.frames.push_back(frame);
                if body.is_end_stream() {
                    held.whole = true;
                    return Poll::Ready(Ok(()));
                }
                if held.length > limit {
                    return Poll::Ready(Ok(()));
                }
            }
            // Two clocks: the server's silence, and the client's patience.
            Poll::Pending if silent.poll(cx, idle).is_ready() => {
                return Poll::Ready(Err(BodyFault::ServerSilent));
            }
            Poll::Pending if all.poll(cx, LONGEST).is_ready() => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
        }
    }
}
