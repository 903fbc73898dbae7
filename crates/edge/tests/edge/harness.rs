//! A running edge, web servers of our own, and clients.

use balance::settings::{HealthCheck, Policy, Pool, Server};
use base::{Address, Bytes as Size, Millis, RevisionId};
use bytes::Bytes;
use edge_cert::Authority;
use edge_http::{Limits, Timeouts};
use edge_route::settings::{Action, Route, Settings};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use role::client::Admin;
use role::{Events, Fault, Listeners, Registry, Shutdown, Start};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What a test waits for at most; only a failing test takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An edge that serves.
pub(crate) struct Edge {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) admin: Admin,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<Result<(), Fault>>,
    pub(crate) settings: site::Edge,
    pub(crate) folder: TempDir,
    client: Arc<rustls::ClientConfig>,
    client_h2: Arc<rustls::ClientConfig>,
}

/// Settings to begin with: one pool `app` for everything.
pub(crate) fn settings(servers: &[SocketAddr]) -> site::Edge {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let names = vec!["shop.example".to_owned()];
    let authority = Authority::create("test", &names, now_s).unwrap();
    let issued = authority.issue(&names, now_s).unwrap();
    let chain_pem = format!("{}{}", issued.chain_pem, authority.root_pem());
    site::Edge {
        domains: names.clone(),
        https: vec!["127.0.0.1:0".parse().unwrap()],
        http: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 2,
        trusted_proxies: vec![],
        certificates: vec![site::Certificate { names, chain_pem, key_pem: issued.key_pem }],
        pools: vec![pool("app", servers)],
        routes: Settings { routes: vec![to_pool("/*", "app")] },
        waf: None,
        limits: Limits::default(),
        timeouts: Timeouts { drain: Millis(3_000), ..Timeouts::default() },
        access_log: None,
        public_https_port: None,
        serve_plain_http: true,
    }
}

pub(crate) fn pool(name: &str, servers: &[SocketAddr]) -> Pool {
    let server = |(i, address): (usize, &SocketAddr)| Server {
        name: format!("{name}/{}", i + 1),
        address: Address::Ip(*address),
        weight: 1,
    };
    Pool {
        name: name.to_owned(),
        servers: servers.iter().enumerate().map(server).collect(),
        policy: Policy::RoundRobin,
        health: None,
        idle_connections: 64,
        max_in_flight: 0,
    }
}

pub(crate) fn health() -> HealthCheck {
    HealthCheck {
        method: "GET".into(),
        path: "/healthz".into(),
        interval: Millis(50),
        timeout: Millis(1_000),
        rise: 1,
        fall: 2,
    }
}

pub(crate) fn route(path: &str, action: Action) -> Route {
    Route {
        name: path.into(),
        host: None,
        path: path.into(),
        methods: vec![],
        action,
        limit: None,
        waf: true,
    }
}

pub(crate) fn to_pool(path: &str, pool: &str) -> Route {
    route(path, Action::Pool { pool: pool.to_owned(), strip_prefix: false })
}

pub(crate) fn revision(id: u64, site: site::Edge) -> site::Revision<site::Edge> {
    site::Revision { id: RevisionId(id), hash: format!("h{id}"), made_at_ms: 0, site }
}

impl Edge {
    /// Starts an edge and waits until it serves.
    pub(crate) async fn start(settings: site::Edge) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings).await
    }

    pub(crate) async fn start_in(folder: TempDir, settings: site::Edge) -> Self {
        let registry = Arc::new(Registry::default());
        let shutdown = Shutdown::manual();
        std::fs::create_dir_all(folder.path().join("log")).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let chain = settings.certificates[0].chain_pem.as_bytes();
        for certificate in CertificateDer::pem_slice_iter(chain).skip(1) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let start = Start {
            role: "edge",
            revision: revision(1, settings.clone()),
            listeners: Listeners::default(),
            run_dir: folder.path().to_owned(),
            state_dir: folder.path().to_owned(),
            events: Events::open("edge", folder.path(), &registry),
            registry,
            shutdown: shutdown.clone(),
        };
        let task = tokio::spawn(edge::run(start));
        let admin = Admin::new(&folder.path().join("edge.sock"));
        wait_for("the edge is ready", async || admin.get("/ready").await.is_ok()).await;
        let status = admin.get("/status").await.unwrap();
        let address = |name: &str| {
            let found = status["listeners"].as_array().unwrap().iter().find(|l| l["name"] == name);
            found.map_or("0.0.0.0:0", |l| l["address"].as_str().unwrap()).parse().unwrap()
        };
        let client = |alpn: &[&str]| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|a| a.as_bytes().to_vec()).collect();
            Arc::new(config)
        };
        Self {
            https: address("https"),
            http: address("http"),
            admin,
            shutdown,
            task,
            settings,
            client: client(&["http/1.1"]),
            client_h2: client(&["h2"]),
            folder,
        }
    }

    /// Commits another revision.
    pub(crate) async fn reload(&self, id: u64, site: site::Edge) -> Result<(), String> {
        let text = |e: role::client::Error| e.to_string();
        self.admin.post("/prepare", &revision(id, site)).await.map_err(text)?;
        let commit = serde_json::json!({ "id": id, "hash": format!("h{id}") });
        self.admin.post("/commit", &commit).await.map_err(text)?;
        Ok(())
    }

    /// Sends bytes over plain TCP and reads until the edge closes.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    pub(crate) async fn tls(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.connect(&self.client).await
    }

    async fn connect(
        &self,
        config: &Arc<rustls::ClientConfig>,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let stream = TcpStream::connect(self.https).await.unwrap();
        let name = ServerName::try_from("shop.example").unwrap();
        connector.connect(name, stream).await.unwrap()
    }

    /// A kept HTTP/1.1 connection over TLS.
    pub(crate) async fn http1(&self) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.tls().await)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    /// An HTTP/2 connection over TLS.
    pub(crate) async fn http2(&self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let stream = self.connect(&self.client_h2).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A metric's value, from its line's beginning.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = self.admin.text("/metrics").await.unwrap();
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The sum over all series of a counter.
    pub(crate) async fn sum(&self, name: &str) -> f64 {
        let text = self.admin.text("/metrics").await.unwrap();
        let values = text.lines().filter(|l| l.starts_with(&format!("{name}{{")));
        values.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the edge ends").unwrap().unwrap();
    }
}

/// A GET for the site.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    request("GET", path, "")
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "shop.example")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

/// The same for HTTP/2, whose authority is in the URI.
pub(crate) fn request2(method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("https://shop.example{path}"))
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

/// A response's status, headers and text.
pub(crate) async fn read(response: Response<Incoming>) -> (u16, hyper::HeaderMap, String) {
    let (parts, body) = response.into_parts();
    let bytes =
        tokio::time::timeout(PATIENCE, body.collect()).await.expect("the body ends").unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut all = Vec::new();
    // A reset after the last byte is as good as an end.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the edge closes");
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until the text read so far satisfies.
pub(crate) async fn read_until(
    stream: &mut (impl AsyncReadExt + Unpin),
    enough: impl Fn(&str) -> bool,
) -> String {
    let mut all = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        while !enough(&String::from_utf8_lossy(&all)) {
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "ended early: {:?}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&piece[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("enough arrives");
    String::from_utf8_lossy(&all).into_owned()
}

pub(crate) async fn wait_for(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) fn text(body: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync())
}

/// A web server of ours; dropping it kills it, connections and all.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Origin {
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answer).await
    }

    pub(crate) async fn start_at<F, R>(address: SocketAddr, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1_024).unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, Arc::new(answer)));
        Self { address, task }
    }

    /// Tells what it was asked: method, target, header lines, body.
    pub(crate) async fn echo() -> Self {
        Self::start(echo).await
    }

    /// Answers its name.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |_| async move { text(name) }).await
    }

    /// Ends it, and waits until its port is free.
    pub(crate) async fn kill(mut self) -> SocketAddr {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.address
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F, R>(listener: TcpListener, answer: Arc<F>)
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

pub(crate) async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut out = format!("{} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        out.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    match body.collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned();
            out.push_str(&format!("\n{}", String::from_utf8_lossy(&body.to_bytes())));
            for (name, value) in trailers.iter().flat_map(|t| t.iter()) {
                out.push_str(&format!("\ntrailer {}: {}", name, value.to_str().unwrap()));
            }
        }
        Err(_) => out.push_str("\nbroken body"),
    }
    text(out)
}

/// A file below the edge's folder, with its folders made.
pub(crate) fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// So that a size limit reads well.
pub(crate) fn bytes(count: u64) -> Size {
    Size(count)
}
