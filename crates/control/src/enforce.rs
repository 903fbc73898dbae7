//! Bans and the firewall's policy on their way to where they are enforced.
//!
//! The edge enforces every ban, against the real client. The kernel enforces them
//! too, and the policy, where the file asks for it and root runs the site.

use crate::bans::Ban;
use crate::book::{read_json, write_json};
use crate::life_of_a_change::Control;
use crate::privileged;
use base::Millis;
use base::events::Event;
use base::net::IpNet;
use firewall::{Policy, Request, Response};
use hyper::StatusCode;
use role::client::Admin;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

impl Control {
    /// Sends all bans in force to where they are enforced. False where the edge does
    /// not answer; upkeep tries again.
    pub(crate) async fn send_bans(&self) -> bool {
        let now_ms = sys::clock::now_ms();
        let bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner).list(now_ms);
        let list: Vec<Value> =
            bans.iter().map(|ban| json!({ "net": ban.net, "until_ms": ban.until_ms })).collect();
        let edge = Admin::new(&self.paths.socket("edge")).timeout(Duration::from_secs(5));
        let heard = edge.put("/bans", &list).await.is_ok();
        if let Some(policy) = self.policy()
            && let Err(why) = self.send_kernel_bans(&policy, &bans, now_ms).await
        {
            self.note_trouble(format!("bans are enforced by the edge, not by the kernel: {why}"));
        }
        heard
    }

    /// Takes over the bans that the edge made, because of what the WAF saw. True where
    /// there were any: the list is to be sent again.
    pub(crate) async fn take_made_bans(&self) -> bool {
        #[derive(Deserialize)]
        struct Made {
            net: IpNet,
            until_ms: u64,
            why: String,
            behind_proxy: bool,
        }
        let edge = Admin::new(&self.paths.socket("edge")).timeout(Duration::from_secs(5));
        let Ok(made) = edge.post("/bans/made", &json!({})).await else { return false };
        let made: Vec<Made> = serde_json::from_value(made).unwrap_or_default();
        if made.is_empty() {
            return false;
        }
        let mut bans = Vec::new();
        for made in made {
            let Made { net, until_ms, why, behind_proxy } = made;
            match self.never_banned(net) {
                // The edge's own list of these is a revision old, or the file changed meanwhile.
                Some(allowed) => {
                    let why = format!("`{net}` is within `{allowed}`, which is never banned; {why}");
                    self.events.emit(Event::Ban { net, duration: None, what: "refused".into(), why });
                }
                None => bans.push(Ban { net, until_ms, why, edge_only: behind_proxy }),
            }
        }
        let now_ms = sys::clock::now_ms();
        let added = self.bans.lock().unwrap_or_else(PoisonError::into_inner).add_made(bans, now_ms);
        match added {
            Ok(0) => {}
            Ok(many) => self
                .note_trouble(format!("{many} clients could not be banned: there is no room for more bans")),
            Err(fault) => {
                self.note_trouble(format!("clients that the WAF caught are not banned for long: {fault}"))
            }
        }
        true
    }

    /// Makes the kernel's bans those that are wanted.
    async fn send_kernel_bans(&self, policy: &Policy, wanted: &[Ban], now_ms: u64) -> Result<(), String> {
        let Response::Bans { bans: there } = privileged::ask(&self.paths.run_dir, &Request::List).await?
        else {
            return Err("the firewall's helper gave another answer than a list".to_owned());
        };
        let wanted: Vec<&Ban> = wanted.iter().filter(|ban| !ban.edge_only).collect();
        for ban in wanted.iter().filter(|ban| policy.exempts(&ban.net).is_none()) {
            if !there.iter().any(|known| known.net == ban.net) {
                let duration = Some(Millis(ban.until_ms.saturating_sub(now_ms).max(1_000)));
                privileged::ask(&self.paths.run_dir, &Request::Ban { net: ban.net, duration }).await?;
            }
        }
        for known in there.iter().filter(|known| !wanted.iter().any(|ban| ban.net == known.net)) {
            privileged::ask(&self.paths.run_dir, &Request::Unban { net: known.net }).await?;
        }
        Ok(())
    }

    /// The allow-list entry or trusted proxy that lies in a network, or holds it:
    /// none of these is ever banned.
    pub(crate) fn never_banned(&self, net: IpNet) -> Option<IpNet> {
        let committed = self.committed()?;
        let firewall = &committed.firewall.settings;
        let allowed = firewall.allow.iter().filter_map(|allow| allow.from);
        allowed.chain(firewall.trusted_proxies.iter().copied()).find(|a| a.contains(&net) || net.contains(a))
    }

    /// This machine's policy, where it is put into the kernel.
    fn policy(&self) -> Option<Policy> {
        let committed = self.committed()?;
        let plan = &committed.firewall;
        let machine = plan.this_machine()?;
        if !plan.apply {
            return None;
        }
        firewall::policy(&plan.settings, &plan.topology, machine)
    }

    /// Puts the policy into the kernel where it is wanted: for good where it is the
    /// one that was confirmed last, otherwise on trial. Takes ours out where it was
    /// wanted before (`was_wanted`) and is not any more.
    pub(crate) async fn apply_firewall(&self, was_wanted: bool) -> Result<(), String> {
        let Some(policy) = self.policy() else {
            if was_wanted {
                privileged::ask(&self.paths.run_dir, &Request::Remove).await?;
            }
            *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(());
        };
        let Some(committed) = self.committed() else { return Ok(()) };
        let plan = &committed.firewall;
        let known: Option<Policy> = read_json(&self.confirmed_path()).map_err(|e| e.to_string())?;
        let revert_after_ms = (known.as_ref() != Some(&policy)).then_some(plan.revert_after.0);
        let applied = *self.applied.lock().unwrap_or_else(PoisonError::into_inner) == Some(policy.clone());
        if applied && revert_after_ms.is_none() {
            return Ok(());
        }
        privileged::ask(&self.paths.run_dir, &Request::Apply { policy: policy.clone(), revert_after_ms })
            .await?;
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(policy);
        match revert_after_ms {
            None => Ok(()),
            Some(ms) => Err(format!(
                "the firewall's new policy falls back by itself in {}\n  hint: if you can still reach this machine by a new connection, keep it: `bastide firewall confirm`",
                Millis(ms)
            )),
        }
    }

    /// Keeps the policy on trial for good, and remembers it for the next `up`.
    pub(crate) async fn confirm_firewall(&self) -> role::Response {
        let confirmed = self.ask_firewall(&Request::Confirm).await;
        if confirmed.status.is_success()
            && let Some(policy) = self.policy()
            && let Err(fault) = write_json(&self.confirmed_path(), &policy)
        {
            return role::Response::error(StatusCode::INSUFFICIENT_STORAGE, fault.to_string());
        }
        if confirmed.status.is_success() {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        confirmed
    }

    /// Asks the helper, for the admin socket.
    pub(crate) async fn ask_firewall(&self, request: &Request) -> role::Response {
        if self.policy().is_none() {
            let why = "no firewall is applied here\n  hint: set `[firewall] apply = true` and run `bastide up` as root";
            return role::Response::error(StatusCode::CONFLICT, why);
        }
        match privileged::ask(&self.paths.run_dir, request).await {
            Ok(response) => role::Response::json(&response),
            Err(why) => role::Response::error(StatusCode::BAD_GATEWAY, why),
        }
    }

    fn confirmed_path(&self) -> PathBuf {
        self.paths.state_dir.join("firewall.json")
    }

    pub(crate) fn note_trouble(&self, why: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}
