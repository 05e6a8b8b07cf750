//! What a host keeps for as long as it lives: its keys, and a record of each device.

use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::handshake::Suite;

use crate::random;

/// What a host calls a device.
pub type DeviceId = [u8; 8];

/// Who a host is. Devices know it by these keys only, so that a host that loses them is another.
#[derive(Debug)]
pub struct HostKeys {
    /// The key that devices pin.
    pub identity: Identity,
    /// The key whose hash is the route; relays see it.
    pub route: Identity,
    /// The key that capabilities are minted with.
    pub capability_key: Secret<32>,
    /// The one before it, still honoured.
    pub previous_capability_key: Secret<32>,
}

impl HostKeys {
    /// Fresh keys, from the system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let rng = &mut random();
        Self {
            identity: Identity::generate(rng),
            route: Identity::generate(rng),
            capability_key: Secret::random(rng),
            previous_capability_key: Secret::random(rng),
        }
    }
}

/// A device that was taken in, as its host keeps it. Whoever writes it down writes down all of it.
#[derive(Debug)]
pub struct DeviceRecord {
    /// What the host calls it.
    pub id: DeviceId,
    /// What its owner calls it, with nothing in it that a terminal would obey.
    pub name: String,
    /// Kind of device, see [`homing_core::wire::PairFinish`].
    pub platform: u8,
    /// The key that it is known by.
    pub key: PublicKey,
    /// The primitives that it was paired with, and must not fall below.
    pub suite: Suite,
    /// The secret that its calls rest on.
    pub root: Secret<32>,
    /// What is kept of its bearer token: [`token_hash`](homing_core::channel::token_hash).
    pub token_hash: [u8; 32],
}
