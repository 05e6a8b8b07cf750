//! Requests per second and at once: a token bucket and a count. Time is an argument.

use core::time::Duration;

use homing_core::Instant;

use super::Grant;

/// What one request costs, in millionths: a rate of one a second earns one of these each microsecond.
const COST: u64 = 1_000_000;

/// What a device has used up of its limits. Lives as long as the host runs: who comes back is no one new.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Millionths of requests, and since when; none as long as nothing was asked.
    bucket: Option<(u64, Instant)>,
    running: u32,
}

/// Why it is too much, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Too fast: there is room again after this.
    Rate(Duration),
    /// Too many at once.
    Concurrent,
}

impl Limiter {
    /// Counts a request, until [`done`](Self::done). One that is refused uses up nothing.
    pub(crate) fn admit(&mut self, grant: &Grant, now: Instant) -> Result<(), Limited> {
        if grant.concurrent.is_some_and(|most| self.running >= most) {
            return Err(Limited::Concurrent);
        }
        if let Some(rate) = grant.rate {
            let full = u64::from(rate.burst).saturating_mul(COST);
            let tokens = self.bucket.map_or(full, |(tokens, since)| {
                let micros = u64::try_from(now.since(since).as_micros()).unwrap_or(u64::MAX);
                tokens.saturating_add(micros.saturating_mul(rate.per_second.into())).min(full)
            });
            let Some(left) = tokens.checked_sub(COST) else {
                self.bucket = Some((tokens, now));
                let missing = COST.saturating_sub(tokens).div_ceil(u64::from(rate.per_second.max(1)));
                return Err(Limited::Rate(Duration::from_micros(missing)));
            };
            self.bucket = Some((left, now));
        } else {
            self.bucket = None;
        }
        self.running = self.running.saturating_add(1);
        Ok(())
    }

    /// One that was admitted is not begun after all.
    pub(crate) fn give_back(&mut self) {
        self.done();
        if let Some((tokens, _)) = &mut self.bucket {
            *tokens = tokens.saturating_add(COST);
        }
    }

    /// One that was admitted is over.
    pub(crate) fn done(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Whether nothing runs.
    pub(crate) const fn is_idle(&self) -> bool {
        self.running == 0
    }
}
