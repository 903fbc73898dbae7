//! Who is to be banned for what the WAF saw: a decision from events, their scores
//! and the time. Pure, with bounded memory.

use base::net::{IpNet, canonical};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use waf_engine::Report;

/// Clients that are counted at once: 100 events each of 8 bytes are 13 MB.
const CLIENTS: usize = 16_384;

/// Clients looked at to find one whose place another may have.
const LOOKED_AT: usize = 16;

/// When each client was last an event's cause.
#[derive(Debug, Default)]
pub(crate) struct Offenders {
    by_client: HashMap<u128, VecDeque<u64>>,
}

impl Offenders {
    /// An event about a client. The answer is the network that is to be banned:
    /// its address, of IPv6 the /64 that one customer has.
    pub(crate) fn note(
        &mut self,
        ban: &site::WafBan,
        client: IpAddr,
        score: i64,
        now_ms: u64,
    ) -> Option<IpNet> {
        let net = net_of(client);
        if score < ban.score || ban.never.iter().any(|never| never.contains(&net) || net.contains(never)) {
            return None;
        }
        let key = key_of(net);
        let oldest = now_ms.saturating_sub(ban.window.0);
        let most = ban.events.max(1) as usize;
        if !self.by_client.contains_key(&key) {
            self.make_room(oldest);
        }
        let times = self.by_client.entry(key).or_default();
        while times.front().is_some_and(|&at| at <= oldest && oldest > 0) || times.len() >= most {
            times.pop_front();
        }
        times.push_back(now_ms);
        if times.len() < most {
            return None;
        }
        // Banned: what follows afterwards counts anew.
        self.by_client.remove(&key);
        Some(net)
    }

    /// Room for one more: of a few clients the one that was quiet the longest goes.
    fn make_room(&mut self, oldest: u64) {
        if self.by_client.len() < CLIENTS {
            return;
        }
        self.by_client.retain(|_, times| times.back().is_some_and(|&at| at > oldest));
        if self.by_client.len() < CLIENTS {
            return;
        }
        let quiet = self.by_client.iter().take(LOOKED_AT).min_by_key(|(_, times)| times.back().copied());
        if let Some(key) = quiet.map(|(key, _)| *key) {
            self.by_client.remove(&key);
        }
    }
}

/// What an event weighs: the anomaly score of the request; where no rule counts, what
/// the severities of the rules that matched come to, as the Core Rule Set weighs them.
/// What the engine itself finds (a large body, a budget) weighs nothing, nor does what
/// an answer shows: `response_rules` look at those.
pub(crate) fn score(report: &Report, response_rules: &HashSet<u64>) -> i64 {
    if report.score.inbound > 0 {
        return report.score.inbound;
    }
    let mut seen = Vec::new();
    let mut sum = 0;
    for matched in report.matches.iter().filter(|m| m.source != "built-in") {
        if seen.contains(&matched.rule) || response_rules.contains(&matched.rule) {
            continue;
        }
        seen.push(matched.rule);
        sum += match matched.severity.as_deref() {
            Some("emergency" | "alert" | "critical") => 5,
            Some("error") => 4,
            Some("warning") => 3,
            Some("notice") => 2,
            Some(_) => 0,
            // A rule that refuses and does not say how bad it is, is as bad as that.
            None if report.disrupted_by == Some(matched.rule) => 5,
            None => 0,
        };
    }
    sum
}

fn net_of(client: IpAddr) -> IpNet {
    let net = match canonical(client) {
        IpAddr::V4(v4) => IpNet::new(IpAddr::V4(v4), 32),
        IpAddr::V6(v6) => IpNet::new(IpAddr::V6(v6), 64),
    };
    // Both lengths fit their families.
    net.map_or_else(|_| IpNet::from(client), |net| net.trunc())
}

fn key_of(net: IpNet) -> u128 {
    match net {
        IpNet::V4(net) => u128::from(net.network().to_ipv6_mapped()),
        IpNet::V6(net) => u128::from(net.network()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Millis;

    fn ban(events: u32) -> site::WafBan {
        site::WafBan {
            events,
            score: 5,
            window: Millis(60_000),
            time: Millis(3_600_000),
            never: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8:9::1/128".parse().unwrap()],
        }
    }

    #[test]
    fn so_many_events_of_such_a_score_within_the_window() {
        const T: u64 = 1_000_000_000_000;
        // (client, score, when, banned)
        let cases: &[(&str, i64, u64, Option<&str>)] = &[
            ("198.51.100.7", 5, T, None),
            ("198.51.100.7", 4, T + 1, None),
            ("198.51.100.8", 5, T + 2, None),
            ("::ffff:198.51.100.7", 10, T + 3, None),
            // The first is out of the window when the next comes.
            ("198.51.100.7", 5, T + 60_000, None),
            ("198.51.100.7", 5, T + 60_001, Some("198.51.100.7/32")),
            // After a ban it counts anew.
            ("198.51.100.7", 5, T + 60_002, None),
            ("198.51.100.7", 5, T + 60_003, None),
            ("198.51.100.7", 5, T + 60_004, Some("198.51.100.7/32")),
            // The allow-list beats any number of events.
            ("203.0.113.4", 50, T, None),
            ("203.0.113.4", 50, T, None),
            ("203.0.113.4", 50, T, None),
            // IPv6: a customer's 64 bits, all addresses together.
            ("2001:db8::1", 5, T, None),
            ("2001:db8::2", 5, T, None),
            ("2001:db8::3", 5, T, Some("2001:db8::/64")),
            // One that must not be banned lives in the same network.
            ("2001:db8:9::2", 5, T, None),
            ("2001:db8:9::2", 5, T, None),
            ("2001:db8:9::2", 5, T, None),
        ];
        let mut offenders = Offenders::default();
        for (number, (client, score, now_ms, expected)) in cases.iter().enumerate() {
            let found = offenders.note(&ban(3), client.parse().unwrap(), *score, *now_ms);
            assert_eq!(found, expected.map(|net| net.parse().unwrap()), "case {number}: {client}");
        }
        assert!(Offenders::default().note(&ban(1), "192.0.2.1".parse().unwrap(), 5, 0).is_some());
    }

    #[test]
    fn what_an_event_weighs() {
        let matched = |rule, severity: Option<&str>| base::events::RuleMatch {
            rule,
            source: if rule < 100 { "built-in".into() } else { "waf/a.conf:1".into() },
            message: String::new(),
            data: String::new(),
            severity: severity.map(str::to_owned),
            tags: vec![],
            variable: String::new(),
            value: String::new(),
            transformed: String::new(),
            transformations: vec![],
            operator: String::new(),
            matched: String::new(),
        };
        let response_rules = HashSet::from([200]);
        type Matched<'m> = &'m [(u64, Option<&'m str>)];
        let cases: [(Matched<'_>, i64, Option<u64>, i64); 7] = [
            (&[], 0, None, 0),
            // Where rules count, their count holds.
            (&[(101, Some("critical")), (102, Some("critical"))], 8, None, 8),
            // Each rule once, however many values it matched.
            (&[(101, Some("critical")), (101, Some("critical")), (102, Some("notice"))], 0, None, 7),
            (&[(101, None)], 0, Some(101), 5),
            (&[(101, None)], 0, None, 0),
            // A body that is too large, an answer that shows too much.
            (&[(12, Some("critical"))], 0, Some(12), 0),
            (&[(200, Some("critical"))], 0, Some(200), 0),
        ];
        for (matches, inbound, disrupted_by, expected) in cases {
            let mut report = Report { disrupted_by, ..Report::default() };
            report.score.inbound = inbound;
            report.matches = matches.iter().map(|(rule, severity)| matched(*rule, *severity)).collect();
            assert_eq!(score(&report, &response_rules), expected, "{matches:?}");
        }
    }

    #[test]
    fn a_flood_of_clients_is_bounded() {
        let mut offenders = Offenders::default();
        for number in 0..CLIENTS as u32 * 2 {
            let client = IpAddr::V4((0x0a00_0000 + number).into());
            assert_eq!(offenders.note(&ban(2), client, 5, 1_000_000 + u64::from(number)), None);
        }
        assert!(offenders.by_client.len() <= CLIENTS);
        // One that goes on is caught all the same.
        let client = "198.51.100.7".parse().unwrap();
        assert_eq!(offenders.note(&ban(2), client, 5, 2_000_000), None);
        assert!(offenders.note(&ban(2), client, 5, 2_000_001).is_some());
    }
}
