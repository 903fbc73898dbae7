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

use crate::rounds::{Named, Pace, chosen, interleaved};
use crate::rows::Report;
use crate::{EdgeOptions, machine};
use contender::{Contender, NAMES, NEWER, Terms};
use load::{Load, Plan, Site, Travel};
use origin::Origin;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use std::path::Path;

fn workloads() -> Vec<Named<Plan>> {
    let plan = |name, travel, connections, body| (name, Plan { travel, connections, body });
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

/// Starts everything, measures in interleaved rounds, ends everything.
pub(crate) fn run(target: &Path, options: &EdgeOptions) -> Result<Report, String> {
    let workloads = chosen(workloads(), &options.workload);
    let names = chosen(NAMES.iter().map(|name| (*name, ())).collect(), &options.contender);
    let pace = Pace::new(&options.common);
    let cores = machine::two_cores();
    let folder = machine::folder("edge")?;
    let (authority, certificate, key) = certificates()?;
    let origin = Origin::start(cores.map(|(_, second)| second))?;
    let terms = Terms {
        target,
        folder: folder.path(),
        origin: origin.address,
        core: cores.map(|(first, _)| first),
        certificate: &certificate,
        key: &key,
    };

    let mut report = Report::default();
    let mut contenders = Vec::new();
    for (name, ()) in names {
        if options.no_newer && NEWER.contains(&name) {
            report.skipped.push(format!("{name}: --no-newer"));
            continue;
        }
        match contender::start(name, &terms) {
            Ok(contender) => contenders.push((name, contender)),
            Err(why) => report.skipped.push(format!("{name}: {why}")),
        }
    }
    for (name, contender) in &contenders {
        eprintln!("{name:<11} {}", contender.version);
    }
    if let Some((_, second)) = cores {
        machine::pin(second)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the load's runtime: {error}"))?;
    interleaved(pace.rounds, "cpu_us", &workloads, &contenders, &mut report, |plan, contender| {
        runtime.block_on(cell(pace, plan, contender, &origin, &authority))
    });
    Ok(report)
}

/// CPU µs of `contender` for each request of `plan`.
async fn cell(
    pace: Pace,
    plan: &Plan,
    contender: &Contender,
    origin: &Origin,
    authority: &CertificateDer<'static>,
) -> Result<f64, String> {
    let site = Site { plain: contender.plain, tls: contender.tls, authority: authority.clone() };
    let mut load = Load::open(plan, &site).await?;
    load.run(pace.warm_up).await?;
    let (answered, before) = (origin.answered(), machine::cpu_seconds(contender.running.pid())?);
    let count = load.run(pace.measured).await?;
    let after = machine::cpu_seconds(contender.running.pid())?;
    let answered = origin.answered() - answered;
    if answered != count {
        return Err(format!("the generator counts {count} answers, the origin {answered}"));
    }
    Ok((after - before) * 1e6 / count as f64)
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
