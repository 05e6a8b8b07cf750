//! A measured round trip, shared with those who show it.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

/// Microseconds; the highest value where nothing was measured yet.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Pulse {
    pub(crate) fn write(&self, round_trip: Option<Duration>) {
        let micros = round_trip.and_then(|trip| u64::try_from(trip.as_micros()).ok());
        self.0.store(micros.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            u64::MAX => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}
