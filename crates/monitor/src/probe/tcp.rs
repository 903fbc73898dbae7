//! A connection; TLS over it, from the beginning or in the middle; a talk.

use super::net::{self, Trust};
use super::{Findings, Step, Tcp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A longer line is no answer.
const MAX_LINE: usize = 64 << 10;

/// Lines read over while one is waited for.
const MAX_LINES: usize = 1_000;

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Tries a connection.
pub(crate) async fn probe(tcp: &Tcp, findings: &mut Findings) -> Result<(), String> {
    let (host, port) = net::host_and_port(&tcp.address)?;
    let address = net::resolve(host, port, findings).await?;
    let trust = Trust { anyone: tcp.insecure, roots: &tcp.roots };
    let stream = net::connect(address).await?;
    let mut stream = match tcp.tls {
        true => Stream::Tls(Box::new(net::tls(stream, host, &trust, findings).await?)),
        false => Stream::Plain(stream),
    };
    let mut ahead = Vec::new();
    for step in &tcp.talk {
        match step {
            Step::StartTls => {
                if !ahead.is_empty() {
                    return Err("more than a line came before TLS".to_owned());
                }
                stream = match stream {
                    Stream::Plain(plain) => {
                        Stream::Tls(Box::new(net::tls(plain, host, &trust, findings).await?))
                    }
                    Stream::Tls(_) => return Err("TLS is spoken already".to_owned()),
                };
            }
            Step::Send(line) => {
                let text = format!("{line}\r\n");
                let sent = match &mut stream {
                    Stream::Plain(plain) => send(plain, &text).await,
                    Stream::Tls(tls) => send(tls, &text).await,
                };
                sent.map_err(|error| format!("cannot send to {address}: {error}"))?;
            }
            Step::Expect(regex) => {
                let found = match &mut stream {
                    Stream::Plain(plain) => expect(plain, &mut ahead, regex).await,
                    Stream::Tls(tls) => expect(tls, &mut ahead, regex).await,
                };
                findings.set("probe_failed_due_to_regex", f64::from(u8::from(found.is_err())));
                found.map_err(|error| format!("no line of {address} matches `{regex}`: {error}"))?;
            }
        }
    }
    Ok(())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

/// Reads lines until one matches. `ahead` is what was read behind a line.
async fn expect(
    stream: &mut (impl AsyncRead + Unpin),
    ahead: &mut Vec<u8>,
    regex: &regex::bytes::Regex,
) -> Result<(), String> {
    for _ in 0..MAX_LINES {
        let end = loop {
            if let Some(end) = memchr::memchr(b'\n', ahead) {
                break end;
            }
            if ahead.len() > MAX_LINE {
                return Err(format!("a line has more than {MAX_LINE} bytes"));
            }
            let mut bytes = [0; 4 << 10];
            match stream.read(&mut bytes).await {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(count) => ahead.extend_from_slice(&bytes[..count]),
                Err(error) => return Err(error.to_string()),
            }
        };
        let line: Vec<u8> = ahead.drain(..=end).collect();
        if regex.is_match(line.trim_ascii_end()) {
            return Ok(());
        }
    }
    Err(format!("{MAX_LINES} lines came that do not"))
}
