//! When to try again: full jitter between a floor and a ceiling that doubles, for ever.

use core::time::Duration;

use rand_core::CryptoRng;

use crate::time::Instant;

/// The first ceiling.
pub const FIRST: Duration = Duration::from_millis(500);
/// The last ceiling.
pub const LAST: Duration = Duration::from_secs(30);
/// No attempt follows another faster than this.
const FLOOR: Duration = Duration::from_millis(50);
/// How long a connection must have held before the next failure counts as the first.
const HEALTHY: Duration = Duration::from_secs(10);

/// Delays between attempts to connect.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: 0, up_since: None }
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
        if self.up_since.take().is_some_and(|since| now.since(since) >= HEALTHY) {
            self.failures = 0;
        }
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let ceiling = FIRST.saturating_mul(1 << doublings).min(LAST);
        let span = u64::try_from(ceiling.saturating_sub(FLOOR).as_micros()).unwrap_or(u64::MAX);
        let mut bytes = [0; 8];
        rng.fill_bytes(&mut bytes);
        let part = u64::from_le_bytes(bytes) % span.saturating_add(1);
        FLOOR.saturating_add(Duration::from_micros(part))
    }
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
    fn delays_stay_between_floor_and_ceiling_for_ever() {
        for byte in [0, 0x7f, 0xff] {
            let mut backoff = Backoff::new();
            for attempt in 0..100_u32 {
                let delay = backoff.failed(Instant::ZERO, &mut Extreme(byte));
                let ceiling = FIRST.saturating_mul(1 << attempt.min(16)).min(LAST);
                assert!(delay >= FLOOR && delay <= ceiling, "{attempt}: {delay:?}");
            }
        }
    }

    #[test]
    fn only_proven_health_starts_over() {
        let mut backoff = Backoff::new();
        for _ in 0..10 {
            backoff.failed(Instant::ZERO, &mut Extreme(0xff));
        }
        backoff.proved(Instant::from_micros(0));
        backoff.failed(Instant::from_micros(1_000_000), &mut Extreme(0xff));
        assert!(backoff.failures > 10);
        backoff.proved(Instant::from_micros(2_000_000));
        backoff.failed(Instant::from_micros(12_000_001), &mut Extreme(0xff));
        assert_eq!(backoff.failures, 1);
    }
}
