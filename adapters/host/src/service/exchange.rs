//! The exchange under way on one stream: what its server, its answer's body and its driver share.

use core::task::Context;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::upgrade::OnUpgrade;

use super::pool::{Pool, Upstream};

/// Shared within one task; the lock is never contended and never held over a callback into the other holders.
#[derive(Clone, Default)]
pub(super) struct Exchange(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    upstream: Option<Upstream>,
    /// Where it came from.
    pool: Option<Arc<Pool>>,
    answered: bool,
    upgrade: Option<Upgrade>,
}

/// Two sides that agreed to leave HTTP.
pub(super) struct Upgrade {
    pub(super) device: OnUpgrade,
    pub(super) service: Upstream,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was handed to this connection: it has to be driven.
    pub(super) fn begin(&self, upstream: Upstream, pool: &Arc<Pool>) {
        let mut state = self.lock();
        state.upstream = Some(upstream);
        state.pool = Some(pool.clone());
        state.answered = false;
    }

    /// The answer was taken to its end; the connection may serve another.
    pub(super) fn finish(&self) {
        self.lock().answered = true;
    }

    /// Nobody wants the answer: lets go of the connection, which tells the service.
    pub(super) fn cancel(&self) {
        let upstream = self.lock().upstream.take();
        drop(upstream);
    }

    /// The service said 101.
    pub(super) fn upgrade(&self, device: OnUpgrade) {
        let mut state = self.lock();
        state.upgrade = state.upstream.take().map(|service| Upgrade { device, service });
    }

    pub(super) fn take_upgrade(&self) -> Option<Upgrade> {
        self.lock().upgrade.take()
    }

    /// Moves bytes between the service and this exchange, and returns an idle connection to the pool.
    pub(super) fn drive(&self, cx: &mut Context<'_>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let answered = state.answered;
        let Some(upstream) = &mut state.upstream else { return };
        // An error has reached the request or the body by itself.
        if upstream.drive(cx).is_err() || (answered && upstream.is_over()) {
            state.upstream = None;
        } else if answered
            && let Some(upstream) = state.upstream.take_if(|upstream| upstream.is_idle())
            && let Some(pool) = &state.pool
        {
            pool.put(upstream);
        }
    }
}
