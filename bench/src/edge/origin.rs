//! The origin behind every contender: HTTP/1.1 with keep-alive, three fixed
//! bodies, and an exact count of what it answered.

use crate::machine;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a path answers, and what a generator then expects.
pub(crate) static PATHS: &[(&str, usize)] = &[("/1k", 1 << 10), ("/64k", 64 << 10), ("/1m", 1 << 20)];
/// Largest head taken from a contender.
const MAX_HEAD: usize = 16 << 10;

/// A running origin; it ends with the process.
pub(crate) struct Origin {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    answered: Arc<AtomicU64>,
}

impl Origin {
    /// Starts it on a thread of its own bound to `core`.
    pub(crate) fn start(core: Option<usize>) -> Result<Self, String> {
        let answered = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&answered);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let result = core.map_or(Ok(()), machine::pin).and_then(|()| {
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())
            });
            match result {
                Ok(runtime) => runtime.block_on(serve(send, counter)),
                Err(error) => drop(send.send(Err(error))),
            }
        });
        let address = receive.recv().map_err(|_| "the origin's thread ended".to_owned())??;
        Ok(Self { address, answered })
    }

    /// Requests answered since it started.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

/// The body of `length` bytes that both sides know.
pub(crate) fn body(length: usize) -> Vec<u8> {
    // No stretch of it equals another, so that a shifted piece is noticed.
    (0..length).map(|i| (i.wrapping_mul(167) ^ (i >> 8) ^ (i >> 16).wrapping_mul(29)) as u8).collect()
}

async fn serve(ready: std::sync::mpsc::Sender<Result<SocketAddr, String>>, answered: Arc<AtomicU64>) {
    let listener = match TcpListener::bind(("127.0.0.1", 0)).await {
        Ok(listener) => listener,
        Err(error) => return drop(ready.send(Err(format!("the origin cannot listen: {error}")))),
    };
    let _ = ready.send(listener.local_addr().map_err(|error| error.to_string()));
    let responses: Arc<Vec<(&str, Vec<u8>)>> =
        Arc::new(PATHS.iter().map(|(path, length)| (*path, response("200 OK", &body(*length)))).collect());
    while let Ok((stream, _)) = listener.accept().await {
        let (responses, answered) = (Arc::clone(&responses), Arc::clone(&answered));
        tokio::spawn(async move {
            // A contender that closes a connection is its own affair.
            let _ = connection(stream, &responses, &answered).await;
        });
    }
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn connection(
    mut stream: TcpStream,
    responses: &[(&str, Vec<u8>)],
    answered: &AtomicU64,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let posted = response("200 OK", b"taken, thank you");
    let refused = response("400 Bad Request", b"the origin did not understand\n");
    let mut buffer = Vec::with_capacity(4 * MAX_HEAD);
    loop {
        let Some(request) = head(&mut stream, &mut buffer).await? else { return Ok(()) };
        // What a contender made of the request's body must be all there.
        while buffer.len() < request.head + request.body {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let answer = match (request.method, &request.path) {
            (Method::Get, path) => {
                responses.iter().find(|(known, _)| known == path).map_or(&refused, |(_, bytes)| bytes)
            }
            (Method::Post, _) if request.body > 0 => &posted,
            (Method::Post | Method::Other, _) => &refused,
        };
        buffer.drain(..request.head + request.body);
        // Counted before it is sent: who reads the answer finds it counted.
        answered.fetch_add(1, Ordering::SeqCst);
        stream.write_all(answer).await?;
        if !request.keep_alive {
            return stream.shutdown().await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Get,
    Post,
    Other,
}

/// What the origin needs to know of a request.
#[derive(Debug, PartialEq)]
struct Request {
    method: Method,
    path: String,
    /// Bytes of the head.
    head: usize,
    /// Bytes of the body.
    body: usize,
    keep_alive: bool,
}

/// Reads until a whole head is in `buffer`; none at the connection's end.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    loop {
        if let Some(request) = parse(buffer).map_err(std::io::Error::other)? {
            return Ok(Some(request));
        }
        if buffer.len() > MAX_HEAD || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Request>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        _ => Method::Other,
    };
    let (mut body, mut keep_alive) = (0, request.version == Some(1));
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|e| e.to_string())?;
            body = text.trim().parse().map_err(|_| format!("content-length `{text}`"))?;
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep_alive &= !header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("the length was known, and the contender sent chunks".to_owned());
        }
    }
    Ok(Some(Request { method, path: request.path.unwrap_or_default().to_owned(), head, body, keep_alive }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let get = b"GET /1k HTTP/1.1\r\nHost: x\r\n\r\nrest";
        let expected =
            Request { method: Method::Get, path: "/1k".to_owned(), head: 29, body: 0, keep_alive: true };
        assert_eq!(parse(get), Ok(Some(expected)));
        let post = parse(b"POST /post HTTP/1.1\r\ncontent-length: 3\r\nConnection: close\r\n\r\nabc")
            .unwrap()
            .unwrap();
        assert_eq!((post.method, post.body, post.keep_alive), (Method::Post, 3, false));
        assert_eq!(parse(b"GET /1k HTTP/1.1\r\nHost:"), Ok(None));
        assert!(parse(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"\x00\x01\x02").is_err());
    }

    #[test]
    fn bodies_differ_along_their_length() {
        let body = body(1 << 20);
        assert_ne!(body[..1024], body[1024..2048]);
        assert_ne!(body[..65_536], body[65_536..131_072]);
    }
}
