//! Streams of two honest ends whose link is cut now and then: what was sent arrives, in order, once.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::mux::{self, Mux, Source, Taken, WindowCaps};
use homing_core::session::Role;
use homing_core::wire::{Frame, Params, Reader, ResumeEntry, ResumeState, StreamId, Writer};

use super::Steps;

/// One direction of one stream, as its sender and its receiver see it.
#[derive(Debug, Default)]
struct Pipe {
    /// Bytes the application wants to send in total, and whether it ends there.
    offered: u64,
    ends: bool,
    /// Taken by the mux, end included.
    taken: u64,
    ended: bool,
    /// Gave up: the sender by reset or release, or because the receiver stopped.
    cut: bool,
    acknowledged: u64,
}

#[derive(Debug, Default)]
struct Inbox {
    received: u64,
    consumed: u64,
    ended: bool,
    cut: bool,
    /// Was asked to end early. After a loss that may reach a sender that had sent all before.
    stopped: bool,
}

/// An end of two joined muxes, with what its application knows.
struct End {
    mux: Mux<8>,
    out: BTreeMap<u32, Pipe>,
    into: BTreeMap<u32, Inbox>,
    released: Vec<u32>,
    /// Limits as this end has heard them, and what it was seen to send.
    limits: BTreeMap<u32, u64>,
    session_limit: u64,
    sent: BTreeMap<u32, u64>,
    resumed: usize,
    low_bit: u32,
}

const STREAM_WINDOW: u32 = 64;
const SESSION_WINDOW: u32 = 160;
const CAPS: WindowCaps = WindowCaps { stream: 200, session: 500 };
const PARAMS: Params = Params {
    features: 0,
    max_record: 1024,
    max_streams: 4,
    session_window: SESSION_WINDOW,
    stream_window: STREAM_WINDOW,
};

/// The byte at a place of one direction of a stream.
fn byte_at(id: u32, from: u32, place: u64) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8) ^ (u64::from(id) * 7) ^ (u64::from(from) * 101)) as u8
}

struct Outgoing<'e>(&'e mut BTreeMap<u32, Pipe>, u32);

impl Source for Outgoing<'_> {
    fn read(&mut self, id: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let pipe = self.0.get_mut(&id.0).expect("only streams that want are asked");
        assert!(offset >= pipe.acknowledged, "what was acknowledged is asked for again");
        let len = (pipe.offered - offset).min(buf.len() as u64);
        for (place, byte) in (offset..).zip(&mut buf[..len as usize]) {
            *byte = byte_at(id.0, self.1, place);
        }
        pipe.taken = pipe.taken.max(offset + len);
        let rest = pipe.offered - offset - len;
        pipe.ended |= rest == 0 && pipe.ends;
        Taken { len: len as usize, more: rest > 0, fin: rest == 0 && pipe.ends }
    }
}

impl End {
    fn new(role: Role) -> Self {
        Self {
            mux: Mux::new(role, PARAMS, PARAMS, CAPS, Instant::ZERO),
            out: BTreeMap::new(),
            into: BTreeMap::new(),
            released: Vec::new(),
            limits: BTreeMap::new(),
            session_limit: SESSION_WINDOW.into(),
            sent: BTreeMap::new(),
            resumed: 0,
            low_bit: u32::from(role == Role::Host),
        }
    }

    fn add(&mut self, id: u32) {
        assert!(self.out.insert(id, Pipe::default()).is_none(), "stream {id} opened twice");
        self.into.insert(id, Inbox::default());
    }

    /// A stream that the application still holds.
    fn pick(&self, n: u8) -> Option<StreamId> {
        let held: Vec<_> = self.out.keys().filter(|id| !self.released.contains(id)).collect();
        (!held.is_empty()).then(|| StreamId(*held[usize::from(n) % held.len()]))
    }

    fn poll(&mut self, now: Instant, room: usize) -> Vec<u8> {
        let mut out = vec![0; room];
        let mut w = Writer::new(&mut out);
        self.mux.handle_timeout(now);
        let told = self.mux.has_output();
        self.mux.poll(&mut Outgoing(&mut self.out, self.low_bit), &mut w);
        let len = w.len();
        assert!(told || len == 0, "output without notice");
        out.truncate(len);
        let mut r = Reader::new(&out);
        while let Some(frame) = Frame::parse(&mut r).unwrap() {
            self.watch(frame);
        }
        out
    }

    /// What goes out keeps to the limits that came in, and grants no more than may be held.
    fn watch(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Stream { id, offset, data, .. } => {
                let sent = self.sent.entry(id.0).or_default();
                assert_eq!(offset, *sent);
                *sent += data.len() as u64;
                let limit = self.limits.get(&id.0).copied().unwrap_or(STREAM_WINDOW.into());
                assert!(*sent <= limit, "stream {id:?} sent {sent} of {limit}");
                let all: u64 = self.sent.values().sum();
                assert!(all <= self.session_limit, "session sent {all} of {}", self.session_limit);
            }
            Frame::StreamCredit { id, received, limit } => {
                let inbox = &self.into[&id.0];
                assert!(received >= inbox.received && limit <= inbox.consumed + u64::from(CAPS.stream));
            }
            Frame::Reset { id, size, .. } => assert_eq!(size, self.sent.get(&id.0).copied().unwrap_or(0)),
            _ => {}
        }
    }

    fn hear(&mut self, now: Instant, record: &[u8]) {
        let mut r = Reader::new(record);
        while let Some(frame) = Frame::parse(&mut r).unwrap() {
            match frame {
                Frame::StreamCredit { id, limit, .. } => {
                    let known = self.limits.entry(id.0).or_insert(STREAM_WINDOW.into());
                    *known = limit.max(*known);
                }
                Frame::SessionCredit(limit) => self.session_limit = limit.max(self.session_limit),
                Frame::ResumeState(state) => self.go_back(state),
                _ => {}
            }
            match self.mux.handle(now, frame).unwrap_or_else(|e| panic!("{e}: {frame:?}")) {
                Some(mux::Event::Opened { id, data, fin }) => {
                    self.add(id.0);
                    self.receive(id, data, fin);
                }
                Some(mux::Event::Data { id, data, fin }) => self.receive(id, data, fin),
                Some(mux::Event::Reset { id, .. }) => {
                    let inbox = self.into.get_mut(&id.0).unwrap();
                    assert!(!inbox.ended && !inbox.cut);
                    inbox.cut = true;
                    inbox.consumed = inbox.received;
                }
                Some(mux::Event::Stopped { id, .. }) => self.out.get_mut(&id.0).unwrap().cut = true,
                Some(mux::Event::Acknowledged { id, received, .. }) => {
                    assert!(received <= self.sent.get(&id.0).copied().unwrap_or(0));
                    let pipe = self.out.get_mut(&id.0).unwrap();
                    pipe.acknowledged = received.max(pipe.acknowledged);
                }
                Some(mux::Event::Resumed) => {
                    self.resumed += 1;
                    for (id, pipe) in &mut self.out {
                        let acknowledged = self.mux.acknowledged(StreamId(*id));
                        pipe.acknowledged = acknowledged.unwrap_or(0).max(pipe.acknowledged);
                    }
                    let all: u64 = self.sent.values().sum();
                    assert!(all <= self.session_limit);
                }
                Some(mux::Event::MayOpen) | None => {}
            }
        }
    }

    /// Sending goes on from what the peer has.
    fn go_back(&mut self, state: ResumeState<'_>) {
        for ResumeEntry { id, received, limit, flags } in state.entries.iter() {
            if let Some(sent) = self.sent.get_mut(&id.0) {
                assert!(received <= *sent);
                *sent = received;
            }
            if let Some(pipe) = self.out.get_mut(&id.0) {
                pipe.ended &= flags & 1 != 0;
            }
            let known = self.limits.entry(id.0).or_insert(STREAM_WINDOW.into());
            *known = limit.max(*known);
        }
        self.session_limit = state.limit.max(self.session_limit);
        if !state.more {
            let unseen = |id: &u32| id & 1 == self.low_bit && id >> 1 >= state.seen;
            for (_, sent) in self.sent.iter_mut().filter(|(id, _)| unseen(id)) {
                *sent = 0;
            }
            for (_, pipe) in self.out.iter_mut().filter(|(id, _)| unseen(id)) {
                pipe.ended = false;
            }
        }
    }

    fn receive(&mut self, id: StreamId, data: &[u8], fin: bool) {
        assert!(!self.released.contains(&id.0), "data of a stream that was released");
        let inbox = self.into.get_mut(&id.0).unwrap();
        assert!(!inbox.ended && !inbox.cut, "data after the end");
        for (i, byte) in data.iter().enumerate() {
            assert_eq!(*byte, byte_at(id.0, self.low_bit ^ 1, inbox.received + i as u64), "stream {id:?}");
        }
        inbox.received += data.len() as u64;
        inbox.ended = fin;
    }

    fn consume(&mut self, id: StreamId, bytes: u64, now: Instant) {
        let inbox = self.into.get_mut(&id.0).unwrap();
        let bytes = bytes.min(inbox.received - inbox.consumed);
        inbox.consumed += bytes;
        self.mux.consumed(id, bytes as usize, now);
    }

    fn release(&mut self, id: StreamId, now: Instant) {
        self.mux.release(id, 9, now);
        self.released.push(id.0);
        let pipe = self.out.get_mut(&id.0).unwrap();
        pipe.cut |= !pipe.ended;
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    Open,
    Write(u8, u16, bool),
    Read(u8, u16),
    Reset(u8),
    Stop(u8),
    Release(u8),
    Poll(u16),
    Deliver,
    Pass(u8),
    /// The link is lost with all that is on its way, and another one comes.
    Cut,
}

/// Two joined muxes.
pub struct Two {
    ends: [End; 2],
    /// What is on its way to each.
    wires: [VecDeque<Vec<u8>>; 2],
    now: Instant,
}

impl Two {
    pub fn new() -> Self {
        Self { ends: [Role::Device, Role::Host].map(End::new), wires: Default::default(), now: Instant::ZERO }
    }

    pub fn apply(&mut self, host: bool, step: &Step) {
        let (side, now) = (usize::from(host), self.now);
        let end = &mut self.ends[side];
        match *step {
            Step::Open => {
                if let Some(id) = end.mux.open(now) {
                    assert_eq!(id.0 & 1, end.low_bit);
                    end.add(id.0);
                }
            }
            Step::Write(n, len, ends) => {
                let Some(id) = end.pick(n) else { return };
                let pipe = end.out.get_mut(&id.0).unwrap();
                if !pipe.ends && !pipe.cut {
                    pipe.offered += u64::from(len % 1_000);
                    pipe.ends = ends;
                    end.mux.wants(id);
                }
            }
            Step::Read(n, len) => {
                if let Some(id) = end.pick(n) {
                    end.consume(id, len.into(), now);
                }
            }
            Step::Reset(n) => {
                if let Some(id) = end.pick(n) {
                    end.mux.reset(id, 3);
                    let pipe = end.out.get_mut(&id.0).unwrap();
                    pipe.cut |= !pipe.ended;
                }
            }
            Step::Stop(n) => {
                if let Some(id) = end.pick(n) {
                    end.mux.stop(id, 4);
                    end.into.get_mut(&id.0).unwrap().stopped = true;
                }
            }
            Step::Release(n) => {
                if let Some(id) = end.pick(n) {
                    end.release(id, now);
                }
            }
            Step::Poll(room) => {
                let record = end.poll(now, usize::from(room) % 500 + 64);
                if !record.is_empty() {
                    self.wires[side ^ 1].push_back(record);
                }
            }
            Step::Deliver => {
                if let Some(record) = self.wires[side].pop_front() {
                    self.ends[side].hear(now, &record);
                }
            }
            Step::Pass(ms) => self.now = now + Duration::from_millis(ms.into()),
            Step::Cut => {
                for side in 0..2 {
                    self.wires[side].clear();
                    self.ends[side].mux.reattach();
                }
            }
        }
    }

    /// How often an end went on after a loss, and bytes that have arrived.
    pub fn achieved(&self) -> (usize, u64) {
        let received = self.ends.iter().flat_map(|end| end.into.values()).map(|inbox| inbox.received).sum();
        (self.ends[0].resumed + self.ends[1].resumed, received)
    }

    /// Lets both talk, and read if asked to, until neither has anything to say.
    pub fn settle(&mut self, reading: bool) {
        for _ in 0..10_000 {
            self.now = self.now + Duration::from_millis(20);
            let mut quiet = true;
            for side in 0..2 {
                while let Some(record) = self.wires[side].pop_front() {
                    self.ends[side].hear(self.now, &record);
                    quiet = false;
                }
                let ids: Vec<_> = self.ends[side].into.keys().copied().collect();
                for id in ids.into_iter().filter(|_| reading) {
                    if !self.ends[side].released.contains(&id) {
                        self.ends[side].consume(StreamId(id), u64::MAX, self.now);
                    }
                }
                let record = self.ends[side].poll(self.now, 1024);
                quiet &= record.is_empty() && self.ends[side].mux.poll_timeout().is_none();
                if !record.is_empty() {
                    self.wires[side ^ 1].push_back(record);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the two never come to rest");
    }

    /// All bytes of directions that nobody cut have arrived, and their ends.
    pub fn check_delivery(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            for (id, pipe) in &self.ends[from].out {
                let Some(inbox) = self.ends[to].into.get(id) else {
                    assert!(pipe.cut, "stream {id} was never heard of");
                    continue;
                };
                assert!(inbox.received <= pipe.taken);
                let stopped = inbox.stopped && inbox.cut;
                if !pipe.cut && !stopped && !self.ends[to].released.contains(id) {
                    assert_eq!((inbox.received, inbox.ended), (pipe.offered, pipe.ends), "stream {id} from {from}");
                    assert!(!inbox.cut);
                }
            }
        }
    }
}

pub fn check(Steps(steps): &Steps<(bool, Step)>) {
    let mut two = Two::new();
    for (host, step) in steps {
        two.apply(*host, step);
    }
    two.settle(true);
    two.check_delivery();
    // Everybody lets go: all places and all rights to open come back.
    for side in 0..2 {
        while let Some(id) = two.ends[side].pick(0) {
            let now = two.now;
            two.ends[side].release(id, now);
        }
    }
    two.settle(false);
    for side in 0..2 {
        assert!(two.ends[side].mux.is_empty(), "{:?}", two.ends[side].mux);
        let now = two.now;
        let again = core::iter::from_fn(|| two.ends[side].mux.open(now)).count();
        assert_eq!(again, 4);
    }
}
