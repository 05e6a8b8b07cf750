//! When to try again: at once, soon, then so that many who lost the same relay come back evenly, for ever.
//!
//! Whoever lost a link that worked comes at once, and twice more within a second: most losses are short. From then on
//! all draw their moment from the same seven seconds, and keep it: seven seconds later they come again. So what comes in
//! any second is a seventh of all, however long the relay was away, and once it is back all are within seven seconds.
//! An outage of more than half a minute is asked about less often.

use core::time::Duration;

use rand_core::CryptoRng;

use crate::time::Instant;

/// How long after a failure the next attempt comes, in milliseconds: somewhere between these two. The last is for ever.
const STEPS: [(u32, u32); 9] = [
    (50, 250),
    (250, 500),
    (250, 7_000),
    // About as long as those before were spread over: who failed does not meet those who come for the first time.
    (6_500, 7_500),
    (6_500, 7_500),
    (6_500, 7_500),
    (6_500, 7_500),
    (8_000, 12_000),
    (10_000, 25_000),
];
/// The step that spreads all who lost the same relay at the same moment, and where it begins, in milliseconds.
const SPREAD: (u8, u32) = (2, 250);
/// The longest time between two attempts where nobody asked for more.
pub const LONGEST: Duration = Duration::from_secs(25);
/// The longest that a relay may ask for: one that wants an endpoint gone for good is asked again all the same.
pub const LONGEST_TOLD: Duration = Duration::from_secs(300);
/// The longest pause after a connection was lost that had worked.
const AT_ONCE: u32 = 100;
/// Connections that are lost faster than this wait as attempts that fail do.
const HURRY_EVERY: Duration = Duration::from_secs(1);
/// How long a connection must have held before the next failure counts as the first.
const HEALTHY: Duration = Duration::from_secs(10);

/// Delays between attempts to connect.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    /// Which step is next.
    step: u8,
    up_since: Option<Instant>,
    /// When a loss was last followed by an attempt at once.
    hurried: Option<Instant>,
    /// Whether the next step begins at once: what was lost a moment ago may have been lost by many.
    spread: bool,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { step: 0, up_since: None, hurried: None, spread: false }
    }

    /// A round trip was made: the connection works.
    pub const fn proved(&mut self, now: Instant) {
        if self.up_since.is_none() {
            self.up_since = Some(now);
        }
    }

    /// The attempt failed, or the connection was lost: how long to wait. Starts over only after a
    /// connection that was healthy for a while, so that one which fails at once does not storm.
    pub fn failed(&mut self, now: Instant, rng: &mut (impl CryptoRng + ?Sized)) -> Duration {
        if let Some(since) = self.up_since.take() {
            if now.since(since) >= HEALTHY {
                (self.step, self.spread) = (0, false);
            } else {
                (self.step, self.spread) = (self.step.max(SPREAD.0), true);
            }
            if self.hurried.is_none_or(|at| now.since(at) >= HURRY_EVERY) {
                self.hurried = Some(now);
                return Duration::from_millis(between(0, AT_ONCE, rng).into());
            }
        }
        let (least, most) = STEPS.get(usize::from(self.step)).or(STEPS.last()).copied().unwrap_or_default();
        let least = if core::mem::take(&mut self.spread) { SPREAD.1 } else { least };
        if usize::from(self.step) < STEPS.len() {
            self.step = self.step.saturating_add(1);
        }
        Duration::from_millis(between(least, most, rng).into())
    }

    /// The same where the other end said how long there is no use in coming back: so long at least, and up to half as
    /// long again, since others were told the same. No more than [`LONGEST_TOLD`] counts.
    pub fn failed_until(&mut self, now: Instant, told: Duration, rng: &mut (impl CryptoRng + ?Sized)) -> Duration {
        let own = self.failed(now, rng);
        let told = u32::try_from(told.min(LONGEST_TOLD).as_millis()).unwrap_or(0);
        if told == 0 {
            return own;
        }
        own.max(Duration::from_millis(between(told, told.saturating_add(told.div_ceil(2)), rng).into()))
    }
}

/// A number between two, both included.
fn between(least: u32, most: u32, rng: &mut (impl CryptoRng + ?Sized)) -> u32 {
    let mut bytes = [0; 8];
    rng.fill_bytes(&mut bytes);
    let span = u64::from(most.saturating_sub(least)).saturating_add(1);
    let part = u64::from_le_bytes(bytes).checked_rem(span).unwrap_or(0);
    least.saturating_add(u32::try_from(part).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use rand_core::{TryCryptoRng, TryRng};

    use super::*;

    /// All bits set, or none.
    struct Extreme(u8);

    impl TryRng for Extreme {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(u32::from_le_bytes([self.0; 4]))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(u64::from_le_bytes([self.0; 8]))
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            out.fill(self.0);
            Ok(())
        }
    }

    impl TryCryptoRng for Extreme {}

    #[test]
    fn each_step_keeps_to_its_bounds_for_ever() {
        for byte in [0, 0x7f, 0xff] {
            let mut backoff = Backoff::new();
            for attempt in 0..1000_usize {
                let delay = backoff.failed(Instant::ZERO, &mut Extreme(byte)).as_millis();
                let (least, most) = STEPS[attempt.min(STEPS.len() - 1)];
                assert!(delay >= least.into() && delay <= most.into(), "{attempt}: {delay}");
            }
        }
        assert_eq!(LONGEST.as_millis(), STEPS.last().unwrap().1.into());
    }

    #[test]
    fn only_proven_health_starts_over() {
        let mut backoff = Backoff::new();
        for _ in 0..10 {
            backoff.failed(Instant::ZERO, &mut Extreme(0xff));
        }
        backoff.proved(Instant::from_micros(0));
        backoff.failed(Instant::from_micros(1_000_000), &mut Extreme(0xff));
        assert_eq!(usize::from(backoff.step), STEPS.len());
        backoff.proved(Instant::from_micros(2_000_000));
        backoff.failed(Instant::from_micros(12_000_001), &mut Extreme(0xff));
        assert_eq!(backoff.step, 0);
    }

    #[test]
    fn a_loss_is_followed_at_once_and_the_next_one_is_not() {
        let mut backoff = Backoff::new();
        let at = Instant::from_micros;
        backoff.proved(at(0));
        assert!(backoff.failed(at(20_000_000), &mut Extreme(0xff)) <= Duration::from_millis(100));
        backoff.proved(at(20_200_000));
        // Lost again before a second is over, and by everybody: none of them comes with all others.
        let soonest = backoff.clone().failed(at(20_900_000), &mut Extreme(0));
        let latest = backoff.failed(at(20_900_000), &mut Extreme(0x7f));
        assert!(soonest.as_millis() == 250 && latest > Duration::from_secs(1), "{soonest:?} {latest:?}");
        backoff.proved(at(23_000_000));
        assert!(backoff.failed(at(23_100_000), &mut Extreme(0xff)) <= Duration::from_millis(100));
    }

    #[test]
    fn those_that_lost_the_relay_twice_do_not_come_back_together() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.failed(Instant::ZERO, &mut Extreme(0));
        }
        backoff.proved(Instant::ZERO);
        backoff.failed(Instant::from_micros(5_000_000), &mut Extreme(0));
        assert_eq!(backoff.clone().failed(Instant::from_micros(5_100_000), &mut Extreme(0)).as_millis(), 250);
        backoff.failed(Instant::from_micros(5_100_000), &mut Extreme(0));
        assert_eq!(backoff.failed(Instant::from_micros(6_000_000), &mut Extreme(0)).as_millis(), 6_500);
    }
}
