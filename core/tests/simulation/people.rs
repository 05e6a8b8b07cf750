//! Who is paired with whom: keys are made once for all worlds, since they are what costs most.

use std::sync::OnceLock;

use homing_core::crypto::{Identity, Psk, Secret};
use homing_core::handshake::{RouteId, host_mac1_key};
use homing_core::hop::{self, Capability};

use crate::relay::UNIX;

pub(crate) const HOSTS: usize = 2;
pub(crate) const DEVICES: usize = 4;
pub(crate) const TOKEN: [u8; 40] = [0x70; 40];
/// What hosts mint capabilities with.
const MINT: [u8; 32] = [0x33; 32];

struct Crowd {
    hosts: Vec<(Identity, Identity, Secret<32>)>,
    devices: Vec<Identity>,
}

fn crowd() -> &'static Crowd {
    static CROWD: OnceLock<Crowd> = OnceLock::new();
    let identity = |kind: u8, number: usize| Identity::from_secret(&Secret::new([kind + number as u8; 32]));
    CROWD.get_or_init(|| Crowd {
        hosts: (0..HOSTS)
            .map(|n| {
                let host = identity(0x10, n);
                let mac1_key = host_mac1_key(host.public());
                (host, identity(0x20, n), mac1_key)
            })
            .collect(),
        devices: (0..DEVICES).map(|n| identity(0x40, n)).collect(),
    })
}

/// A host's keys.
pub(crate) struct Household {
    pub(crate) identity: Identity,
    pub(crate) route: Identity,
    pub(crate) mac1_key: Secret<32>,
}

impl Household {
    pub(crate) fn of(host: usize) -> Self {
        let (identity, route, mac1_key) = &crowd().hosts[host];
        Self { identity: identity.duplicate(), route: route.duplicate(), mac1_key: mac1_key.duplicate() }
    }

    pub(crate) fn mint() -> Secret<32> {
        Secret::new(MINT)
    }
}

/// A device's side of its pairing.
pub(crate) struct Paired {
    number: usize,
    pub(crate) device: Identity,
    pub(crate) host_number: usize,
    pub(crate) host: Identity,
    route_id: RouteId,
}

impl Paired {
    /// Even devices are of one host, odd ones of the other.
    pub(crate) fn of(number: usize) -> Self {
        let host_number = number % HOSTS;
        let (host, route, _) = &crowd().hosts[host_number];
        let device = crowd().devices[number].duplicate();
        Self { number, device, host_number, host: host.duplicate(), route_id: hop::route_id(route.public()) }
    }

    pub(crate) const fn route_id(&self) -> RouteId {
        self.route_id
    }

    pub(crate) fn capability(&self) -> Capability {
        let id = [self.number as u8; 8];
        Capability::mint(&Household::mint(), &self.route_id, id, UNIX as u32 + 86_400 * 365, 1)
    }

    pub(crate) fn psk(&self) -> Psk {
        psk(self.number)
    }
}

/// The device with this key.
pub(crate) fn device_of(key: &homing_core::crypto::PublicKey) -> usize {
    crowd().devices.iter().position(|device| device.public() == key).expect("a paired device")
}

pub(crate) fn psk(device: usize) -> Psk {
    Psk::new([0x50 + device as u8; 32])
}
