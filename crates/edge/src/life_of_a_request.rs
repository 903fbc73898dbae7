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
use crate::hold::{self, Held};
use crate::inspect::{Asked, Decision, Inspection};
use crate::pages::{Answer, DROPPED};
use crate::tunnel::{self, Switched};
use crate::upstream::{self, Failure, Outgoing};
use crate::websocket::Messages;
use bytes::Bytes;
use edge_http::check::{check_head, page_kind};
use edge_http::path::normal;
use edge_http::{Client, Refusal, RequestHead, forwarded, hygiene};
use edge_route::Found;
use edge_route::settings::Action;
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderValue, SEC_WEBSOCKET_EXTENSIONS};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};
use smallvec::SmallVec;
use std::sync::Arc;

/// Bodies of repeatable requests up to this size are held in memory, so that
/// they can be sent to another server.
const REPEATABLE_BODY: u64 = 64 << 10;

/// Answers one request, whatever comes of it.
pub(crate) async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Dropped> {
    let number = connection.begin_request();
    let (mut parts, body) = request.into_parts();
    let switch = parts.extensions.remove::<OnUpgrade>();
    let request_id = headers::request_id(&parts, &connection);
    let mut exchange = Box::new(Exchange::begin(&connection, &parts, request_id));

    let served = serve(&connection, number, &parts, body, &mut exchange).await;
    let http1 = parts.version != Version::HTTP_2;
    let mut response = match served {
        Ok(Served::Response(response)) => response,
        Ok(Served::Switch(response, switched)) => {
            connection.decide_upgrade(true);
            exchange.status = response.status().as_u16();
            let idle = connection.compiled.timeouts.idle.duration();
            if let Some(client) = switch {
                tokio::spawn(tunnel::run(client, switched, exchange, idle));
            }
            return Ok(response);
        }
        Err(answer) => {
            // A chunk out of frame was counted where it was seen.
            if let Answer::Refused(refusal) = answer
                && refusal != Refusal::Chunk
            {
                connection.worker.edge.refused(exchange.client, refusal, &parts);
            }
            exchange.waf = answer.event().or(exchange.waf);
            if let Answer::Dropped(_) = answer {
                connection.decide_upgrade(false);
                exchange.status = DROPPED;
                return Err(Dropped);
            }
            let lines = headers::lines(&parts);
            let kind = page_kind(&headers::request_head(&parts, &lines));
            answer.response(kind, &exchange.request_id, http1)
        }
    };
    connection.decide_upgrade(false);
    exchange.status = response.status().as_u16();
    response.body_mut().ends(exchange);
    Ok(response)
}

/// The client gets no answer: its connection ends, or its stream of HTTP/2 is reset.
#[derive(Debug)]
pub(crate) struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ended by a rule of the WAF")
    }
}

impl std::error::Error for Dropped {}

/// What a request came to.
enum Served {
    Response(Response<ResponseBody>),
    /// The web server switched protocols.
    Switch(Response<ResponseBody>, Box<Switched>),
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
    let mut inspection = None;
    if let Some(waf) = &state.waf {
        let asked = Asked {
            client: client.ip,
            client_port: if client.behind_proxy { 0 } else { connection.peer_port },
            behind_proxy: client.behind_proxy,
            server: connection.server,
            request_id: exchange.request_id.clone(),
            waf: waf.clone(),
        };
        inspection = Some(inspect(connection, &head, asked, &mut body).await?);
    }

    // Who answers, and may the client see it?
    let served = match &route.action {
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
            let mut passing =
                Passing::new(connection, &site, parts, &head, &client, target, exchange.request_id.clone());
            if state.waf.as_ref().is_some_and(|waf| waf.websocket) && passing.wants_websocket() {
                passing.without_websocket_extensions();
            }
            pass_on(connection, &site, pool, passing, body, exchange, &mut inspection).await
        }
    };
    match inspection {
        None => served,
        Some(inspection) => tell(inspection, served, connection, parts, exchange),
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

/// Shows the request to the WAF: head, then body, which is held back as far as it is
/// looked at and goes on unchanged.
async fn inspect<'a>(
    connection: &'a Arc<Connection>,
    head: &'a RequestHead<'a>,
    asked: Asked,
    body: &mut RequestBody,
) -> Result<Inspection<'a>, Answer> {
    let mut inspection = Inspection::begin(&connection.worker, head, asked);
    let decision = inspection.request_head();
    if !decision.passes() {
        return Err(inspection.refuse(decision));
    }
    let wanted = inspection.wants_request_body().filter(|_| !matches!(body, RequestBody::Empty));
    let (bytes, whole) = match wanted {
        Some(limit) => body.gather(limit).await.map_err(body_answer)?,
        None => (Bytes::new(), true),
    };
    let decision = inspection.request_body(bytes, whole);
    if decision.passes() { Ok(inspection) } else { Err(inspection.refuse(decision)) }
}

/// Ends the inspection of what goes on: what matched is written down. Messages of a
/// WebSocket are inspected on their own.
fn tell(
    inspection: Inspection<'_>,
    served: Result<Served, Answer>,
    connection: &Arc<Connection>,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Result<Served, Answer> {
    let asked = inspection.asked().clone();
    let ended = inspection.end();
    exchange.waf = ended.event;
    let served = served?;
    let Served::Switch(response, mut switched) = served else { return Ok(served) };
    if asked.waf.websocket && switched.is_websocket {
        switched.messages = Some(Messages::new(connection, parts, asked, ended.told));
    }
    Ok(Served::Switch(response, switched))
}

/// Sends the request to a web server and begins to pass on what it answers.
async fn pass_on(
    connection: &Arc<Connection>,
    site: &Arc<Compiled>,
    pool: &Arc<PoolState>,
    passing: Passing<'_>,
    mut body: RequestBody,
    exchange: &mut Exchange,
    inspection: &mut Option<Inspection<'_>>,
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

    if let Some(looking) = inspection {
        let decision = shown_head(looking, &response);
        if !decision.passes() {
            return Err(withhold(inspection, decision));
        }
    }

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Unasked for, it cannot be passed on.
        let Some(protocol) = passing.upgrade() else { return Err(Answer::BadGateway) };
        let is_websocket = passing.wants_websocket();
        if passing.may_not_be_extended() && response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            // RFC 6455 §4.1: an extension that was not offered. Its messages could not be read.
            return Err(Answer::BadGateway);
        }
        let server = hyper::upgrade::on(&mut response);
        let (parts, _) = response.into_parts();
        let mut response = Response::from_parts(parts, ResponseBody::empty());
        headers::clean_response(response.headers_mut());
        headers::switch(response.headers_mut(), protocol);
        let switched = Switched { server, answered, is_websocket, messages: None };
        return Ok(Served::Switch(response, Box::new(switched)));
    }
    let idle = site.timeouts.idle.duration();
    let mut answered = answered;
    let mut held = Held::default();
    if let Some(looking) = inspection {
        let holds = hold::may_hold(passing.method(), response.status(), response.headers(), response.body());
        let wanted = looking.wants_response_body().filter(|_| holds);
        if let Some(limit) = wanted {
            let room = &connection.worker.edge.held;
            held = hold::hold(response.body_mut(), limit, idle, room).await.map_err(|fault| match fault {
                BodyFault::ServerSilent => Answer::GatewayTimeout,
                _ => Answer::BadGateway,
            })?;
            if held.whole {
                answered.complete();
            }
        }
        let decision = match wanted {
            Some(_) => looking.response_body(&held.text(), held.whole),
            None => looking.response_body(b"", true),
        };
        if !decision.passes() {
            return Err(withhold(inspection, decision));
        }
    }
    let mut response = response.map(|incoming| {
        let body = FromServer { held, incoming, answered, idle, timer: Lazy::default() };
        ResponseBody::new(Source::Server(Box::new(body)))
    });
    headers::clean_response(response.headers_mut());
    Ok(Served::Response(response))
}

/// Shows an answer's head to the WAF.
fn shown_head(inspection: &mut Inspection<'_>, response: &Response<Incoming>) -> Decision {
    let lines: SmallVec<[(&[u8], &[u8]); 24]> =
        response.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    let version = if response.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    inspection.response_head(response.status().as_u16(), version, &lines)
}

/// What the client gets in place of an answer that it may not see.
fn withhold(inspection: &mut Option<Inspection<'_>>, decision: Decision) -> Answer {
    inspection.take().map_or(Answer::Internal, |inspection| inspection.refuse(decision))
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
