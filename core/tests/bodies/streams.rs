//! One end of many streams under a peer that says what it likes, and what that end may do: a model
//! of sums and offsets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::mux::{Event, Mux, Source, Taken, WindowCaps};
use homing_core::wire::{Frame, Params, Reader, ResumeEntries, ResumeEntry, ResumeState, StreamId, Writer};

use super::Bytes;

/// What both ends announce, and how far the victim's windows grow.
pub const OWN: Params =
    Params { features: 0, max_record: 16_384, max_streams: 8, session_window: 16 << 10, stream_window: 4 << 10 };
pub const CAPS: WindowCaps = WindowCaps { stream: 8 << 10, session: 32 << 10 };
pub const STREAMS: usize = 16;

/// A frame of the peer's about streams.
#[derive(Arbitrary, Clone, Debug)]
pub enum Said<'a> {
    /// Where the peer's stream stands, off by some.
    Stream(u8, i8, bool, Bytes<'a>),
    StreamAt(u32, u64, bool, Bytes<'a>),
    /// Credit and what was received: as it is, off by some.
    StreamCredit(u8, i8, u64),
    /// The end of a stream was received.
    EndReceived(u8, i8),
    SessionCredit(u64),
    StreamsCredit(u32),
    Reset(u8, u64),
    Stop(u8),
    /// What the peer has after a loss: a fraction of what was sent, off by some in places.
    State {
        lost: Option<u8>,
        off: i8,
        leave_out: u8,
        more: bool,
        limit: u64,
    },
    /// Any state.
    StateOf {
        seen: u32,
        received: u64,
        more: bool,
        entries: Vec<(u8, u64, u64, u8)>,
    },
}

/// What the application does.
#[derive(Arbitrary, Clone, Debug)]
pub enum Done {
    Open,
    Wants(u8),
    Consume(u8, u16),
    Reset(u8),
    Stop(u8),
    Release(u8),
}

#[derive(Default)]
struct Heard {
    received: u64,
    consumed: u64,
    ended: bool,
}

/// What the victim sent on a stream.
#[derive(Clone, Copy, Default)]
struct Sent {
    bytes: u64,
    ended: bool,
    /// Bytes that the peer has acknowledged, and whether it has the end.
    acknowledged: u64,
    done: bool,
}

struct State {
    seen: u32,
    received: u64,
    limit: u64,
    more: bool,
    entries: Vec<ResumeEntry>,
}

pub struct Streams {
    /// Those that the application holds.
    heard: BTreeMap<u32, Heard>,
    sent: BTreeMap<u32, Sent>,
    /// What the peer sent on its own and the victim's streams.
    peer_sent: BTreeMap<u32, u64>,
    /// What the peer granted: to streams, and to all together.
    granted: BTreeMap<u32, u64>,
    session: u64,
    /// All that ever were.
    known: BTreeSet<u32>,
    /// What the peer said it has, until all of that is heard.
    states: VecDeque<State>,
    turn: u32,
    /// Of the peer's streams.
    low_bit: u32,
}

/// The byte at a place of a stream that the victim sends.
fn byte_at(id: u32, place: u64) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8) ^ u64::from(id).wrapping_mul(7)) as u8
}

/// Where a stream of the victim's ends; some do not.
fn len_of(id: u32) -> u64 {
    if (id / 2).is_multiple_of(3) { u64::MAX } else { u64::from(id).wrapping_mul(997) % 6_000 }
}

impl Source for Streams {
    fn read(&mut self, id: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        self.turn += 1;
        let acknowledged = self.sent.get(&id.0).map_or(0, |sent| sent.acknowledged);
        assert!(offset >= acknowledged, "what was acknowledged is asked for again");
        let left = len_of(id.0).checked_sub(offset).expect("nothing is asked for after the end");
        let len = left.min(buf.len() as u64).min(1 + u64::from(id.0) * 7 % 100);
        for (place, byte) in (offset..).zip(&mut buf[..len as usize]) {
            *byte = byte_at(id.0, place);
        }
        Taken { len: len as usize, more: !self.turn.is_multiple_of(5), fin: len == left }
    }
}

impl Streams {
    /// None yet; the low bit is that of the ids that the peer opens.
    pub fn new(low_bit: u32) -> Self {
        Self {
            heard: BTreeMap::new(),
            sent: BTreeMap::new(),
            peer_sent: BTreeMap::new(),
            granted: BTreeMap::new(),
            session: OWN.session_window.into(),
            known: BTreeSet::new(),
            states: VecDeque::new(),
            turn: 0,
            low_bit,
        }
    }

    /// Writes what the peer says.
    pub fn emit(&mut self, said: &Said<'_>, w: &mut Writer<'_>) {
        let off = |number: u64, off: i8| number.wrapping_add_signed(off.saturating_sub(100).max(0).into());
        let sent = |id: u8| self.sent.get(&id.into()).copied().unwrap_or_default();
        let _ = match *said {
            Said::Stream(n, by, fin, Bytes(data)) => {
                let id = u32::from(n % 32) << 1 | self.low_bit;
                let place = self.peer_sent.entry(id).or_default();
                let emitted = Frame::Stream { id: StreamId(id), offset: off(*place, by), fin, data }.emit(w);
                *place += if emitted.is_ok() { data.len() as u64 } else { 0 };
                emitted
            }
            Said::StreamAt(id, offset, fin, Bytes(data)) => {
                Frame::Stream { id: StreamId(id), offset, fin, data }.emit(w)
            }
            Said::StreamCredit(id, by, limit) => {
                let received = off(sent(id).bytes, by);
                Frame::StreamCredit { id: StreamId(id.into()), received, limit }.emit(w)
            }
            Said::EndReceived(id, by) => {
                let received = off(sent(id).bytes, by);
                Frame::StreamCredit { id: StreamId(id.into()), received, limit: 0 }.emit(w)
            }
            Said::SessionCredit(limit) => Frame::SessionCredit(limit).emit(w),
            Said::StreamsCredit(n) => Frame::StreamsCredit(n).emit(w),
            Said::Reset(id, size) => Frame::Reset { id: StreamId(id.into()), code: 1, size }.emit(w),
            Said::Stop(id) => Frame::Stop { id: StreamId(id.into()), code: 1 }.emit(w),
            Said::State { lost, off: by, leave_out, more, limit } => {
                let mut entries = Vec::new();
                for &id in &self.known {
                    let sent = self.sent.get(&id).copied().unwrap_or_default();
                    let has = match lost {
                        Some(part) => sent.acknowledged + (sent.bytes - sent.acknowledged) * u64::from(part) / 255,
                        None => sent.bytes,
                    };
                    let flags = u8::from(sent.ended && has == sent.bytes);
                    entries.push(ResumeEntry { id: StreamId(id), received: off(has, by), limit, flags });
                }
                let all = entries.iter().map(|entry| entry.received).fold(0, u64::wrapping_add);
                let own = self.sent.keys().filter(|id| **id & 1 != self.low_bit).count();
                if leave_out >= 200 {
                    entries.truncate(usize::from(leave_out - 200));
                }
                state(own as u32, all, limit, more, &entries, w)
            }
            Said::StateOf { seen, received, more, ref entries } => {
                let entry = |&(id, received, limit, flags): &(u8, u64, u64, u8)| ResumeEntry {
                    id: StreamId(id.into()),
                    received,
                    limit,
                    flags,
                };
                let entries: Vec<_> = entries.iter().map(entry).collect();
                state(seen, received, u64::MAX, more, &entries, w)
            }
        };
    }

    /// The peer has said this: what it grants counts. Returns what it said on streams.
    pub fn note<'p>(&mut self, plain: &'p [u8]) -> VecDeque<Frame<'p>> {
        let mut said = VecDeque::new();
        let mut r = Reader::new(plain);
        while let Ok(Some(frame)) = Frame::parse(&mut r) {
            match frame {
                Frame::Stream { .. } => said.push_back(frame),
                Frame::ResumeState(ResumeState { seen, received, limit, more, entries }) => {
                    self.states.push_back(State { seen, received, limit, more, entries: entries.iter().collect() });
                }
                Frame::StreamCredit { id, limit, .. } => self.grant(id, limit),
                Frame::SessionCredit(limit) => self.session = limit.max(self.session),
                _ => {}
            }
        }
        said
    }

    fn grant(&mut self, id: StreamId, limit: u64) {
        let granted = self.granted.entry(id.0).or_insert(OWN.stream_window.into());
        *granted = limit.max(*granted);
    }

    /// The application is told of this, which the peer must have said.
    pub fn handle(&mut self, event: Event<'_>, said: &mut VecDeque<Frame<'_>>) {
        match event {
            Event::Opened { id, data, fin } => {
                was_said(said, Frame::Stream { id, offset: 0, fin, data });
                let new = Heard { received: data.len() as u64, consumed: 0, ended: fin };
                assert!(self.heard.insert(id.0, new).is_none() && self.known.insert(id.0), "opened twice");
            }
            Event::Data { id, data, fin } => {
                let heard = self.heard.get_mut(&id.0).expect("data of a stream that is open");
                assert!(!heard.ended, "data after the end");
                was_said(said, Frame::Stream { id, offset: heard.received, fin, data });
                heard.received += data.len() as u64;
                heard.ended = fin;
                assert!(heard.received - heard.consumed <= CAPS.stream.into());
            }
            Event::Reset { id, .. } => {
                let heard = self.heard.get_mut(&id.0).expect("reset of a stream that is open");
                assert!(!heard.ended, "reset after the end");
                heard.ended = true;
                heard.consumed = heard.received;
            }
            Event::Stopped { id, .. } => assert!(self.heard.contains_key(&id.0)),
            Event::Acknowledged { id, received, end } => {
                let sent = self.sent.entry(id.0).or_default();
                assert!(received <= sent.bytes, "more than was sent");
                assert!(!end || received == sent.bytes, "the end before its time");
                sent.acknowledged = received.max(sent.acknowledged);
                sent.done |= end;
            }
            Event::Resumed => self.resume(),
            Event::MayOpen => {}
        }
        let held: u64 = self.heard.values().map(|heard| heard.received - heard.consumed).sum();
        assert!(held <= CAPS.session.into(), "holds {held} bytes");
    }

    /// A new attachment: what was under way is lost. An end that the peer acknowledged before stays
    /// acknowledged, though it did not come to say all of its state.
    pub fn reattach(&mut self) {
        for entry in self.states.drain(..).flat_map(|state| state.entries) {
            if let Some(sent) = self.sent.get_mut(&entry.id.0) {
                sent.done |= entry.flags & 1 != 0;
            }
        }
    }

    /// What the victim sends next follows what the peer says it has.
    fn resume(&mut self) {
        let mut listed = BTreeSet::new();
        let last = loop {
            let state = self.states.pop_front().expect("a state before the end of states");
            for entry in &state.entries {
                listed.insert(entry.id.0);
                self.go_back(*entry);
            }
            if !state.more {
                break state;
            }
        };
        for (&id, sent) in &mut self.sent {
            if id & 1 != self.low_bit && id >> 1 >= last.seen {
                assert_eq!(sent.acknowledged, 0);
                *sent = Sent::default(); // never seen: it is opened anew
            } else if !listed.contains(&id) {
                sent.done = true;
            }
        }
        self.session = last.limit.max(self.session);
        let all: u64 = self.sent.values().map(|sent| sent.bytes).sum();
        assert_eq!(all, last.received, "credit of the session after a loss");
    }

    fn go_back(&mut self, ResumeEntry { id, received, limit, flags }: ResumeEntry) {
        self.grant(id, limit);
        // Of a stream that is not there any more, or never was, the peer may say what it likes.
        let Some(sent) = self.sent.get_mut(&id.0).filter(|sent| !sent.done) else { return };
        assert!((sent.acknowledged..=sent.bytes).contains(&received), "back to {received}, of {}", sent.bytes);
        let end = flags & 1 != 0;
        *sent = Sent { bytes: received, ended: end, acknowledged: received, done: end };
    }

    /// What the victim sent keeps to the credit that the peer gave, and is what was to be sent.
    pub fn check_sent(&mut self, plain: &[u8]) {
        let mut r = Reader::new(plain);
        while let Some(frame) = Frame::parse(&mut r).expect("frames") {
            let (id, offset, fin, data) = match frame {
                Frame::Stream { id, offset, fin, data } => (id, offset, fin, data),
                Frame::Reset { id, size, .. } => (id, size, true, &[][..]),
                _ => continue,
            };
            let sent = self.sent.entry(id.0).or_default();
            assert!(offset == sent.bytes && !sent.ended, "{id:?}: {offset} after {}", sent.bytes);
            assert!((offset..).zip(data).all(|(place, byte)| *byte == byte_at(id.0, place)), "other bytes");
            sent.bytes += data.len() as u64;
            sent.ended = fin;
            let granted = self.granted.get(&id.0).copied().unwrap_or(OWN.stream_window.into());
            assert!(sent.bytes <= granted, "sent {} of {granted}", sent.bytes);
        }
        let all: u64 = self.sent.values().map(|sent| sent.bytes).sum();
        assert!(all <= self.session, "sent {all} of {} in all", self.session);
    }

    pub fn apply(&mut self, done: &Done, mux: &mut Mux<STREAMS>, now: Instant) {
        let pick = |n: u8| self.heard.keys().nth(usize::from(n) % self.heard.len().max(1)).copied();
        match *done {
            Done::Open => {
                if let Some(id) = mux.open(now) {
                    self.opened(id);
                    mux.wants(id);
                }
            }
            Done::Wants(n) => mux.wants(StreamId(pick(n).unwrap_or(n.into()))),
            Done::Consume(n, bytes) => {
                if let Some(id) = pick(n) {
                    let heard = self.heard.get_mut(&id).expect("picked");
                    let bytes = u64::from(bytes).min(heard.received - heard.consumed);
                    heard.consumed += bytes;
                    mux.consumed(StreamId(id), bytes as usize, now);
                }
            }
            Done::Reset(n) => mux.reset(StreamId(pick(n).unwrap_or(n.into())), 1),
            Done::Stop(n) => mux.stop(StreamId(pick(n).unwrap_or(n.into())), 1),
            Done::Release(n) => {
                if let Some(id) = pick(n) {
                    mux.release(StreamId(id), 1, now);
                    self.heard.remove(&id);
                }
            }
        }
        assert!(mux.len() <= STREAMS);
    }

    /// The victim has opened a stream.
    pub fn opened(&mut self, id: StreamId) {
        assert_ne!(id.0 & 1, self.low_bit);
        assert!(self.heard.insert(id.0, Heard::default()).is_none() && self.known.insert(id.0));
    }
}

fn state(
    seen: u32,
    received: u64,
    limit: u64,
    more: bool,
    entries: &[ResumeEntry],
    w: &mut Writer<'_>,
) -> Result<(), homing_core::wire::NoSpace> {
    let entries = &entries[..entries.len().min(64)];
    let mut room = vec![0; entries.len() * 21];
    let entries = ResumeEntries::emit_into(entries, &mut room)?;
    Frame::ResumeState(ResumeState { seen, received, limit, more, entries }).emit(w)
}

/// The next frame on a stream that the application hears of; others may be dropped before it.
fn was_said(said: &mut VecDeque<Frame<'_>>, heard: Frame<'_>) {
    while let Some(frame) = said.pop_front() {
        if frame == heard {
            return;
        }
    }
    panic!("nobody said {heard:?}");
}
