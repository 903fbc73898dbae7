//! Policies and bans in the kernel, through `nft(8)`. Needs root (or
//! `CAP_NET_ADMIN`) and works on the network namespace of the calling thread.
//!
//! ```text
//! table inet bastide
//!   map trial    nfproto → goto policy_N     elements with a timeout
//!   map current  nfproto → goto policy_M     elements for good
//!   set banned4_LEN, banned6_LEN             network addresses, with a timeout
//!   chain bans      ip saddr & MASK @banned4_LEN drop …
//!   chain policy_N  the rules of a policy, ending in a drop
//!   chain input     hook input: nfproto vmap @trial, then nfproto vmap @current
//! ```
//!
//! A new policy is reached through `trial`. When its elements expire, the kernel
//! finds none there and goes on to `current`: the fall-back needs no process of
//! ours. Every change is one transaction, all of it or nothing.

mod nft;
mod script;
mod state;

use crate::message::{Ban, Request, Response, Status};
use crate::policy::Policy;
use base::Millis;
use base::net::IpNet;
use ipnet::Ipv4Net;
use std::fmt;
use std::net::IpAddr;

/// Shortest and longest trial, in milliseconds: below, nobody could confirm;
/// beyond, a lock-out is an outage.
pub const TRIAL_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// The shortest prefixes that may be banned: anything wider is a mistake.
pub const WIDEST_BAN: (u8, u8) = (8, 16);
/// Bans of one prefix length that are kept; bounds the kernel's memory.
pub const BANS_MAX: u32 = 65_536;

/// Why something was not done. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What and why, a lower-case fragment.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.what, self.hint)
    }
}

impl std::error::Error for Failure {}

/// Does what a request asks, and answers. Blocks for as long as `nft` runs, some
/// milliseconds.
pub fn serve_one(request: Request) -> Response {
    let answer = match request {
        Request::Apply { policy, revert_after_ms } => {
            apply(&policy, revert_after_ms.map(Millis)).map(status_of)
        }
        Request::Confirm => confirm().map(status_of),
        Request::Revert => revert().map(status_of),
        Request::Status => status().map(status_of),
        Request::Remove => remove().map(|()| Response::Done),
        Request::Ban { net, duration } => ban(net, duration).map(|()| Response::Done),
        Request::Unban { net } => unban(net).map(|()| Response::Done),
        Request::List => list().map(|bans| Response::Bans { bans }),
    };
    answer.unwrap_or_else(|Failure { what, hint }| Response::Failed { what, hint })
}

fn status_of(status: Status) -> Response {
    Response::Status { status }
}

/// Puts a policy in force: on trial for `revert_after`, or for good.
pub fn apply(policy: &Policy, revert_after: Option<Millis>) -> Result<Status, Failure> {
    if let Some(after) = revert_after.filter(|after| !TRIAL_MS.contains(&after.0)) {
        let what = format!("a trial of {after} is not between 1s and 1h");
        return Err(Failure::new(what, "choose another time for `revert_after`"));
    }
    let before = state::read()?;
    let number = before.chains.iter().max().map_or(1, |last| last.wrapping_add(1).max(1));
    nft::run(&script::apply(policy, number, revert_after))?;
    tidy();
    status()
}

/// Keeps the policy on trial for good.
pub fn confirm() -> Result<Status, Failure> {
    let Some((number, _)) = state::read()?.trial else {
        return Err(no_trial("confirm"));
    };
    // Where the trial ends in this very moment, its elements cannot be deleted,
    // and the transaction does nothing.
    nft::run(&script::confirm(number)).map_err(|failure| match state::read() {
        Ok(state) if state.trial.is_none() => no_trial("confirm"),
        _ => failure,
    })?;
    tidy();
    status()
}

/// Ends the trial now: the policy before is in force at once.
pub fn revert() -> Result<Status, Failure> {
    if state::read()?.trial.is_none() {
        return Err(no_trial("revert"));
    }
    nft::run(&script::revert())?;
    tidy();
    status()
}

fn no_trial(verb: &str) -> Failure {
    let what = format!("there is nothing to {verb}: no policy is on trial");
    Failure::new(what, "a trial that was not confirmed in time has ended by itself; apply the policy again")
}

/// What is in force.
pub fn status() -> Result<Status, Failure> {
    let state = state::read()?;
    Ok(Status { present: state.present, confirmed: state.current, trial: state.trial })
}

/// Takes our table out of the kernel, bans and all. Nothing happens without one.
pub fn remove() -> Result<(), Failure> {
    nft::run(&script::remove())
}

/// Drops all that comes from a network, for a time or until it is lifted.
pub fn ban(net: IpNet, duration: Option<Millis>) -> Result<(), Failure> {
    let net = checked(net)?;
    if duration.is_some_and(|d| d.0 == 0) {
        return Err(Failure::new("a ban of no time", "give it a time, such as `1h`"));
    }
    let state = require_table("ban")?;
    nft::run(&script::ban(net, duration, state.bans.contains(&script::set_name(&net)))).map_err(|failure| {
        // nft's word for ENFILE, which is what a full set gives.
        if failure.what.contains("Too many open files") {
            let what =
                format!("there are {BANS_MAX} bans of this prefix length already, and no more are kept");
            return Failure::new(what, "ban networks instead of addresses, or let bans end");
        }
        failure
    })
}

/// Ends a ban of exactly this network.
pub fn unban(net: IpNet) -> Result<(), Failure> {
    let net = checked(net)?;
    let bans = list()?;
    if !bans.iter().any(|ban| ban.net == net) {
        let wider = bans.iter().find(|ban| ban.net.contains(&net));
        let hint = match wider {
            Some(wider) => format!("`{}` is banned, which contains it; lift that", wider.net),
            None => "`bastide bans` lists all bans".to_owned(),
        };
        return Err(Failure::new(format!("`{net}` is not banned"), hint));
    }
    nft::run(&script::unban(net))
}

/// All bans, in order of address. Without our table there are none.
pub fn list() -> Result<Vec<Ban>, Failure> {
    state::bans()
}

fn require_table(verb: &str) -> Result<state::State, Failure> {
    let state = state::read()?;
    if state.present {
        return Ok(state);
    }
    let what = format!("cannot {verb} in the kernel: the firewall is not applied");
    Err(Failure::new(what, "set `apply = true` in `[firewall]`; at the edge bans work without it"))
}

/// The network with its host bits cleared, IPv4 out of IPv6, and not too wide.
fn checked(net: IpNet) -> Result<IpNet, Failure> {
    let net = match (net.addr(), base::net::canonical(net.addr())) {
        (IpAddr::V6(_), IpAddr::V4(v4)) if net.prefix_len() >= 96 => {
            IpNet::V4(Ipv4Net::new_assert(v4, net.prefix_len() - 96))
        }
        _ => net,
    }
    .trunc();
    let widest = if matches!(net, IpNet::V4(_)) { WIDEST_BAN.0 } else { WIDEST_BAN.1 };
    if net.prefix_len() < widest {
        let what = format!("`{net}` is too wide to be banned: it is most of the Internet");
        return Err(Failure::new(what, format!("ban networks of /{widest} or longer")));
    }
    Ok(net)
}

/// Takes chains away that nothing leads to. The kernel may hold on to one whose
/// trial has just ended; then the next change takes it.
fn tidy() {
    let Ok(state) = state::read() else {
        return;
    };
    let used = [state.current, state.trial.map(|(number, _)| number)];
    for number in state.chains.iter().filter(|number| !used.contains(&Some(**number))) {
        let _ = nft::run(&script::drop_chain(*number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_banned() {
        let cases: &[(&str, Option<&str>)] = &[
            ("192.0.2.7/32", Some("192.0.2.7/32")),
            ("192.0.2.7/24", Some("192.0.2.0/24")),
            ("::ffff:192.0.2.7/128", Some("192.0.2.7/32")),
            ("::ffff:192.0.2.7/120", Some("192.0.2.0/24")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("10.0.0.0/7", None),
            ("0.0.0.0/0", None),
            ("::/0", None),
            ("::ffff:0.0.0.0/96", None),
        ];
        for (net, expected) in cases {
            let got = checked(net.parse().unwrap()).ok().map(|net| net.to_string());
            assert_eq!(got.as_deref(), *expected, "{net}");
        }
    }

    #[test]
    fn failures_need_no_kernel() {
        let policy = Policy {
            machine: "here".into(),
            allow: vec![],
            peers: vec![],
            site: vec![],
            never_banned: vec![],
        };
        let failure = apply(&policy, Some(Millis(1))).unwrap_err();
        assert!(failure.what.contains("1ms") && failure.hint.contains("revert_after"), "{failure}");
        let failure = ban("10.0.0.0/8".parse().unwrap(), Some(Millis(0))).unwrap_err();
        assert!(failure.what.contains("no time"), "{failure}");
    }
}
