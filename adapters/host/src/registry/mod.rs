//! What a host remembers: its keys and its devices, in an encrypted file.

mod device;
mod error;
mod guests;
mod offline;

use std::path::Path;

use homing_core::crypto::{Identity, PROTO, PublicKey, Secret, hash};
use homing_local::clock::unix_now;
use homing_local::device_log::Log;
use homing_local::hex::{self, Hex};
use homing_local::{StoreError, Vault};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::AuditFiles;
use crate::grant::{self, Grant};
use crate::roster;
use crate::rotation::Former;
use crate::service::Signer;
use crate::settings::token::{self, ApiToken};
use crate::settings::{NewToken, Scope};

pub use device::Device;
pub use error::DeviceError;
pub use guests::KnownGuest;
pub use offline::{audit_files, end_guest, jwks, mint_token, read, rename, revoke, rotate, set_enabled, set_grant};

pub(crate) use device::platform_name;

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
    /// What the audit trail is chained under; made with the first trail.
    #[serde(default)]
    audit_key: Option<Hex<32>>,
    /// What services are told under who calls; made when it is first needed.
    #[serde(default)]
    assertion_key: Option<Hex<32>>,
    /// Relays that were set while it ran; they count where its start names none.
    #[serde(default)]
    pub(crate) relays: Vec<String>,
    /// Tokens of the settings API.
    #[serde(default)]
    pub(crate) tokens: Vec<ApiToken>,
    /// How often its keys were rotated.
    #[serde(default)]
    pub(crate) rotations: u64,
    /// The keys before the last time.
    #[serde(default)]
    pub(crate) former: Option<Former>,
    /// What happened to its devices.
    #[serde(default)]
    pub(crate) log: Log,
    /// Capabilities of devices that were revoked, newest last, with their expiry: relays are told of them again each time,
    /// since they forget them with the link.
    #[serde(default)]
    denied: Vec<(String, u32)>,
    /// Its devices.
    pub devices: Vec<Device>,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("State").field("name", &self.name).field("devices", &self.devices).finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn fresh(name: &str) -> Self {
        let mut rng = crate::random();
        Self {
            version: 1,
            name: name.into(),
            enabled: true,
            identity: Hex(Identity::generate(&mut rng).secret()),
            route: Hex(Identity::generate(&mut rng).secret()),
            capability_key: Hex(Secret::random(&mut rng)),
            previous_capability_key: Hex(Secret::random(&mut rng)),
            audit_key: Some(Hex(Secret::random(&mut rng))),
            assertion_key: Some(Hex(Secret::random(&mut rng))),
            relays: Vec::new(),
            tokens: Vec::new(),
            rotations: 0,
            former: None,
            log: Log::default(),
            denied: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// The audit trail of the host in this data directory.
    pub(crate) fn audit_files(&self, data: &Path) -> AuditFiles {
        // Whoever opens a state sees to it that there is a key.
        let key = self.audit_key.as_ref().map_or(Secret::new([0; 32]), |key| key.0.duplicate());
        AuditFiles::new(data, key)
    }

    /// Who tells services who calls: the host, under the id by which devices list it.
    pub(crate) fn signer(&self) -> Option<Signer> {
        let host = Identity::from_secret(&self.identity.0);
        let id = hash(&[PROTO, b" host id", host.public().as_bytes()]);
        Signer::new(&self.assertion_key.as_ref()?.0, hex::emit(id.get(..8)?))
    }

    pub(crate) fn by_key(&self, key: &PublicKey) -> Option<&Device> {
        // All are looked at, so that time tells nothing of which one fits.
        self.devices.iter().fold(None, |found, device| {
            if homing_core::crypto::same(device.key.0.expose(), key.as_bytes()) { Some(device) } else { found }
        })
    }

    /// The device whose guests have this key.
    pub(crate) fn by_guest_key(&self, key: &PublicKey) -> Option<&Device> {
        // As above.
        self.devices.iter().fold(None, |found, device| {
            if homing_core::crypto::same(device.guest_key().as_bytes(), key.as_bytes()) { Some(device) } else { found }
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

    /// The device with this id.
    pub(crate) fn device(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    fn find_mut(&mut self, name: &str) -> Result<&mut Device, DeviceError> {
        let place = self.find(name)?;
        self.devices.get_mut(place).ok_or_else(|| DeviceError::Unknown(name.into()))
    }

    /// Renames a device; gives what the audit trail says of it, as do the others below.
    pub(crate) fn rename(&mut self, id: &str, name: &str) -> Result<Value, DeviceError> {
        let device = self.find_mut(id)?;
        let before = core::mem::replace(&mut device.name, name.into());
        Ok(json!({ "device": device.id, "name": name, "before": before }))
    }

    /// Forgets a device.
    pub(crate) fn revoke(&mut self, id: &str) -> Result<(Device, Value), DeviceError> {
        let place = self.find(id)?;
        let device = self.devices.remove(place);
        // As many as a relay remembers (protocol 12.2).
        const KEPT: usize = 16;
        let now = unix_now();
        self.denied.retain(|(_, expiry)| u64::from(*expiry) > now);
        self.denied.extend(device.capabilities.iter().cloned());
        let excess = self.denied.len().saturating_sub(KEPT);
        self.denied.drain(..excess);
        let said = json!({ "device": device.id, "name": device.name });
        Ok((device, said))
    }

    /// Capabilities that relays are to turn away, with their expiry.
    pub(crate) fn denied(&self) -> impl Iterator<Item = ([u8; 8], u32)> {
        let parsed = |(id, expiry): &(String, u32)| Some((*hex::parse::<8>(id)?.expose(), *expiry));
        self.denied.iter().filter_map(parsed)
    }

    /// Gives a device another grant.
    pub(crate) fn set_grant(&mut self, id: &str, grant: Option<Grant>) -> Result<Value, DeviceError> {
        let granted = grant::describe(grant.as_ref());
        let device = self.find_mut(id)?;
        device.grant = grant.and_then(Grant::or_everything);
        Ok(json!({ "device": device.id, "grant": granted }))
    }

    /// Makes a token for the settings API, good for `life` seconds.
    pub(crate) fn mint_token(&mut self, scope: Scope, life: u64) -> (NewToken, Value) {
        let token = token::mint(&mut self.tokens, scope, life);
        let said = json!({ "scope": scope.as_str(), "expires_at": token.expires_at });
        (token, said)
    }

    /// Takes over what was noticed of devices in memory only, and is not worth a write of its own.
    pub(crate) fn learn(&mut self, noticed: &Self) {
        for device in &mut self.devices {
            if let Some(known) = noticed.devices.iter().find(|known| known.id == device.id) {
                device.last_seen = device.last_seen.max(known.last_seen);
                device.confirmed |= known.confirmed;
                device.followed = device.followed.max(known.followed);
                device.capabilities.clone_from(&known.capabilities);
                device.guests.clone_from(&known.guests);
            }
        }
    }

    /// Whether a device knows the host by its keys of now.
    pub(crate) const fn has_followed(&self, device: &Device) -> bool {
        device.followed == self.rotations
    }

    /// Lets `change` work, and notes in the log what it did to devices. Every change of what is on disk goes through here.
    pub(crate) fn noting<R>(&mut self, change: impl FnOnce(&mut Self) -> R) -> R {
        let before = roster::of(&self.devices);
        let result = change(self);
        roster::note(&mut self.log, &before, &roster::of(&self.devices), unix_now());
        result
    }

    /// Whether the state is one of an earlier version, without a log of the devices that it has.
    fn lacks_log(&self) -> bool {
        self.log.head().seq == 0 && !self.devices.is_empty()
    }

    /// Forgets devices that never confirmed their pairing, and writes down what earlier versions did not.
    pub(crate) fn tidy(&mut self) {
        let now = unix_now();
        for device in &mut self.devices {
            device.complete();
            device.forget_guests(now);
        }
        self.devices.retain(|device| device.confirmed || now.saturating_sub(device.paired_at) < UNCONFIRMED_LIFE);
    }
}

pub(crate) fn check_name(name: &str) -> Result<&str, DeviceError> {
    let fits = (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(name) } else { Err(DeviceError::Name) }
}

/// Opens the state file, or makes it.
///
/// # Errors
/// [`StoreError`], with the file left as it is.
pub fn open_or_create(data: &Path, name: &str) -> Result<(Vault<State>, State), StoreError> {
    let (vault, state) = Vault::open_or_create(data, STATE_FILE, KEY_FILE, || State::fresh(name))?;
    complete(vault, state)
}

/// Adds what states of earlier versions lack.
fn complete(mut vault: Vault<State>, mut state: State) -> Result<(Vault<State>, State), StoreError> {
    if state.audit_key.is_none() || state.assertion_key.is_none() || state.lacks_log() {
        let key = || Hex(Secret::random(&mut crate::random()));
        let ((), completed) = vault.update(|state| {
            state.audit_key.get_or_insert_with(key);
            state.assertion_key.get_or_insert_with(key);
            if state.lacks_log() {
                roster::note(&mut state.log, &[], &roster::of(&state.devices), unix_now());
            }
        })?;
        state = completed;
    }
    Ok((vault, state))
}
