//! One request and its answer through an engine.

use edge_http::{RequestHead, Version};
use std::net::IpAddr;
use std::sync::Arc;
use waf_engine::{Connection, Engine, Report, Verdict, Workspace};

/// A request as a server would hand it on.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) authority: Vec<u8>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// The answer to it.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// A whole life of a transaction.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) response: Option<Response>,
    /// Text frames after a switch of protocols.
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) client: IpAddr,
    pub(crate) now_us: u64,
    pub(crate) clock: fn() -> u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// After each step that was taken: head, body, response head, response body, frames.
    pub(crate) verdicts: Vec<(&'static str, Verdict)>,
    pub(crate) wanted_request_body: bool,
    pub(crate) wanted_response_body: bool,
    pub(crate) report: Report,
}

impl Outcome {
    /// What was decided in the end.
    pub(crate) fn verdict(&self) -> &Verdict {
        self.verdicts.last().map_or(&Verdict::Pass, |(_, verdict)| verdict)
    }
}

/// As it would be sent.
impl std::fmt::Display for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Request { method, target, version, headers, body, .. } = &self.request;
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        writeln!(f, "{} {} {}", show(method), show(target), version.as_str())?;
        for (name, value) in headers {
            writeln!(f, "{}: {}", show(name), show(value))?;
        }
        writeln!(f, "\n{}", show(body))?;
        if let Some(Response { status, headers, body }) = &self.response {
            writeln!(f, "-- {status}")?;
            for (name, value) in headers {
                writeln!(f, "{}: {}", show(name), show(value))?;
            }
            writeln!(f, "\n{}", show(body))?;
        }
        self.frames.iter().try_for_each(|frame| writeln!(f, "-- frame {}", show(frame)))
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n{self}")
    }
}

/// A clock that stands still.
pub(crate) fn no_time() -> u64 {
    0
}

impl Request {
    pub(crate) fn get(target: impl Into<Vec<u8>>) -> Self {
        Self {
            method: b"GET".to_vec(),
            target: target.into(),
            version: Version::Http11,
            authority: b"shop.example".to_vec(),
            headers: vec![(b"Host".to_vec(), b"shop.example".to_vec())],
            body: Vec::new(),
        }
    }

    pub(crate) fn post(target: impl Into<Vec<u8>>, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut request = Self { method: b"POST".to_vec(), body, ..Self::get(target) };
        request.headers.push((b"Content-Type".to_vec(), kind.as_bytes().to_vec()));
        request.headers.push((b"Content-Length".to_vec(), request.body.len().to_string().into_bytes()));
        request
    }
}

impl Exchange {
    pub(crate) fn of(request: Request) -> Self {
        Self {
            request,
            response: None,
            frames: Vec::new(),
            client: IpAddr::from([203, 0, 113, 9]),
            now_us: 1_790_000_000_000_000,
            clock: no_time,
        }
    }

    /// Runs it as the edge does: a phase after a refusal does not take place.
    pub(crate) fn run(&self, engine: &Arc<Engine>, workspace: Workspace) -> (Outcome, Workspace) {
        let connection = Connection {
            client: self.client,
            client_port: 40_000,
            server: IpAddr::from([192, 0, 2, 1]),
            server_port: 443,
            now_us: self.now_us,
            unique_id: "a-unique-id",
            clock: self.clock,
        };
        let mut transaction = engine.begin(workspace, connection);
        let pairs = borrowed(&self.request.headers);
        let head = RequestHead {
            method: &self.request.method,
            target: &self.request.target,
            authority: &self.request.authority,
            version: self.request.version,
            headers: &pairs,
        };
        let mut verdicts = vec![("head", transaction.request_head(&head))];
        let passes =
            |verdicts: &[(&str, Verdict)]| verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Pass);
        let wanted_request_body = transaction.wants_request_body();
        if passes(&verdicts) {
            let (shown, complete) =
                cut(&self.request.body, wanted_request_body, transaction.request_body_limit());
            verdicts.push(("body", transaction.request_body(shown, complete)));
        }
        let mut wanted_response_body = false;
        if let Some(response) = &self.response
            && passes(&verdicts)
        {
            let headers = borrowed(&response.headers);
            verdicts
                .push(("response head", transaction.response_head(response.status, "HTTP/1.1", &headers)));
            wanted_response_body = transaction.wants_response_body();
            if passes(&verdicts) {
                let (shown, complete) =
                    cut(&response.body, wanted_response_body, transaction.response_body_limit());
                verdicts.push(("response body", transaction.response_body(shown, complete)));
            }
        }
        for frame in &self.frames {
            if passes(&verdicts) {
                verdicts.push(("frame", transaction.websocket_text(frame)));
            }
        }
        let (mut report, workspace) = transaction.finish(self.now_us + 2_000);
        report.spent_us = 0;
        (Outcome { verdicts, wanted_request_body, wanted_response_body, report }, workspace)
    }
}

fn borrowed(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

/// As much of a body as is wanted, and whether that is all that counts.
fn cut(body: &[u8], wanted: bool, limit: usize) -> (&[u8], bool) {
    let limit = if wanted { limit } else { 0 };
    let shown = &body[..body.len().min(limit)];
    (shown, !wanted || shown.len() == body.len())
}
