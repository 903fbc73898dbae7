//! The counters of network devices (collector `netdev`): from netlink, or from
//! `/proc/net/dev` where netlink is refused or not wanted.

use crate::files::{Files, finite};
use crate::netlink::{Link, Links};
use crate::settings::{Filter, Settings};
use crate::text::{Text, Type};
use crate::{Fault, odd};

/// The columns of `/proc/net/dev`.
const COLUMNS: [&str; 16] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
];

/// Only netlink has this one.
const NO_HANDLER: &str = "receive_nohandler";

type Device = (String, [f64; COLUMNS.len()], Option<f64>);

pub(crate) fn read(
    files: &mut Files,
    settings: &Settings,
    filter: &mut Filter,
    links: &mut Links,
    text: &mut Text<'_>,
) -> Result<(), Fault> {
    let from_netlink = if settings.netlink { links.read().ok() } else { None };
    let mut devices: Vec<Device> = match from_netlink {
        Some(links) => links.iter().map(device_of_link).collect(),
        None => of_file(files)?,
    };
    devices.retain(|(name, ..)| filter.takes(name));
    devices.sort_by(|a, b| a.0.cmp(&b.0));
    devices.dedup_by(|a, b| a.0 == b.0);
    let mut family = |column: &str, rows: &mut dyn Iterator<Item = (&str, f64)>| {
        let name = format!("node_network_{column}_total");
        text.rows(&name, Type::Counter, &format!("Network device statistic {column}."), "device", rows);
    };
    for (at, column) in COLUMNS.iter().enumerate() {
        family(column, &mut devices.iter().map(|(name, values, _)| (name.as_str(), values[at])));
    }
    family(NO_HANDLER, &mut devices.iter().filter_map(|(name, _, value)| Some((name.as_str(), (*value)?))));
    Ok(())
}

/// As `/proc/net/dev` sums them (`net/core/net-procfs.c`), in its order.
fn device_of_link(link: &Link) -> Device {
    let c = |at: usize| link.counters[at] as f64;
    let values = [
        c(2),
        c(0),
        c(4),
        c(6) + c(15),
        c(14),
        c(13) + c(10) + c(11) + c(12),
        c(21),
        c(8),
        c(3),
        c(1),
        c(5),
        c(7),
        c(18),
        c(9),
        c(17) + c(16) + c(19) + c(20),
        c(22),
    ];
    (link.name.clone(), values, Some(c(23)))
}

fn of_file(files: &mut Files) -> Result<Vec<Device>, Fault> {
    let content = files.proc("net/dev")?;
    let mut devices = Vec::new();
    for line in content.lines().skip(2) {
        let Some(device) = device_of_line(line) else {
            let line = line.to_owned();
            return Err(odd(files, "net/dev", &line));
        };
        devices.push(device);
    }
    Ok(devices)
}

/// `eth0: 1 2 …`. The name may hold a colon (an alias), the numbers may not.
fn device_of_line(line: &str) -> Option<Device> {
    let (name, numbers) = line.rsplit_once(':')?;
    let mut values = [0.0; COLUMNS.len()];
    let mut words = numbers.split_ascii_whitespace();
    for value in &mut values {
        *value = finite(words.next()?)?;
    }
    words.next().is_none().then(|| (name.trim().to_owned(), values, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sources_agree_on_this_machine() {
        let columns = |netlink: bool| {
            let settings = Settings { netlink, ..Settings::default() };
            let mut filter = Filter::new("test", &crate::Pattern::only("^lo$")).unwrap();
            let mut files = Files::new(&settings.roots);
            let mut out = String::new();
            read(&mut files, &settings, &mut filter, &mut Links::default(), &mut Text::new(&mut out))
                .unwrap();
            let name = |line: &str| line.rsplit_once(' ').unwrap().0.to_owned();
            let names: Vec<String> = out.lines().filter(|l| !l.starts_with('#')).map(name).collect();
            names
        };
        let mut netlink = columns(true);
        assert_eq!(netlink.pop().unwrap(), "node_network_receive_nohandler_total{device=\"lo\"}");
        assert_eq!(netlink, columns(false));
        assert_eq!(netlink.len(), COLUMNS.len());
    }

    #[test]
    fn sums_are_those_of_the_file() {
        let counters = std::array::from_fn(|at| 1 << at);
        let (name, values, no_handler) = device_of_link(&Link { name: "x".into(), counters });
        assert_eq!(name, "x");
        assert_eq!(values[3], 64.0 + 32_768.0);
        assert_eq!(values[5], 8192.0 + 1024.0 + 2048.0 + 4096.0);
        assert_eq!(values[14], 131_072.0 + 65_536.0 + 524_288.0 + 1_048_576.0);
        assert_eq!(no_handler, Some(8_388_608.0));
    }

    #[test]
    fn lines_of_the_file() {
        let line = "  eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        let (name, values, _) = device_of_line(line).unwrap();
        assert_eq!((name.as_str(), values[0], values[15]), ("eth0:1", 1.0, 16.0));
        for bad in
            ["", "eth0", "eth0: 1 2", "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 x", &format!("{line} 17")]
        {
            assert!(device_of_line(bad).is_none(), "{bad}");
        }
    }
}
