//! Signals: the first SIGTERM or SIGINT drains, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells a role when to drain. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown {
    draining: watch::Sender<bool>,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT on the current runtime. A second signal
    /// ends the process with exit code 1.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::manual();
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let trigger = shutdown.clone();
        tokio::spawn(async move {
            for seen in 0.. {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                if seen > 0 {
                    std::process::exit(1);
                }
                trigger.drain();
            }
        });
        Ok(shutdown)
    }

    /// Only [`Shutdown::drain`] triggers it: for tests, and for `POST /drain`.
    pub fn manual() -> Self {
        Self { draining: watch::Sender::new(false) }
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether draining has begun.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until draining begins.
    pub async fn wait(&self) {
        let mut receiver = self.draining.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = receiver.wait_for(|draining| *draining).await;
    }
}
