//! Load with exact counts: keep-alive connections over TLS that send one request
//! after another until told to stop, and account for each.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests whose head was sent.
    pub sent: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without a whole answer, and why.
    pub broken: Vec<String>,
}

impl Outcome {
    /// Answers of 200.
    pub fn ok(&self) -> u64 {
        self.by_status.get(&200).copied().unwrap_or(0)
    }

    /// Whether every request was answered 200.
    pub fn is_perfect(&self) -> bool {
        self.broken.is_empty() && self.ok() == self.sent
    }
}

/// Load in the background.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    outcome: Arc<Mutex<Outcome>>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Sends GET requests for `path` to `url` (`https://localhost:1234`) over
    /// `connections` connections, each with `pause` between two requests.
    pub fn start(url: &str, root_pem: &Path, path: &str, connections: usize, pause: Duration) -> Self {
        let authority = url.trim_start_matches("https://").to_owned();
        let connector = connector(root_pem);
        let (stop, outcome) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Outcome::default())));
        let (stopping, noted, path) = (stop.clone(), outcome.clone(), path.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut workers = tokio::task::JoinSet::new();
                for _ in 0..connections {
                    workers.spawn(worker(
                        connector.clone(),
                        authority.clone(),
                        path.clone(),
                        pause,
                        stopping.clone(),
                        noted.clone(),
                    ));
                }
                while workers.join_next().await.is_some() {}
            });
        });
        Self { stop, outcome, thread }
    }

    /// The counts so far.
    pub fn so_far(&self) -> Outcome {
        self.outcome.lock().expect("counts").clone()
    }

    /// Lets requests under way end; the final counts.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ends");
        Arc::try_unwrap(self.outcome).expect("the last owner").into_inner().expect("counts")
    }
}

fn connector(root_pem: &Path) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(root_pem).expect("the root's file") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn worker(
    connector: TlsConnector,
    authority: String,
    path: String,
    pause: Duration,
    stop: Arc<AtomicBool>,
    outcome: Arc<Mutex<Outcome>>,
) {
    let mut connection: Option<SendRequest<Empty<Bytes>>> = None;
    while !stop.load(Ordering::Relaxed) {
        // A connection that the server has closed between two requests is no failure: a new one is opened.
        connection = connection.filter(|sender| sender.is_ready() && !sender.is_closed());
        let answer = match connection.take() {
            Some(sender) => Ok(sender),
            None => connect(&connector, &authority).await.map_err(|why| format!("connect: {why}")),
        };
        let answer = match answer {
            Ok(mut sender) => {
                let answer = exchange(&mut sender, &authority, &path).await;
                connection = answer.is_ok().then_some(sender);
                answer
            }
            Err(why) => Err(why),
        };
        note(&outcome, answer);
        tokio::time::sleep(pause).await;
    }
}

fn note(outcome: &Mutex<Outcome>, answer: Result<u16, String>) {
    let mut outcome = outcome.lock().expect("counts");
    outcome.sent += 1;
    match answer {
        Ok(status) => *outcome.by_status.entry(status).or_default() += 1,
        Err(why) => outcome.broken.push(why),
    }
}

async fn connect(connector: &TlsConnector, authority: &str) -> Result<SendRequest<Empty<Bytes>>, String> {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
    let stream = TcpStream::connect(authority).await.map_err(|e| e.to_string())?;
    let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
    let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(driver);
    Ok(sender)
}

async fn exchange(
    sender: &mut SendRequest<Empty<Bytes>>,
    authority: &str,
    path: &str,
) -> Result<u16, String> {
    sender.ready().await.map_err(|e| format!("not ready: {e}"))?;
    let request =
        hyper::Request::get(path).header("host", authority).body(Empty::new()).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| format!("no answer: {e}"))?;
    let status = response.status().as_u16();
    response.into_body().collect().await.map_err(|e| format!("the answer was cut: {e}"))?;
    Ok(status)
}
