//! Notices that connections may have died without a word, waited for by tokio.

use std::time::Instant;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use homing_driver::surroundings::Silence as Events;
use homing_driver::surroundings::{Change, Watch};
use tokio::time::{sleep_until, timeout_at};

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::events::Events;

/// Watches the machine's network and its sleep.
#[derive(Debug)]
pub struct Surroundings {
    events: Option<Events>,
    watch: Watch,
}

impl Surroundings {
    /// Starts to watch, inside a tokio runtime. Where the system refuses to tell of its network,
    /// which is logged, only sleep is noticed.
    #[must_use]
    pub fn watch() -> Self {
        let events = Events::subscribe();
        if let Err(error) = &events {
            tracing::debug!(%error, "changes of the network go unnoticed here");
        }
        Self { events: events.ok(), watch: Watch::default() }
    }

    /// Waits for the next change. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Change {
        loop {
            if let Some(change) = self.watch.poll(Instant::now()) {
                return change;
            }
            let until = self.watch.poll_timeout().into();
            let Some(events) = &mut self.events else {
                sleep_until(until).await;
                continue;
            };
            match timeout_at(until, events.next()).await {
                Err(_) => {}
                Ok(Ok(())) => self.watch.heard(Instant::now()),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "changes of the network go unnoticed from now on");
                    self.events = None;
                }
            }
        }
    }
}
