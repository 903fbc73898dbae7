//! A small HTTP/1.1 client that waits: one connection, one request at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a wait for an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to a contender.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends a remote-write request; `Ok` means that it was acknowledged.
    pub(crate) fn write(&mut self, snappy: &[u8]) -> Result<(), String> {
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        let (status, body) = self.send("POST", "/api/v1/write", headers, snappy)?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        Err(format!("a write was answered with {status}: {}", String::from_utf8_lossy(&body).trim()))
    }

    /// Asks; anything but success is an error.
    pub(crate) fn get(&mut self, target: &str) -> Result<Vec<u8>, String> {
        self.ask("GET", target)
    }

    pub(crate) fn post(&mut self, target: &str) -> Result<Vec<u8>, String> {
        self.ask("POST", target)
    }

    fn ask(&mut self, method: &str, target: &str) -> Result<Vec<u8>, String> {
        let (status, body) = self.send(method, target, "", b"")?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        Err(format!("`{target}` was answered with {status}: {}", String::from_utf8_lossy(&body).trim()))
    }

    fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>), String> {
        let sent = self.try_send(method, target, headers, body);
        if sent.is_err() {
            self.stream = None;
        }
        sent.map_err(|error| format!("{method} {target}: {error}"))
    }

    fn try_send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                none.insert(BufReader::with_capacity(1 << 16, stream))
            }
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let odd = |what: &str| std::io::Error::other(what.to_owned());
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| odd("the connection ended before an answer"))?;
        let (mut length, mut chunked, mut close) = (0usize, false, false);
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(|_| odd("a length that is no number"))?,
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                line.clear();
                stream.read_line(&mut line)?;
                let size =
                    usize::from_str_radix(line.trim_end(), 16).map_err(|_| odd("a chunk without size"))?;
                let begin = answer.len();
                answer.resize(begin + size, 0);
                stream.read_exact(&mut answer[begin..])?;
                line.clear();
                stream.read_line(&mut line)?;
                if size == 0 {
                    break;
                }
            }
        } else {
            answer.resize(length, 0);
            stream.read_exact(&mut answer)?;
        }
        if close {
            self.stream = None;
        }
        Ok((status, answer))
    }
}
