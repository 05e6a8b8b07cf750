//! A host's side of a link on which it only waits (protocol 12.7): it registers, and hears of knocks. Devices are served
//! on an ordinary link, which the host dials when there was one.
//!
//! ```text
//! new -> HELLO -> REGISTER -> OK -> registered: KNOCK, KNOCK, .. -> CLOSED 0 -> over
//! ```

use heapless::Deque;

use super::auth::CapId;
use super::claim::Claim;
use super::code::Code;
use super::frame::{Frame, MAX_CONTROL};
use super::limits::{DEAF_TIME, HELLO_TIME, PROBE_TIME};
use super::{Lost, QueueFull, TooLong, Violation};
use crate::crypto::{Identity, Mac, Secret};
use crate::time::Instant;
use crate::wire::Writer;

/// Denials that may wait to be told to the relay.
const DENIALS: usize = 32;

/// What a message meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Devices can wake the host from now on.
    Registered,
    /// A device is at the door: dial an ordinary link, and register there.
    Knock,
    /// The link is over.
    Closed {
        /// Why.
        code: Code,
    },
    /// The relay will stop soon: dial another, then leave.
    Draining,
}

/// A host's side of a link on which it only waits.
#[derive(Debug)]
pub struct WaitLink {
    claim: Claim,
    phase: Phase,
    /// By when the relay has to say the next thing, until the route is registered.
    deadline: Option<Instant>,
    heard: Instant,
    /// By when anything must be heard, after a doubt from outside.
    doubted: Option<Instant>,
    ping_due: bool,
    last: u64,
    denials: Deque<(CapId, u32), DENIALS>,
}

#[derive(Debug)]
enum Phase {
    AwaitHello,
    Register { mac: Mac },
    AwaitOk,
    Registered,
    Over,
}

impl WaitLink {
    /// A fresh link to the relay that was dialled as `relay` (`host[:port]`). `current` and `previous` are the keys
    /// that capabilities are minted with.
    ///
    /// # Errors
    /// [`TooLong`] where `relay` or `operator_key` has more than 64 bytes.
    pub fn new(
        relay: &str,
        route: Identity,
        current: Secret<32>,
        previous: Secret<32>,
        operator_key: Option<&str>,
        now: Instant,
    ) -> Result<Self, TooLong> {
        Ok(Self {
            claim: Claim::new(relay, route, current, previous, operator_key)?,
            phase: Phase::AwaitHello,
            deadline: Some(now + HELLO_TIME),
            heard: now,
            doubted: None,
            ping_due: false,
            last: 0,
            denials: Deque::new(),
        })
    }

    /// Any byte has come, if only to show that the relay is there.
    pub const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.doubted = None;
    }

    /// Takes a message of the relay.
    ///
    /// # Errors
    /// [`Violation`]: hang up.
    pub fn handle(&mut self, now: Instant, message: &[u8]) -> Result<Option<Event>, Violation> {
        if matches!(self.phase, Phase::Over) {
            return Ok(None);
        }
        let (idx, frame) = Frame::parse(message)?;
        self.heard(now);
        match (&self.phase, frame) {
            (_, Frame::Pong(number)) if (1..=self.last).contains(&number) => {}
            (_, Frame::Closed { code: Code::Draining }) if idx == 0 => return Ok(Some(Event::Draining)),
            (_, Frame::Closed { code }) if idx == 0 => {
                self.phase = Phase::Over;
                return Ok(Some(Event::Closed { code }));
            }
            (Phase::AwaitHello, Frame::Hello(hello)) => {
                self.phase = Phase::Register { mac: self.claim.prove(&hello)? };
                self.deadline = Some(now + HELLO_TIME);
            }
            (Phase::AwaitOk, Frame::Ok { .. }) => {
                self.phase = Phase::Registered;
                self.deadline = None;
                return Ok(Some(Event::Registered));
            }
            (Phase::Registered, Frame::Knock) => return Ok(Some(Event::Knock)),
            _ => return Err(Violation::Unexpected),
        }
        Ok(None)
    }

    /// The next message to send, whole; [`MAX_CONTROL`] bytes of room hold any. Call until `None` after every other
    /// call.
    pub fn poll_output(&mut self, out: &mut [u8]) -> Option<usize> {
        if out.len() < MAX_CONTROL {
            return None;
        }
        let mut w = Writer::new(out);
        match self.phase {
            Phase::Register { mac } => {
                Frame::Register(self.claim.register(mac)).emit(0, &mut w).ok()?;
                self.phase = Phase::AwaitOk;
            }
            Phase::Registered if self.ping_due => {
                self.ping_due = false;
                self.last = self.last.saturating_add(1);
                Frame::Ping(self.last).emit(0, &mut w).ok()?;
            }
            Phase::Registered => {
                let (cap_id, until) = self.denials.pop_front()?;
                Frame::CapDeny { cap_id, until }.emit(0, &mut w).ok()?;
            }
            Phase::AwaitHello | Phase::AwaitOk | Phase::Over => return None,
        }
        Some(w.len())
    }

    /// Asks the relay to turn a capability away until then (Unix seconds): it does not wake the host any more.
    ///
    /// # Errors
    /// [`QueueFull`] where 32 such requests wait.
    pub fn deny(&mut self, cap_id: CapId, until: u32) -> Result<(), QueueFull> {
        self.denials.push_back((cap_id, until)).map_err(|_| QueueFull)
    }

    /// Something outside, such as a change of network, may have cut the link: asks the relay at once, and counts the
    /// link as lost where it says nothing within 3 s. Does nothing before the route is registered.
    pub fn probe(&mut self, now: Instant) {
        if self.is_registered() {
            self.ping_due = true;
            // Further doubts leave the first one its time, or a link could be doubted for ever.
            self.doubted.get_or_insert(now + PROBE_TIME);
        }
    }

    /// Tells that a deadline has passed.
    ///
    /// # Errors
    /// [`Lost`] where the relay is not heard: hang up and dial again.
    pub fn handle_timeout(&self, now: Instant) -> Result<(), Lost> {
        if self.poll_timeout().is_some_and(|at| now >= at) { Err(Lost) } else { Ok(()) }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        [self.deadline, self.doubted, Some(self.heard + DEAF_TIME)].into_iter().flatten().min()
    }

    /// Whether the relay has confirmed the route.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Registered)
    }
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
