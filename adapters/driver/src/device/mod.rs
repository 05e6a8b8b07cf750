//! A device's end of a link: dial, handshake, one conversation.

mod opener;
mod opening;
mod profile;
mod record;
mod running;
mod side;

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_core::channel::Config;
use homing_core::crypto::{Identity, Psk, PublicKey, Secret};
use homing_core::handshake::{self, CheckWords, RouteId, Suite};
use homing_core::hop::{self, Code, DeviceLink};
use homing_core::wire::{CAPABILITY_LEN, TOKEN_LEN};

use crate::bell::Bell;
use crate::conversation::Paired;
use crate::drive::{Clock, drive};
use crate::ended::Ended;
use crate::pulse::Pulse;

pub use crate::kept::Kept;
pub use opener::Opener;
pub use opening::Opening;
pub use profile::Profile;
pub use record::HostRecord;

use running::{Device, Phase, split};

/// Why a device calls.
#[derive(Debug)]
pub enum Intent {
    /// To be paired, under this name.
    Pair {
        /// What the ticket gives.
        ticket: handshake::Ticket,
        /// What the relay is shown.
        rendezvous: Secret<16>,
        /// Kind of device, see [`homing_core::wire::PairFinish`].
        platform: u8,
        /// What its owner calls it.
        name: String,
    },
    /// To reach its host.
    Connect {
        /// The host's route at the relay.
        route: RouteId,
        /// Lets the relay admit the device.
        capability: hop::Capability,
        /// The pre-shared key of this pairing.
        psk: Psk,
        /// The bearer token.
        token: Secret<TOKEN_LEN>,
        /// Where it is a guest who calls: what limits it, as [`homing_core::wire::Caveats`] reads it.
        guest: Option<Vec<u8>>,
    },
}

/// One call of a device.
#[derive(Debug)]
pub struct Call {
    /// The relay's name, as it was dialled.
    pub relay: String,
    /// Primitives of the handshake, as pinned.
    pub suite: Suite,
    /// The device's key for this host.
    pub identity: Identity,
    /// The host's key, as pinned.
    pub host: PublicKey,
    /// What for.
    pub intent: Intent,
    /// How the channel behaves.
    pub config: Config,
}

/// What a device hears during a call. Storing what arrives may block; it is little and rare.
pub trait Caller {
    /// The host is authenticated and there: streams opened from now on reach it, and those of a
    /// session that was kept go on where the host still knows it.
    fn established(&mut self, opener: Opener);
    /// The host's operator is being asked; compare the check words.
    fn pending(&mut self, check: CheckWords, seconds: u16);
    /// Paired: store it, with the secret that all later calls rest on.
    ///
    /// # Errors
    /// A text that says why it could not be stored: the call ends, the host forgets the device.
    fn paired(&mut self, paired: Paired, device_root: Secret<32>) -> Result<(), String>;
    /// A fresh capability for the next call: store it.
    fn capability(&mut self, capability: &[u8; CAPABILITY_LEN]);
}

/// Runs a call over a WebSocket that the relay has accepted, until it ends. Its streams end with it.
pub async fn call<S, C>(socket: WebSocketStream<S>, clock: &C, call: Call, caller: &mut impl Caller) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
{
    call_again(socket, clock, call, &Kept::default(), caller).await
}

/// Runs a call as [`call`] does, one of several to the same host: it goes on with the session that
/// was kept, if there is one, and leaves its own there where it can be resumed. That holds for a
/// call that is dropped, too.
pub async fn call_again<S, C>(
    socket: WebSocketStream<S>,
    clock: &C,
    call: Call,
    kept: &Kept,
    caller: &mut impl Caller,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
{
    let bell = Bell::new();
    let now = clock.now();
    let (purpose, kind) = split(call.intent);
    let Ok(link) = DeviceLink::new(&call.relay, purpose, now) else { return Ended::Hop(Code::Protocol) };
    let mut device = Device {
        link,
        suite: call.suite,
        identity: call.identity,
        host: call.host,
        kind,
        config: call.config,
        phase: Phase::Dialling,
        caller,
        clock,
        number: kept.join(),
        kept,
        bell: bell.clone(),
        notices: Vec::new(),
        ended: None,
        blocked: false,
        deadline: None,
        leave_at: None,
        pulse: Pulse::default(),
    };
    drive(socket, clock, &bell, &mut device).await
}
