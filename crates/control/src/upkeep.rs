//! What control looks after once a second: bans that end, an edge that came back
//! without them, the gauges of processes, certificates that want renewing.

use crate::life_of_a_change::Control;
use crate::status;
use base::events::Event;
use base::names;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two checks of the certificates: an hour.
const CERTIFICATE_LOOKS: u64 = 3_600;

pub(crate) async fn run(control: &Arc<Control>) {
    let mut edge_pid = None;
    let mut restarts: HashMap<String, u64> = HashMap::new();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 1u64.. {
        every.tick().await;
        let list = status::processes(&control.paths).await.unwrap_or_default();
        count_processes(control, &list, &mut restarts);
        let ended = control.bans.lock().unwrap_or_else(PoisonError::into_inner).expire(sys::clock::now_ms());
        for ban in &ended {
            control.events.emit(Event::Ban {
                net: ban.net,
                duration: None,
                what: "expired".into(),
                why: ban.why.clone(),
            });
        }
        let pid = list.iter().find(|p| p.name == "edge").and_then(|p| p.pid);
        let made = pid.is_some() && control.take_made_bans().await;
        // An edge that was started again knows no bans: tell it, until it has heard.
        if (pid.is_some() && pid != edge_pid) || !ended.is_empty() || made {
            let heard = control.send_bans().await;
            edge_pid = if heard { pid } else { None };
        }
        if look % CERTIFICATE_LOOKS == 0 {
            let renewed = control.renew_certificates().await;
            if let Err(fault) = renewed {
                *control.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(format!("the internal certificate could not be renewed: {fault}"));
            }
        }
    }
}

fn count_processes(
    control: &Control,
    list: &[crate::supervisor::ProcessReport],
    seen: &mut HashMap<String, u64>,
) {
    let up = control.registry.gauge(&names::PROCESS_UP);
    let again = control.registry.counter(&names::PROCESS_RESTARTS);
    for process in list {
        up.with(&[&process.name]).set(f64::from(u8::from(process.pid.is_some())));
        let before = seen.insert(process.name.clone(), process.restarts).unwrap_or(0);
        again.with(&[&process.name]).add(process.restarts.saturating_sub(before));
    }
    let gone = |values: &[String]| !list.is_empty() && !list.iter().any(|p| p.name == values[0]);
    up.remove(gone);
    again.remove(gone);
    let bans = control.bans.lock().unwrap_or_else(PoisonError::into_inner).list(sys::clock::now_ms()).len();
    control.registry.gauge(&names::BANS).with(&[]).set(bans as f64);
    let revision = control.committed().map_or(0, |c| c.revision.id.0);
    control.registry.gauge(&names::ROLE_REVISION).with(&["control"]).set(revision as f64);
}
