//! Two channels joined under a virtual clock: everything a session does, and everything that
//! must end it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use homing_core::Instant;
use homing_core::channel::{CONFIRM_TIME, Channel, Config, Error, Event, Output, PHASE_TIME, code, token_hash};
use homing_core::handshake::{Keys, Suite};
use homing_core::mux::{self, Source, Taken, Violation, WindowCaps};
use homing_core::session::{Discard, EPOCH_BYTES, EPOCH_RECORDS, EPOCH_TIME, Role, Session};
use homing_core::wire::{
    Auth, Close, Frame, HEADER_LEN, MAX_PLAINTEXT, MAX_RECORD, PairAccept, PairFinish, Params, Reader, Scope, StreamId,
    TAG_LEN,
};
use rand_core::Rng;
use support::Seeded;
use support::ends::{Ends, TOKEN, channels, keys, sealed};

const ACCEPT: PairAccept<'_> =
    PairAccept { device_id: &[1; 8], token: &TOKEN, route_id: &[0x40; 16], capability: &[0xca; 45], host_name: "nas" };

/// What an application knows of one stream.
#[derive(Debug, Default)]
struct Pipe {
    out: VecDeque<u8>,
    ends: bool,
    read: Vec<u8>,
    /// Bytes heard of that the mux was not told about.
    held: usize,
    ended: bool,
    reset: Option<u16>,
    stopped: Option<u16>,
}

#[derive(Debug, Default)]
struct Pipes(BTreeMap<u32, Pipe>);

impl Source for Pipes {
    fn read(&mut self, id: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        let pipe = self.0.entry(id.0).or_default();
        let len = buf.len().min(pipe.out.len());
        for (byte, from) in buf.iter_mut().zip(pipe.out.drain(..len)) {
            *byte = from;
        }
        let more = !pipe.out.is_empty();
        Taken { len, more, fin: !more && pipe.ends }
    }
}

/// What an application does with bytes that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Read,
    /// Sends them back, and reads only as fast as that works.
    Echo,
    /// Leaves them where they are.
    Ignore,
}

/// A channel with its application.
struct Side<const N: usize> {
    channel: Channel<N>,
    pipes: Pipes,
    habit: Habit,
    /// Streams whose bytes are ignored whatever the habit.
    ignored: Vec<u32>,
    events: Vec<String>,
    closed: Option<u16>,
    error: Option<Error>,
    /// The order in which streams brought bytes.
    turns: Vec<u32>,
    opened: Vec<StreamId>,
}

impl<const N: usize> Side<N> {
    fn new(channel: Channel<N>) -> Self {
        Self {
            channel,
            pipes: Pipes::default(),
            habit: Habit::Read,
            ignored: Vec::new(),
            events: Vec::new(),
            closed: None,
            error: None,
            turns: Vec::new(),
            opened: Vec::new(),
        }
    }

    fn open(&mut self, now: Instant) -> Option<StreamId> {
        let id = self.channel.open(now)?;
        self.pipes.0.insert(id.0, Pipe::default());
        Some(id)
    }

    fn write(&mut self, id: StreamId, bytes: &[u8], ends: bool) {
        let pipe = self.pipes.0.get_mut(&id.0).unwrap();
        pipe.out.extend(bytes);
        pipe.ends |= ends;
        self.channel.streams().wants(id);
    }

    fn pipe(&self, id: StreamId) -> &Pipe {
        &self.pipes.0[&id.0]
    }

    fn ended(&self, id: StreamId) -> bool {
        self.pipes.0.get(&id.0).is_some_and(|pipe| pipe.ended)
    }

    /// The first error counts.
    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut out = vec![0; MAX_RECORD];
        match self.channel.poll_output(now, &mut self.pipes, &mut out) {
            Ok(Output::Transmit { len }) => {
                out.truncate(len);
                if self.habit == Habit::Echo {
                    self.consume_echoed(now);
                }
                Some(out)
            }
            Ok(Output::Wait { .. }) => None,
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn consume_echoed(&mut self, now: Instant) {
        for (id, pipe) in &mut self.pipes.0 {
            let done = pipe.held - pipe.out.len().min(pipe.held);
            pipe.held -= done;
            self.channel.streams().consumed(StreamId(*id), done, now);
        }
    }

    fn hear(&mut self, now: Instant, record: &mut [u8]) {
        let (mut heard, mut failed) = (Vec::new(), None);
        match self.channel.handle_input(now, record) {
            Ok(events) => {
                for event in events {
                    match event {
                        Ok(Event::Stream(event)) => heard.push(match event {
                            mux::Event::Opened { id, data, fin } => (id, Heard::Data(true, data.to_vec(), fin)),
                            mux::Event::Data { id, data, fin } => (id, Heard::Data(false, data.to_vec(), fin)),
                            mux::Event::Reset { id, code } => (id, Heard::Reset(code)),
                            mux::Event::Stopped { id, code } => (id, Heard::Stopped(code)),
                            mux::Event::Acknowledged { .. } | mux::Event::Resumed | mux::Event::MayOpen => continue,
                        }),
                        Ok(Event::Closed(close)) => self.closed = Some(close.code),
                        Ok(event) => self.events.push(format!("{event:?}").split(['(', ' ']).next().unwrap().into()),
                        Err(error) => failed = Some(error),
                    }
                }
            }
            Err(error) => failed = Some(error),
        }
        if let Some(error) = failed {
            self.fail(error);
        }
        for (id, what) in heard {
            self.apply(now, id, what);
        }
    }

    fn apply(&mut self, now: Instant, id: StreamId, what: Heard) {
        let pipe = self.pipes.0.entry(id.0).or_default();
        match what {
            Heard::Data(opened, data, fin) => {
                assert!(!pipe.ended && pipe.reset.is_none(), "data behind the end");
                if opened {
                    self.opened.push(id);
                }
                if !data.is_empty() {
                    self.turns.push(id.0);
                }
                pipe.ended |= fin;
                pipe.read.extend(&data);
                pipe.held += data.len();
                if self.ignored.contains(&id.0) || self.habit == Habit::Ignore {
                    return;
                }
                if self.habit == Habit::Echo {
                    pipe.out.extend(&data);
                    pipe.ends |= fin;
                    self.channel.streams().wants(id);
                } else {
                    let held = core::mem::take(&mut pipe.held);
                    self.channel.streams().consumed(id, held, now);
                }
            }
            Heard::Reset(code) => pipe.reset = Some(code),
            Heard::Stopped(code) => pipe.stopped = Some(code),
        }
    }
}

enum Heard {
    Data(bool, Vec<u8>, bool),
    Reset(u16),
    Stopped(u16),
}

/// The two, with a wire that takes time and holds few records.
struct Pair<const N: usize> {
    device: Side<N>,
    host: Side<N>,
    now: Instant,
    delay: Duration,
    /// On the way to the device, to the host: when it arrives, and what.
    wires: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// Records that a wire holds.
    width: usize,
    records: usize,
}

impl<const N: usize> Pair<N> {
    fn new(device: Channel<N>, host: Channel<N>) -> Self {
        Self {
            device: Side::new(device),
            host: Side::new(host),
            now: Instant::ZERO,
            delay: Duration::from_millis(20),
            wires: Default::default(),
            width: 8,
            records: 0,
        }
    }

    /// Connected by a handshake of that suite.
    fn connected(suite: Suite, own: [Params; 2]) -> Self {
        let [device, host] = Ends::with_params(suite, false, own).shake();
        let mut pair = Self::new(
            Channel::connect(&device, &TOKEN, &Config::default(), Instant::ZERO),
            Channel::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO),
        );
        pair.run_until(|pair| pair.device.channel.is_open() && pair.host.channel.is_open());
        pair
    }

    /// Sends, hears and lets time pass until nothing is to be done before the next ping.
    fn run(&mut self) {
        let end = self.now + Duration::from_secs(20);
        while self.step(end) {}
    }

    #[track_caller]
    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(1_000);
        while !done(self) {
            assert!(self.step(end), "it never comes to that");
        }
    }

    /// The host takes the device in.
    fn accept(&mut self) {
        let mut out = vec![0; MAX_RECORD];
        let len = self.host.channel.accept_pairing(&ACCEPT, self.now, &mut out).unwrap();
        out.truncate(len);
        self.wires[0].push_back((self.now + self.delay, out));
    }

    fn step(&mut self, end: Instant) -> bool {
        for (to, side) in [(1, &mut self.device), (0, &mut self.host)] {
            while self.wires[to].len() < self.width {
                let Some(record) = side.poll(self.now) else { break };
                self.records += 1;
                self.wires[to].push_back((self.now + self.delay, record));
            }
        }
        let arrivals = self.wires.iter().filter_map(|wire| wire.front()).map(|(at, _)| *at);
        let deadlines = [self.device.channel.poll_timeout(), self.host.channel.poll_timeout()].into_iter().flatten();
        let Some(next) = arrivals.chain(deadlines).min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        for (to, side) in [(1, &mut self.host), (0, &mut self.device)] {
            while self.wires[to].front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, mut record) = self.wires[to].pop_front().unwrap();
                side.hear(self.now, &mut record);
            }
            if side.channel.poll_timeout().is_some_and(|at| at <= self.now)
                && let Err(error) = side.channel.handle_timeout(self.now)
            {
                side.fail(error);
            }
        }
        true
    }
}

fn small() -> [Params; 2] {
    [Params { max_streams: 8, ..Params::default() }; 2]
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Seeded::new(seed).fill_bytes(&mut bytes);
    bytes
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_device_pairs_and_then_connects() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let [device, host] = Ends::with_params(suite, true, small()).shake();
        let config = Config::default();
        let mut pair = Pair::<16>::new(
            Channel::pair(&device, 3, "phone", &config, Instant::ZERO),
            Channel::invite(&host, &config, Instant::ZERO),
        );
        assert!(pair.device.open(Instant::ZERO).is_none(), "no streams before the pairing");
        pair.run_until(|pair| pair.host.events == ["PairRequested"]);
        pair.host.channel.pend_pairing(60, pair.now).unwrap();
        pair.run_until(|pair| pair.device.events == ["PairPending"]);
        pair.now = pair.now + seconds(30); // the operator takes their time
        pair.accept();
        let again = pair.host.channel.accept_pairing(&ACCEPT, pair.now, &mut [0; MAX_RECORD]);
        assert_eq!(again, Err(Error::Misuse));
        pair.run_until(|pair| pair.device.events == ["PairPending", "Paired"]);
        assert!(!pair.host.channel.is_open());
        pair.device.channel.acknowledge_pairing(pair.now).unwrap();
        // The channel is a session at once.
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, b"hello", true);
        pair.run_until(|pair| pair.host.channel.is_open() && pair.host.opened == [id]);
        assert_eq!(pair.host.events, ["PairRequested", "PairAcknowledged"]);
        assert_eq!(pair.host.pipe(id).read, b"hello");

        let mut pair = Pair::<16>::connected(suite, small());
        assert_eq!(
            (&pair.device.events[..], &pair.host.events[..]),
            (&["Established".into()][..], &["Established".into()][..])
        );
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, b"hello", true);
        pair.run_until(|pair| pair.host.opened == [id]);
        assert_eq!(pair.host.pipe(id).read, b"hello");
    }
}

#[test]
fn a_decision_takes_along_what_was_said_before_it() {
    let [device, host] = Ends::with_params(Suite::Classic, true, small()).shake();
    let mut pair = Pair::<16>::new(
        Channel::pair(&device, 3, "phone", &Config::default(), Instant::ZERO),
        Channel::invite(&host, &Config::default(), Instant::ZERO),
    );
    pair.run_until(|pair| pair.host.events == ["PairRequested"]);
    for _ in 0..26 {
        pair.host.channel.pend_pairing(60, pair.now).unwrap();
    }
    assert_eq!(pair.host.channel.pend_pairing(60, pair.now), Err(Error::NoSpace));
    assert_eq!(pair.host.channel.accept_pairing(&ACCEPT, pair.now, &mut [0; 283]), Err(Error::NoSpace));
    // Even the longest name fits behind them.
    let host_name = "n".repeat(64);
    let mut record = [0; 284];
    let accept = PairAccept { host_name: &host_name, ..ACCEPT };
    let len = pair.host.channel.accept_pairing(&accept, pair.now, &mut record).unwrap();
    assert_eq!(len, 284, "padded");
    pair.device.hear(pair.now, &mut record[..len]);
    assert_eq!(pair.device.events.len(), 27);
    assert_eq!(pair.device.events[25..], ["PairPending", "Paired"]);
    assert_eq!(pair.device.error, None);
}

#[test]
fn what_is_written_before_the_answer_arrives_after_it() {
    let [device, host] = channels::<16>(small(), &Config::default());
    let mut pair = Pair::new(device, host);
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"early", true);
    pair.run_until(|pair| pair.host.opened == [id]);
    assert_eq!(pair.host.events, ["Established"], "established first");
    assert_eq!(pair.records, 1, "in the first record already");
}

#[test]
fn a_mebibyte_comes_back_under_back_pressure() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let mut pair = Pair::<16>::connected(suite, small());
        pair.host.habit = Habit::Echo;
        let bytes = noise(1 << 20, 1);
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, &bytes, true);
        pair.run_until(|pair| pair.device.ended(id));
        assert!(pair.device.pipe(id).read == bytes);
        assert!(pair.host.pipe(id).read == bytes);
        assert!(pair.records > 128, "{} records", pair.records);
        assert_eq!((pair.device.error, pair.host.error), (None, None));
    }
}

#[test]
fn a_reader_that_stops_reading_stops_the_writer() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.host.habit = Habit::Ignore;
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(1 << 20, 1), true);
    pair.run();
    let held = pair.host.pipe(id).held;
    assert_eq!(held, 64 * 1024, "one window");
    assert_eq!(pair.device.pipe(id).out.len(), (1 << 20) - held);
    // It goes on as soon as it reads.
    pair.host.habit = Habit::Read;
    pair.host.pipes.0.get_mut(&id.0).unwrap().held = 0;
    pair.host.channel.streams().consumed(id, held, pair.now);
    pair.run_until(|pair| pair.host.ended(id));
    assert_eq!(pair.host.pipe(id).read.len(), 1 << 20);
}

#[test]
fn each_side_closes_its_half() {
    for device_first in [true, false] {
        let mut pair = Pair::<16>::connected(Suite::Classic, small());
        let id = if device_first { pair.device.open(pair.now) } else { pair.host.open(pair.now) }.unwrap();
        if device_first {
            pair.device.write(id, b"question", true);
        } else {
            pair.host.write(id, b"question", true);
        }
        pair.run();
        let (asking, answering) =
            if device_first { (&mut pair.device, &mut pair.host) } else { (&mut pair.host, &mut pair.device) };
        assert_eq!((&answering.pipe(id).read[..], answering.pipe(id).ended), (&b"question"[..], true));
        assert!(!asking.pipe(id).ended);
        // The other half still carries.
        answering.write(id, b"answer", false);
        pair.run();
        let (asking, answering) =
            if device_first { (&mut pair.device, &mut pair.host) } else { (&mut pair.host, &mut pair.device) };
        assert_eq!((&asking.pipe(id).read[..], asking.pipe(id).ended), (&b"answer"[..], false));
        answering.write(id, b"", true);
        pair.run();
        for side in [&mut pair.device, &mut pair.host] {
            assert!(side.pipe(id).ended);
            assert_eq!(side.channel.streams().len(), 1, "until the application lets go");
            side.channel.streams().release(id, 0, pair.now);
            assert_eq!(side.channel.streams().len(), 0);
        }
    }
}

#[test]
fn resets_stops_and_releases_are_heard() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let [reset, stop, release] = core::array::from_fn(|_| {
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, b"begin", false);
        id
    });
    pair.run();
    assert_eq!(pair.host.opened, [reset, stop, release]);
    pair.device.channel.streams().reset(reset, 7);
    pair.host.channel.streams().stop(stop, 8);
    pair.host.channel.streams().release(release, 9, pair.now);
    pair.run();
    assert_eq!(pair.host.pipe(reset).reset, Some(7));
    assert!(!pair.host.pipe(reset).ended, "a reset is no end");
    assert_eq!(pair.device.pipe(stop).stopped, Some(8));
    assert_eq!(pair.host.pipe(stop).reset, Some(8), "stopping makes the sender reset");
    assert_eq!((pair.device.pipe(release).stopped, pair.device.pipe(release).reset), (Some(9), Some(9)));
    assert_eq!((pair.host.pipe(release).stopped, pair.host.pipe(release).reset), (None, None), "it has let go");
    for id in [reset, stop, release] {
        pair.device.channel.streams().release(id, 0, pair.now);
        pair.host.channel.streams().release(id, 0, pair.now);
    }
    pair.run();
    assert!(pair.device.channel.streams().is_empty() && pair.host.channel.streams().is_empty());
    assert_eq!((pair.device.error, pair.host.error), (None, None));
}

#[test]
fn a_peer_that_is_gone_ends_no_stream() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"half", false);
    pair.run();
    pair.device.channel.close(Scope::Session, code::SHUTDOWN, "bye");
    assert!(pair.device.open(pair.now).is_none());
    pair.run();
    assert_eq!(pair.host.closed, Some(code::SHUTDOWN));
    assert!(!pair.host.pipe(id).ended && pair.host.channel.is_over());
}

#[test]
fn two_hundred_streams_go_at_once() {
    let mut pair = Pair::<512>::connected(Suite::Classic, [Params::default(); 2]);
    pair.host.habit = Habit::Echo;
    let streams: Vec<_> =
        (0..200).map(|n| (pair.device.open(pair.now).unwrap(), noise(3_000 + n * 50, n as u64))).collect();
    for (id, bytes) in &streams {
        pair.device.write(*id, bytes, true);
    }
    pair.run_until(|pair| streams.iter().all(|(id, _)| pair.device.ended(*id)));
    for (id, bytes) in &streams {
        assert!(pair.device.pipe(*id).read == *bytes, "{id:?}");
        pair.device.channel.streams().release(*id, 0, pair.now);
        pair.host.channel.streams().release(*id, 0, pair.now);
    }
    pair.run();
    assert!(pair.device.channel.streams().is_empty() && pair.host.channel.streams().is_empty());
    // The peer's limit is given back, in quarters: nearly as many again, and no more than announced.
    let again = core::iter::from_fn(|| pair.device.open(pair.now)).count();
    assert!((193..=256).contains(&again), "{again}");
}

#[test]
fn streams_take_turns() {
    let mut pair = Pair::<64>::connected(Suite::Classic, [Params { max_streams: 32, ..Params::default() }; 2]);
    const STREAMS: usize = 10;
    for n in 0..STREAMS {
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, &noise(200_000, n as u64), true);
    }
    pair.run_until(|pair| pair.host.pipes.0.values().filter(|pipe| pipe.ended).count() == STREAMS);
    // While all have bytes, nobody waits for more than one turn of each other.
    let busy = &pair.host.turns[..pair.host.turns.len() / 2];
    assert!(busy.len() > 5 * STREAMS, "{} turns", busy.len());
    for window in busy.windows(2 * STREAMS) {
        for id in 0..STREAMS as u32 {
            assert!(window.contains(&(id * 2)), "stream {id} waits: {window:?}");
        }
    }
}

#[test]
fn a_keystroke_waits_for_two_records_at_most() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let bulk = pair.device.open(pair.now).unwrap();
    let keys = pair.device.open(pair.now).unwrap();
    pair.device.write(bulk, &noise(4 << 20, 1), true);
    for key in 0..50 {
        pair.run_until(|pair| pair.device.pipe(bulk).out.len() < (4 << 20) - (key + 1) * 60_000);
        pair.device.write(keys, &[key as u8], false);
        // Whether or not there is credit at this moment, two records at most go first.
        let (heard, under_way) = (pair.host.turns.len(), pair.wires[1].len());
        pair.run_until(|pair| pair.host.turns[heard..].contains(&keys.0));
        let place = pair.host.turns[heard..].iter().position(|id| *id == keys.0).unwrap();
        assert!(place <= under_way + 2, "{place} turns, {under_way} of them under way before");
    }
    pair.run_until(|pair| pair.host.ended(bulk));
    assert_eq!(pair.host.pipe(keys).read, (0..50).collect::<Vec<u8>>());
}

#[test]
fn one_stream_does_not_use_up_all_credit() {
    for (own, caps) in [
        (Params::default(), WindowCaps::default()),
        (Params::default(), WindowCaps { stream: 1 << 20, session: 1 << 20 }),
        (Params { session_window: 64 * 1024, ..Params::default() }, WindowCaps::default()),
    ] {
        let [device, host] = keys([Params { max_streams: 8, ..own }; 2]);
        let config = Config { caps, ..Config::default() };
        let mut pair = Pair::<16>::new(
            Channel::connect(&device, &TOKEN, &config, Instant::ZERO),
            Channel::admit(&host, token_hash(&TOKEN), &config, Instant::ZERO),
        );
        pair.width = usize::MAX; // nothing but credit holds the stream up
        let bulk = pair.device.open(pair.now).unwrap();
        let keys = pair.device.open(pair.now).unwrap();
        pair.run_until(|pair| pair.device.channel.round_trip().is_some());
        const LEN: usize = 16 << 20;
        pair.device.write(bulk, &vec![1; LEN], true);
        // The first window may be all that the peer announced.
        let first = LEN - 64 * 1024;
        pair.run_until(|pair| pair.device.pipe(bulk).out.len() < first);
        let (mut typed, mut most) = (0, 0);
        while !pair.device.pipe(bulk).out.is_empty() {
            assert!(pair.step(pair.now + seconds(1)));
            let left = pair.device.pipe(bulk).out.len();
            while let Some(record) = pair.device.poll(pair.now) {
                pair.wires[1].push_back((pair.now + pair.delay, record));
            }
            most = most.max(left - pair.device.pipe(bulk).out.len());
            pair.device.write(keys, b"k", false);
            let record = pair.device.poll(pair.now).expect("a keystroke goes out at once");
            pair.wires[1].push_back((pair.now + pair.delay, record));
            typed += 1;
        }
        pair.run_until(|pair| pair.host.ended(bulk) && pair.host.pipe(keys).read.len() == typed);
        assert!(typed > 10 && most > 128 * 1024, "{typed} keystrokes, {most} bytes at once");
    }
}

#[test]
fn a_slow_stream_does_not_stop_others() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let slow: Vec<_> = (0..4).map(|_| pair.device.open(pair.now).unwrap()).collect();
    for id in &slow {
        pair.host.ignored.push(id.0);
        pair.device.write(*id, &noise(1 << 20, 1), true);
    }
    pair.run();
    let quick = pair.device.open(pair.now).unwrap();
    pair.device.write(quick, &noise(1 << 20, 2), true);
    pair.run_until(|pair| pair.host.ended(quick));
    assert!(pair.host.pipe(quick).read == noise(1 << 20, 2));
    assert!(slow.iter().all(|id| !pair.host.pipe(*id).ended && pair.host.pipe(*id).held == 64 * 1024));
}

/// A device that seals whatever it likes, and the channel of its host, admitted.
fn malicious(own: Params) -> (Session, Channel<16>) {
    let [device, host] = keys([Params::default(), own]);
    let mut session = Session::new(Role::Device, &device, Instant::ZERO);
    let mut channel = Channel::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO);
    let mut record = sealed(&mut session, Instant::ZERO, &[Frame::Auth(Auth { token: &TOKEN, resume: None })]);
    let events: Vec<_> = channel.handle_input(Instant::ZERO, &mut record).unwrap().collect();
    assert_eq!(events, [Ok(Event::Established)]);
    let mut out = [0; 300];
    let Ok(Output::Transmit { len }) = channel.poll_output(Instant::ZERO, &mut Pipes::default(), &mut out) else {
        panic!("an answer")
    };
    session.open(Instant::ZERO, &mut out[..len]).unwrap();
    (session, channel)
}

/// The peer sends these, a record each, until the channel is over: how it ended, and what the
/// peer is told.
fn provoke(own: Params, frames: &[Frame<'_>]) -> (Error, u16) {
    let (mut session, mut channel) = malicious(own);
    let now = Instant::ZERO;
    let mut error = None;
    for frame in frames {
        assert_eq!(error, None, "it was over before the last frame");
        let mut record = sealed(&mut session, now, &[*frame]);
        error = channel.handle_input(now, &mut record).unwrap().find_map(Result::err);
    }
    let error = error.expect("the last frame is one too many");
    assert!(channel.is_over());
    (error, told(&mut session, &mut channel, now))
}

/// The code of the CLOSE that a channel sends; nothing follows it.
fn told(session: &mut Session, channel: &mut Channel<16>, now: Instant) -> u16 {
    let mut out = [0; 300];
    let Ok(Output::Transmit { len }) = channel.poll_output(now, &mut Pipes::default(), &mut out) else {
        panic!("a close")
    };
    let text = session.open(now, &mut out[..len]).unwrap();
    let mut r = Reader::new(text);
    let Ok(Some(Frame::Close(Close { scope: Scope::Session, code, text: "" }))) = Frame::parse(&mut r) else {
        panic!("a close")
    };
    assert_eq!(Frame::parse(&mut r), Ok(None));
    assert_eq!(channel.poll_output(now, &mut Pipes::default(), &mut out), Ok(Output::Wait { until: None }));
    code
}

fn stream(id: u32, offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Stream { id: StreamId(id), offset, fin: false, data }
}

#[test]
fn a_peer_that_breaks_the_rules_is_told_which() {
    let own = Params { max_streams: 2, ..Params::default() };
    let blame = |frames: &[Frame<'_>]| provoke(own, frames);
    let violation = |violation, code| (Error::Violation(violation), code);
    let kib16 = [0; 16_000];

    // More than a stream's window, more than the session's.
    let chunks: Vec<_> = (0..5).map(|n| stream(0, n * 16_000, &kib16)).collect();
    assert_eq!(blame(&chunks), violation(Violation::FlowControl, code::FLOW_CONTROL));
    let tight = Params { session_window: 64 << 10, ..own };
    let spread: Vec<_> = (0..5).map(|n| stream(n as u32 % 2 * 2, n / 2 * 16_000, &kib16)).collect();
    assert_eq!(provoke(tight, &spread), violation(Violation::FlowControl, code::FLOW_CONTROL));
    let reset = Frame::Reset { id: StreamId(0), code: 0, size: (64 << 10) + 1 };
    assert_eq!(blame(&[stream(0, 0, b"a"), reset]), violation(Violation::FlowControl, code::FLOW_CONTROL));

    // More streams than announced.
    let many = [0, 2, 4].map(|id| stream(id, 0, b"a"));
    assert_eq!(blame(&many), violation(Violation::StreamLimit, code::LIMIT));

    // Bytes out of place.
    for offset in [0, 2, u64::MAX] {
        let frames = [stream(0, 0, b"a"), stream(0, offset, b"b")];
        assert_eq!(blame(&frames), violation(Violation::Offset, code::PROTOCOL));
    }
    let end = Frame::Stream { id: StreamId(0), offset: 0, fin: true, data: b"a" };
    assert_eq!(blame(&[end, stream(0, 1, b"b")]), violation(Violation::StreamState, code::PROTOCOL));
    // Streams that are not next, or the host's to open.
    for id in [2, 1, 0xffff_fffe, u32::MAX] {
        assert_eq!(blame(&[stream(id, 0, b"a")]), violation(Violation::StreamState, code::PROTOCOL));
        let stop = Frame::Stop { id: StreamId(id), code: 0 };
        assert_eq!(blame(&[stop]), violation(Violation::StreamState, code::PROTOCOL));
        let credit = Frame::StreamCredit { id: StreamId(id), received: 0, limit: 1 };
        assert_eq!(blame(&[credit]), violation(Violation::StreamState, code::PROTOCOL));
    }
    let less = Frame::Reset { id: StreamId(0), code: 0, size: 1 };
    assert_eq!(blame(&[stream(0, 0, b"ab"), less]), violation(Violation::FinalSize, code::PROTOCOL));

    // Frames that have no place in an open session.
    let auth = Frame::Auth(Auth { token: &TOKEN, resume: None });
    let finish = Frame::PairFinish(PairFinish { platform: 0, name: "" });
    for frame in [auth, finish, Frame::PairAck, Frame::Token(&TOKEN), Frame::Datagram(b""), Frame::Rotate(b"")] {
        assert_eq!(blame(&[frame]), violation(Violation::Unexpected, code::PROTOCOL));
    }
    assert_eq!(blame(&[Frame::Cap(&[0; 45])]), violation(Violation::Unexpected, code::PROTOCOL));
}

#[test]
fn a_stream_that_was_not_announced_is_not_there() {
    let (mut session, mut channel) = malicious(Params { max_streams: 2, ..Params::default() });
    let id = channel.open(Instant::ZERO).unwrap();
    let mut record = sealed(&mut session, Instant::ZERO, &[stream(id.0, 0, b"early")]);
    let error = channel.handle_input(Instant::ZERO, &mut record).unwrap().find_map(Result::err);
    assert_eq!(error, Some(Error::Violation(Violation::StreamState)));
}

#[test]
fn floods_end_the_session() {
    let own = Params { max_streams: 2, ..Params::default() };
    let open = stream(0, 0, b"a");
    let floods = [
        Frame::Ping(1),
        Frame::Stop { id: StreamId(0), code: 0 },
        Frame::Reset { id: StreamId(0), code: 0, size: 1 },
        Frame::StreamCredit { id: StreamId(0), received: 0, limit: 1 },
        Frame::SessionCredit(0),
        Frame::StreamsCredit(0),
        stream(0, 1, b""),
    ];
    for frame in floods {
        let (mut session, mut channel) = malicious(own);
        let mut sent = 0;
        let error = loop {
            let mut record = sealed(&mut session, Instant::ZERO, &[if sent == 0 { open } else { frame }]);
            if let Some(error) = channel.handle_input(Instant::ZERO, &mut record).unwrap().find_map(Result::err) {
                break error;
            }
            sent += 1;
            assert!(sent < 8_000, "{frame:?} without end");
        };
        assert_eq!(error, Error::Violation(Violation::Flood), "{frame:?}");
        assert_eq!(told(&mut session, &mut channel, Instant::ZERO), code::LIMIT);
    }
    // At the pace of real use nothing happens.
    let (mut session, mut channel) = malicious(own);
    let mut now = Instant::ZERO;
    for _ in 0..12_000 {
        now = now + Duration::from_millis(1);
        let mut record = sealed(&mut session, now, &[Frame::SessionCredit(0)]);
        assert_eq!(channel.handle_input(now, &mut record).unwrap().find_map(Result::err), None);
    }
}

#[test]
fn to_cancel_two_hundred_requests_each_second_is_no_flood() {
    let mut pair = Pair::<512>::connected(Suite::Classic, [Params::default(); 2]);
    for _ in 0..20 {
        let end = pair.now + seconds(1);
        let streams: Vec<_> = (0..200).map(|_| pair.device.open(pair.now).unwrap()).collect();
        for id in &streams {
            pair.device.write(*id, &[7; 300], false);
        }
        pair.run_until(|pair| streams.iter().all(|id| pair.host.opened.contains(id)));
        for id in &streams {
            pair.device.channel.streams().release(*id, 0, pair.now);
            pair.host.channel.streams().release(*id, 0, pair.now);
        }
        while pair.step(end) {}
        pair.now = end;
        assert!(pair.device.channel.streams().is_empty() && pair.host.channel.streams().is_empty());
    }
    assert_eq!((pair.device.error, pair.host.error), (None, None));
}

#[test]
fn what_is_no_frame_ends_the_session() {
    for bytes in [&[0x99][..], &[0, 1], &[0x20, 0, 0], &[0x03, 9, 0, 0, 0]] {
        let (mut session, mut channel) = malicious(Params { max_streams: 2, ..Params::default() });
        let mut buf = [&[0; HEADER_LEN], bytes, &[0; TAG_LEN]].concat();
        session.seal(Instant::ZERO, &mut buf, bytes.len()).unwrap();
        let events: Vec<_> = channel.handle_input(Instant::ZERO, &mut buf).unwrap().collect();
        assert_eq!(events, [Err(Error::Protocol)]);
        assert_eq!(told(&mut session, &mut channel, Instant::ZERO), code::PROTOCOL);
    }
}

#[test]
fn a_record_longer_than_announced_is_refused() {
    let (mut session, mut channel) = malicious(Params { max_record: 1024, max_streams: 2, ..Params::default() });
    let mut buf = vec![0; MAX_RECORD];
    let len = session.seal(Instant::ZERO, &mut buf, 1024).unwrap();
    assert!(channel.handle_input(Instant::ZERO, &mut buf[..len]).is_ok());
    let len = session.seal(Instant::ZERO, &mut buf, 1025).unwrap();
    let error = channel.handle_input(Instant::ZERO, &mut buf[..len]).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Discard(Discard::Malformed));
}

#[test]
fn records_keep_to_what_the_peer_accepts() {
    let own = Params { max_record: 1024, max_streams: 8, ..Params::default() };
    let mut pair = Pair::<16>::connected(Suite::Classic, [small()[0], own]);
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(100_000, 1), true);
    while let Some(mut record) = pair.device.poll(pair.now) {
        assert!(record.len() <= HEADER_LEN + 1024 + TAG_LEN);
        pair.host.hear(pair.now, &mut record);
    }
    assert_eq!(pair.host.pipe(id).read.len(), 64 << 10);
    assert_eq!(pair.host.error, None);
}

#[test]
fn a_wrong_token_is_refused() {
    let [device, host] = keys(small());
    let mut pair = Pair::<16>::new(
        Channel::connect(&device, &[0x71; 40], &Config::default(), Instant::ZERO),
        Channel::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO),
    );
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"early", true);
    pair.run();
    assert_eq!(pair.host.error, Some(Error::Token));
    assert_eq!(pair.device.closed, Some(code::TOKEN_INVALID));
    assert!(pair.host.opened.is_empty() && pair.host.events.is_empty() && pair.device.events.is_empty());
}

#[test]
fn a_first_record_must_say_who_comes() {
    let own = small();
    let frames =
        [stream(0, 0, b"a"), Frame::Ping(0), Frame::PairAck, Frame::PairFinish(PairFinish { platform: 0, name: "" })];
    for frame in frames {
        let [device, host] = keys(own);
        let mut session = Session::new(Role::Device, &device, Instant::ZERO);
        let mut channel = Channel::<16>::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO);
        let mut record = sealed(&mut session, Instant::ZERO, &[frame]);
        let events: Vec<_> = channel.handle_input(Instant::ZERO, &mut record).unwrap().collect();
        assert_eq!(events, [Err(Error::Protocol)], "{frame:?}");
        assert_eq!(told(&mut session, &mut channel, Instant::ZERO), code::PROTOCOL);
    }
    let [device, host] = keys(own);
    let mut session = Session::new(Role::Device, &device, Instant::ZERO);
    let mut channel = Channel::<16>::invite(&host, &Config::default(), Instant::ZERO);
    let mut record = sealed(&mut session, Instant::ZERO, &[Frame::Auth(Auth { token: &TOKEN, resume: None })]);
    assert_eq!(channel.handle_input(Instant::ZERO, &mut record).unwrap().last(), Some(Err(Error::Protocol)));
}

#[test]
fn a_revoked_device_hears_of_it() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(1 << 20, 1), false);
    pair.step(pair.now + seconds(1));
    pair.host.channel.close(Scope::Session, code::REVOKED, "");
    let heard = pair.host.pipes.0.values().map(|pipe| pipe.read.len()).sum::<usize>();
    pair.run();
    assert_eq!(pair.device.closed, Some(code::REVOKED));
    assert!(pair.device.channel.is_over());
    let after = pair.host.pipes.0.values().map(|pipe| pipe.read.len()).sum::<usize>();
    assert_eq!(heard, after, "nothing of the device is heard after its revocation");
    assert_eq!(pair.host.error, Some(Error::Over));
}

#[test]
fn a_host_says_nothing_before_it_has_heard_a_record() {
    let [_, host] = keys(small());
    let config = Config::default();
    let channels: [Channel<16>; 2] = [
        Channel::admit(&host, token_hash(&TOKEN), &config, Instant::ZERO),
        Channel::invite(&host, &config, Instant::ZERO),
    ];
    for (mut channel, late) in channels.into_iter().zip([true, false]) {
        let mut out = [0; 300];
        let waiting = Output::Wait { until: Some(Instant::ZERO + PHASE_TIME) };
        assert_eq!(channel.poll_output(Instant::ZERO, &mut Pipes::default(), &mut out), Ok(waiting));
        if late {
            assert_eq!(channel.handle_timeout(Instant::ZERO + PHASE_TIME), Err(Error::Timeout));
        } else {
            channel.close(Scope::Session, code::REVOKED, "");
        }
        let silence = Output::Wait { until: None };
        assert_eq!(channel.poll_output(Instant::ZERO, &mut Pipes::default(), &mut out), Ok(silence));
        assert!(channel.is_over());
    }
}

#[test]
fn a_quiet_channel_makes_a_round_trip_each_25_seconds() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    assert_eq!(pair.device.channel.round_trip(), Some(pair.delay * 2));
    assert_eq!(pair.host.channel.round_trip(), Some(pair.delay * 2));
    let (records, start) = (pair.records, pair.now);
    let end = start + seconds(250);
    while pair.step(end) {}
    // A ping and a pong each way per interval, some of them in one record.
    let sent = pair.records - records;
    assert!((20..=40).contains(&sent), "{sent} records in 250 s");
    assert!(pair.device.channel.is_open() && pair.host.channel.is_open());
}

#[test]
fn fifty_seconds_of_silence_are_the_end() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let heard = pair.now;
    let mut pings = 0;
    let error = loop {
        let at = pair.device.channel.poll_timeout().unwrap();
        match pair.device.channel.handle_timeout(at) {
            Ok(()) => pings += usize::from(pair.device.poll(at).is_some()),
            Err(error) => {
                assert!((seconds(45)..=seconds(50)).contains(&at.since(heard)), "{:?}", at.since(heard));
                break error;
            }
        }
        assert!(pings < 5);
    };
    assert_eq!((error, pings), (Error::Timeout, 2));
    assert!(pair.device.channel.is_over());
    assert_eq!(pair.device.poll(pair.now), None, "to a dead peer nothing is said");
}

#[test]
fn every_step_before_the_session_has_a_deadline() {
    let config = Config::default();
    let at = |time: Duration| Instant::ZERO + time;
    let expires = |channel: &mut Channel<16>, when: Duration| {
        assert_eq!(channel.poll_timeout(), Some(at(when)));
        assert_eq!(channel.handle_timeout(at(when - Duration::from_micros(1))), Ok(()));
        assert!(!channel.is_over());
        assert_eq!(channel.handle_timeout(at(when)), Err(Error::Timeout));
        assert!(channel.is_over());
        assert_eq!(channel.poll_timeout(), None);
    };
    assert_eq!(PHASE_TIME, seconds(10));
    let pairing = || {
        let [device, host] = Ends::with_params(Suite::Classic, true, small()).shake();
        let device = Channel::<16>::pair(&device, 0, "phone", &config, Instant::ZERO);
        let host = Channel::<16>::invite(&host, &config, Instant::ZERO);
        let mut pair = Pair::new(device, host);
        pair.delay = Duration::ZERO;
        pair
    };
    let [mut device, mut host] = channels::<16>(small(), &config);
    expires(&mut device, PHASE_TIME); // Greeting
    expires(&mut host, PHASE_TIME); // AwaitAuth
    expires(&mut pairing().device.channel, PHASE_TIME); // Asking
    expires(&mut pairing().host.channel, PHASE_TIME); // AwaitFinish

    let requested = || {
        let mut pair = pairing();
        pair.run_until(|pair| !pair.host.events.is_empty());
        pair
    };
    expires(&mut requested().host.channel, PHASE_TIME); // Deciding
    let mut pair = requested();
    pair.host.channel.pend_pairing(60, pair.now).unwrap();
    pair.run_until(|pair| !pair.device.events.is_empty());
    expires(&mut pair.device.channel, CONFIRM_TIME + PHASE_TIME); // Asking, while the operator decides
    expires(&mut pair.host.channel, CONFIRM_TIME);
    let mut pair = requested();
    pair.accept();
    pair.run_until(|pair| !pair.device.events.is_empty());
    expires(&mut pair.device.channel, PHASE_TIME); // Storing
    expires(&mut pair.host.channel, PHASE_TIME); // AwaitAck
}

#[test]
fn calls_that_do_not_fit_change_nothing() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let now = pair.now;
    for side in [&mut pair.device, &mut pair.host] {
        assert_eq!(side.channel.accept_pairing(&ACCEPT, now, &mut [0; MAX_RECORD]), Err(Error::Misuse));
        assert_eq!(side.channel.pend_pairing(1, now), Err(Error::Misuse));
        assert_eq!(side.channel.acknowledge_pairing(now), Err(Error::Misuse));
        assert_eq!(side.channel.poll_output(now, &mut Pipes::default(), &mut [0; 283]), Err(Error::NoSpace));
        let unknown = StreamId(40);
        side.channel.streams().wants(unknown);
        side.channel.streams().consumed(unknown, 9, now);
        side.channel.streams().reset(unknown, 0);
        side.channel.streams().stop(unknown, 0);
        side.channel.streams().release(unknown, 0, now);
        assert!(side.channel.is_open());
    }
    pair.host.channel.offer_capability(&[7; 45]).unwrap();
    pair.run_until(|pair| pair.device.events.len() == 2);
    assert_eq!(pair.device.events, ["Established", "Capability"]);
    let [mut device, _] = channels::<16>(small(), &Config::default());
    assert_eq!(device.offer_capability(&[7; 45]), Err(Error::Misuse));
}

#[test]
fn a_source_that_promises_and_does_not_give_is_asked_once() {
    struct Empty(usize);
    impl Source for Empty {
        fn read(&mut self, _: StreamId, _: u64, _: &mut [u8]) -> Taken {
            self.0 += 1;
            Taken { len: 0, more: true, fin: false }
        }
    }
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let id = pair.device.open(pair.now).unwrap();
    pair.device.channel.streams().wants(id);
    let mut empty = Empty(0);
    pair.device.channel.poll_output(pair.now, &mut empty, &mut [0; MAX_RECORD]).unwrap();
    assert_eq!(empty.0, 1);
}

#[test]
fn keys_change_by_time_while_streams_run() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.host.habit = Habit::Echo;
    let id = pair.device.open(pair.now).unwrap();
    let bytes = noise(300_000, 1);
    for (n, part) in bytes.chunks(50_000).enumerate() {
        pair.device.write(id, part, n == 5);
        pair.run();
        let end = pair.now + EPOCH_TIME;
        while pair.step(end) {}
        pair.now = end;
    }
    pair.run_until(|pair| pair.device.ended(id));
    assert!(pair.device.pipe(id).read == bytes);
    let record = {
        pair.now = pair.now + EPOCH_TIME;
        pair.device.channel.close(Scope::Session, 0, "");
        pair.device.poll(pair.now).unwrap()
    };
    assert!(record[1] >= 6, "epoch {}", record[1]);
}

/// Sends records of `len` bytes of plaintext until the epoch changes: how many it took.
fn records_in_an_epoch(len: usize, most: u64) -> u64 {
    let [device, host] = keys(small());
    let mut device = Session::<homing_core::crypto::Portable>::new(Role::Device, &device, Instant::ZERO);
    let mut host = Session::<homing_core::crypto::Portable>::new(Role::Host, &host, Instant::ZERO);
    let mut buf = vec![0; MAX_RECORD];
    let mut records = 0;
    while device.next_sealed().epoch == 0 {
        let total = device.seal(Instant::ZERO, &mut buf, len).unwrap();
        assert_eq!(host.open(Instant::ZERO, &mut buf[..total]).unwrap().len(), len);
        records += 1;
        assert!(records <= most, "no end of the epoch");
    }
    assert_eq!((host.next_opened().epoch, host.next_opened().counter), (1, records));
    // And on it goes.
    let total = device.seal(Instant::ZERO, &mut buf, len).unwrap();
    host.open(Instant::ZERO, &mut buf[..total]).unwrap();
    records - 1
}

#[test]
fn keys_change_by_records() {
    assert_eq!(records_in_an_epoch(0, EPOCH_RECORDS + 1), EPOCH_RECORDS);
}

#[test]
fn keys_change_by_bytes() {
    let total = (MAX_PLAINTEXT + HEADER_LEN + TAG_LEN) as u64;
    assert_eq!(records_in_an_epoch(MAX_PLAINTEXT, EPOCH_BYTES / total + 2), EPOCH_BYTES.div_ceil(total));
}

/// A pair with a stream under way, and the next records of the device.
fn under_way() -> (Pair<16>, StreamId, [Vec<u8>; 3]) {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(50_000, 1), true);
    let records = core::array::from_fn(|_| pair.device.poll(pair.now).unwrap());
    (pair, id, records)
}

/// What the wire makes of three records.
type Tamper = fn([Vec<u8>; 3]) -> Vec<Vec<u8>>;

#[test]
fn a_lost_repeated_reordered_or_changed_record_is_the_end() {
    // In order all is well.
    let (mut pair, id, records) = under_way();
    for mut record in records {
        pair.host.hear(pair.now, &mut record);
    }
    assert_eq!(pair.host.error, None);
    let whole = pair.host.pipe(id).read.clone();
    assert!(whole.len() > 32_000);

    let tamper: [(&str, Tamper); 6] = [
        ("lost", |[a, _, c]| vec![a, c]),
        ("repeated", |[a, b, _]| vec![a.clone(), a, b]),
        ("repeated later", |[a, b, _]| vec![a.clone(), b, a]),
        ("reordered", |[a, b, c]| vec![a, c, b]),
        ("changed", |[a, mut b, c]| {
            b[100] ^= 1;
            vec![a, b, c]
        }),
        ("cut", |[a, mut b, c]| {
            b.truncate(200);
            vec![a, b, c]
        }),
    ];
    for (what, tamper) in tamper {
        let (mut pair, id, records) = under_way();
        for mut record in tamper(records) {
            if pair.host.error.is_none() {
                pair.host.hear(pair.now, &mut record);
                continue;
            }
            // What comes after the first bad record is not even looked at.
            let read = pair.host.pipe(id).read.len();
            pair.host.hear(pair.now, &mut record);
            assert_eq!(pair.host.pipe(id).read.len(), read, "{what}");
        }
        assert!(matches!(pair.host.error, Some(Error::Discard(_))), "{what}: {:?}", pair.host.error);
        let pipe = pair.host.pipe(id);
        assert!(whole.starts_with(&pipe.read) && pipe.read.len() < whole.len(), "{what}: wrong bytes");
        assert!(!pipe.ended && pipe.reset.is_none(), "{what}: an end that nobody sent");
        assert!(pair.host.channel.is_over());
        assert_eq!(pair.host.poll(pair.now), None, "{what}: met with silence");
    }
}

#[test]
fn a_record_is_not_taken_by_its_sender() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"mine", true);
    let mut record = pair.device.poll(pair.now).unwrap();
    pair.device.hear(pair.now, &mut record);
    assert!(matches!(pair.device.error, Some(Error::Discard(_))));
}

#[test]
fn both_ends_of_a_handshake_know_each_others_limits() {
    let own = [Params { max_streams: 3, ..Params::default() }, Params { max_streams: 5, ..Params::default() }];
    let [device, host]: [Keys; 2] = keys(own);
    assert_eq!((device.own, device.peer), (own[0], own[1]));
    assert_eq!((host.own, host.peer), (own[1], own[0]));
}
