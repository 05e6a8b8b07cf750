//! A call that nobody uses: a host on demand says how long it wants to be called without a stream, and sleeps afterwards.
//! The call is made anew as soon as somebody wants a stream.

use core::convert::Infallible;
use core::time::Duration;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use crate::tunnel::{Phase, Shared};

/// The shortest time that a call is kept, whatever the host says.
const LEAST: Duration = Duration::from_secs(1);

impl Shared {
    /// Streams that somebody has opened, and that are not over. Those that a tunnel keeps for itself do not count.
    fn streams(&self) -> usize {
        Arc::strong_count(&self.streams).saturating_sub(1)
    }

    /// Ends the call, unless somebody has a stream. Whoever wants one later gets another call.
    fn lay_to_rest(&self) -> bool {
        // Whoever opens a stream borrows the view.
        self.view.send_if_modified(|view| {
            let opener = match &view.phase {
                Phase::Connected(opener) if self.streams() == 0 => opener.clone(),
                _ => return false,
            };
            view.enter(Phase::Resting, None);
            opener.close();
            true
        })
    }

    /// Somebody wants a stream of a call that may rest.
    pub(crate) fn wake(&self) {
        self.view.send_if_modified(|view| {
            let rests = matches!(view.phase, Phase::Resting);
            if rests {
                view.enter(Phase::Connecting, None);
            }
            rests
        });
    }

    /// Waits as long as the call rests.
    pub(crate) async fn wanted(&self) {
        // The sender lives as long as this.
        let _ = self.view.subscribe().wait_for(|view| !matches!(view.phase, Phase::Resting)).await;
    }
}

/// Lays the call to rest whenever its host wants that, for as long as it is polled.
pub(crate) async fn watch(shared: Arc<Shared>) -> Infallible {
    let (mut views, mut wishes) = (shared.view.subscribe(), shared.rest_after.subscribe());
    let is_connected = |shared: &Shared| matches!(shared.view.borrow().phase, Phase::Connected(_));
    let limit = |shared: &Shared| shared.rest_after.borrow().map(|limit| limit.max(LEAST));
    loop {
        // Both senders live as long as `shared`.
        let _ = wishes.wait_for(Option::is_some).await;
        let _ = views.wait_for(|view| matches!(view.phase, Phase::Connected(_))).await;
        let mut used = Instant::now();
        while let Some(limit) = limit(&shared).filter(|_| is_connected(&shared)) {
            sleep((limit / 10).min(LEAST)).await;
            if shared.streams() > 0 {
                used = Instant::now();
            } else if used.elapsed() >= limit && shared.lay_to_rest() {
                tracing::info!(host = shared.host.name, "nobody wants anything of the host: it may sleep");
            }
        }
    }
}
