//! What a record says, frame by frame.

use core::fmt;

use super::phase::Phase;
use super::{CONFIRM_TIME, Channel, Detached, PHASE_TIME, ResumeRequest, code, token_hash};
use crate::crypto::{Aead, same};
use crate::mux::{self, Violation};
use crate::session::{Discard, Role};
use crate::time::Instant;
use crate::wire::{CAPABILITY_LEN, Caveats, Close, Frame, PairAccept, PairFinish, Reader, Scope};

/// What happened on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// The peer is authenticated and here now, and a new session begins. On a device that asked
    /// for a session that was: the host does not know it, its streams are lost.
    Established,
    /// Host: a device asks for a session that was. Look it up, and [`Events::adopt`] it; without
    /// that a new session begins.
    ResumeRequested(ResumeRequest),
    /// Host: a guest says what limits it. Derive its token from that, and let
    /// [`Events::expect_token`] know; without that it is refused.
    Introduced(Caveats<'b>),
    /// The peer is authenticated and here now, and the session goes on: see
    /// [`mux::Event::Resumed`].
    Reattached,
    /// Host: a device asks to be taken in. Answer with [`Channel::accept_pairing`],
    /// [`Channel::pend_pairing`] or [`Channel::close`].
    PairRequested(PairFinish<'b>),
    /// Device: the host's operator is being asked; seconds until the answer is no.
    PairPending(u16),
    /// Device: taken in. Store it, then [`Channel::acknowledge_pairing`].
    Paired(PairAccept<'b>),
    /// Host: the device has stored its pairing; the channel is open.
    PairAcknowledged,
    /// Device: a fresh capability for the next call.
    Capability(&'b [u8; CAPABILITY_LEN]),
    /// Something happened to a stream.
    Stream(mux::Event<'b>),
    /// The peer ended the session or channel.
    Closed(Close<'b>),
}

/// Why a channel is over, or a call made no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A record was not the next one of the peer.
    Discard(Discard),
    /// The peer sent what is no frame, or no frame for now.
    Protocol,
    /// The peer broke the rules of streams.
    Violation(Violation),
    /// The bearer token is not the one on record.
    Token,
    /// The peer was silent or too slow.
    Timeout,
    /// The session's keys are used up: connect anew.
    Exhausted,
    /// The caller's buffer, or the outbox, is too small.
    NoSpace,
    /// The call does not fit the channel's state, which is unchanged.
    Misuse,
    /// The channel ended before.
    Over,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discard(discard) => discard.fmt(f),
            Self::Violation(violation) => violation.fmt(f),
            Self::Protocol => f.write_str("peer broke the protocol"),
            Self::Token => f.write_str("bearer token not accepted"),
            Self::Timeout => f.write_str("peer does not answer"),
            Self::Exhausted => f.write_str("session's keys are used up"),
            Self::NoSpace => f.write_str("buffer too small"),
            Self::Misuse => f.write_str("call does not fit the channel's state"),
            Self::Over => f.write_str("channel is over"),
        }
    }
}

impl core::error::Error for Error {}

/// The events of one record. What the caller does not ask for is applied on drop.
pub struct Events<'c, 'b, const STREAMS: usize, A: Aead> {
    channel: &'c mut Channel<STREAMS, A>,
    now: Instant,
    frames: Reader<'b>,
    /// A session was asked for, and the application has not said whether it has it.
    asked: Option<ResumeRequest>,
    adopted: bool,
}

impl<const STREAMS: usize, A: Aead> fmt::Debug for Events<'_, '_, STREAMS, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("bytes_left", &self.frames.rest().len()).finish_non_exhaustive()
    }
}

impl<'c, 'b, const STREAMS: usize, A: Aead> Events<'c, 'b, STREAMS, A> {
    pub(super) const fn new(channel: &'c mut Channel<STREAMS, A>, now: Instant, frames: Reader<'b>) -> Self {
        Self { channel, now, frames, asked: None, adopted: false }
    }

    /// Answers [`Event::ResumeRequested`]: the session goes on with this channel.
    ///
    /// # Errors
    /// The session itself, where it was not asked for or the device has not proved that it owns it.
    #[expect(clippy::result_large_err, reason = "the session comes back the way it went")]
    pub fn adopt(&mut self, detached: Detached<STREAMS>) -> Result<(), Detached<STREAMS>> {
        let Some(request) = self.asked.take_if(|request| request.is_proven_by(detached.resumption())) else {
            return Err(detached);
        };
        self.channel.adopt(self.now, &request, detached);
        self.adopted = true;
        Ok(())
    }

    /// Answers [`Event::Introduced`]: the guest's token must have this hash.
    pub fn expect_token(&mut self, token_hash: [u8; 32]) {
        if let Phase::Introduced { hash } = self.channel.phase {
            self.channel.phase = Phase::AwaitAuth { token_hash, hash };
        }
    }

    /// Answers [`Event::ResumeRequested`]: a newer attachment has the session.
    pub fn refuse(&mut self) {
        if self.asked.take().is_some() {
            self.channel.close(Scope::Channel, code::SUPERSEDED, "");
        }
    }
}

impl<'b, const STREAMS: usize, A: Aead> Iterator for Events<'_, 'b, STREAMS, A> {
    type Item = Result<Event<'b>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if core::mem::take(&mut self.adopted) {
            return Some(Ok(Event::Reattached));
        }
        if self.asked.take().is_some() {
            return Some(self.channel.decline(self.now).map(|()| Event::Established));
        }
        loop {
            if self.channel.is_over() {
                return None; // what follows a close means nothing
            }
            let applied = match Frame::parse(&mut self.frames) {
                Ok(None) => return None,
                Ok(Some(frame)) => self.channel.handle_frame(self.now, frame),
                Err(_) => Err(Error::Protocol),
            };
            match applied {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if let Event::ResumeRequested(request) = event {
                        self.asked = Some(request);
                    }
                    return Some(Ok(event));
                }
                Err(error) => {
                    self.frames = Reader::new(&[]);
                    self.channel.blame(error);
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<const STREAMS: usize, A: Aead> Drop for Events<'_, '_, STREAMS, A> {
    fn drop(&mut self) {
        for _ in &mut *self {}
    }
}

impl<const STREAMS: usize, A: Aead> Channel<STREAMS, A> {
    fn handle_frame<'b>(&mut self, now: Instant, frame: Frame<'b>) -> Result<Option<Event<'b>>, Error> {
        if let Frame::Close(close) = frame {
            self.handle_close(close);
            return Ok(Some(Event::Closed(close)));
        }
        match (self.phase, frame) {
            (Phase::Open, frame) => self.handle_open(now, frame),
            (Phase::Greeting, Frame::AuthOk(ok)) => {
                // Nothing was to be resumed.
                if ok.resumed.is_some() {
                    return Err(Error::Protocol);
                }
                self.begin(now);
                Ok(Some(Event::Established))
            }
            (Phase::Resuming { .. }, Frame::AuthOk(ok)) => {
                let resumed = self.handle_resume_answer(now, ok)?;
                Ok(Some(if resumed { Event::Reattached } else { Event::Established }))
            }
            (Phase::AwaitState, frame @ (Frame::ResumeState(_) | Frame::Cap(_) | Frame::Ping(_) | Frame::Pong(_))) => {
                let event = self.handle_open(now, frame)?;
                if event == Some(Event::Stream(mux::Event::Resumed)) {
                    self.begin(now);
                }
                Ok(event)
            }
            (Phase::AwaitAuth { token_hash: expected, hash }, Frame::Auth(auth)) => {
                if !same(&token_hash(auth.token), &expected) {
                    return Err(Error::Token);
                }
                if let Some((session_id, proof)) = auth.resume {
                    let request = ResumeRequest { session_id: *session_id, proof: *proof, hash };
                    return Ok(Some(Event::ResumeRequested(request)));
                }
                self.answer_auth(now)?;
                Ok(Some(Event::Established))
            }
            (Phase::AwaitGuest { hash }, Frame::Guest(caveats)) => {
                self.phase = Phase::Introduced { hash };
                Ok(Some(Event::Introduced(caveats)))
            }
            // Nothing tells a device that says too much, or too little, from one with a wrong token.
            (Phase::AwaitGuest { .. } | Phase::Introduced { .. }, Frame::Auth(_))
            | (Phase::AwaitAuth { .. } | Phase::Introduced { .. }, Frame::Guest(_)) => Err(Error::Token),
            (Phase::AwaitFinish, Frame::PairFinish(finish)) => {
                self.enter(Phase::Deciding, now + PHASE_TIME);
                Ok(Some(Event::PairRequested(finish)))
            }
            (Phase::Asking, Frame::PairPending(seconds)) => {
                let wait = core::time::Duration::from_secs(seconds.into()).min(CONFIRM_TIME);
                self.enter(Phase::Asking, now + wait + PHASE_TIME);
                Ok(Some(Event::PairPending(seconds)))
            }
            (Phase::Asking, Frame::PairAccept(accept)) => {
                self.enter(Phase::Storing, now + PHASE_TIME);
                Ok(Some(Event::Paired(accept)))
            }
            (Phase::AwaitAck, Frame::PairAck) => {
                self.begin(now);
                Ok(Some(Event::PairAcknowledged))
            }
            _ => Err(Error::Protocol),
        }
    }

    fn handle_open<'b>(&mut self, now: Instant, frame: Frame<'b>) -> Result<Option<Event<'b>>, Error> {
        match frame {
            Frame::Ping(number) => {
                self.mux.count_control(now).map_err(Error::Violation)?;
                self.liveness.ping_came(number);
                Ok(None)
            }
            Frame::Pong(number) => {
                if let Some(round_trip) = self.liveness.pong_came(number, now) {
                    self.mux.measured(round_trip);
                }
                Ok(None)
            }
            Frame::ResumeState(state) if self.ignores_state => {
                self.ignores_state = state.more;
                Ok(None)
            }
            Frame::Cap(capability) if self.role == Role::Device => Ok(Some(Event::Capability(capability))),
            frame => Ok(self.mux.handle(now, frame).map_err(Error::Violation)?.map(Event::Stream)),
        }
    }

    /// The peer's close is answered by silence for a channel, by a close for a session.
    fn handle_close(&mut self, close: Close<'_>) {
        match close.scope {
            Scope::Session => self.close(Scope::Session, code::NORMAL, ""),
            Scope::Channel => self.abandon(),
        }
    }

    /// Ends the channel for an error of the peer's, and tells it.
    fn blame(&mut self, error: Error) {
        let code = match error {
            Error::Violation(Violation::FlowControl) => code::FLOW_CONTROL,
            Error::Violation(Violation::StreamLimit | Violation::Flood) => code::LIMIT,
            Error::Token => code::TOKEN_INVALID,
            Error::NoSpace => code::INTERNAL,
            _ => code::PROTOCOL,
        };
        self.close(Scope::Session, code, "");
    }
}
