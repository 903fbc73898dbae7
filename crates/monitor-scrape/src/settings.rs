//! What a scrape pool is: one `scrape_config` of Prometheus, checked.

use crate::groups::Group;
use crate::relabel::Relabel;
use base::Secret;
pub use monitor_exposition::Protocol;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Targets that are found and scraped alike (Prometheus, `scrape_config`).
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// `job_name`: the label `job` of its targets unless they have another; unique.
    pub name: String,
    /// `scrape_interval`, in milliseconds; 1m unless told otherwise.
    pub interval_ms: u64,
    /// `scrape_timeout`, in milliseconds; 10s, or the interval where that is shorter.
    pub timeout_ms: u64,
    /// `metrics_path`, `/metrics`.
    pub path: String,
    /// `scheme`: `http` or `https`.
    pub scheme: String,
    /// `params`: of the query.
    pub params: BTreeMap<String, Vec<String>>,
    /// `honor_labels`: the target's labels win over ours; false.
    pub honor_labels: bool,
    /// `honor_timestamps`: the target's times count; true.
    pub honor_timestamps: bool,
    /// `track_timestamps_staleness`: series with times of their own become stale, too; false.
    pub track_timestamps_staleness: bool,
    /// `scrape_protocols`: asked for in this order.
    pub protocols: Vec<Protocol>,
    /// `fallback_scrape_protocol`: of answers whose `Content-Type` says nothing that we know.
    pub fallback: Option<Protocol>,
    /// `metric_name_validation_scheme: legacy`: only names that need no quotes; false.
    pub legacy_names: bool,
    /// `metric_name_escaping_scheme`: whether targets are asked to write other names
    /// with underscores; where it is not said, as `legacy_names`.
    pub escape_names: Option<bool>,
    /// `scrape_native_histograms`; false.
    pub native_histograms: bool,
    /// `always_scrape_classic_histograms`: classic series of native histograms, too; false.
    pub classic_too: bool,
    /// `convert_classic_histograms_to_nhcb`; false.
    pub classic_to_native: bool,
    /// `native_histogram_bucket_limit`: beyond it the resolution is made coarser; 0 is none.
    pub bucket_limit: usize,
    /// `native_histogram_min_bucket_factor`: finer buckets are merged; 0 is none.
    pub min_bucket_factor: f64,
    /// What a scrape may bring.
    pub limits: Limits,
    /// `extra_scrape_metrics`: timeout, sample limit and body size become series; false.
    pub extra_metrics: bool,
    /// How targets are spoken to.
    pub http: Http,
    /// `relabel_configs`: over targets.
    pub relabel: Vec<Relabel>,
    /// `metric_relabel_configs`: over samples.
    pub metric_relabel: Vec<Relabel>,
    /// Where targets come from.
    pub discovery: Vec<Discovery>,
}

impl Pool {
    /// A pool with Prometheus' defaults, that finds nothing yet.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            interval_ms: 60_000,
            timeout_ms: 10_000,
            path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            protocols: Protocol::DEFAULT.to_vec(),
            fallback: None,
            legacy_names: false,
            escape_names: None,
            native_histograms: false,
            classic_too: false,
            classic_to_native: false,
            bucket_limit: 0,
            min_bucket_factor: 0.0,
            limits: Limits::default(),
            extra_metrics: false,
            http: Http::default(),
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
            discovery: Vec::new(),
        }
    }
}

/// What a scrape may bring; beyond it the whole scrape fails, as in Prometheus.
/// 0 means no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `body_size_limit`: bytes of the body, unpacked. Default 64 MiB, which also
    /// stands for 0: memory is never without a bound.
    pub body_bytes: u64,
    /// `sample_limit`: samples after relabelling.
    pub samples: u64,
    /// Different series of a target within a day; those beyond are refused, and the
    /// rest of the scrape is stored. Prometheus has no such limit.
    pub series: usize,
    /// `label_limit`: labels of a series.
    pub labels: usize,
    /// `label_name_length_limit`: bytes of a label's name.
    pub label_name: usize,
    /// `label_value_length_limit`: bytes of a label's value.
    pub label_value: usize,
    /// `target_limit`: targets of a pool.
    pub targets: usize,
    /// `keep_dropped_targets`: dropped targets that are shown. Default 1,000.
    pub dropped: usize,
}

/// Bytes of a body where nothing else is said.
pub(crate) const BODY_BYTES: u64 = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES,
            samples: 0,
            series: 0,
            labels: 0,
            label_name: 0,
            label_value: 0,
            targets: 0,
            dropped: 1_000,
        }
    }
}

/// How something is spoken to over HTTP (Prometheus, `http_config`).
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Who we are.
    pub authentication: Authentication,
    /// Certificates.
    pub tls: Tls,
    /// `follow_redirects`; true.
    pub follow_redirects: bool,
    /// `enable_compression`: whether gzip is asked for; true.
    pub compression: bool,
    /// `http_headers`: more lines, with their values.
    pub headers: Vec<(String, SecretSource)>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            authentication: Authentication::None,
            tls: Tls::default(),
            follow_redirects: true,
            compression: true,
            headers: Vec::new(),
        }
    }
}

/// The `Authorization` line.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Authentication {
    /// None.
    #[default]
    None,
    /// `basic_auth`
    Basic {
        /// The user.
        user: SecretSource,
        /// The password.
        password: SecretSource,
    },
    /// `authorization`: `Bearer …`, or of another type.
    Token {
        /// `type`
        kind: String,
        /// `credentials`
        credentials: SecretSource,
    },
}

/// A secret, or the file that holds it, which is read again for each use.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretSource {
    /// The secret.
    Text(Secret),
    /// Where it is.
    File(PathBuf),
}

/// `tls_config`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// `ca`, `ca_file`: who is trusted, instead of the system's authorities.
    pub ca: Option<Pem>,
    /// `cert`, `cert_file`: our certificate.
    pub certificate: Option<Pem>,
    /// `key`, `key_file`: its key.
    pub key: Option<Pem>,
    /// `server_name`: the name that the certificate must have, instead of the host's.
    pub server_name: Option<String>,
    /// `insecure_skip_verify`: any certificate will do; false.
    pub insecure: bool,
    /// `min_version`; TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// `max_version`; TLS 1.3.
    pub max_version: Option<TlsVersion>,
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

/// PEM text, or the file that holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Pem {
    /// The text; a key's is a secret.
    Text(Secret),
    /// Where it is.
    File(PathBuf),
}

/// Where targets come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// `static_configs`
    Static(Vec<Group>),
    /// `file_sd_configs`
    File {
        /// Paths; the last part may have `*`.
        files: Vec<PathBuf>,
        /// Between two looks, in milliseconds; 5m. Changes are noticed at once where
        /// the file system tells them.
        refresh_ms: u64,
    },
    /// `http_sd_configs`
    Http {
        /// The URL that answers with groups.
        url: String,
        /// Between two questions, in milliseconds; 1m.
        refresh_ms: u64,
        /// How it is spoken to.
        http: Box<Http>,
    },
    /// `dns_sd_configs`
    Dns {
        /// What is looked up.
        names: Vec<String>,
        /// Which records.
        record: WhichRecord,
        /// The port, where records have none.
        port: u16,
        /// Between two questions, in milliseconds; 30s.
        refresh_ms: u64,
    },
}

/// Records of the domain name system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichRecord {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services, with their ports.
    Srv,
    /// Mail exchangers.
    Mx,
    /// Name servers.
    Ns,
}
