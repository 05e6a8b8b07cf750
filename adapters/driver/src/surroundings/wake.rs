//! Whether the machine slept, from the distance between its clocks.

use core::time::Duration;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How far one clock may run ahead, or a look may come late, before something must have stood still.
const SLEPT: Duration = Duration::from_secs(10);

/// Notices that the machine slept: the time of day went on, the monotonic clock did not. Or that this process was
/// stopped: both went on, and nobody looked.
#[derive(Debug)]
pub(super) struct SleepWatch {
    wall: Duration,
    steady: Instant,
    /// How often somebody looks.
    every: Duration,
}

impl SleepWatch {
    pub(super) fn new(every: Duration) -> Self {
        Self { wall: wall(), steady: Instant::now(), every }
    }

    /// Whether it slept since this was last asked.
    pub(super) fn slept(&mut self) -> bool {
        let past = core::mem::replace(self, Self::new(self.every));
        let steady = self.steady.saturating_duration_since(past.steady);
        stood_still(self.wall.saturating_sub(past.wall), steady, self.every)
    }
}

fn stood_still(wall: Duration, steady: Duration, every: Duration) -> bool {
    wall.saturating_sub(steady) > SLEPT || steady.saturating_sub(every) > SLEPT
}

/// Time of day; zero where the clock stands before 1970.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_shows_in_the_distance_between_two_clocks() {
        let slept = |wall, steady| stood_still(Duration::from_secs(wall), Duration::from_secs(steady), LOOK);
        const LOOK: Duration = Duration::from_secs(5);
        assert!(slept(3600, 5), "the machine slept");
        assert!(slept(3600, 3600), "the process was stopped");
        assert!(!slept(6, 5) && !slept(0, 5) && !slept(9, 9));
        assert!(!SleepWatch::new(LOOK).slept());
    }
}
