//! Notices that connections may have died without a word, waited for by smol.

use std::time::Instant;

use async_io::Timer;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use homing_driver::surroundings::Silence as Events;
use homing_driver::surroundings::{Change, Watch};

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::events::Events;
use crate::runtime::before;

/// Watches the machine's network and its sleep.
#[derive(Debug)]
pub struct Surroundings {
    events: Option<Events>,
    watch: Watch,
}

impl Surroundings {
    /// Starts to watch. Where the system refuses to tell of its network,
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
            let until = Timer::at(self.watch.poll_timeout());
            let Some(events) = &mut self.events else {
                until.await;
                continue;
            };
            match before(until, events.next()).await {
                None => {}
                Some(Ok(())) => self.watch.heard(Instant::now()),
                Some(Err(error)) => {
                    tracing::debug!(%error, "changes of the network go unnoticed from now on");
                    self.events = None;
                }
            }
        }
    }
}
