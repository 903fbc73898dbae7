//! The monitor: scrapes, reads logs, evaluates rules, tells receivers, answers
//! queries and shows the page.
//!
//! `life_of_a_sample.rs` tells the journey. It does what the pure crates decide:
//! `monitor-promql` what a query means, `monitor-alert` what fires and who is
//! told, `monitor-store` keeps. It never touches traffic: nothing on the line
//! waits for it, and it may be stopped at any time.
//!
//! Bounds: a scrape's body, samples and series and what queries may take, as the revision says; 512 page connections.
//!
//! Sources: Prometheus' documentation, "HTTP API", "Exposition formats",
//! "Jobs and instances".

pub mod agent;
mod api;
mod clock;
mod fetch;
mod growth;
mod host;
mod life_of_a_sample;
mod logs;
mod notify;
mod page;
mod plan;
mod probe;
mod push;
mod queries;
mod recent;
mod rules;
mod scrape;
mod server;
mod sink;
mod state;

pub use life_of_a_sample::run;
