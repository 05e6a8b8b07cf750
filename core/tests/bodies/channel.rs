//! A malicious peer that has the keys and seals what it likes, and a relay that sends what it
//! likes: the channel ends in an error or goes on, holds no more than it granted, hears exactly what
//! was sent and sends no more than it may, also after a link was lost.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::channel::{Channel, Config, Detached, Event, Output, token_hash};
use homing_core::crypto::Portable;
use homing_core::handshake::{Exports, Keys, Suite};
use homing_core::session::{Role, Session};
use homing_core::wire::{Auth, AuthOk, Close, Frame, HEADER_LEN, PairAccept, PairFinish, Scope, TAG_LEN, Writer};

use super::ends::{Ends, TOKEN};
use super::streams::{self, CAPS, Done, OWN, STREAMS, Streams};
use super::{Bytes, Steps};

/// The victim.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Connect,
    Admit,
    Invite,
    Pair,
    /// As `Admit`, and the token was right.
    Open,
    /// As `Connect`, and the host has answered.
    Greeted,
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Step<'a> {
    /// Bytes from the relay.
    Raw(Bytes<'a>),
    /// Plaintext from the peer.
    Sealed(Bytes<'a>),
    /// Frames from the peer.
    Frames(Vec<Said<'a>>),
    /// A record from the peer with a byte changed on the way.
    Changed(Said<'a>, u16, u8),
    /// The channel says what it has to say.
    Poll,
    Pass(u32),
    App(Done),
    Accept,
    Acknowledge,
    Close,
    /// The link is gone, another one comes, and the session is asked for again: with the right proof,
    /// or not.
    Reattach(bool),
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Said<'a> {
    Ping(u64),
    Pong(u8),
    Close(bool, u16),
    PairFinish(&'a str),
    PairPending(u16),
    PairAccept(&'a str),
    PairAck,
    /// With the right token, and for a session that was: with this proof, if any.
    Auth(bool, Option<bool>),
    AuthOk(Option<bool>),
    Cap,
    OfStreams(streams::Said<'a>),
    Datagram(Bytes<'a>),
    Many(u8, Box<Self>),
}

struct Known {
    device: Keys,
    host: Keys,
    /// What the peer proves with: the same for both.
    exports: Exports,
}

/// One handshake for all runs: it would take most of the time.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let ends = Ends::with_params(Suite::Classic, false, [OWN; 2]);
    let (mut hello, state) = ends.hello();
    let (mut reply, host, exports) = ends.reply(ends.hear(&mut hello).expect("a valid hello"));
    let (device, _) = state.read(&mut reply).expect("a valid reply");
    Known { device, host, exports }
});

struct World {
    start: Start,
    peer: Session<Portable>,
    channel: Channel<STREAMS>,
    /// A host's session while no channel has it.
    kept: Option<Detached<STREAMS>>,
    /// A session was asked for again, and the answer is not known.
    resuming: bool,
    streams: Streams,
    now: Instant,
}

impl World {
    fn new(start: Start) -> Self {
        let Known { device, host, .. } = &*KNOWN;
        let now = Instant::ZERO;
        let channel = match start {
            Start::Connect | Start::Greeted => Channel::connect(device, &TOKEN, &config(), now),
            Start::Pair => Channel::pair(device, 1, "fuzz", &config(), now),
            Start::Admit | Start::Open => Channel::admit(host, token_hash(&TOKEN), &config(), now),
            Start::Invite => Channel::invite(host, &config(), now),
        };
        let streams = Streams::new(u32::from(start.is_device()));
        let mut world =
            Self { start, peer: peer(start.is_device(), now), channel, kept: None, resuming: false, streams, now };
        match start {
            Start::Open => world.frames(&[Said::Auth(true, None)]),
            Start::Greeted => world.frames(&[Said::AuthOk(None)]),
            _ => return world,
        }
        assert!(world.channel.is_open());
        world
    }

    /// The peer says this in one record.
    fn frames(&mut self, list: &[Said<'_>]) {
        let mut plain = vec![0; 16_384];
        let mut w = Writer::new(&mut plain);
        for said in list {
            self.emit(said, &mut w);
        }
        let len = w.len();
        self.say(&plain[..len]);
    }

    /// A record of the peer's with this plaintext arrives.
    fn say(&mut self, plain: &[u8]) {
        let Some(mut record) = self.seal(plain) else { return };
        let said = if self.channel.is_over() { VecDeque::new() } else { self.streams.note(plain) };
        self.hear(&mut record, said);
    }

    fn seal(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut buf = [&[0; HEADER_LEN][..], plain, &[0; TAG_LEN]].concat();
        let len = self.peer.seal(self.now, &mut buf, plain.len()).ok()?;
        buf.truncate(len);
        Some(buf)
    }

    fn emit(&mut self, said: &Said<'_>, w: &mut Writer<'_>) {
        let Exports { session_id, resume_secret, hash, .. } = &KNOWN.exports;
        let proof = |right: bool, from_device: bool| {
            let mut proof = Exports::resume_proof(resume_secret, from_device, hash);
            proof[0] ^= u8::from(!right);
            proof
        };
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
                let proof = resume.map(|right| proof(right, true));
                Frame::Auth(Auth { token, resume: proof.as_ref().map(|proof| (session_id, proof)) }).emit(w)
            }
            Said::AuthOk(resumed) => {
                let proof = resumed.map(|right| proof(right, false));
                Frame::AuthOk(AuthOk { resumed: proof.as_ref() }).emit(w)
            }
            Said::Cap => Frame::Cap(&[7; 45]).emit(w),
            Said::OfStreams(ref said) => {
                self.streams.emit(said, w);
                Ok(())
            }
            Said::Datagram(Bytes(data)) => Frame::Datagram(data).emit(w),
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

    /// What the channel makes of a record in which the peer `said` this on streams.
    fn hear(&mut self, record: &mut [u8], mut said: VecDeque<Frame<'_>>) {
        let over = self.channel.is_over();
        let Ok(mut events) = self.channel.handle_input(self.now, record) else {
            assert!(self.channel.is_over());
            return;
        };
        assert!(!over, "a channel that was over took a record");
        let mut failed = false;
        while let Some(event) = events.next() {
            assert!(!failed, "an event after an error");
            match event {
                Ok(Event::Stream(event)) => self.streams.handle(event, &mut said),
                Ok(Event::ResumeRequested(request)) => {
                    if let Some(kept) = self.kept.take() {
                        let proven = request.is_proven_by(kept.resumption());
                        self.kept = events.adopt(kept).err();
                        assert_eq!(self.kept.is_none(), proven, "only its owner gets a session");
                    }
                }
                Ok(Event::Established) if core::mem::take(&mut self.resuming) => {
                    self.streams = Streams::new(u32::from(self.start.is_device()));
                }
                Ok(Event::Reattached) => {
                    assert!(core::mem::take(&mut self.resuming), "nobody asked for that");
                }
                Ok(_) => {}
                Err(_) => failed = true,
            }
        }
        drop(events);
        assert!(!failed || self.channel.is_over(), "an error that ends nothing");
    }

    /// What the channel sends opens, parses and keeps to the credit that the peer gave.
    fn peer_hears(&mut self, record: &mut [u8]) {
        let text = self.peer.open(self.now, record).expect("the peer opens what the channel seals");
        self.streams.check_sent(text);
    }

    fn step(&mut self, step: &Step<'_>) {
        match *step {
            Step::Raw(Bytes(bytes)) => self.hear(&mut bytes.to_vec(), VecDeque::new()),
            Step::Sealed(Bytes(plain)) => self.say(plain),
            Step::Frames(ref list) => self.frames(list),
            Step::Changed(ref said, place, change) => {
                let mut plain = vec![0; 1_024];
                let mut w = Writer::new(&mut plain);
                self.emit(said, &mut w);
                let len = w.len();
                if change == 0 {
                    self.say(&plain[..len]);
                } else if let Some(mut record) = self.seal(&plain[..len]) {
                    let place = usize::from(place) % record.len();
                    record[place] ^= change;
                    self.hear(&mut record, VecDeque::new());
                    assert!(self.channel.is_over(), "a changed record was taken");
                }
            }
            Step::Poll => {
                let mut out = [0; 2_048];
                for _ in 0..64 {
                    match self.channel.poll_output(self.now, &mut self.streams, &mut out) {
                        Ok(Output::Transmit { len }) => self.peer_hears(&mut out[..len]),
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
            Step::App(Done::Open) => {
                if let Some(id) = self.channel.open(self.now) {
                    self.streams.opened(id);
                    self.channel.streams().wants(id);
                }
            }
            Step::App(ref done) => self.streams.apply(done, self.channel.streams(), self.now),
            Step::Accept => {
                if let Frame::PairAccept(accept) = accept("fuzz") {
                    let mut out = [0; 512];
                    if let Ok(len) = self.channel.accept_pairing(&accept, self.now, &mut out) {
                        self.peer_hears(&mut out[..len]);
                    }
                }
            }
            Step::Acknowledge => drop(self.channel.acknowledge_pairing(self.now)),
            Step::Close => self.channel.close(Scope::Session, 0, ""),
            Step::Reattach(right) => self.reattach(right),
        }
    }

    fn reattach(&mut self, right: bool) {
        let Some(detached) = self.channel.detach() else { return };
        self.streams.reattach();
        self.resuming = true;
        self.peer = peer(self.start.is_device(), self.now);
        if self.start.is_device() {
            self.channel = Channel::resume(&KNOWN.device, &TOKEN, detached, &config(), self.now);
            self.step(&Step::Poll);
            self.frames(&[Said::AuthOk(Some(right))]);
        } else {
            self.kept = Some(detached);
            self.channel = Channel::admit(&KNOWN.host, token_hash(&TOKEN), &config(), self.now);
            self.frames(&[Said::Auth(true, Some(right))]);
        }
        assert_eq!(self.channel.is_over(), self.start.is_device() && !right);
    }
}

impl Start {
    fn is_device(self) -> bool {
        matches!(self, Self::Connect | Self::Greeted | Self::Pair)
    }
}

fn config() -> Config {
    Config { caps: CAPS, ..Config::default() }
}

/// The malicious end.
fn peer(victim_is_device: bool, now: Instant) -> Session<Portable> {
    if victim_is_device {
        Session::new(Role::Host, &KNOWN.host, now)
    } else {
        Session::new(Role::Device, &KNOWN.device, now)
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

/// A victim and what happens to it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Input<'a> {
    pub start: Start,
    pub steps: Steps<Step<'a>>,
}

pub fn check(input: &Input<'_>) {
    let mut world = World::new(input.start);
    for step in &input.steps.0 {
        world.step(step);
    }
}
