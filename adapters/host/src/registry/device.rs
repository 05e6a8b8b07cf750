//! What a host remembers of a device.

use homing_core::channel::token_hash;
use homing_core::crypto::{PublicKey, Secret};
use homing_core::handshake::{GuestSeed, Suite};
use homing_local::clock::unix_now;
use homing_local::hex::{self, Hex};
use serde::{Deserialize, Serialize};

use super::KnownGuest;
use crate::grant::Grant;

/// A paired device.
#[derive(Serialize, Deserialize)]
pub struct Device {
    /// Its id, 8 bytes in hex.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What kind of device it said to be.
    pub platform: String,
    /// When it was paired, in Unix seconds.
    pub paired_at: u64,
    /// When it was last connected, in Unix seconds.
    pub last_seen: Option<u64>,
    pub(super) key: Hex<32>,
    suite: u8,
    pub(crate) root: Hex<32>,
    token_hash: Hex<32>,
    /// The key that its guests are known by, which follows from the root.
    #[serde(default)]
    guest_key: Option<Hex<32>>,
    /// Whether the device has said that it stored its pairing, or has come back with it.
    pub(crate) confirmed: bool,
    /// Ids of the capabilities that it was given, newest last, with their expiry.
    pub(crate) capabilities: Vec<(String, u32)>,
    /// What it may reach; none for everything.
    #[serde(default)]
    pub(crate) grant: Option<Grant>,
    /// Its guests that have come, the last one last. As `last_seen`, not worth a write of its own.
    #[serde(default)]
    pub(crate) guests: Vec<KnownGuest>,
    /// Its guests that were ended before their time.
    #[serde(default)]
    pub(super) ended_guests: Vec<KnownGuest>,
    /// The rotation that it followed last: it came by the keys of that.
    #[serde(default)]
    pub(crate) followed: u64,
}

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What kind of device it says it is (protocol 10.2).
pub(crate) const fn platform_name(platform: u8) -> &'static str {
    match platform {
        1 => "command line",
        2 => "browser",
        3 => "phone",
        _ => "unknown",
    }
}

impl Device {
    pub(crate) fn new(
        id: [u8; 8],
        name: String,
        platform: u8,
        key: PublicKey,
        suite: Suite,
        root: Secret<32>,
        token: &[u8; 40],
    ) -> Self {
        let platform = platform_name(platform);
        Self {
            guest_key: Some(guest_key_of(&root)),
            id: hex::emit(&id),
            name,
            platform: platform.into(),
            paired_at: unix_now(),
            last_seen: None,
            key: Hex::new(*key.as_bytes()),
            suite: suite.to_byte(),
            root: Hex(root),
            token_hash: Hex::new(token_hash(token)),
            confirmed: false,
            capabilities: Vec::new(),
            grant: None,
            guests: Vec::new(),
            ended_guests: Vec::new(),
            followed: 0,
        }
    }

    /// What it may reach; none for everything.
    #[must_use]
    pub const fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// The key that it is known by.
    pub(crate) const fn key(&self) -> PublicKey {
        PublicKey::from_bytes(*self.key.0.expose())
    }

    /// The key that its guests are known by.
    pub(crate) fn guest_key(&self) -> PublicKey {
        let key = self.guest_key.as_ref().map(|key| *key.0.expose());
        PublicKey::from_bytes(key.unwrap_or_else(|| *guest_key_of(&self.root.0).0.expose()))
    }

    /// What is kept of its bearer token.
    pub(crate) const fn token_hash(&self) -> [u8; 32] {
        *self.token_hash.0.expose()
    }

    /// The suite that it was paired with, and must not fall below.
    pub(crate) fn suite(&self) -> Suite {
        Suite::from_byte(self.suite).unwrap_or(Suite::Hybrid)
    }

    /// Adds what states of earlier versions lack.
    pub(super) fn complete(&mut self) {
        let root = &self.root.0;
        self.guest_key.get_or_insert_with(|| guest_key_of(root));
    }

    /// Remembers a capability; only the last few can still be in use.
    pub(crate) fn gave_capability(&mut self, id: [u8; 8], expiry: u32) {
        const KEPT: usize = 4;
        self.capabilities.push((hex::emit(&id), expiry));
        let excess = self.capabilities.len().saturating_sub(KEPT);
        self.capabilities.drain(..excess);
    }
}

fn guest_key_of(root: &Secret<32>) -> Hex<32> {
    Hex::new(*GuestSeed::of(root).identity().public().as_bytes())
}
