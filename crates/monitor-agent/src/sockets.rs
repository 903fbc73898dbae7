//! What the network stack counts: `/proc/net/{arp,netstat,snmp,snmp6,sockstat,
//! sockstat6,softnet_stat,udp,udp6}` (collectors `arp`, `netstat`, `sockstat`,
//! `softnet`, `udp_queues`).

use crate::files::{Files, finite};
use crate::settings::Filter;
use crate::text::{Text, Type, name_of};
use crate::{Fault, odd, ticks_and_page};
use std::collections::BTreeMap;

/// Entries of the ARP table by device; the kernel leaves out those that need no
/// resolution (`net/ipv4/arp.c`).
pub(crate) fn arp(files: &mut Files, filter: &mut Filter, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("net/arp")?;
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for line in content.lines().skip(1) {
        // IP address, type, flags, hardware address, mask, device.
        let Some(device) = line.split_ascii_whitespace().nth(5) else {
            let line = line.to_owned();
            return Err(odd(files, "net/arp", &line));
        };
        if filter.takes(device) {
            match counts.get_mut(device) {
                Some(count) => *count += 1.0,
                None => {
                    counts.insert(device.to_owned(), 1.0);
                }
            }
        }
    }
    text.rows("node_arp_entries", Type::Gauge, "ARP entries by device", "device", counts);
    Ok(())
}

pub(crate) fn netstat(files: &mut Files, filter: &mut Filter, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for file in ["net/netstat", "net/snmp"] {
        let content = files.proc(file)?;
        if let Err(line) = pairs_of_lines(content, filter, &mut found) {
            return Err(odd(files, file, &line));
        }
    }
    // Absent where IPv6 is off.
    match files.proc("net/snmp6") {
        Ok(content) => {
            if let Err(line) = lines_of_six(content, filter, &mut found) {
                return Err(odd(files, "net/snmp6", &line));
            }
        }
        Err(fault) if fault.is_absence() => {}
        Err(fault) => return Err(fault),
    }
    for (field, value) in found {
        let name = name_of("node_netstat_", &field);
        text.single(&name, Type::Untyped, &format!("Statistic {}.", field.replacen('_', "", 1)), value);
    }
    Ok(())
}

/// A line of names, then a line of values, both led by the protocol.
fn pairs_of_lines(
    content: &str,
    filter: &mut Filter,
    found: &mut BTreeMap<String, f64>,
) -> Result<(), String> {
    let mut lines = content.lines();
    let mut field = String::new();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((_, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            return Err(names.to_owned());
        };
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            take(protocol, name, value, &mut field, filter, found)?;
        }
    }
    Ok(())
}

/// `Ip6InReceives 7`: InReceives of Ip6.
fn lines_of_six(content: &str, filter: &mut Filter, found: &mut BTreeMap<String, f64>) -> Result<(), String> {
    let mut field = String::new();
    for line in content.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        let Some(split) = key.find('6') else { continue };
        let (protocol, name) = key.split_at(split + 1);
        take(protocol, name, value, &mut field, filter, found)?;
    }
    Ok(())
}

fn take(
    protocol: &str,
    name: &str,
    value: &str,
    field: &mut String,
    filter: &mut Filter,
    found: &mut BTreeMap<String, f64>,
) -> Result<(), String> {
    field.clear();
    field.push_str(protocol);
    field.push('_');
    field.push_str(name);
    if !filter.takes(field) {
        return Ok(());
    }
    // A name that had to be changed could be another's.
    if !field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(field.clone());
    }
    let value = finite(value).ok_or_else(|| format!("{field} {value}"))?;
    found.insert(field.clone(), value);
    Ok(())
}

pub(crate) fn sockstat(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let (_, page) = ticks_and_page();
    let mut found: BTreeMap<String, (String, f64)> = BTreeMap::new();
    for file in ["net/sockstat", "net/sockstat6"] {
        let content = match files.proc(file) {
            // IPv6 is off.
            Err(fault) if fault.is_absence() && file.ends_with('6') => continue,
            other => other?,
        };
        if let Err(line) = states(content, page, &mut found) {
            return Err(odd(files, file, &line));
        }
    }
    for (name, (help, value)) in found {
        text.single(&name, Type::Gauge, &help, value);
    }
    Ok(())
}

/// `TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1`; `mem` is in pages.
fn states(content: &str, page: f64, found: &mut BTreeMap<String, (String, f64)>) -> Result<(), String> {
    for line in content.lines() {
        let (protocol, rest) = line.split_once(':').ok_or_else(|| line.to_owned())?;
        let mut words = rest.split_ascii_whitespace();
        while let (Some(state), Some(value)) = (words.next(), words.next()) {
            let value = finite(value).ok_or_else(|| line.to_owned())?;
            let mut give = |state: &str, value: f64| {
                let help = if protocol == "sockets" {
                    "Number of IPv4 sockets in use.".to_owned()
                } else {
                    format!("Number of {protocol} sockets in state {state}.")
                };
                found.insert(name_of("node_sockstat_", &format!("{protocol}_{state}")), (help, value));
            };
            give(state, value);
            if state == "mem" {
                give("mem_bytes", value * page);
            }
        }
    }
    Ok(())
}

/// Column of `softnet_stat` (`net/core/net-procfs.c`), metric, kind, help.
const SOFTNET: [(usize, &str, Type, &str); 7] = [
    (0, "node_softnet_processed_total", Type::Counter, "Number of processed packets"),
    (1, "node_softnet_dropped_total", Type::Counter, "Number of dropped packets"),
    (
        2,
        "node_softnet_times_squeezed_total",
        Type::Counter,
        "Number of times processing packets ran out of quota",
    ),
    (
        8,
        "node_softnet_cpu_collision_total",
        Type::Counter,
        "Number of collision occur while obtaining device lock while transmitting",
    ),
    (9, "node_softnet_received_rps_total", Type::Counter, "Number of times cpu woken up received_rps"),
    (10, "node_softnet_flow_limit_count_total", Type::Counter, "Number of times flow limit has been reached"),
    (11, "node_softnet_backlog_len", Type::Gauge, "Softnet backlog status"),
];
/// The CPU's number, given since Linux 5.10.
const SOFTNET_CPU: usize = 12;
const SOFTNET_COLUMNS: usize = 13;

pub(crate) fn softnet(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("net/softnet_stat")?;
    let mut rows: BTreeMap<u64, [u64; SOFTNET_COLUMNS]> = BTreeMap::new();
    for (number, line) in content.lines().enumerate() {
        let mut columns = [0; SOFTNET_COLUMNS];
        columns[SOFTNET_CPU] = number as u64;
        for (column, word) in columns.iter_mut().zip(line.split_ascii_whitespace()) {
            let Ok(value) = u64::from_str_radix(word, 16) else {
                let line = line.to_owned();
                return Err(odd(files, "net/softnet_stat", &line));
            };
            *column = value;
        }
        rows.insert(columns[SOFTNET_CPU], columns);
    }
    for (column, name, kind, help) in SOFTNET {
        let values = rows.iter().map(|(cpu, columns)| (cpu.to_string(), columns[column] as f64));
        text.rows(name, kind, help, "cpu", values);
    }
    Ok(())
}

/// Bytes waiting in UDP sockets: the fifth column, `tx_queue:rx_queue`, in
/// hexadecimal (proc_net_udp, as net/tcp in proc_pid_net(5)).
pub(crate) fn udp_queues(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut rows: Vec<(&str, &str, f64)> = Vec::new();
    for (file, ip) in [("net/udp", "v4"), ("net/udp6", "v6")] {
        let content = match files.proc(file) {
            Err(fault) if fault.is_absence() => continue,
            other => other?,
        };
        let mut sums = [0.0; 2];
        let mut wrong = None;
        for line in content.lines().skip(1) {
            match queues_of_line(line) {
                Some(queues) => sums.iter_mut().zip(queues).for_each(|(sum, queue)| *sum += queue as f64),
                None => wrong = Some(line.to_owned()),
            }
        }
        if let Some(line) = wrong {
            return Err(odd(files, file, &line));
        }
        rows.extend([(ip, "tx", sums[0]), (ip, "rx", sums[1])]);
    }
    if rows.is_empty() {
        return Err(Fault::Absent { path: files.path(crate::files::Tree::Proc, &["net/udp"]) });
    }
    let name = "node_udp_queues";
    text.family(name, Type::Gauge, "Number of allocated memory in the kernel for UDP datagrams in bytes.");
    for (ip, queue, value) in rows {
        text.sample(name, &[("ip", ip), ("queue", queue)], value);
    }
    Ok(())
}

fn queues_of_line(line: &str) -> Option<[u64; 2]> {
    let (sent, received) = line.split_ascii_whitespace().nth(4)?.split_once(':')?;
    Some([u64::from_str_radix(sent, 16).ok()?, u64::from_str_radix(received, 16).ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_lines_and_their_faults() {
        let mut filter = Filter::new("test", &crate::Pattern::without("^Ip_Skipped$")).unwrap();
        let mut found = BTreeMap::new();
        let content = "Ip: Forwarding Skipped DefaultTTL\nIp: 1 x 64 9\nTcp: A\nTcp: -1\nOdd: B\n";
        pairs_of_lines(content, &mut filter, &mut found).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        assert_eq!(found, [("Ip_DefaultTTL", 64.0), ("Ip_Forwarding", 1.0), ("Tcp_A", -1.0)]);
        for bad in ["Ip: A\nIp: x\n", "Ip A\nIp 1\n", "I{p: A\nI{p: 1\n"] {
            assert!(pairs_of_lines(bad, &mut filter, &mut BTreeMap::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn queues_of_sockets() {
        let line = "   0: 00000000:0016 00000000:0000 0A 00000015:0000000a 00:00000000 00000000     0";
        assert_eq!(queues_of_line(line), Some([21, 10]));
        for bad in ["", "0: a b c", "0: a b c 15", "0: a b c x:y"] {
            assert_eq!(queues_of_line(bad), None, "{bad}");
        }
    }
}
