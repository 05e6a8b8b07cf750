//! Who may register, who may dial, and who is joined with whom.

use core::time::Duration;

use rand_core::CryptoRng;

use super::index::{Key, RouteSlot};
use super::list::{List, at};
use super::slots::{ChannelSlot, Door, GROUP, Host, LinkSlot, PairSlot, Parked, Role, Target, Waiting, channel_idx};
use super::{Ask, Code, LinkId, Outbox, Slots, Switch};
use crate::crypto::{Secret, same};
use crate::hop::{
    DEVICE_IDX, Dial, EARLY_CREDIT, Frame, Incoming, Kind, Register, RouteId, RvHash, SILENCE_TIME, operator_hash,
    register_mac, route_id,
};
use crate::time::Instant;

/// The longest life of a pairing slot.
const MAX_PAIR_TIME: u16 = 600;

/// What a parked dial has found.
enum Verdict {
    /// Nobody, or nothing that it may know of.
    Wait,
    Open {
        host: u32,
        kind: Kind,
    },
    Refuse(Code),
}

impl<L: Slots<LinkSlot>, C: Slots<ChannelSlot>, R: Slots<RouteSlot>> Switch<L, C, R> {
    /// A host asks for its route.
    pub(super) fn register(
        &mut self,
        now: Instant,
        slot: u32,
        register: &Register<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) {
        let known = self.config.operator.is_none_or(|hash| same(&hash, &operator_hash(register.operator_key)));
        if !known || !self.proves_route(slot, register) {
            return self.refuse(slot, 0, Code::Denied, out);
        }
        let route_id = route_id(&register.route);
        let door = Door::new(route_id, [Secret::new(*register.current), Secret::new(*register.previous)]);
        if !self.config.ask {
            return self.enrol(now, slot, door, rng, out);
        }
        if let Some(link) = at(self.links.as_mut(), slot) {
            link.role = Role::Asked(door);
            let ask = Ask { route_id, key_hash: operator_hash(register.operator_key) };
            out.ask(self.id(slot), &ask);
        }
    }

    /// Lets a host in that [`Outbox::ask`] asked about. Does nothing where it has gone.
    pub fn admit(&mut self, now: Instant, link: LinkId, rng: &mut (impl CryptoRng + ?Sized), out: &mut impl Outbox) {
        let Some(slot) = self.live(link) else { return };
        let Some(asked) = at(self.links.as_mut(), slot) else { return };
        if !matches!(asked.role, Role::Asked(_)) {
            return;
        }
        if let Role::Asked(door) = core::mem::replace(&mut asked.role, Role::Free) {
            self.enrol(now, slot, door, rng, out);
        }
    }

    /// Ends a link for a reason of the caller's, at whatever stage it is; a host that waits to be let in is refused.
    /// Does nothing where it has gone.
    pub fn deny(&mut self, link: LinkId, code: Code, out: &mut impl Outbox) {
        let Some(slot) = self.live(link) else { return };
        let idx = match at(self.links.as_mut(), slot).map(|link| &link.role) {
            Some(Role::Parked(_) | Role::Device { .. }) => DEVICE_IDX,
            _ => 0,
        };
        self.refuse(slot, idx, code, out);
    }

    /// A host gets its route.
    fn enrol(
        &mut self,
        now: Instant,
        slot: u32,
        door: Door,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) {
        let route_id = door.route_id;
        // Only now, after the proof: the same host has come back before its old link was missed.
        let waits = at(self.links.as_mut(), slot).is_some_and(|link| link.waits);
        // A host that waits, and the same one attached, leave each other in peace.
        let key = if waits { Key::Waiting } else { Key::Route };
        if let Some(old) = self.index.find(self.routes.as_ref(), key, &route_id) {
            self.dismiss(old, 0, Code::Superseded, out);
        }
        if !self.index.insert(self.routes.as_mut(), key, &route_id, slot) {
            if let Some(link) = at(self.links.as_mut(), slot) {
                link.role = Role::Asked(door);
            }
            return self.refuse(slot, 0, Code::Busy, out);
        }
        let ttl = if waits {
            self.settle(now, slot, Role::Waiting(Waiting::new(door)));
            self.counters.waiting = self.counters.waiting.saturating_add(1);
            0
        } else {
            self.settle(now, slot, Role::Host(Host::new(door)));
            self.counters.hosts = self.counters.hosts.saturating_add(1);
            if let Some(waiting) = self.waiting(&route_id) {
                // It has answered: whoever comes after it has left again knocks anew.
                waiting.knocked = None;
            }
            u32::try_from(SILENCE_TIME.as_secs()).unwrap_or(u32::MAX)
        };
        self.say(slot, 0, &Frame::Ok { ttl }, out);
        self.wake(now, |target| matches!(target, Target::Route(dial) if dial.route_id == route_id), rng, out);
    }

    /// A device asks for a host. It is parked first, so that whatever keeps it from its host looks
    /// the same.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        slot: u32,
        target: Target,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) {
        // The expiry stands in clear in the dial: this answer says nothing about the host.
        if let Target::Route(dial) = target
            && u64::from(dial.expiry) <= self.unix(now)
        {
            return self.refuse(slot, DEVICE_IDX, Code::Denied, out);
        }
        self.settle(now, slot, Role::Parked(Parked { target, since: now }));
        self.parked.push(self.links.as_mut(), slot);
        self.try_open(now, slot, rng, out);
        if self.parked.len() > self.config.parked
            && let Some(oldest) = self.parked.front()
        {
            self.give_up(oldest, out);
        }
    }

    /// A host lets devices in that know a rendezvous value, or no longer.
    pub(super) fn set_pair_slot(
        &mut self,
        now: Instant,
        slot: u32,
        rv_hash: &RvHash,
        ttl: u16,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) {
        let owner = self.index.find(self.routes.as_ref(), Key::Pair, rv_hash);
        if owner.is_some_and(|owner| owner != slot) {
            // Whoever was first keeps it.
            return;
        }
        let Some(LinkSlot { role: Role::Host(host), .. }) = at(self.links.as_mut(), slot) else { return };
        let slots = &mut host.pair_slots;
        if ttl == 0 {
            slots.retain(|pair_slot| pair_slot.rv_hash != *rv_hash);
            self.index.remove(self.routes.as_mut(), Key::Pair, rv_hash);
            return;
        }
        let until = now + Duration::from_secs(ttl.min(MAX_PAIR_TIME).into());
        if let Some(known) = slots.iter_mut().find(|pair_slot| pair_slot.rv_hash == *rv_hash) {
            known.until = until;
        } else {
            if slots.is_full()
                && let Some(first) = (0..slots.len()).min_by_key(|at| slots.get(*at).map(|slot| slot.until))
            {
                let first = slots.swap_remove(first);
                self.index.remove(self.routes.as_mut(), Key::Pair, &first.rv_hash);
            }
            if !self.index.insert(self.routes.as_mut(), Key::Pair, rv_hash, slot) {
                return;
            }
            // There is room now.
            let _ = slots.push(PairSlot { rv_hash: *rv_hash, until, dials: 0 });
        }
        self.wake(now, |target| matches!(target, Target::Slot(hash) if hash == rv_hash), rng, out);
    }

    /// The host of this route that waits to be woken.
    fn waiting(&mut self, route_id: &RouteId) -> Option<&mut Waiting> {
        let slot = self.index.find(self.routes.as_ref(), Key::Waiting, route_id)?;
        match &mut at(self.links.as_mut(), slot)?.role {
            Role::Waiting(waiting) => Some(waiting),
            _ => None,
        }
    }

    fn proves_route(&mut self, slot: u32, register: &Register<'_>) -> bool {
        let Some(link) = at(self.links.as_mut(), slot) else { return false };
        let Role::Greeted { ephemeral } = &link.role else { return false };
        let Ok(shared) = ephemeral.agree(&register.route) else { return false };
        let mac = register_mac(&shared, &link.name, &link.nonce, ephemeral.public(), &register.route);
        same(&mac, &register.mac)
    }

    /// Somebody has come whom parked dials may wait for. There are few of them, and hosts come
    /// seldom: a walk will do.
    fn wake(
        &mut self,
        now: Instant,
        waits: impl Fn(&Target) -> bool,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) {
        let mut next = self.parked.front();
        while let Some(slot) = next {
            // `try_open` takes no other dial than this one out of the list.
            next = List::<GROUP>::next(self.links.as_mut(), slot);
            let link = at(self.links.as_mut(), slot);
            if link.is_some_and(|link| matches!(&link.role, Role::Parked(parked) if waits(&parked.target))) {
                self.try_open(now, slot, rng, out);
            }
        }
    }

    /// Joins a parked dial with its host if that is there and the dial is good.
    fn try_open(&mut self, now: Instant, slot: u32, rng: &mut (impl CryptoRng + ?Sized), out: &mut impl Outbox) {
        let Some(LinkSlot { role: Role::Parked(parked), .. }) = at(self.links.as_mut(), slot) else { return };
        let verdict = match parked.target {
            Target::Route(dial) => self.check_dial(now, slot, &dial, out),
            Target::Slot(rv_hash) => self.check_slot(now, &rv_hash),
        };
        match verdict {
            Verdict::Wait => {}
            Verdict::Refuse(code) => self.refuse(slot, DEVICE_IDX, code, out),
            Verdict::Open { host, kind } => self.open(now, host, slot, kind, rng, out),
        }
    }

    fn check_dial(&mut self, now: Instant, slot: u32, dial: &Dial, out: &mut impl Outbox) -> Verdict {
        let routes = self.routes.as_ref();
        // Both are always looked for: so much, too, shows in the time.
        let [attached, waiting] = [Key::Route, Key::Waiting].map(|key| self.index.find(routes, key, &dial.route_id));
        let owner = attached.or(waiting);
        let (unix, limit) = (self.unix(now), self.config.dials_per_minute);
        let links = self.links.as_mut();
        let Some((name, nonce)) = at(links, slot).map(|link| (link.name.clone(), link.nonce)) else {
            return Verdict::Wait;
        };
        let door = match owner.and_then(|owner| at(links, owner)).map(|link| &mut link.role) {
            Some(Role::Host(host)) => &mut host.door,
            Some(Role::Waiting(waiting)) => &mut waiting.door,
            // The work of a wrong proof: how long it takes is not to tell whether there is such a host.
            _ => &mut self.decoy,
        };
        let checked = door.check(now, unix, limit, dial, &name, &nonce);
        let (Some(owner), Some(checked)) = (owner, checked) else { return Verdict::Wait };
        if let Err(code) = checked {
            return Verdict::Refuse(code);
        }
        let Some(Role::Waiting(waiting)) = at(self.links.as_mut(), owner).map(|link| &mut link.role) else {
            return Verdict::Open { host: owner, kind: Kind::Dial { cap_id: dial.cap_id } };
        };
        // It stays parked, and opens as any other does when its host comes.
        if waiting.knock(now) {
            if !out.knock(self.id(owner)) {
                return Verdict::Refuse(Code::Busy);
            }
            self.say(owner, 0, &Frame::Knock, out);
        }
        Verdict::Wait
    }

    fn check_slot(&mut self, now: Instant, rv_hash: &RvHash) -> Verdict {
        let Some(owner) = self.index.find(self.routes.as_ref(), Key::Pair, rv_hash) else { return Verdict::Wait };
        let limit = self.config.dials_per_slot;
        let Some(LinkSlot { role: Role::Host(host), .. }) = at(self.links.as_mut(), owner) else {
            return Verdict::Wait;
        };
        let Some(pair_slot) = host.pair_slots.iter_mut().find(|slot| slot.rv_hash == *rv_hash) else {
            return Verdict::Wait;
        };
        if pair_slot.until <= now {
            host.pair_slots.retain(|slot| slot.rv_hash != *rv_hash);
            self.index.remove(self.routes.as_mut(), Key::Pair, rv_hash);
            return Verdict::Wait;
        }
        if pair_slot.dials >= limit {
            return Verdict::Refuse(Code::PairSlot);
        }
        pair_slot.dials = pair_slot.dials.saturating_add(1);
        Verdict::Open { host: owner, kind: Kind::Pair }
    }

    fn open(
        &mut self,
        now: Instant,
        host: u32,
        device: u32,
        kind: Kind,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut impl Outbox,
    ) {
        let limit = self.config.channels_per_host;
        let window = u64::from(self.config.window);
        let mask = match at(self.links.as_mut(), host) {
            Some(LinkSlot { role: Role::Host(known), mask, over, .. }) => {
                let waiting = over.checked_div(window).unwrap_or_default();
                (waiting.saturating_add(known.channels.len().into()) < limit.into()).then_some(*mask)
            }
            _ => None,
        };
        let (host_id, device_id) = (self.id(host), self.id(device));
        let Some(mask) = mask.filter(|_| out.open(host_id, device_id)) else {
            return self.refuse(device, DEVICE_IDX, Code::Busy, out);
        };
        let idx = |slot, generation| channel_idx(slot, generation, mask);
        let Some(number) = self.open_channel(now, host, device, idx) else {
            out.over(host_id, device_id);
            return self.refuse(device, DEVICE_IDX, Code::Busy, out);
        };
        let idx = self.channel(number).map_or(0, |channel| channel.idx);
        let links = self.links.as_mut();
        if let Some(LinkSlot { role: Role::Host(host), .. }) = at(links, host) {
            host.channels.push(self.channels.as_mut(), number);
        }
        self.parked.remove(links, device);
        if let Some(link) = at(links, device) {
            link.role = Role::Device { channel: number };
        }
        let mut channel_id = [0; 16];
        rng.fill_bytes(&mut channel_id);
        let credit = EARLY_CREDIT;
        self.say(device, DEVICE_IDX, &Frame::Opened { channel_id, credit }, out);
        self.say(host, idx, &Frame::Incoming(Incoming { channel_id, kind, credit }), out);
    }
}
