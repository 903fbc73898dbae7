//! Sending on what waits: window after window, each over as many connections as
//! are worth it, until the far end has it.
//!
//! A window is read from the queue and parted over the shards by series, so that
//! no series' samples overtake one another; each shard sends its requests one by
//! one. When all have what they can have, the queue's position moves behind the
//! window and the next one begins. A request that the far end cannot take now is
//! sent again, later and later; one that it will never take is dropped and
//! counted.

use super::far::{Connection, Far, Verdict, judge};
use super::queue::Queue;
use super::rows::{Exit, Part, Row, metadata_request, request, unpack};
use bytes::Bytes;
use futures_util::future::join_all;
use monitor_model::Metadata;
use monitor_wire::remote::{Version, Written};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Bytes of the queue in one window: some 60,000 samples, which take 30 MB while
/// they are sorted.
const WINDOW: usize = 1 << 20;

/// Samples in one request, as Prometheus has it.
const MAX_REQUEST: usize = 2_000;

/// Between two tries of a request, at first and at most (Prometheus: 30 ms, 5 s).
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// How often metric families are told to a receiver of 1.0, as in Prometheus.
const METADATA_EVERY: Duration = Duration::from_secs(60);

/// Families in one request.
const MAX_FAMILIES: usize = 2_000;

/// A little that comes late makes requests larger and fewer.
const GATHER: Duration = Duration::from_millis(100);

/// What metric families are.
pub(crate) type Families = Arc<dyn Fn() -> BTreeMap<String, Metadata> + Send + Sync>;

/// What a sender did, for metrics and messages.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Samples that the far end has.
    pub(crate) sent: AtomicU64,
    /// Samples that it will not take.
    pub(crate) refused: AtomicU64,
    /// Samples that no selector lets out.
    pub(crate) kept_back: AtomicU64,
    /// Requests that were answered well, that were refused, and that are tried again.
    pub(crate) requests: [AtomicU64; 3],
    /// The newest time that was sent.
    pub(crate) newest_ms: AtomicU64,
    /// Shards of the last window.
    pub(crate) shards: AtomicU64,
    /// What is wrong; empty while all is well.
    trouble: Mutex<String>,
}

impl Progress {
    /// What is wrong; empty while all is well.
    pub(crate) fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: impl Into<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble.into();
    }
}

/// Sends what a queue has to one far end.
pub(crate) struct Sender {
    pub(crate) queue: Arc<Queue>,
    pub(crate) far: Far,
    pub(crate) exit: Exit,
    pub(crate) version: Version,
    /// Requests at once, at most.
    pub(crate) max_shards: usize,
    pub(crate) families: Families,
    pub(crate) progress: Arc<Progress>,
    /// `true` ends the sender; what waits stays in the queue.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Sender {
    /// Sends until it is stopped.
    pub(crate) async fn run(mut self) {
        let mut connections: Vec<Connection> = Vec::new();
        let mut shards = Shards::new(self.max_shards);
        let mut told: Option<Instant> = None;
        loop {
            let mut stop = self.stop.clone();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.queue.wait() => {}
            }
            tokio::time::sleep(GATHER).await;
            connections.resize_with(shards.now, Connection::default);
            let before = self.version;
            let round = self.window(&mut connections, shards.now, &mut told).await;
            match round {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(spent) => shards.next(self.queue.is_waiting(), spent),
            }
            if before != self.version {
                // Metadata goes another way.
                told = None;
            }
        }
    }

    /// One window. Breaks when the sender is stopped before the far end has it.
    async fn window(
        &mut self,
        connections: &mut [Connection],
        shards: usize,
        told: &mut Option<Instant>,
    ) -> ControlFlow<(), Duration> {
        let begun = Instant::now();
        self.progress.shards.store(shards as u64, Ordering::Relaxed);
        let (queue, exit) = (self.queue.clone(), self.exit.clone());
        let read = tokio::task::spawn_blocking(move || {
            let window = queue.read(WINDOW)?;
            let (sorted, wrong) = unpack(window.bodies.iter().map(|(_, body)| &body[..]), &exit, shards);
            let samples = window.bodies.iter().map(|(samples, _)| u64::from(*samples)).sum::<u64>();
            Ok::<_, std::io::Error>((window.end, window.damage, samples, sorted, wrong))
        });
        let (end, damage, samples, sorted, wrong) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                self.progress.note(format!("the queue cannot be read: {error}"));
                return self.pause(BACKOFF.1).await;
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        if let Some(why) = damage.or_else(|| wrong.first().map(ToString::to_string)) {
            self.progress.note(format!("a part of the queue was lost: {why}"));
        }
        self.progress.kept_back.fetch_add(sorted.kept_back, Ordering::Relaxed);
        let due = told.is_none_or(|at| at.elapsed() >= METADATA_EVERY);
        let families = if due || self.version == Version::V2 { (self.families)() } else { BTreeMap::new() };
        if due && self.version == Version::V1 {
            self.tell_families(&mut connections[0], &families).await?;
            *told = Some(Instant::now());
        }
        let mut left = sorted.shards;
        loop {
            let this = &*self;
            let all = connections
                .iter_mut()
                .zip(left)
                .map(|(connection, rows)| this.shard(connection, rows, &families));
            let ends = join_all(all).await;
            left = Vec::with_capacity(ends.len());
            for end in ends {
                left.push(match end {
                    End::Sent => Vec::new(),
                    End::Stopped => return ControlFlow::Break(()),
                    End::OtherVersion(rows) => rows,
                });
            }
            if left.iter().all(Vec::is_empty) {
                break;
            }
            // What 2.0 was refused for goes again as 1.0, which every receiver knows.
            self.version = Version::V1;
        }
        self.progress.newest_ms.fetch_max(sorted.newest_ms.max(0) as u64, Ordering::Relaxed);
        if let Err(error) = self.queue.advance(end, samples) {
            self.progress.note(format!("the queue's position cannot be written: {error}"));
        }
        ControlFlow::Continue(begun.elapsed())
    }

    /// Sends a shard's rows, request by request.
    async fn shard(
        &self,
        connection: &mut Connection,
        mut rows: Vec<Row>,
        families: &BTreeMap<String, Metadata>,
    ) -> End {
        while !rows.is_empty() {
            let mut count = 0;
            let size = rows.iter().take_while(|row| {
                let first = count == 0;
                count += row.len();
                first || count <= MAX_REQUEST
            });
            let size = size.count();
            let part = &rows[..size];
            for which in [Part::Numbers, Part::Histograms] {
                let wanted = |row: &Row| match which {
                    Part::Histograms => row.histograms.len(),
                    _ => row.samples.len(),
                };
                let samples: usize = part.iter().map(wanted).sum();
                if samples == 0 {
                    continue;
                }
                let body = Bytes::from(request(part, self.version, which, families));
                match self.deliver(connection, body).await {
                    Delivered::Taken(written) => self.count(samples, written),
                    Delivered::Refused(written) => self.count(samples, Some(written)),
                    Delivered::OtherVersion => return End::OtherVersion(rows),
                    Delivered::Stopped => return End::Stopped,
                }
            }
            rows.drain(..size);
        }
        End::Sent
    }

    fn count(&self, samples: usize, written: Option<Written>) {
        let samples = samples as u64;
        let sent = written.map_or(samples, |written| (written.samples + written.histograms).min(samples));
        self.progress.sent.fetch_add(sent, Ordering::Relaxed);
        self.progress.refused.fetch_add(samples - sent, Ordering::Relaxed);
    }

    /// Sends one body until it is taken or refused.
    async fn deliver(&self, connection: &mut Connection, body: Bytes) -> Delivered {
        let mut backoff = BACKOFF.0;
        let mut stop = self.stop.clone();
        loop {
            let answer = tokio::select! {
                answer = connection.send(&self.far, self.version, body.clone()) => answer,
                _ = stop.wait_for(|stop| *stop) => return Delivered::Stopped,
            };
            let verdict = match &answer {
                Ok(answer) => judge(answer, self.version, std::time::SystemTime::now()),
                Err(why) => Verdict::Later(None, why.clone()),
            };
            let outcome = match &verdict {
                Verdict::Taken(_) => 0,
                Verdict::Refused(..) | Verdict::OtherVersion(_) => 1,
                Verdict::Later(..) => 2,
            };
            self.progress.requests[outcome].fetch_add(1, Ordering::Relaxed);
            match verdict {
                Verdict::Taken(written) => {
                    self.progress.note("");
                    return Delivered::Taken(written);
                }
                Verdict::Refused(written, why) => {
                    self.progress.note(format!("samples were refused for good, and dropped: {why}"));
                    return Delivered::Refused(written);
                }
                Verdict::OtherVersion(why) if self.version == Version::V2 => {
                    self.progress.note(format!("it does not know version 2.0, and is sent 1.0: {why}"));
                    return Delivered::OtherVersion;
                }
                Verdict::OtherVersion(why) => {
                    self.progress.note(format!("samples were refused for good, and dropped: {why}"));
                    return Delivered::Refused(Written::default());
                }
                Verdict::Later(after, why) => {
                    self.progress.note(format!("samples wait: {why}"));
                    let pause = after.unwrap_or(backoff).max(backoff);
                    backoff = (backoff * 2).min(BACKOFF.1);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stop.wait_for(|stop| *stop) => return Delivered::Stopped,
                    }
                }
            }
        }
    }

    /// Tells a receiver of 1.0 what metric families are; that it does not want to
    /// know is no trouble.
    async fn tell_families(
        &self,
        connection: &mut Connection,
        families: &BTreeMap<String, Metadata>,
    ) -> ControlFlow<(), ()> {
        let all: Vec<(&String, &Metadata)> = families.iter().collect();
        for part in all.chunks(MAX_FAMILIES) {
            let trouble = self.progress.trouble();
            let body = Bytes::from(metadata_request(part));
            match self.deliver(connection, body).await {
                Delivered::Stopped => return ControlFlow::Break(()),
                Delivered::Refused(_) | Delivered::OtherVersion => self.progress.note(trouble),
                Delivered::Taken(_) => {}
            }
        }
        ControlFlow::Continue(())
    }

    async fn pause(&self, pause: Duration) -> ControlFlow<(), Duration> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => ControlFlow::Continue(pause),
            _ = stop.wait_for(|stop| *stop) => ControlFlow::Break(()),
        }
    }
}

/// How a shard ended.
enum End {
    Sent,
    Stopped,
    /// What is left.
    OtherVersion(Vec<Row>),
}

/// How a request ended.
enum Delivered {
    Taken(Option<Written>),
    Refused(Written),
    OtherVersion,
    Stopped,
}

/// How many connections are worth it: more while a window is not sent before
/// the next one waits, fewer when nothing waits.
#[derive(Debug)]
struct Shards {
    now: usize,
    max: usize,
    idle: u32,
}

impl Shards {
    fn new(max: usize) -> Self {
        Self { now: 1, max: max.max(1), idle: 0 }
    }

    /// After a window: whether more waits, and how long it took.
    fn next(&mut self, more_waits: bool, spent: Duration) {
        if more_waits && spent >= GATHER {
            self.now = (self.now * 2).min(self.max);
            self.idle = 0;
        } else if !more_waits {
            self.idle += 1;
            // Now and then is no trend.
            if self.idle >= 10 && self.now > 1 {
                self.now -= 1;
                self.idle = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::pack;
    use super::*;
    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use monitor_model::{Histogram, Labels};
    use monitor_wire::remote::OutgoingSample;

    type Answer = (u16, Vec<(&'static str, String)>);
    type Taken = (Version, Vec<Row>);

    /// A receiver that answers as it is told, and keeps what it took.
    struct Receiver {
        port: u16,
        taken: Arc<Mutex<Vec<Taken>>>,
        versions: Arc<Mutex<Vec<String>>>,
    }

    async fn receiver(mut answer: impl FnMut(Version, usize, u64) -> Answer + Send + 'static) -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let versions = Arc::new(Mutex::new(Vec::new()));
        let (own, heard) = (taken.clone(), versions.clone());
        let calls = Mutex::new(0);
        let answer: Arc<Mutex<dyn FnMut(Version, u64) -> Answer + Send>> =
            Arc::new(Mutex::new(move |version, samples| {
                let mut calls = calls.lock().unwrap();
                *calls += 1;
                answer(version, *calls, samples)
            }));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, own, heard) = (answer.clone(), own.clone(), heard.clone());
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (answer, own, heard) = (answer.clone(), own.clone(), heard.clone());
                    async move {
                        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
                        let version = Version::from_content_type(&header("content-type")).unwrap();
                        heard.lock().unwrap().push(header("x-prometheus-remote-write-version"));
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let rows = match version {
                            Version::V2 => {
                                let (mut sorted, wrong) =
                                    unpack(std::iter::once(&body[..]), &Exit::default(), 1);
                                assert!(wrong.is_empty());
                                sorted.shards.remove(0)
                            }
                            Version::V1 => vec![Row::default()],
                        };
                        let samples = rows.iter().map(Row::len).sum::<usize>() as u64;
                        let (status, headers) = (answer.lock().unwrap())(version, samples);
                        if status < 300 {
                            own.lock().unwrap().push((version, rows));
                        }
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        response.body(Full::new(Bytes::from_static(b"as told")))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Receiver { port, taken, versions }
    }

    fn written(samples: u64) -> Vec<(&'static str, String)> {
        vec![("x-prometheus-remote-write-samples-written", samples.to_string())]
    }

    fn row(series: usize, at_ms: i64) -> Row {
        let series = format!("s{series}");
        Row {
            labels: Labels::from_pairs([("__name__", series.as_str())]),
            samples: vec![OutgoingSample { at_ms, value: 1.0, start_ms: 0 }],
            ..Row::default()
        }
    }

    struct Sending {
        queue: Arc<Queue>,
        progress: Arc<Progress>,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
        dir: tempfile::TempDir,
    }

    fn start(port: u16, version: Version, max_shards: usize) -> Sending {
        let dir = tempfile::tempdir().unwrap();
        let queue = Arc::new(Queue::open(dir.path(), 1 << 30).unwrap().0);
        let progress = Arc::new(Progress::default());
        let (stop, stopped) = watch::channel(false);
        let url = format!("http://127.0.0.1:{port}/api/v1/write");
        let sender = Sender {
            queue: queue.clone(),
            far: Far::new(&url, None, || Err(String::new())).unwrap(),
            exit: Exit::default(),
            version,
            max_shards,
            families: Arc::new(BTreeMap::new),
            progress: progress.clone(),
            stop: stopped,
        };
        Sending { queue, progress, stop, task: tokio::spawn(sender.run()), dir }
    }

    impl Sending {
        fn push(&self, rows: &[Row]) {
            let (samples, body) = pack(rows);
            self.queue.append(samples, &body).unwrap();
        }

        async fn until(&self, done: impl Fn(&Progress) -> bool) {
            let wait = async {
                while !done(&self.progress) || self.queue.is_waiting() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
            assert!(waited.is_ok(), "{:?} {:?}", self.progress, self.queue.waiting());
        }

        async fn end(self) -> (Arc<Queue>, tempfile::TempDir) {
            self.stop.send_replace(true);
            self.task.await.unwrap();
            (self.queue, self.dir)
        }
    }

    fn of(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn nothing_is_lost_and_nothing_overtakes() {
        // Every third request fails at first.
        let far = receiver(|_, call, samples| match call % 3 {
            0 => (503, vec![("retry-after", "0".to_owned())]),
            _ => (204, written(samples)),
        })
        .await;
        let sending = start(far.port, Version::V2, 4);
        for at_ms in 0..40 {
            let rows: Vec<Row> = (0..100).map(|series| row(series, at_ms)).collect();
            sending.push(&rows);
        }
        sending.until(|progress| of(&progress.sent) == 4_000).await;
        assert_eq!(of(&sending.progress.refused), 0);
        assert_eq!(sending.queue.waiting().0, 0);
        assert_eq!(sending.progress.trouble(), "");
        assert_eq!(of(&sending.progress.newest_ms), 39);
        let mut newest = BTreeMap::new();
        let taken = std::mem::take(&mut *far.taken.lock().unwrap());
        for row in taken.iter().flat_map(|(_, rows)| rows) {
            for sample in &row.samples {
                let before = newest.insert(row.labels.clone(), sample.at_ms);
                assert!(before.is_none_or(|before| before < sample.at_ms), "{} overtook", row.labels);
            }
        }
        assert_eq!(newest.len(), 100);
        assert!(taken.iter().all(|(_, rows)| rows.iter().map(Row::len).sum::<usize>() <= MAX_REQUEST));
        sending.end().await;
    }

    #[tokio::test]
    async fn what_is_refused_for_good_is_counted_and_passed_over() {
        let far = receiver(|_, call, samples| match call {
            1 => (400, written(1)),
            _ => (200, written(samples)),
        })
        .await;
        let sending = start(far.port, Version::V2, 1);
        sending.push(&[row(0, 1), row(1, 1), row(2, 1)]);
        sending.until(|progress| of(&progress.refused) == 2).await;
        assert!(sending.progress.trouble().contains("refused for good, and dropped: status 400: as told"));
        sending.push(&[row(0, 2)]);
        sending.until(|progress| of(&progress.sent) == 2).await;
        assert_eq!(sending.progress.trouble(), "");
        sending.end().await;
    }

    #[tokio::test]
    async fn a_receiver_of_the_first_version_gets_that() {
        let far = receiver(|version, _, _| match version {
            Version::V2 => (415, Vec::new()),
            Version::V1 => (204, Vec::new()),
        })
        .await;
        let sending = start(far.port, Version::V2, 2);
        let histogram = Arc::new(Histogram::from_script("{{count:1 buckets:[1]}}").unwrap());
        sending.push(&[row(0, 1), Row { histograms: vec![(2, histogram, 0)], ..row(1, 1) }]);
        sending.until(|progress| of(&progress.sent) == 3).await;
        let versions = far.versions.lock().unwrap().clone();
        assert!(versions.iter().any(|version| version == "2.0.0"), "{versions:?}");
        assert_eq!(versions.last().unwrap(), "0.1.0");
        // Numbers and histograms went apart.
        assert!(far.taken.lock().unwrap().len() >= 2);
        sending.end().await;
    }

    #[tokio::test]
    async fn what_waits_survives_a_far_end_that_is_away() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let sending = start(gone, Version::V2, 1);
        sending.push(&[row(0, 1)]);
        let wait = async {
            while sending.progress.trouble().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
        assert!(
            sending.progress.trouble().contains("samples wait: cannot connect to"),
            "{:?}",
            sending.progress
        );
        assert!(sending.queue.is_waiting());
        let (queue, _dir) = sending.end().await;
        assert_eq!(queue.read(usize::MAX).unwrap().bodies.len(), 1);
    }

    #[test]
    fn shards_grow_and_shrink() {
        let mut shards = Shards::new(6);
        let slow = Duration::from_secs(1);
        for expected in [2, 4, 6, 6] {
            shards.next(true, slow);
            assert_eq!(shards.now, expected);
        }
        shards.next(true, Duration::ZERO);
        assert_eq!(shards.now, 6);
        for _ in 0..100 {
            shards.next(false, slow);
        }
        assert_eq!(shards.now, 1);
    }
}
