//! The switch: links come and go, messages pass, deadlines fall due. Who may register and dial is
//! in `admit`.

use core::fmt;
use core::time::Duration;

use heapless::String;
use rand_core::CryptoRng;

use super::index::{Index, RouteSlot};
use super::list::{List, at};
use super::slots::{ChannelSlot, Door, GROUP, LinkSlot, QUEUE, Role, Target};
use super::{AttachError, Code, Config, Counters, Handled, LinkId, Outbox, Slots, Violation};
use crate::crypto::{Identity, Secret};
use crate::hop::{
    DATA, DATA_HEADER_LEN, DEVICE_IDX, Frame, HELLO_TIME, Hello, MAX_CONTROL, PARK_TIME, SILENCE_TIME, VERSION,
    data_header,
};
use crate::time::Instant;
use crate::wire::{MAX_RECORD, Writer};

/// How exactly the time of the last message is kept: reordering a list for each would be waste.
const TICK: Duration = Duration::from_secs(1);

/// The relay, in storage of the caller. Of `routes`, give twice as many as there may be hosts and
/// pairing slots together.
///
/// Times are given as arguments and must not go back.
pub struct Switch<L, C, R> {
    pub(super) config: Config,
    pub(super) links: L,
    pub(super) channels: C,
    pub(super) routes: R,
    pub(super) index: Index,
    pub(super) counters: Counters,
    /// Links that have not said who they are, oldest first.
    pub(super) greeted: List<QUEUE>,
    /// All others, longest silent first.
    pub(super) idle: List<QUEUE>,
    /// Dials that wait for their host, oldest first.
    pub(super) parked: List<GROUP>,
    /// Channels that their host has not accepted, oldest first.
    pub(super) offered: List<QUEUE>,
    pub(super) free_links: List<QUEUE>,
    used_links: u32,
    pub(super) free_channels: List<QUEUE>,
    pub(super) used_channels: u32,
    clock: (Instant, u64),
    /// Checked in place of the host that a dial does not find. Nobody has its keys.
    pub(super) decoy: Door,
}

impl<L: Slots<LinkSlot>, C: Slots<ChannelSlot>, R: Slots<RouteSlot>> Switch<L, C, R> {
    /// A relay without links. `unix` is the time of day at `now`, in seconds since 1970; it
    /// decides whether a capability has expired.
    pub fn new(
        config: Config,
        links: L,
        channels: C,
        routes: R,
        now: Instant,
        unix: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let decoy = Door::new([0; 16], [Secret::random(rng), Secret::random(rng)]);
        Self {
            config,
            links,
            channels,
            routes,
            index: Index::new(seed),
            counters: Counters::default(),
            greeted: List::EMPTY,
            idle: List::EMPTY,
            parked: List::EMPTY,
            offered: List::EMPTY,
            free_links: List::EMPTY,
            used_links: 0,
            free_channels: List::EMPTY,
            used_channels: 0,
            clock: (now, unix),
            decoy,
        }
    }

    /// Corrects the time of day.
    pub const fn set_clock(&mut self, now: Instant, unix: u64) {
        self.clock = (now, unix);
    }

    /// A peer has connected that dialled this relay as `name`. It is greeted with a challenge.
    ///
    /// # Errors
    /// [`AttachError`]: hang up.
    pub fn attach(
        &mut self,
        now: Instant,
        name: &str,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) -> Result<LinkId, AttachError> {
        self.attach_as(now, name, false, rng, out)
    }

    /// The same for a link on which a host only waits to be woken (protocol 12.7). Once it is registered its silence
    /// ends nothing: [`detach`](Self::detach) it where its socket is gone.
    ///
    /// # Errors
    /// [`AttachError`]: hang up.
    pub fn attach_waiting(
        &mut self,
        now: Instant,
        name: &str,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) -> Result<LinkId, AttachError> {
        self.attach_as(now, name, true, rng, out)
    }

    fn attach_as(
        &mut self,
        now: Instant,
        name: &str,
        waits: bool,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) -> Result<LinkId, AttachError> {
        let name = String::try_from(name).map_err(|_| AttachError::Name)?;
        let links = self.links.as_mut();
        let slot = take_slot(&mut self.free_links, &mut self.used_links, links).ok_or(AttachError::Full)?;
        let link = at(links, slot).ok_or(AttachError::Full)?;
        let ephemeral = Identity::generate(rng);
        rng.fill_bytes(&mut link.nonce);
        link.mask = rng.next_u32();
        link.name = name;
        link.waits = waits;
        link.heard = now;
        let hello = Hello { version: VERSION, flags: 0, nonce: link.nonce, ephemeral: *ephemeral.public() };
        link.role = Role::Greeted { ephemeral };
        self.greeted.push(links, slot);
        self.counters.links = self.counters.links.saturating_add(1);
        self.say(slot, 0, &Frame::Hello(hello), out);
        Ok(self.id(slot))
    }

    /// Takes a message of a link. DATA is not copied: its first bytes are rewritten in place.
    ///
    /// # Errors
    /// [`Violation`]: for the log. The link has been told and hung up already.
    pub fn handle(
        &mut self,
        now: Instant,
        link: LinkId,
        message: &mut [u8],
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) -> Result<Handled, Violation> {
        let Some(slot) = self.live(link) else { return Ok(Handled::Done) };
        self.touch(now, slot);
        let handled = if message.first() == Some(&DATA) {
            self.forward(slot, message, out)
        } else {
            self.handle_control(now, slot, message, rng, out).map(|()| Handled::Done)
        };
        if handled.is_err() && self.live(link).is_some() {
            self.dismiss(slot, 0, Code::Protocol, out);
        }
        handled
    }

    /// Does what has fallen due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl Outbox) {
        while let Some(slot) = self.greeted.front().filter(|slot| now >= self.heard(*slot) + HELLO_TIME) {
            self.dismiss(slot, 0, Code::Timeout, out);
        }
        while let Some(slot) = self.idle.front().filter(|slot| now >= self.heard(*slot) + SILENCE_TIME + TICK) {
            self.dismiss(slot, 0, Code::Timeout, out);
        }
        while let Some(slot) = self.parked.front().filter(|slot| now >= self.parked_until(*slot)) {
            self.give_up(slot, out);
        }
        while let Some(number) = self.offered.front().filter(|number| now >= self.offered_until(*number)) {
            self.close_channel(number, Some(Code::Timeout), Some(Code::Timeout), out);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let greeted = self.greeted.front().map(|slot| self.heard(slot) + HELLO_TIME);
        let idle = self.idle.front().map(|slot| self.heard(slot) + SILENCE_TIME + TICK);
        let parked = self.parked.front().map(|slot| self.parked_until(slot));
        let offered = self.offered.front().map(|number| self.offered_until(number));
        [greeted, idle, parked, offered].into_iter().flatten().min()
    }

    /// What there is and what was.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters { parked: self.parked.len(), ..self.counters }
    }

    /// Passes DATA on.
    fn forward(&mut self, slot: u32, message: &mut [u8], out: &mut impl Outbox) -> Result<Handled, Violation> {
        let (header, body) = message.split_first_chunk_mut::<DATA_HEADER_LEN>().ok_or(Violation::Malformed)?;
        let [_, idx @ ..] = *header;
        let len = body.len();
        if !(1..=MAX_RECORD).contains(&len) {
            return Err(Violation::Malformed);
        }
        let Some((number, from_host)) = self.channel_of(slot, u32::from_le_bytes(idx))? else {
            return Ok(Handled::Done);
        };
        let Some(channel) = self.channel(number) else { return Ok(Handled::Done) };
        if from_host && channel.offered.is_some() {
            return Err(Violation::Unexpected);
        }
        let (flow, to, idx) = if from_host {
            (&mut channel.down, channel.device, DEVICE_IDX)
        } else {
            (&mut channel.up, channel.host, channel.idx)
        };
        if !flow.arrive(len) {
            self.close_channel(number, Some(Code::FlowControl), Some(Code::FlowControl), out);
            return Ok(Handled::Done);
        }
        *header = data_header(idx);
        self.counters.bytes = self.counters.bytes.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        Ok(Handled::Forward { to: self.id(to), idx })
    }

    fn handle_control(
        &mut self,
        now: Instant,
        slot: u32,
        message: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) -> Result<(), Violation> {
        let (idx, frame) = Frame::parse(message)?;
        let Some(link) = at(self.links.as_mut(), slot) else { return Ok(()) };
        match (&link.role, frame) {
            (_, Frame::Ping(number)) => self.say(slot, 0, &Frame::Pong(number), out),
            (_, Frame::Closed { .. }) if idx == 0 => self.hang_up(slot, Code::Normal, out),
            (Role::Greeted { .. }, Frame::Register(register)) => self.register(now, slot, &register, rng, out),
            // Devices have no business on a link on which a host waits.
            (Role::Greeted { .. }, _) if link.waits => return Err(Violation::Unexpected),
            (Role::Greeted { .. }, Frame::Dial(dial)) if idx == DEVICE_IDX => {
                self.dial(now, slot, Target::Route(dial), rng, out);
            }
            (Role::Greeted { .. }, Frame::DialPair { rendezvous }) if idx == DEVICE_IDX => {
                self.dial(now, slot, Target::Slot(crate::hop::rv_hash(&rendezvous)), rng, out);
            }
            (Role::Parked(_), Frame::Closed { .. }) if idx == DEVICE_IDX => self.hang_up(slot, Code::Normal, out),
            (Role::Host(_), Frame::PairSlot { rv_hash, ttl }) => {
                self.set_pair_slot(now, slot, &rv_hash, ttl, rng, out);
            }
            (Role::Host(_), Frame::CapDeny { cap_id, until }) => {
                if let Role::Host(host) = &mut link.role {
                    host.door.deny(cap_id, until);
                }
            }
            (Role::Waiting(_), Frame::CapDeny { cap_id, until }) => {
                if let Role::Waiting(waiting) = &mut link.role {
                    waiting.door.deny(cap_id, until);
                }
            }
            (Role::Host(_) | Role::Device { .. }, frame) => return self.handle_channel(slot, idx, frame, out),
            _ => return Err(Violation::Unexpected),
        }
        Ok(())
    }

    pub(super) fn hang_up(&mut self, slot: u32, reason: Code, out: &mut impl Outbox) {
        let link = self.id(slot);
        let far = if reason == Code::Superseded { reason } else { Code::Gone };
        self.end_link(slot, far, out);
        self.forget_if_done(slot);
        out.hang_up(link, reason);
    }

    /// A parked dial gets the answer that says nothing about its host.
    pub(super) fn give_up(&mut self, slot: u32, out: &mut impl Outbox) {
        let code = match at(self.links.as_mut(), slot).map(|link| &link.role) {
            Some(Role::Parked(parked)) => match parked.target {
                Target::Route(_) => Code::NotReachable,
                Target::Slot(_) => Code::PairSlot,
            },
            _ => Code::NotReachable,
        };
        self.refuse(slot, DEVICE_IDX, code, out);
    }

    pub(super) fn refuse(&mut self, slot: u32, idx: u32, code: Code, out: &mut impl Outbox) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        self.dismiss(slot, idx, code, out);
    }

    pub(super) fn say(&mut self, slot: u32, idx: u32, frame: &Frame<'_>, out: &mut impl Outbox) {
        let mut message = [0; MAX_CONTROL];
        let mut w = Writer::new(&mut message);
        if frame.emit(idx, &mut w).is_ok() {
            let len = w.len();
            out.control(self.id(slot), message.get(..len).unwrap_or_default());
        }
    }

    /// Seconds since 1970.
    pub(super) fn unix(&self, now: Instant) -> u64 {
        self.clock.1.saturating_add(now.since(self.clock.0).as_secs())
    }

    /// A greeted link has said who it is.
    pub(super) fn settle(&mut self, now: Instant, slot: u32, role: Role) {
        let links = self.links.as_mut();
        self.greeted.remove(links, slot);
        if let Some(link) = at(links, slot) {
            // It answered the challenge at once: that is a round trip, and the caller's delays.
            link.round_trip = now.since(link.heard).clamp(Duration::from_millis(1), Duration::from_secs(1));
            link.heard = now;
            link.role = role;
            if matches!(link.role, Role::Waiting(_)) {
                return;
            }
        }
        self.idle.push(links, slot);
    }

    pub(super) fn live(&self, link: LinkId) -> Option<u32> {
        let slot = self.links.as_ref().get(link.slot())?;
        let is_live = slot.generation == link.generation && !matches!(slot.role, Role::Free | Role::Leaving);
        is_live.then_some(link.slot)
    }

    pub(super) fn id(&self, slot: u32) -> LinkId {
        let link = usize::try_from(slot).ok().and_then(|slot| self.links.as_ref().get(slot));
        LinkId { slot, generation: link.map_or(0, |link| link.generation) }
    }

    /// The link has said something.
    fn touch(&mut self, now: Instant, slot: u32) {
        let links = self.links.as_mut();
        let Some(link) = at(links, slot) else { return };
        if matches!(link.role, Role::Greeted { .. } | Role::Asked(_) | Role::Waiting(_)) || now.since(link.heard) < TICK
        {
            return;
        }
        link.heard = now;
        self.idle.remove(links, slot);
        self.idle.push(links, slot);
    }

    /// What windows may still grow by. A quarter of the budget is kept for new channels.
    pub(super) const fn spare_budget(&self) -> u64 {
        let growable = self.config.budget.saturating_sub(self.config.budget / 4);
        growable.saturating_sub(self.counters.reserved)
    }

    fn heard(&self, slot: u32) -> Instant {
        let link = usize::try_from(slot).ok().and_then(|slot| self.links.as_ref().get(slot));
        link.map_or(Instant::ZERO, |link| link.heard)
    }

    fn parked_until(&self, slot: u32) -> Instant {
        let link = usize::try_from(slot).ok().and_then(|slot| self.links.as_ref().get(slot));
        match link.map(|link| &link.role) {
            Some(Role::Parked(parked)) => parked.since + PARK_TIME,
            _ => Instant::ZERO,
        }
    }
}

impl<L, C, R> fmt::Debug for Switch<L, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// A free slot: one that was given back, else one that was never used.
pub(super) fn take_slot<T: super::list::Hooked<QUEUE>>(
    free: &mut List<QUEUE>,
    used: &mut u32,
    slots: &mut [T],
) -> Option<u32> {
    if let Some(slot) = free.pop(slots) {
        return Some(slot);
    }
    let slot = *used;
    at(slots, slot)?;
    *used = slot.checked_add(1)?;
    Some(slot)
}
