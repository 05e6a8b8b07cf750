//! A relay: the core's switch and an outbox per link, which never holds more than the switch
//! reserved.

use core::time::Duration;
use std::collections::VecDeque;

use homing_core::Instant;
use homing_core::hop::{Code, DATA_HEADER_LEN, Frame, MAX_CONTROL};
use homing_core::relay::{ChannelSlot, Config, Handled, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use homing_core::wire::Writer;

use crate::net::{Clock, Net, Node};
use crate::wire::{Item, Side};

pub(crate) const UNIX: u64 = 1_900_000_000;
const LINKS: usize = 48;
/// How long a link that was hung up may take to read what waits.
const LINGER: Duration = Duration::from_secs(30);
/// First byte of a message that closes a channel.
const CLOSED: u8 = 0x8d;

type Links = Switch<Vec<LinkSlot>, Vec<ChannelSlot>, Vec<RouteSlot>>;

pub(crate) struct Relay {
    number: usize,
    config: Config,
    /// None while the process is down.
    switch: Option<Links>,
    outlets: Outlets,
    pub(crate) clock: Clock,
    /// The most bytes that ever waited here.
    pub(crate) most_held: usize,
}

/// What waits for each link.
#[derive(Default)]
struct Outlets(Vec<Outlet>);

#[derive(Default)]
struct Outlet {
    link: Option<LinkId>,
    wire: usize,
    control: VecDeque<Vec<u8>>,
    data: VecDeque<Data>,
    hung_up: bool,
    /// How long its peer may take to read what waits, once it is hung up.
    until: Option<Instant>,
}

struct Data {
    message: Vec<u8>,
    idx: u32,
    /// Bytes that the switch is to hear of; none for a CLOSED.
    charged: usize,
}

impl Outlet {
    fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }
}

impl Outlets {
    fn of(&mut self, link: LinkId) -> Option<&mut Outlet> {
        self.0.iter_mut().find(|outlet| outlet.link == Some(link) && !outlet.hung_up)
    }

    /// Bytes that wait, on all channels and on the one with the most.
    fn held(&self) -> (usize, usize) {
        let (mut all, mut most) = (0, 0);
        for outlet in &self.0 {
            for (place, first) in outlet.data.iter().enumerate() {
                all += first.charged;
                let same = outlet.data.iter().skip(place).filter(|data| data.idx == first.idx);
                most = most.max(same.map(|data| data.charged).sum());
            }
        }
        (all, most)
    }
}

impl Outbox for Outlets {
    fn control(&mut self, link: LinkId, message: &[u8]) {
        let outlet = self.of(link).expect("a message for a link that is there");
        if let [CLOSED, a, b, c, d, ..] = *message {
            let idx = u32::from_le_bytes([a, b, c, d]);
            outlet.data.push_back(Data { message: message.to_vec(), idx, charged: 0 });
        } else {
            outlet.control.push_back(message.to_vec());
        }
    }

    fn hang_up(&mut self, link: LinkId, _: Code) {
        self.of(link).expect("hung up once").hung_up = true;
    }
}

/// Takes a link's first message, which comes before the link has an id.
struct First(Vec<Vec<u8>>);

impl Outbox for First {
    fn control(&mut self, _: LinkId, message: &[u8]) {
        self.0.push(message.to_vec());
    }

    fn hang_up(&mut self, _: LinkId, _: Code) {}
}

impl Relay {
    pub(crate) fn new(number: usize, config: Config, net: &mut Net) -> Self {
        let mut relay =
            Self { number, config, switch: None, outlets: Outlets::default(), clock: Clock::default(), most_held: 0 };
        relay.start(net);
        relay
    }

    pub(crate) fn name(number: usize) -> &'static str {
        ["one.example.net", "two.example.net"][number]
    }

    pub(crate) fn start(&mut self, net: &mut Net) {
        let now = self.clock.read(net);
        let (links, channels, routes) = (slots(LINKS), slots(LINKS), slots(2 * LINKS));
        let config = self.config.clone();
        self.switch = Some(Switch::new(config, links, channels, routes, now, UNIX, &mut net.dice));
        self.outlets = Outlets::default();
    }

    /// The process dies, and its links with it.
    pub(crate) fn crash(&mut self, net: &mut Net) {
        self.switch = None;
        self.outlets = Outlets::default();
        for wire in 0..net.wires.len() {
            if net.wires[wire].relay != self.number {
                continue;
            }
            // Another link may have its name after the restart.
            net.wires[wire].link = None;
            let notice = net.is_live(wire).then(|| net.dice.wide(2_000_000));
            net.vanish(wire, Side::Relay, notice);
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.switch.is_some()
    }

    /// Tells everyone that it will stop soon.
    pub(crate) fn drain(&mut self, net: &mut Net) {
        let mut out = [0; MAX_CONTROL];
        let mut w = Writer::new(&mut out);
        Frame::Closed { code: Code::Draining }.emit(0, &mut w).unwrap();
        let len = w.len();
        for outlet in self.outlets.0.iter_mut().filter(|outlet| outlet.link.is_some()) {
            outlet.control.push_back(out[..len].to_vec());
        }
        self.turn(net);
    }

    /// Something may have arrived on a wire.
    pub(crate) fn arrival(&mut self, net: &mut Net, wire: usize) {
        while let Some(item) = net.receive(wire, Side::Relay) {
            let now = self.clock.read(net);
            let link = net.wires[wire].link;
            match (item, &mut self.switch) {
                (Item::Message(message), Some(switch)) if message.is_empty() => {
                    let mut first = First(Vec::new());
                    let name = Self::name(self.number);
                    let Ok(link) = switch.attach(now, name, &mut net.dice, &mut first) else {
                        net.hang_up(wire, Side::Relay);
                        continue;
                    };
                    net.wires[wire].link = Some(link);
                    let control = first.0.into();
                    self.outlets.0.push(Outlet { link: Some(link), wire, control, ..Outlet::default() });
                }
                (Item::Message(mut message), Some(switch)) => {
                    let Some(link) = link else { continue };
                    match switch.handle(now, link, &mut message, &mut net.dice, &mut self.outlets) {
                        Ok(Handled::Forward { to, idx }) => {
                            let charged = message.len() - DATA_HEADER_LEN;
                            let outlet = self.outlets.of(to).expect("forwarded to a link that is there");
                            outlet.data.push_back(Data { message, idx, charged });
                        }
                        Ok(Handled::Done) => {}
                        Err(violation) => panic!("an honest peer was blamed: {violation}"),
                    }
                }
                (Item::Message(_), None) => net.hang_up(wire, Side::Relay),
                (Item::End, switch) => {
                    if let (Some(switch), Some(link)) = (switch, link) {
                        switch.detach(link, &mut self.outlets);
                        self.outlets.0.retain(|outlet| outlet.link != Some(link));
                    }
                }
            }
            self.check();
        }
        self.turn(net);
    }

    /// Does what is due and sends what the wires take.
    pub(crate) fn turn(&mut self, net: &mut Net) {
        let now = self.clock.read(net);
        self.clock.rung(net);
        let Some(switch) = &mut self.switch else { return };
        if switch.poll_timeout().is_some_and(|at| now >= at) {
            switch.handle_timeout(now, &mut self.outlets);
        }
        self.check();
        // What leaves makes credit for somebody else.
        while self.flush(net, now) {}
        let leaves = self.see_off(net, now);
        let next = self.switch.as_ref().and_then(Switch::poll_timeout);
        self.clock.arm(net, Node::Relay(self.number), next.into_iter().chain(leaves).min());
    }

    /// Ends the wires of links that were hung up: those that have all, and those that take too long.
    fn see_off(&mut self, net: &mut Net, now: Instant) -> Option<Instant> {
        let Some(switch) = &mut self.switch else { return None };
        let mut gone = Vec::new();
        self.outlets.0.retain_mut(|outlet| {
            let stays = !outlet.hung_up || !outlet.is_empty() && now < *outlet.until.get_or_insert(now + LINGER);
            if !stays {
                net.hang_up(outlet.wire, Side::Relay);
                gone.extend(outlet.link);
            }
            stays
        });
        gone.into_iter().for_each(|link| switch.detach(link, &mut self.outlets));
        self.check();
        self.outlets.0.iter().filter_map(|outlet| outlet.until).min()
    }

    fn flush(&mut self, net: &mut Net, now: Instant) -> bool {
        let mut any = false;
        for slot in 0..self.outlets.0.len() {
            loop {
                let outlet = &mut self.outlets.0[slot];
                let Some(link) = outlet.link else { break };
                if outlet.is_empty() || !net.has_room(outlet.wire, Side::Relay) {
                    break;
                }
                any = true;
                if let Some(message) = outlet.control.pop_front() {
                    net.send(outlet.wire, Side::Relay, message);
                } else if let Some(data) = outlet.data.pop_front() {
                    net.send(outlet.wire, Side::Relay, data.message);
                    if let Some(switch) = self.switch.as_mut().filter(|_| data.charged > 0) {
                        switch.sent(now, link, data.idx, data.charged, &mut self.outlets);
                    }
                }
            }
        }
        any
    }

    /// Memory stays within the budget, and what waits within what was reserved.
    fn check(&mut self) {
        let Some(switch) = &self.switch else { return };
        let ((held, most), counters) = (self.outlets.held(), switch.counters());
        assert!(most <= self.config.max_window as usize, "relay holds {most} bytes of one channel");
        assert!(held as u64 <= counters.reserved, "relay holds {held} bytes, reserved {}", counters.reserved);
        assert!(counters.reserved <= self.config.budget, "windows of {} bytes", counters.reserved);
        self.most_held = self.most_held.max(held);
    }
}

fn slots<T: Default>(count: usize) -> Vec<T> {
    core::iter::repeat_with(T::default).take(count).collect()
}
