//! One target's task.

use super::client::{Client, FetchError, Fetched, Question};
use super::rows::Rows;
use super::{Go, Health, Work};
use crate::sink::Sink;
use crate::state::lock;
use base::names;
use bytes::Bytes;
use hyper::header::{ACCEPT, HeaderName};
use monitor_exposition::{Format, Protocol, accept_header};
use monitor_scrape::{Report, Rules, Scrape};
use monitor_store::SeriesRef;
use role::{Counter, Registry};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What the task is told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) work: Arc<Work>,
    pub(super) go: Go,
}

/// Scrapes one target.
pub(super) struct Scraper {
    work: Arc<Work>,
    client: Client,
    scrape: Scrape<SeriesRef>,
    metadata_version: u64,
    sink: Arc<Sink>,
    health: Arc<Mutex<Health>>,
    counters: Counters,
}

/// Scrapes of a pool by what became of them.
#[derive(Clone)]
pub(super) struct Counters {
    registry: Arc<Registry>,
    pool: Arc<str>,
    ok: Arc<Counter>,
}

impl Counters {
    pub(super) fn new(registry: &Arc<Registry>, pool: &str) -> Self {
        let ok = registry.counter(&names::MONITOR_SCRAPES).with(&[pool, "ok"]);
        Self { registry: registry.clone(), pool: pool.into(), ok }
    }

    fn count(&self, result: &str) {
        self.registry.counter(&names::MONITOR_SCRAPES).with(&[&self.pool, result]).inc();
    }
}

/// How an answer is to be read.
struct Body {
    format: Format,
    bytes: Bytes,
}

impl Scraper {
    pub(super) fn new(
        work: Arc<Work>,
        sink: Arc<Sink>,
        health: Arc<Mutex<Health>>,
        counters: Counters,
    ) -> Self {
        let client = Client::new(work.endpoint.clone(), Arc::new(work.pool.http.clone()));
        let rules = Rules::new(&work.pool, &work.target);
        let scrape = Scrape::new(rules, sys::random::u64());
        Self { work, client, scrape, metadata_version: 0, sink, health, counters }
    }

    /// Scrapes until told otherwise.
    pub(super) async fn run(mut self, mut told: watch::Receiver<Told>) {
        loop {
            let now_ms = sys::clock::now_ms();
            let wait_ms = self.work.target.schedule().next_ms(now_ms).saturating_sub(now_ms);
            let changed = tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => false,
                changed = told.changed() => {
                    if changed.is_err() {
                        return; // Its sender went without a word only if the monitor did.
                    }
                    true
                }
            };
            if !self.obey(&mut told) {
                let removed = told.borrow().go == Go::Removed;
                return if removed {
                    self.say_goodbye().await
                };
            }
            if changed {
                continue;
            }
            match self.once(&mut told).await {
                Some(scraper) => self = scraper,
                None => return,
            }
        }
    }

    /// Takes what it was told; `false` where that is the end.
    fn obey(&mut self, told: &mut watch::Receiver<Told>) -> bool {
        let Told { work, go } = told.borrow_and_update().clone();
        if !Arc::ptr_eq(&work, &self.work) {
            if work.endpoint != self.work.endpoint || work.pool.http != self.work.pool.http {
                self.client = Client::new(work.endpoint.clone(), Arc::new(work.pool.http.clone()));
            }
            self.scrape.set_rules(Rules::new(&work.pool, &work.target));
            self.work = work;
        }
        go == Go::On
    }

    /// One scrape; `None` where the task was told to end meanwhile.
    async fn once(mut self, told: &mut watch::Receiver<Told>) -> Option<Self> {
        let at_ms = self.work.target.schedule().stamp_ms(sys::clock::now_ms());
        let began = Instant::now();
        let mut end = told.clone();
        // An error means that the sender is gone: that is the end, too.
        let ended =
            async { end.wait_for(|told| told.go != Go::On).await.map_or(Go::Shutdown, |told| told.go) };
        let fetched = tokio::select! {
            fetched = fetch(&mut self.client, &self.work) => Ok(fetched),
            go = ended => Err(go),
        };
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(go) => {
                if go == Go::Removed {
                    self.say_goodbye().await;
                }
                return None;
            }
        };
        // Reading and storing may wait for the disk: not on the threads that keep time.
        let done = tokio::task::spawn_blocking(move || {
            self.take(fetched, at_ms, began);
            self
        });
        match done.await {
            Ok(scraper) => Some(scraper),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn take(&mut self, fetched: Result<Fetched, FetchError>, at_ms: u64, began: Instant) {
        let stamp = i64::try_from(at_ms).unwrap_or(i64::MAX);
        let sink = self.sink.clone();
        let mut rows = Rows::new(&sink, self.scrape.series() + 16);
        let body = fetched.and_then(|fetched| body_of(&self.work, fetched));
        let mut report = Report { up: false, took_s: 0.0, scraped: 0, kept: 0, added: 0, body_bytes: 0 };
        let error = match body {
            Ok(body) => {
                report.body_bytes = i64::try_from(body.bytes.len()).unwrap_or(i64::MAX);
                let outcome = self.scrape.take(body.format, &body.bytes, stamp, &mut rows);
                (report.scraped, report.kept, report.added) = (outcome.scraped, outcome.kept, outcome.added);
                sink.note_scrape(outcome.duplicates, &outcome.refused);
                match outcome.failure {
                    None => {
                        self.counters.ok.inc();
                        String::new()
                    }
                    Some(failure) => {
                        self.counters.count(failure.result());
                        failure.to_string()
                    }
                }
            }
            Err(error) => {
                let result = match error {
                    FetchError::TooLarge(_) => {
                        report.body_bytes = -1;
                        "body_limit"
                    }
                    FetchError::NoExposition(_) => "malformed",
                    FetchError::Other(_) => "unreachable",
                };
                self.counters.count(result);
                self.scrape.fail(stamp, &mut rows);
                error.to_string()
            }
        };
        report.up = error.is_empty();
        report.took_s = began.elapsed().as_secs_f64();
        self.scrape.report(stamp, &report, &mut rows);
        rows.append(&mut self.scrape);
        let metadata = self.changed_metadata();
        let mut health = lock(&self.health);
        health.error = error;
        health.at_ms = Some(at_ms);
        health.took_s = report.took_s;
        if let Some(metadata) = metadata {
            health.metadata = Arc::new(metadata);
        }
    }

    /// What the target tells of its families, where that is not what it told before.
    fn changed_metadata(&mut self) -> Option<BTreeMap<String, monitor_model::Metadata>> {
        let version = self.scrape.metadata_version();
        if self.metadata_version == version {
            return None;
        }
        // What the disk does not take is told again after the next scrape.
        if self.sink.append_metadata(self.scrape.metadata()) {
            self.metadata_version = version;
        }
        Some(self.scrape.metadata().map(|(name, told)| (name.to_owned(), told.clone())).collect())
    }

    async fn say_goodbye(mut self) {
        let ended = tokio::task::spawn_blocking(move || {
            let at_ms = i64::try_from(sys::clock::now_ms()).unwrap_or(i64::MAX);
            let sink = self.sink.clone();
            let mut rows = Rows::new(&sink, self.scrape.series() + 16);
            self.scrape.end(at_ms, &mut rows);
            rows.append(&mut self.scrape);
        });
        let _ = ended.await; // A panic there is a bug of ours that costs these markers alone.
    }
}

async fn fetch(client: &mut Client, work: &Work) -> Result<Fetched, FetchError> {
    if let Some(why) = &work.exceeded {
        return Err(FetchError::Other(why.clone()));
    }
    let timeout = Duration::from_millis(work.target.timeout_ms);
    let escaped = work.pool.escape_names.unwrap_or(work.pool.legacy_names);
    let headers = [
        (ACCEPT, accept_header(&work.pool.protocols, !escaped)),
        // Exporters of slow things give up in time by it (`scrape/scrape.go`).
        (HeaderName::from_static("x-prometheus-scrape-timeout-seconds"), timeout.as_secs_f64().to_string()),
    ];
    let max_body = work.pool.limits.body_bytes;
    client.get(&Question { target: &work.target.path, headers: &headers, timeout, max_body }).await
}

/// The body of a good answer, and its format.
fn body_of(work: &Work, fetched: Fetched) -> Result<Body, FetchError> {
    if fetched.status != 200 {
        return Err(FetchError::Other(format!("server returned HTTP status {}", fetched.status)));
    }
    let told = Format::of_content_type(&fetched.content_type);
    let Some(format) = told.or(work.pool.fallback.map(Protocol::format)) else {
        return Err(FetchError::NoExposition(format!(
            "the answer's Content-Type `{}` is no exposition's; hint: `fallback_scrape_protocol`",
            fetched.content_type.chars().take(80).flat_map(char::escape_debug).collect::<String>()
        )));
    };
    Ok(Body { format, bytes: fetched.body()? })
}
