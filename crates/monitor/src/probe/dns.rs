//! A question to a name server; over TCP where the answer does not fit.

use super::net;
use super::{Dns, Findings, dns_wire};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

const PHASES: &str = "probe_dns_duration_seconds";

/// Tries a name server.
pub(crate) async fn probe(dns: &Dns, findings: &mut Findings) -> Result<(), String> {
    let kind = dns_wire::kind(&dns.record).ok_or_else(|| format!("`{}` is not asked for", dns.record))?;
    let (host, port) = net::host_and_port(&dns.server)?;
    let began = Instant::now();
    let address = net::resolve(host, port, findings).await;
    findings.phase(PHASES, "resolve", began);
    let address = address?;
    findings.set("probe_dns_query_succeeded", 0.0);
    // What nobody else knows: an answer to it comes from who was asked.
    let id = sys::random::u64() as u16;
    let question = dns_wire::question(id, &dns.name, kind)?;
    let mut answer = over_udp(address, &question, findings).await?;
    if answer.truncated {
        answer = over_tcp(address, &question, findings).await?;
    }
    findings.set("probe_dns_query_succeeded", 1.0);
    findings.set("probe_dns_answer_rrs", f64::from(answer.counts[0]));
    findings.set("probe_dns_authority_rrs", f64::from(answer.counts[1]));
    findings.set("probe_dns_additional_rrs", f64::from(answer.counts[2]));
    if let Some(serial) = answer.serial {
        findings.set("probe_dns_serial", f64::from(serial));
    }
    if answer.code != 0 {
        return Err(format!("{address} answers `{}`", code_name(answer.code)));
    }
    if answer.records.is_empty() {
        return Err(format!("{address} has no {} record of `{}`", dns.record, dns.name));
    }
    let missing =
        dns.must_match.iter().find(|r| !answer.records.iter().any(|record| r.is_match(record.as_bytes())));
    if !dns.must_match.is_empty() {
        findings.set("probe_failed_due_to_regex", f64::from(u8::from(missing.is_some())));
    }
    match missing {
        Some(regex) => Err(format!("no {} record of `{}` matches `{regex}`", dns.record, dns.name)),
        None => Ok(()),
    }
}

async fn over_udp(
    address: SocketAddr,
    question: &[u8],
    findings: &mut Findings,
) -> Result<dns_wire::Answer, String> {
    let failed = |error: std::io::Error| format!("cannot ask {address}: {error}");
    let began = Instant::now();
    let any: IpAddr = match address.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    findings.phase(PHASES, "connect", began);
    let began = Instant::now();
    socket.send(question).await.map_err(failed)?;
    let mut message = vec![0; 64 << 10];
    loop {
        let length = socket.recv(&mut message).await.map_err(failed)?;
        // Something else may come to this port; it is not waited for longer than the probe lasts.
        if let Some(answer) = dns_wire::answer(question, &message[..length]) {
            findings.phase(PHASES, "request", began);
            return Ok(answer);
        }
    }
}

/// RFC 7766: the length goes before.
async fn over_tcp(
    address: SocketAddr,
    question: &[u8],
    findings: &mut Findings,
) -> Result<dns_wire::Answer, String> {
    let failed = |error: std::io::Error| format!("cannot ask {address} over TCP: {error}");
    let began = Instant::now();
    let mut stream = net::connect(address).await?;
    findings.phase(PHASES, "connect", began);
    let began = Instant::now();
    let mut out = (question.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(question);
    stream.write_all(&out).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.map_err(failed)?;
    findings.phase(PHASES, "request", began);
    dns_wire::answer(question, &message).ok_or_else(|| format!("{address} sends no answer to what was asked"))
}

/// RFC 1035 §4.1.1, as they are called.
fn code_name(code: u8) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("code {other}"),
    }
}
