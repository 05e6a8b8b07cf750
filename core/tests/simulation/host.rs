//! A host: a link to each relay, a slot for each channel on them, and the sessions that outlive
//! the channels. How it answers for channels is in `door`.

use homing_core::Instant;
use homing_core::backoff::Backoff;
use homing_core::channel::Resumption;
use homing_core::handshake::Turnstile;
use homing_core::hop::{self, Code, HostLink, MAX_CONTROL};

use crate::door::{Slot, State};
use crate::net::{Clock, Net, Node};
use crate::people::Household;
use crate::plan::Plans;
use crate::relay::Relay;
use crate::session::{Channel, Habits, Rest, Streams};
use crate::wire::{Item, Side};

pub(crate) struct Host {
    pub(crate) number: usize,
    pub(crate) keys: Household,
    pub(crate) habits: Habits,
    pub(crate) clock: Clock,
    pub(crate) legs: Vec<Leg>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) turnstile: Turnstile,
    /// First messages heard so far: what orders the attachments of a session.
    pub(crate) heard: u64,
}

/// The link to one relay.
pub(crate) struct Leg {
    dials: u64,
    backoff: Backoff,
    pub(crate) link: Option<(usize, HostLink<16>)>,
    pub(crate) slots: Vec<Slot>,
    /// Whose turn it is to send.
    pub(crate) turn: usize,
}

/// A session of a device, attached or not.
pub(crate) struct Session {
    pub(crate) device: usize,
    pub(crate) known_by: Resumption,
    pub(crate) heard: u64,
    pub(crate) streams: Streams,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    /// On a relay's link, with this number.
    Slot(usize, u32),
    Rest(Box<Rest>),
}

impl Host {
    pub(crate) fn new(number: usize, relays: usize, net: &mut Net) -> Self {
        let clock = Clock::default();
        let turnstile = Turnstile::new(clock.read(net));
        let habits = Habits::random(&mut net.dice, net.caps);
        let (legs, sessions) = (Vec::new(), Vec::new());
        let keys = Household::of(number);
        let mut host = Self { number, keys, habits, clock, legs, sessions, turnstile, heard: 0 };
        host.legs = (0..relays).map(|_| Leg::new(net.dice.wide(1_000_000))).collect();
        host
    }

    pub(crate) fn wires(&self) -> impl Iterator<Item = usize> {
        self.legs.iter().filter_map(|leg| leg.link.as_ref().map(|(wire, _)| *wire))
    }

    /// The process dies and starts again after a while; all sessions are lost.
    pub(crate) fn crash(&mut self, net: &mut Net, plans: &mut Plans, down: u64) {
        for session in &mut self.sessions {
            plans.excuse(*session.known_by.session_id());
            session.streams.lose(plans);
        }
        self.sessions.clear();
        for leg in &mut self.legs {
            if let Some((wire, _)) = leg.link.take() {
                let notice = net.dice.wide(30_000_000);
                let notice = net.dice.percent(85).then_some(notice);
                net.vanish(wire, Side::End, notice);
            }
            *leg = Leg::new(net.now + down);
        }
        self.turnstile = Turnstile::new(self.clock.read(net));
        self.turn(net, plans);
    }

    pub(crate) fn turn(&mut self, net: &mut Net, plans: &mut Plans) {
        let now = self.clock.read(net);
        self.clock.rung(net);
        for leg in 0..self.legs.len() {
            if self.legs[leg].link.is_none() && net.now >= self.legs[leg].dials {
                self.dial(net, leg);
            }
            let link = self.legs[leg].link.as_mut();
            let lost = link.is_some_and(|(_, link)| {
                link.poll_timeout().is_some_and(|at| now >= at) && link.handle_timeout(now).is_err()
            });
            if lost {
                self.lose_link(net, plans, leg);
            }
            self.check_slots(net, plans, leg);
        }
        // What leaves makes room for more.
        while {
            self.work(net.now, now, plans);
            (0..self.legs.len()).fold(false, |any, leg| self.flush(net, plans, leg) | any)
        } {}
        self.arm(net, plans);
    }

    fn arm(&mut self, net: &mut Net, plans: &Plans) {
        let now = self.clock.read(net);
        let own = |time: u64| Instant::from_micros(now.as_micros() + time.saturating_sub(net.now));
        let legs = self.legs.iter().map(|leg| match &leg.link {
            Some((_, link)) => link.poll_timeout(),
            None => Some(own(leg.dials)),
        });
        let slots = self.legs.iter().flat_map(|leg| leg.slots.iter().map(Slot::next));
        let streams = self.sessions.iter().map(|session| session.streams.next(net.now, plans).map(own));
        let next = legs.chain(slots).chain(streams).flatten().min();
        self.clock.arm(net, Node::Host(self.number), next);
    }

    fn dial(&mut self, net: &mut Net, leg: usize) {
        let now = self.clock.read(net);
        let wire = net.connect(leg, Node::Host(self.number));
        net.send(wire, Side::End, Vec::new());
        let (route, mint) = (self.keys.route.duplicate(), Household::mint());
        let link = HostLink::new(Relay::name(leg), route, mint.duplicate(), mint, None, now)
            .unwrap()
            .with_windows(net.windows);
        net.trace.note(&[5, wire as u64], format_args!("host {} dials relay {leg} on {wire}", self.number));
        self.legs[leg].link = Some((wire, link));
    }

    pub(crate) fn lose_link(&mut self, net: &mut Net, plans: &mut Plans, leg: usize) {
        let Some((wire, _)) = self.legs[leg].link.take() else { return };
        for slot in core::mem::take(&mut self.legs[leg].slots) {
            self.forget(plans, slot);
        }
        net.hang_up(wire, Side::End);
        let now = self.clock.read(net);
        let wait = self.legs[leg].backoff.failed(now, &mut net.dice);
        self.legs[leg].dials = net.now + wait.as_micros() as u64;
        net.trace.note(&[6, wire as u64], format_args!("host {} lost {wire}", self.number));
    }

    /// A channel is over: its session rests.
    pub(crate) fn forget(&mut self, plans: &mut Plans, slot: Slot) {
        let (State::Talking(mut channel) | State::Reply(_, mut channel), Some(id)) = (slot.state, slot.session) else {
            return;
        };
        let Some(at) = self.sessions.iter().position(|session| *session.known_by.session_id() == id) else { return };
        match channel.detach() {
            Some(rest) => self.sessions[at].place = Place::Rest(Box::new(rest)),
            None => {
                plans.check_lost(&id);
                self.sessions.remove(at).streams.lose(plans);
            }
        }
    }

    pub(crate) fn arrival(&mut self, net: &mut Net, plans: &mut Plans, wire: usize) {
        let leg = net.wires[wire].relay;
        while self.legs[leg].link.as_ref().is_some_and(|(current, _)| *current == wire) {
            match net.receive(wire, Side::End) {
                None => break,
                Some(Item::End) => self.lose_link(net, plans, leg),
                Some(Item::Message(message)) => self.hear(net, plans, leg, &message),
            }
        }
        self.turn(net, plans);
    }

    fn hear(&mut self, net: &mut Net, plans: &mut Plans, leg: usize, message: &[u8]) {
        let now = self.clock.read(net);
        let Some((_, link)) = &mut self.legs[leg].link else { return };
        match link.handle(now, message).expect("the relay keeps to the protocol") {
            Some(hop::host::Event::Registered { .. }) => self.legs[leg].backoff.proved(now),
            Some(hop::host::Event::Incoming { idx, channel_id, .. }) => self.knock(net, leg, idx, channel_id),
            Some(hop::host::Event::Data { idx, body }) => {
                let len = body.len();
                self.hear_body(net, plans, leg, idx, &mut body.to_vec());
                if let Some((_, link)) = &mut self.legs[leg].link {
                    link.processed(now, idx, len);
                }
            }
            Some(hop::host::Event::Closed { idx: 0, code }) => {
                net.trace.note(&[7, code as u64], format_args!("host {} hears {code:?}", self.number));
                self.lose_link(net, plans, leg);
            }
            Some(hop::host::Event::Closed { idx, .. }) => {
                let slots = &mut self.legs[leg].slots;
                if let Some(at) = slots.iter().position(|slot| slot.idx == idx) {
                    let slot = slots.remove(at);
                    self.forget(plans, slot);
                }
            }
            Some(hop::host::Event::CreditArrived { .. } | hop::host::Event::Draining) | None => {}
        }
    }

    /// The application's side of every session.
    fn work(&mut self, now: u64, clock: Instant, plans: &mut Plans) {
        for session in &mut self.sessions {
            let mux = match &mut session.place {
                Place::Rest(rest) => rest.streams(),
                Place::Slot(leg, idx) => match channel_at(&mut self.legs, *leg, *idx) {
                    Some(channel) => channel.streams(),
                    None => continue,
                },
            };
            session.streams.open_due(now, clock, mux, plans);
            session.streams.work(now, clock, mux, plans);
        }
    }

    /// Sends what a link takes: first what is the link's own, then the channels in turns. Tells
    /// whether there was anything.
    fn flush(&mut self, net: &mut Net, plans: &mut Plans, leg: usize) -> bool {
        let now = self.clock.read(net);
        let mut out = [0; MAX_CONTROL];
        let (mut quiet, mut any) = (0, false);
        while let Some((wire, link)) = &mut self.legs[leg].link
            && net.has_room(*wire, Side::End)
        {
            if let Some(len) = link.poll_output(now, &mut out) {
                net.send(*wire, Side::End, out[..len].to_vec());
                any = true;
            } else if quiet <= self.legs[leg].slots.len() {
                let said = self.flush_slot(net, plans, leg);
                quiet = if said { 0 } else { quiet + 1 };
                any |= said;
            } else {
                break;
            }
        }
        any
    }

    /// Streams in the table of a device's session, where it is attached.
    pub(crate) fn lingering(&mut self, device: usize) -> usize {
        let place = self.sessions.iter().find(|session| session.device == device).map(|session| &session.place);
        match place {
            Some(Place::Slot(leg, idx)) => {
                channel_at(&mut self.legs, *leg, *idx).map_or(usize::MAX, |channel| channel.streams().len())
            }
            _ => usize::MAX,
        }
    }

    pub(crate) fn left_over(&mut self) -> String {
        let mut text = String::new();
        for session in &self.sessions {
            if let Place::Slot(leg, idx) = session.place
                && let Some(channel) = channel_at(&mut self.legs, leg, idx)
                && !channel.streams().is_empty()
            {
                text += &format!("host {} with device {}: {:?}\n", self.number, session.device, channel.streams());
            }
        }
        text
    }

    /// Tells the devices' applications nothing: the relay has to answer for a host that is gone.
    pub(crate) fn leave(&mut self, net: &mut Net, plans: &mut Plans, leg: usize) {
        let now = self.clock.read(net);
        if let Leg { link: Some((wire, link)), slots, .. } = &mut self.legs[leg] {
            for slot in slots {
                link.close(slot.idx, Code::Normal);
            }
            let mut out = [0; MAX_CONTROL];
            while let Some(len) = link.poll_output(now, &mut out) {
                net.send(*wire, Side::End, out[..len].to_vec());
            }
        }
        self.lose_link(net, plans, leg);
        self.turn(net, plans);
    }
}

impl Leg {
    fn new(dials: u64) -> Self {
        Self { dials, backoff: Backoff::new(), link: None, slots: Vec::new(), turn: 0 }
    }
}

pub(crate) fn channel_at(legs: &mut [Leg], leg: usize, idx: u32) -> Option<&mut Channel> {
    let slot = legs[leg].slots.iter_mut().find(|slot| slot.idx == idx)?;
    match &mut slot.state {
        State::Talking(channel) => Some(channel),
        _ => None,
    }
}
