//! Cancel requests: clients get keys of ours, and a request that shows one is
//! forwarded to the member where that session's statement runs.

use crate::backend;
use base::Address;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a session's statement runs now.
type Running = Option<(Address, (i32, i32))>;

/// One session's key.
pub(crate) struct Slot {
    secret: i32,
    running: tokio::sync::Mutex<Running>,
}

/// All sessions' keys.
#[derive(Default)]
pub(crate) struct Cancels {
    slots: Mutex<HashMap<i32, Arc<Slot>>>,
}

/// A session's entry; leaves the map when dropped.
pub(crate) struct Registration {
    cancels: Arc<Cancels>,
    /// The process id given to the client.
    pub(crate) process: i32,
    slot: Arc<Slot>,
}

impl Cancels {
    /// Makes a key for a session.
    pub(crate) fn register(self: &Arc<Self>) -> Registration {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let process = loop {
            // Positive, as process ids are.
            let candidate = (sys::random::u64() & 0x7fff_ffff) as i32;
            if candidate != 0 && !slots.contains_key(&candidate) {
                break candidate;
            }
        };
        let slot = Arc::new(Slot { secret: sys::random::u64() as i32, running: Default::default() });
        slots.insert(process, slot.clone());
        Registration { cancels: self.clone(), process, slot }
    }

    /// Forwards a request, if its key is right and something runs. Nothing is
    /// answered, as PostgreSQL answers nothing (manual 55.2.8).
    pub(crate) async fn cancel(&self, process: i32, secret: i32) -> bool {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(&process).cloned();
        let Some(slot) = slot.filter(|slot| slot.secret == secret) else { return false };
        // Held while the request is on its way: the connection cannot be given
        // back meanwhile, so the signal cannot hit another session's statement.
        let running = slot.running.lock().await;
        match &*running {
            Some((address, key)) => backend::cancel(address, *key).await.is_ok(),
            None => false,
        }
    }
}

impl Registration {
    /// The secret given to the client.
    pub(crate) fn secret(&self) -> i32 {
        self.slot.secret
    }

    /// A statement runs there from now on.
    pub(crate) async fn runs_at(&self, address: &Address, key: (i32, i32)) {
        *self.slot.running.lock().await = Some((address.clone(), key));
    }

    /// Nothing runs; waits for a request on its way.
    pub(crate) async fn runs_nowhere(&self) {
        *self.slot.running.lock().await = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancels.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.process);
    }
}
