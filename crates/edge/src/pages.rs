//! What we answer ourselves: refusals, errors, redirects; for a person in HTML,
//! for a program in JSON.

use crate::body::ResponseBody;
use base::EventId;
use bytes::Bytes;
use edge_http::Refusal;
use edge_http::check::PageKind;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// The status noted where a connection was ended without an answer (nginx' custom; no
/// such status goes over the wire).
pub(crate) const DROPPED: u16 = 444;

/// An answer of our own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The request is refused before routing.
    Refused(Refusal),
    /// The client is banned.
    Banned,
    /// No route, or no file.
    NotFound,
    /// The file may not be read.
    Forbidden,
    /// The route takes other methods.
    MethodNotAllowed(String),
    /// Too many requests; again in so many seconds.
    RateLimited(u64),
    /// The WAF refused it.
    Blocked(u16, EventId),
    /// The WAF keeps the web server's answer back.
    Withheld(u16, EventId),
    /// The WAF sends the client elsewhere.
    Diverted(u16, String, EventId),
    /// The WAF ends the connection without an answer.
    Dropped(EventId),
    /// Elsewhere.
    Redirect(u16, String),
    /// A condition of the request does not hold.
    ConditionFailed,
    /// The range is outside a file of this length.
    RangeNotSatisfiable(u64),
    /// No web server is available.
    Unavailable,
    /// The web server broke off.
    BadGateway,
    /// The web server did not answer in time.
    GatewayTimeout,
    /// Nobody will read this: the client went away while it sent its body.
    ClientGone,
    /// Our own fault.
    Internal,
}

impl Answer {
    fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Banned | Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::RateLimited(_) => 429,
            Self::Blocked(status, _) | Self::Withheld(status, _) => *status,
            Self::Redirect(status, _) | Self::Diverted(status, ..) => *status,
            Self::Dropped(_) => DROPPED,
            Self::ConditionFailed => 412,
            Self::RangeNotSatisfiable(_) => 416,
            Self::Unavailable => 503,
            Self::BadGateway => 502,
            Self::GatewayTimeout => 504,
            Self::ClientGone => 499,
            Self::Internal => 500,
        }
    }

    fn explanation(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.explanation(),
            Self::Banned => "your address is banned from this site for now",
            Self::NotFound => "there is nothing at this address",
            Self::Forbidden => "this may not be read",
            Self::MethodNotAllowed(_) => "this address does not take this method",
            Self::RateLimited(_) => "too many requests; please wait a moment",
            Self::Blocked(413, _) => {
                "the request is larger than what this site inspects and takes. If it must be, tell the site's operator this id"
            }
            Self::Blocked(..) => {
                "the request looks like an attack and was refused. If it was not, tell the site's operator this id"
            }
            Self::Withheld(..) => {
                "the answer shows what it should not and was kept back. If it does not, tell the site's operator this id"
            }
            Self::Dropped(_) => "the connection was ended",
            Self::Redirect(..) | Self::Diverted(..) => "this is found elsewhere",
            Self::ConditionFailed => "the condition of the request does not hold",
            Self::RangeNotSatisfiable(_) => "the file does not have this part",
            Self::Unavailable => "no server is available right now; please try again shortly",
            Self::BadGateway => "the server broke off before it had answered",
            Self::GatewayTimeout => "the server did not answer in time",
            Self::ClientGone => "the client has gone",
            Self::Internal => "something went wrong on our side",
        }
    }

    /// The event that explains it.
    pub(crate) fn event(&self) -> Option<EventId> {
        match self {
            Self::Blocked(_, id) | Self::Withheld(_, id) | Self::Diverted(_, _, id) | Self::Dropped(id) => {
                Some(*id)
            }
            _ => None,
        }
    }

    /// Whether the connection must end: what follows on it cannot be trusted, or
    /// will not be read.
    fn closes(&self) -> bool {
        matches!(self, Self::Refused(refusal) if *refusal != Refusal::UnknownHost) || *self == Self::Banned
    }

    /// The answer to be sent. `http1`: connection headers are allowed.
    pub(crate) fn response(
        &self,
        kind: PageKind,
        request_id: &HeaderValue,
        http1: bool,
    ) -> Response<ResponseBody> {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let id = match self.event() {
            Some(id) => id.to_string(),
            None => request_id.to_str().unwrap_or_default().to_owned(),
        };
        let (content_type, text) = match kind {
            PageKind::Html => ("text/html; charset=utf-8", html(status, self.explanation(), &id)),
            PageKind::Json => ("application/json", json(status, self.explanation(), &id)),
        };
        let mut response = Response::new(ResponseBody::full(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut add = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        match self {
            Self::RateLimited(seconds) => add(RETRY_AFTER, &seconds.to_string()),
            Self::Unavailable => add(RETRY_AFTER, "5"),
            Self::Redirect(_, to) | Self::Diverted(_, to, _) => add(LOCATION, to),
            Self::MethodNotAllowed(allow) => add(ALLOW, allow),
            Self::Refused(Refusal::Method) => add(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            // RFC 9110 §14.4.
            Self::RangeNotSatisfiable(length) => add(CONTENT_RANGE, &format!("bytes */{length}")),
            _ => {}
        }
        if self.closes() && http1 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn html(status: StatusCode, explanation: &str, id: &str) -> String {
    let (code, reason) = (status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{code} {reason}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:18vh auto 0;padding:0 1.25em;\
         color:light-dark(#1c2430,#e6e9ee);background:light-dark(#fbfaf8,#14181e)}}\
         h1{{font-size:1.4em;margin:0 0 .4em}}code{{font:14px ui-monospace,monospace;\
         color:light-dark(#59636f,#9aa4b1)}}</style>\
         <main><h1>{code} · {reason}</h1><p>{}.</p><p><code>{id}</code></p></main></html>\n",
        capital(explanation)
    )
}

fn json(status: StatusCode, explanation: &str, id: &str) -> String {
    let reason = status.canonical_reason().unwrap_or("Error");
    let value =
        serde_json::json!({ "status": status.as_u16(), "error": reason, "detail": explanation, "id": id });
    format!("{value}\n")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}
