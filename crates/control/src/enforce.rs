//! Bans on their way to where they are enforced.

use crate::life_of_a_change::Control;
use base::net::IpNet;
use role::client::Admin;
use serde_json::{Value, json};
use std::sync::PoisonError;
use std::time::Duration;

impl Control {
    /// Sends all bans in force to the edge. False where it does not answer; upkeep tries again.
    pub(crate) async fn send_bans(&self) -> bool {
        let bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner).list(sys::clock::now_ms());
        let bans: Vec<Value> =
            bans.iter().map(|ban| json!({ "net": ban.net, "until_ms": ban.until_ms })).collect();
        let edge = Admin::new(&self.paths.socket("edge")).timeout(Duration::from_secs(5));
        edge.put("/bans", &bans).await.is_ok()
    }

    /// The allow-list entry or trusted proxy that lies in a network, or holds it:
    /// none of these is ever banned.
    pub(crate) fn never_banned(&self, net: IpNet) -> Option<IpNet> {
        let committed = self.committed()?;
        let proxies = committed.revision.site.edge.trusted_proxies.iter();
        committed.allowed.iter().chain(proxies).copied().find(|a| a.contains(&net) || net.contains(a))
    }
}
