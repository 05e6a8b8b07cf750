//! Whether the peer is there: round trips, not sockets (protocol 10.2).

use core::time::Duration;

use crate::time::Instant;
use crate::wire::{Frame, Writer};

pub(super) struct Liveness {
    interval: Duration,
    /// When the peer was last heard of.
    heard: Instant,
    /// When the next round trip is due.
    due: Instant,
    /// The ping that is under way, and since when.
    sent: Option<(u64, Instant)>,
    number: u64,
    ping: bool,
    pong: Option<u64>,
    round_trip: Option<Duration>,
}

/// Nothing was heard for two intervals.
pub(super) struct Silent;

impl Liveness {
    pub(super) const fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, heard: now, due: now, sent: None, number: 0, ping: false, pong: None, round_trip: None }
    }

    /// The channel is open: measure at once.
    pub(super) fn begin(&mut self, now: Instant) {
        self.heard = now;
        self.due = now + self.interval;
        self.ping = true;
    }

    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) const fn ping_came(&mut self, number: u64) {
        // Several before one answer: the last one counts, so nothing queues.
        self.pong = Some(number);
    }

    /// A measured round trip, if the number is that of the ping under way.
    pub(super) fn pong_came(&mut self, number: u64, now: Instant) -> Option<Duration> {
        let (_, sent) = self.sent.take_if(|(expected, _)| *expected == number)?;
        self.round_trip = Some(now.since(sent));
        self.round_trip
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Silent> {
        if now.since(self.heard) >= self.interval.saturating_mul(2) {
            return Err(Silent);
        }
        if now >= self.due {
            self.ping = true;
            self.due = now + self.interval;
        }
        Ok(())
    }

    /// Writes a pong that is owed and a ping that is due.
    pub(super) fn poll(&mut self, now: Instant, w: &mut Writer<'_>) {
        if let Some(number) = self.pong
            && Frame::Pong(number).emit(w).is_ok()
        {
            self.pong = None;
        }
        if self.ping && Frame::Ping(self.number).emit(w).is_ok() {
            self.sent = Some((self.number, now));
            self.number = self.number.wrapping_add(1);
            self.ping = false;
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.due.min(self.heard + self.interval.saturating_mul(2))
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}
