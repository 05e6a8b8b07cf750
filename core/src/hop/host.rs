//! A host's side of its link: registers a route, answers for the channels that devices open,
//! and keeps each within its credit.
//!
//! ```text
//! new -> HELLO -> REGISTER -> OK -> registered -> CLOSED 0 -> over
//! channel: INCOMING -> accept -> open -> close, CLOSED or the link's end
//!                   `-> refuse
//! ```

use core::time::Duration;

use heapless::{Deque, Vec};

use super::auth::{CapId, ChannelId, RvHash};
use super::claim::Claim;
use super::code::Code;
use super::credit::{RecvCredit, SendCredit, Windows};
use super::frame::{DATA_HEADER_LEN, Frame, Incoming, Kind, MAX_CONTROL, data_header};
use super::limits::HELLO_TIME;
use super::pulse::Pulse;
use super::{Lost, QueueFull, TooLong, Violation};
use crate::crypto::{Identity, Mac, Secret};
use crate::time::Instant;
use crate::wire::{MAX_RECORD, Writer};

/// Refusals that may wait for [`HostLink::poll_output`].
const REFUSALS: usize = 64;
/// Pairing slots that may wait to be told to the relay.
const SLOTS: usize = 8;
/// Denials that may wait to be told to the relay.
const DENIALS: usize = 32;

/// What a message meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'m> {
    /// Devices can reach the host from now on.
    Registered {
        /// How long the relay keeps the registration without hearing anything.
        ttl: Duration,
    },
    /// A device is at the door: [`accept`](HostLink::accept) or [`refuse`](HostLink::refuse) it,
    /// within 10 s. Up to 4 KiB of DATA may come before that.
    Incoming {
        /// The channel's number on this link.
        idx: u32,
        /// The channel's name, part of the handshake's transcript.
        channel_id: ChannelId,
        /// By what right the device is there.
        kind: Kind,
    },
    /// A message of the end-to-end protocol; it is what follows the first
    /// [`DATA_HEADER_LEN`] bytes of the message. Call [`processed`](HostLink::processed) once it
    /// takes no more room.
    Data {
        /// The channel.
        idx: u32,
        /// The message.
        body: &'m [u8],
    },
    /// The channel is over and its number forgotten; with `idx` 0, the whole link.
    Closed {
        /// The channel, or 0.
        idx: u32,
        /// Why.
        code: Code,
    },
    /// More DATA may be sent on the channel.
    CreditArrived {
        /// The channel.
        idx: u32,
    },
    /// The relay will stop soon: dial another, then leave.
    Draining,
}

/// A host's side of its link, for up to `N` channels at once.
#[derive(Debug)]
pub struct HostLink<const N: usize> {
    claim: Claim,
    windows: Windows,
    phase: Phase,
    /// By when the relay has to say the next thing, until the route is registered.
    deadline: Option<Instant>,
    pulse: Pulse,
    channels: Vec<Channel, N>,
    refusals: Deque<(u32, Code), REFUSALS>,
    slots: Vec<(RvHash, u16), SLOTS>,
    denials: Deque<(CapId, u32), DENIALS>,
    /// Whether a channel has something to say; saves the search.
    channel_output: bool,
}

#[derive(Debug)]
enum Phase {
    AwaitHello,
    Register { mac: Mac },
    AwaitOk,
    Registered,
    Over,
}

#[derive(Debug)]
struct Channel {
    idx: u32,
    phase: ChannelPhase,
    send: SendCredit,
    recv: RecvCredit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelPhase {
    Knocking,
    Accepting,
    Open,
    Refusing(Code),
    Closing(Code),
}

impl<const N: usize> HostLink<N> {
    /// A fresh link to the relay that was dialled as `relay` (`host[:port]`). `current` and
    /// `previous` are the keys that capabilities are minted with.
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
            windows: Windows::default(),
            phase: Phase::AwaitHello,
            deadline: Some(now + HELLO_TIME),
            pulse: Pulse::new(now),
            channels: Vec::new(),
            refusals: Deque::new(),
            slots: Vec::new(),
            denials: Deque::new(),
            channel_output: false,
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
    /// [`Violation`]: hang up. Late messages about closed channels are no violation.
    pub fn handle<'m>(&mut self, now: Instant, message: &'m [u8]) -> Result<Option<Event<'m>>, Violation> {
        if matches!(self.phase, Phase::Over) {
            return Ok(None);
        }
        let (idx, frame) = Frame::parse(message)?;
        self.pulse.heard(now);
        match (&self.phase, frame) {
            (_, Frame::Ping(number)) => self.pulse.handle_ping(number),
            (_, Frame::Pong(number)) => self.pulse.handle_pong(now, number)?,
            (_, Frame::Closed { code: Code::Draining }) if idx == 0 => return Ok(Some(Event::Draining)),
            (_, Frame::Closed { code }) if idx == 0 => {
                self.phase = Phase::Over;
                self.deadline = None;
                self.channels.clear();
                return Ok(Some(Event::Closed { idx, code }));
            }
            (Phase::AwaitHello, Frame::Hello(hello)) => {
                self.phase = Phase::Register { mac: self.claim.prove(&hello)? };
                self.deadline = Some(now + HELLO_TIME);
            }
            (Phase::AwaitOk, Frame::Ok { ttl }) => {
                self.phase = Phase::Registered;
                self.deadline = None;
                self.pulse.ask();
                return Ok(Some(Event::Registered { ttl: Duration::from_secs(ttl.into()) }));
            }
            (Phase::Registered, frame) => return self.handle_registered(now, idx, frame),
            _ => return Err(Violation::Unexpected),
        }
        Ok(None)
    }

    /// The next control message to send, whole; [`MAX_CONTROL`] bytes of room hold any. Call
    /// until `None` after every other call. DATA that was sent before a `close` goes first.
    pub fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        if out.len() < MAX_CONTROL {
            return None;
        }
        let mut w = Writer::new(out);
        if let Phase::Register { mac } = self.phase {
            Frame::Register(self.claim.register(mac)).emit(0, &mut w).ok()?;
            self.phase = Phase::AwaitOk;
            return Some(w.len());
        }
        let (idx, frame) = self.next_frame(now)?;
        frame.emit(idx, &mut w).ok()?;
        Some(w.len())
    }

    /// Takes the channel. False where it is over or was answered before.
    pub fn accept(&mut self, idx: u32) -> bool {
        self.answer(idx, ChannelPhase::Accepting)
    }

    /// Does not take the channel. False where it is over or was answered before.
    pub fn refuse(&mut self, idx: u32, code: Code) -> bool {
        self.answer(idx, ChannelPhase::Refusing(code))
    }

    /// Ends the channel; what the device still sends on it is ignored.
    pub fn close(&mut self, idx: u32, code: Code) {
        if let Some(channel) = self.channel(idx) {
            channel.phase = match channel.phase {
                ChannelPhase::Knocking => ChannelPhase::Refusing(code),
                ChannelPhase::Accepting | ChannelPhase::Open => ChannelPhase::Closing(code),
                over => over,
            };
            self.channel_output = true;
        }
    }

    /// Lets devices dial with the rendezvous value of this hash, for `ttl` seconds; 0 ends that.
    ///
    /// # Errors
    /// [`QueueFull`] where 8 such requests wait.
    pub fn set_pair_slot(&mut self, rv_hash: RvHash, ttl: u16) -> Result<(), QueueFull> {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.0 == rv_hash) {
            slot.1 = ttl;
            return Ok(());
        }
        self.slots.push((rv_hash, ttl)).map_err(|_| QueueFull)
    }

    /// Asks the relay to turn a capability away until then (Unix seconds). The relay remembers a
    /// few; the host itself has to refuse what it revoked.
    ///
    /// # Errors
    /// [`QueueFull`] where 32 such requests wait.
    pub fn deny(&mut self, cap_id: CapId, until: u32) -> Result<(), QueueFull> {
        self.denials.push_back((cap_id, until)).map_err(|_| QueueFull)
    }

    /// Bytes of DATA bodies that may be sent on the channel now.
    #[must_use]
    pub fn credit(&self, idx: u32) -> usize {
        let open = self.channels.iter().find(|c| c.idx == idx && c.phase == ChannelPhase::Open);
        open.map_or(0, |channel| channel.send.remaining())
    }

    /// Spends credit for a DATA body of `len` bytes and gives the bytes to send before it; `None`
    /// where credit lacks or the channel is not open.
    pub fn data_header(&mut self, idx: u32, len: usize) -> Option<[u8; DATA_HEADER_LEN]> {
        if !(1..=MAX_RECORD).contains(&len) {
            return None;
        }
        let channel = self.channel(idx).filter(|channel| channel.phase == ChannelPhase::Open)?;
        channel.send.spend(len).then(|| data_header(idx))
    }

    /// So many bytes that came in [`Event::Data`] take no more room.
    pub fn processed(&mut self, now: Instant, idx: u32, bytes: usize) {
        let credit_loop = self.pulse.credit_loop();
        let Some(channel) = self.channel(idx) else { return };
        channel.recv.processed(now, bytes, credit_loop);
        if channel.recv.is_due() {
            self.channel_output = true;
        }
    }

    /// Tells that a deadline has passed.
    ///
    /// # Errors
    /// [`Lost`] where the relay does not answer: hang up and dial again.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        match self.phase {
            Phase::Over => Ok(()),
            _ if self.deadline.is_some_and(|deadline| now >= deadline) => Err(Lost),
            _ => self.pulse.handle_timeout(now),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (&self.phase, self.deadline) {
            (Phase::Over, _) => None,
            (_, Some(deadline)) => Some(deadline.min(self.pulse.poll_timeout())),
            (_, None) => Some(self.pulse.poll_timeout()),
        }
    }

    /// Something outside, such as a change of network, may have cut the link: asks the relay at once, and
    /// counts the link as lost where it says nothing within 3 s. Does nothing before the route is registered.
    pub fn probe(&mut self, now: Instant) {
        if self.is_registered() {
            self.pulse.doubt(now);
        }
    }

    /// The latest round trip to the relay that was measured.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.pulse.round_trip()
    }

    /// Whether the relay has confirmed the route.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Registered)
    }

    /// Channels that are not over.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    fn handle_registered<'m>(
        &mut self,
        now: Instant,
        idx: u32,
        frame: Frame<'m>,
    ) -> Result<Option<Event<'m>>, Violation> {
        if let Frame::Incoming(incoming) = frame {
            if self.channel(idx).is_some() {
                return Err(Violation::Unexpected);
            }
            let channel = Channel {
                idx,
                phase: ChannelPhase::Knocking,
                send: SendCredit::new(incoming.credit),
                recv: RecvCredit::new(self.windows, now),
            };
            if self.channels.push(channel).is_err() {
                self.refusals.push_back((idx, Code::Busy)).map_err(|_| Violation::Flood)?;
                return Ok(None);
            }
            let Incoming { channel_id, kind, .. } = incoming;
            return Ok(Some(Event::Incoming { idx, channel_id, kind }));
        }
        let position = self.channels.iter().position(|channel| channel.idx == idx);
        // A number that is not in the table belongs to a channel that has just ended.
        let channel = position.and_then(|at| self.channels.get_mut(at));
        let ending = |phase| matches!(phase, ChannelPhase::Refusing(_) | ChannelPhase::Closing(_));
        match (frame, channel, position) {
            (Frame::Data(body), Some(channel), _) if !ending(channel.phase) => {
                if channel.recv.receive(body.len()).is_ok() {
                    return Ok(Some(Event::Data { idx, body }));
                }
                self.close(idx, Code::FlowControl);
                Ok(Some(Event::Closed { idx, code: Code::FlowControl }))
            }
            (Frame::Credit { bytes }, Some(channel), _) if !ending(channel.phase) => {
                channel.send.grant(bytes);
                // Before ACCEPT nothing may be sent, whatever the credit.
                Ok((channel.phase == ChannelPhase::Open).then_some(Event::CreditArrived { idx }))
            }
            (Frame::Closed { code }, Some(channel), Some(at)) => {
                let told = ending(channel.phase);
                self.channels.swap_remove(at);
                Ok((!told).then_some(Event::Closed { idx, code }))
            }
            (Frame::Data(_) | Frame::Credit { .. } | Frame::Closed { .. }, _, _) => Ok(None),
            _ => Err(Violation::Unexpected),
        }
    }

    fn next_frame(&mut self, now: Instant) -> Option<(u32, Frame<'static>)> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        if let Some(frame) = self.pulse.poll_output(now) {
            return Some((0, frame));
        }
        if !self.is_registered() {
            return None;
        }
        if !self.slots.is_empty() {
            let (rv_hash, ttl) = self.slots.remove(0);
            return Some((0, Frame::PairSlot { rv_hash, ttl }));
        }
        if let Some((cap_id, until)) = self.denials.pop_front() {
            return Some((0, Frame::CapDeny { cap_id, until }));
        }
        if let Some((idx, code)) = self.refusals.pop_front() {
            return Some((idx, Frame::Refuse { code }));
        }
        if !self.channel_output {
            return None;
        }
        let said = self.next_of_channels();
        self.channel_output = said.is_some();
        said
    }

    fn next_of_channels(&mut self) -> Option<(u32, Frame<'static>)> {
        let wants = |c: &Channel| match c.phase {
            ChannelPhase::Knocking => false,
            ChannelPhase::Open => c.recv.is_due(),
            ChannelPhase::Accepting | ChannelPhase::Refusing(_) | ChannelPhase::Closing(_) => true,
        };
        let at = self.channels.iter().position(wants)?;
        let channel = self.channels.get_mut(at)?;
        let idx = channel.idx;
        let frame = match channel.phase {
            ChannelPhase::Accepting => {
                channel.phase = ChannelPhase::Open;
                Frame::Accept { credit: channel.recv.grant() }
            }
            ChannelPhase::Refusing(code) => Frame::Refuse { code },
            ChannelPhase::Closing(code) => Frame::Closed { code },
            ChannelPhase::Knocking | ChannelPhase::Open => Frame::Credit { bytes: channel.recv.grant() },
        };
        if matches!(frame, Frame::Refuse { .. } | Frame::Closed { .. }) {
            self.channels.swap_remove(at);
        }
        Some((idx, frame))
    }

    fn answer(&mut self, idx: u32, answer: ChannelPhase) -> bool {
        match self.channel(idx) {
            Some(channel) if channel.phase == ChannelPhase::Knocking => {
                channel.phase = answer;
                self.channel_output = true;
                true
            }
            _ => false,
        }
    }

    fn channel(&mut self, idx: u32) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.idx == idx)
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
