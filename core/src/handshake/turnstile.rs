//! How many handshakes a host takes (protocol 6.4, steps 1 and 3).

use heapless::Deque;

use super::error::Failure;
use super::message::ChannelId;
use crate::time::Instant;

/// Handshakes per second.
const RATE: u64 = 10;
/// Handshakes at once after a pause.
const BURST: u64 = 20;
/// Handshakes answered whose device has not confirmed yet.
const HALF_OPEN: usize = 16;
/// Channel ids that are remembered.
const SEEN: usize = 256;

/// Counts first messages, whose `mac1` was right, against the host's limits.
#[derive(Debug)]
pub struct Turnstile {
    tokens: u64,
    since: Instant,
    seen: Deque<ChannelId, SEEN>,
}

impl Turnstile {
    /// Nobody has come yet.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { tokens: BURST, since: now, seen: Deque::new() }
    }

    /// Whether a channel id is new; a first message on an old one is a replay.
    pub fn is_new(&mut self, channel: &ChannelId) -> bool {
        // All-zero is a direct transport, where ids mean nothing.
        if *channel == [0; 16] {
            return true;
        }
        if self.seen.iter().any(|seen| seen == channel) {
            return false;
        }
        if self.seen.is_full() {
            self.seen.pop_front();
        }
        self.seen.push_back(*channel).is_ok()
    }

    /// Lets one handshake in.
    ///
    /// # Errors
    /// [`Failure::Busy`] while there are too many.
    pub fn pass(&mut self, now: Instant, half_open: usize) -> Result<(), Failure> {
        let elapsed = u64::try_from(now.since(self.since).as_micros()).unwrap_or(u64::MAX);
        let gained = elapsed.saturating_mul(RATE) / 1_000_000;
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(BURST);
            self.since = now;
        }
        if half_open >= HALF_OPEN || self.tokens == 0 {
            return Err(Failure::Busy);
        }
        self.tokens = self.tokens.saturating_sub(1);
        Ok(())
    }
}
