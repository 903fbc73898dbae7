//! An answer's body, held back while the WAF looks at it: up to a limit of bytes
//! and of time; what is beyond either streams.

use crate::body::{BodyFault, Lazy};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Method, StatusCode};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// An answer that comes drop by drop is not held back longer than this.
const LONGEST: Duration = Duration::from_secs(5);

/// What a web server says that wants nobody to wait for the end (nginx' convention).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Bytes of answers that are held in memory at once, all together: until their clients
/// have read them, however slowly they do.
pub(crate) const ROOM: usize = 256 << 20;

/// What was held back.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Its pieces, and trailers at the end.
    frames: VecDeque<Frame<Bytes>>,
    /// Bytes in them.
    length: usize,
    /// Whether that is all.
    pub(crate) whole: bool,
    /// Where these bytes are counted.
    room: Option<Arc<AtomicUsize>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leave(self.length);
    }
}

impl Held {
    /// The next piece on its way to the client.
    pub(crate) fn pop(&mut self) -> Option<Frame<Bytes>> {
        let frame = self.frames.pop_front()?;
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.length -= length;
        self.leave(length);
        Some(frame)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes that are left.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Keeps a piece; false where there is no room for another.
    fn keep(&mut self, frame: Frame<Bytes>) -> bool {
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.length += length;
        self.frames.push_back(frame);
        self.room.as_ref().is_none_or(|room| room.fetch_add(length, Ordering::Relaxed) + length <= ROOM)
    }

    fn leave(&self, length: usize) {
        if let Some(room) = &self.room {
            room.fetch_sub(length, Ordering::Relaxed);
        }
    }

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

/// Reads until the end, the limit, there is no room, or it has taken too long. A web
/// server that breaks off or goes silent for `idle` is a fault. `room` counts what all
/// answers hold.
pub(crate) async fn hold<B>(
    body: &mut B,
    limit: usize,
    idle: Duration,
    room: &Arc<AtomicUsize>,
) -> Result<Held, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut held = Held::default();
    held.room = Some(room.clone());
    let mut silent = Lazy::default();
    let mut all = Lazy::default();
    let done =
        std::future::poll_fn(|cx| poll(body, &mut held, (&mut silent, &mut all), limit, idle, cx)).await;
    done.map(|()| held)
}

fn poll<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
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
                let has_room = held.keep(frame);
                if body.is_end_stream() {
                    held.whole = true;
                    return Poll::Ready(Ok(()));
                }
                if held.length > limit || !has_room {
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use std::convert::Infallible;

    fn pieces(
        lengths: &[usize],
    ) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin> {
        let frames: Vec<_> =
            lengths.iter().map(|length| Ok(Frame::data(Bytes::from(vec![b'x'; *length])))).collect();
        let mut frames = frames.into_iter();
        StreamBody::new(futures_util::stream::poll_fn(move |_| Poll::Ready(frames.next())))
    }

    #[tokio::test]
    async fn what_is_held_is_bounded_and_counted() {
        let idle = Duration::from_secs(60);
        // (pieces, limit, taken before, held, whole)
        let cases: [(&[usize], usize, usize, usize, bool); 5] = [
            (&[10, 10], 100, 0, 20, true),
            (&[10, 10, 10], 15, 0, 20, false),
            (&[10, 10], 15, 0, 20, false),
            (&[], 15, 0, 0, true),
            // No room: one piece is read, and no more.
            (&[10, 10, 10], 100, ROOM, 10, false),
        ];
        for (lengths, limit, taken, length, whole) in cases {
            let room = Arc::new(AtomicUsize::new(taken));
            let mut body = pieces(lengths);
            let mut held = hold(&mut body, limit, idle, &room).await.unwrap();
            assert_eq!((held.length(), held.whole), (length, whole), "{lengths:?} {limit}");
            assert_eq!(held.text().len(), length);
            assert_eq!(room.load(Ordering::Relaxed), taken + length);
            if held.pop().is_some() {
                assert_eq!(room.load(Ordering::Relaxed), taken + length - 10);
            }
            drop(held);
            assert_eq!(room.load(Ordering::Relaxed), taken, "all of it is given back");
        }
    }
}
