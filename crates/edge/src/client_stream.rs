//! A client's connection as the engine reads and writes it: the guard in front
//! of HTTP/1.1, the time limits that concern the connection itself, and the
//! lingering close that lets a refusal arrive.

use crate::connection::Connection;
use edge_http::{Guard, Refusal, Scan};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

/// Plain or encrypted.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What the engine is given in place of a refused head: it answers a request
/// and nothing else, and [`Connection::refusal_of`] makes that answer ours.
const STAND_IN: &[u8] = b"GET /refused HTTP/1.1\r\nHost: refused.invalid\r\n\r\n";

/// Bytes of a client discarded after the last answer, so that closing with
/// unread data does not reset the connection before the answer is read (RFC
/// 9112 §9.6); and for how long.
const LINGER_BYTES: usize = 256 << 10;
const LINGER: Duration = Duration::from_secs(1);

/// One client's byte stream.
pub(crate) struct ClientStream {
    transport: Transport,
    connection: Arc<Connection>,
    guard: Option<Guard>,
    /// The beginning of a head that is not whole yet.
    held: Vec<u8>,
    /// Bytes that may go on but did not fit the engine's buffer.
    out: Vec<u8>,
    out_at: usize,
    /// Nothing more is to be read.
    ended: bool,
    /// A body was out of frame: reading ends in an error.
    broken: bool,
    /// Fires now and then while we wait for a head; moved, not made, per request.
    timer: Option<Pin<Box<Sleep>>>,
    /// When what we wait for is too late.
    deadline: Option<(Instant, Wait)>,
    head_timeout: Duration,
    keep_alive: Duration,
    lingered: usize,
    shut_down: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// For the first byte of a head.
    Idle,
    /// For the rest of a head.
    Head,
}

impl ClientStream {
    /// `guard` for HTTP/1.1, none for HTTP/2.
    pub(crate) fn new(transport: Transport, connection: Arc<Connection>, guard: Option<Guard>) -> Self {
        let timeouts = &connection.compiled.timeouts;
        let (head_timeout, keep_alive) = (timeouts.head.duration(), timeouts.keep_alive.duration());
        Self {
            transport,
            connection,
            guard,
            held: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            ended: false,
            broken: false,
            timer: None,
            deadline: None,
            head_timeout,
            keep_alive,
            lingered: 0,
            shut_down: false,
        }
    }

    /// Bytes moved. HTTP/2's own (pings, windows) say nothing about its messages.
    fn progress(&self) {
        if self.guard.is_some() {
            self.connection.progress();
        }
    }

    /// Gives the engine what is ready for it. True if there was something.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let ready = &self.out[self.out_at..];
        if ready.is_empty() {
            return false;
        }
        let count = ready.len().min(buf.remaining());
        buf.put_slice(&ready[..count]);
        self.out_at += count;
        if self.out_at == self.out.len() {
            self.out = Vec::new();
            self.out_at = 0;
        }
        true
    }

    /// Shows newly read bytes to the guard; what may not go on yet is taken back
    /// out of `buf`.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Some(guard) = &mut self.guard else { return };
        let fresh_start = self.held.is_empty();
        let scan = if fresh_start {
            guard.scan(&buf.filled()[before..])
        } else {
            self.held.extend_from_slice(&buf.filled()[before..]);
            guard.scan(&self.held)
        };
        let (Scan::Pass(passed) | Scan::Upgrade(passed) | Scan::Refused(passed, _)) = scan;
        if fresh_start {
            self.held.extend_from_slice(&buf.filled()[before + passed..]);
            buf.set_filled(before + passed);
        } else {
            buf.set_filled(before);
            let rest = self.held.split_off(passed);
            self.out = std::mem::replace(&mut self.held, rest);
        }
        match scan {
            Scan::Pass(_) => {}
            Scan::Upgrade(_) => self.connection.await_upgrade(),
            // In a body: there is a request already, whose body ends in an error.
            Scan::Refused(_, Refusal::Chunk) => {
                self.connection.note_body_refusal(Refusal::Chunk);
                self.connection.worker.edge.refused_connection(self.connection.peer, Refusal::Chunk);
                self.held = Vec::new();
                self.broken = true;
            }
            Scan::Refused(_, refusal) => self.refuse(refusal),
        }
    }

    /// Puts the stand-in in place of the head that was refused.
    fn refuse(&mut self, refusal: Refusal) {
        let heads = self.guard.as_ref().map_or(0, Guard::heads);
        self.connection.refuse(heads + 1, refusal);
        self.held = Vec::new();
        self.out.extend_from_slice(STAND_IN);
        self.ended = true;
    }

    /// After a read that found nothing: watches the time, unless a request is
    /// being answered. True if the connection is to end.
    fn watch(&mut self, cx: &mut Context<'_>) -> Option<Wait> {
        let guard = self.guard.as_ref()?;
        if self.connection.is_busy() || guard.in_body() {
            self.deadline = None;
            return None;
        }
        let wait = if self.held.is_empty() { Wait::Idle } else { Wait::Head };
        if self.deadline.is_none_or(|(_, w)| w != wait) {
            let first = !self.connection.had_requests();
            let limit = if wait == Wait::Head || first { self.head_timeout } else { self.keep_alive };
            self.deadline = Some((Instant::now() + limit, wait));
        }
        let (deadline, _) = self.deadline?;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        // The timer is left where it is while it fires too early: one timer
        // operation in a while instead of one a request.
        if timer.deadline() > deadline.into() {
            timer.as_mut().reset(deadline.into());
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Some(wait);
            }
            timer.as_mut().reset(deadline.into());
        }
        None
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.deliver(buf) {
                return Poll::Ready(Ok(()));
            }
            if this.broken {
                let why = "the chunked body is out of frame";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            if this.ended {
                // Not the end of the stream: the engine would take the client for gone.
                return Poll::Pending;
            }
            match this.connection.poll_upgrade(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {}
                Poll::Ready(Some(switched)) => {
                    if let Some(guard) = &mut this.guard {
                        if switched { guard.upgraded() } else { guard.not_upgraded() }
                    }
                    // What came behind the head while it was undecided.
                    let held = std::mem::take(&mut this.held);
                    if !held.is_empty() {
                        let mut copy = vec![0; held.len()];
                        let mut again = ReadBuf::new(&mut copy);
                        again.put_slice(&held);
                        this.inspect(&mut again, 0);
                        this.out.splice(..0, again.filled().iter().copied());
                        continue;
                    }
                }
            }
            let before = buf.filled().len();
            let read = match &mut this.transport {
                Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
                Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            };
            match read {
                Poll::Pending => match this.watch(cx) {
                    None => return Poll::Pending,
                    // Nobody asked for anything: closing is the normal end.
                    Some(Wait::Idle) => return Poll::Ready(Ok(())),
                    Some(Wait::Head) => this.refuse(Refusal::HeadTimeout),
                },
                Poll::Ready(result) => {
                    result?;
                    if buf.filled().len() == before {
                        return Poll::Ready(Ok(()));
                    }
                    this.progress();
                    this.inspect(buf, before);
                    if this.held.is_empty() {
                        this.deadline = None;
                    }
                    if buf.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, data),
        })?;
        this.progress();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
        })?;
        this.progress();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut_down {
            ready!(match &mut this.transport {
                Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            })?;
            this.shut_down = true;
            this.timer = None;
        }
        let mid_message = this.guard.as_ref().is_some_and(Guard::mid_message);
        if !this.ended && !this.broken && !mid_message {
            return Poll::Ready(Ok(()));
        }
        // The client is still sending: read on for a moment, into nowhere.
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut sink = [0u8; 4096];
        while this.lingered < LINGER_BYTES && timer.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut sink);
            let tcp = match &mut this.transport {
                Transport::Plain(stream) => stream,
                Transport::Tls(stream) => stream.get_mut().0,
            };
            ready!(Pin::new(tcp).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
            this.lingered += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
