//! The other end of an admin socket: for `control`, the monitor's scraper and
//! the command line.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Method;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An answer's body, at most.
const MAX_BODY: usize = 64 << 20;

/// One role's admin socket.
#[derive(Clone, Debug)]
pub struct Admin {
    path: PathBuf,
    timeout: Duration,
}

/// Why a role did not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// Nobody answers there, or not in time.
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It answered with errors.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, one sentence each.
        errors: Vec<String>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { path, why } => write!(f, "no answer from `{}`: {why}", path.display()),
            Self::Refused { errors, .. } => f.write_str(&errors.join("; ")),
        }
    }
}

impl std::error::Error for Error {}

impl Admin {
    /// The socket at `path`; requests wait 30 seconds.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), timeout: Duration::from_secs(30) }
    }

    /// With another time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// GET, as JSON.
    pub async fn get(&self, target: &str) -> Result<Value, Error> {
        self.json(Method::GET, target, Vec::new()).await
    }

    /// POST of JSON, answered with JSON.
    pub async fn post(&self, target: &str, body: &impl Serialize) -> Result<Value, Error> {
        self.json(Method::POST, target, serde_json::to_vec(body).map_err(|e| self.unreachable(e))?).await
    }

    /// PUT of JSON, answered with JSON.
    pub async fn put(&self, target: &str, body: &impl Serialize) -> Result<Value, Error> {
        self.json(Method::PUT, target, serde_json::to_vec(body).map_err(|e| self.unreachable(e))?).await
    }

    /// DELETE, answered with JSON.
    pub async fn delete(&self, target: &str) -> Result<Value, Error> {
        self.json(Method::DELETE, target, Vec::new()).await
    }

    async fn json(&self, method: Method, target: &str, body: Vec<u8>) -> Result<Value, Error> {
        let (status, body) = self.send(method, target, body).await?;
        let value: Value = serde_json::from_slice(&body).map_err(|e| self.unreachable(e))?;
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let errors = value["errors"]
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Err(Error::Refused { status, errors: errors.unwrap_or_else(|| vec![value.to_string()]) })
    }

    /// GET as text: `/metrics`.
    pub async fn text(&self, target: &str) -> Result<String, Error> {
        let (status, body) = self.send(Method::GET, target, Vec::new()).await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if (200..300).contains(&status) {
            Ok(text)
        } else {
            Err(Error::Refused { status, errors: vec![text] })
        }
    }

    async fn send(&self, method: Method, target: &str, body: Vec<u8>) -> Result<(u16, Bytes), Error> {
        let exchange = async {
            let stream = tokio::net::UnixStream::connect(&self.path).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            let driver = tokio::spawn(connection);
            let request = hyper::Request::builder()
                .method(method)
                .uri(target)
                .header("host", "admin")
                .body(Full::new(Bytes::from(body)))
                .map_err(io::Error::other)?;
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_BODY)
                .collect()
                .await
                .map_err(io::Error::other)?
                .to_bytes();
            driver.abort();
            Ok::<_, io::Error>((status, body))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(self.unreachable(format!("nothing within {:?}", self.timeout))),
        }
    }

    fn unreachable(&self, why: impl fmt::Display) -> Error {
        Error::Unreachable { path: self.path.clone(), why: why.to_string() }
    }
}
