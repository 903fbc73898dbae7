//! Remotes: what is stored here goes into the queue of each, and from there on
//! its way.

use super::far::{Far, Login};
use super::queue::Queue;
use super::rows::{Exit, Row, pack};
use super::send::{Families, Progress, Sender};
use crate::sink::Pending;
use base::names;
use monitor_model::Labels;
use monitor_store::{Batch, SeriesRef, Store};
use monitor_wire::remote::{OutgoingSample, Version};
use role::{Counter, Gauge, Registry};
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// What a loss of power may cost a remote.
const SYNC: Duration = Duration::from_secs(1);

/// All remotes of the revision that runs.
pub(crate) struct Forward {
    store: Arc<Store>,
    dir: PathBuf,
    registry: Arc<Registry>,
    remotes: RwLock<Vec<Remote>>,
    /// What is wrong with remotes that could not be begun.
    trouble: Mutex<Vec<String>>,
}

/// One remote.
struct Remote {
    told: Told,
    queue: Arc<Queue>,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    tasks: [tokio::task::JoinHandle<()>; 2],
    counts: Counts,
    /// Samples that went nowhere, as the queue was full or the disk failed.
    dropped: AtomicU64,
    trouble: Mutex<String>,
}

/// What a remote is begun with.
#[derive(Clone, PartialEq)]
struct Told {
    remote: site::RemoteWrite,
    external: Vec<(String, String)>,
}

impl Forward {
    pub(crate) fn new(store: Arc<Store>, dir: PathBuf, registry: Arc<Registry>) -> Self {
        Self { store, dir, registry, remotes: RwLock::default(), trouble: Mutex::default() }
    }

    /// Begins the remotes that a revision has, and ends those that it has not.
    /// What waits for one that is gone stays on disk, for when it comes back.
    pub(crate) async fn follow(&self, site: &site::Monitor) {
        let wanted = site
            .remote_write
            .iter()
            .map(|remote| Told { remote: remote.clone(), external: site.external_labels.clone() });
        let wanted: Vec<Told> = wanted.collect();
        let gone = {
            let mut remotes = self.remotes.write().unwrap_or_else(PoisonError::into_inner);
            let (kept, gone) = remotes.drain(..).partition(|remote| wanted.contains(&remote.told));
            *remotes = kept;
            gone
        };
        end(gone).await;
        let mut trouble = Vec::new();
        for told in wanted {
            let mut remotes = self.remotes.write().unwrap_or_else(PoisonError::into_inner);
            if remotes.iter().any(|remote| remote.told == told) {
                continue;
            }
            match self.begin(told.clone()) {
                Ok((remote, found)) => {
                    trouble.extend(found);
                    remotes.push(remote);
                }
                Err(why) => trouble.push(format!("remote `{}`: {why}", told.remote.name)),
            }
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn begin(&self, told: Told) -> Result<(Remote, Vec<String>), String> {
        let Told { remote, external } = &told;
        let login = remote.login.as_ref().map(|login| match login {
            site::Login::Basic { user, password } => Login::Basic { user, password: password.reveal() },
            site::Login::Bearer(token) => Login::Bearer(token.reveal()),
        });
        let far = Far::new(&remote.url, login, || tls(remote.ca.as_deref()))?;
        let selectors = |texts: &[String]| -> Result<Vec<_>, String> {
            let selectors = texts.iter().map(|text| {
                monitor_lang::parse_selector(text)
                    .map_err(|error| format!("`{text}` selects nothing: {error}"))
            });
            selectors.collect()
        };
        let exit = Exit {
            only: selectors(&remote.only)?,
            except: selectors(&remote.except)?,
            without: remote.without.clone(),
            external: external.clone(),
        };
        let dir = self.dir.join(folder(&remote.name));
        let (queue, damage) = Queue::open(&dir, remote.queue.0)
            .map_err(|error| format!("its queue `{}`: {error}", dir.display()))?;
        let queue = Arc::new(queue);
        let progress = Arc::new(Progress::default());
        let (stop, stopped) = watch::channel(false);
        let store = self.store.clone();
        let families: Families = Arc::new(move || store.metadata(None));
        let sender = Sender {
            queue: queue.clone(),
            far,
            exit,
            version: if remote.version_2 { Version::V2 } else { Version::V1 },
            max_shards: remote.shards,
            families,
            progress: progress.clone(),
            stop: stopped.clone(),
        };
        let tasks = [tokio::spawn(sender.run()), tokio::spawn(sync(queue.clone(), stopped))];
        let counts = Counts::new(&self.registry, &remote.name);
        let (dropped, trouble) = (AtomicU64::new(0), Mutex::default());
        Ok((Remote { told, queue, progress, stop, tasks, counts, dropped, trouble }, damage))
    }

    /// Takes what the store took. Called from threads that may wait for the disk.
    pub(crate) fn rows(&self, batch: &Batch) {
        if self.is_idle() {
            return;
        }
        let mut places: HashMap<SeriesRef, usize> = HashMap::new();
        let mut order: Vec<SeriesRef> = Vec::new();
        let mut rows: Vec<Row> = Vec::new();
        let mut row = |series: SeriesRef| {
            *places.entry(series).or_insert_with(|| {
                order.push(series);
                rows.push(Row::default());
                rows.len() - 1
            })
        };
        let floats: Vec<usize> = batch.floats.iter().map(|one| row(one.series)).collect();
        let histograms: Vec<usize> = batch.histograms.iter().map(|one| row(one.series)).collect();
        let exemplars: Vec<usize> = batch.exemplars.iter().map(|one| row(one.series)).collect();
        for (at, one) in floats.into_iter().zip(&batch.floats) {
            let (at_ms, value, start_ms) = (one.at_ms, one.value, one.start_ms);
            rows[at].samples.push(OutgoingSample { at_ms, value, start_ms });
        }
        for (at, one) in histograms.into_iter().zip(&batch.histograms) {
            rows[at].histograms.push((one.at_ms, one.value.clone(), one.start_ms));
        }
        for (at, one) in exemplars.into_iter().zip(&batch.exemplars) {
            rows[at].exemplars.push(one.exemplar.clone());
        }
        for (row, labels) in rows.iter_mut().zip(self.store.labels_of(order)) {
            // One that is forgotten was refused by the store too.
            row.labels = labels.unwrap_or_default();
        }
        rows.retain(|row| !row.labels.is_empty());
        self.offer(&rows);
    }

    /// As [`Forward::rows`], of samples that have their labels with them.
    pub(crate) fn samples(&self, batch: &[Pending]) {
        if self.is_idle() {
            return;
        }
        let rows = batch.iter().map(|one| Row {
            labels: Labels::clone(&one.labels),
            samples: vec![OutgoingSample { at_ms: one.at_ms, value: one.value, start_ms: 0 }],
            ..Row::default()
        });
        self.offer(&rows.collect::<Vec<_>>());
    }

    fn offer(&self, rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        let (samples, body) = pack(rows);
        for remote in self.remotes.read().unwrap_or_else(PoisonError::into_inner).iter() {
            remote.take(samples, &body);
        }
    }

    fn is_idle(&self) -> bool {
        self.remotes.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Brings the metrics up to date.
    pub(crate) fn gather(&self) {
        for remote in self.remotes.read().unwrap_or_else(PoisonError::into_inner).iter() {
            remote.counts.follow(remote);
        }
    }

    /// What the operator must know.
    pub(crate) fn trouble(&self) -> Vec<String> {
        let mut all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for remote in self.remotes.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let queue = remote.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let said = [queue, remote.progress.trouble()];
            let said = said.iter().filter(|text| !text.is_empty());
            all.extend(said.map(|text| format!("remote `{}`: {text}", remote.told.remote.name)));
        }
        all
    }

    /// Ends all; what waits stays on disk.
    pub(crate) async fn end(&self) {
        let all = std::mem::take(&mut *self.remotes.write().unwrap_or_else(PoisonError::into_inner));
        end(all).await;
    }
}

async fn end(remotes: Vec<Remote>) {
    for remote in &remotes {
        remote.stop.send_replace(true);
    }
    for remote in remotes {
        for task in remote.tasks {
            let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
        }
        let queue = remote.queue.clone();
        let _ = tokio::task::spawn_blocking(move || queue.sync()).await;
    }
}

impl Remote {
    fn take(&self, samples: u32, body: &[u8]) {
        let (dropped, trouble) = match self.queue.append(samples, body) {
            Ok(dropped) if dropped.samples == 0 => return,
            Ok(dropped) => (
                dropped.samples,
                format!(
                    "its queue is full, and the oldest samples were dropped; hint: raise `queue` above {}",
                    self.told.remote.queue
                ),
            ),
            Err(error) => {
                (samples.into(), format!("its queue cannot be written, and samples were dropped: {error}"))
            }
        };
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

async fn sync(queue: Arc<Queue>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SYNC) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let queue = queue.clone();
        // One that fails is tried again with the next write; the append told of
        // a disk that is full.
        let _ = tokio::task::spawn_blocking(move || queue.sync()).await;
    }
}

/// The metrics of a remote.
struct Counts {
    sent: [(Arc<Counter>, AtomicU64); 4],
    requests: [(Arc<Counter>, AtomicU64); 3],
    newest: Arc<Gauge>,
    waiting: Arc<Gauge>,
    bytes: Arc<Gauge>,
    shards: Arc<Gauge>,
}

impl Counts {
    fn new(registry: &Registry, name: &str) -> Self {
        let sent = registry.counter(&names::MONITOR_SENT);
        let requests = registry.counter(&names::MONITOR_SENT_REQUESTS);
        let counter = |family: &role::metrics::Family<Counter>, result| {
            (family.with(&[name, result]), AtomicU64::new(0))
        };
        Self {
            sent: ["sent", "refused", "dropped", "kept_back"].map(|result| counter(&sent, result)),
            requests: ["taken", "refused", "later"].map(|result| counter(&requests, result)),
            newest: registry.gauge(&names::MONITOR_SENT_NEWEST).with(&[name]),
            waiting: registry.gauge(&names::MONITOR_SENT_WAITING).with(&[name]),
            bytes: registry.gauge(&names::MONITOR_SENT_QUEUE_BYTES).with(&[name]),
            shards: registry.gauge(&names::MONITOR_SENT_SHARDS).with(&[name]),
        }
    }

    /// Adds to the counters what came since the last time.
    fn follow(&self, remote: &Remote) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let progress = &remote.progress;
        let now = [of(&progress.sent), of(&progress.refused), of(&remote.dropped), of(&progress.kept_back)];
        let requests = progress.requests.iter().map(of);
        for ((counter, before), now) in self.sent.iter().zip(now).chain(self.requests.iter().zip(requests)) {
            counter.add(now.saturating_sub(before.swap(now, Ordering::Relaxed)));
        }
        let (samples, bytes) = remote.queue.waiting();
        self.waiting.set(samples as f64);
        self.bytes.set(bytes as f64);
        self.shards.set(of(&progress.shards) as f64);
        self.newest.set(of(&progress.newest_ms) as f64 / 1e3);
    }
}

/// A remote's folder: its name as far as a file may have it, and a hash that
/// tells it from another one.
fn folder(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    let plain: String = plain.take(40).collect();
    format!("{plain}-{:08x}", base::hash::fnv1a(name.as_bytes()) as u32)
}

/// The system's roots, and those that the file names.
fn tls(ca: Option<&str>) -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = match ca {
        None => (*crate::fetch::system_roots()?).clone(),
        // Whoever names an authority may have no others.
        Some(_) => crate::fetch::system_roots()
            .map(|roots| (*roots).clone())
            .unwrap_or_else(|_| rustls::RootCertStore::empty()),
    };
    if let Some(pem) = ca {
        let more: Vec<CertificateDer<'static>> =
            rustls_pemfile::certs(&mut pem.as_bytes()).flatten().collect();
        if roots.add_parsable_certificates(more).0 == 0 {
            return Err("its `ca` has no certificate".to_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whether a remote can be begun; for a revision that is prepared.
pub(crate) fn check(remote: &site::RemoteWrite) -> Result<(), String> {
    let wrong = |why: String| format!("remote `{}`: {why}", remote.name);
    Far::new(&remote.url, None, || tls(remote.ca.as_deref())).map_err(wrong)?;
    for selector in remote.only.iter().chain(&remote.except) {
        monitor_lang::parse_selector(selector).map_err(|error| wrong(format!("`{selector}`: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Bytes, Secret};
    use std::io::{Read, Write};

    /// A far end that speaks TLS with a certificate of its own making, takes one
    /// request and gives its head.
    fn tls_far_end() -> (u16, String, std::thread::JoinHandle<String>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            loop {
                let (stream, _) = listener.accept().unwrap();
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut tls = rustls::StreamOwned::new(connection, stream);
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    match tls.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => break,
                    }
                }
                if head.is_empty() {
                    continue;
                }
                let answer =
                    "HTTP/1.1 204 No Content\r\nx-prometheus-remote-write-samples-written: 1\r\n\r\n";
                tls.write_all(answer.as_bytes()).unwrap();
                tls.flush().unwrap();
                return String::from_utf8(head).unwrap();
            }
        });
        (port, made.cert.pem(), thread)
    }

    #[tokio::test]
    async fn samples_leave_through_tls_with_a_login() {
        let (port, pem, far_end) = tls_far_end();
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("store"), Default::default(), 0).unwrap();
        let store = Arc::new(store);
        let registry = Arc::new(Registry::default());
        let forward = Forward::new(store.clone(), dir.path().join("remote-write"), registry.clone());
        let remote = site::RemoteWrite {
            name: "far/1".into(),
            url: format!("https://localhost:{port}/api/v1/write"),
            version_2: true,
            login: Some(site::Login::Basic { user: "me".into(), password: Secret::new("secret") }),
            ca: Some(pem),
            queue: Bytes(1 << 20),
            shards: 2,
            only: Vec::new(),
            except: Vec::new(),
            without: Vec::new(),
        };
        assert_eq!(check(&remote), Ok(()));
        let wrong = site::RemoteWrite { ca: Some("nothing".into()), ..remote.clone() };
        assert_eq!(check(&wrong).unwrap_err(), "remote `far/1`: its `ca` has no certificate");
        let wrong = site::RemoteWrite { only: vec!["{".into()], ..remote.clone() };
        assert!(check(&wrong).unwrap_err().starts_with("remote `far/1`: `{`: "));

        let site = site::Monitor { remote_write: vec![remote], ..Default::default() };
        forward.follow(&site).await;
        assert!(forward.trouble().is_empty(), "{:?}", forward.trouble());
        let series = store.series(&Labels::from_pairs([("__name__", "up")])).unwrap();
        let row = monitor_store::FloatRow { series, at_ms: 1, value: 1.0, start_ms: 0 };
        let batch = Batch { floats: vec![row], ..Batch::default() };
        store.append(&batch, 1).unwrap();
        forward.rows(&batch);
        let head = tokio::task::spawn_blocking(move || far_end.join().unwrap()).await.unwrap();
        let head = head.to_ascii_lowercase();
        for line in [
            "post /api/v1/write http/1.1",
            "authorization: basic bwu6c2vjcmv0",
            "content-type: application/x-protobuf;proto=io.prometheus.write.v2.request",
            "content-encoding: snappy",
            "x-prometheus-remote-write-version: 2.0.0",
        ] {
            assert!(head.contains(line), "no `{line}` in {head}");
        }
        let sent = async {
            loop {
                forward.gather();
                if registry
                    .expose()
                    .contains("bastide_monitor_sent_total{remote=\"far/1\",result=\"sent\"} 1")
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), sent).await.unwrap();
        // Taken out of the file: its queue stays where it is.
        forward.follow(&site::Monitor::default()).await;
        assert!(forward.is_idle());
        let left = std::fs::read_dir(dir.path().join("remote-write")).unwrap().count();
        assert_eq!(left, 1);
    }

    #[test]
    fn folders() {
        assert_eq!(folder("far/1"), folder("far/1"));
        assert_ne!(folder("far/1"), folder("far_1"));
        assert!(folder("../../etc").starts_with("______etc-"), "{}", folder("../../etc"));
        assert!(folder(&"x".repeat(300)).len() < 60);
    }
}
