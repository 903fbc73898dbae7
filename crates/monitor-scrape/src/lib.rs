//! What is scraped, when, and what becomes of what was read: relabelling,
//! discovered groups, targets, schedules, limits, series that come and go.
//!
//! The scrape manager of `monitor` does the I/O; every decision is here:
//!
//! - [`prometheus::read`] reads `scrape_configs` of a `prometheus.yml` as they are,
//!   [`groups`] what file and HTTP service discovery give.
//! - [`target::of_group`] makes targets of discovered groups, [`relabel`] changes
//!   labels as Prometheus does.
//! - [`schedule`] says when a target is scraped: a steady grid of its own.
//! - [`Scrape`] turns a body into rows for the store, marks series that ended, and
//!   says what the scrape says about itself (`up`, `scrape_*`).
//!
//! Pure: no I/O, no clock, no randomness; time and seeds are arguments.
//!
//! Limits: service discovery of clouds, Consul, Kubernetes and the like is refused
//! by name; so are OAuth 2 and proxies.
//!
//! Sources: Prometheus 3 documentation, "Configuration" (`scrape_config`,
//! `relabel_config`), "Jobs and instances", "HTTP SD"; Prometheus'
//! `scrape/scrape.go`, `scrape/target.go` and `model/relabel` for what the
//! documentation leaves open.

mod cache;
mod discovered;
pub mod dns;
mod exposed;
pub mod groups;
mod nhcb;
pub mod prometheus;
pub mod relabel;
pub mod schedule;
mod settings;
pub mod target;
mod units;

pub use cache::{Appender, Failure, Known, Outcome, Report, Rules, Scrape};
pub use discovered::Change;
pub use groups::Group;
pub use relabel::Relabel;
pub use settings::{
    Authentication, Discovery, Http, Limits, Pem, Pool, Protocol, SecretSource, Tls, TlsVersion, WhichRecord,
};
pub use target::{Found, Target};
pub use units::{format_duration, parse_duration, parse_size};
pub use yaml_tree::Mistake;
