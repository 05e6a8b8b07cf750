//! How fast a peer may send control frames that move nothing (protocol 9.5).

use super::Violation;
use crate::time::Instant;

/// Tokens gained per second.
const RATE: u64 = 256;
/// Most tokens at once: a browser that cancels everything it has open is no flood.
const BURST: u64 = 1024;

#[derive(Debug)]
pub(super) struct Pace {
    tokens: u64,
    since: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { tokens: BURST, since: now }
    }

    /// Takes a token.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Violation> {
        let gained =
            u64::try_from(now.since(self.since).as_micros()).unwrap_or(u64::MAX).saturating_mul(RATE) / 1_000_000;
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(BURST);
            self.since = now;
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(Violation::Flood)?;
        Ok(())
    }
}
