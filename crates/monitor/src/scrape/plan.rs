//! Which pools a revision has: Bastide's own targets, and those of Prometheus' files.

use super::Endpoint;
use base::Address;
use monitor_model::Labels;
use monitor_scrape::groups::name_fits;
use monitor_scrape::prometheus::{self, Config, Global};
use monitor_scrape::{Limits, Pool, Protocol, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A scrape takes no longer than this, unless a file says otherwise.
const MAX_TIMEOUT_MS: u64 = 10_000;

/// Bytes of a file of `scrape_config_files`.
const MAX_FILE: u64 = 8 << 20;

/// A pool as it is to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolPlan {
    /// What names it here.
    pub(crate) key: String,
    /// The pool.
    pub(crate) pool: Arc<Pool>,
    /// Targets that the revision itself names; they are not relabelled.
    pub(crate) fixed: Vec<(Target, Endpoint)>,
}

/// The pools of a revision, external labels of its files, and what the operator
/// should know. The errors are sentences.
pub(crate) struct Planned {
    pub(crate) pools: Vec<PoolPlan>,
    pub(crate) external_labels: Vec<(String, String)>,
    pub(crate) notes: Vec<String>,
}

/// Reads what the revision says about scraping.
pub(crate) fn pools_of(site: &site::Monitor) -> Result<Planned, Vec<String>> {
    let mut errors = Vec::new();
    let mut planned = Planned { pools: of_targets(site), external_labels: Vec::new(), notes: Vec::new() };
    let mut names = BTreeSet::new();
    for file in &site.scrape_files {
        let mut read = Files { site, errors: &mut errors, names: &mut names, planned: &mut planned };
        read.file(&file.name, file.text.reveal(), &file.folder, None);
    }
    if errors.is_empty() { Ok(planned) } else { Err(errors) }
}

struct Files<'a> {
    site: &'a site::Monitor,
    errors: &'a mut Vec<String>,
    names: &'a mut BTreeSet<String>,
    planned: &'a mut Planned,
}

impl Files<'_> {
    fn file(&mut self, name: &str, text: &str, folder: &Path, global: Option<&Global>) {
        let config = match prometheus::read(text, name, folder, global) {
            Ok(config) => config,
            Err(mistakes) => return self.errors.extend(mistakes.iter().map(ToString::to_string)),
        };
        let Config { pools, external_labels, files, others, global } = config;
        for mut pool in pools {
            if !self.names.insert(pool.name.clone()) {
                self.errors.push(format!("{name}: a second pool with the `job_name` `{}`", pool.name));
                continue;
            }
            // What the file does not bound, the revision does: memory is not without an end.
            if pool.limits.body_bytes == Limits::default().body_bytes {
                pool.limits.body_bytes = self.site.limits.body.0;
            }
            pool.limits.series = self.site.limits.series;
            let key = format!("file/{}", pool.name);
            self.planned.pools.push(PoolPlan { key, pool: Arc::new(pool), fixed: Vec::new() });
        }
        self.planned.external_labels.extend(external_labels);
        if !others.is_empty() {
            let others = others.join("`, `");
            self.planned.notes.push(format!("{name}: `{others}` is not read from this file; hint: name rule files, receivers and remote writes under [monitor]"));
        }
        for pattern in files {
            match matching(&pattern) {
                Ok(paths) => paths.iter().for_each(|path| self.included(path, &global)),
                Err(why) => self.errors.push(format!("{name}: `scrape_config_files`: {why}")),
            }
        }
    }

    fn included(&mut self, path: &Path, global: &Global) {
        match read_file(path, MAX_FILE) {
            Ok(text) => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                let name = path.display().to_string();
                match std::str::from_utf8(&text) {
                    Ok(text) => self.file(&name, text, folder, Some(global)),
                    Err(error) => self.errors.push(format!("{name}: not UTF-8: {error}")),
                }
            }
            Err(why) => self.errors.push(why),
        }
    }
}

/// A file that is not larger than it may be. The error is a sentence.
pub(super) fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("cannot read `{}`: {why}", path.display());
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, most + 1), &mut text)
        .map_err(|error| wrong(&error))?;
    if text.len() as u64 > most {
        return Err(wrong(&format_args!("it is larger than {most} bytes")));
    }
    Ok(text)
}

/// The files that a path with `*` in its last part means, in order.
pub(super) fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?', '[']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let folder = pattern.parent().unwrap_or(Path::new("/"));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // A folder that is not there yet has no files.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read `{}`: {error}", folder.display())),
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| name_fits(&name, &entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}

/// A pool for each job of Bastide's own targets.
fn of_targets(site: &site::Monitor) -> Vec<PoolPlan> {
    let mut jobs: BTreeMap<&str, Vec<&site::Target>> = BTreeMap::new();
    for target in &site.targets {
        jobs.entry(&target.job).or_default().push(target);
    }
    let interval_ms = site.scrape_interval.0;
    let limits = &site.limits;
    jobs.into_iter()
        .map(|(job, targets)| {
            let mut pool = Pool::named(job);
            pool.interval_ms = interval_ms;
            pool.timeout_ms = interval_ms.min(MAX_TIMEOUT_MS);
            // Native histograms are wanted where a target has them, and what says
            // nothing of its format is text.
            pool.native_histograms = true;
            pool.protocols = Protocol::PROTOBUF_FIRST.to_vec();
            pool.fallback = Some(Protocol::Text004);
            pool.limits.body_bytes = limits.body.0;
            pool.limits.samples = limits.samples as u64;
            pool.limits.series = limits.series;
            pool.limits.labels = limits.labels;
            pool.limits.label_value = limits.label_value;
            let fixed = targets.into_iter().map(|target| fixed(target, &pool)).collect();
            PoolPlan { key: format!("own/{job}"), pool: Arc::new(pool), fixed }
        })
        .collect()
}

fn fixed(target: &site::Target, pool: &Pool) -> (Target, Endpoint) {
    let endpoint = Endpoint::of(&target.address, target.tls);
    let scheme = if target.tls { "https" } else { "http" };
    let address = target.address.to_string();
    let url = match &target.address {
        Address::Unix(path) => format!("unix:{}:{}", path.display(), target.path),
        address => format!("{scheme}://{address}{}", target.path),
    };
    let labels = Labels::from_pairs([("job", &target.job), ("instance", &target.instance)]);
    let discovered = Labels::from_pairs([
        ("__address__", address.as_str()),
        ("__metrics_path__", &target.path),
        ("__scheme__", scheme),
        ("__scrape_interval__", &monitor_scrape::format_duration(pool.interval_ms)),
        ("__scrape_timeout__", &monitor_scrape::format_duration(pool.timeout_ms)),
        ("job", &target.job),
    ]);
    let target = Target {
        discovered,
        labels,
        url,
        address,
        tls: target.tls,
        path: target.path.clone(),
        interval_ms: pool.interval_ms,
        timeout_ms: pool.timeout_ms,
    };
    (target, endpoint)
}
