//! Whether the relay is still there: PING, PONG and silence.

use core::time::Duration;

use super::frame::Frame;
use super::limits::{ANSWER_TIME, FAR_HOP, PROBE_TIME, QUIET_TIME};
use super::{Lost, Violation};
use crate::time::Instant;

/// An endpoint's side of liveness. Silence asks a PING; more silence means the link is lost.
#[derive(Debug)]
pub(super) struct Pulse {
    heard: Instant,
    /// Whether the present silence has led to a PING.
    asked: bool,
    /// By when anything must be heard, after a doubt from outside.
    doubted: Option<Instant>,
    ping_due: bool,
    pong_due: Option<u64>,
    last: u64,
    in_flight: Option<Instant>,
    round_trip: Option<Duration>,
}

impl Pulse {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            heard: now,
            asked: false,
            doubted: None,
            ping_due: false,
            pong_due: None,
            last: 0,
            in_flight: None,
            round_trip: None,
        }
    }

    /// Something arrived.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = false;
        self.doubted = None;
    }

    /// Something outside may have cut the link: ask, and wait for an answer only shortly.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.ping_due = true;
        // Further doubts leave the first one its time, or a link could be doubted for ever.
        self.doubted.get_or_insert(now + PROBE_TIME);
    }

    /// Measure the round trip.
    pub(super) const fn ask(&mut self) {
        self.ping_due = true;
    }

    /// Only the latest PING of the relay gets its answer: a queue would have no bound.
    pub(super) const fn handle_ping(&mut self, number: u64) {
        self.pong_due = Some(number);
    }

    pub(super) fn handle_pong(&mut self, now: Instant, number: u64) -> Result<(), Violation> {
        if number > self.last || number == 0 {
            return Err(Violation::Unexpected);
        }
        if number == self.last
            && let Some(sent) = self.in_flight.take()
        {
            self.round_trip = Some(now.since(sent));
        }
        Ok(())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        if now >= self.lost_at() || self.doubted.is_some_and(|by| now >= by) {
            return Err(Lost);
        }
        if !self.asked && now >= self.heard + QUIET_TIME {
            self.asked = true;
            self.ping_due = true;
        }
        Ok(())
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let quiet = if self.asked { self.lost_at() } else { self.heard + QUIET_TIME };
        self.doubted.map_or(quiet, |doubted| doubted.min(quiet))
    }

    pub(super) fn poll_output(&mut self, now: Instant) -> Option<Frame<'static>> {
        if let Some(number) = self.pong_due.take() {
            return Some(Frame::Pong(number));
        }
        if !self.ping_due {
            return None;
        }
        self.ping_due = false;
        self.last = self.last.saturating_add(1);
        self.in_flight = Some(now);
        Some(Frame::Ping(self.last))
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The time from a grant of credit to the bytes it allows, through the relay and back.
    pub(super) fn credit_loop(&self) -> Duration {
        self.round_trip.unwrap_or_default().saturating_add(FAR_HOP)
    }

    fn lost_at(&self) -> Instant {
        self.heard + QUIET_TIME + ANSWER_TIME
    }
}
