//! What a host decides, and what it decides with.

use core::fmt;
use std::sync::Arc;

use homing_core::Instant;
use homing_core::channel::{Config, code, token_hash};
use homing_core::crypto::{Identity, Psk, Secret};
use homing_core::handshake::{self, ChannelId, CheckWords, ConnectKnock, GuestChain, Knock, PairKnock};
use homing_core::hop;
use homing_core::wire::{Caveats, TOKEN_LEN};
use zeroize::Zeroizing;

use super::session::{Registrar, Session};
use super::sessions::Sessions;
use crate::conversation::Introduction;
use crate::stream::Stream;

/// What a host needs to be reached through a relay.
pub struct Registration {
    /// The relay's name, as it was dialled.
    pub relay: String,
    /// The key whose hash is the route.
    pub route: Identity,
    /// The key that capabilities are minted with.
    pub capability_key: Secret<32>,
    /// The one before it, still honoured.
    pub previous_capability_key: Secret<32>,
    /// The relay operator's key, where it asks for one.
    pub operator_key: Option<Zeroizing<String>>,
    /// How channels behave.
    pub config: Config,
    /// The sessions of this host's devices, over all its links.
    pub sessions: Arc<Sessions>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("relay", &self.relay).finish_non_exhaustive()
    }
}

/// What a known device is let in with.
#[derive(Debug)]
pub struct Known {
    /// The pre-shared key of its pairing.
    pub psk: Psk,
    /// Hash of its bearer token, by which [`Sessions`] know the device too.
    pub token_hash: [u8; 32],
    /// Where it is not the device itself that knocks, but one of its guests: what that is weighed
    /// with. Its sessions count as the device's.
    pub guest: Option<Doorstep>,
}

/// What a guest's caveats are weighed with (protocol 11.4).
#[derive(Debug)]
pub struct Doorstep {
    /// What the host calls the guest's device.
    pub device_id: [u8; 8],
    /// Where the chains of that device begin.
    pub chain: GuestChain,
}

impl Doorstep {
    /// The token that these caveats lead to.
    pub(crate) fn weigh(&self, caveats: Caveats<'_>) -> Introduction {
        let start = GuestChain::from_secret(self.chain.secret().duplicate());
        let chain = caveats.iter().fold(start, |chain, caveat| chain.narrowed(caveat));
        let token_hash = token_hash(chain.token(&self.device_id).expose());
        Introduction { token_hash, caveats: caveats.as_bytes().to_vec() }
    }
}

/// A device that holds a ticket and asks to be taken in.
#[derive(Debug)]
pub struct PairRequest {
    /// Kind of device, see [`homing_core::wire::PairFinish`].
    pub platform: u8,
    /// What its owner calls it, with nothing in it that a terminal would obey.
    pub name: String,
    /// What both ends show.
    pub check: CheckWords,
    /// The secret that later calls rest on.
    pub device_root: Secret<32>,
}

/// What the host gives to a device that it takes in.
pub struct Welcome {
    /// What the host calls the device.
    pub device_id: [u8; 8],
    /// Its bearer token.
    pub token: Secret<TOKEN_LEN>,
    /// The host's route.
    pub route_id: [u8; 16],
    /// Its first capability.
    pub capability: hop::Capability,
    /// The host's name.
    pub host_name: String,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

/// The host's decisions. Called from the loop: they must not block for long.
pub trait Gate {
    /// The host's record of the device at the other end of a channel.
    type Visitor;

    /// The relay has confirmed the route.
    fn registered(&mut self, link: Registrar);
    /// Reads a first message with the host's key and its live tickets.
    ///
    /// # Errors
    /// Those of [`handshake::hear`].
    fn hear(&mut self, now: Instant, channel: &ChannelId, hello: &mut [u8]) -> Result<Knock, handshake::Error>;
    /// Looks a device, or the device of a guest, up that says it is known; none refuses it.
    fn recognise(&mut self, knock: &ConnectKnock) -> Option<(Known, Self::Visitor)>;
    /// Counts a handshake under a ticket; none refuses it.
    fn pairing(&mut self, now: Instant, knock: &PairKnock) -> Option<Self::Visitor>;
    /// A guest said what limits it, and proved it: [`established`](Self::established) follows, unless
    /// this gives the close code that it is refused with. Each caveat is as the device, or another
    /// guest, wrote it. Without this no guest is let in.
    ///
    /// # Errors
    /// A code of [`homing_core::channel::code`].
    fn introduced(&mut self, visitor: &mut Self::Visitor, caveats: Caveats<'_>) -> Result<(), u16> {
        let _ = (visitor, caveats);
        Err(code::DENIED)
    }
    /// The device proved who it is, with a session that begins or goes on. Returns a capability for its next call, or the close code
    /// that it is refused with, after all.
    ///
    /// # Errors
    /// A code of [`homing_core::channel::code`].
    fn established(&mut self, visitor: &mut Self::Visitor, session: Session) -> Result<Option<hop::Capability>, u16>;
    /// A device asks to be taken in: answer through the session.
    fn pair_requested(&mut self, visitor: &mut Self::Visitor, request: PairRequest, session: Session);
    /// The device opened a stream.
    fn incoming(&mut self, visitor: &mut Self::Visitor, stream: Stream);
    /// The channel is over.
    fn ended(&mut self, visitor: Self::Visitor);
}
