//! Reads `scrape_configs` of a `prometheus.yml` as they are (Prometheus 3,
//! "Configuration"). What the file says of other things is named, not read; what
//! we cannot do is an error with its line.

mod http;
mod pool;
mod relabelling;

use crate::settings::Pool;
use crate::units::parse_duration;
use std::path::{Path, PathBuf};
use yaml_tree::{Mistake, Node, Place, Reader};

/// What a file says that concerns scraping.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Its pools, in order; names are unique.
    pub pools: Vec<Pool>,
    /// `global.external_labels`
    pub external_labels: Vec<(String, String)>,
    /// `scrape_config_files`: more files with `scrape_configs`; the last part of a
    /// path may have `*`. Each is read by [`read`], too, with these globals.
    pub files: Vec<PathBuf>,
    /// Sections that others read: `rule_files`, `alerting`, `remote_write`, …
    pub others: Vec<String>,
    /// `global`
    pub global: Global,
}

/// Defaults of all pools of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Global(pub(crate) Pool, pub(crate) Option<u64>);

impl Default for Global {
    fn default() -> Self {
        Self(Pool::named(""), None)
    }
}

const SECTIONS: [&str; 11] = [
    "global",
    "scrape_configs",
    "scrape_config_files",
    "runtime",
    "rule_files",
    "alerting",
    "remote_write",
    "remote_read",
    "storage",
    "tracing",
    "otlp",
];

/// Reads a file. `folder` is where its relative paths begin; `global` are the
/// defaults of the file that named this one. Every mistake at once.
pub fn read(text: &str, file: &str, folder: &Path, global: Option<&Global>) -> Result<Config, Vec<Mistake>> {
    let documents = yaml_tree::parse(text, file).map_err(|mistake| vec![mistake])?;
    let mut reader = Reader::new(file);
    let mut config = Config { global: global.cloned().unwrap_or_default(), ..Config::default() };
    if let [_, second, ..] = &documents[..] {
        reader.wrong(second.place, "a second document; hint: a file has one");
    }
    let entries = documents.first().map_or(&[][..], |root| reader.map(root, "the file"));
    // `global` goes before all that it is the default of, wherever it stands.
    for (_, _, node) in entries.iter().filter(|(key, ..)| key == "global") {
        read_global(&mut reader, node, &mut config);
    }
    for (key, place, node) in entries {
        match key.as_str() {
            "global" => {}
            "scrape_configs" => {
                for node in reader.list(node, key) {
                    if let Some(pool) = pool::read(&mut reader, node, &config.global, folder) {
                        add(&mut reader, node.place, pool, &mut config.pools);
                    }
                }
            }
            "scrape_config_files" => {
                config.files = reader.texts(node, key).iter().map(|path| folder.join(path)).collect();
            }
            other if SECTIONS.contains(&other) => {
                if says_something(node) {
                    config.others.push(key.clone());
                }
            }
            _ => reader.unknown(*place, key, &SECTIONS),
        }
    }
    if reader.mistakes.is_empty() { Ok(config) } else { Err(reader.mistakes) }
}

fn add(reader: &mut Reader, place: Place, pool: Pool, pools: &mut Vec<Pool>) {
    if pools.iter().any(|known| known.name == pool.name) {
        reader.wrong(place, format!("a second pool with the `job_name` `{}`", pool.name));
        return;
    }
    pools.push(pool);
}

/// Keys of `global` that do not concern scraping.
const OTHER_GLOBALS: [&str; 3] = ["evaluation_interval", "rule_query_offset", "query_log_file"];

fn says_something(node: &Node) -> bool {
    match &node.value {
        yaml_tree::Value::Null => false,
        yaml_tree::Value::Text(_) => true,
        yaml_tree::Value::List(items) => !items.is_empty(),
        yaml_tree::Value::Map(entries) => !entries.is_empty(),
    }
}

fn read_global(reader: &mut Reader, node: &Node, config: &mut Config) {
    let mut timeout = None;
    for (key, place, value) in reader.map(node, "`global`") {
        let pool = &mut config.global.0;
        match key.as_str() {
            "scrape_interval" => pool::duration(reader, value, key, &mut pool.interval_ms),
            "scrape_timeout" => timeout = reader.parsed(value, key, parse_duration),
            "external_labels" => {
                config.external_labels =
                    reader.pairs(value, key).into_iter().map(|(name, value, _)| (name, value)).collect();
            }
            other if OTHER_GLOBALS.contains(&other) => config.others.push(format!("global.{other}")),
            _ if pool::shared_key(reader, key, value, pool) => {}
            _ => reader.unknown(
                *place,
                key,
                &[&pool::SHARED[..], &["scrape_interval", "scrape_timeout"]].concat(),
            ),
        }
    }
    config.global.1 = timeout;
    let pool = &mut config.global.0;
    // "scrape_timeout … default = 10s", and never above the interval.
    pool.timeout_ms = timeout.unwrap_or(10_000).min(pool.interval_ms);
    if timeout.is_some_and(|timeout| timeout > pool.interval_ms) {
        reader.wrong(node.place, "the global scrape timeout is longer than the scrape interval");
    }
}

#[cfg(test)]
mod tests;
