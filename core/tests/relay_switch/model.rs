//! A switch under random events against a plain model of who is joined with whom.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use homing_core::Instant;
use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::hop::{
    self, Capability, ChannelId, Code, DEVICE_IDX, Dial, EARLY_CREDIT, Frame, MAX_MESSAGE, Register, register_mac,
};
use homing_core::relay::{ChannelSlot, Config, Handled, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use homing_core::wire::Writer;
use proptest::prelude::*;
use rand_core::TryRng;

use crate::rng::TestRng;
use crate::world::{RELAY, UNIX};

/// What may happen. Links are chosen by number among those there are.
#[derive(Clone, Debug)]
enum Step {
    Attach,
    Register { link: usize, host: u8, honest: bool },
    Dial { link: usize, host: u8, honest: bool },
    PairSlot { link: usize, slot: u8, ttl: u16 },
    DialPair { link: usize, slot: u8 },
    Accept { channel: usize, credit: u32 },
    Refuse { channel: usize },
    Deny { link: usize },
    Data { channel: usize, up: bool, len: usize },
    Strange { link: usize, idx: u32, len: usize },
    Credit { channel: usize, up: bool, bytes: u32 },
    Close { channel: usize, up: bool },
    Sent { channel: usize, up: bool, bytes: usize },
    Detach { link: usize },
    Garbage { link: usize, message: Vec<u8> },
    Wait { millis: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    use Step::*;
    let (n, host, flag) = (0usize..8, 0u8..2, any::<bool>());
    let size = prop_oneof![1usize..5000, Just(16_000usize)];
    let credit = prop_oneof![1u32..200_000, Just(u32::MAX)];
    let garbage = (0x7fu8..0x92, 0u8..3, proptest::collection::vec(any::<u8>(), 0..80));
    prop_oneof![
        4 => Just(Attach),
        4 => (n.clone(), host.clone(), prop::bool::weighted(0.8))
            .prop_map(|(link, host, honest)| Register { link, host, honest }),
        6 => (n.clone(), host.clone(), prop::bool::weighted(0.8))
            .prop_map(|(link, host, honest)| Dial { link, host, honest }),
        1 => (n.clone(), host.clone(), 0u16..60).prop_map(|(link, slot, ttl)| PairSlot { link, slot, ttl }),
        1 => (n.clone(), host).prop_map(|(link, slot)| DialPair { link, slot }),
        5 => (n.clone(), 0u32..200_000).prop_map(|(channel, credit)| Accept { channel, credit }),
        1 => n.clone().prop_map(|channel| Refuse { channel }),
        1 => n.clone().prop_map(|link| Deny { link }),
        20 => (n.clone(), flag, size.clone()).prop_map(|(channel, up, len)| Data { channel, up, len }),
        1 => (n.clone(), any::<u32>(), size.clone()).prop_map(|(link, idx, len)| Strange { link, idx, len }),
        6 => (n.clone(), flag, credit).prop_map(|(channel, up, bytes)| Credit { channel, up, bytes }),
        1 => (n.clone(), flag).prop_map(|(channel, up)| Close { channel, up }),
        12 => (n.clone(), flag, size).prop_map(|(channel, up, bytes)| Sent { channel, up, bytes: bytes * 3 }),
        1 => n.clone().prop_map(|link| Detach { link }),
        1 => (n, garbage).prop_map(|(link, (kind, idx, body))| {
            Garbage { link, message: [&[kind, idx, 0, 0, 0], &body[..]].concat() }
        }),
        3 => prop_oneof![0u64..50, 0u64..12_000].prop_map(|millis| Wait { millis }),
    ]
}

#[derive(Default)]
struct Seen {
    links: BTreeMap<usize, (LinkId, Challenge)>,
    opened: HashMap<ChannelId, LinkId>,
    channels: Vec<Channel>,
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
        self.channels.retain(|channel| channel.device != link && channel.host != link);
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
                self.channels.retain(|c| (c.host, c.idx) != (link, idx) && !(c.device == link && idx == DEVICE_IDX));
            }
            Frame::Closed { .. } | Frame::Ok { .. } | Frame::Pong(_) => {}
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

struct Run {
    switch: Switch<[LinkSlot; 8], [ChannelSlot; 4], [RouteSlot; 8]>,
    seen: Seen,
    rng: TestRng,
    now: Instant,
    config: Config,
}

impl Run {
    fn new() -> Self {
        let config = Config { parked: 3, budget: 1 << 20, max_window: 256 << 10, ..Config::default() };
        let mut rng = TestRng(3);
        let links = core::array::from_fn(|_| LinkSlot::default());
        let channels = core::array::from_fn(|_| ChannelSlot::default());
        let routes = [RouteSlot::default(); 8];
        let switch = Switch::new(config.clone(), links, channels, routes, Instant::ZERO, UNIX, &mut rng);
        Self { switch, seen: Seen::default(), rng, now: Instant::ZERO, config }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Attach => {
                let full = self.seen.links.len() == 8;
                let link = self.switch.attach(self.now, RELAY, &mut self.rng, &mut self.seen);
                assert_eq!(link.is_err(), full);
            }
            Step::Register { link, host, honest } => {
                let Some((link, challenge)) = self.link(link) else { return };
                let route = Identity::from_secret(&Secret::new([host + 1; 32]));
                let shared = route.agree(&challenge.ephemeral).unwrap();
                let mut mac = register_mac(&shared, RELAY, &challenge.nonce, &challenge.ephemeral, route.public());
                mac[0] ^= u8::from(!honest);
                let key = [host; 32];
                let register =
                    Register { route: *route.public(), mac, current: &key, previous: &key, operator_key: b"" };
                self.say(link, 0, &Frame::Register(register));
            }
            Step::Dial { link, host, honest } => {
                let Some((link, challenge)) = self.link(link) else { return };
                let route = Identity::from_secret(&Secret::new([host + 1; 32]));
                let route_id = hop::route_id(route.public());
                let expiry = UNIX as u32 + 86_400;
                let mut cap_id = [0; 8];
                self.rng.try_fill_bytes(&mut cap_id).unwrap();
                let capability = Capability::mint(&Secret::new([host; 32]), &route_id, cap_id, expiry, 0);
                let mut proof = capability.dial_proof(RELAY, &challenge.nonce);
                proof[0] ^= u8::from(!honest);
                let before = self.seen.joined;
                self.say(link, DEVICE_IDX, &Frame::Dial(Dial { route_id, cap_id, expiry, class: 0, proof }));
                assert!(honest || self.seen.joined == before, "no channel without a proof");
            }
            Step::PairSlot { link, slot, ttl } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, 0, &Frame::PairSlot { rv_hash: hop::rv_hash(&[slot; 16]), ttl });
            }
            Step::DialPair { link, slot } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, DEVICE_IDX, &Frame::DialPair { rendezvous: [slot; 16] });
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
            Step::Data { channel, up, len } => self.data(channel, up, len),
            Step::Strange { link, idx, len } => {
                let Some((link, _)) = self.link(link) else { return };
                let own = |c: &Channel| (c.host, c.idx) == (link, idx) || (c.device == link && idx == DEVICE_IDX);
                if !self.seen.channels.iter().any(own) && idx != 0 {
                    let handled = self.say(link, idx, &Frame::Data(&vec![0; len]));
                    assert!(!matches!(handled, Some(Handled::Forward { .. })), "DATA of no channel goes nowhere");
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
                flow.left = flow.arrived.min(flow.left + bytes as u64);
                self.switch.sent(self.now, link, idx, bytes, &mut self.seen);
            }
            Step::Detach { link } => {
                let Some((link, _)) = self.link(link) else { return };
                self.switch.detach(link, &mut self.seen);
                assert!(self.seen.channels.iter().all(|channel| channel.host != link && channel.device != link));
                self.seen.forget(link);
                self.switch.detach(link, &mut self.seen);
            }
            Step::Garbage { link, mut message } => {
                // Messages that fit into the model have steps of their own.
                if matches!(message[0], 0x88..=0x8d) && Frame::parse(&message).is_ok() {
                    return;
                }
                let Some((link, _)) = self.link(link) else { return };
                let _ = self.switch.handle(self.now, link, &mut message, &mut self.rng, &mut self.seen);
            }
            Step::Wait { millis } => {
                self.now = self.now + Duration::from_millis(millis);
                self.switch.handle_timeout(self.now, &mut self.seen);
            }
        }
        self.check();
    }

    fn data(&mut self, channel: usize, up: bool, len: usize) {
        let Some(at) = self.channel(channel) else { return };
        let channel = &self.seen.channels[at];
        let (host, idx, device) = (channel.host, channel.idx, channel.device);
        let (from, number, to, expected, flow) = if up {
            (device, DEVICE_IDX, host, idx, &channel.up)
        } else {
            (host, idx, device, DEVICE_IDX, &channel.down)
        };
        let allowed = flow.arrived + len as u64 <= flow.granted && (up || channel.accepted);
        match self.say(from, number, &Frame::Data(&vec![7; len])) {
            Some(Handled::Forward { to: link, idx }) => {
                assert!(allowed);
                assert_eq!((link, idx), (to, expected), "DATA goes to its pair and nowhere else");
                let channel = &mut self.seen.channels[at];
                let flow = if up { &mut channel.up } else { &mut channel.down };
                flow.arrived += len as u64;
            }
            _ => {
                assert!(!allowed, "DATA within credit is forwarded");
                assert!(self.seen.channels.iter().all(|c| (c.host, c.idx) != (host, idx)), "it costs the channel");
            }
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let counters = self.switch.counters();
        assert_eq!(counters.links as usize, self.seen.links.len());
        assert_eq!(counters.channels as usize, self.seen.channels.len());
        assert!(counters.reserved <= self.config.budget && counters.parked <= self.config.parked);
        let mut held = 0;
        for channel in &self.seen.channels {
            for flow in [&channel.up, &channel.down] {
                assert!(flow.left <= flow.arrived && flow.arrived <= flow.granted && flow.granted <= flow.allowed);
                assert!(flow.granted - flow.left <= u64::from(self.config.max_window), "one window");
                held += flow.arrived - flow.left;
            }
        }
        assert!(held <= counters.reserved, "what is held has been reserved");
        assert!(counters.channels > 0 || counters.reserved == 0);
    }

    fn end(mut self) -> usize {
        self.now = self.now + Duration::from_millis(1);
        self.switch.handle_timeout(self.now, &mut self.seen);
        while let Some(next) = self.switch.poll_timeout() {
            assert!(next > self.now, "nothing spins");
            self.now = next;
            self.switch.handle_timeout(self.now, &mut self.seen);
            self.check();
        }
        let counters = self.switch.counters();
        assert_eq!((counters.links, counters.hosts, counters.channels, counters.parked), (0, 0, 0, 0));
        assert_eq!(counters.reserved, 0);
        self.seen.joined
    }

    fn say(&mut self, link: LinkId, idx: u32, frame: &Frame<'_>) -> Option<Handled> {
        let mut out = vec![0; MAX_MESSAGE];
        let mut w = Writer::new(&mut out);
        frame.emit(idx, &mut w).unwrap();
        let len = w.len();
        self.switch.handle(self.now, link, &mut out[..len], &mut self.rng, &mut self.seen).ok()
    }

    fn link(&self, at: usize) -> Option<(LinkId, Challenge)> {
        self.seen.links.values().nth(at % self.seen.links.len().max(1)).copied()
    }

    fn channel(&self, at: usize) -> Option<usize> {
        at.checked_rem(self.seen.channels.len())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn data_stays_in_its_pair_and_within_its_credit(steps in proptest::collection::vec(any_step(), 1..150)) {
        let mut run = Run::new();
        // A host and a device to begin with, or most runs would join nobody.
        run.step(Step::Attach);
        run.step(Step::Register { link: 0, host: 0, honest: true });
        run.step(Step::Attach);
        run.step(Step::Dial { link: 1, host: 0, honest: true });
        prop_assert_eq!(run.seen.channels.len(), 1);
        run.step(Step::Accept { channel: 0, credit: 100_000 });
        for step in steps {
            run.step(step);
        }
        prop_assert!(run.end() > 0);
    }

    #[test]
    fn garbage_never_panics(messages in proptest::collection::vec((0usize..3, proptest::collection::vec(any::<u8>(), 0..200)), 0..50)) {
        let mut run = Run::new();
        for (link, message) in messages {
            run.step(Step::Attach);
            run.step(Step::Garbage { link, message: [&[0x80], &message[..]].concat() });
        }
        run.end();
    }
}
