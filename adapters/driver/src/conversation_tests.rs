//! Two conversations joined by nothing but their records, and cut off from each other.

use core::task::{Context, Poll, Waker};
use std::io::ErrorKind;

use homing_core::channel::{Config, token_hash};
use homing_core::crypto::{Identity, Psk};
use homing_core::handshake::{Door, HELLO_MAX, Keys, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::mux::reset;
use homing_core::wire::Params;

use super::*;
use crate::bell::Bell;

const NOW: Instant = Instant::ZERO;
/// More than a stream's first window and what its pipe holds.
const MUCH: usize = 256 * 1024;

#[test]
fn a_finished_stream_that_the_peer_wants_no_more_of_is_over() {
    let mut ends = Ends::new();
    let (reader, mut writer) = ends.stream();
    write(&mut writer, MUCH);
    ends.settle();
    write(&mut writer, MUCH);
    writer.finish().unwrap();
    drop(writer);
    ends.settle();
    assert_eq!(ends.streams(), [1, 1], "what was finished waits for credit");
    drop(reader);
    ends.settle();
    assert_eq!(ends.streams(), [0, 0]);
    assert_eq!(ends.pipes(), [0, 0]);
}

/// What was written and closed goes out, though its writer is long gone and the link was lost.
#[test]
fn a_stream_that_was_closed_and_dropped_survives_the_loss_of_its_link() {
    let mut ends = Ends::new();
    let (mut near, mut far) = ends.stream();
    let bytes = [7; 5000];
    assert_eq!(write_bytes(&mut near, &bytes), 5000);
    near.finish().unwrap();
    drop(near);
    ends.lose_all();
    assert_eq!(ends.pipes(), [1, 1], "nothing has arrived");
    ends.resume();
    ends.settle();
    assert_eq!(read(&mut far), (bytes.to_vec(), Some(Ok(()))));
    drop(far);
    ends.settle();
    assert_eq!((ends.pipes(), ends.streams()), ([0, 0], [0, 0]));
}

/// Bytes both ways, cut off at any record, any number of times, arrive as they were sent.
#[test]
fn streams_go_on_where_they_were_cut() {
    let mut cuts = 0;
    for seed in 1..=40 {
        let mut dice = Dice(seed);
        let mut ends = Ends::new();
        let mut pairs: Vec<_> = (0..4).map(|number| Pair::new(ends.stream(), &mut dice, number)).collect();
        let mut rounds = 0;
        while pairs.iter().any(|pair| !pair.is_over()) {
            rounds += 1;
            assert!(rounds < 5000, "seed {seed}: no progress");
            for pair in &mut pairs {
                pair.step(&mut dice);
            }
            if dice.below(4) == 0 {
                ends.exchange(dice.below(9));
                ends.lose_all();
                for pair in &mut pairs {
                    pair.step(&mut dice);
                }
                ends.resume();
                cuts += 1;
            }
            ends.exchange(1 + dice.below(30));
        }
        drop(pairs);
        ends.settle();
        assert_eq!((ends.pipes(), ends.streams()), ([0, 0], [0, 0]), "seed {seed}");
    }
    assert!(cuts > 100, "{cuts}");
}

/// A device that is cut off while it resumes still has its session.
#[test]
fn a_resumption_that_is_cut_off_leaves_the_session() {
    for records in 0..4 {
        let mut ends = Ends::new();
        let (mut near, mut far) = ends.stream();
        write_bytes(&mut near, b"before");
        ends.lose_all();
        ends.resume();
        ends.exchange(records);
        ends.lose_all();
        near.finish().unwrap();
        ends.resume();
        ends.settle();
        assert_eq!(read(&mut far), (b"before".to_vec(), Some(Ok(()))), "after {records} records");
    }
}

#[test]
fn a_host_that_forgot_begins_anew_and_opens_what_waited() {
    let mut ends = Ends::new();
    let (mut near, _far) = ends.stream();
    write_bytes(&mut near, b"before");
    let carried = ends.lose_all();
    let waiting = Pipe::new(0, ends.ends[0].bell.clone());
    ends.kept[0].as_mut().unwrap().ties.waiting.push_back(waiting.clone());
    let mut late = Stream::new(waiting);
    write_bytes(&mut late, b"after");
    assert!(carried);
    ends.kept[1] = None;
    ends.resume();
    ends.settle();
    assert_eq!(read(&mut near).1, Some(Err(ErrorKind::ConnectionAborted)));
    let mut far = ends.incoming();
    assert_eq!(read(&mut far), (b"after".to_vec(), None));
    assert_eq!(ends.pipes(), [1, 1]);
    // The ids are the same: the old stream's end must not be the new one's.
    drop(near);
    ends.settle();
    write_bytes(&mut far, b"answer");
    ends.settle();
    assert_eq!(read(&mut late), (b"answer".to_vec(), None));
}

#[test]
fn a_session_that_was_closed_is_not_carried_on() {
    for closer in 0..2 {
        let mut ends = Ends::new();
        let (mut near, mut far) = ends.stream();
        ends.ends[closer].conversation.channel().close(Scope::Session, code::NORMAL, "");
        ends.settle();
        assert!(!ends.lose_all());
        for end in &mut ends.ends {
            end.conversation.ties.end();
        }
        assert_eq!(read(&mut near).1, Some(Err(ErrorKind::ConnectionAborted)));
        assert_eq!(read(&mut far).1, Some(Err(ErrorKind::ConnectionAborted)));
    }
}

/// What was sent and not acknowledged is part of what a session without a link takes.
#[test]
fn what_is_carried_is_counted() {
    let mut ends = Ends::new();
    let (mut near, _far) = ends.stream();
    let bytes = vec![1; MUCH];
    let mut out = vec![0; MAX_RECORD];
    let mut written = 0;
    for _ in 0..64 {
        written += write_bytes(&mut near, &bytes);
        ends.ends[0].attend();
        while ends.ends[0].conversation.poll_output(NOW, &mut out).unwrap().is_some() {}
    }
    assert!(written > 100_000, "{written}");
    let carried = ends.ends[0].conversation.detach().unwrap();
    assert!(carried.bytes() >= written, "{} of {written}", carried.bytes());
}

#[test]
fn an_abort_does_not_wait_for_what_was_finished() {
    let mut ends = Ends::new();
    let (mut near, mut far) = ends.stream();
    write(&mut near, MUCH);
    ends.settle();
    write(&mut near, MUCH);
    near.finish().unwrap();
    near.abort(reset::CANCELLED);
    ends.settle();
    let mut buf = vec![0; MUCH];
    let read = far.poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
    assert!(matches!(read, Poll::Ready(Err(error)) if error.kind() == ErrorKind::ConnectionReset));
    assert_eq!(ends.streams(), [0, 1]);
}

struct End {
    conversation: Conversation,
    bell: Arc<Bell<()>>,
    notices: Vec<Notice>,
}

/// Device, then host.
struct Ends {
    ends: [End; 2],
    /// What each has of a session without a link.
    kept: [Option<Carried>; 2],
    keys: Box<dyn FnMut() -> (Keys, Keys)>,
}

pub(crate) const TOKEN: [u8; 40] = [7; 40];

impl Ends {
    fn new() -> Self {
        let rng = &mut crate::random();
        let (device, host, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
        let mut keys: Box<dyn FnMut() -> (Keys, Keys)> = Box::new(move || handshake(&device, &host, &psk));
        let (device_keys, host_keys) = keys();
        let config = Config::default();
        let channels = [
            Channel::connect(&device_keys, &TOKEN, &config, NOW),
            Channel::admit(&host_keys, token_hash(&TOKEN), &config, NOW),
        ];
        let ends = channels.map(|channel| {
            let bell = Bell::<()>::new();
            End { conversation: Conversation::new(0, channel, bell.clone()), bell, notices: Vec::new() }
        });
        let mut ends = Self { ends, kept: [None, None], keys };
        ends.settle();
        ends
    }

    /// The link is lost, and what was under way with it. Tells whether there is a session to go on with.
    fn lose_all(&mut self) -> bool {
        for (end, kept) in self.ends.iter_mut().zip(&mut self.kept) {
            if let Some(carried) = end.conversation.detach() {
                *kept = Some(carried);
            }
        }
        self.kept.iter().all(Option::is_some)
    }

    /// The device comes back through another link and asks for its session.
    fn resume(&mut self) {
        let (device_keys, host_keys) = (self.keys)();
        let config = Config::default();
        let Carried { detached, ties } = self.kept[0].take().unwrap();
        for end in &mut self.ends {
            end.bell = Bell::new();
        }
        let bells = self.ends.each_ref().map(|end| end.bell.clone());
        let channel = Channel::resume(&device_keys, &TOKEN, *detached, &config, NOW);
        self.ends[0].conversation = Conversation::resumed(1, channel, ties, bells[0].clone());
        let channel = Channel::admit(&host_keys, token_hash(&TOKEN), &config, NOW);
        self.ends[1].conversation = Conversation::new(1, channel, bells[1].clone());
    }

    /// Carries records until nobody has any, and nobody waits for a moment to say something.
    fn settle(&mut self) {
        self.exchange(usize::MAX);
        for later in 1..=3 {
            let now = Instant::from_micros(later * 1_000_000);
            for end in &mut self.ends {
                // One that is over has no more to say.
                let _ = end.conversation.channel().handle_timeout(now);
            }
            self.exchange_at(now, usize::MAX);
        }
    }

    fn exchange(&mut self, most: usize) {
        self.exchange_at(NOW, most);
    }

    /// Carries so many records at most, in turns.
    fn exchange_at(&mut self, now: Instant, mut most: usize) {
        let mut out = vec![0; MAX_RECORD];
        let mut busy = true;
        while core::mem::take(&mut busy) {
            for near in 0..2 {
                self.ends[near].attend();
                if most == 0 {
                    return;
                }
                if let Some(len) = self.ends[near].conversation.poll_output(now, &mut out).unwrap() {
                    let (far, kept) = (&mut self.ends[1 - near], &mut self.kept[1]);
                    let mut find = |request: &ResumeRequest, _: Option<&[u8; 32]>| match kept.take() {
                        Some(carried) if request.is_proven_by(carried.detached.resumption()) => Answer::Adopt(carried),
                        Some(_) => panic!("no proof"),
                        None => Answer::Begin,
                    };
                    // A close ends the conversation that hears it.
                    let _ = far.conversation.handle(now, &out[..len], &mut far.notices, &mut find);
                    most -= 1;
                    busy = true;
                }
            }
        }
    }

    /// A stream of the device's, and its other end at the host.
    fn stream(&mut self) -> (Stream, Stream) {
        let device = &mut self.ends[0];
        let pipe = Pipe::new(0, device.bell.clone());
        device.conversation.open(NOW, pipe.clone());
        self.settle();
        (Stream::new(pipe), self.incoming())
    }

    fn incoming(&mut self) -> Stream {
        let incoming = self.ends[1].notices.drain(..).find_map(|notice| match notice {
            Notice::Incoming(stream) => Some(stream),
            _ => None,
        });
        incoming.unwrap()
    }

    fn pipes(&self) -> [usize; 2] {
        [0, 1].map(|end| {
            let kept = self.kept[end].as_ref().map_or(0, |carried| carried.ties.pipes.len());
            kept + self.ends[end].conversation.ties.pipes.len()
        })
    }

    fn streams(&mut self) -> [usize; 2] {
        self.ends.each_mut().map(|end| end.conversation.channel().streams().len())
    }
}

/// A session without a link.
pub(crate) fn carried() -> Carried {
    let mut ends = Ends::new();
    assert!(ends.lose_all());
    ends.kept[0].take().unwrap()
}

pub(crate) fn handshake(device: &Identity, host: &Identity, psk: &Psk) -> (Keys, Keys) {
    let rng = &mut crate::random();
    let own = Params { max_streams: DEVICE_STREAMS, ..Params::default() };
    let direct = [0; 16];
    let (mut hello, mut reply) = ([0; HELLO_MAX], [0; REPLY_MAX]);
    let kind = Kind::Connect { route: &direct, psk };
    let (len, wait) = start(Suite::Classic, kind, &direct, device, host.public(), own, rng, &mut hello).unwrap();
    let mac1_key = host_mac1_key(host.public());
    let door = Door { identity: host, mac1_key: &mac1_key, route: &direct, weakest: Suite::Classic };
    let Ok(Knock::Connect(knock)) = hear(door, [], &direct, &mut hello[..len]) else { panic!("no knock") };
    let own = Params { max_streams: HOST_STREAMS, ..Params::default() };
    let (len, host_keys, _) = knock.reply(psk, own, rng, &mut reply).unwrap();
    let (device_keys, _) = wait.read(&mut reply[..len]).unwrap();
    (device_keys, host_keys)
}

impl End {
    fn attend(&mut self) {
        let mut rung = Vec::new();
        self.bell.answer(Waker::noop(), &mut rung);
        for (_, pipe) in rung {
            if let Some(pipe) = pipe {
                self.conversation.attend(NOW, &pipe);
            }
        }
    }
}

/// Writes as much as the stream takes, at most `len` bytes.
fn write(stream: &mut Stream, len: usize) {
    write_bytes(stream, &vec![0; len]);
}

fn write_bytes(stream: &mut Stream, bytes: &[u8]) -> usize {
    match stream.poll_write(&mut Context::from_waker(Waker::noop()), bytes) {
        Poll::Ready(Ok(len)) => len,
        _ => 0,
    }
}

type Ending = Option<Result<(), ErrorKind>>;

/// Reads what there is, and the end if it came.
fn read(stream: &mut Stream) -> (Vec<u8>, Ending) {
    let (mut all, mut buf) = (Vec::new(), vec![0; 10_000]);
    loop {
        match stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
            Poll::Ready(Ok(0)) => return (all, Some(Ok(()))),
            Poll::Ready(Ok(len)) => all.extend(&buf[..len]),
            Poll::Ready(Err(error)) => return (all, Some(Err(error.kind()))),
            Poll::Pending => return (all, None),
        }
    }
}

/// Small steps of a generator that always says the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// A stream with both its ends, each with something to say.
struct Pair {
    number: usize,
    sides: [Half; 2],
}

struct Half {
    stream: Option<Stream>,
    to_write: usize,
    written: usize,
    finished: bool,
    /// Gives the stream up after so many bytes.
    abort_at: Option<usize>,
    read: usize,
    end: Ending,
}

impl Pair {
    fn new((device, host): (Stream, Stream), dice: &mut Dice, number: usize) -> Self {
        let abort = dice.below(3) == 0;
        let sides = [device, host].map(|stream| Half {
            stream: Some(stream),
            to_write: dice.below(600_000),
            written: 0,
            finished: false,
            abort_at: None,
            read: 0,
            end: None,
        });
        let mut pair = Self { number, sides };
        if abort {
            let side = &mut pair.sides[dice.below(2)];
            side.abort_at = Some(dice.below(side.to_write + 1));
        }
        pair
    }

    fn byte(&self, from: usize, at: usize) -> u8 {
        (at / 3 + from * 101 + self.number * 17) as u8
    }

    fn step(&mut self, dice: &mut Dice) {
        for side in 0..2 {
            let half = &self.sides[side];
            if half.stream.is_none() {
                continue;
            }
            let len = dice.below(50_000).min(half.to_write - half.written);
            let bytes: Vec<u8> = (half.written..half.written + len).map(|at| self.byte(side, at)).collect();
            let half = &mut self.sides[side];
            let stream = half.stream.as_mut().unwrap();
            half.written += write_bytes(stream, &bytes);
            if half.written == half.to_write && !half.finished && stream.finish().is_ok() {
                half.finished = true;
            }
            if half.abort_at.is_some_and(|at| half.written >= at) {
                half.stream.take().unwrap().abort(reset::CANCELLED);
                continue;
            }
            let (got, end) = read(stream);
            half.end = half.end.or(end);
            let from = half.read;
            half.read += got.len();
            let other = 1 - side;
            assert!(got.iter().enumerate().all(|(i, byte)| *byte == self.byte(other, from + i)), "bytes differ");
            let (half, other) = (&self.sides[side], &self.sides[other]);
            match half.end {
                Some(Ok(())) => assert_eq!(half.read, other.to_write, "an end that came too early"),
                Some(Err(kind)) => assert!(kind == ErrorKind::ConnectionReset && other.abort_at.is_some(), "{kind}"),
                None => {}
            }
            let half = &mut self.sides[side];
            // Whoever closed and read the end is done with it, and so is one that was given up.
            if half.end.is_some() && (half.finished || half.end != Some(Ok(()))) {
                half.stream = None;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.sides.iter().all(|half| half.stream.is_none())
    }
}
