//! The directory of a relay that is alone: every route is here.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use homing_driver::relay::Seek;

use super::{Blinded, Claiming, Counts, Directory, Node, Placement, Present, Running};

/// Keeps in memory which routes are here. A relay needs none of this to run: it is what tests and programs of their own
/// build on.
#[derive(Debug, Default)]
pub struct Alone {
    /// The epoch of each route's last claim.
    routes: Mutex<HashMap<Blinded, u64>>,
    epoch: AtomicU64,
}

impl Alone {
    /// The epoch in which a route was claimed last, where it is here. Later claims have greater ones.
    #[must_use]
    pub fn epoch(&self, route: &Blinded) -> Option<u64> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(route).copied()
    }
}

impl Directory for Alone {
    fn place(&self, _: &Seek, _: &str, _: Present) -> Placement {
        Placement::Here
    }

    fn claim(&self, route: Blinded, _: u8) -> Claiming {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(route, epoch);
        Box::pin(core::future::ready(Ok(())))
    }

    fn holds(&self, route: &Blinded) -> bool {
        self.epoch(route).is_some()
    }

    fn release(&self, route: Blinded) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(&route);
    }

    fn revoke(&self, _: &str) {}

    fn drain(&self) {}

    fn run(&self, _: Arc<dyn Node>) -> Running {
        Box::pin(core::future::pending())
    }

    fn counts(&self) -> Counts {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Counts { nodes: 1, routes, known: routes, ..Counts::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_route_is_here_and_each_claim_is_newer() {
        let alone = Alone::default();
        let route = [1; 16];
        assert_eq!(alone.place(&Seek::device(&route), "any", Present::default()), Placement::Here);
        assert!(!alone.holds(&route));
        alone.claim(route, 0).await.unwrap();
        let first = alone.epoch(&route).unwrap();
        alone.claim(route, 0).await.unwrap();
        assert!(alone.epoch(&route).unwrap() > first && alone.counts().routes == 1);
        alone.release(route);
        assert!(!alone.holds(&route));
    }
}
