//! What a host remembers: its keys and its devices, in an encrypted file.

use std::path::Path;

use homing_core::channel::token_hash;
use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::handshake::Suite;
use homing_local::clock::unix_now;
use homing_local::hex::{self, Hex};
use homing_local::{StoreError, Vault};
use serde::{Deserialize, Serialize};

/// The state file in the data directory.
pub const STATE_FILE: &str = "relay.enc";
/// The file with the key that the state file is encrypted with.
pub const KEY_FILE: &str = "relay.key";
/// Devices that a host takes in.
pub const MAX_DEVICES: usize = 64;

/// How long a device whose pairing was never confirmed is kept, in seconds.
const UNCONFIRMED_LIFE: u64 = 15 * 60;

/// What a host remembers.
#[derive(Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// What the host calls itself.
    pub name: String,
    /// Whether it may be reached at all.
    pub enabled: bool,
    pub(crate) identity: Hex<32>,
    pub(crate) route: Hex<32>,
    pub(crate) capability_key: Hex<32>,
    pub(crate) previous_capability_key: Hex<32>,
    /// Its devices.
    pub devices: Vec<Device>,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("State").field("name", &self.name).field("devices", &self.devices).finish_non_exhaustive()
    }
}

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
    key: Hex<32>,
    suite: u8,
    pub(crate) root: Hex<32>,
    token_hash: Hex<32>,
    /// Whether the device has said that it stored its pairing, or has come back with it.
    pub(crate) confirmed: bool,
    /// Ids of the capabilities that it was given, newest last, with their expiry.
    pub(crate) capabilities: Vec<(String, u32)>,
}

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
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
        let platform = match platform {
            1 => "command line",
            2 => "browser",
            3 => "phone",
            _ => "unknown",
        };
        Self {
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
        }
    }

    /// The key that it is known by.
    pub(crate) const fn key(&self) -> PublicKey {
        PublicKey::from_bytes(*self.key.0.expose())
    }

    /// What is kept of its bearer token.
    pub(crate) const fn token_hash(&self) -> [u8; 32] {
        *self.token_hash.0.expose()
    }

    /// The suite that it was paired with, and must not fall below.
    pub(crate) fn suite(&self) -> Suite {
        Suite::from_byte(self.suite).unwrap_or(Suite::Hybrid)
    }

    /// Remembers a capability; only the last few can still be in use.
    pub(crate) fn gave_capability(&mut self, id: [u8; 8], expiry: u32) {
        const KEPT: usize = 4;
        self.capabilities.push((hex::emit(&id), expiry));
        let excess = self.capabilities.len().saturating_sub(KEPT);
        self.capabilities.drain(..excess);
    }
}

impl State {
    fn fresh(name: &str) -> Self {
        let mut rng = crate::random();
        Self {
            version: 1,
            name: name.into(),
            enabled: true,
            identity: Hex(Identity::generate(&mut rng).secret()),
            route: Hex(Identity::generate(&mut rng).secret()),
            capability_key: Hex(Secret::random(&mut rng)),
            previous_capability_key: Hex(Secret::random(&mut rng)),
            devices: Vec::new(),
        }
    }

    pub(crate) fn by_key(&self, key: &PublicKey) -> Option<&Device> {
        // All are looked at, so that time tells nothing of which one fits.
        self.devices.iter().fold(None, |found, device| {
            if homing_core::crypto::same(device.key.0.expose(), key.as_bytes()) { Some(device) } else { found }
        })
    }

    /// The device with this id or, where only one has it, this name or beginning of an id.
    pub(crate) fn find(&self, name: &str) -> Result<usize, DeviceError> {
        let places = |fits: &dyn Fn(&Device) -> bool| -> Vec<usize> {
            self.devices.iter().enumerate().filter(|(_, device)| fits(device)).map(|(place, _)| place).collect()
        };
        for found in [
            places(&|device| device.id == name),
            places(&|device| device.name == name),
            places(&|device| !name.is_empty() && device.id.starts_with(name)),
        ] {
            match found[..] {
                [] => {}
                [place] => return Ok(place),
                _ => return Err(DeviceError::Ambiguous(name.into())),
            }
        }
        Err(DeviceError::Unknown(name.into()))
    }

    /// Takes over what was noticed of devices in memory only, and is not worth a write of its own.
    pub(crate) fn learn(&mut self, noticed: &Self) {
        for device in &mut self.devices {
            if let Some(known) = noticed.devices.iter().find(|known| known.id == device.id) {
                device.last_seen = device.last_seen.max(known.last_seen);
                device.confirmed |= known.confirmed;
                device.capabilities.clone_from(&known.capabilities);
            }
        }
    }

    /// Forgets devices that never confirmed their pairing.
    pub(crate) fn tidy(&mut self) {
        let now = unix_now();
        self.devices.retain(|device| device.confirmed || now.saturating_sub(device.paired_at) < UNCONFIRMED_LIFE);
    }
}

/// Why a device could not be renamed or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// None is called so.
    #[error("no device is called {0:?}; `homing host devices list` shows them")]
    Unknown(String),
    /// Several are called so.
    #[error("several devices are called {0:?}; use the id")]
    Ambiguous(String),
    /// A name that is empty, too long, or has control characters.
    #[error("a device's name has 1 to 64 bytes and no control characters")]
    Name,
    /// The state file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no state file.
    #[error("there is no host in this data directory; start one with `homing host start`")]
    NoHost,
}

pub(crate) fn check_name(name: &str) -> Result<&str, DeviceError> {
    let fits = !name.is_empty() && name.len() <= 64 && !name.chars().any(char::is_control);
    if fits { Ok(name) } else { Err(DeviceError::Name) }
}

/// Opens the state file, or makes it.
///
/// # Errors
/// [`StoreError`], with the file left as it is.
pub fn open_or_create(data: &Path, name: &str) -> Result<(Vault<State>, State), StoreError> {
    Vault::open_or_create(data, STATE_FILE, KEY_FILE, || State::fresh(name))
}

fn open(data: &Path) -> Result<(Vault<State>, State), DeviceError> {
    Vault::open(data, STATE_FILE, KEY_FILE)?.ok_or(DeviceError::NoHost)
}

/// The state of a host that is not running.
///
/// # Errors
/// [`DeviceError::NoHost`], [`DeviceError::Store`].
pub fn read(data: &Path) -> Result<State, DeviceError> {
    open(data).map(|(_, state)| state)
}

/// Renames a device of a host that is not running.
///
/// # Errors
/// [`DeviceError`].
pub fn rename(data: &Path, id: &str, name: &str) -> Result<(), DeviceError> {
    let name = check_name(name)?;
    let (mut vault, _) = open(data)?;
    let (renamed, _) = vault.update(|state| {
        let place = state.find(id)?;
        if let Some(device) = state.devices.get_mut(place) {
            device.name = name.into();
        }
        Ok(())
    })?;
    renamed
}

/// Revokes a device of a host that is not running: it can never connect again.
///
/// # Errors
/// [`DeviceError`].
pub fn revoke(data: &Path, id: &str) -> Result<(), DeviceError> {
    let (mut vault, _) = open(data)?;
    let (revoked, _) = vault.update(|state| {
        let place = state.find(id)?;
        state.devices.remove(place);
        Ok(())
    })?;
    revoked
}

/// Lets a host that is not running be reached, or not, from its next start on.
///
/// # Errors
/// [`DeviceError::NoHost`], [`DeviceError::Store`].
pub fn set_enabled(data: &Path, enabled: bool) -> Result<(), DeviceError> {
    let (mut vault, _) = open(data)?;
    vault.update(|state| state.enabled = enabled)?;
    Ok(())
}
