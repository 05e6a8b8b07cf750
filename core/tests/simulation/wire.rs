//! A connection between an endpoint and a relay: messages in order, late, until it breaks. What
//! is under way when it breaks may still arrive or not, and each side hears of the end in its own
//! time, or never.

use std::collections::VecDeque;

use homing_core::relay::LinkId;

use crate::net::{Happening, Net, Node};

/// The two sides of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    End,
    Relay,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::End => Self::Relay,
            Self::Relay => Self::End,
        }
    }
}

pub(crate) struct Wire {
    pub(crate) relay: usize,
    pub(crate) end: Node,
    /// The relay's name for it, while the relay knows it.
    pub(crate) link: Option<LinkId>,
    /// How much slower it is than others.
    slowness: u64,
    /// To the endpoint, to the relay.
    lanes: [Lane; 2],
}

#[derive(Default)]
struct Lane {
    under_way: VecDeque<(u64, Item)>,
    bytes: usize,
    /// Nothing arrives before what was sent earlier.
    last: u64,
    /// Nothing arrives until then.
    stalled: u64,
    /// Its receiver listens no more.
    deaf: bool,
    /// Its sender said its last.
    ended: bool,
    /// Its sender waits for room.
    waited: bool,
}

pub(crate) enum Item {
    Message(Vec<u8>),
    End,
}

/// What a fault does to a single message under way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    Flip,
    Lose,
    Repeat,
}

impl Net {
    pub(crate) fn connect(&mut self, relay: usize, end: Node) -> usize {
        let slowness = if self.dice.percent(15) { 8 } else { 1 };
        self.wires.push(Wire { relay, end, link: None, slowness, lanes: [Lane::default(), Lane::default()] });
        self.wires.len() - 1
    }

    fn lane(&mut self, wire: usize, to: Side) -> &mut Lane {
        &mut self.wires[wire].lanes[to as usize]
    }

    /// Whether the wire takes another message from this side. If not, the sender is woken later.
    pub(crate) fn has_room(&mut self, wire: usize, from: Side) -> bool {
        let room = self.weather.room;
        let lane = self.lane(wire, from.other());
        lane.waited = lane.bytes >= room;
        !lane.waited
    }

    pub(crate) fn send(&mut self, wire: usize, from: Side, message: Vec<u8>) {
        self.put(wire, from.other(), Item::Message(message));
    }

    fn put(&mut self, wire: usize, to: Side, item: Item) {
        let len = if let Item::Message(message) = &item { message.len() } else { 0 };
        let slow = len as u64 * 1000 * self.wires[wire].slowness / self.weather.rate;
        let delay = self.weather.delay + self.dice.between(0, self.weather.jitter);
        let now = self.now;
        let lane = self.lane(wire, to);
        if lane.ended || lane.deaf {
            return;
        }
        // The wire is busy with what was sent before, and everything takes its time after that.
        let at = (now + delay).max(lane.last + slow);
        lane.last = at;
        lane.bytes += len;
        lane.ended = matches!(item, Item::End);
        lane.under_way.push_back((at, item));
        self.at(at, Happening::Arrival(wire, to));
    }

    /// What has arrived at this side.
    pub(crate) fn receive(&mut self, wire: usize, at: Side) -> Option<Item> {
        let now = self.now;
        let lane = self.lane(wire, at);
        if now < lane.stalled {
            let stalled = lane.stalled;
            if !lane.under_way.is_empty() && stalled < u64::MAX {
                self.at(stalled, Happening::Arrival(wire, at));
            }
            return None;
        }
        if lane.under_way.front().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        let (_, item) = lane.under_way.pop_front()?;
        if let Item::Message(message) = &item {
            lane.bytes -= message.len();
        }
        if core::mem::take(&mut lane.waited) {
            let sender = match at {
                Side::End => Node::Relay(self.wires[wire].relay),
                Side::Relay => self.wires[wire].end,
            };
            self.after(0, Happening::Wake(sender));
        }
        if self.lane(wire, at).deaf { None } else { Some(item) }
    }

    /// This side is done: what it sent still arrives, what comes is not heard.
    pub(crate) fn hang_up(&mut self, wire: usize, side: Side) {
        self.lane(wire, side).deaf = true;
        self.put(wire, side.other(), Item::End);
    }

    /// This side forgets the wire, and the other one hears of it only that late, if at all.
    pub(crate) fn vanish(&mut self, wire: usize, side: Side, notice: Option<u64>) {
        self.lane(wire, side).deaf = true;
        self.sever(wire, side.other(), notice);
    }

    /// Cuts the wire: a random part of what is under way arrives.
    pub(crate) fn cut(&mut self, wire: usize, notices: [Option<u64>; 2]) {
        self.sever(wire, Side::End, notices[0]);
        self.sever(wire, Side::Relay, notices[1]);
    }

    fn sever(&mut self, wire: usize, to: Side, notice: Option<u64>) {
        let len = self.lane(wire, to).under_way.len();
        let kept = self.dice.between(0, len as u64) as usize;
        let now = self.now;
        let lane = self.lane(wire, to);
        if lane.ended && kept == len {
            return;
        }
        lane.under_way.truncate(kept);
        lane.bytes = lane.under_way.iter().map(|(_, i)| if let Item::Message(m) = i { m.len() } else { 0 }).sum();
        lane.ended = true;
        lane.last = lane.under_way.back().map_or(now, |(at, _)| *at);
        if let Some(notice) = notice {
            let at = lane.last.max(now + notice);
            lane.under_way.push_back((at, Item::End));
            self.at(at, Happening::Arrival(wire, to));
        }
    }

    /// Nothing arrives for a while, then all of it.
    pub(crate) fn stall(&mut self, wire: usize, to: Side, time: u64) {
        let until = self.now + time;
        let lane = self.lane(wire, to);
        lane.stalled = lane.stalled.max(until);
        self.at(until, Happening::Arrival(wire, to));
    }

    /// Whether anything can still pass to this side.
    pub(crate) fn is_live(&self, wire: usize) -> bool {
        self.wires[wire].lanes.iter().all(|lane| !lane.ended && !lane.deaf)
    }

    /// Harms one message under way: the relay is not trusted. Only what is the endpoints' own.
    pub(crate) fn harm(&mut self, wire: usize, to: Side, harm: Harm) -> bool {
        let lane = &self.wires[wire].lanes[to as usize];
        let data =
            |(_, item): &(u64, Item)| matches!(item, Item::Message(m) if m.first() == Some(&homing_core::hop::DATA));
        let places: Vec<usize> = (0..lane.under_way.len()).filter(|n| data(&lane.under_way[*n])).collect();
        if places.is_empty() {
            return false;
        }
        let place = self.dice.pick(&places);
        let random = self.dice.between(0, u64::MAX - 1);
        let lane = self.lane(wire, to);
        match harm {
            Harm::Lose => {
                if let Some((_, Item::Message(message))) = lane.under_way.remove(place) {
                    lane.bytes -= message.len();
                }
            }
            Harm::Flip => {
                if let (_, Item::Message(message)) = &mut lane.under_way[place] {
                    let at = 5 + random as usize % (message.len() - 5);
                    message[at] ^= 1 << (random >> 61);
                }
            }
            Harm::Repeat => {
                let (at, Item::Message(message)) = &lane.under_way[place] else { return false };
                let twice = (*at, Item::Message(message.clone()));
                lane.bytes += message.len();
                lane.under_way.insert(place, twice);
            }
        }
        true
    }
}
