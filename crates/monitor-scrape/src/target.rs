//! Targets, made of discovered groups.

use crate::Group;
use crate::relabel::Builder;
use crate::schedule::{self, Schedule};
use crate::settings::Pool;
use crate::units::{format_duration, parse_duration};
use monitor_model::Labels;

/// Labels that say where and how; relabelling may change them, series do not have them.
const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// As it was discovered, with all that was known then.
    pub discovered: Labels,
    /// What its series get.
    pub labels: Labels,
    /// `http://host:port/path?query`
    pub url: String,
    /// `__address__`: `host:port`, or a host alone.
    pub address: String,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Path and query.
    pub path: String,
    /// Between two scrapes, in milliseconds.
    pub interval_ms: u64,
    /// How long one may take, in milliseconds.
    pub timeout_ms: u64,
}

/// What became of an address that was discovered.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It is scraped.
    Target(Box<Target>),
    /// Relabelling dropped it.
    Dropped(Labels),
    /// It cannot be a target.
    Wrong {
        /// As it was discovered.
        discovered: Labels,
        /// Why not.
        why: String,
    },
}

/// Makes what a group holds (Prometheus, `PopulateLabels`).
pub fn of_group(pool: &Pool, group: &Group) -> Vec<Found> {
    group.targets.iter().map(|labels| of_address(pool, labels, &group.labels)).collect()
}

fn of_address(pool: &Pool, own: &[(String, String)], common: &[(String, String)]) -> Found {
    let mut labels = Builder::default();
    for (name, value) in common.iter().chain(own) {
        labels.set(name, value);
    }
    let (interval, timeout) = (format_duration(pool.interval_ms), format_duration(pool.timeout_ms));
    for (name, value) in [
        ("job", &pool.name),
        (INTERVAL, &interval),
        (TIMEOUT, &timeout),
        (PATH, &pool.path),
        (SCHEME, &pool.scheme),
    ] {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    }
    for (name, values) in &pool.params {
        let name = format!("{PARAM}{name}");
        if let Some(first) = values.first()
            && labels.get(&name).is_empty()
        {
            labels.set(&name, first);
        }
    }
    let discovered = labels.build();
    if !labels.relabel(&pool.relabel) || labels.is_empty() {
        return Found::Dropped(discovered);
    }
    match target(pool, labels, discovered.clone()) {
        Ok(target) => Found::Target(Box::new(target)),
        Err(why) => Found::Wrong { discovered, why },
    }
}

fn target(pool: &Pool, mut labels: Builder, discovered: Labels) -> Result<Target, String> {
    let address = labels.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err("no address; hint: `__address__` is empty after relabelling".to_owned());
    }
    if address.contains('/') || address.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(format!("`{address}` is not an address; hint: `host:port`, without scheme and path"));
    }
    let tls = match labels.get(SCHEME) {
        "http" => false,
        "https" => true,
        other => return Err(format!("`{other}` is not a scheme; hint: `http` or `https`")),
    };
    let duration = |name: &str| {
        let text = labels.get(name);
        parse_duration(text).map_err(|why| format!("`{name}`: {why}"))
    };
    let (interval_ms, timeout_ms) = (duration(INTERVAL)?, duration(TIMEOUT)?);
    if interval_ms == 0 || timeout_ms == 0 {
        return Err("interval and timeout cannot be 0".to_owned());
    }
    if timeout_ms > interval_ms {
        let (timeout, interval) = (format_duration(timeout_ms), format_duration(interval_ms));
        return Err(format!("the timeout `{timeout}` is longer than the interval `{interval}`"));
    }
    let path = path(pool, &labels);
    let url = format!("{}://{address}{path}", labels.get(SCHEME));
    if labels.get("instance").is_empty() {
        labels.set("instance", &address);
    }
    labels.retain(|name| !name.starts_with("__"));
    Ok(Target { discovered, labels: labels.build(), url, address, tls, path, interval_ms, timeout_ms })
}

/// Path and query: the pool's parameters, of which `__param_*` replace the first.
fn path(pool: &Pool, labels: &Builder) -> String {
    let mut params = pool.params.clone();
    for (name, value) in labels.iter() {
        let Some(name) = name.strip_prefix(PARAM) else { continue };
        match params.get_mut(name).and_then(|values| values.first_mut()) {
            Some(first) => value.clone_into(first),
            None => drop(params.insert(name.to_owned(), vec![value.to_owned()])),
        }
    }
    let mut out = String::new();
    let path = labels.get(PATH);
    if !path.starts_with('/') {
        out.push('/');
    }
    encode(path, b"/-._~!$&'()*+,;=:@%?", &mut out);
    let mut separator = if path.contains('?') { '&' } else { '?' };
    for (name, value) in
        params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
    {
        out.push(std::mem::replace(&mut separator, '&'));
        encode(name, b"-._~", &mut out);
        out.push('=');
        encode(value, b"-._~", &mut out);
    }
    out
}

/// Percent-encodes what is neither a letter, a digit nor in `keep` (RFC 3986 §2.1).
fn encode(text: &str, keep: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

impl Target {
    /// What names it within its pool: labels and URL.
    pub fn key(&self) -> (Labels, String) {
        (self.labels.clone(), self.url.clone())
    }

    /// Its moments.
    pub fn schedule(&self) -> Schedule {
        let labels = self.labels.iter().flat_map(|(name, value)| [name, value]);
        Schedule::new(self.interval_ms, schedule::hash(labels.chain([self.url.as_str()])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Relabel;
    use crate::relabel::{Action, Written};

    fn found(pool: &Pool, labels: &[(&str, &str)], common: &[(&str, &str)]) -> Found {
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let group = Group { source: "test".into(), targets: vec![own(labels)], labels: own(common) };
        of_group(pool, &group).remove(0)
    }

    fn step(written: Written) -> Relabel {
        Relabel::compile(&written).unwrap()
    }

    #[test]
    fn defaults_and_overrides() {
        let mut pool = Pool::named("node");
        pool.params.insert("collect[]".into(), vec!["cpu".into(), "mem".into()]);
        let Found::Target(target) =
            found(&pool, &[(ADDRESS, "h:9100"), ("env", "own")], &[("env", "x"), ("__meta_a", "b")])
        else {
            panic!("a target")
        };
        assert_eq!(target.labels.to_string(), r#"{env="own", instance="h:9100", job="node"}"#);
        assert_eq!(target.url, "http://h:9100/metrics?collect%5B%5D=cpu&collect%5B%5D=mem");
        assert_eq!((target.interval_ms, target.timeout_ms, target.tls), (60_000, 10_000, false));
        assert_eq!(target.discovered.get("__meta_a"), Some("b"));
        assert_eq!(target.discovered.get("__scrape_interval__"), Some("1m"));

        let labels = [
            (ADDRESS, "h"),
            (SCHEME, "https"),
            (PATH, "probe me"),
            (INTERVAL, "5s"),
            (TIMEOUT, "2s"),
            ("__param_target", "http://a/?b"),
            ("job", "other"),
            ("instance", "i"),
        ];
        let Found::Target(target) = found(&Pool::named("p"), &labels, &[]) else { panic!("a target") };
        assert_eq!(target.url, "https://h/probe%20me?target=http%3A%2F%2Fa%2F%3Fb");
        assert_eq!(target.labels.to_string(), r#"{instance="i", job="other"}"#);
        assert_eq!((target.interval_ms, target.timeout_ms, target.tls), (5_000, 2_000, true));
    }

    #[test]
    fn the_blackbox_pattern() {
        let mut pool = Pool::named("blackbox");
        pool.path = "/probe".into();
        pool.params.insert("module".into(), vec!["http_2xx".into()]);
        let replace = |source: &str, target: &str, with: Option<&str>| {
            step(Written {
                source_labels: if source.is_empty() { Vec::new() } else { vec![source.into()] },
                target_label: Some(target.into()),
                replacement: with.map(str::to_owned),
                ..Written::default()
            })
        };
        pool.relabel = vec![
            replace(ADDRESS, "__param_target", None),
            replace("__param_target", "instance", None),
            replace("", ADDRESS, Some("127.0.0.1:9115")),
        ];
        let Found::Target(target) = found(&pool, &[(ADDRESS, "https://prometheus.io")], &[]) else {
            panic!("a target")
        };
        assert_eq!(
            target.url,
            "http://127.0.0.1:9115/probe?module=http_2xx&target=https%3A%2F%2Fprometheus.io"
        );
        assert_eq!(target.labels.get("instance"), Some("https://prometheus.io"));
    }

    #[test]
    fn what_is_no_target() {
        let mut pool = Pool::named("p");
        pool.relabel = vec![step(Written {
            source_labels: vec!["env".into()],
            regex: Some("test".into()),
            action: Action::Drop,
            ..Written::default()
        })];
        assert!(matches!(found(&pool, &[(ADDRESS, "h:1"), ("env", "test")], &[]), Found::Dropped(_)));
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], "no address"),
            (&[(ADDRESS, "http://h:1")], "is not an address"),
            (&[(ADDRESS, "h 1")], "is not an address"),
            (&[(ADDRESS, "h:1"), (SCHEME, "ftp")], "`ftp` is not a scheme"),
            (&[(ADDRESS, "h:1"), (INTERVAL, "x")], "`__scrape_interval__`: `x` is not a duration"),
            (&[(ADDRESS, "h:1"), (INTERVAL, "0s")], "cannot be 0"),
            (&[(ADDRESS, "h:1"), (TIMEOUT, "2m")], "the timeout `2m` is longer than the interval `1m`"),
        ];
        for (labels, expected) in cases {
            let Found::Wrong { why, .. } = found(&pool, labels, &[]) else { panic!("{labels:?}") };
            assert!(why.contains(expected), "{why}");
        }
    }
}
