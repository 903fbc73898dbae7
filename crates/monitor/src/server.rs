//! HTTP/1.1 for page and API: bounded connections, bounded requests, time limits.

use crate::api::encode::Encoding;
use crate::api::prometheus::Asked;
use crate::state::{State, lock};
use crate::{api, host, page, probe};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use role::Shutdown;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Connections open at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;

/// A request's head must arrive within this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A form must arrive within this.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a form.
const MAX_FORM: usize = 1 << 20;

/// The longest life of a connection; a browser opens another one unseen.
const MAX_LIFE: Duration = Duration::from_secs(300);

/// Requests under way may take this long once draining has begun.
const DRAIN: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The media type.
    pub(crate) content_type: &'static str,
    /// The content.
    pub(crate) body: Bytes,
    /// What names this content; a request that has it gets 304.
    pub(crate) etag: Option<String>,
    /// Further headers.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// 200 with JSON.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self::of(StatusCode::OK, "application/json", body)
    }

    /// Plain text.
    pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::of(status, "text/plain; charset=utf-8", body)
    }

    /// An answer with nothing but content.
    pub(crate) fn of(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), etag: None, headers: Vec::new() }
    }
}

/// The sockets that serve. They follow the revision: [`Sockets::follow`].
#[derive(Default)]
pub(crate) struct Sockets {
    serving: Vec<(SocketAddr, watch::Sender<bool>)>,
    gate: Option<Arc<Semaphore>>,
}

impl Sockets {
    /// Serves on `listener`; `asked` is the address that the revision names.
    pub(crate) fn serve(
        &mut self,
        asked: SocketAddr,
        listener: TcpListener,
        state: &Arc<State>,
        shutdown: &Shutdown,
    ) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let gate = self.gate.get_or_insert_with(|| Arc::new(Semaphore::new(MAX_CONNECTIONS))).clone();
        let (stop, stopped) = watch::channel(false);
        self.serving.push((asked, stop));
        lock(&state.listening).push(local);
        tokio::spawn(accept(listener, state.clone(), gate, shutdown.clone(), stopped));
        Ok(())
    }

    /// The addresses the revision asked for that are served.
    pub(crate) fn asked(&self) -> Vec<SocketAddr> {
        self.serving.iter().map(|(asked, _)| *asked).collect()
    }

    /// Stops accepting where the revision does not ask any more.
    pub(crate) fn close_others(&mut self, asked: &[SocketAddr], state: &State) {
        let mut at = 0;
        self.serving.retain(|(address, stop)| {
            let keep = asked.contains(address);
            if keep {
                at += 1;
            } else {
                stop.send_replace(true);
                lock(&state.listening).remove(at);
            }
            keep
        });
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    state: Arc<State>,
    gate: Arc<Semaphore>,
    shutdown: Shutdown,
    mut stopped: watch::Receiver<bool>,
) {
    let private = listener.local_addr().is_ok_and(host::is_private);
    loop {
        let Ok(permit) = gate.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => return,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: leave room for those who free some.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (state, shutdown) = (state.clone(), shutdown.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&state, private, request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(64);
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            // Errors of one connection concern its client alone.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = over(&shutdown) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(DRAIN, connection).await;
                }
            }
            drop(permit);
        });
    }
}

/// When a connection must end: the monitor drains, or it has lived long enough. A
/// client that takes no answer would otherwise keep its place for ever.
async fn over(shutdown: &Shutdown) {
    let _ = tokio::time::timeout(MAX_LIFE, shutdown.wait()).await;
}

async fn answer(
    state: &Arc<State>,
    private: bool,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let head_only = request.method() == Method::HEAD;
    let encoding = Encoding::wanted(request.headers());
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let reply = match private.then(|| host::stranger(&request)).flatten() {
        Some(stranger) => misdirected(&stranger),
        None => match host::foreign(&request) {
            Some(site) => cross_origin(&site),
            None => Box::pin(respond(state, request)).await,
        },
    };
    let unchanged = match (&reply.etag, known.as_ref().and_then(|k| k.to_str().ok())) {
        (Some(etag), Some(known)) => known.split(',').any(|k| k.trim().trim_start_matches("W/") == etag),
        _ => false,
    };
    // What has a name is served as it is: its name would not be that of the smaller one.
    let packed = match encoding.filter(|_| reply.etag.is_none()) {
        Some(encoding) => encoding.encode(reply.body.clone()).await.map(|body| (encoding, body)),
        None => None,
    };
    let body = packed.as_ref().map_or(&reply.body, |(_, body)| body).clone();
    let length = body.len();
    let mut response = Response::new(Full::new(if head_only || unchanged { Bytes::new() } else { body }));
    *response.status_mut() = if unchanged { StatusCode::NOT_MODIFIED } else { reply.status };
    let headers = response.headers_mut();
    for (name, value) in FIXED_HEADERS {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Some((encoding, _)) = packed {
        headers.insert(header::CONTENT_ENCODING, encoding.header());
    }
    // RFC 9110 §12.5.5: another client may be sent other bytes.
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if head_only {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let cache = if reply.etag.is_some() { "no-cache" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.extend(reply.headers.into_iter().map(|(name, value)| (Some(name), value)));
    if let Some(etag) = reply.etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// RFC 9110 §15.5.20: not what this server answers for.
fn misdirected(host: &str) -> Reply {
    let host: String = host.chars().take(300).collect();
    Reply::text(
        StatusCode::MISDIRECTED_REQUEST,
        format!(
            "`{host}` is not answered for here: on loopback, only an IP address, `localhost` and names below it are; \
             hint: ask for the page by its address; a proxy before it sends `Host: localhost`\n"
        ),
    )
}

/// What a page of another site made a browser send.
fn cross_origin(site: &str) -> Reply {
    let site: String = site.chars().take(300).collect();
    Reply::text(
        StatusCode::FORBIDDEN,
        format!(
            "a page of `{site}` may not POST here; hint: Grafana's access mode is \"Server\"; programs send no `Origin`\n"
        ),
    )
}

/// Nothing from elsewhere runs in the page, and the page runs in nothing else.
const FIXED_HEADERS: &[(HeaderName, &str)] = &[
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

async fn respond(state: &Arc<State>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if crate::push::is_push(path) {
        return state.push.answer(state, &head, body).await;
    }
    if let Some(endpoint) = path.strip_prefix("/api/v2/") {
        return alertmanager(state, &head, endpoint, body).await;
    }
    let put = head.method == Method::PUT && path.starts_with("/api/v1/");
    if !matches!(head.method, Method::GET | Method::HEAD | Method::POST) && !put {
        return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST are served here\n");
    }
    let mut params = role::admin::decode_query(head.uri.query().unwrap_or_default());
    if matches!(head.method, Method::POST | Method::PUT) {
        match form(&head.headers, body).await {
            Ok(mut form) => {
                // The form's values come first, as in Go's `Request.Form`.
                form.append(&mut params);
                params = form;
            }
            Err(reply) => return reply,
        }
    }
    if let Some(endpoint) = path.strip_prefix("/api/v1/") {
        let asked = Asked { method: &head.method, headers: &head.headers, params: api::Params(params) };
        return api::prometheus::answer(state, endpoint, &asked).await;
    }
    if path == "/federate" {
        let asked = Asked { method: &head.method, headers: &head.headers, params: api::Params(params) };
        return api::prometheus::federate::answer(state, &asked).await;
    }
    if let Some(endpoint) = path.strip_prefix("/api/bastide/v1/") {
        return api::ours::answer(state, endpoint, &api::Params(params)).await;
    }
    match path {
        "/-/healthy" => Reply::text(StatusCode::OK, "healthy\n"),
        "/-/ready" => match state.ready() {
            Ok(()) => Reply::text(StatusCode::OK, "ready\n"),
            Err(why) => Reply::text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
        },
        _ => probe::page::answer(state, path).or_else(|| page::answer(path)).unwrap_or_else(|| {
            Reply::text(
                StatusCode::NOT_FOUND,
                "nothing is served here; the page is at `/`, the API below `/api/v1/`\n",
            )
        }),
    }
}

/// Alertmanager's API: JSON both ways. The type is asked for, because a page of
/// another origin cannot send it unasked.
async fn alertmanager(
    state: &Arc<State>,
    head: &hyper::http::request::Parts,
    endpoint: &str,
    body: Incoming,
) -> Reply {
    let params = api::Params(role::admin::decode_query(head.uri.query().unwrap_or_default()));
    let mut read = Bytes::new();
    if head.method == Method::POST {
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            let hint = "a body here is JSON; hint: `Content-Type: application/json`\n";
            return Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, hint);
        }
        let limited = Limited::new(body, api::alerts::MAX_BODY).collect();
        read = match tokio::time::timeout(BODY_TIMEOUT, limited).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                return Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "a body here has at most 4 MiB\n");
            }
            Err(_) => return Reply::text(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        };
    }
    api::alerts::answer(state, api::alerts::Asker::Page, &head.method, endpoint, &params, &read)
}

async fn form(headers: &hyper::HeaderMap, body: Incoming) -> Result<Vec<(String, String)>, Reply> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.is_empty() && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Reply::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a POST is a form; hint: `Content-Type: application/x-www-form-urlencoded`\n",
        ));
    }
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_FORM).collect()).await;
    match read {
        Ok(Ok(body)) => Ok(role::admin::decode_query(&String::from_utf8_lossy(&body.to_bytes()))),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "a form has at most 1 MiB\n"))
        }
        Ok(Err(_)) => Err(Reply::text(StatusCode::BAD_REQUEST, "the form cannot be read\n")),
        Err(_) => Err(Reply::text(StatusCode::REQUEST_TIMEOUT, "the form took too long\n")),
    }
}
