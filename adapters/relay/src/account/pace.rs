//! Rates that are kept: one number each.

use core::time::Duration;

use homing_core::Instant;

/// How far bytes may run ahead of their rate.
const BURST: Duration = Duration::from_secs(1);
/// The longest that a link is not read: its pings wait meanwhile, and both ends miss them after some more.
const LONGEST: Duration = Duration::from_secs(20);

/// How often something may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    each: Duration,
    /// What may be saved up.
    most: Duration,
}

impl Rate {
    /// So often in a second, ten times as often after a pause.
    pub(super) fn per_second(times: u32) -> Self {
        Self { each: Duration::from_secs(1) / times.max(1), most: Duration::from_secs(10) }
    }

    /// So often in a minute, and as often at once.
    pub(super) fn per_minute(times: u32) -> Self {
        Self { each: Duration::from_secs(60) / times.max(1), most: Duration::from_secs(60) }
    }
}

/// When all that was taken would have been due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(Instant);

impl Pace {
    pub(super) const FRESH: Self = Self(Instant::ZERO);

    /// How long until one more may be; zero where it may be now.
    pub(super) fn wait(self, now: Instant, rate: Option<Rate>) -> Duration {
        let Some(rate) = rate else { return Duration::ZERO };
        (self.0.max(now) + rate.each).since(now).saturating_sub(rate.most)
    }

    /// Counts one.
    pub(super) fn take(&mut self, now: Instant, rate: Option<Rate>) {
        if let Some(rate) = rate {
            self.0 = self.0.max(now) + rate.each;
        }
    }

    /// Counts bytes. Returns how long to wait for more.
    pub(super) fn charge(&mut self, now: Instant, bytes: u64, per_second: u64) -> Duration {
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / per_second.max(1));
        self.0 = (self.0.max(now) + takes).min(now + BURST + LONGEST);
        self.0.since(now).saturating_sub(BURST)
    }

    /// Whether nothing of the past counts any more.
    pub(super) fn is_rested(self, now: Instant) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_up_is_bounded_and_waiting_helps() {
        let (mut pace, rate) = (Pace::FRESH, Some(Rate::per_minute(3)));
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        for _ in 0..3 {
            assert_eq!(pace.wait(at(1000), rate), Duration::ZERO);
            pace.take(at(1000), rate);
        }
        assert_eq!(pace.wait(at(1000), rate), Duration::from_secs(20));
        assert_eq!(pace.wait(at(1015), rate), Duration::from_secs(5));
        assert_eq!(pace.wait(at(1020), rate), Duration::ZERO);
        assert!(!pace.is_rested(at(1059)) && pace.is_rested(at(1060)));
        assert_eq!(pace.wait(at(1000), None), Duration::ZERO);
    }
}
