//! What a device keeps of a pairing.

use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::handshake::{RouteId, Suite};
use homing_core::wire::{CAPABILITY_LEN, TOKEN_LEN};

/// A host that a device was paired with, as the device keeps it. Whoever writes it down writes down
/// all of it.
#[derive(Debug)]
pub struct HostRecord {
    /// The relay's name, as in the ticket.
    pub relay: String,
    /// That relay has no TLS.
    pub plain: bool,
    /// Primitives of the handshake, as pinned.
    pub suite: Suite,
    /// The device's key for this host and no other.
    pub identity: Identity,
    /// The host's key, as pinned.
    pub host: PublicKey,
    /// What the host calls itself, with nothing in it that a terminal would obey.
    pub host_name: String,
    /// What the host calls the device.
    pub device_id: [u8; 8],
    /// The host's route at the relay.
    pub route: RouteId,
    /// Lets the relay admit the next call; each call brings a fresh one.
    pub capability: Secret<CAPABILITY_LEN>,
    /// The bearer token.
    pub token: Secret<TOKEN_LEN>,
    /// The secret that all calls rest on.
    pub root: Secret<32>,
}
