//! A device's side of its link: dials one host and carries one channel, number
//! [`DEVICE_IDX`].
//!
//! ```text
//! new -> HELLO -> DIAL or DIAL_PAIR -> OPENED -> open -> close or CLOSED -> over
//! ```

use core::time::Duration;

use heapless::String;

use super::auth::{Capability, ChannelId, RouteId};
use super::code::Code;
use super::credit::{RecvCredit, SendCredit, Windows};
use super::frame::{DATA_HEADER_LEN, Dial, Frame, MAX_CONTROL, data_header};
use super::limits::{DEVICE_IDX, HELLO_TIME, MAX_NAME, PARK_TIME, VERSION};
use super::pulse::Pulse;
use super::{Lost, TooLong, Violation};
use crate::crypto::Secret;
use crate::time::Instant;
use crate::wire::{MAX_RECORD, Writer};

/// Whom to dial, and by what right.
#[derive(Debug)]
pub enum Purpose {
    /// A host that gave this device a capability.
    Dial {
        /// The host's route.
        route_id: RouteId,
        /// The capability.
        capability: Capability,
    },
    /// A host that waits with a ticket.
    Pair {
        /// The ticket's rendezvous value.
        rendezvous: Secret<16>,
    },
}

/// What a message meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'m> {
    /// The host has been told; the handshake may begin.
    Opened {
        /// The channel's name, part of the handshake's transcript.
        channel_id: ChannelId,
    },
    /// A message of the end-to-end protocol; it is what follows the first
    /// [`DATA_HEADER_LEN`] bytes of the message. Call [`processed`](DeviceLink::processed) once
    /// it takes no more room.
    Data {
        /// The message.
        body: &'m [u8],
    },
    /// The channel is over, and the link with it.
    Closed {
        /// Why.
        code: Code,
    },
    /// More DATA may be sent.
    CreditArrived,
    /// The relay will stop soon: dial another, then leave.
    Draining,
}

/// A device's side of its link.
#[derive(Debug)]
pub struct DeviceLink {
    relay: String<MAX_NAME>,
    purpose: Purpose,
    phase: Phase,
    /// By when the relay has to say the next thing, until the channel is open.
    deadline: Option<Instant>,
    pulse: Pulse,
    send: SendCredit,
    recv: RecvCredit,
    windows: Windows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitHello,
    Dial { nonce: [u8; 32] },
    AwaitOpened,
    Open,
    Closing(Code),
    Over,
}

impl DeviceLink {
    /// A fresh link to the relay that was dialled as `relay` (`host[:port]`).
    ///
    /// # Errors
    /// [`TooLong`] where `relay` has more than 64 bytes.
    pub fn new(relay: &str, purpose: Purpose, now: Instant) -> Result<Self, TooLong> {
        Ok(Self {
            relay: String::try_from(relay).map_err(|_| TooLong)?,
            purpose,
            phase: Phase::AwaitHello,
            deadline: Some(now + HELLO_TIME),
            pulse: Pulse::new(now),
            send: SendCredit::default(),
            recv: RecvCredit::new(Windows::default(), now),
            windows: Windows::default(),
        })
    }

    /// The same with other windows.
    #[must_use]
    pub const fn with_windows(mut self, windows: Windows) -> Self {
        self.windows = windows;
        self
    }

    /// Takes a message of the relay.
    ///
    /// # Errors
    /// [`Violation`]: hang up.
    pub fn handle<'m>(&mut self, now: Instant, message: &'m [u8]) -> Result<Option<Event<'m>>, Violation> {
        if matches!(self.phase, Phase::Closing(_) | Phase::Over) {
            return Ok(None);
        }
        let (idx, frame) = Frame::parse(message)?;
        if idx > DEVICE_IDX {
            return Err(Violation::Unexpected);
        }
        self.pulse.heard(now);
        match (self.phase, frame) {
            (_, Frame::Ping(number)) => self.pulse.handle_ping(number),
            (_, Frame::Pong(number)) => self.pulse.handle_pong(now, number)?,
            (_, Frame::Closed { code: Code::Draining }) if idx == 0 => return Ok(Some(Event::Draining)),
            (_, Frame::Closed { code }) => {
                self.phase = Phase::Over;
                self.deadline = None;
                return Ok(Some(Event::Closed { code }));
            }
            (Phase::AwaitHello, Frame::Hello(hello)) => {
                if hello.version != VERSION {
                    return Err(Violation::Version);
                }
                self.phase = Phase::Dial { nonce: hello.nonce };
                // The host may be away: the relay keeps the dial for a while.
                self.deadline = Some(now + PARK_TIME + HELLO_TIME);
            }
            (Phase::AwaitOpened, Frame::Opened { channel_id, credit }) => {
                self.phase = Phase::Open;
                self.deadline = None;
                self.send = SendCredit::new(credit);
                self.recv = RecvCredit::new(self.windows, now);
                self.pulse.ask();
                return Ok(Some(Event::Opened { channel_id }));
            }
            (Phase::Open, Frame::Data(body)) => {
                if self.recv.receive(body.len()).is_ok() {
                    return Ok(Some(Event::Data { body }));
                }
                self.close(Code::FlowControl);
                return Ok(Some(Event::Closed { code: Code::FlowControl }));
            }
            (Phase::Open, Frame::Credit { bytes }) => {
                self.send.grant(bytes);
                return Ok(Some(Event::CreditArrived));
            }
            _ => return Err(Violation::Unexpected),
        }
        Ok(None)
    }

    /// The next control message to send, whole; [`MAX_CONTROL`] bytes of room hold any. Call
    /// until `None` after every other call. DATA that was sent before a `close` goes first.
    pub fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        if out.len() < MAX_CONTROL || self.phase == Phase::Over {
            return None;
        }
        let mut w = Writer::new(out);
        let (idx, frame) = self.next_frame(now)?;
        frame.emit(idx, &mut w).ok()?;
        Some(w.len())
    }

    /// Ends the channel and the link: once [`poll_output`](Self::poll_output) has nothing more,
    /// hang up.
    pub fn close(&mut self, code: Code) {
        self.phase = match self.phase {
            Phase::Open => Phase::Closing(code),
            Phase::Closing(code) => Phase::Closing(code),
            _ => Phase::Over,
        };
        self.deadline = None;
    }

    /// Bytes of DATA bodies that may be sent now.
    #[must_use]
    pub fn credit(&self) -> usize {
        if self.is_open() { self.send.remaining() } else { 0 }
    }

    /// Spends credit for a DATA body of `len` bytes and gives the bytes to send before it; `None`
    /// where credit lacks or the channel is not open.
    pub fn data_header(&mut self, len: usize) -> Option<[u8; DATA_HEADER_LEN]> {
        let fits = self.is_open() && (1..=MAX_RECORD).contains(&len) && self.send.spend(len);
        fits.then(|| data_header(DEVICE_IDX))
    }

    /// So many bytes that came in [`Event::Data`] take no more room.
    pub fn processed(&mut self, now: Instant, bytes: usize) {
        self.recv.processed(now, bytes, self.pulse.credit_loop());
    }

    /// Tells that a deadline has passed.
    ///
    /// # Errors
    /// [`Lost`] where the relay does not answer: hang up and dial again.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        match self.phase {
            Phase::Closing(_) | Phase::Over => Ok(()),
            _ if self.deadline.is_some_and(|deadline| now >= deadline) => Err(Lost),
            _ => self.pulse.handle_timeout(now),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.phase, self.deadline) {
            (Phase::Closing(_) | Phase::Over, _) => None,
            (_, Some(deadline)) => Some(deadline.min(self.pulse.poll_timeout())),
            (_, None) => Some(self.pulse.poll_timeout()),
        }
    }

    /// Something outside, such as a change of network, may have cut the link: asks the relay at once, and
    /// counts the link as lost where it says nothing within 3 s. Does nothing before the channel is open.
    pub fn probe(&mut self, now: Instant) {
        if self.is_open() {
            self.pulse.doubt(now);
        }
    }

    /// The latest round trip to the relay that was measured.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.pulse.round_trip()
    }

    /// Whether DATA may be sent and received.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the link has no more use.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    fn next_frame(&mut self, now: Instant) -> Option<(u32, Frame<'static>)> {
        if let Phase::Dial { nonce } = self.phase {
            self.phase = Phase::AwaitOpened;
            return Some((DEVICE_IDX, self.dial(&nonce)));
        }
        if let Phase::Closing(code) = self.phase {
            self.phase = Phase::Over;
            return Some((DEVICE_IDX, Frame::Closed { code }));
        }
        if self.phase != Phase::AwaitHello
            && let Some(frame) = self.pulse.poll_output(now)
        {
            return Some((0, frame));
        }
        (self.is_open() && self.recv.is_due()).then(|| (DEVICE_IDX, Frame::Credit { bytes: self.recv.grant() }))
    }

    fn dial(&self, nonce: &[u8; 32]) -> Frame<'static> {
        match &self.purpose {
            Purpose::Dial { route_id, capability } => Frame::Dial(Dial {
                route_id: *route_id,
                cap_id: capability.id,
                expiry: capability.expiry,
                class: capability.class,
                proof: capability.dial_proof(&self.relay, nonce),
            }),
            Purpose::Pair { rendezvous } => Frame::DialPair { rendezvous: *rendezvous.expose() },
        }
    }
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
