//! A policy for people: one row a rule, in the order in which packets meet them.

use crate::policy::{Opening, Policy, Source};
use serde::Serialize;

/// One rule for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `accept` or `drop`.
    pub verdict: &'static str,
    /// `443/tcp`, `replies`, `everything else`.
    pub what: String,
    /// `anyone`, or networks.
    pub from: String,
    /// Why the rule exists.
    pub why: String,
}

impl Policy {
    /// Every rule, the fixed ones too, in order.
    pub fn rows(&self) -> Vec<Row> {
        let row = |verdict, what: &str, from: &str, why: &str| Row {
            verdict,
            what: what.to_owned(),
            from: from.to_owned(),
            why: why.to_owned(),
        };
        let mut rows = vec![
            row("accept", "everything", "this machine", "programs here talk to one another over loopback"),
            row("accept", "ICMPv6 errors, neighbours, routers", "anyone", "IPv6 does not work without them"),
            row("drop", "packets of no connection", "anyone", "they are mistakes or probes"),
        ];
        rows.extend(self.allow.iter().map(opening));
        rows.push(row(
            "drop",
            "everything",
            "banned addresses",
            "`bastide bans` lists them, `unban` ends one",
        ));
        for exempt in &self.never_banned {
            rows.push(row("accept", "no ban", &exempt.net.to_string(), &exempt.why));
        }
        rows.push(row("accept", "replies", "anyone", "they belong to connections already let through"));
        rows.push(row(
            "accept",
            "echo requests",
            "anyone",
            "so that `ping` tells whether the machine is there",
        ));
        rows.push(row("accept", "546/udp", "fe80::/10", "DHCPv6 servers of the local network answer here"));
        rows.extend(self.peers.iter().map(opening));
        rows.extend(self.site.iter().map(opening));
        rows.push(row("drop", "everything else", "anyone", "nothing in the file asks for it"));
        rows
    }
}

fn opening(opening: &Opening) -> Row {
    let ports: Vec<String> = opening.ports.iter().map(ToString::to_string).collect();
    let from = match &opening.from {
        Source::Anyone => "anyone".to_owned(),
        Source::Nets(nets) => nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    Row {
        verdict: "accept",
        what: format!("{}/{}", ports.join(","), opening.protocol.as_str()),
        from,
        why: opening.why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{policy, tests::site};

    #[test]
    fn rows_are_in_the_order_of_packets() {
        let (settings, topology) = site();
        let rows = policy(&settings, &topology, "edge-1").unwrap().rows();
        let position = |what: &str| rows.iter().position(|row| row.what == what).unwrap();
        assert!(position("22/tcp") < rows.iter().position(|r| r.from == "banned addresses").unwrap());
        assert!(rows.iter().position(|r| r.from == "banned addresses").unwrap() < position("replies"));
        assert!(position("replies") < position("80,443/tcp"));
        assert_eq!(rows.last().map(|row| row.verdict), Some("drop"));
        assert!(rows.iter().all(|row| !row.why.is_empty()));
        let json = serde_json::to_value(&rows).unwrap();
        assert_eq!(json[3]["from"], "203.0.113.0/24");
    }
}
