//! Credit for the bytes of DATA bodies, per channel and direction of one hop (protocol 12.5).

use core::fmt;
use core::time::Duration;

use super::limits::{EARLY_CREDIT, INITIAL_WINDOW, MAX_WINDOW};
use crate::time::Instant;

/// More DATA arrived than credit was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded;

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more data than credit")
    }
}

impl core::error::Error for Exceeded {}

/// How much a receiver may have to hold for a channel, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Bytes to begin with. Up to a quarter of them may be owed, and the rest has to hold a record: with
    /// less than 22 KiB the sender has to keep to smaller ones.
    pub initial: u32,
    /// At most.
    pub max: u32,
}

impl Default for Windows {
    fn default() -> Self {
        Self { initial: INITIAL_WINDOW, max: MAX_WINDOW }
    }
}

/// A window that doubles while it is what limits the sender.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    size: u32,
    max: u32,
    drained: u32,
    since: Instant,
}

impl Window {
    /// A window that has not been used.
    #[must_use]
    pub fn new(windows: Windows, now: Instant) -> Self {
        let size = windows.initial.max(EARLY_CREDIT);
        Self { size, max: windows.max.max(size), drained: 0, since: now }
    }

    /// Bytes of the window.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Counts `bytes` as passed on. True where a whole window was, within two round trips of
    /// `round_trip`: then its size, and not the reader, is what holds the sender back.
    pub fn drained(&mut self, now: Instant, bytes: u32, round_trip: Duration) -> bool {
        self.drained = self.drained.saturating_add(bytes);
        if self.drained < self.size {
            return false;
        }
        let took = now.since(self.since);
        self.drained = 0;
        self.since = now;
        self.size < self.max && took <= round_trip.saturating_mul(2)
    }

    /// Bytes that [`grow`](Self::grow) would add.
    #[must_use]
    pub fn growth(&self) -> u32 {
        self.size.min(self.max.saturating_sub(self.size))
    }

    /// Doubles the window, up to its maximum.
    pub fn grow(&mut self) {
        self.size = self.size.saturating_add(self.growth());
    }
}

/// What a sender may still send.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendCredit {
    remaining: u64,
}

impl SendCredit {
    /// Credit of `bytes`.
    #[must_use]
    pub fn new(bytes: u32) -> Self {
        Self { remaining: bytes.into() }
    }

    /// The receiver takes `bytes` more.
    pub fn grant(&mut self, bytes: u32) {
        self.remaining = self.remaining.saturating_add(bytes.into());
    }

    /// Bytes that may be sent now.
    #[must_use]
    pub fn remaining(&self) -> usize {
        usize::try_from(self.remaining).unwrap_or(usize::MAX)
    }

    /// Spends `bytes`, all of them or none.
    #[must_use]
    pub fn spend(&mut self, bytes: usize) -> bool {
        let left = u64::try_from(bytes).ok().and_then(|bytes| self.remaining.checked_sub(bytes));
        if let Some(left) = left {
            self.remaining = left;
        }
        left.is_some()
    }
}

/// What a receiver has granted, got and passed on. It holds at most a window of bytes.
#[derive(Clone, Copy, Debug)]
pub struct RecvCredit {
    granted: u64,
    received: u64,
    processed: u64,
    window: Window,
}

impl RecvCredit {
    /// A fresh channel, on which the early credit counts as granted.
    #[must_use]
    pub fn new(windows: Windows, now: Instant) -> Self {
        Self { granted: EARLY_CREDIT.into(), received: 0, processed: 0, window: Window::new(windows, now) }
    }

    /// Takes note of a DATA body.
    ///
    /// # Errors
    /// [`Exceeded`] where the sender had no credit for it.
    pub fn receive(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let received = u64::try_from(bytes).ok().and_then(|bytes| self.received.checked_add(bytes));
        match received {
            Some(received) if received <= self.granted => {
                self.received = received;
                Ok(())
            }
            _ => Err(Exceeded),
        }
    }

    /// So many bytes of what was received need no room any more. `round_trip` is the time from
    /// a grant to the bytes it allows.
    pub fn processed(&mut self, now: Instant, bytes: usize, round_trip: Duration) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(self.held());
        self.processed = self.processed.saturating_add(bytes);
        if self.window.drained(now, u32::try_from(bytes).unwrap_or(u32::MAX), round_trip) {
            self.window.grow();
        }
    }

    /// Bytes received and not processed.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.received.saturating_sub(self.processed)
    }

    /// Bytes of the window.
    #[must_use]
    pub const fn window(&self) -> u32 {
        self.window.size()
    }

    /// Whether enough is owed for a CREDIT: a quarter of the window.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.owed() > 0 && self.owed() >= self.window.size() / 4
    }

    /// All bytes that are owed, as granted from now on; the caller tells the sender.
    pub fn grant(&mut self) -> u32 {
        let owed = self.owed();
        self.granted = self.granted.saturating_add(owed.into());
        owed
    }

    fn owed(&self) -> u32 {
        let limit = self.processed.saturating_add(self.window.size().into());
        u32::try_from(limit.saturating_sub(self.granted)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_receiver_grants_its_window_and_no_more() {
        let mut recv = RecvCredit::new(Windows::default(), at(0));
        assert_eq!(recv.receive(4097), Err(Exceeded));
        assert_eq!(recv.receive(4096), Ok(()));
        assert_eq!(recv.grant(), 60 * 1024);
        assert_eq!(recv.grant(), 0);
        assert_eq!(recv.receive(60 * 1024), Ok(()));
        assert_eq!(recv.receive(1), Err(Exceeded));

        // Nothing is owed before a quarter of the window has been processed.
        recv.processed(at(900), 16 * 1024 - 1, RTT);
        assert!(!recv.is_due());
        recv.processed(at(900), 1, RTT);
        assert!(recv.is_due());
        assert_eq!(recv.grant(), 16 * 1024);
    }

    #[test]
    fn the_window_doubles_only_while_it_is_the_limit() {
        let windows = Windows { initial: 64 * 1024, max: 200 * 1024 };
        let mut window = Window::new(windows, at(0));
        assert!(!window.drained(at(10), 64 * 1024 - 1, RTT));
        assert!(window.drained(at(100), 1, RTT), "a window within two round trips");
        window.grow();
        assert_eq!(window.size(), 128 * 1024);
        assert!(!window.drained(at(201), 128 * 1024, RTT), "one millisecond too slow");
        assert!(window.drained(at(202), 128 * 1024, RTT));
        window.grow();
        assert_eq!(window.size(), 200 * 1024, "never beyond the maximum");
        assert!(!window.drained(at(203), 400 * 1024, RTT));
    }

    proptest! {
        #[test]
        fn credit_is_a_sum(steps in proptest::collection::vec((any::<bool>(), 0usize..20_000), 0..200)) {
            let mut recv = RecvCredit::new(Windows::default(), at(0));
            let mut send = SendCredit::new(EARLY_CREDIT);
            let (mut sent, mut done, mut time) = (0u64, 0u64, 0);
            for (sends, bytes) in steps {
                time += 7;
                if sends {
                    if send.spend(bytes) {
                        prop_assert_eq!(recv.receive(bytes), Ok(()), "what the sender may, the receiver takes");
                        sent += bytes as u64;
                    } else {
                        prop_assert!(send.remaining() < bytes);
                    }
                } else {
                    recv.processed(at(time), bytes, RTT);
                    done = sent.min(done + bytes as u64);
                }
                prop_assert_eq!(recv.held(), sent - done);
                prop_assert!(recv.held() <= u64::from(recv.window()));
                prop_assert!(recv.window() <= MAX_WINDOW);
                if recv.is_due() {
                    send.grant(recv.grant());
                }
                // A reader that has read everything leaves three quarters of a window to the sender.
                if recv.held() == 0 {
                    prop_assert!(send.remaining() as u64 > u64::from(recv.window()) * 3 / 4 - 1);
                }
            }
        }
    }
}
