//! The life of a request, from its head to the beginning of its answer. What
//! comes before (the connection, TLS, the guard) is in `worker` and
//! `client_stream`; what comes after (the answer's body, the counters, the line
//! in the access log) ends with [`ResponseBody`] and its [`Exchange`].

use crate::body::{BodyFault, FromServer, Lazy, RequestBody, ResponseBody, Source};
use crate::compiled::{Compiled, PoolState};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::files::{self, Folder};
use crate::headers::{self, Passing};
use crate::inspect::{self, Inspection};
use crate::pages::Answer;
use crate::tunnel;
use crate::upstream::{self, Failure, Outgoing};
use edge_http::check::{check_head, page_kind};
use edge_http::path::normal;
use edge_http::{Client, Refusal, RequestHead, forwarded, hygiene};
use edge_route::Found;
use edge_route::settings::Action;
use hyper::body::{Body, Incoming};
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};
use std::net::IpAddr;
use std::sync::Arc;
use waf::Verdict;

/// Bodies of repeatable requests up to this size are held in memory, so that
/// they can be sent to another server.
const REPEATABLE_BODY: u64 = 64 << 10;

/// Answers one request, whatever comes of it.
pub(crate) async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let number = connection.begin_request();
    let (mut parts, body) = request.into_parts();
    let switch = parts.extensions.remove::<OnUpgrade>();
    let request_id = headers::request_id(&parts, &connection);
    let mut exchange = Box::new(Exchange::begin(&connection, &parts, request_id));

    let served = serve(&connection, number, &parts, body, &mut exchange).await;
    let http1 = parts.version != Version::HTTP_2;
    let mut response = match served {
        Ok(Served::Response(response)) => response,
        Ok(Served::Switch(response, answered, server)) => {
            connection.decide_upgrade(true);
            exchange.status = response.status().as_u16();
            let idle = connection.compiled.timeouts.idle.duration();
            if let Some(client) = switch {
                tokio::spawn(tunnel::run(client, server, exchange, answered, idle));
            }
            return response;
        }
        Err(answer) => {
            // A chunk out of frame was counted where it was seen.
            if let Answer::Refused(refusal) = answer
                && refusal != Refusal::Chunk
            {
                connection.worker.edge.refused(exchange.client, refusal, &parts);
            }
            if let Answer::Blocked(_, id) = answer {
                exchange.waf = Some(id);
            }
            let lines = headers::lines(&parts);
            let kind = page_kind(&headers::request_head(&parts, &lines));
            answer.response(kind, &exchange.request_id, http1)
        }
    };
    connection.decide_upgrade(false);
    exchange.status = response.status().as_u16();
    response.body_mut().ends(exchange);
    response
}

/// What a request came to.
enum Served {
    Response(Response<ResponseBody>),
    /// The web server switched protocols.
    Switch(Response<ResponseBody>, upstream::Answered, OnUpgrade),
}

/// The journey itself, from top to bottom.
async fn serve(
    connection: &Arc<Connection>,
    number: u64,
    parts: &Parts,
    body: Incoming,
    exchange: &mut Exchange,
) -> Result<Served, Answer> {
    let edge = &connection.worker.edge;
    let site = edge.current();

    // What the guard refused, and what no version of HTTP may say.
    if let Some(refusal) = connection.refusal_of(number) {
        exchange.stand_in = true;
        return Err(Answer::Refused(refusal));
    }
    let lines = headers::lines(parts);
    let head = headers::request_head(parts, &lines);
    if lines.len() > site.limits.header_lines as usize {
        return Err(Answer::Refused(Refusal::TooManyHeaders));
    }
    check_head(&head).map_err(Answer::Refused)?;
    if hygiene::hops(&head) >= hygiene::MAX_HOPS {
        return Err(Answer::Refused(Refusal::Loop));
    }

    // Who asks.
    let client = forwarded::resolve(connection.peer, connection.https, &site.settings.trusted_proxies, &head);
    exchange.client = client.ip;
    if edge.is_banned(client.ip) {
        edge.metrics.banned.inc();
        return Err(Answer::Banned);
    }

    // For whom: the site's hosts alone. A request without one (HTTP/1.0) is for the first.
    if !head.authority.is_empty() && !site.knows_host(head.host()) {
        return Err(Answer::Refused(Refusal::UnknownHost));
    }
    if connection.redirects {
        return Err(Answer::Redirect(308, edge.https_url(&site, &head)));
    }

    // To what: the first route that fits.
    let path = normal(head.path());
    let index = match site.table.find(head.host(), &path, head.method) {
        Found::Route(index) => index,
        Found::Nothing => return Err(Answer::NotFound),
        Found::OtherMethods => {
            return Err(Answer::MethodNotAllowed(site.table.allowed(head.host(), &path).join(", ")));
        }
    };
    let route = site.table.route(index);
    let state = &site.routes[index];
    exchange.pool.clone_from(&state.pool);
    if let Err(wait_us) = state.limit(client.ip, edge.now_us()) {
        state.limited.inc();
        return Err(Answer::RateLimited(wait_us.div_ceil(1_000_000)));
    }

    // With what body, and is it an attack?
    let mut body = take_body(connection, &site, body)?;
    if route.waf {
        exchange.waf = inspect(connection, &site, &head, client.ip, &mut body).await?;
    }

    // Who answers.
    match &route.action {
        Action::Redirect { to, status } => {
            let to = edge_route::table::redirect_target(to, head.path(), head.query());
            Err(Answer::Redirect(*status, to))
        }
        Action::Files { folder, index: file, cache_control } => {
            let rest = site.table.stripped(index, head.path(), &path);
            let folder = Folder { folder, index: file.as_deref(), cache_control: cache_control.as_deref() };
            files::serve(&head, &rest, folder).await.map(Served::Response)
        }
        Action::Pool { strip_prefix, .. } => {
            let pool = state.pool.as_ref().ok_or(Answer::Internal)?;
            let stripped = strip_prefix.then(|| site.table.stripped(index, head.path(), &path));
            let target = headers::target(parts, stripped.as_deref()).ok_or(Answer::Internal)?;
            let passing =
                Passing::new(connection, &site, parts, &head, &client, target, exchange.request_id.clone());
            pass_on(connection, &site, pool, passing, body, exchange).await
        }
    }
}

/// The request's body, if its announced length is allowed.
fn take_body(connection: &Arc<Connection>, site: &Compiled, body: Incoming) -> Result<RequestBody, Answer> {
    if body.is_end_stream() {
        return Ok(RequestBody::Empty);
    }
    let limit = if site.limits.body.0 == 0 { u64::MAX } else { site.limits.body.0 };
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > limit) {
        return Err(Answer::Refused(Refusal::BodyTooLarge));
    }
    // A body that nobody announced is measured as it comes.
    Ok(RequestBody::stream(None, body, limit, connection))
}

/// Shows the request to the WAF. The answer is the event that was written, if any.
async fn inspect(
    connection: &Arc<Connection>,
    site: &Compiled,
    head: &RequestHead<'_>,
    client: IpAddr,
    body: &mut RequestBody,
) -> Result<Option<base::EventId>, Answer> {
    let Some(engine) = &site.waf else { return Ok(None) };
    let mut inspection = Inspection::begin(engine, client);
    let body_follows = !matches!(body, RequestBody::Empty) && engine.wants_body(head);
    let mut verdict = inspection.head(head, body_follows);
    if body_follows && verdict == Verdict::Pass {
        let (bytes, whole) = body.gather(engine.body_limit()).await.map_err(body_answer)?;
        verdict = inspection.body(&bytes, whole);
    }
    match inspection.end(&connection.worker.edge, head, client, verdict) {
        inspect::Outcome::Clean => Ok(None),
        inspect::Outcome::Noted(id) => Ok(Some(id)),
        inspect::Outcome::Refused(status, id) => Err(Answer::Blocked(status, id)),
    }
}

/// Sends the request to a web server and begins to pass on what it answers.
async fn pass_on(
    connection: &Arc<Connection>,
    site: &Arc<Compiled>,
    pool: &Arc<PoolState>,
    passing: Passing<'_>,
    mut body: RequestBody,
    exchange: &mut Exchange,
) -> Result<Served, Answer> {
    // RFC 9110 §9.2.2: what may be done twice may be sent twice.
    let idempotent = matches!(passing.method().as_str(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
    let small = body.size_hint().exact().is_some_and(|length| length <= REPEATABLE_BODY);
    if idempotent && small {
        body.gather(REPEATABLE_BODY as usize).await.map_err(body_answer)?;
    }
    let build = |body| passing.request(body);
    let outgoing = Outgoing { build: &build, body, idempotent };
    let sent =
        upstream::send(&connection.worker, pool, outgoing, &site.timeouts, &mut exchange.retries).await;
    let (mut response, answered) = sent.map_err(|failure| match failure {
        Failure::Unavailable => Answer::Unavailable,
        Failure::Broke => Answer::BadGateway,
        Failure::TimedOut => Answer::GatewayTimeout,
        Failure::Body(fault) => body_answer(fault),
    })?;
    exchange.server = Some(answered.server.clone());

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Unasked for, it cannot be passed on.
        let Some(protocol) = passing.upgrade() else { return Err(Answer::BadGateway) };
        let server = hyper::upgrade::on(&mut response);
        let (parts, _) = response.into_parts();
        let mut response = Response::from_parts(parts, ResponseBody::empty());
        headers::clean_response(response.headers_mut());
        headers::switch(response.headers_mut(), protocol);
        return Ok(Served::Switch(response, answered, server));
    }
    let idle = site.timeouts.idle.duration();
    let mut response = response.map(|incoming| {
        let body = FromServer { incoming, answered, idle, timer: Lazy::default() };
        ResponseBody::new(Source::Server(Box::new(body)))
    });
    headers::clean_response(response.headers_mut());
    Ok(Served::Response(response))
}

/// The answer to a request whose own body failed.
fn body_answer(fault: BodyFault) -> Answer {
    match fault {
        BodyFault::Refused(refusal) => Answer::Refused(refusal),
        _ => Answer::ClientGone,
    }
}

/// What a web server is told about the one who asks, kept here to be named once.
pub(crate) fn told(
    connection: &Connection,
    client: &Client,
    head: &RequestHead<'_>,
) -> [(&'static str, Option<HeaderValue>); 3] {
    let told = forwarded::write(connection.peer, client, head);
    let value = |text: String| HeaderValue::try_from(text).ok();
    [
        ("forwarded", value(told.forwarded)),
        ("x-forwarded-for", value(told.x_for)),
        ("x-forwarded-proto", Some(HeaderValue::from_static(told.x_proto))),
    ]
}
