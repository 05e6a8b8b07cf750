//! What a host remembers: its keys and its devices, in an encrypted file.

use std::path::Path;

use homing_core::channel::token_hash;
use homing_core::crypto::{Identity, PROTO, PublicKey, Secret, hash};
use homing_core::handshake::{GuestSeed, Suite};
use homing_local::clock::unix_now;
use homing_local::device_log::Log;
use homing_local::hex::{self, Hex};
use homing_local::{StoreError, Vault};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::{AuditError, AuditFiles, Writer};
use crate::grant::{self, Grant};
use crate::roster;
use crate::rotation::{Former, Progress, Rotation};
use crate::service::Signer;
use crate::settings::token::{self, ApiToken};
use crate::settings::{NewToken, Scope};

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
            let root = &device.root.0;
            device.guest_key.get_or_insert_with(|| guest_key_of(root));
        }
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
    #[error("a device's name has 1 to 64 characters, none of them a control character")]
    Name,
    /// The state file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Devices still follow the last rotation.
    #[error(
        "devices follow the last rotation until {until}, and {waiting} of them have not yet; `homing host devices list` \
         shows which, `homing host rotate --now` shuts them out"
    )]
    Rotating {
        /// When that ends.
        until: String,
        /// How many have not.
        waiting: usize,
    },
    /// There is no state file.
    #[error("there is no host in this data directory; start one with `homing host start`")]
    NoHost,
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

/// The audit trail of the host in this data directory, to be read.
///
/// # Errors
/// [`DeviceError::NoHost`], [`DeviceError::Store`].
pub fn audit_files(data: &Path) -> Result<AuditFiles, DeviceError> {
    let (_, state) = open(data)?;
    Ok(state.audit_files(data))
}

/// What services of the host in this data directory check its assertions with: a JSON Web Key Set.
///
/// # Errors
/// [`DeviceError::NoHost`], [`DeviceError::Store`].
pub fn jwks(data: &Path) -> Result<Value, DeviceError> {
    let (_, state) = open(data)?;
    Ok(state.signer().map_or_else(|| json!({ "keys": [] }), |signer| signer.jwks()))
}

fn open(data: &Path) -> Result<(Vault<State>, State), DeviceError> {
    let (vault, state) = Vault::open(data, STATE_FILE, KEY_FILE)?.ok_or(DeviceError::NoHost)?;
    Ok(complete(vault, state)?)
}

/// Changes a host that is not running, and notes it in its audit trail.
fn change<R>(
    data: &Path,
    event: &str,
    change: impl FnOnce(&mut State) -> Result<(R, Value), DeviceError>,
) -> Result<R, DeviceError> {
    let (mut vault, state) = open(data)?;
    // First: what cannot be noted is not done.
    let mut trail = Writer::open(state.audit_files(data))?;
    let ((result, said), _) = vault.try_update(|state| state.noting(change))?;
    trail.append(unix_now(), event, &said)?;
    trail.seal()?;
    Ok(result)
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
    change(data, "renamed", |state| Ok(((), state.rename(id, name)?)))
}

/// Revokes a device of a host that is not running: it can never connect again.
///
/// # Errors
/// [`DeviceError`].
pub fn revoke(data: &Path, id: &str) -> Result<(), DeviceError> {
    change(data, "revoked", |state| Ok(((), state.revoke(id)?.1)))
}

/// Says what a device of a host that is not running may reach; none for everything.
///
/// # Errors
/// [`DeviceError`].
pub fn set_grant(data: &Path, id: &str, grant: Option<Grant>) -> Result<(), DeviceError> {
    change(data, "grant set", |state| Ok(((), state.set_grant(id, grant)?)))
}

/// Lets a host that is not running be reached, or not, from its next start on.
///
/// # Errors
/// [`DeviceError`].
pub fn set_enabled(data: &Path, enabled: bool) -> Result<(), DeviceError> {
    change(data, if enabled { "enabled" } else { "disabled" }, |state| {
        state.enabled = enabled;
        Ok(((), json!({})))
    })
}

/// Gives a host that is not running other keys, or ends the overlap of a rotation before.
///
/// # Errors
/// [`DeviceError`].
pub fn rotate(data: &Path, what: Rotation) -> Result<Progress, DeviceError> {
    change(data, "rotated", |state| state.rotate(what, unix_now()))
}

/// Makes a token for the settings API of a host that is not running; `life` is in seconds.
///
/// # Errors
/// [`DeviceError`].
pub fn mint_token(data: &Path, scope: Scope, life: u64) -> Result<NewToken, DeviceError> {
    change(data, "token made", |state| Ok(state.mint_token(scope, life)))
}
