//! Finding targets: files, HTTP, DNS. Each discovery is a task that keeps what it
//! found last where its pool reads it; one that fails says so and changes nothing.

mod dns;

use super::Endpoint;
use super::client::{Client, Question};
use super::plan::{matching, read_file};
use crate::state::lock;
use hyper::header::{ACCEPT, HeaderName};
use monitor_scrape::groups::{read_json, read_yaml};
use monitor_scrape::{Discovery, Group, Http, format_duration};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Between two looks at files; a look costs a few system calls, and finds what was
/// written in the place of what was there, links included.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes of a file, or of an answer, with groups.
const MAX_BYTES: u64 = 16 << 20;

/// An HTTP service discovery answers within this (Prometheus: the refresh interval).
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// What a discovery found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Groups, by their source.
    pub(super) groups: Vec<Group>,
    /// Why the last look failed, for each thing that was looked at.
    pub(super) failing: BTreeMap<String, String>,
    /// Failures that were not counted yet.
    pub(super) failures: u64,
}

/// A discovery that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Discoverer {
    pub(super) settings: Discovery,
    found: Arc<Mutex<Found>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Discoverer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Discoverer {
    /// Begins to look. `job` is the pool's name; `changed` is told of each change.
    pub(super) fn new(settings: Discovery, job: &str, changed: &Arc<Notify>) -> Self {
        let found = Arc::new(Mutex::new(Found::default()));
        let shared = Shared { found: found.clone(), changed: changed.clone() };
        let task = match settings.clone() {
            Discovery::Static(groups) => {
                lock(&found).groups = groups;
                None
            }
            Discovery::File { files, refresh_ms } => {
                Some(tokio::spawn(watch_files(files, Duration::from_millis(refresh_ms), shared)))
            }
            Discovery::Http { url, refresh_ms, http } => {
                Some(tokio::spawn(ask_http(url, refresh_ms, *http, job.to_owned(), shared)))
            }
            Discovery::Dns { names, record, port, refresh_ms } => {
                let every = Duration::from_millis(refresh_ms);
                Some(tokio::spawn(dns::look_up(names, record, port, every, shared)))
            }
        };
        Self { settings, found, task }
    }

    /// What was found so far; failures are given out once.
    pub(super) fn found(&self) -> Found {
        let mut found = lock(&self.found);
        let given = found.clone();
        found.failures = 0;
        given
    }
}

/// Where a discovery puts what it finds.
struct Shared {
    found: Arc<Mutex<Found>>,
    changed: Arc<Notify>,
}

impl Shared {
    /// What one look gave, of one thing. Groups of a source replace those of it
    /// before; a failure leaves them.
    fn put(&self, what: &str, result: Result<Vec<Group>, String>) {
        let mut found = lock(&self.found);
        let changed = match result {
            Ok(groups) => {
                let before = found.groups.len();
                let mine = |group: &Group| source_is(&group.source, what);
                let same = found.groups.iter().filter(|group| mine(group)).eq(groups.iter());
                let healed = found.failing.remove(what).is_some();
                if !same {
                    found.groups.retain(|group| !mine(group));
                    found.groups.extend(groups);
                }
                !same || healed || before != found.groups.len()
            }
            Err(why) => {
                found.failures += 1;
                found.failing.insert(what.to_owned(), why);
                true
            }
        };
        drop(found);
        if changed {
            self.changed.notify_one();
        }
    }

    /// A thing that is not there any more.
    fn gone(&self, what: &str) {
        let mut found = lock(&self.found);
        found.groups.retain(|group| !source_is(&group.source, what));
        found.failing.remove(what);
        drop(found);
        self.changed.notify_one();
    }
}

/// Groups of one thing are named after it, with a number: `targets.json:0`.
fn source_is(source: &str, what: &str) -> bool {
    source.rsplit_once(':').is_some_and(|(thing, _)| thing == what)
}

/// By what a change of a file is noticed.
type Stamp = Option<(u64, SystemTime)>;

/// `file_sd_configs`: what changes is read within a second, and everything again
/// at each refresh.
async fn watch_files(patterns: Vec<PathBuf>, refresh: Duration, shared: Shared) {
    let mut known: BTreeMap<PathBuf, Stamp> = BTreeMap::new();
    let mut refreshed = tokio::time::Instant::now();
    let shared = Arc::new(shared);
    loop {
        let all = refreshed.elapsed() >= refresh;
        if all {
            refreshed = tokio::time::Instant::now();
        }
        let (patterns, shared) = (patterns.clone(), shared.clone());
        let before = std::mem::take(&mut known);
        let look = tokio::task::spawn_blocking(move || look(&patterns, before, all, &shared));
        match look.await {
            Ok(now) => known = now,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        tokio::time::sleep(LOOK.min(refresh)).await;
    }
}

fn look(
    patterns: &[PathBuf],
    before: BTreeMap<PathBuf, Stamp>,
    all: bool,
    shared: &Shared,
) -> BTreeMap<PathBuf, Stamp> {
    let mut now = BTreeMap::new();
    for pattern in patterns {
        match matching(pattern) {
            Ok(paths) => {
                for path in paths {
                    let found = std::fs::metadata(&path).ok();
                    let stamp = found.and_then(|found| Some((found.len(), found.modified().ok()?)));
                    now.insert(path, stamp);
                }
                shared.heal(&pattern.display().to_string());
            }
            Err(why) => shared.put(&pattern.display().to_string(), Err(why)),
        }
    }
    for (path, stamp) in &now {
        if all || before.get(path) != Some(stamp) {
            shared.put(&path.display().to_string(), groups_of(path));
        }
    }
    for path in before.keys().filter(|path| !now.contains_key(*path)) {
        shared.gone(&path.display().to_string());
    }
    now
}

impl Shared {
    /// A folder that could not be read can be.
    fn heal(&self, what: &str) {
        if lock(&self.found).failing.remove(what).is_some() {
            self.changed.notify_one();
        }
    }
}

fn groups_of(path: &Path) -> Result<Vec<Group>, String> {
    let name = path.display().to_string();
    let text = read_file(path, MAX_BYTES)?;
    let more = ("__meta_filepath", name.as_str());
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
        return read_json(&text, &name, more);
    }
    let text = std::str::from_utf8(&text).map_err(|error| format!("`{name}` is not UTF-8: {error}"))?;
    read_yaml(text, &name, more)
}

/// `http_sd_configs` (Prometheus, "HTTP SD").
async fn ask_http(url: String, refresh_ms: u64, http: Http, job: String, shared: Shared) {
    let mut client = None;
    loop {
        let result = ask_once(&url, refresh_ms, &http, &job, &mut client).await;
        if result.is_err() {
            client = None;
        }
        shared.put(&url, result);
        tokio::time::sleep(Duration::from_millis(refresh_ms)).await;
    }
}

async fn ask_once(
    url: &str,
    refresh_ms: u64,
    http: &Http,
    job: &str,
    kept: &mut Option<Client>,
) -> Result<Vec<Group>, String> {
    let (endpoint, target) = Endpoint::of_url(url)?;
    let client = kept.get_or_insert_with(|| Client::new(endpoint, Arc::new(http.clone())));
    let headers = [
        (ACCEPT, "application/json".to_owned()),
        (
            HeaderName::from_static("x-prometheus-refresh-interval-seconds"),
            (refresh_ms as f64 / 1000.0).to_string(),
        ),
    ];
    let question =
        Question { target: &target, headers: &headers, timeout: HTTP_TIMEOUT, max_body: MAX_BYTES };
    let wrong = |why: &dyn std::fmt::Display| {
        let every = format_duration(refresh_ms);
        format!("`{url}` (asked every {every} for `{job}`): {why}")
    };
    let fetched = client.get(&question).await.map_err(|error| wrong(&error))?;
    if fetched.status != 200 {
        return Err(wrong(&format_args!("server returned HTTP status {}", fetched.status)));
    }
    if !fetched.content_type.trim_start().to_ascii_lowercase().starts_with("application/json") {
        return Err(wrong(&format_args!(
            "unsupported content type `{}`",
            fetched.content_type.escape_debug()
        )));
    }
    let body = fetched.body().map_err(|error| wrong(&error))?;
    read_json(&body, url, ("__meta_url", url))
}
