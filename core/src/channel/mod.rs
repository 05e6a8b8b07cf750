//! One device's conversation with one host: a session, its streams and its life, behind one type.
//! What embedders meet. The handshake comes before it, sockets are around it.
//!
//! ```text
//! device:  connect -> Greeting --AUTH_OK--> Open          pair -> Asking --PAIR_ACCEPT, acknowledged--> Open
//! host:    admit -> AwaitAuth --AUTH--> Open              invite -> AwaitFinish --PAIR_FINISH--> Deciding
//!                                                           --accepted--> AwaitAck --PAIR_ACK--> Open
//! guest:   admit_guest -> AwaitGuest --GUEST, expect_token--> AwaitAuth
//! any: --CLOSE, error, silence--> Over
//! ```
//! A session outlives its channel: [`detach`](Channel::detach) takes it out of one that is over,
//! and the device's [`resume`](Channel::resume) brings it to the next.
//!
//! ```text
//! device:  resume -> Resuming --AUTH_OK--> AwaitState --RESUME_STATE--> Open
//! host:    admit -> AwaitAuth --AUTH, adopt--> AwaitState --RESUME_STATE--> Open
//! ```

mod events;
mod liveness;
mod outbox;
mod phase;
mod resume;

use core::fmt;
use core::time::Duration;

pub use events::{Error, Event, Events};
pub use phase::{CONFIRM_TIME, PHASE_TIME};
pub use resume::{Detached, ResumeRequest, Resumption};

use crate::crypto::{Aead, PROTO, Portable, hash};
use crate::handshake::Keys;
use crate::mux::{Mux, Source, WindowCaps};
use crate::session::{Role, Session};
use crate::time::Instant;
use crate::wire::{
    Auth, AuthOk, CAPABILITY_LEN, Caveats, Close, Frame, HEADER_LEN, Header, NoSpace, PairAccept, PairFinish, Reader,
    Scope, StreamId, TAG_LEN, TOKEN_LEN, Writer, padme,
};
use liveness::Liveness;
use outbox::Outbox;
use phase::Phase;

/// Codes of a close (protocol 15.1).
pub mod code {
    /// All is well.
    pub const NORMAL: u16 = 0;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1;
    /// The peer sent more than it was allowed.
    pub const FLOW_CONTROL: u16 = 2;
    /// A limit is reached.
    pub const LIMIT: u16 = 3;
    /// The peer took too long.
    pub const TIMEOUT: u16 = 4;
    /// The device was revoked.
    pub const REVOKED: u16 = 5;
    /// Another device used the ticket.
    pub const TICKET_USED: u16 = 6;
    /// The operator said no.
    pub const DENIED: u16 = 7;
    /// The bearer token is not the one on record.
    pub const TOKEN_INVALID: u16 = 8;
    /// A newer attachment took over.
    pub const SUPERSEDED: u16 = 10;
    /// This end is shutting down.
    pub const SHUTDOWN: u16 = 11;
    /// Something broke at this end.
    pub const INTERNAL: u16 = 13;
    /// What the guest was given is over.
    pub const EXPIRED: u16 = 14;
}

/// How a channel behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How far windows grow.
    pub caps: WindowCaps,
    /// How often a round trip is made; twice this in silence and the channel is dead.
    pub ping: Duration,
    /// Whether records are padded, so that their length says less.
    pub pad: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { caps: WindowCaps::default(), ping: Duration::from_secs(25), pad: true }
    }
}

/// What [`Channel::poll_output`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the first `len` bytes of the buffer: one record.
    Transmit {
        /// The record's length.
        len: usize,
    },
    /// Nothing to say until something happens or this instant comes.
    Wait {
        /// When to call [`Channel::handle_timeout`].
        until: Option<Instant>,
    },
}

/// Records have room for this much at least: a full outbox and PAIR_ACCEPT with its 175 bytes.
const LEAST_PLAINTEXT: usize = outbox::LEN + 176;

/// What the host keeps of a bearer token.
#[must_use]
pub fn token_hash(token: &[u8; TOKEN_LEN]) -> [u8; 32] {
    hash(&[PROTO, b" token", token])
}

/// A channel with at most `STREAMS` streams at once, of both openers together.
pub struct Channel<const STREAMS: usize, A = Portable> {
    /// None once the channel is over: the keys go in the same step.
    session: Option<Session<A>>,
    mux: Mux<STREAMS>,
    phase: Phase,
    /// By when the phase must be over, where it has a deadline.
    until: Instant,
    /// None once the session was taken out.
    resumption: Option<Resumption>,
    /// While an old session is asked for: what a new one would be known by.
    fresh: Option<Resumption>,
    /// Whether the session can go on with another attachment.
    is_resumable: bool,
    /// What the device has of a session that this host does not know is of no interest.
    ignores_state: bool,
    outbox: Outbox,
    liveness: Liveness,
    max_plaintext: u16,
    role: Role,
    pad: bool,
}

impl<const STREAMS: usize, A> fmt::Debug for Channel<STREAMS, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("phase", &self.phase).field("streams", &self.mux.len()).finish_non_exhaustive()
    }
}

impl<const STREAMS: usize, A: Aead> Channel<STREAMS, A> {
    /// The device's end, after a connecting handshake. Streams can be opened at once; the host
    /// handles them when it has checked the token.
    #[must_use]
    pub fn connect(keys: &Keys, token: &[u8; TOKEN_LEN], config: &Config, now: Instant) -> Self {
        let mut channel = Self::new(Role::Device, Phase::Greeting, keys, config, now);
        channel.outbox.push_first(&Frame::Auth(Auth { token, resume: None }));
        channel
    }

    /// The device's end, after a pairing handshake: asks to be taken in under `name`.
    #[must_use]
    pub fn pair(keys: &Keys, platform: u8, name: &str, config: &Config, now: Instant) -> Self {
        let mut channel = Self::new(Role::Device, Phase::Asking, keys, config, now);
        channel.outbox.push_first(&Frame::PairFinish(PairFinish { platform, name }));
        channel
    }

    /// The host's end, after a connecting handshake with a device whose token has this hash.
    #[must_use]
    pub fn admit(keys: &Keys, token_hash: [u8; 32], config: &Config, now: Instant) -> Self {
        Self::new(Role::Host, Phase::AwaitAuth { token_hash, hash: keys.hash }, keys, config, now)
    }

    /// The host's end, after a connecting handshake with a guest: it has to say what limits it, see
    /// [`Event::Introduced`], and to show the token that follows from that.
    #[must_use]
    pub fn admit_guest(keys: &Keys, config: &Config, now: Instant) -> Self {
        Self::new(Role::Host, Phase::AwaitGuest { hash: keys.hash }, keys, config, now)
    }

    /// The host's end, after a pairing handshake.
    #[must_use]
    pub fn invite(keys: &Keys, config: &Config, now: Instant) -> Self {
        Self::new(Role::Host, Phase::AwaitFinish, keys, config, now)
    }

    fn new(role: Role, phase: Phase, keys: &Keys, config: &Config, now: Instant) -> Self {
        Self {
            session: Some(Session::new(role, keys, now)),
            mux: Mux::new(role, keys.own, keys.peer, config.caps, now),
            phase,
            until: now + PHASE_TIME,
            resumption: Some(Resumption::new(keys)),
            fresh: None,
            is_resumable: false,
            ignores_state: false,
            outbox: Outbox::default(),
            liveness: Liveness::new(config.ping, now),
            max_plaintext: keys.peer.max_record,
            role,
            pad: config.pad,
        }
    }

    /// Opens a record and hands out what it says; the record's bytes are overwritten. Dropping the
    /// iterator early applies the rest all the same.
    ///
    /// # Errors
    /// [`Error`]: the channel is over. Only a peer that broke the protocol under its own key is
    /// told so; forged, lost or reordered records are met with silence.
    pub fn handle_input<'b>(
        &mut self,
        now: Instant,
        record: &'b mut [u8],
    ) -> Result<Events<'_, 'b, STREAMS, A>, Error> {
        if self.is_over() {
            return Err(Error::Over);
        }
        match self.session.as_mut().ok_or(Error::Over)?.open(now, record) {
            Ok(text) => {
                self.liveness.heard(now);
                Ok(Events::new(self, now, Reader::new(text)))
            }
            Err(discard) => {
                self.abandon();
                Err(Error::Discard(discard))
            }
        }
    }

    /// The instant asked for by [`poll_output`](Self::poll_output) has come.
    ///
    /// # Errors
    /// [`Error::Timeout`] where the peer is silent or too slow: the channel is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.phase.has_deadline() && now >= self.until {
            // A session that was lives on, and the next attachment may be luckier.
            let scope = if self.is_resumable { Scope::Channel } else { Scope::Session };
            self.close(scope, code::TIMEOUT, "");
            return Err(Error::Timeout);
        }
        self.mux.handle_timeout(now);
        if self.phase == Phase::Open && self.liveness.handle_timeout(now).is_err() {
            self.abandon();
            return Err(Error::Timeout);
        }
        Ok(())
    }

    /// Seals the next record into `out`: control frames, then streams in fair turns, their bytes
    /// taken from `source`. The record fits `out` and what the peer accepts.
    ///
    /// # Errors
    /// [`Error::NoSpace`] for a buffer below 284 bytes; [`Error::Exhausted`] once the keys are
    /// used up: the channel is over.
    pub fn poll_output(&mut self, now: Instant, source: &mut impl Source, out: &mut [u8]) -> Result<Output, Error> {
        if self.phase == Phase::Over {
            return Ok(Output::Wait { until: None });
        }
        let mut w = Writer::new(self.plaintext(out)?);
        self.outbox.flush(&mut w);
        if self.phase == Phase::Open && self.liveness.poll(now, &mut w) {
            self.mux.nudge(); // a round trip is made anyway
        }
        if self.phase.may_send_streams() {
            self.mux.poll(source, &mut w);
        }
        let len = w.len();
        if len == 0 {
            return Ok(Output::Wait { until: self.poll_timeout() });
        }
        let len = self.seal(now, len, out)?;
        if self.phase == Phase::Closing {
            self.abandon();
        }
        Ok(Output::Transmit { len })
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mux = if self.phase.may_send_streams() { self.mux.poll_timeout() } else { None };
        let own = match self.phase {
            Phase::Open => Some(self.liveness.deadline()),
            phase => phase.has_deadline().then_some(self.until),
        };
        [own, mux].into_iter().flatten().min()
    }

    /// A guest says what limits it, and shows its token. Seals that into `out` and returns the
    /// record's length: it must be sent before anything else is polled.
    ///
    /// # Errors
    /// [`Error::Misuse`] where something was sent before, [`Error::NoSpace`] where `out` or what the
    /// host accepts is too small for it; otherwise those of [`poll_output`](Self::poll_output).
    pub fn introduce(&mut self, caveats: Caveats<'_>, now: Instant, out: &mut [u8]) -> Result<usize, Error> {
        if !matches!(self.phase, Phase::Greeting | Phase::Resuming { .. }) || self.outbox.is_empty() {
            return Err(Error::Misuse);
        }
        let mut w = Writer::new(self.plaintext(out)?);
        Frame::Guest(caveats).emit(&mut w).map_err(|NoSpace| Error::NoSpace)?;
        if !self.outbox.flush(&mut w) {
            return Err(Error::NoSpace);
        }
        let len = w.len();
        self.seal(now, len, out)
    }

    /// The host takes the device in; its record must be on disk by now. Seals the answer into `out`
    /// and returns the record's length: it must be sent before anything else is polled.
    ///
    /// # Errors
    /// [`Error::Misuse`] where nothing was asked, and otherwise those of
    /// [`poll_output`](Self::poll_output).
    pub fn accept_pairing(&mut self, accept: &PairAccept<'_>, now: Instant, out: &mut [u8]) -> Result<usize, Error> {
        if self.phase != Phase::Deciding {
            return Err(Error::Misuse);
        }
        let mut w = Writer::new(self.plaintext(out)?);
        self.outbox.flush(&mut w);
        Frame::PairAccept(*accept).emit(&mut w).map_err(|NoSpace| Error::NoSpace)?;
        let len = self.seal(now, w.len(), out)?;
        self.enter(Phase::AwaitAck, now + PHASE_TIME);
        Ok(len)
    }

    /// The host's operator is being asked, for so many seconds at most.
    ///
    /// # Errors
    /// [`Error::Misuse`] where nothing was asked.
    pub fn pend_pairing(&mut self, seconds: u16, now: Instant) -> Result<(), Error> {
        if self.phase != Phase::Deciding {
            return Err(Error::Misuse);
        }
        self.outbox.push(&Frame::PairPending(seconds)).map_err(|NoSpace| Error::NoSpace)?;
        self.enter(Phase::Deciding, now + Duration::from_secs(seconds.into()));
        Ok(())
    }

    /// The device has stored what [`Event::Paired`] brought: the channel becomes a session.
    ///
    /// # Errors
    /// [`Error::Misuse`] where it was not paired.
    pub fn acknowledge_pairing(&mut self, now: Instant) -> Result<(), Error> {
        if self.phase != Phase::Storing {
            return Err(Error::Misuse);
        }
        self.outbox.push(&Frame::PairAck).map_err(|NoSpace| Error::NoSpace)?;
        self.begin(now);
        Ok(())
    }

    /// The host gives the device a fresh capability for its next call.
    ///
    /// # Errors
    /// [`Error::Misuse`] before the channel is open, [`Error::NoSpace`] while others wait.
    pub fn offer_capability(&mut self, capability: &[u8; CAPABILITY_LEN]) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Open | Phase::AwaitState) {
            return Err(Error::Misuse);
        }
        self.outbox.push(&Frame::Cap(capability)).map_err(|NoSpace| Error::NoSpace)
    }

    /// Ends the channel: one more record says so, then it is over. A host that has not heard a
    /// record yet does not know whom it would tell, and says nothing (protocol 6.4).
    pub fn close(&mut self, scope: Scope, code: u16, text: &str) {
        if scope == Scope::Session {
            self.is_resumable = false;
        }
        if self.is_over() {
            return;
        }
        let first = Header { epoch: 0, counter: 0 };
        if self.role == Role::Host && self.session.as_ref().is_some_and(|session| session.next_opened() == first) {
            return self.abandon();
        }
        self.outbox.clear();
        self.outbox.push_first(&Frame::Close(Close { scope, code, text }));
        self.phase = Phase::Closing;
    }

    /// Ends the channel at once, without a word.
    pub fn abandon(&mut self) {
        self.outbox.clear();
        self.phase = Phase::Over;
        self.session = None;
    }

    /// Opens a stream; none while a limit is reached or the channel cannot carry any.
    pub fn open(&mut self, now: Instant) -> Option<StreamId> {
        if self.phase.may_send_streams() { self.mux.open(now) } else { None }
    }

    /// The streams, to tell what the application wants, consumed and gave up.
    pub const fn streams(&mut self) -> &mut Mux<STREAMS> {
        &mut self.mux
    }

    /// Whether the peer is authenticated and streams flow.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether nothing more comes in, and at most one closing record goes out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Over)
    }

    /// The last measured round trip to the peer.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.liveness.round_trip()
    }

    /// Where a record's plaintext goes in `out`: as much as fits and the peer accepts.
    fn plaintext<'o>(&self, out: &'o mut [u8]) -> Result<&'o mut [u8], Error> {
        let room = self.room(out.len());
        let plain = out.get_mut(HEADER_LEN..HEADER_LEN.saturating_add(room));
        plain.filter(|plain| plain.len() >= LEAST_PLAINTEXT).ok_or(Error::NoSpace)
    }

    fn room(&self, out: usize) -> usize {
        out.saturating_sub(HEADER_LEN.saturating_add(TAG_LEN)).min(self.max_plaintext.into())
    }

    /// Pads the `len` bytes of plaintext in `out` and makes a record of them.
    fn seal(&mut self, now: Instant, len: usize, out: &mut [u8]) -> Result<usize, Error> {
        let padded = if self.pad { padme(len, self.room(out.len())) } else { len };
        let padding = HEADER_LEN.saturating_add(len)..HEADER_LEN.saturating_add(padded);
        out.get_mut(padding).unwrap_or_default().fill(0);
        let Some(Ok(len)) = self.session.as_mut().map(|session| session.seal(now, out, padded)) else {
            self.abandon(); // what went into this record is lost
            return Err(Error::Exhausted);
        };
        Ok(len)
    }

    fn enter(&mut self, phase: Phase, until: Instant) {
        self.phase = phase;
        self.until = until;
    }

    fn begin(&mut self, now: Instant) {
        self.phase = Phase::Open;
        self.is_resumable = true;
        self.liveness.begin(now);
    }

    fn answer_auth(&mut self, now: Instant) -> Result<(), Error> {
        self.outbox.push(&Frame::AuthOk(AuthOk { resumed: None })).map_err(|NoSpace| Error::NoSpace)?;
        self.begin(now);
        Ok(())
    }
}
