//! `bench edge`: CPU time of a proxy for each request, side by side.
//!
//! | workload | requests |
//! |---|---|
//! | `W1` | HTTP/1.1 keep-alive, 1 KB, 32 connections |
//! | `W2` | the same over TLS 1.3 with a P-256 certificate |
//! | `W3` | HTTP/2 over TLS, 1 KB, 16 connections × 16 streams |
//! | `W4` | a full handshake for each request, 1 KB, 16 at once |
//! | `W5a` | 64 KB over TLS, HTTP/1.1 keep-alive, 16 connections |
//! | `W5b` | 1 MB over TLS, HTTP/1.1 keep-alive, 8 connections |
//! | `W6` | a POST of 1 KB over TLS, HTTP/1.1 keep-alive, 32 connections |
//!
//! The metric is `cpu_us`: user + system time of the proxy's processes, from
//! `/proc`, divided by the requests answered. The proxy has one worker and one
//! core; load and origin share another, and their time is not counted. Each cell
//! warms up, then runs for a fixed time, then lets what is in flight finish: the
//! CPU time is read while nothing runs. The origin's count must equal the
//! generator's, and every body is compared byte by byte.

mod contender;
mod load;
mod origin;

use crate::rows::{Report, Sample, summarise};
use crate::{EdgeOptions, machine};
use contender::{Contender, NAMES, NEWER, Terms};
use load::{Load, Plan, Site, Travel};
use origin::Origin;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::time::Duration;

/// A workload's name and what it sends.
struct Workload {
    name: &'static str,
    plan: Plan,
}

fn workloads() -> Vec<Workload> {
    let plan = |name, travel, connections, body| Workload { name, plan: Plan { travel, connections, body } };
    vec![
        plan("W1", Travel::Plain, 32, 1 << 10),
        plan("W2", Travel::Tls, 32, 1 << 10),
        plan("W3", Travel::Http2 { streams: 16 }, 16, 1 << 10),
        plan("W4", Travel::Handshake, 16, 1 << 10),
        plan("W5a", Travel::Tls, 16, 64 << 10),
        plan("W5b", Travel::Tls, 8, 1 << 20),
        plan("W6", Travel::Tls, 32, 0),
    ]
}

/// How long a cell runs.
#[derive(Clone, Copy)]
struct Pace {
    rounds: u32,
    warm_up: Duration,
    measured: Duration,
}

/// Starts everything, measures in interleaved rounds, ends everything.
pub(crate) fn run(target: &Path, options: &EdgeOptions) -> Result<Report, String> {
    let target = std::path::absolute(target).map_err(|error| format!("{}: {error}", target.display()))?;
    let workloads = chosen(workloads(), &options.workload, |w| w.name, "workload")?;
    let names = chosen(NAMES.to_vec(), &options.contender, |name| name, "contender")?;
    let (rounds, warm_up, measured) = if options.common.quick { (2, 100, 300) } else { (5, 300, 2_000) };
    let pace = Pace {
        rounds: options.common.rounds.unwrap_or(rounds),
        warm_up: Duration::from_millis(warm_up),
        measured: Duration::from_millis(measured),
    };

    let cores = machine::two_cores();
    if cores.is_none() {
        eprintln!("note: one core only: proxy, load and origin share it");
    }
    let folder = tempfile::Builder::new()
        .prefix("bench-edge-")
        .tempdir()
        .map_err(|error| format!("no temporary folder: {error}"))?;
    let (authority, certificate, key) = certificates()?;
    let origin = Origin::start(cores.map(|(_, second)| second))?;
    let terms = Terms {
        target: &target,
        folder: folder.path(),
        origin: origin.address,
        core: cores.map(|(first, _)| first),
        certificate: &certificate,
        key: &key,
    };

    let mut report = Report::default();
    let mut contenders = Vec::new();
    for name in names {
        if options.no_newer && NEWER.contains(&name) {
            report.skipped.push(format!("{name}: --no-newer"));
            continue;
        }
        match contender::start(name, &terms) {
            Ok(contender) => contenders.push(contender),
            Err(why) => report.skipped.push(format!("{name}: {why}")),
        }
    }
    for contender in &contenders {
        eprintln!("{:<11} {}", contender.name, contender.version);
    }
    if let Some((_, second)) = cores {
        machine::pin(second)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the load's runtime: {error}"))?;
    let bench = Bench { pace, origin: &origin, authority };
    let samples = runtime.block_on(bench.rounds(&workloads, &mut contenders, &mut report));
    report.rows = summarise("cpu_us", &samples);
    Ok(report)
}

/// Those of `all` that are named; all where none is.
fn chosen<T>(
    all: Vec<T>,
    named: &[String],
    name: impl Fn(&T) -> &'static str,
    what: &str,
) -> Result<Vec<T>, String> {
    let known: Vec<&str> = all.iter().map(&name).collect();
    if let Some(unknown) = named.iter().find(|n| !known.contains(&n.as_str())) {
        return Err(format!("no {what} `{unknown}`\nhint: there are: {}", known.join(", ")));
    }
    Ok(all.into_iter().filter(|one| named.is_empty() || named.iter().any(|n| n == name(one))).collect())
}

/// An authority of the bench's own (DER), and a P-256 leaf for `localhost` with
/// its key (PEM).
fn certificates() -> Result<(CertificateDer<'static>, String, String), String> {
    let fail = |error: rcgen::Error| format!("making certificates: {error}");
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
    let mut authority = CertificateParams::new(Vec::new()).map_err(fail)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_der = authority.self_signed(&authority_key).map_err(fail)?.der().clone();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
    let issuer = Issuer::new(authority, authority_key);
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).map_err(fail)?;
    let leaf = leaf.signed_by(&key, &issuer).map_err(fail)?;
    Ok((authority_der, leaf.pem(), key.serialize_pem()))
}

struct Bench<'a> {
    pace: Pace,
    origin: &'a Origin,
    authority: CertificateDer<'static>,
}

impl Bench<'_> {
    /// All rounds. A cell that fails is not measured again: its contender is left
    /// out of that workload, and the report says why.
    async fn rounds(
        &self,
        workloads: &[Workload],
        contenders: &mut [Contender],
        report: &mut Report,
    ) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut out = Vec::new();
        for round in 0..self.pace.rounds {
            eprintln!("round {} of {}", round + 1, self.pace.rounds);
            for workload in workloads {
                // Another one begins in each round: none always follows the same one.
                contenders.rotate_left(usize::from(round > 0 && contenders.len() > 1));
                for contender in contenders.iter() {
                    let cell = (workload.name, contender.name);
                    if out.contains(&cell) {
                        continue;
                    }
                    match self.cell(&workload.plan, contender).await {
                        Ok(value) => {
                            samples.push(Sample { workload: cell.0, contender: cell.1.to_owned(), value });
                        }
                        Err(why) => {
                            report.failed.push(format!("{} {}: {why}", cell.0, cell.1));
                            out.push(cell);
                        }
                    }
                }
            }
        }
        // A contender that failed later has no place in this workload's comparison.
        samples
            .retain(|s| !out.iter().any(|(workload, name)| *workload == s.workload && *name == s.contender));
        let place = |s: &Sample| {
            let workload = workloads.iter().position(|w| w.name == s.workload);
            (workload, NAMES.iter().position(|name| *name == s.contender))
        };
        samples.sort_by_key(place);
        samples
    }

    /// CPU µs of `contender` for each request of `plan`.
    async fn cell(&self, plan: &Plan, contender: &Contender) -> Result<f64, String> {
        let site = Site { plain: contender.plain, tls: contender.tls, authority: self.authority.clone() };
        let mut load = Load::open(plan, &site).await?;
        load.run(self.pace.warm_up).await?;
        let (answered, before) = (self.origin.answered(), machine::cpu_seconds(contender.running.pid())?);
        let count = load.run(self.pace.measured).await?;
        let after = machine::cpu_seconds(contender.running.pid())?;
        let answered = self.origin.answered() - answered;
        if answered != count {
            return Err(format!("the generator counts {count} answers, the origin {answered}"));
        }
        Ok((after - before) * 1e6 / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known() {
        let error = chosen(vec!["W1", "W2"], &["W9".to_owned()], |n| n, "workload").unwrap_err();
        assert!(error.contains("`W9`") && error.contains("W1, W2"), "{error}");
        assert_eq!(chosen(vec!["W1", "W2"], &["W2".to_owned()], |n| n, "workload"), Ok(vec!["W2"]));
        assert_eq!(chosen(vec!["W1", "W2"], &[], |n| n, "workload"), Ok(vec!["W1", "W2"]));
    }
}
