//! The core's time and the system's: a clock that never goes back, from an origin of this process.

use core::time::Duration;
use std::sync::OnceLock;
use std::time;

use homing_core::Instant;

fn origin() -> time::Instant {
    static ORIGIN: OnceLock<time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(time::Instant::now)
}

/// The time now, for a [`Clock`](crate::Clock) to tell.
#[must_use]
pub fn now() -> Instant {
    Instant::from_micros(u64::try_from(origin().elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// When the system's clock reaches `at`.
#[must_use]
pub fn system(at: Instant) -> time::Instant {
    // The microsecond that the core counts in is cut off; never wake just before it.
    let delay = Duration::from_micros(at.as_micros().saturating_add(1));
    // Farther than a clock reaches is as good as a year.
    origin().checked_add(delay).unwrap_or_else(|| origin() + YEAR)
}

/// Longer than anything here waits.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_never_early() {
        for _ in 0..1000 {
            let at = now() + Duration::from_micros(50);
            while time::Instant::now() < system(at) {}
            assert!(now() >= at);
        }
        assert!(system(Instant::from_micros(u64::MAX)) > time::Instant::now() + YEAR / 2);
    }
}
