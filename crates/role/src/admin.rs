//! The admin socket: HTTP/1.1 on `<run>/ROLE.sock`, mode 0600.
//!
//! | | |
//! |---|---|
//! | `GET /metrics` | text exposition |
//! | `GET /status` | what the role does now, JSON |
//! | `GET /ready` | 200 where it serves, 503 with the reason where not |
//! | `GET /live` | 200 |
//! | `POST /prepare` | a revision (JSON): 200, or 422 with `{"errors": […]}` |
//! | `POST /commit` | the prepared revision's `{"id": n, "hash": …}`: swap it in; 409 where another was prepared |
//! | `POST /drain` | stop taking work, finish what there is, end |
//!
//! Everything else goes to the role itself.

use crate::metrics::Registry;
use crate::shutdown::Shutdown;
use base::RevisionId;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A request's body, at most: a revision with the Core Rule Set is about 2 MB.
const MAX_BODY: usize = 64 << 20;

/// What a role can be asked and told.
pub trait Role: Send + Sync + 'static {
    /// Its part of the site.
    type Site: DeserializeOwned + Send;
    /// A revision that it has checked and compiled and can swap in at once.
    type Prepared: Send + 'static;

    /// Checks and compiles a revision without touching what runs. The errors are
    /// complete sentences for the operator.
    fn prepare(&self, revision: site::Revision<Self::Site>) -> Result<Self::Prepared, Vec<String>>;

    /// Swaps a prepared revision in. Cannot fail.
    fn commit(&self, prepared: Self::Prepared);

    /// What it does now, for `bastide status`.
    fn status(&self) -> Value;

    /// Whether it serves; the reason where not.
    fn ready(&self) -> Result<(), String>;

    /// Brings gauges up to date before they are read.
    fn gather(&self) {}

    /// Text exposition appended to the registry's at `GET /metrics`: readings made anew for each.
    fn readings(&self) -> BoxFuture<'_, String> {
        Box::pin(async { String::new() })
    }

    /// A path of its own; `None` becomes 404.
    fn handle(&self, _request: Request) -> BoxFuture<'_, Option<Response>> {
        Box::pin(async { None })
    }
}

/// A request to the admin socket.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: Method,
    /// The path, `/bans`.
    pub path: String,
    /// The query's pairs, decoded.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The first value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body read as JSON; the error is a response.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Response> {
        serde_json::from_slice(&self.body).map_err(|e| {
            Response::error(StatusCode::BAD_REQUEST, format!("the body is not what {} takes: {e}", self.path))
        })
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: &'static str,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// 200 with JSON.
    pub fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: StatusCode::OK, content_type: "application/json", body },
            Err(error) => Self::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// An error, as `{"errors": [why]}`.
    pub fn error(status: StatusCode, why: impl Into<String>) -> Self {
        Self::errors(status, vec![why.into()])
    }

    /// Several errors, as `{"errors": [why, …]}`.
    pub fn errors(status: StatusCode, why: Vec<String>) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: json!({ "errors": why }).to_string().into_bytes(),
        }
    }

    fn text(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: body.into_bytes(),
        }
    }
}

/// Which prepared revision to commit.
#[derive(Debug, Deserialize)]
struct Commit {
    id: RevisionId,
    hash: String,
}

struct Shared<R: Role> {
    role: Arc<R>,
    registry: Arc<Registry>,
    shutdown: Shutdown,
    prepared: Mutex<Option<(RevisionId, String, R::Prepared)>>,
}

/// Binds `path` and serves it on the current runtime until the process ends.
pub fn serve<R: Role>(
    path: &Path,
    role: Arc<R>,
    registry: Arc<Registry>,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(sys::socket::listen_unix(path, 0o600)?)?;
    let shared = Arc::new(Shared { role, registry, shutdown, prepared: Mutex::new(None) });
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, most likely: leave room for those who free some.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let shared = shared.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(&shared, request));
                let mut http = hyper::server::conn::http1::Builder::new();
                // Errors of a single admin connection concern its client alone.
                let _ = http
                    .timer(hyper_util::rt::TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(())
}

async fn answer<R: Role>(
    shared: &Shared<R>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let response = respond(shared, request).await;
    let mut answer = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *answer.status_mut() = response.status;
    answer
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(response.content_type));
    Ok(answer)
}

async fn respond<R: Role>(shared: &Shared<R>, request: hyper::Request<Incoming>) -> Response {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return Response::error(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"));
        }
    };
    let path = head.uri.path().to_owned();
    let query = decode_query(head.uri.query().unwrap_or_default());
    match (&head.method, path.as_str()) {
        (&Method::GET, "/metrics") => {
            shared.role.gather();
            let readings = shared.role.readings().await;
            Response::text(shared.registry.expose() + &readings)
        }
        (&Method::GET, "/status") => Response::json(&shared.role.status()),
        (&Method::GET, "/live") => Response::json(&json!({ "live": true })),
        (&Method::GET, "/ready") => match shared.role.ready() {
            Ok(()) => Response::json(&json!({ "ready": true })),
            Err(why) => Response::error(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        (&Method::POST, "/prepare") => prepare(shared, &body),
        (&Method::POST, "/commit") => commit(shared, &body),
        (&Method::POST, "/drain") => {
            shared.shutdown.drain();
            Response::json(&json!({ "draining": true }))
        }
        _ => {
            let request = Request { method: head.method, path, query, body };
            let what = format!("{} {} is not served here", request.method, request.path);
            shared.role.handle(request).await.unwrap_or_else(|| Response::error(StatusCode::NOT_FOUND, what))
        }
    }
}

fn prepare<R: Role>(shared: &Shared<R>, body: &[u8]) -> Response {
    let revision: site::Revision<R::Site> = match serde_json::from_slice(body) {
        Ok(revision) => revision,
        Err(error) => {
            let why = format!("the revision cannot be read: {error}");
            return Response::error(StatusCode::UNPROCESSABLE_ENTITY, why);
        }
    };
    let (id, hash) = (revision.id, revision.hash.clone());
    match shared.role.prepare(revision) {
        Ok(prepared) => {
            *shared.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, hash, prepared));
            Response::json(&json!({ "prepared": id }))
        }
        Err(errors) => Response::errors(StatusCode::UNPROCESSABLE_ENTITY, errors),
    }
}

fn commit<R: Role>(shared: &Shared<R>, body: &[u8]) -> Response {
    let Ok(wanted) = serde_json::from_slice::<Commit>(body) else {
        return Response::error(StatusCode::BAD_REQUEST, "commit takes {\"id\": n, \"hash\": \"…\"}");
    };
    let mut slot = shared.prepared.lock().unwrap_or_else(PoisonError::into_inner);
    match slot.take() {
        Some((id, hash, prepared)) if id == wanted.id && hash == wanted.hash => {
            shared.role.commit(prepared);
            Response::json(&json!({ "committed": id }))
        }
        other => {
            *slot = other;
            Response::error(StatusCode::CONFLICT, format!("revision {} is not the prepared one", wanted.id))
        }
    }
}

/// Splits a query and undoes percent-encoding and `+`.
pub fn decode_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let bytes = text.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut i = 0;
        while i < bytes.len() {
            let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
            match (bytes[i], hex(i + 1), hex(i + 2)) {
                (b'%', Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    i += 3;
                }
                (b'+', ..) => {
                    out.push(b' ');
                    i += 1;
                }
                (byte, ..) => {
                    out.push(byte);
                    i += 1;
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Admin;

    struct Echo(Mutex<String>);

    impl Role for Echo {
        type Site = String;
        type Prepared = String;

        fn prepare(&self, revision: site::Revision<String>) -> Result<String, Vec<String>> {
            if revision.site == "bad" { Err(vec!["bad it is".into()]) } else { Ok(revision.site) }
        }

        fn commit(&self, prepared: String) {
            *self.0.lock().unwrap() = prepared;
        }

        fn status(&self) -> Value {
            json!({ "runs": *self.0.lock().unwrap() })
        }

        fn ready(&self) -> Result<(), String> {
            Err("warming up".into())
        }

        fn handle(&self, request: Request) -> BoxFuture<'_, Option<Response>> {
            Box::pin(async move { (request.path == "/echo").then(|| Response::json(&request.query)) })
        }
    }

    fn revision(id: u64, site: &str) -> site::Revision<String> {
        site::Revision { id: RevisionId(id), hash: format!("h{id}"), made_at_ms: 0, site: site.into() }
    }

    #[tokio::test]
    async fn a_revision_is_prepared_then_committed_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let role = Arc::new(Echo(Mutex::new("first".into())));
        serve(&path, role, Arc::default(), Shutdown::manual()).unwrap();
        let admin = Admin::new(&path);

        let refused = admin.post("/prepare", &revision(2, "bad")).await.unwrap_err();
        assert!(refused.to_string().contains("bad it is"), "{refused}");
        admin.post("/prepare", &revision(3, "second")).await.unwrap();
        let other = admin.post("/commit", &json!({ "id": 2, "hash": "h2" })).await.unwrap_err();
        assert!(other.to_string().contains("not the prepared one"), "{other}");
        assert_eq!(admin.get("/status").await.unwrap()["runs"], "first");
        admin.post("/commit", &json!({ "id": 3, "hash": "h3" })).await.unwrap();
        assert_eq!(admin.get("/status").await.unwrap()["runs"], "second");

        assert!(admin.get("/ready").await.unwrap_err().to_string().contains("warming up"));
        assert_eq!(
            admin.get("/echo?a=1%2F2&b=x+y&c").await.unwrap(),
            json!([["a", "1/2"], ["b", "x y"], ["c", ""]])
        );
        assert!(admin.get("/nothing").await.unwrap_err().to_string().contains("not served here"));
    }
}
