//! What is said to `nft`, as text. Everything in it is a number, an address, or
//! text that [`crate::render`] has cleaned.

use super::BANS_MAX;
use crate::policy::Policy;
use crate::render::{BANS, TABLE, rules};
use base::Millis;
use base::net::IpNet;
use std::fmt::Write;

/// A new policy as chain `policy_NUMBER`, reached for a time or for good. Tables,
/// maps and chains that are already there stay as they are.
pub(super) fn apply(policy: &Policy, number: u32, revert_after: Option<Millis>) -> String {
    let mut script = format!(
        "add table {TABLE}\n\
         add map {TABLE} trial {{ typeof meta nfproto : verdict; flags timeout; }}\n\
         add map {TABLE} current {{ typeof meta nfproto : verdict; }}\n\
         add chain {TABLE} {BANS}\n\
         add chain {TABLE} policy_{number}\n\
         flush chain {TABLE} policy_{number}\n"
    );
    for rule in rules(policy) {
        line(&mut script, &format!("add rule {TABLE} policy_{number} {rule}"));
    }
    // Made anew each time, so that what somebody changed by hand is put right.
    let input = [
        format!("add chain {TABLE} input {{ type filter hook input priority filter; policy accept; }}"),
        format!("flush chain {TABLE} input"),
        format!("add rule {TABLE} input meta nfproto vmap @trial"),
        format!("add rule {TABLE} input meta nfproto vmap @current"),
        format!("flush map {TABLE} trial"),
    ];
    input.iter().for_each(|text| line(&mut script, text));
    match revert_after {
        Some(after) => elements(&mut script, "trial", number, &format!(" timeout {}", time(after))),
        None => {
            line(&mut script, &format!("flush map {TABLE} current"));
            elements(&mut script, "current", number, "");
        }
    }
    script
}

pub(super) fn confirm(number: u32) -> String {
    let mut script = format!("delete element {TABLE} trial {{ ipv4, ipv6 }}\nflush map {TABLE} current\n");
    elements(&mut script, "current", number, "");
    script
}

pub(super) fn revert() -> String {
    format!("flush map {TABLE} trial\n")
}

pub(super) fn remove() -> String {
    // Adding first makes deleting succeed where there is none.
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

pub(super) fn drop_chain(number: u32) -> String {
    format!("flush chain {TABLE} policy_{number}\ndelete chain {TABLE} policy_{number}\n")
}

/// `banned4_24`: a set for each prefix length, since networks of different length
/// may contain one another and a hash set finds each by itself.
pub(super) fn set_name(net: &IpNet) -> String {
    let family = if matches!(net, IpNet::V4(_)) { 4 } else { 6 };
    format!("banned{family}_{}", net.prefix_len())
}

pub(super) fn ban(net: IpNet, duration: Option<Millis>, set_exists: bool) -> String {
    let set = set_name(&net);
    let address = net.network();
    let mut script = String::new();
    if !set_exists {
        let (kind, family) = if address.is_ipv4() { ("ipv4_addr", "ip") } else { ("ipv6_addr", "ip6") };
        let rule = if net.prefix_len() == net.max_prefix_len() {
            format!("{family} saddr @{set} counter drop")
        } else {
            format!("{family} saddr & {} @{set} counter drop", net.netmask())
        };
        line(
            &mut script,
            &format!("add set {TABLE} {set} {{ type {kind}; flags timeout; size {BANS_MAX}; }}"),
        );
        line(&mut script, &format!("add rule {TABLE} {BANS} {rule}"));
    }
    // A kernel before 6.12 does not change the timeout of an element that is
    // there; adding makes deleting succeed, and both are one transaction.
    let timeout = duration.map_or(String::new(), |duration| format!(" timeout {}", time(duration)));
    line(&mut script, &format!("add element {TABLE} {set} {{ {address} }}"));
    line(&mut script, &format!("delete element {TABLE} {set} {{ {address} }}"));
    line(&mut script, &format!("add element {TABLE} {set} {{ {address}{timeout} }}"));
    script
}

pub(super) fn unban(net: IpNet) -> String {
    format!("delete element {TABLE} {} {{ {} }}\n", set_name(&net), net.network())
}

fn elements(script: &mut String, map: &str, number: u32, timeout: &str) {
    for family in ["ipv4", "ipv6"] {
        line(script, &format!("add element {TABLE} {map} {{ {family}{timeout} : goto policy_{number} }}"));
    }
}

/// nft(8) takes `1s500ms`.
fn time(millis: Millis) -> String {
    format!("{}s{}ms", millis.0 / 1_000, millis.0 % 1_000)
}

fn line(script: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(script, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_are_written_by_prefix_length() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let text = ban(net("192.0.2.0/24"), Some(Millis(90_500)), false);
        assert!(
            text.contains("add rule inet bastide bans ip saddr & 255.255.255.0 @banned4_24 counter drop\n")
        );
        assert!(
            text.ends_with("add element inet bastide banned4_24 { 192.0.2.0 timeout 90s500ms }\n"),
            "{text}"
        );
        let text = ban(net("2001:db8::1/128"), None, false);
        assert!(text.contains("bans ip6 saddr @banned6_128 counter drop\n"), "{text}");
        assert!(text.ends_with("add element inet bastide banned6_128 { 2001:db8::1 }\n"), "{text}");
        assert!(!ban(net("192.0.2.0/24"), None, true).contains("add rule"));
    }
}
