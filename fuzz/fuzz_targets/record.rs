//! A peer that seals what it likes, and a relay that sends what it likes: the channel ends in an
//! error or goes on, holds no more than it granted and never hears bytes out of place.
#![no_main]

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::channel::{Channel, Config, Event, Output, token_hash};
use homing_core::crypto::Portable;
use homing_core::handshake::Keys;
use homing_core::mux::{self, Source, Taken, WindowCaps};
use homing_core::session::{Role, Session};
use homing_core::wire::{
    Auth, AuthOk, Close, Frame, HEADER_LEN, PairAccept, PairFinish, Params, Scope, StreamId, TAG_LEN, Writer,
};
use homing_fuzz::ends::{TOKEN, keys};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Start {
    Connect,
    Admit,
    Invite,
    Pair,
    /// As `Admit`, and the token was right.
    Open,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// Bytes from the relay.
    Raw(&'a [u8]),
    /// Plaintext from the peer.
    Sealed(&'a [u8]),
    /// Frames from the peer.
    Frames(Vec<Said<'a>>),
    /// A record from the peer with a byte changed on the way.
    Changed(Said<'a>, u16, u8),
    Poll,
    Pass(u32),
    Open,
    Consume(u8, u16),
    Reset(u8),
    Stop(u8),
    Release(u8),
    Accept,
    Acknowledge,
    Close,
}

#[derive(Arbitrary, Debug)]
enum Said<'a> {
    Ping(u64),
    Pong(u8),
    Close(bool, u16),
    PairFinish(&'a str),
    PairPending(u16),
    PairAccept(&'a str),
    PairAck,
    Auth(bool, bool),
    AuthOk(bool),
    Cap,
    /// Where the peer's stream stands, off by some.
    Stream(u8, i8, bool, &'a [u8]),
    StreamAt(u32, u64, bool, &'a [u8]),
    StreamCredit(u8, u64),
    SessionCredit(u64),
    StreamsCredit(u32),
    Reset(u8, u64),
    Stop(u8),
    Datagram(&'a [u8]),
    Many(u8, Box<Said<'a>>),
}

struct Endless(u32);

impl Source for Endless {
    fn read(&mut self, id: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        self.0 += 1;
        let len = buf.len().min(1 + id.0 as usize * 7 % 100);
        Taken { len, more: self.0 % 5 != 0, fin: self.0 % 11 == 0 }
    }
}

#[derive(Default)]
struct Heard {
    received: u64,
    consumed: u64,
    ended: bool,
}

const CAPS: WindowCaps = WindowCaps { stream: 8 << 10, session: 32 << 10 };

/// One handshake for all runs: it would take most of the time.
static KEYS: LazyLock<[Keys; 2]> = LazyLock::new(|| {
    let own = Params { max_streams: 8, session_window: 16 << 10, stream_window: 4 << 10, ..Params::default() };
    keys([own, own])
});

struct World {
    peer: Session<Portable>,
    channel: Channel<16>,
    streams: BTreeMap<u32, Heard>,
    sent: BTreeMap<u32, u64>,
    now: Instant,
    low_bit: u32,
}

impl World {
    fn new(start: &Start) -> Self {
        let [device, host] = &*KEYS;
        let config = Config { caps: CAPS, ..Config::default() };
        let now = Instant::ZERO;
        let at_device = matches!(start, Start::Connect | Start::Pair);
        let channel = match start {
            Start::Connect => Channel::connect(device, &TOKEN, &config, now),
            Start::Pair => Channel::pair(device, 1, "fuzz", &config, now),
            Start::Admit | Start::Open => Channel::admit(host, token_hash(&TOKEN), &config, now),
            Start::Invite => Channel::invite(host, &config, now),
        };
        let peer =
            if at_device { Session::new(Role::Host, host, now) } else { Session::new(Role::Device, device, now) };
        let low_bit = u32::from(at_device); // of the peer's streams
        Self { peer, channel, streams: BTreeMap::new(), sent: BTreeMap::new(), now, low_bit }
    }

    fn seal(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut buf = [&[0; HEADER_LEN], plain, &[0; TAG_LEN]].concat();
        let len = self.peer.seal(self.now, &mut buf, plain.len()).ok()?;
        buf.truncate(len);
        Some(buf)
    }

    fn emit(&mut self, said: &Said<'_>, w: &mut Writer<'_>) {
        let _ = match *said {
            Said::Ping(n) => Frame::Ping(n).emit(w),
            Said::Pong(n) => Frame::Pong(n.into()).emit(w),
            Said::Close(session, code) => {
                let scope = if session { Scope::Session } else { Scope::Channel };
                Frame::Close(Close { scope, code, text: "" }).emit(w)
            }
            Said::PairFinish(name) => Frame::PairFinish(PairFinish { platform: 1, name }).emit(w),
            Said::PairPending(n) => Frame::PairPending(n).emit(w),
            Said::PairAccept(host_name) => accept(host_name).emit(w),
            Said::PairAck => Frame::PairAck.emit(w),
            Said::Auth(right, resume) => {
                let token = if right { &TOKEN } else { &[0; 40] };
                Frame::Auth(Auth { token, resume: resume.then_some((&[1; 16], &[2; 16])) }).emit(w)
            }
            Said::AuthOk(resumed) => Frame::AuthOk(AuthOk { resumed: resumed.then_some(&[1; 16]) }).emit(w),
            Said::Cap => Frame::Cap(&[7; 45]).emit(w),
            Said::Stream(n, off, fin, data) => {
                let id = u32::from(n % 32) << 1 | self.low_bit;
                let sent = self.sent.entry(id).or_default();
                let offset = sent.wrapping_add_signed(off.saturating_sub(100).max(0).into());
                let emitted = Frame::Stream { id: StreamId(id), offset, fin, data }.emit(w);
                *sent += if emitted.is_ok() { data.len() as u64 } else { 0 };
                emitted
            }
            Said::StreamAt(id, offset, fin, data) => Frame::Stream { id: StreamId(id), offset, fin, data }.emit(w),
            Said::StreamCredit(id, limit) => {
                Frame::StreamCredit { id: StreamId(id.into()), received: 0, limit }.emit(w)
            }
            Said::SessionCredit(limit) => Frame::SessionCredit(limit).emit(w),
            Said::StreamsCredit(n) => Frame::StreamsCredit(n).emit(w),
            Said::Reset(id, size) => Frame::Reset { id: StreamId(id.into()), code: 1, size }.emit(w),
            Said::Stop(id) => Frame::Stop { id: StreamId(id.into()), code: 1 }.emit(w),
            Said::Datagram(data) => Frame::Datagram(data).emit(w),
            Said::Many(n, ref said) => {
                if !matches!(**said, Said::Many(..)) {
                    for _ in 0..n {
                        self.emit(said, w);
                    }
                }
                Ok(())
            }
        };
    }

    /// What the channel makes of a record, and whether it goes on.
    fn hear(&mut self, record: &mut [u8]) {
        let over = self.channel.is_over();
        let Ok(events) = self.channel.handle_input(self.now, record) else {
            assert!(self.channel.is_over());
            return;
        };
        assert!(!over, "a channel that was over took a record");
        let mut failed = false;
        for event in events {
            assert!(!failed, "an event after an error");
            match event {
                Ok(Event::Stream(mux::Event::Opened { id, data, fin })) => {
                    let new = Heard { received: data.len() as u64, consumed: 0, ended: fin };
                    assert!(self.streams.insert(id.0, new).is_none(), "opened twice");
                }
                Ok(Event::Stream(mux::Event::Data { id, data, fin })) => {
                    let heard = self.streams.get_mut(&id.0).expect("data of a stream that is open");
                    assert!(!heard.ended, "data after the end");
                    heard.received += data.len() as u64;
                    heard.ended = fin;
                    assert!(heard.received - heard.consumed <= CAPS.stream.into());
                }
                Ok(Event::Stream(mux::Event::Reset { id, .. })) => {
                    let heard = self.streams.get_mut(&id.0).expect("reset of a stream that is open");
                    assert!(!heard.ended, "reset after the end");
                    heard.ended = true;
                    heard.consumed = heard.received;
                }
                Ok(Event::Stream(mux::Event::Stopped { id, .. })) => {
                    assert!(self.streams.contains_key(&id.0));
                }
                Ok(_) => {}
                Err(_) => failed = true,
            }
        }
        assert!(!failed || self.channel.is_over(), "an error that ends nothing");
        let held: u64 = self.streams.values().map(|heard| heard.received - heard.consumed).sum();
        assert!(held <= CAPS.session.into(), "holds {held} bytes");
    }

    fn step(&mut self, step: &Step<'_>) {
        let pick = |n: u8| self.streams.keys().nth(usize::from(n) % self.streams.len().max(1)).copied();
        match *step {
            Step::Raw(bytes) => self.hear(&mut bytes.to_vec()),
            Step::Sealed(plain) => {
                if let Some(mut record) = self.seal(plain) {
                    self.hear(&mut record);
                }
            }
            Step::Frames(ref list) => {
                let mut plain = vec![0; 16_384];
                let mut w = Writer::new(&mut plain);
                for said in list {
                    self.emit(said, &mut w);
                }
                let len = w.len();
                if let Some(mut record) = self.seal(&plain[..len]) {
                    self.hear(&mut record);
                }
            }
            Step::Changed(ref said, place, change) => {
                let mut plain = vec![0; 1_024];
                let mut w = Writer::new(&mut plain);
                self.emit(said, &mut w);
                let len = w.len();
                if let Some(mut record) = self.seal(&plain[..len]) {
                    let place = usize::from(place) % record.len();
                    record[place] ^= change;
                    self.hear(&mut record);
                    assert!(change == 0 || self.channel.is_over(), "a changed record was taken");
                }
            }
            Step::Poll => {
                let mut out = [0; 2_048];
                for _ in 0..64 {
                    match self.channel.poll_output(self.now, &mut Endless(0), &mut out) {
                        Ok(Output::Transmit { len }) => {
                            self.peer.open(self.now, &mut out[..len]).expect("the peer opens what the channel seals");
                        }
                        Ok(Output::Wait { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::Pass(micros) => {
                self.now = self.now + Duration::from_micros(micros.into());
                if self.channel.poll_timeout().is_some_and(|at| at <= self.now) {
                    let _ = self.channel.handle_timeout(self.now);
                }
            }
            Step::Open => {
                if let Some(id) = self.channel.open(self.now) {
                    assert!(self.streams.insert(id.0, Heard::default()).is_none());
                    self.channel.streams().wants(id);
                }
            }
            Step::Consume(n, bytes) => {
                if let Some(id) = pick(n) {
                    let heard = self.streams.get_mut(&id).expect("picked");
                    let bytes = u64::from(bytes).min(heard.received - heard.consumed);
                    heard.consumed += bytes;
                    self.channel.streams().consumed(StreamId(id), bytes as usize, self.now);
                }
            }
            Step::Reset(n) => self.channel.streams().reset(StreamId(pick(n).unwrap_or(n.into())), 1),
            Step::Stop(n) => self.channel.streams().stop(StreamId(pick(n).unwrap_or(n.into())), 1),
            Step::Release(n) => {
                if let Some(id) = pick(n) {
                    self.channel.streams().release(StreamId(id), 1, self.now);
                    self.streams.remove(&id);
                }
            }
            Step::Accept => {
                if let Frame::PairAccept(accept) = accept("fuzz") {
                    let mut out = [0; 512];
                    if let Ok(len) = self.channel.accept_pairing(&accept, self.now, &mut out) {
                        self.peer.open(self.now, &mut out[..len]).expect("the peer opens what the channel seals");
                    }
                }
            }
            Step::Acknowledge => drop(self.channel.acknowledge_pairing(self.now)),
            Step::Close => self.channel.close(Scope::Session, 0, ""),
        }
    }
}

fn accept(host_name: &str) -> Frame<'_> {
    Frame::PairAccept(PairAccept {
        device_id: &[1; 8],
        token: &TOKEN,
        route_id: &[2; 16],
        capability: &[3; 45],
        host_name,
    })
}

fuzz_target!(|input: (Start, Vec<Step<'_>>)| {
    let (start, steps) = input;
    let mut world = World::new(&start);
    if matches!(start, Start::Open) {
        world.step(&Step::Frames(vec![Said::Auth(true, false)]));
        assert!(world.channel.is_open());
    }
    for step in steps.iter().take(200) {
        world.step(step);
    }
});
