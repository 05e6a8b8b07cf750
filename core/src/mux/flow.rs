//! Credit: absolute byte limits that only grow (protocol 9.4), and windows that follow the
//! measured round trip (9.5).

use core::time::Duration;

use super::Violation;
use crate::time::Instant;

/// What may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCredit {
    sent: u64,
    limit: u64,
}

impl SendCredit {
    /// Nothing sent, `limit` bytes allowed.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { sent: 0, limit }
    }

    /// Bytes sent so far.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that may be sent now.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.limit.saturating_sub(self.sent)
    }

    /// Counts bytes as sent; the caller stays within [`available`](Self::available).
    pub const fn spend(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.available(), "sent more than was allowed");
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Takes back what was sent beyond `offset`, and tells how many bytes that were.
    pub const fn rewind(&mut self, offset: u64) -> u64 {
        let lost = self.sent.saturating_sub(offset);
        self.sent = self.sent.saturating_sub(lost);
        lost
    }

    /// Takes back `bytes` that were lost and will be sent again.
    pub const fn refund(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_sub(bytes);
    }

    /// Takes a limit from the peer and tells whether it was news: an old or repeated one is not.
    pub const fn raise(&mut self, limit: u64) -> bool {
        let is_news = limit > self.limit;
        if is_news {
            self.limit = limit;
        }
        is_news
    }
}

/// What the peer may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvCredit {
    received: u64,
    consumed: u64,
    limit: u64,
    mark: u64,
    mark_at: Instant,
    window: u32,
    most: u32,
}

impl RecvCredit {
    /// A window of `window` bytes, already announced, that may grow to `most`.
    #[must_use]
    pub const fn new(window: u32, most: u32, now: Instant) -> Self {
        Self { received: 0, consumed: 0, limit: window as u64, mark: 0, mark_at: now, window, most }
    }

    /// Bytes received so far.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The limit announced last.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The window, in bytes.
    #[must_use]
    pub const fn window(&self) -> u32 {
        self.window
    }

    /// Raises the window to `window`, as far as it may grow.
    pub fn widen(&mut self, window: u32) {
        self.window = self.window.max(window.min(self.most));
    }

    /// From now on the window is at most `most`: one that is larger shrinks to it. What was announced stays so.
    pub fn bound(&mut self, most: u32) {
        self.most = most;
        self.window = self.window.min(most);
    }

    /// Bytes received that the application has not consumed.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.received.saturating_sub(self.consumed)
    }

    /// Whether `bytes` more are within the limit.
    ///
    /// # Errors
    /// [`Violation::FlowControl`] where they are not.
    pub const fn check(&self, bytes: u64) -> Result<(), Violation> {
        if bytes > self.limit.saturating_sub(self.received) { Err(Violation::FlowControl) } else { Ok(()) }
    }

    /// Counts bytes as received, after [`check`](Self::check).
    pub const fn receive(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// Counts bytes as consumed, never more than were received. A window that was drained within
    /// two round trips was too small and doubles.
    pub fn consume(&mut self, bytes: u64, now: Instant, round_trip: Duration) {
        self.consumed = self.consumed.saturating_add(bytes).min(self.received);
        if self.consumed.saturating_sub(self.mark) >= self.window.into() {
            if now.since(self.mark_at) < round_trip.saturating_mul(2) {
                self.widen(self.window.saturating_mul(2));
            }
            self.mark = self.consumed;
            self.mark_at = now;
        }
    }

    /// The limit to announce for a stream, if enough is owed: what was consumed, plus a window.
    #[must_use]
    pub fn due_on_consumption(&self) -> Option<u64> {
        self.due(self.consumed.saturating_add(self.window.into()))
    }

    /// The limit to announce for a session, if enough is owed: a window above what was received,
    /// so that streams which nobody reads do not stop the others, within a `cap` of memory.
    #[must_use]
    pub fn due_within(&self, cap: u32) -> Option<u64> {
        let (window, cap) = (u64::from(self.window), u64::from(cap));
        self.due(self.received.saturating_add(window).min(self.consumed.saturating_add(cap)))
    }

    fn due(&self, target: u64) -> Option<u64> {
        (target.saturating_sub(self.limit) >= u64::from(self.window / 4)).then_some(target)
    }

    /// Counts a limit as announced.
    pub fn announce(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }
}
