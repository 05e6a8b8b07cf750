//! A measured round trip, shared with those who show it.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A round trip, and when it was noted.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    /// Microseconds; the highest value where nothing was measured yet.
    micros: AtomicU64,
    /// Unix seconds.
    at: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Shown { micros: AtomicU64::new(u64::MAX), at: AtomicU64::new(0) }))
    }
}

impl Pulse {
    pub(crate) fn write(&self, round_trip: Option<Duration>) {
        let micros = round_trip.and_then(|trip| u64::try_from(trip.as_micros()).ok());
        let micros = micros.unwrap_or(u64::MAX);
        // Told after every message; two measurements are hardly ever equal to the microsecond.
        if self.0.micros.swap(micros, Ordering::Relaxed) != micros {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.0.at.store(at.as_secs(), Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Option<Duration> {
        match self.0.micros.load(Ordering::Relaxed) {
            u64::MAX => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// When it was noted, Unix seconds.
    pub(crate) fn at(&self) -> Option<u64> {
        self.read().map(|_| self.0.at.load(Ordering::Relaxed))
    }
}
