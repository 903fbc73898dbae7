//! A policy as nftables rules.

use crate::policy::{Opening, Policy, Source};
use base::net::IpNet;

/// The family and name of our table.
pub(crate) const TABLE: &str = "inet bastide";
/// The chain that looks bans up.
pub(crate) const BANS: &str = "bans";

/// ICMPv6 that a host must let in (RFC 4890 §4.4.1, §4.4.2): errors, neighbour
/// and router discovery, multicast listener discovery. The kernel itself checks
/// their hop limit of 255.
const ICMPV6: &str = "destination-unreachable, packet-too-big, time-exceeded, parameter-problem, \
     nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, \
     mld-listener-done, mld2-listener-report";

/// The whole policy as a ruleset that `nft -f` takes, without bans: for people to
/// read, and for machines that are looked after by something else.
pub fn ruleset(policy: &Policy) -> String {
    let indented = |line: String| format!("\t\t{line}\n");
    let rules: String = rules(policy).into_iter().map(indented).collect();
    format!(
        "# the policy of the machine `{machine}`\n\
         table {TABLE} {{\n\
         \tchain {BANS} {{\n\
         \t}}\n\n\
         \tchain policy_1 {{\n\
         {rules}\
         \t}}\n\n\
         \tchain input {{\n\
         \t\ttype filter hook input priority filter; policy accept;\n\
         \t\tgoto policy_1\n\
         \t}}\n\
         }}\n",
        machine = plain(&policy.machine),
    )
}

/// The statements of the policy's chain, in order. The chain ends in a drop.
pub(crate) fn rules(policy: &Policy) -> Vec<String> {
    let mut rules = vec![
        format!("iif lo accept {}", comment("loopback")),
        format!("icmpv6 type {{ {ICMPV6} }} accept {}", comment("IPv6 needs it: RFC 4890")),
        format!("ct state invalid counter drop {}", comment("of no connection")),
    ];
    rules.extend(policy.allow.iter().flat_map(opening));
    rules.extend(bans(policy));
    rules.push(format!("ct state {{ established, related }} accept {}", comment("replies")));
    rules.push(format!("icmp type echo-request accept {}", comment("ping")));
    rules.push(format!("icmpv6 type echo-request accept {}", comment("ping")));
    // RFC 8415 §7.2: the server's answer comes from its link-local address, and
    // was asked for by multicast, so that it belongs to no connection.
    rules.push(format!("ip6 saddr fe80::/10 udp dport 546 accept {}", comment("DHCPv6")));
    rules.extend(policy.peers.iter().flat_map(opening));
    rules.extend(policy.site.iter().flat_map(opening));
    rules.push(format!("counter drop {}", comment("everything else")));
    rules
}

/// Bans, for all but those exempt.
fn bans(policy: &Policy) -> Vec<String> {
    let nets: Vec<IpNet> = policy.never_banned.iter().map(|exempt| exempt.net).collect();
    let (v4, v6) = by_family(&nets);
    let jump = |family: &str, protocol: &str, nets: Option<String>| match nets {
        Some(nets) => format!("{family} saddr != {nets} jump {BANS} {}", comment("bans")),
        None => format!("meta nfproto {protocol} jump {BANS} {}", comment("bans")),
    };
    vec![jump("ip", "ipv4", v4), jump("ip6", "ipv6", v6)]
}

/// One rule a family; none where it is open to nobody.
fn opening(opening: &Opening) -> Vec<String> {
    if opening.ports.is_empty() {
        return Vec::new();
    }
    let ports: Vec<String> = opening.ports.iter().map(ToString::to_string).collect();
    let rest = format!(
        "{} dport {{ {} }} accept {}",
        opening.protocol.as_str(),
        ports.join(", "),
        comment(&opening.why)
    );
    match &opening.from {
        Source::Anyone => vec![rest],
        Source::Nets(nets) => {
            let (v4, v6) = by_family(nets);
            let v4 = v4.map(|nets| format!("ip saddr {nets} {rest}"));
            let v6 = v6.map(|nets| format!("ip6 saddr {nets} {rest}"));
            v4.into_iter().chain(v6).collect()
        }
    }
}

/// The networks as anonymous sets, IPv4 and IPv6; none where there are none. nft
/// refuses networks that overlap within a set, so they are joined.
fn by_family(nets: &[IpNet]) -> (Option<String>, Option<String>) {
    let joined = IpNet::aggregate(&nets.to_vec());
    let set = |v6: bool| {
        let of_family: Vec<String> =
            joined.iter().filter(|net| matches!(net, IpNet::V6(_)) == v6).map(ToString::to_string).collect();
        (!of_family.is_empty()).then(|| format!("{{ {} }}", of_family.join(", ")))
    };
    (set(false), set(true))
}

fn comment(why: &str) -> String {
    format!("comment \"{}\"", plain(why))
}

/// A reason as an nft comment: what could end the quotes or the line is left out,
/// and so is what goes beyond the kernel's 128 bytes.
fn plain(text: &str) -> String {
    let kept = |c: &char| c.is_ascii_alphanumeric() || " .,:;_/+-()'".contains(*c);
    text.chars().filter(kept).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Exempt, policy, tests::site};
    use crate::settings::{PortRange, Protocol};

    #[test]
    fn the_edge_s_rules() {
        let (settings, topology) = site();
        let rules = rules(&policy(&settings, &topology, "edge-1").unwrap());
        let expected = [
            "iif lo accept comment \"loopback\"",
            &format!("icmpv6 type {{ {ICMPV6} }} accept comment \"IPv6 needs it: RFC 4890\""),
            "ct state invalid counter drop comment \"of no connection\"",
            "ip saddr { 203.0.113.0/24 } tcp dport { 22 } accept comment \"allow of the file\"",
            "ip saddr != { 10.0.0.3/32, 10.0.0.4/31, 198.51.100.0/24 } jump bans comment \"bans\"",
            "ip6 saddr != { fd00::3/128 } jump bans comment \"bans\"",
            "ct state { established, related } accept comment \"replies\"",
            "icmp type echo-request accept comment \"ping\"",
            "icmpv6 type echo-request accept comment \"ping\"",
            "ip6 saddr fe80::/10 udp dport 546 accept comment \"DHCPv6\"",
            "tcp dport { 80, 443 } accept comment \"visitors reach the site here\"",
            "counter drop comment \"everything else\"",
        ];
        // No rule for the agent: the only monitor is this machine itself.
        assert_eq!(rules, expected);
    }

    #[test]
    fn names_cannot_write_rules() {
        let hostile = "x\" accept; flush ruleset\n; \u{202E}#";
        let opening = Opening {
            protocol: Protocol::Udp,
            ports: vec![PortRange { first: 1, last: 9 }],
            from: Source::Nets(vec!["::/0".parse().unwrap()]),
            why: hostile.repeat(20),
        };
        let policy = Policy {
            machine: hostile.into(),
            allow: vec![],
            peers: vec![],
            site: vec![
                opening,
                Opening { protocol: Protocol::Tcp, ports: vec![], from: Source::Anyone, why: String::new() },
            ],
            never_banned: vec![Exempt { net: "10.0.0.0/8".parse().unwrap(), why: hostile.into() }],
        };
        let text = ruleset(&policy);
        assert!(!text.contains("x\" accept"), "{text}");
        let rule = text.lines().find(|line| line.contains("udp dport { 1-9 }")).unwrap();
        assert_eq!(rule.matches('"').count(), 2, "{rule}");
        assert!(rule.len() < 200 && !text.contains('\u{202E}'), "{rule}");
        assert!(text.starts_with("# the policy of the machine `x accept; flush ruleset; "), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("flush")).count(), 0);
    }
}
