//! The switch: links come and go, messages pass, deadlines fall due. Who may register and dial is
//! in `admit`.

use core::fmt;
use core::time::Duration;

use heapless::String;
use rand_core::CryptoRng;

use super::index::{Index, Key, RouteSlot};
use super::list::{List, at};
use super::slots::{Channel, ChannelSlot, GROUP, LinkSlot, MAX_CHANNELS, QUEUE, Role, Target, slot_of};
use super::{AttachError, Code, Config, Counters, Handled, LinkId, Outbox, Slots, Violation};
use crate::crypto::Identity;
use crate::hop::{
    ACCEPT_TIME, DATA, DATA_HEADER_LEN, DEVICE_IDX, Frame, HELLO_TIME, Hello, MAX_CONTROL, PARK_TIME, SILENCE_TIME,
    VERSION, Windows, data_header,
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
    free_links: List<QUEUE>,
    used_links: u32,
    free_channels: List<QUEUE>,
    used_channels: u32,
    clock: (Instant, u64),
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
        let name = String::try_from(name).map_err(|_| AttachError::Name)?;
        let links = self.links.as_mut();
        let slot = take_slot(&mut self.free_links, &mut self.used_links, links).ok_or(AttachError::Full)?;
        let link = at(links, slot).ok_or(AttachError::Full)?;
        let ephemeral = Identity::generate(rng);
        rng.fill_bytes(&mut link.nonce);
        link.mask = rng.next_u32();
        link.name = name;
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

    /// So many bytes of DATA bodies of channel `idx` have left for the socket of `link`, and the
    /// relay holds them no more. This is what makes room for the sender.
    pub fn sent(&mut self, now: Instant, link: LinkId, idx: u32, bytes: usize, out: &mut impl Outbox) {
        let Some(slot) = self.live(link) else { return };
        // What leaves for the host came up from the device.
        let Ok(Some((number, up))) = self.channel_of(slot, idx) else { return };
        let Some(channel) = self.channel(number) else { return };
        let sender = if up { channel.device } else { channel.host };
        let round_trip = at(self.links.as_mut(), sender).map_or(Duration::ZERO, |link| link.round_trip);
        let spare = self.spare_budget();
        let Some(flow) = self.channel(number).map(|c| if up { &mut c.up } else { &mut c.down }) else { return };
        if flow.leave(now, bytes, round_trip) && u64::from(flow.growth()) <= spare {
            let growth = flow.growth();
            flow.grow();
            self.counters.reserved = self.counters.reserved.saturating_add(growth.into());
        }
        self.tell_credit(number, up, out);
    }

    /// The link's socket is gone.
    pub fn detach(&mut self, link: LinkId, out: &mut impl Outbox) {
        if let Some(slot) = self.live(link) {
            self.end_link(slot, Code::Gone, out);
        }
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
                    host.deny(cap_id, until);
                }
            }
            (Role::Host(_) | Role::Device { .. }, frame) => return self.handle_channel(slot, idx, frame, out),
            _ => return Err(Violation::Unexpected),
        }
        Ok(())
    }

    fn handle_channel(
        &mut self,
        slot: u32,
        idx: u32,
        frame: Frame<'_>,
        out: &mut impl Outbox,
    ) -> Result<(), Violation> {
        let answers = matches!(frame, Frame::Accept { .. } | Frame::Refuse { .. });
        if !answers && !matches!(frame, Frame::Credit { .. } | Frame::Closed { .. }) {
            return Err(Violation::Unexpected);
        }
        // A number without a channel is that of one that has just ended.
        let Some((number, from_host)) = self.channel_of(slot, idx)? else { return Ok(()) };
        let Some(channel) = self.channel(number) else { return Ok(()) };
        let offered = channel.offered.is_some();
        if answers && !(from_host && offered) {
            return Err(Violation::Unexpected);
        }
        match frame {
            Frame::Accept { credit } => {
                channel.offered = None;
                channel.up.allow(credit);
                self.offered.remove(self.channels.as_mut(), number);
                self.tell_credit(number, true, out);
            }
            Frame::Refuse { code } => self.close_channel(number, None, Some(code), out),
            Frame::Credit { .. } if from_host && offered => return Err(Violation::Unexpected),
            Frame::Credit { bytes } => {
                if from_host { &mut channel.up } else { &mut channel.down }.allow(bytes);
                self.tell_credit(number, from_host, out);
            }
            Frame::Closed { code } if from_host => self.close_channel(number, None, Some(code), out),
            Frame::Closed { code } => {
                self.close_channel(number, Some(code), None, out);
                self.hang_up(slot, Code::Normal, out);
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells the sender of one direction what it may send more.
    fn tell_credit(&mut self, number: u32, up: bool, out: &mut impl Outbox) {
        let Some(channel) = self.channel(number) else { return };
        let (flow, to, idx) = if up {
            (&mut channel.up, channel.device, DEVICE_IDX)
        } else {
            (&mut channel.down, channel.host, channel.idx)
        };
        if let Some(bytes) = flow.grant() {
            self.say(to, idx, &Frame::Credit { bytes }, out);
        }
    }

    /// A slot for a channel that takes its windows from the budget; `None` where there is none.
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        host: u32,
        device: u32,
        idx: impl Fn(u32, u32) -> u32,
    ) -> Option<u32> {
        let windows = Windows { initial: self.config.window, max: self.config.max_window };
        let mut channel = Channel::new(host, device, 0, windows, now);
        let reserved = self.counters.reserved.saturating_add(channel.reserved());
        if reserved > self.config.budget {
            return None;
        }
        let slots = self.channels.as_mut();
        let usable = slots.len().min(usize::try_from(MAX_CHANNELS).unwrap_or(usize::MAX));
        let slots = slots.get_mut(..usable)?;
        let number = take_slot(&mut self.free_channels, &mut self.used_channels, slots)?;
        let slot = at(slots, number)?;
        // 0 is the link itself.
        while channel.idx == 0 {
            slot.generation = slot.generation.wrapping_add(1);
            channel.idx = idx(number, slot.generation);
        }
        slot.channel = Some(channel);
        self.offered.push(slots, number);
        self.counters.reserved = reserved;
        self.counters.channels = self.counters.channels.saturating_add(1);
        Some(number)
    }

    /// Ends a channel, tells its ends where a code is given, and with it hangs up the device.
    pub(super) fn close_channel(
        &mut self,
        number: u32,
        to_host: Option<Code>,
        to_device: Option<Code>,
        out: &mut impl Outbox,
    ) {
        let slots = self.channels.as_mut();
        let Some(channel) = at(slots, number).and_then(|slot| slot.channel.take()) else { return };
        if channel.offered.is_some() {
            self.offered.remove(slots, number);
        }
        if let Some(LinkSlot { role: Role::Host(host), .. }) = at(self.links.as_mut(), channel.host) {
            host.channels.remove(slots, number);
        }
        self.free_channels.push(slots, number);
        self.counters.reserved = self.counters.reserved.saturating_sub(channel.reserved());
        self.counters.channels = self.counters.channels.saturating_sub(1);
        if let Some(code) = to_host {
            self.say(channel.host, channel.idx, &Frame::Closed { code }, out);
        }
        if let Some(code) = to_device {
            self.dismiss(channel.device, DEVICE_IDX, code, out);
        }
    }

    /// Says why, then hangs up.
    pub(super) fn dismiss(&mut self, slot: u32, idx: u32, code: Code, out: &mut impl Outbox) {
        self.say(slot, idx, &Frame::Closed { code }, out);
        self.hang_up(slot, code, out);
    }

    pub(super) fn hang_up(&mut self, slot: u32, reason: Code, out: &mut impl Outbox) {
        let link = self.id(slot);
        let far = if reason == Code::Superseded { reason } else { Code::Gone };
        self.end_link(slot, far, out);
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

    pub(super) fn channel(&mut self, number: u32) -> Option<&mut Channel> {
        at(self.channels.as_mut(), number)?.channel.as_mut()
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
        }
        self.idle.push(links, slot);
    }

    /// Forgets a link; the far ends of its channels hear `far`.
    fn end_link(&mut self, slot: u32, far: Code, out: &mut impl Outbox) {
        let Some(link) = at(self.links.as_mut(), slot) else { return };
        match &link.role {
            Role::Free => return,
            Role::Greeted { .. } => {}
            Role::Host(host) => {
                self.index.remove(self.routes.as_mut(), Key::Route, &host.route_id);
                for pair_slot in &host.pair_slots {
                    self.index.remove(self.routes.as_mut(), Key::Pair, &pair_slot.rv_hash);
                }
                self.counters.hosts = self.counters.hosts.saturating_sub(1);
                while let Some(number) = self.first_channel(slot) {
                    self.close_channel(number, None, Some(far), out);
                }
            }
            Role::Parked(_) => self.parked.remove(self.links.as_mut(), slot),
            Role::Device { channel } => {
                let channel = *channel;
                self.close_channel(channel, Some(far), None, out);
            }
        }
        let links = self.links.as_mut();
        let Some(link) = at(links, slot) else { return };
        let role = core::mem::replace(&mut link.role, Role::Free);
        link.generation = link.generation.wrapping_add(1);
        if matches!(role, Role::Greeted { .. }) {
            self.greeted.remove(links, slot);
        } else {
            self.idle.remove(links, slot);
        }
        self.free_links.push(links, slot);
        self.counters.links = self.counters.links.saturating_sub(1);
    }

    fn first_channel(&mut self, slot: u32) -> Option<u32> {
        match &at(self.links.as_mut(), slot)?.role {
            Role::Host(host) => host.channels.front(),
            _ => None,
        }
    }

    /// The channel of this number on a link, and whether the link is its host.
    fn channel_of(&mut self, slot: u32, idx: u32) -> Result<Option<(u32, bool)>, Violation> {
        let link = at(self.links.as_mut(), slot).ok_or(Violation::Unexpected)?;
        match link.role {
            Role::Host(_) => {
                let number = slot_of(idx, link.mask);
                let own = self.channel(number).is_some_and(|channel| channel.host == slot && channel.idx == idx);
                Ok(own.then_some((number, true)))
            }
            Role::Device { channel } if idx == DEVICE_IDX => Ok(Some((channel, false))),
            _ => Err(Violation::Unexpected),
        }
    }

    fn live(&self, link: LinkId) -> Option<u32> {
        let slot = self.links.as_ref().get(link.slot())?;
        (slot.generation == link.generation && !matches!(slot.role, Role::Free)).then_some(link.slot)
    }

    pub(super) fn id(&self, slot: u32) -> LinkId {
        let link = usize::try_from(slot).ok().and_then(|slot| self.links.as_ref().get(slot));
        LinkId { slot, generation: link.map_or(0, |link| link.generation) }
    }

    /// The link has said something.
    fn touch(&mut self, now: Instant, slot: u32) {
        let links = self.links.as_mut();
        let Some(link) = at(links, slot) else { return };
        if matches!(link.role, Role::Greeted { .. }) || now.since(link.heard) < TICK {
            return;
        }
        link.heard = now;
        self.idle.remove(links, slot);
        self.idle.push(links, slot);
    }

    /// What windows may still grow by. A quarter of the budget is kept for new channels.
    const fn spare_budget(&self) -> u64 {
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

    fn offered_until(&self, number: u32) -> Instant {
        let slot = usize::try_from(number).ok().and_then(|number| self.channels.as_ref().get(number));
        let offered = slot.and_then(|slot| slot.channel).and_then(|channel| channel.offered);
        offered.map_or(Instant::ZERO, |offered| offered + ACCEPT_TIME)
    }
}

impl<L, C, R> fmt::Debug for Switch<L, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// A free slot: one that was given back, else one that was never used.
fn take_slot<T: super::list::Hooked<QUEUE>>(free: &mut List<QUEUE>, used: &mut u32, slots: &mut [T]) -> Option<u32> {
    if let Some(slot) = free.pop(slots) {
        return Some(slot);
    }
    let slot = *used;
    at(slots, slot)?;
    *used = slot.checked_add(1)?;
    Some(slot)
}
