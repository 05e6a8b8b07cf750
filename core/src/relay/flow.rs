//! One direction of a channel: what came in, what has left, what may still come.

use core::time::Duration;

use crate::hop::{EARLY_CREDIT, Window, Windows};
use crate::time::Instant;

/// Counts bytes of DATA bodies since the channel opened. Always
/// `left <= arrived <= granted <= min(allowed, left + window)`, the last at the time of granting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    window: Window,
    arrived: u64,
    left: u64,
    granted: u64,
    allowed: u64,
}

impl Flow {
    pub(super) fn new(windows: Windows, now: Instant) -> Self {
        let early = EARLY_CREDIT.into();
        Self { window: Window::new(windows, now), arrived: 0, left: 0, granted: early, allowed: early }
    }

    /// Bytes that the relay may have to hold.
    pub(super) const fn reserved(&self) -> u32 {
        self.window.size()
    }

    /// Bytes that the relay holds.
    pub(super) const fn held(&self) -> u64 {
        self.arrived.saturating_sub(self.left)
    }

    /// The sender sent so much. False where it had no credit for that.
    pub(super) fn arrive(&mut self, bytes: usize) -> bool {
        let arrived = u64::try_from(bytes).ok().and_then(|bytes| self.arrived.checked_add(bytes));
        match arrived {
            Some(arrived) if arrived <= self.granted => {
                self.arrived = arrived;
                true
            }
            _ => false,
        }
    }

    /// The receiver takes so much more.
    pub(super) fn allow(&mut self, bytes: u32) {
        self.allowed = self.allowed.saturating_add(bytes.into());
    }

    /// So much has left for the receiver's socket. True where the window should grow.
    pub(super) fn leave(&mut self, now: Instant, bytes: usize, round_trip: Duration) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(self.held());
        self.left = self.left.saturating_add(bytes);
        self.window.drained(now, u32::try_from(bytes).unwrap_or(u32::MAX), round_trip)
    }

    pub(super) fn growth(&self) -> u32 {
        self.window.growth()
    }

    pub(super) fn grow(&mut self) {
        self.window.grow();
    }

    /// Credit to tell the sender. What the receiver grants comes in large pieces already and is
    /// passed on; what the relay grants itself waits until it is a quarter of the window.
    pub(super) fn grant(&mut self) -> Option<u32> {
        let own = self.left.saturating_add(self.window.size().into());
        let limit = self.allowed.min(own);
        let owed = u32::try_from(limit.saturating_sub(self.granted)).unwrap_or(u32::MAX);
        let is_due = owed > 0 && (limit == self.allowed || owed >= self.window.size() / 4);
        is_due.then(|| {
            self.granted = self.granted.saturating_add(owed.into());
            owed
        })
    }
}
