//! What our table holds, as `nft -j` tells it.

use super::{Failure, nft};
use crate::message::Ban;
use base::Millis;
use base::net::IpNet;
use serde_json::Value;
use std::net::IpAddr;

/// What our table holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) present: bool,
    /// The policy in force for good.
    pub(super) current: Option<u32>,
    /// The policy on trial, and how long its trial still lasts.
    pub(super) trial: Option<(u32, Millis)>,
    /// The numbers of all policies' chains.
    pub(super) chains: Vec<u32>,
    /// The names of all sets of bans.
    pub(super) bans: Vec<String>,
}

pub(super) fn read() -> Result<State, Failure> {
    // Terse: the sets of bans may be large, and their elements are not needed. It
    // leaves the elements of maps out as well, so those are asked for by name.
    let Some(listing) = nft::ask(&["-t", "list", "table", "inet", "bastide"])? else {
        return Ok(State::default());
    };
    let mut state = State { present: true, ..State::default() };
    for item in items(&listing) {
        if let Some(name) = item["chain"]["name"].as_str().and_then(|name| name.strip_prefix("policy_")) {
            state.chains.extend(name.parse::<u32>().ok());
        }
        if let Some(name) = item["set"]["name"].as_str().filter(|name| name.starts_with("banned")) {
            state.bans.push(name.to_owned());
        }
    }
    state.current = map("current")?.map(|(number, _)| number);
    state.trial = map("trial")?;
    Ok(state)
}

/// Where a map leads, and for how long still; none where it is empty.
fn map(name: &str) -> Result<Option<(u32, Millis)>, Failure> {
    let listing = nft::ask(&["list", "map", "inet", "bastide", name])?;
    let elements = listing.as_ref().map(items).into_iter().flatten();
    Ok(elements.filter_map(|item| item["map"]["elem"].get(0)).find_map(target))
}

fn items(listing: &Value) -> impl Iterator<Item = &Value> {
    listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// `[{"elem": {"val": "ipv4", "expires": 3}}, {"goto": {"target": "policy_1"}}]`.
fn target(element: &Value) -> Option<(u32, Millis)> {
    let number = element[1]["goto"]["target"].as_str()?.strip_prefix("policy_")?.parse().ok()?;
    let expires_s = element[0]["elem"]["expires"].as_u64().unwrap_or(0);
    Some((number, Millis::from_secs(expires_s)))
}

pub(super) fn bans() -> Result<Vec<Ban>, Failure> {
    let Some(listing) = nft::ask(&["list", "table", "inet", "bastide"])? else {
        return Ok(Vec::new());
    };
    let mut bans: Vec<Ban> = items(&listing).flat_map(|item| set(&item["set"])).collect();
    bans.sort_unstable();
    Ok(bans)
}

/// The bans of `{"name": "banned4_24", "elem": ["192.0.2.0", {"elem": {"val": …}}]}`.
fn set(set: &Value) -> Vec<Ban> {
    let name = set["name"].as_str().unwrap_or_default();
    let Some((_, length)) = name.strip_prefix("banned").and_then(|rest| rest.split_once('_')) else {
        return Vec::new();
    };
    let Ok(length) = length.parse::<u8>() else {
        return Vec::new();
    };
    let one = |element: &Value| {
        let value = element.as_str().or_else(|| element["elem"]["val"].as_str())?;
        let net = IpNet::new(value.parse::<IpAddr>().ok()?, length).ok()?;
        Some(Ban { net, remaining: element["elem"]["expires"].as_u64().map(Millis::from_secs) })
    };
    set["elem"].as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn listings_are_read() {
        let element = json!([{"elem": {"val": "ipv4", "timeout": 30, "expires": 12}}, {"goto": {"target": "policy_7"}}]);
        assert_eq!(target(&element), Some((7, Millis(12_000))));
        assert_eq!(target(&json!(["ipv4", {"goto": {"target": "policy_3"}}])), Some((3, Millis(0))));
        assert_eq!(target(&json!(["ipv4", {"accept": null}])), None);

        let listing = json!({"name": "banned6_64", "elem": ["2001:db8::", {"elem": {"val": "fd00::", "expires": 9}}, 7]});
        let nets: Vec<String> =
            set(&listing).iter().map(|b| format!("{} {:?}", b.net, b.remaining)).collect();
        assert_eq!(nets, ["2001:db8::/64 None", "fd00::/64 Some(Millis(9000))"]);
        assert!(set(&json!({"name": "other", "elem": ["1.2.3.4"]})).is_empty());
        assert!(set(&Value::Null).is_empty());
    }
}
