//! How fast a peer may send control frames that move nothing (protocol 9.5).

use super::Violation;
use crate::time::Instant;

/// Tokens gained per second.
const RATE: u64 = 1024;
/// Most tokens at once: an application that cancels everything it has open, and soon again, is no
/// flood.
const BURST: u32 = 4096;

#[derive(Debug)]
pub(super) struct Pace {
    tokens: u32,
    since: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { tokens: BURST, since: now }
    }

    /// Takes a token.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Violation> {
        let micros = now.as_micros().saturating_sub(self.since.as_micros());
        let gained = u32::try_from(micros.saturating_mul(RATE) / 1_000_000).unwrap_or(BURST);
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(BURST);
            self.since = now;
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(Violation::Flood)?;
        Ok(())
    }
}
