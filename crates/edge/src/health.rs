//! Active checks: every server of a pool that wants them is asked now and then
//! whether it is well.

use crate::compiled::PoolState;
use crate::edge::Edge;
use crate::upstream::handshake;
use balance::settings::HealthCheck;
use base::Address;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// A check's answer is read up to this, to leave the server with a finished request.
const ANSWER_MAX: usize = 64 << 10;

/// The checks that run, for one revision at a time.
pub(crate) struct Checks {
    runtime: Handle,
    running: Mutex<Vec<AbortHandle>>,
}

impl Checks {
    /// Checks run on this runtime.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, running: Mutex::default() }
    }

    /// Ends the checks that run.
    pub(crate) fn stop(&self) {
        for task in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    /// Ends the checks of the revision before and begins those of this one.
    pub(crate) fn restart(&self, edge: &Arc<Edge>) {
        self.stop();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for pool in &edge.current().pools {
            let Some(check) = &pool.pool.settings().health else { continue };
            for index in 0..pool.pool.len() {
                let task = watch(edge.clone(), pool.clone(), index, check.clone());
                running.push(self.runtime.spawn(task).abort_handle());
            }
        }
    }
}

async fn watch(edge: Arc<Edge>, pool: Arc<PoolState>, index: usize, check: HealthCheck) {
    loop {
        let asked = ask(pool.pool.address(index), &check);
        let result = match tokio::time::timeout(check.timeout.duration(), asked).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {}", check.timeout)),
        };
        let now_ms = sys::clock::monotonic_ms();
        let result = match &result {
            Ok(()) => Ok(()),
            Err(why) => Err(why.as_str()),
        };
        let change = pool.pool.checked(index, result, now_ms);
        edge.server_changed(pool.name(), change);
        tokio::time::sleep(check.interval.duration()).await;
    }
}

/// One check: any status from 200 to 399 is well.
async fn ask(address: &Address, check: &HealthCheck) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot connect to {address}: {error}");
    let sender = match address {
        Address::Ip(ip) => handshake(TcpStream::connect(ip).await.map_err(cannot)?).await,
        Address::Name(host, port) => {
            handshake(TcpStream::connect((host.as_str(), *port)).await.map_err(cannot)?).await
        }
        Address::Unix(path) => handshake(UnixStream::connect(path).await.map_err(cannot)?).await,
    };
    let mut sender = sender.map_err(|error| error.to_string())?;
    let host = match address {
        Address::Unix(_) => "localhost".to_owned(),
        other => other.to_string(),
    };
    let mut request = Request::new(Empty::<bytes::Bytes>::new());
    *request.method_mut() = Method::from_bytes(check.method.as_bytes()).map_err(|e| e.to_string())?;
    *request.uri_mut() = check.path.parse().map_err(|e| format!("`{}` is not a path: {e}", check.path))?;
    request.headers_mut().insert(HOST, HeaderValue::try_from(host).map_err(|e| e.to_string())?);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("bastide-health"));
    let response = sender.send_request(request).await.map_err(|e| format!("no HTTP answer: {e}"))?;
    let status = response.status();
    // What it says does not matter, only that it ends.
    let _ = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let well = status.is_success() || status.is_redirection();
    if well { Ok(()) } else { Err(described(status, check)) }
}

fn described(status: StatusCode, check: &HealthCheck) -> String {
    format!("{} {} answered {}", check.method, check.path, status.as_u16())
}
