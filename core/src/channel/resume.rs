//! A session between two attachments (protocol 10.3): its streams, its name and the secret that
//! proves who owns it. No record key outlives an attachment.

use core::fmt;

use super::phase::{Anew, PHASE_TIME, Phase};
use super::{Channel, Config};
use crate::crypto::{Aead, Secret, same};
use crate::handshake::{Exports, Keys};
use crate::mux::Mux;
use crate::session::Role;
use crate::time::Instant;
use crate::wire::{Auth, AuthOk, Frame, Params, TOKEN_LEN};

use super::events::Error;

/// What a session is known by when it comes back.
pub struct Resumption {
    pub(super) session_id: [u8; 16],
    pub(super) secret: Secret<32>,
}

impl Resumption {
    pub(super) const fn new(keys: &Keys) -> Self {
        Self { session_id: keys.session_id, secret: keys.resume_secret.duplicate() }
    }

    /// The session's name.
    #[must_use]
    pub const fn session_id(&self) -> &[u8; 16] {
        &self.session_id
    }

    pub(super) const fn duplicate(&self) -> Self {
        Self { session_id: self.session_id, secret: self.secret.duplicate() }
    }

    fn proof(&self, from: Role, hash: &[u8; 32]) -> [u8; 16] {
        Exports::resume_proof(&self.secret, from == Role::Device, hash)
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption").finish_non_exhaustive()
    }
}

/// A device asks for a session that was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ResumeRequest {
    pub(super) session_id: [u8; 16],
    pub(super) proof: [u8; 16],
    pub(super) hash: [u8; 32],
}

impl ResumeRequest {
    /// The session that is asked for.
    #[must_use]
    pub const fn session_id(&self) -> &[u8; 16] {
        &self.session_id
    }

    /// Whether the device has shown that it owns the session. Compares in constant time.
    #[must_use]
    pub fn is_proven_by(&self, resumption: &Resumption) -> bool {
        same(&self.session_id, &resumption.session_id) && same(&self.proof, &resumption.proof(Role::Device, &self.hash))
    }
}

impl fmt::Debug for ResumeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeRequest").finish_non_exhaustive()
    }
}

/// A session without an attachment: what it needs to go on with another one.
pub struct Detached<const STREAMS: usize> {
    resumption: Resumption,
    mux: Mux<STREAMS>,
}

impl<const STREAMS: usize> Detached<STREAMS> {
    /// What it is known by.
    #[must_use]
    pub const fn resumption(&self) -> &Resumption {
        &self.resumption
    }

    /// The streams: the application goes on to read what has arrived and to write what will be
    /// sent, and says so here.
    pub const fn streams(&mut self) -> &mut Mux<STREAMS> {
        &mut self.mux
    }
}

impl<const STREAMS: usize> fmt::Debug for Detached<STREAMS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("streams", &self.mux.len()).finish_non_exhaustive()
    }
}

impl<const STREAMS: usize, A: Aead> Channel<STREAMS, A> {
    /// The device's end, after a connecting handshake: asks the host to go on with a session that
    /// was. Ends in [`Event::Reattached`](super::Event::Reattached), or in
    /// [`Event::Established`](super::Event::Established) where the host does not know it any more:
    /// then its streams are gone.
    #[must_use]
    pub fn resume(
        keys: &Keys,
        token: &[u8; TOKEN_LEN],
        detached: Detached<STREAMS>,
        config: &Config,
        now: Instant,
    ) -> Self {
        let proof = detached.resumption.proof(Role::Host, &keys.hash);
        let anew = Anew { own: keys.own, peer: keys.peer, caps: config.caps };
        let mut channel = Self::new(Role::Device, Phase::Resuming { proof, anew }, keys, config, now);
        let own = detached.resumption.proof(Role::Device, &keys.hash);
        let auth = Auth { token, resume: Some((&detached.resumption.session_id, &own)) };
        channel.outbox.push_first(&Frame::Auth(auth));
        channel.fresh = channel.resumption.replace(detached.resumption);
        channel.mux = detached.mux;
        channel.mux.reattach();
        channel.is_resumable = true;
        channel
    }

    /// What the session is known by, once both ends are authenticated and until it is ended.
    #[must_use]
    pub fn resumption(&self) -> Option<Resumption> {
        self.resumption.as_ref().filter(|_| self.is_resumable).map(Resumption::duplicate)
    }

    /// Takes the session out, to go on with it on another attachment; none where it was ended, or
    /// never began. What the channel still has to say about its own end is said.
    pub fn detach(&mut self) -> Option<Detached<STREAMS>> {
        let resumption = self.resumption.take().filter(|_| core::mem::take(&mut self.is_resumable))?;
        let params = Params::default();
        let empty = Mux::new(self.role, params, params, Config::default().caps, Instant::default());
        let mux = core::mem::replace(&mut self.mux, empty);
        if self.phase != Phase::Closing {
            self.abandon();
        }
        Some(Detached { resumption, mux })
    }

    /// The host goes on with a session that was, whose owner has asked for it.
    pub(super) fn adopt(&mut self, now: Instant, request: &ResumeRequest, detached: Detached<STREAMS>) {
        let proof = detached.resumption.proof(Role::Host, &request.hash);
        self.outbox.push_first(&Frame::AuthOk(AuthOk { resumed: Some(&proof) }));
        self.mux = detached.mux;
        self.mux.reattach();
        self.resumption = Some(detached.resumption);
        self.is_resumable = true;
        self.enter(Phase::AwaitState, now + PHASE_TIME);
    }

    /// The host does not know the session that the device asks for: a new one begins.
    pub(super) fn decline(&mut self, now: Instant) -> Result<(), Error> {
        self.ignores_state = true;
        self.answer_auth(now)
    }

    /// The host answered a device that asks to resume.
    pub(super) fn handle_resume_answer(&mut self, now: Instant, answer: AuthOk<'_>) -> Result<bool, Error> {
        let Phase::Resuming { proof, anew } = self.phase else {
            return Err(Error::Protocol);
        };
        match answer.resumed {
            Some(shown) if same(shown, &proof) => {
                self.enter(Phase::AwaitState, now + PHASE_TIME);
                Ok(true)
            }
            Some(_) => Err(Error::Protocol),
            None => {
                self.mux = Mux::new(self.role, anew.own, anew.peer, anew.caps, now);
                self.resumption = self.fresh.take();
                self.begin(now);
                Ok(false)
            }
        }
    }
}
