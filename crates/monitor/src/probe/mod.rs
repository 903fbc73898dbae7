//! Probes: what the site, or something it needs, looks like from outside.
//!
//! Each is tried at its own steady moments, within a time, on a connection of its own.
//! What it finds has blackbox_exporter's names and goes to the store under
//! `job="probe"`: `probe_success`, `probe_duration_seconds`, the phases, the status,
//! the end of the certificate. Whether it succeeded also goes to the book of uptime
//! ([`uptime`]), from which the status page ([`page`]) is made.
//!
//! A probe never sends more than it must, never follows more than ten redirects, and
//! reads at most 10 MiB of an answer. What it is told by the far end is bounded,
//! checked, and never a label.
//!
//! Source: blackbox_exporter 0.27, `prober/`.

mod dns;
mod dns_wire;
mod http;
mod icmp;
mod keep;
mod net;
pub(crate) mod page;
mod postgres;
mod settings;
mod tcp;
#[cfg(test)]
mod tests;
pub(crate) mod uptime;

pub(crate) use keep::{Fares, keep, remembered};
pub(crate) use settings::{Dns, Http, Kind, Settings, Step, Tcp, settings};

use std::time::{Duration, Instant};

/// What one try found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Why it failed; none where it succeeded.
    pub(crate) failed: Option<String>,
    /// What it measured.
    pub(crate) readings: Vec<Reading>,
    /// All of it.
    pub(crate) took: Duration,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// `probe_http_status_code`.
    pub(crate) name: &'static str,
    /// A label, where it has one: `phase`, `connect`.
    pub(crate) label: Option<(&'static str, String)>,
    /// The value.
    pub(crate) value: f64,
}

/// What is measured meanwhile. It outlives a try that is out of time.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Reading>);

impl Findings {
    /// Notes a value; one that is noted again counts as the last.
    pub(crate) fn set(&mut self, name: &'static str, value: f64) {
        self.put(name, None, value);
    }

    /// The same with a label.
    pub(crate) fn put(&mut self, name: &'static str, label: Option<(&'static str, String)>, value: f64) {
        match self.0.iter_mut().find(|r| r.name == name && r.label == label) {
            Some(reading) => reading.value = value,
            None => self.0.push(Reading { name, label, value }),
        }
    }

    /// Adds the time since `began` to a phase.
    pub(crate) fn phase(&mut self, name: &'static str, phase: &'static str, began: Instant) {
        let label = Some(("phase", phase.to_owned()));
        let before = self.0.iter().find(|r| r.name == name && r.label == label).map_or(0.0, |r| r.value);
        self.put(name, label, before + began.elapsed().as_secs_f64());
    }
}

/// Tries once.
pub(crate) async fn attempt(settings: &Settings) -> Report {
    let began = Instant::now();
    let mut findings = Findings::default();
    let work = async {
        match &settings.kind {
            Kind::Http(http) => Box::pin(http::probe(http, &mut findings)).await,
            Kind::Tcp(tcp) => Box::pin(tcp::probe(tcp, &mut findings)).await,
            Kind::Dns(dns) => Box::pin(dns::probe(dns, &mut findings)).await,
            Kind::Icmp(host) => Box::pin(icmp::probe(host, &mut findings)).await,
            Kind::Postgres(postgres) => Box::pin(postgres::probe(postgres, &mut findings)).await,
        }
    };
    let outcome = tokio::time::timeout(settings.timeout, work).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {:?}", settings.timeout)));
    let took = began.elapsed();
    findings.set("probe_success", f64::from(u8::from(outcome.is_ok())));
    findings.set("probe_duration_seconds", took.as_secs_f64());
    Report { failed: outcome.err(), readings: findings.0, took }
}
