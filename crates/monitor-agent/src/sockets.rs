//! `/proc/net/netstat`, `snmp`, `snmp6`, `sockstat`, `sockstat6` (collectors
//! `netstat`, `sockstat`).

use crate::text::{Text, Type};
use crate::{Fault, Roots, odd, parse, slurp, ticks_and_page};
use std::path::Path;

pub(crate) fn netstat(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut found: Vec<(String, String, f64)> = Vec::new();
    for file in ["net/netstat", "net/snmp"] {
        pairs_of_lines(&roots.proc.join(file), &mut found)?;
    }
    // Absent where IPv6 is off.
    let six = roots.proc.join("net/snmp6");
    if six.exists() {
        let content = slurp(&six)?;
        for line in content.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
            // `Ip6InReceives` is InReceives of Ip6.
            let Some(split) = key.find('6') else { continue };
            let (protocol, name) = key.split_at(split + 1);
            found.push((protocol.to_owned(), name.to_owned(), parse(&six, value)?));
        }
    }
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    for (protocol, name, value) in found.iter().filter(|(p, n, _)| netstat_wanted(p, n)) {
        let metric = format!("node_netstat_{protocol}_{name}");
        text.single(&metric, Type::Untyped, &format!("Statistic {protocol}{name}."), *value);
    }
    Ok(())
}

/// A line of names, then a line of values, both led by the protocol.
fn pairs_of_lines(path: &Path, found: &mut Vec<(String, String, f64)>) -> Result<(), Fault> {
    let content = slurp(path)?;
    let mut lines = content.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((_, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            return Err(odd(path, names));
        };
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            found.push((protocol.to_owned(), name.to_owned(), parse(path, value)?));
        }
    }
    Ok(())
}

/// node_exporter's default of `--collector.netstat.fields`.
fn netstat_wanted(protocol: &str, name: &str) -> bool {
    if name == "InErrors" || name == "InErrs" {
        return true;
    }
    match protocol {
        "Ip" => name == "Forwarding",
        "Ip6" | "IpExt" => matches!(name, "InOctets" | "OutOctets"),
        "Icmp" | "Icmp6" => matches!(name, "InMsgs" | "OutMsgs"),
        "TcpExt" => {
            name.starts_with("Listen")
                || name.starts_with("Syncookies")
                || matches!(name, "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop")
        }
        "Tcp" => matches!(
            name,
            "ActiveOpens" | "InSegs" | "OutSegs" | "OutRsts" | "PassiveOpens" | "RetransSegs" | "CurrEstab"
        ),
        "Udp" | "Udp6" => {
            matches!(name, "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors")
        }
        _ => false,
    }
}

pub(crate) fn sockstat(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let (_, page) = ticks_and_page();
    for file in ["net/sockstat", "net/sockstat6"] {
        let path = roots.proc.join(file);
        if !path.exists() && file.ends_with('6') {
            continue; // IPv6 is off.
        }
        let content = slurp(&path)?;
        for line in content.lines() {
            let (protocol, rest) = line.split_once(':').ok_or_else(|| odd(&path, line))?;
            let mut words = rest.split_ascii_whitespace();
            while let (Some(state), Some(value)) = (words.next(), words.next()) {
                let value = parse(&path, value)?;
                let mut give = |state: &str, value: f64| {
                    let help = if protocol == "sockets" {
                        "Number of IPv4 sockets in use.".to_owned()
                    } else {
                        format!("Number of {protocol} sockets in state {state}.")
                    };
                    text.single(&format!("node_sockstat_{protocol}_{state}"), Type::Gauge, &help, value);
                };
                give(state, value);
                if state == "mem" {
                    give("mem_bytes", value * page);
                }
            }
        }
    }
    Ok(())
}
