//! Whether the peer is there: round trips, not sockets (protocol 10.2).

use core::time::Duration;

use crate::time::Instant;
use crate::wire::{Frame, Writer};

/// An hour and more is as good as never: times to wait and to measure are kept in four bytes.
fn to_micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

pub(super) struct Liveness {
    /// When the peer was last heard of.
    heard: Instant,
    /// When the next round trip is due.
    due: Instant,
    /// When the last ping was sent, while its answer is awaited.
    sent: Option<Instant>,
    /// Of the next ping.
    number: u64,
    pong: Option<u64>,
    /// In microseconds.
    interval: u32,
    /// In microseconds.
    round_trip: Option<u32>,
    ping: bool,
}

/// Nothing was heard for two intervals.
pub(super) struct Silent;

impl Liveness {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        let interval = to_micros(interval);
        Self { heard: now, due: now, sent: None, number: 0, pong: None, interval, round_trip: None, ping: false }
    }

    /// The channel is open: measure at once.
    pub(super) fn begin(&mut self, now: Instant) {
        self.heard = now;
        self.due = now + self.interval();
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
        let under_way = self.number.wrapping_sub(1);
        let sent = self.sent.take_if(|_| number == under_way)?;
        let round_trip = now.since(sent);
        self.round_trip = Some(to_micros(round_trip));
        Some(round_trip)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Silent> {
        if now >= self.silent() {
            return Err(Silent);
        }
        if now >= self.due {
            self.ping = true;
            self.due = now + self.interval();
        }
        Ok(())
    }

    /// Writes a pong that is owed and a ping that is due, and tells whether there was a ping.
    pub(super) fn poll(&mut self, now: Instant, w: &mut Writer<'_>) -> bool {
        if let Some(number) = self.pong
            && Frame::Pong(number).emit(w).is_ok()
        {
            self.pong = None;
        }
        let pings = self.ping && Frame::Ping(self.number).emit(w).is_ok();
        if pings {
            self.sent = Some(now);
            self.number = self.number.wrapping_add(1);
            self.ping = false;
        }
        pings
    }

    pub(super) fn deadline(&self) -> Instant {
        self.due.min(self.silent())
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        match self.round_trip {
            Some(micros) => Some(Duration::from_micros(micros as u64)),
            None => None,
        }
    }

    /// When silence has lasted too long.
    fn silent(&self) -> Instant {
        self.heard + self.interval().saturating_mul(2)
    }

    fn interval(&self) -> Duration {
        Duration::from_micros(self.interval.into())
    }
}
