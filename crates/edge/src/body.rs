//! Bodies: a request's on its way to a web server, a response's on its way to
//! the client. Pieces pass as they come; nothing is gathered here.

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::files::FileBody;
use crate::hold::Held;
use crate::upstream::Answered;
use bytes::Bytes;
use edge_http::Refusal;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// The client broke a rule.
    Refused(Refusal),
    /// The client has gone.
    ClientGone,
    /// The web server broke off.
    ServerBroke,
    /// The web server went silent.
    ServerSilent,
    /// The file could not be read on.
    File,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(refusal) => refusal.explanation(),
            Self::ClientGone => "the client has gone",
            Self::ServerBroke => "the web server broke off",
            Self::ServerSilent => "the web server went silent",
            Self::File => "the file could not be read on",
        })
    }
}

impl std::error::Error for BodyFault {}

/// A request's body.
pub(crate) enum RequestBody {
    Empty,
    /// In memory: it can be sent again.
    Full(Bytes),
    Stream(Box<Streaming>),
}

/// A body that comes from the client piece by piece.
pub(crate) struct Streaming {
    /// What was read already, to be inspected.
    prefix: Option<Bytes>,
    incoming: Incoming,
    /// Bytes that may still come; the limit, less what has.
    left: u64,
    timeout: Duration,
    timer: Lazy,
    progress: Arc<Progress>,
    connection: Arc<Connection>,
}

/// How a request's body fares, for the one who waits for the response.
#[derive(Default)]
pub(crate) struct Progress {
    /// Pieces passed so far.
    pieces: AtomicU64,
    done: AtomicBool,
    /// A [`Refusal`] and one, 255 for a client that has gone, or 0.
    fault: AtomicU8,
}

impl Progress {
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    /// Why the body ended early, if it did.
    pub(crate) fn fault(&self) -> Option<BodyFault> {
        match self.fault.load(Ordering::Relaxed) {
            0 => None,
            255 => Some(BodyFault::ClientGone),
            n => Refusal::ALL.get(usize::from(n - 1)).map(|r| BodyFault::Refused(*r)),
        }
    }

    fn note(&self, fault: BodyFault) -> BodyFault {
        let code = match fault {
            BodyFault::Refused(refusal) => refusal as u8 + 1,
            _ => 255,
        };
        self.fault.store(code, Ordering::Relaxed);
        fault
    }
}

impl RequestBody {
    /// A body passed on as it comes, `prefix` first. `left`: how many bytes may
    /// still come.
    pub(crate) fn stream(
        prefix: Option<Bytes>,
        incoming: Incoming,
        left: u64,
        connection: &Arc<Connection>,
    ) -> Self {
        Self::Stream(Box::new(Streaming {
            prefix,
            incoming,
            left,
            timeout: connection.compiled.timeouts.body.duration(),
            timer: Lazy::default(),
            progress: Arc::default(),
            connection: connection.clone(),
        }))
    }

    /// The same body again, if it is in memory.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Full(bytes) => Some(Self::Full(bytes.clone())),
            Self::Stream(_) => None,
        }
    }

    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Stream(streaming) => Some(streaming.progress.clone()),
            _ => None,
        }
    }

    /// Reads up to `limit` bytes into memory. Whole, it becomes [`RequestBody::Full`]; otherwise
    /// what was read stays in front. The answer: what was read, and whether it is all.
    pub(crate) async fn gather(&mut self, limit: usize) -> Result<(Bytes, bool), BodyFault> {
        let streaming = match self {
            Self::Empty => return Ok((Bytes::new(), true)),
            Self::Full(bytes) => return Ok((bytes.clone(), true)),
            Self::Stream(streaming) => streaming,
        };
        // One piece is taken as it is; only several are copied together.
        let (mut first, mut gathered) = (Bytes::new(), Vec::new());
        let whole = loop {
            let frame = std::future::poll_fn(|cx| streaming.poll_piece(cx)).await;
            match frame {
                None => break true,
                Some(Err(fault)) => return Err(fault),
                Some(Ok(frame)) => {
                    // Trailers of a body held back are dropped (RFC 9110 §6.5.1 allows it).
                    let Ok(data) = frame.into_data() else { continue };
                    if first.is_empty() {
                        first = data;
                    } else {
                        if gathered.is_empty() {
                            gathered.extend_from_slice(&first);
                        }
                        gathered.extend_from_slice(&data);
                    }
                    if first.len().max(gathered.len()) > limit {
                        break false;
                    }
                }
            }
        };
        let bytes = if gathered.is_empty() { first } else { Bytes::from(gathered) };
        if whole {
            *self = Self::Full(bytes.clone());
        } else {
            streaming.prefix = Some(bytes.clone());
        }
        Ok((bytes, whole))
    }
}

impl Streaming {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(prefix) = self.prefix.take() {
            return Poll::Ready(Some(Ok(Frame::data(prefix))));
        }
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.timer.poll(cx, self.timeout));
                return Poll::Ready(Some(Err(self.progress.note(BodyFault::Refused(Refusal::BodyTimeout)))));
            }
        };
        self.timer.rest();
        let Some(frame) = frame else {
            self.progress.done.store(true, Ordering::Relaxed);
            return Poll::Ready(None);
        };
        let Ok(frame) = frame else {
            let fault = self.connection.body_refusal().map_or(BodyFault::ClientGone, BodyFault::Refused);
            return Poll::Ready(Some(Err(self.progress.note(fault))));
        };
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            self.connection.worker.edge.metrics.received_bytes.add(length);
            if length > self.left {
                let fault = self.progress.note(BodyFault::Refused(Refusal::BodyTooLarge));
                return Poll::Ready(Some(Err(fault)));
            }
            self.left -= length;
        }
        self.progress.pieces.fetch_add(1, Ordering::Relaxed);
        self.connection.progress();
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            this @ Self::Full(_) => match std::mem::replace(this, Self::Empty) {
                Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Self::Stream(streaming) => streaming.poll_piece(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(streaming) => streaming.prefix.is_none() && streaming.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(streaming) => {
                let prefix = streaming.prefix.as_ref().map_or(0, |p| p.len() as u64);
                match streaming.incoming.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(prefix + rest),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

/// A time limit between two pieces: a timer is made when something first has to
/// be waited for, and moved only when it fires too early.
#[derive(Default)]
pub(crate) struct Lazy {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Lazy {
    /// Something came.
    pub(crate) fn rest(&mut self) {
        self.since = None;
    }

    /// Nothing came: ready once nothing has for `limit`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let deadline = since + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
        }
    }
}

/// A response's body, with the exchange that ends with it.
pub(crate) struct ResponseBody {
    source: Source,
    exchange: Option<Box<Exchange>>,
}

pub(crate) enum Source {
    Empty,
    Full(Bytes),
    Server(Box<FromServer>),
    File(Box<FileBody>),
}

/// A body that a web server sends.
pub(crate) struct FromServer {
    /// What was held back of it to be inspected.
    pub(crate) held: Held,
    pub(crate) incoming: Incoming,
    /// The place at the server, and the connection to be kept if all goes well.
    pub(crate) answered: Answered,
    pub(crate) idle: Duration,
    pub(crate) timer: Lazy,
}

impl ResponseBody {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, exchange: None }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Source::Empty)
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::new(Source::Full(bytes))
    }

    /// The exchange ends when this body does.
    pub(crate) fn ends(&mut self, exchange: Box<Exchange>) {
        self.exchange = Some(exchange);
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Empty;
                Poll::Ready(if bytes.is_empty() { None } else { Some(Ok(Frame::data(bytes))) })
            }
            Source::File(file) => file.poll_piece(cx),
            Source::Server(body) => {
                if let Some(frame) = body.held.pop() {
                    if body.is_end() {
                        body.answered.complete();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                if body.held.whole {
                    body.answered.complete();
                    return Poll::Ready(None);
                }
                let frame = match Pin::new(&mut body.incoming).poll_frame(cx) {
                    Poll::Pending => {
                        ready!(body.timer.poll(cx, body.idle));
                        return Poll::Ready(Some(Err(BodyFault::ServerSilent)));
                    }
                    Poll::Ready(frame) => frame,
                };
                body.timer.rest();
                Poll::Ready(match frame {
                    None => {
                        body.answered.complete();
                        None
                    }
                    Some(Ok(frame)) => {
                        if body.incoming.is_end_stream() {
                            body.answered.complete();
                        }
                        Some(Ok(frame))
                    }
                    Some(Err(_)) => Some(Err(BodyFault::ServerBroke)),
                })
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_source(cx));
        if let (Some(exchange), Some(Ok(frame))) = (&mut this.exchange, &frame)
            && let Some(data) = frame.data_ref()
        {
            exchange.sent(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Full(bytes) => bytes.is_empty(),
            Source::Server(body) => body.is_end(),
            Source::File(file) => file.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Server(body) => body.size_hint(),
            Source::File(file) => SizeHint::with_exact(file.left()),
        }
    }
}

impl FromServer {
    fn is_end(&self) -> bool {
        self.held.is_empty() && (self.held.whole || self.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.length() as u64;
        match self.incoming.size_hint().exact() {
            _ if self.held.whole => SizeHint::with_exact(held),
            Some(rest) => SizeHint::with_exact(held + rest),
            None => SizeHint::default(),
        }
    }
}

impl Drop for FromServer {
    fn drop(&mut self) {
        // A response without a body is never polled: its connection is whole.
        if self.held.whole || self.incoming.is_end_stream() {
            self.answered.complete();
        }
    }
}
