//! What the privileged helper is asked and answers, as JSON.

use crate::policy::Policy;
use base::Millis;
use base::net::IpNet;
use serde::{Deserialize, Serialize};

/// A request to the privileged helper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Put a policy in force.
    Apply {
        /// Which.
        policy: Policy,
        /// The kernel falls back to the policy before after so many milliseconds
        /// (1 s to 1 h), unless `Confirm` comes first. None: in force for good, for
        /// a machine that starts and has nobody at it.
        revert_after_ms: Option<u64>,
    },
    /// Keep the policy on trial for good.
    Confirm,
    /// End the trial now.
    Revert,
    /// Take our table out of the kernel, bans and all.
    Remove,
    /// Drop all that comes from a network.
    Ban {
        /// The network: IPv4 of /8 or longer, IPv6 of /16 or longer.
        net: IpNet,
        /// For how long; none until `Unban`. A new ban of the same network replaces
        /// the one before.
        duration: Option<Millis>,
    },
    /// End a ban.
    Unban {
        /// The network, as it was banned.
        net: IpNet,
    },
    /// All bans.
    List,
    /// What is in force.
    Status,
}

/// The helper's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    /// It is done.
    Done,
    /// To `List`.
    Bans {
        /// In order of address.
        bans: Vec<Ban>,
    },
    /// To `Apply`, `Confirm`, `Revert` and `Status`.
    Status {
        /// What is in force now.
        status: Status,
    },
    /// It was not done, and nothing changed.
    Failed {
        /// What and why, a lower-case fragment.
        what: String,
        /// What to do about it.
        hint: String,
    },
}

/// A ban in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ban {
    /// Whom.
    pub net: IpNet,
    /// How long it still lasts; none until it is lifted.
    pub remaining: Option<Millis>,
}

/// What is in force in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether our table is there.
    pub present: bool,
    /// The number of the policy in force for good.
    pub confirmed: Option<u32>,
    /// The number of the policy on trial, and how long its trial still lasts.
    pub trial: Option<(u32, Millis)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back() {
        let policy = Policy {
            machine: "here".into(),
            allow: vec![],
            peers: vec![],
            site: vec![],
            never_banned: vec![],
        };
        let requests = [
            Request::Apply { policy, revert_after_ms: Some(5) },
            Request::Confirm,
            Request::Ban { net: "10.0.0.0/8".parse().unwrap(), duration: Some(Millis(1)) },
            Request::List,
        ];
        for request in requests {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
        }
        assert!(serde_json::from_str::<Request>(r#"{"request":"flush"}"#).is_err());
    }
}
