//! Sessions that outlive their channels: links that are cut at any record, in any order, also while
//! the next one begins; what both ends deliver is exact all the same (protocol 10.3).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Detached, Error, Event, Output, Resumption, code, token_hash};
use homing_core::crypto::{Identity, Psk};
use homing_core::handshake::{Door, HELLO_MAX, Keys, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::mux::{self, Source, Taken};
use homing_core::wire::{MAX_RECORD, Params, Scope, StreamId};
use proptest::prelude::*;
use support::Seeded;

const STREAMS: usize = 16;
/// Of its streams, half are the peer's to open.
const FEW: Params =
    Params { features: 0, max_record: 16_384, max_streams: 8, session_window: 128 << 10, stream_window: 64 << 10 };
const TOKEN: [u8; 40] = [7; 40];
type Chan = Channel<STREAMS>;

/// The byte at a place of one direction of a stream.
fn byte_at(id: u32, from_host: bool, place: u64) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8) ^ (u64::from(id) * 7) ^ (u64::from(from_host) * 101)) as u8
}

/// What an application knows of one stream.
#[derive(Debug, Default)]
struct Pipe {
    offered: u64,
    ends: bool,
    acknowledged: u64,
    end_acknowledged: bool,
    received: u64,
    unread: usize,
    ended: bool,
    reset: Option<u16>,
    stopped: Option<u16>,
    released: bool,
}

struct End {
    from_host: bool,
    channel: Option<Chan>,
    kept: Option<Detached<STREAMS>>,
    pipes: BTreeMap<u32, Pipe>,
    /// Bytes that were asked for, to see how many were sent twice.
    asked: u64,
    resumed: usize,
    lost: usize,
}

struct Pipes<'a>(&'a mut BTreeMap<u32, Pipe>, bool, &'a mut u64);

impl Source for Pipes<'_> {
    fn read(&mut self, id: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let pipe = self.0.get(&id.0).unwrap();
        assert!(offset >= pipe.acknowledged, "what was acknowledged is asked for again");
        let len = (pipe.offered - offset).min(buf.len() as u64);
        for (i, byte) in buf[..len as usize].iter_mut().enumerate() {
            *byte = byte_at(id.0, self.1, offset + i as u64);
        }
        *self.2 += len;
        let more = offset + len < pipe.offered;
        Taken { len: len as usize, more, fin: !more && pipe.ends }
    }
}

impl End {
    fn new(from_host: bool) -> Self {
        Self { from_host, channel: None, kept: None, pipes: BTreeMap::new(), asked: 0, resumed: 0, lost: 0 }
    }

    /// The streams, attached or not.
    fn streams(&mut self) -> Option<&mut mux::Mux<STREAMS>> {
        match (&mut self.kept, &mut self.channel) {
            (Some(kept), _) => Some(kept.streams()),
            (None, channel) => channel.as_mut().map(Chan::streams),
        }
    }

    fn open(&mut self, now: Instant) -> Option<u32> {
        let id = self.channel.as_mut()?.open(now)?.0;
        assert!(self.pipes.insert(id, Pipe::default()).is_none());
        Some(id)
    }

    fn write(&mut self, id: u32, bytes: u64, end: bool) {
        let pipe = self.pipes.get_mut(&id).unwrap();
        if pipe.ends || pipe.released || pipe.stopped.is_some() {
            return;
        }
        pipe.offered += bytes;
        pipe.ends = end;
        if let Some(streams) = self.streams() {
            streams.wants(StreamId(id));
        }
    }

    fn read(&mut self, id: u32, now: Instant) {
        let unread = core::mem::take(&mut self.pipes.get_mut(&id).unwrap().unread);
        if let Some(streams) = self.streams() {
            streams.consumed(StreamId(id), unread, now);
        }
    }

    fn release(&mut self, id: u32, code: u16, now: Instant) {
        self.pipes.get_mut(&id).unwrap().released = true;
        if let Some(streams) = self.streams() {
            streams.release(StreamId(id), code, now);
        }
    }

    /// The link is gone.
    fn lose(&mut self) {
        if let Some(mut channel) = self.channel.take()
            && let Some(detached) = channel.detach()
        {
            assert!(self.kept.is_none());
            self.kept = Some(detached);
        }
    }

    fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let channel = self.channel.as_mut()?;
        if channel.poll_timeout().is_some_and(|at| now >= at) {
            channel.handle_timeout(now).unwrap();
        }
        let mut out = vec![0; MAX_RECORD];
        let mut source = Pipes(&mut self.pipes, self.from_host, &mut self.asked);
        match channel.poll_output(now, &mut source, &mut out).unwrap() {
            Output::Transmit { len } => {
                out.truncate(len);
                Some(out)
            }
            Output::Wait { .. } => None,
        }
    }

    fn hear(&mut self, now: Instant, record: &mut [u8]) {
        let Some(channel) = self.channel.as_mut() else { return };
        let mut resumed = false;
        let mut events = channel.handle_input(now, record).unwrap();
        while let Some(event) = events.next() {
            match event.unwrap() {
                Event::ResumeRequested(request) => {
                    let Some(kept) = self.kept.take() else { continue };
                    assert!(request.is_proven_by(kept.resumption()));
                    events.adopt(kept).unwrap();
                }
                Event::Established => self.lost += usize::from(!self.pipes.is_empty()),
                Event::Reattached => {}
                Event::Stream(mux::Event::Resumed) => resumed = true,
                Event::Stream(mux::Event::Opened { id, data, fin }) => {
                    assert!(self.pipes.insert(id.0, Pipe::default()).is_none(), "opened twice");
                    receive(&mut self.pipes, self.from_host, id, data, fin);
                }
                Event::Stream(mux::Event::Data { id, data, fin }) => {
                    receive(&mut self.pipes, self.from_host, id, data, fin);
                }
                Event::Stream(mux::Event::Reset { id, code }) => {
                    let pipe = self.pipes.get_mut(&id.0).unwrap();
                    assert!(!pipe.ended && pipe.reset.is_none());
                    pipe.reset = Some(code);
                }
                Event::Stream(mux::Event::Stopped { id, code }) => {
                    assert_eq!(self.pipes.get_mut(&id.0).unwrap().stopped.replace(code), None);
                }
                Event::Stream(mux::Event::Acknowledged { id, received, end }) => {
                    let pipe = self.pipes.get_mut(&id.0).unwrap();
                    pipe.acknowledged = pipe.acknowledged.max(received);
                    pipe.end_acknowledged |= end;
                }
                Event::Stream(mux::Event::MayOpen) => {}
                other => panic!("{other:?}"),
            }
        }
        drop(events);
        if resumed {
            self.resumed += 1;
            for (id, pipe) in &mut self.pipes {
                match self.channel.as_mut().unwrap().streams().acknowledged(StreamId(*id)) {
                    Some(acknowledged) => {
                        assert!(!pipe.end_acknowledged && acknowledged >= pipe.acknowledged);
                        pipe.acknowledged = acknowledged;
                    }
                    None => pipe.end_acknowledged = true,
                }
            }
        }
    }
}

fn receive(pipes: &mut BTreeMap<u32, Pipe>, by_host: bool, id: StreamId, data: &[u8], fin: bool) {
    let pipe = pipes.get_mut(&id.0).unwrap();
    assert!(!pipe.ended && pipe.reset.is_none());
    for byte in data {
        assert_eq!(*byte, byte_at(id.0, !by_host, pipe.received), "stream {} at {}", id.0, pipe.received);
        pipe.received += 1;
    }
    pipe.unread += data.len();
    pipe.ended = fin;
}

/// A device and its host, and the records between them.
struct World {
    device: End,
    host: End,
    to_host: VecDeque<Vec<u8>>,
    to_device: VecDeque<Vec<u8>>,
    now: Instant,
    rng: Seeded,
    params: Params,
}

impl World {
    fn new(seed: u64, params: Params) -> Self {
        let mut world = Self {
            device: End::new(false),
            host: End::new(true),
            to_host: VecDeque::new(),
            to_device: VecDeque::new(),
            now: Instant::ZERO,
            rng: Seeded::new(seed),
            params,
        };
        world.attach();
        world.settle();
        world
    }

    fn keys(&mut self) -> (Keys, Keys) {
        let rng = &mut self.rng;
        let (device, host, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
        let (mut hello, mut reply) = ([0; HELLO_MAX], [0; REPLY_MAX]);
        let route = [3; 16];
        let channel = [9; 16];
        let kind = Kind::Connect { route: &route, psk: &psk };
        let (len, wait) =
            start(Suite::Classic, kind, &channel, &device, host.public(), self.params, rng, &mut hello).unwrap();
        let mac1_key = host_mac1_key(host.public());
        let door = Door { identity: &host, mac1_key: &mac1_key, route: &route, weakest: Suite::Classic };
        let Knock::Connect(knock) = hear(door, [], &channel, &mut hello[..len]).unwrap() else { panic!() };
        let (len, host_keys, _) = knock.reply(&psk, self.params, rng, &mut reply).unwrap();
        let (device_keys, _) = wait.read(&mut reply[..len]).unwrap();
        (device_keys, host_keys)
    }

    /// The device calls again; the old link is gone for good.
    fn attach(&mut self) {
        self.cut();
        let (near, far) = self.keys();
        let config = Config::default();
        self.device.channel = Some(match self.device.kept.take() {
            Some(kept) => Chan::resume(&near, &TOKEN, kept, &config, self.now),
            None => Chan::connect(&near, &TOKEN, &config, self.now),
        });
        self.host.channel = Some(Chan::admit(&far, token_hash(&TOKEN), &config, self.now));
    }

    fn cut(&mut self) {
        self.device.lose();
        self.host.lose();
        self.to_host.clear();
        self.to_device.clear();
    }

    /// One record each way; whether there was one.
    fn exchange(&mut self) -> bool {
        self.now = self.now + Duration::from_millis(30);
        let mut moved = false;
        if let Some(record) = self.device.poll(self.now) {
            self.to_host.push_back(record);
        }
        if let Some(record) = self.host.poll(self.now) {
            self.to_device.push_back(record);
        }
        if let Some(mut record) = self.to_host.pop_front() {
            self.host.hear(self.now, &mut record);
            moved = true;
        }
        if let Some(mut record) = self.to_device.pop_front() {
            self.device.hear(self.now, &mut record);
            moved = true;
        }
        moved
    }

    fn read_all(&mut self) {
        for end in [&mut self.device, &mut self.host] {
            let ids: Vec<u32> = end.pipes.keys().copied().collect();
            for id in ids {
                end.read(id, self.now);
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.read_all();
            if !self.exchange() {
                return;
            }
        }
        panic!("no end of talk");
    }

    /// Everything that was offered has arrived, ends included.
    fn check_delivered(&self) {
        for (from, to) in [(&self.device, &self.host), (&self.host, &self.device)] {
            for (id, pipe) in &from.pipes {
                let Some(other) = to.pipes.get(id) else {
                    assert!(pipe.released, "stream {id} never arrived");
                    continue;
                };
                let given_up = pipe.released || other.released || pipe.stopped.is_some();
                if !given_up {
                    assert_eq!((other.received, other.ended), (pipe.offered, pipe.ends), "stream {id}");
                    assert_eq!(pipe.end_acknowledged, pipe.ends);
                }
                if pipe.released && !pipe.ends && !other.released {
                    assert!(other.reset.is_some(), "stream {id}: nobody told that it was given up");
                }
            }
        }
    }
}

#[test]
fn streams_go_on_where_they_were() {
    let mut world = World::new(1, FEW);
    let (up, both) = (world.device.open(world.now).unwrap(), world.device.open(world.now).unwrap());
    world.device.write(up, 300_000, false);
    world.device.write(both, 10, true);
    for _ in 0..3 {
        world.exchange();
    }
    let down = world.host.open(world.now).unwrap();
    world.host.write(down, 200_000, true);
    world.host.write(both, 70_000, false);
    world.exchange();
    world.attach();
    world.device.write(up, 5, true);
    world.host.write(both, 1, true);
    world.settle();
    world.check_delivered();
    assert_eq!((world.device.resumed, world.host.resumed, world.device.lost), (1, 1, 0));
}

#[test]
fn a_host_that_forgot_the_session_begins_a_new_one() {
    let mut world = World::new(2, FEW);
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 1000, false);
    world.settle();
    world.cut();
    world.host = End::new(true);
    world.attach();
    world.settle();
    assert_eq!((world.device.lost, world.device.resumed), (1, 0));
    world.device.pipes.clear();
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 1000, true);
    world.settle();
    world.check_delivered();
}

#[test]
fn a_resume_without_the_secret_is_a_new_session() {
    let mut world = World::new(3, FEW);
    world.cut();
    let mut other = World::new(4, FEW);
    other.cut();
    // Another session's secret under this one's name.
    let foreign = other.host.kept.take().unwrap();
    let own = world.device.kept.as_ref().unwrap().resumption().session_id();
    assert_ne!(foreign.resumption().session_id(), own);
    let (near, far) = world.keys();
    let config = Config::default();
    let mut device = Chan::resume(&near, &TOKEN, world.device.kept.take().unwrap(), &config, world.now);
    let mut host = Chan::admit(&far, token_hash(&TOKEN), &config, world.now);
    let mut out = vec![0; MAX_RECORD];
    let mut none = Pipes(&mut BTreeMap::new(), false, &mut 0);
    let Output::Transmit { len } = device.poll_output(world.now, &mut none, &mut out).unwrap() else { panic!() };
    let mut events = host.handle_input(world.now, &mut out[..len]).unwrap();
    let Some(Ok(Event::ResumeRequested(request))) = events.next() else { panic!() };
    assert!(!request.is_proven_by(foreign.resumption()));
    assert!(events.adopt(foreign).is_err());
    assert_eq!(events.next(), Some(Ok(Event::Established)));
    assert_eq!(events.next(), None);
    drop(events);
    assert!(host.is_open());
}

#[test]
fn a_newer_attachment_takes_over_and_the_older_is_told() {
    let mut world = World::new(5, FEW);
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 50_000, false);
    world.exchange();
    // The device lost its link; the host has not noticed.
    world.device.lose();
    let mut old = world.host.channel.take().unwrap();
    old.close(Scope::Channel, code::SUPERSEDED, "");
    world.host.kept = old.detach();
    assert!(old.detach().is_none(), "a session has one place");
    let mut none = Pipes(&mut BTreeMap::new(), true, &mut 0);
    let told = old.poll_output(world.now, &mut none, &mut vec![0; MAX_RECORD]).unwrap();
    assert!(matches!(told, Output::Transmit { .. }) && old.is_over());
    world.to_host.clear();
    world.to_device.clear();
    world.attach();
    world.device.write(id, 0, true);
    world.settle();
    world.check_delivered();
}

#[test]
fn an_older_attachment_is_turned_away_and_the_session_stays() {
    let mut world = World::new(6, FEW);
    let (near, far) = world.keys();
    world.cut();
    let kept = world.device.kept.take().unwrap();
    let mut device = Chan::resume(&near, &TOKEN, kept, &Config::default(), world.now);
    let mut host = Chan::admit(&far, token_hash(&TOKEN), &Config::default(), world.now);
    let mut out = vec![0; MAX_RECORD];
    let mut none = Pipes(&mut BTreeMap::new(), false, &mut 0);
    let Output::Transmit { len } = device.poll_output(world.now, &mut none, &mut out).unwrap() else { panic!() };
    let mut events = host.handle_input(world.now, &mut out[..len]).unwrap();
    assert!(matches!(events.next(), Some(Ok(Event::ResumeRequested(_)))));
    events.refuse();
    assert_eq!(events.next(), None);
    drop(events);
    let Output::Transmit { len } = host.poll_output(world.now, &mut none, &mut out).unwrap() else { panic!() };
    let mut events = device.handle_input(world.now, &mut out[..len]).unwrap();
    let Some(Ok(Event::Closed(close))) = events.next() else { panic!() };
    assert_eq!((close.scope, close.code), (Scope::Channel, code::SUPERSEDED));
    drop(events);
    world.device.kept = device.detach();
    world.attach();
    world.settle();
    assert_eq!((world.device.resumed, world.host.resumed), (1, 1));
}

#[test]
fn a_session_that_was_closed_is_not_resumed() {
    let mut world = World::new(7, FEW);
    let channel = world.device.channel.as_mut().unwrap();
    assert!(channel.resumption().is_some());
    channel.close(Scope::Session, code::NORMAL, "");
    assert!(channel.resumption().is_none() && channel.detach().is_none());
    let mut record = world.device.poll(world.now).unwrap();
    let host = world.host.channel.as_mut().unwrap();
    assert!(host.handle_input(world.now, &mut record).unwrap().all(|event| event.is_ok()));
    assert!(host.detach().is_none());
}

#[test]
fn a_damaged_record_ends_the_channel_only() {
    let mut world = World::new(8, FEW);
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 1000, true);
    let mut record = world.device.poll(world.now).unwrap();
    let last = record.len() - 1;
    record[last] ^= 1;
    let host = world.host.channel.as_mut().unwrap();
    assert!(matches!(host.handle_input(world.now, &mut record).map(drop), Err(Error::Discard(_))));
    world.attach();
    world.settle();
    world.check_delivered();
    assert_eq!(world.host.resumed, 1);
}

#[test]
fn the_debug_of_what_is_kept_shows_no_secret() {
    let mut world = World::new(9, FEW);
    world.cut();
    let kept = world.device.kept.take().unwrap();
    let resumption: &Resumption = kept.resumption();
    assert_eq!(format!("{kept:?} {resumption:?}"), "Detached { streams: 0, .. } Resumption { .. }");
}

#[derive(Clone, Debug)]
enum Step {
    Open {
        host: bool,
    },
    Write {
        host: bool,
        n: usize,
        bytes: u64,
        end: bool,
    },
    Read {
        host: bool,
        n: usize,
    },
    Release {
        host: bool,
        n: usize,
    },
    Exchange(u8),
    /// Bytes leave and never arrive.
    Drop {
        to_host: bool,
    },
    Cut,
    Attach,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..64usize;
    let step = prop_oneof![
        2 => any::<bool>().prop_map(|host| Step::Open { host }),
        4 => (any::<bool>(), n.clone(), 0..40_000u64, prop::bool::weighted(0.3))
            .prop_map(|(host, n, bytes, end)| Step::Write { host, n, bytes, end }),
        2 => (any::<bool>(), n.clone()).prop_map(|(host, n)| Step::Read { host, n }),
        1 => (any::<bool>(), n).prop_map(|(host, n)| Step::Release { host, n }),
        6 => (1..4u8).prop_map(Step::Exchange),
        1 => any::<bool>().prop_map(|to_host| Step::Drop { to_host }),
        1 => Just(Step::Cut),
        2 => Just(Step::Attach),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_cut_delivery_is_exact(seed in any::<u64>(), small in any::<bool>(), steps in steps()) {
        let params = if small {
            Params { max_streams: 8, max_record: 1024, session_window: 16 << 10, stream_window: 4 << 10, features: 0 }
        } else {
            FEW
        };
        let mut world = World::new(seed, params);
        for step in steps {
            let now = world.now;
            let pick = |end: &End, n: usize| {
                let ids: Vec<u32> = end.pipes.iter().filter(|(_, pipe)| !pipe.released).map(|(id, _)| *id).collect();
                (!ids.is_empty()).then(|| ids[n % ids.len()])
            };
            match step {
                Step::Open { host } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    end.open(now);
                }
                Step::Write { host, n, bytes, end: fin } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    if let Some(id) = pick(end, n) {
                        end.write(id, bytes, fin);
                    }
                }
                Step::Read { host, n } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    if let Some(id) = pick(end, n) {
                        end.read(id, now);
                    }
                }
                Step::Release { host, n } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    if let Some(id) = pick(end, n) {
                        end.release(id, 300, now);
                    }
                }
                Step::Exchange(times) => {
                    for _ in 0..times {
                        world.exchange();
                    }
                }
                Step::Drop { to_host } => {
                    // What is lost on an ordered transport takes the rest with it.
                    let end = if to_host { &mut world.device } else { &mut world.host };
                    if end.poll(now).is_some() {
                        world.cut();
                    }
                }
                Step::Cut => world.cut(),
                Step::Attach => world.attach(),
            }
        }
        if world.device.channel.is_none() {
            world.attach();
        }
        world.settle();
        world.check_delivered();
        prop_assert_eq!(world.device.lost, 0);
        // All that was given up or ended both ways has left both tables.
        for end in [&mut world.device, &mut world.host] {
            let ids: Vec<u32> = end.pipes.keys().copied().collect();
            for id in ids {
                end.release(id, 0, world.now);
            }
        }
        world.settle();
        for end in [&mut world.device, &mut world.host] {
            prop_assert_eq!(end.channel.as_mut().unwrap().streams().len(), 0);
        }
    }
}
