//! Malicious endpoints at a switch, against a plain model of who is joined with whom: no byte of one
//! channel reaches another, nobody sends more than was granted, and the budget is kept.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::hop::{
    self, Capability, ChannelId, Code, DATA_HEADER_LEN, DEVICE_IDX, Dial, EARLY_CREDIT, Frame, Register, register_mac,
};
use homing_core::relay::{ChannelSlot, Config, Handled, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use homing_core::wire::{MAX_RECORD, Writer};
use rand_core::TryRng;

use super::{Bytes, Seeded, Steps};

const RELAY: &str = "relay.example.net";
const UNIX: u64 = 1_900_000_000;
const LINKS: usize = 8;

/// What the two hosts prove their routes with.
static ROUTES: LazyLock<[Identity; 2]> =
    LazyLock::new(|| [1, 2].map(|byte| Identity::from_secret(&Secret::new([byte; 32]))));

/// What may happen. Links and channels are chosen by number among those there are; hosts and pairing
/// slots are few, so that they meet.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step<'a> {
    Attach,
    Register {
        link: u8,
        host: u8,
        honest: bool,
    },
    Dial {
        link: u8,
        host: u8,
        honest: bool,
    },
    PairSlot {
        link: u8,
        slot: u8,
        ttl: u16,
    },
    DialPair {
        link: u8,
        slot: u8,
    },
    Accept {
        channel: u8,
        credit: u32,
    },
    Refuse {
        channel: u8,
    },
    Deny {
        link: u8,
    },
    Data {
        channel: u8,
        up: bool,
        len: u16,
    },
    Strange {
        link: u8,
        idx: u32,
        len: u16,
    },
    Credit {
        channel: u8,
        up: bool,
        bytes: u32,
    },
    Close {
        channel: u8,
        up: bool,
    },
    Sent {
        channel: u8,
        up: bool,
        bytes: u32,
    },
    Detach {
        link: u8,
    },
    Garbage {
        link: u8,
        message: Bytes<'a>,
    },
    Wait {
        millis: u16,
    },
    /// Bytes of channels that are over leave, or the socket that they wait for goes.
    Late {
        link: u8,
        bytes: u32,
        gone: bool,
    },
    /// A link on which a host may wait to be woken.
    AttachWaiting,
}

#[derive(Default)]
struct Seen {
    links: BTreeMap<usize, (LinkId, Challenge)>,
    /// Links that were attached to wait, and the host of those that were confirmed.
    waiting: HashMap<LinkId, Option<u8>>,
    /// The host of the registration or dial that is being handled.
    host: u8,
    /// Whether that is a dial with a good proof.
    may_knock: bool,
    opened: HashMap<ChannelId, LinkId>,
    channels: Vec<Channel>,
    /// What waits on links, also on those that were hung up, of channels that are over.
    over: HashMap<LinkId, Over>,
    knocks: usize,
    /// Channels that had traffic, over the whole run.
    joined: usize,
}

#[derive(Clone, Copy)]
struct Challenge {
    nonce: [u8; 32],
    ephemeral: PublicKey,
}

struct Channel {
    host: LinkId,
    idx: u32,
    device: LinkId,
    accepted: bool,
    up: Flow,
    down: Flow,
}

/// A channel that is over, and what waits of all such.
#[derive(Clone, Copy, Default)]
struct Over {
    idx: u32,
    bytes: u64,
}

/// Sums over what was seen, nothing else.
struct Flow {
    granted: u64,
    allowed: u64,
    arrived: u64,
    left: u64,
}

impl Flow {
    fn new() -> Self {
        let early = u64::from(EARLY_CREDIT);
        Self { granted: early, allowed: early, arrived: 0, left: 0 }
    }
}

impl Seen {
    fn forget(&mut self, link: LinkId) {
        self.links.retain(|_, known| known.0 != link);
        self.waiting.remove(&link);
        self.close(|channel| channel.device == link || channel.host == link);
    }

    fn close(&mut self, is_over: impl Fn(&Channel) -> bool) {
        for channel in self.channels.extract_if(.., |channel| is_over(channel)) {
            let ends = [(channel.host, channel.idx, &channel.up), (channel.device, DEVICE_IDX, &channel.down)];
            for (link, idx, flow) in ends {
                let bytes = flow.arrived - flow.left;
                if bytes > 0 {
                    let over = self.over.entry(link).or_default();
                    *over = Over { idx, bytes: over.bytes + bytes };
                }
            }
        }
    }

    /// Places that are taken by links, or by what waits for those that were hung up.
    fn places(&self) -> usize {
        let is_leaving = |link: &&LinkId| self.links.get(&link.slot()).is_none_or(|known| known.0 != **link);
        self.links.len() + self.over.keys().filter(is_leaving).count()
    }
}

impl Outbox for Seen {
    fn control(&mut self, link: LinkId, message: &[u8]) {
        assert!(message.len() <= hop::MAX_CONTROL);
        let (idx, frame) = Frame::parse(message).expect("the switch speaks the protocol");
        match frame {
            Frame::Hello(hello) => {
                let challenge = Challenge { nonce: hello.nonce, ephemeral: hello.ephemeral };
                assert!(self.links.insert(link.slot(), (link, challenge)).is_none(), "one link in a slot");
            }
            Frame::Opened { channel_id, .. } => {
                assert_eq!(idx, DEVICE_IDX);
                self.opened.insert(channel_id, link);
            }
            Frame::Incoming(incoming) => {
                let device = self.opened.remove(&incoming.channel_id).expect("OPENED comes first");
                assert!(self.channels.iter().all(|c| (c.host, c.idx) != (link, idx) && c.device != device));
                let (up, down) = (Flow::new(), Flow::new());
                self.channels.push(Channel { host: link, idx, device, accepted: false, up, down });
                self.joined += 1;
            }
            Frame::Credit { bytes } => {
                let to_host = |c: &&mut Channel| c.host == link && c.idx == idx;
                let flow = match self.channels.iter_mut().find(to_host) {
                    Some(channel) => &mut channel.down,
                    None => {
                        let to_device = |c: &&mut Channel| c.device == link && idx == DEVICE_IDX;
                        &mut self.channels.iter_mut().find(to_device).expect("credit for a live channel").up
                    }
                };
                flow.granted += u64::from(bytes);
                assert!(flow.granted <= flow.allowed, "no more than the receiver takes");
            }
            Frame::Closed { .. } if idx != 0 => {
                self.close(|c| (c.host, c.idx) == (link, idx) || (c.device == link && idx == DEVICE_IDX));
            }
            Frame::Ok { ttl } => {
                let host = self.host;
                let waits = self.waiting.get_mut(&link);
                assert_eq!(ttl == 0, waits.is_some(), "silence ends all but waiting");
                if let Some(waits) = waits {
                    assert_eq!(waits.replace(host), None, "confirmed once");
                    let same = self.waiting.values().filter(|waits| **waits == Some(host));
                    assert_eq!(same.count(), 1, "one waits for a route");
                    // Dials that were parked, good ones among them, knock now.
                    self.may_knock = true;
                }
            }
            Frame::Knock => {
                assert!(self.may_knock, "only a good dial knocks");
                assert_eq!(self.waiting.get(&link), Some(&Some(self.host)), "at its own host");
                self.knocks += 1;
            }
            Frame::Closed { .. } | Frame::Pong(_) => {}
            other => panic!("the switch never says {other:?}"),
        }
    }

    fn hang_up(&mut self, link: LinkId, _: Code) {
        assert!(self.links.get(&link.slot()).is_some_and(|known| known.0 == link), "hung up once");
        // What a dead host's channels were is told to their devices first.
        assert!(self.channels.iter().all(|channel| channel.host != link));
        self.forget(link);
    }
}

pub struct Run {
    switch: Switch<[LinkSlot; LINKS], [ChannelSlot; 4], [RouteSlot; 8]>,
    seen: Seen,
    rng: Seeded,
    now: Instant,
    config: Config,
}

impl Run {
    /// A host and a device are joined to begin with, or most runs would join nobody.
    pub fn joined() -> Self {
        let mut run = Self::new();
        run.step(Step::Attach);
        run.step(Step::Register { link: 0, host: 0, honest: true });
        run.step(Step::Attach);
        run.step(Step::Dial { link: 1, host: 0, honest: true });
        assert_eq!(run.seen.channels.len(), 1);
        run.step(Step::Accept { channel: 0, credit: 100_000 });
        run
    }

    pub fn new() -> Self {
        let config = Config { parked: 3, budget: 1 << 20, max_window: 256 << 10, ..Config::default() };
        let mut rng = Seeded::new(3);
        let links = core::array::from_fn(|_| LinkSlot::default());
        let channels = core::array::from_fn(|_| ChannelSlot::default());
        let routes = [RouteSlot::default(); 8];
        let switch = Switch::new(config.clone(), links, channels, routes, Instant::ZERO, UNIX, &mut rng);
        Self { switch, seen: Seen::default(), rng, now: Instant::ZERO, config }
    }

    pub fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Attach => {
                let full = self.seen.places() == LINKS;
                let link = self.switch.attach(self.now, RELAY, &mut self.rng, &mut self.seen);
                assert_eq!(link.is_err(), full);
            }
            Step::AttachWaiting => {
                let full = self.seen.places() == LINKS;
                let link = self.switch.attach_waiting(self.now, RELAY, &mut self.rng, &mut self.seen);
                assert_eq!(link.is_err(), full);
                if let Ok(link) = link {
                    self.seen.waiting.insert(link, None);
                }
            }
            Step::Register { link, host, honest } => {
                let Some((link, challenge)) = self.link(link) else { return };
                self.seen.host = host & 1;
                let (host, route) = (host & 1, &ROUTES[usize::from(host & 1)]);
                let shared = route.agree(&challenge.ephemeral).unwrap();
                let mut mac = register_mac(&shared, RELAY, &challenge.nonce, &challenge.ephemeral, route.public());
                mac[0] ^= u8::from(!honest);
                let key = [host; 32];
                let register =
                    Register { route: *route.public(), mac, current: &key, previous: &key, operator_key: b"" };
                self.say(link, 0, &Frame::Register(register));
                self.seen.may_knock = false;
            }
            Step::Dial { link, host, honest } => {
                let Some((link, challenge)) = self.link(link) else { return };
                let (host, route) = (host & 1, &ROUTES[usize::from(host & 1)]);
                let route_id = hop::route_id(route.public());
                let expiry = UNIX as u32 + 86_400;
                let mut cap_id = [0; 8];
                self.rng.try_fill_bytes(&mut cap_id).unwrap();
                let capability = Capability::mint(&Secret::new([host; 32]), &route_id, cap_id, expiry, 0);
                let mut proof = capability.dial_proof(RELAY, &challenge.nonce);
                proof[0] ^= u8::from(!honest);
                (self.seen.host, self.seen.may_knock) = (host, honest);
                let before = self.seen.joined;
                self.say(link, DEVICE_IDX, &Frame::Dial(Dial { route_id, cap_id, expiry, class: 0, proof }));
                self.seen.may_knock = false;
                assert!(honest || self.seen.joined == before, "no channel without a proof");
            }
            Step::PairSlot { link, slot, ttl } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, 0, &Frame::PairSlot { rv_hash: hop::rv_hash(&[slot & 1; 16]), ttl });
            }
            Step::DialPair { link, slot } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, DEVICE_IDX, &Frame::DialPair { rendezvous: [slot & 1; 16] });
            }
            Step::Accept { channel, credit } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &mut self.seen.channels[at];
                let (host, idx) = (channel.host, channel.idx);
                if !channel.accepted {
                    channel.accepted = true;
                    channel.up.allowed += u64::from(credit);
                }
                self.say(host, idx, &Frame::Accept { credit });
            }
            Step::Refuse { channel } => {
                let Some(at) = self.channel(channel) else { return };
                let (host, idx) = (self.seen.channels[at].host, self.seen.channels[at].idx);
                let accepted = self.seen.channels[at].accepted;
                self.say(host, idx, &Frame::Refuse { code: Code::Refused });
                assert!(accepted || self.seen.channels.iter().all(|c| (c.host, c.idx) != (host, idx)));
            }
            Step::Deny { link } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, 0, &Frame::CapDeny { cap_id: [0; 8], until: u32::MAX });
            }
            Step::Data { channel, up, len } => self.data(channel, up, len.into()),
            Step::Strange { link, idx, len } => {
                let Some((link, _)) = self.link(link) else { return };
                let own = |c: &Channel| (c.host, c.idx) == (link, idx) || (c.device == link && idx == DEVICE_IDX);
                if !self.seen.channels.iter().any(own) && idx != 0 {
                    let mut message = [&hop::data_header(idx)[..], &vec![0; len.into()]].concat();
                    let handled = self.switch.handle(self.now, link, &mut message, &mut self.rng, &mut self.seen);
                    assert!(!matches!(handled, Ok(Handled::Forward { .. })), "DATA of no channel goes nowhere");
                }
            }
            Step::Credit { channel, up, bytes } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &mut self.seen.channels[at];
                let (link, idx, flow) = if up {
                    (channel.host, channel.idx, &mut channel.up)
                } else {
                    (channel.device, DEVICE_IDX, &mut channel.down)
                };
                flow.allowed += u64::from(bytes);
                self.say(link, idx, &Frame::Credit { bytes });
            }
            Step::Close { channel, up } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &self.seen.channels[at];
                let (host, idx, device) = (channel.host, channel.idx, channel.device);
                let (link, number) = if up { (device, DEVICE_IDX) } else { (host, idx) };
                self.say(link, number, &Frame::Closed { code: Code::Normal });
                assert!(self.seen.channels.iter().all(|c| (c.host, c.idx) != (host, idx)));
                assert!(self.seen.links.values().all(|known| known.0 != device));
            }
            Step::Sent { channel, up, bytes } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &mut self.seen.channels[at];
                let (link, idx, flow) = if up {
                    (channel.host, channel.idx, &mut channel.up)
                } else {
                    (channel.device, DEVICE_IDX, &mut channel.down)
                };
                // A server tells no more than there was, the switch must not mind if it does.
                flow.left = flow.arrived.min(flow.left.saturating_add(bytes.into()));
                self.switch.sent(self.now, link, idx, bytes as usize, &mut self.seen);
            }
            Step::Detach { link } => {
                let Some((link, _)) = self.link(link) else { return };
                self.switch.detach(link, &mut self.seen);
                assert!(self.seen.channels.iter().all(|channel| channel.host != link && channel.device != link));
                self.seen.forget(link);
                self.seen.over.remove(&link);
                self.switch.detach(link, &mut self.seen);
            }
            Step::Late { link, bytes, gone } => self.late(link, bytes, gone),
            Step::Garbage { link, message: Bytes(message) } => {
                // Messages that fit into the model have steps of their own.
                if matches!(message.first(), Some(0x88..=0x8d)) && Frame::parse(message).is_ok() {
                    return;
                }
                let Some((link, _)) = self.link(link) else { return };
                let _ = self.switch.handle(self.now, link, &mut message.to_vec(), &mut self.rng, &mut self.seen);
            }
            Step::Wait { millis } => {
                self.now = self.now + Duration::from_millis(millis.into());
                self.switch.handle_timeout(self.now, &mut self.seen);
            }
        }
        self.check();
    }

    fn data(&mut self, channel: u8, up: bool, len: usize) {
        let Some(at) = self.channel(channel) else { return };
        let channel = &self.seen.channels[at];
        let (host, idx, device) = (channel.host, channel.idx, channel.device);
        let (from, number, to, expected, flow) = if up {
            (device, DEVICE_IDX, host, idx, &channel.up)
        } else {
            (host, idx, device, DEVICE_IDX, &channel.down)
        };
        let allowed = flow.arrived + len as u64 <= flow.granted && (up || channel.accepted);
        let mark = 1 + at as u8 * 2 + u8::from(up);
        let mut message = [&hop::data_header(number)[..], &vec![mark; len]].concat();
        let parses = (1..=MAX_RECORD).contains(&len);
        match self.switch.handle(self.now, from, &mut message, &mut self.rng, &mut self.seen) {
            Ok(Handled::Forward { to: link, idx }) => {
                assert!(allowed && parses);
                assert_eq!(message[..DATA_HEADER_LEN], hop::data_header(idx));
                assert!(message[DATA_HEADER_LEN..].iter().all(|byte| *byte == mark), "its own bytes");
                assert_eq!((link, idx), (to, expected), "DATA goes to its pair and nowhere else");
                let channel = &mut self.seen.channels[at];
                let flow = if up { &mut channel.up } else { &mut channel.down };
                flow.arrived += len as u64;
            }
            _ => {
                assert!(!allowed || !parses, "DATA within credit is forwarded");
                assert!(self.seen.channels.iter().all(|c| (c.host, c.idx) != (host, idx)), "it costs the channel");
            }
        }
    }

    fn late(&mut self, at: u8, bytes: u32, gone: bool) {
        let mut links: Vec<_> = self.seen.over.iter().map(|(link, over)| (link.slot(), *link, *over)).collect();
        links.sort_by_key(|(slot, ..)| *slot);
        let Some(at) = usize::from(at).checked_rem(links.len()) else { return };
        let (slot, link, over) = links[at];
        let is_leaving = self.seen.links.get(&slot).is_none_or(|known| known.0 != link);
        let left = over.bytes.saturating_sub(bytes.into());
        if gone && is_leaving {
            self.seen.over.remove(&link);
            self.switch.detach(link, &mut self.seen);
        } else {
            if left == 0 {
                self.seen.over.remove(&link);
            } else {
                self.seen.over.insert(link, Over { bytes: left, ..over });
            }
            self.switch.sent(self.now, link, over.idx, bytes as usize, &mut self.seen);
        }
        if is_leaving {
            let handled = self.switch.handle(self.now, link, &mut [0; 9], &mut self.rng, &mut self.seen);
            assert_eq!(handled, Ok(Handled::Done), "who was hung up has nothing to say");
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let counters = self.switch.counters();
        assert_eq!(counters.links as usize, self.seen.links.len());
        assert_eq!(counters.channels as usize, self.seen.channels.len());
        let waiting = self.seen.waiting.values().filter(|host| host.is_some());
        assert_eq!(counters.waiting as usize, waiting.count());
        assert!(counters.reserved <= self.config.budget && counters.parked <= self.config.parked);
        let over: u64 = self.seen.over.values().map(|over| over.bytes).sum();
        let mut held = over;
        for channel in &self.seen.channels {
            for flow in [&channel.up, &channel.down] {
                assert!(flow.left <= flow.arrived && flow.arrived <= flow.granted && flow.granted <= flow.allowed);
                assert!(flow.granted - flow.left <= u64::from(self.config.max_window), "one window");
                held += flow.arrived - flow.left;
            }
        }
        assert!(held <= counters.reserved, "what is held has been reserved");
        assert!(counters.channels > 0 || counters.reserved == over);
    }

    /// How often a host was woken.
    #[allow(dead_code, reason = "not every runner asks")]
    pub fn knocks(&self) -> usize {
        self.seen.knocks
    }

    /// Lets everything end that waits; how many channels there were.
    pub fn end(mut self) -> usize {
        self.now = self.now + Duration::from_millis(1);
        self.switch.handle_timeout(self.now, &mut self.seen);
        while let Some(next) = self.switch.poll_timeout() {
            assert!(next > self.now, "nothing spins");
            self.now = next;
            self.switch.handle_timeout(self.now, &mut self.seen);
            self.check();
        }
        // Silence ends no waiting; the socket does.
        for link in self.seen.waiting.keys().copied().collect::<Vec<_>>() {
            self.switch.detach(link, &mut self.seen);
            self.seen.forget(link);
        }
        self.check();
        let counters = self.switch.counters();
        assert_eq!((counters.links, counters.hosts, counters.channels, counters.parked), (0, 0, 0, 0));
        while !self.seen.over.is_empty() {
            self.late(0, u32::MAX, self.seen.joined.is_multiple_of(2));
            self.check();
        }
        assert_eq!(self.switch.counters().reserved, 0);
        self.seen.joined
    }

    fn say(&mut self, link: LinkId, idx: u32, frame: &Frame<'_>) -> Option<Handled> {
        let mut out = [0; 512];
        let mut w = Writer::new(&mut out);
        frame.emit(idx, &mut w).unwrap();
        let len = w.len();
        self.switch.handle(self.now, link, &mut out[..len], &mut self.rng, &mut self.seen).ok()
    }

    fn link(&self, at: u8) -> Option<(LinkId, Challenge)> {
        self.seen.links.values().nth(usize::from(at) % self.seen.links.len().max(1)).copied()
    }

    fn channel(&self, at: u8) -> Option<usize> {
        usize::from(at).checked_rem(self.seen.channels.len())
    }
}

pub fn check(Steps(steps): Steps<Step<'_>>) {
    let mut run = Run::joined();
    for step in steps {
        run.step(step);
    }
    assert!(run.end() > 0);
}
