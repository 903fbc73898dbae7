//! One `scrape_config`.

use super::{Global, http, relabelling};
use crate::groups::{Group, written_group};
use crate::settings::{Discovery, Pool, Protocol, WhichRecord};
use crate::units::{parse_duration, parse_size};
use std::path::Path;
use yaml_tree::{Node, Reader};

/// Keys that `global` has, too.
pub(super) const SHARED: [&str; 15] = [
    "scrape_protocols",
    "body_size_limit",
    "sample_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "target_limit",
    "keep_dropped_targets",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "extra_scrape_metrics",
    "external_labels",
];

/// The others, for hints.
const KEYS: [&str; 24] = [
    "job_name",
    "scrape_interval",
    "scrape_timeout",
    "fallback_scrape_protocol",
    "metrics_path",
    "scheme",
    "params",
    "honor_labels",
    "honor_timestamps",
    "track_timestamps_staleness",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "enable_compression",
    "relabel_configs",
    "metric_relabel_configs",
    "static_configs",
    "file_sd_configs",
    "http_sd_configs",
    "dns_sd_configs",
    "basic_auth",
    "authorization",
    "tls_config",
    "http_headers",
    "follow_redirects",
];

/// Reads a pool; what is wrong is told to `reader`.
pub(super) fn read(reader: &mut Reader, node: &Node, global: &Global, folder: &Path) -> Option<Pool> {
    let mut pool = global.0.clone();
    let mut timeout = None;
    for (key, place, value) in reader.map(node, "a scrape config") {
        match key.as_str() {
            "job_name" => pool.name = reader.text(value, key),
            "scrape_interval" => duration(reader, value, key, &mut pool.interval_ms),
            "scrape_timeout" => timeout = reader.parsed(value, key, parse_duration),
            "metrics_path" => pool.path = reader.text(value, key),
            "scheme" => pool.scheme = reader.parsed(value, key, scheme).unwrap_or_default(),
            "params" => {
                for (name, _, values) in reader.map(value, "`params`") {
                    let values = reader.texts(values, name);
                    pool.params.insert(name.clone(), values);
                }
            }
            "honor_labels" => flag(reader, value, key, &mut pool.honor_labels),
            "honor_timestamps" => flag(reader, value, key, &mut pool.honor_timestamps),
            "track_timestamps_staleness" => flag(reader, value, key, &mut pool.track_timestamps_staleness),
            "fallback_scrape_protocol" => pool.fallback = reader.parsed(value, key, protocol),
            "native_histogram_bucket_limit" => {
                pool.bucket_limit = reader.number(value, key).unwrap_or_default();
            }
            "native_histogram_min_bucket_factor" => {
                pool.min_bucket_factor = reader.number(value, key).unwrap_or_default();
            }
            "relabel_configs" => pool.relabel = relabelling::read(reader, value, key),
            "metric_relabel_configs" => pool.metric_relabel = relabelling::read(reader, value, key),
            "static_configs" => {
                let groups = reader.list(value, key).iter().enumerate();
                let groups = groups.map(|(at, node)| group(reader, node, at)).collect();
                pool.discovery.push(Discovery::Static(groups));
            }
            "file_sd_configs" => {
                each(reader, value, key, &mut pool, |reader, node| files(reader, node, folder))
            }
            "http_sd_configs" => {
                each(reader, value, key, &mut pool, |reader, node| by_http(reader, node, folder))
            }
            "dns_sd_configs" => each(reader, value, key, &mut pool, by_dns),
            other if other.ends_with("_sd_configs") => reader.wrong(
                *place,
                format!(
                    "`{key}`: this service discovery is not there; \
                     hint: static_configs, file_sd_configs, http_sd_configs and dns_sd_configs are"
                ),
            ),
            _ if shared_key(reader, key, value, &mut pool) => {}
            _ if http::key(reader, key, *place, value, folder, &mut pool.http) => {}
            _ => reader.unknown(*place, key, &[&KEYS[..], &SHARED[..]].concat()),
        }
    }
    if pool.name.is_empty() {
        reader.wrong(node.place, "a scrape config without `job_name`");
        return None;
    }
    if pool.interval_ms == 0 {
        reader.wrong(node.place, format!("pool `{}`: the scrape interval is 0", pool.name));
    }
    // As in Prometheus: a timeout of its own, else the global one, but never above the interval.
    pool.timeout_ms = timeout.unwrap_or(global.1.unwrap_or(10_000).min(pool.interval_ms));
    if pool.timeout_ms > pool.interval_ms || pool.timeout_ms == 0 {
        let name = &pool.name;
        let what = format!("pool `{name}`: the scrape timeout is 0, or longer than the scrape interval");
        reader.wrong(node.place, what);
    }
    Some(pool)
}

/// A key that both `global` and a pool may have; `false` where it is none.
pub(super) fn shared_key(reader: &mut Reader, key: &str, value: &Node, pool: &mut Pool) -> bool {
    let limits = &mut pool.limits;
    match key {
        "scrape_protocols" => {
            let found: Vec<Protocol> = reader
                .list(value, key)
                .iter()
                .filter_map(|node| reader.parsed(node, key, protocol))
                .collect();
            if found.is_empty() {
                reader.wrong(value.place, "`scrape_protocols` is empty");
            }
            let twice = found.iter().enumerate().any(|(at, protocol)| found[..at].contains(protocol));
            if twice {
                reader.wrong(value.place, "`scrape_protocols` names one twice");
            }
            pool.protocols = found;
        }
        "body_size_limit" => {
            let bytes = reader.parsed(value, key, parse_size).unwrap_or_default();
            limits.body_bytes = if bytes == 0 { crate::settings::BODY_BYTES } else { bytes };
        }
        "sample_limit" => limits.samples = reader.number(value, key).unwrap_or_default(),
        "label_limit" => limits.labels = reader.number(value, key).unwrap_or_default(),
        "label_name_length_limit" => limits.label_name = reader.number(value, key).unwrap_or_default(),
        "label_value_length_limit" => limits.label_value = reader.number(value, key).unwrap_or_default(),
        "target_limit" => limits.targets = reader.number(value, key).unwrap_or_default(),
        "keep_dropped_targets" => limits.dropped = reader.number(value, key).unwrap_or_default(),
        "scrape_native_histograms" => {
            flag(reader, value, key, &mut pool.native_histograms);
            if pool.native_histograms && pool.protocols == Protocol::DEFAULT {
                pool.protocols = Protocol::PROTOBUF_FIRST.to_vec();
            }
        }
        "always_scrape_classic_histograms" => flag(reader, value, key, &mut pool.classic_too),
        "convert_classic_histograms_to_nhcb" => flag(reader, value, key, &mut pool.classic_to_native),
        "extra_scrape_metrics" => flag(reader, value, key, &mut pool.extra_metrics),
        "metric_name_validation_scheme" => {
            let legacy = reader.parsed(value, key, |text| match text {
                "utf8" => Ok(false),
                "legacy" => Ok(true),
                _ => Err(format!("`{text}` is neither `utf8` nor `legacy`")),
            });
            pool.legacy_names = legacy.unwrap_or_default();
        }
        "metric_name_escaping_scheme" => {
            // How a target is asked to write names that we would not take; the two
            // schemes that follow from the validation scheme are there.
            let wanted = reader.parsed(value, key, |text| match text {
                "allow-utf-8" => Ok(false),
                "underscores" => Ok(true),
                _ => Err(format!("`{text}` is not there; hint: `allow-utf-8` or `underscores`")),
            });
            pool.escape_names = wanted;
        }
        _ => return false,
    }
    true
}

pub(super) fn duration(reader: &mut Reader, node: &Node, key: &str, into: &mut u64) {
    if let Some(found) = reader.parsed(node, key, parse_duration) {
        *into = found;
    }
}

pub(super) fn flag(reader: &mut Reader, node: &Node, key: &str, into: &mut bool) {
    if let Some(found) = reader.flag(node, key) {
        *into = found;
    }
}

fn scheme(text: &str) -> Result<String, String> {
    match text {
        "http" | "https" => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is not a scheme; hint: `http` or `https`")),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let known: Vec<&str> = Protocol::PROTOBUF_FIRST.iter().map(|protocol| protocol.name()).collect();
    Protocol::from_name(text)
        .ok_or_else(|| format!("`{text}` is not a scrape protocol; hint: there are {}", known.join(", ")))
}

fn group(reader: &mut Reader, node: &Node, at: usize) -> Group {
    let (targets, labels) = written_group(reader, node);
    for address in targets.iter().filter(|address| address.contains('/')) {
        reader.wrong(
            node.place,
            format!("`{address}` is not an address; hint: `host:port`, without scheme and path"),
        );
    }
    Group { labels, ..Group::of_addresses(&at.to_string(), targets.iter().map(String::as_str)) }
}

fn each(
    reader: &mut Reader,
    list: &Node,
    key: &str,
    pool: &mut Pool,
    mut read: impl FnMut(&mut Reader, &Node) -> Discovery,
) {
    for node in reader.list(list, key) {
        let found = read(reader, node);
        pool.discovery.push(found);
    }
}

fn files(reader: &mut Reader, node: &Node, folder: &Path) -> Discovery {
    let (mut files, mut refresh_ms) = (Vec::new(), 300_000);
    for (key, place, value) in reader.map(node, "`file_sd_configs`") {
        match key.as_str() {
            "files" => {
                for node in reader.list(value, key) {
                    let path = reader.text(node, key);
                    if !fits(&path) {
                        let what = format!(
                            "`{path}` is not a path of .json, .yml or .yaml files; hint: only its last part may have `*`"
                        );
                        reader.wrong(node.place, what);
                    }
                    files.push(folder.join(path));
                }
            }
            "refresh_interval" => duration(reader, value, key, &mut refresh_ms),
            _ => reader.unknown(*place, key, &["files", "refresh_interval"]),
        }
    }
    if files.is_empty() {
        reader.wrong(node.place, "file service discovery needs at least one path in `files`");
    }
    Discovery::File { files, refresh_ms: refresh_ms.max(1_000) }
}

/// `^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$` (`discovery/file`).
fn fits(path: &str) -> bool {
    let ending = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"].iter().any(|end| path.ends_with(end));
    let star = path.find('*');
    ending && star.is_none_or(|at| !path[at..].contains('/'))
}

fn by_http(reader: &mut Reader, node: &Node, folder: &Path) -> Discovery {
    let (mut url, mut refresh_ms) = (String::new(), 60_000);
    let mut client = crate::settings::Http::default();
    for (key, place, value) in reader.map(node, "`http_sd_configs`") {
        match key.as_str() {
            "url" => url = reader.text(value, key),
            "refresh_interval" => duration(reader, value, key, &mut refresh_ms),
            _ if http::key(reader, key, *place, value, folder, &mut client) => {}
            _ => reader.unknown(*place, key, &["url", "refresh_interval", "tls_config", "basic_auth"]),
        }
    }
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        reader.wrong(
            node.place,
            format!("`{url}` is not a URL of HTTP service discovery; hint: `http://host:port/path`"),
        );
    }
    Discovery::Http { url, refresh_ms: refresh_ms.max(1_000), http: Box::new(client) }
}

fn by_dns(reader: &mut Reader, node: &Node) -> Discovery {
    let (mut names, mut refresh_ms, mut port, mut record) = (Vec::new(), 30_000, None, WhichRecord::Srv);
    for (key, place, value) in reader.map(node, "`dns_sd_configs`") {
        match key.as_str() {
            "names" => names = reader.texts(value, key),
            "type" => record = reader.parsed(value, key, which_record).unwrap_or(record),
            "port" => port = reader.number(value, key),
            "refresh_interval" => duration(reader, value, key, &mut refresh_ms),
            _ => reader.unknown(*place, key, &["names", "type", "port", "refresh_interval"]),
        }
    }
    if names.is_empty() {
        reader.wrong(node.place, "DNS service discovery needs at least one of `names`");
    }
    if record != WhichRecord::Srv && port.is_none() {
        reader.wrong(node.place, "DNS service discovery needs a `port` for all but SRV records");
    }
    Discovery::Dns { names, record, port: port.unwrap_or(0), refresh_ms: refresh_ms.max(1_000) }
}

fn which_record(text: &str) -> Result<WhichRecord, String> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "A" => WhichRecord::A,
        "AAAA" => WhichRecord::Aaaa,
        "SRV" => WhichRecord::Srv,
        "MX" => WhichRecord::Mx,
        "NS" => WhichRecord::Ns,
        _ => return Err(format!("`{text}` is not a record type; hint: A, AAAA, SRV, MX or NS")),
    })
}
