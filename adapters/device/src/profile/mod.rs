//! What this device keeps of every host that it is paired with, in an encrypted file. Several
//! processes share the file: everything is read anew when it is needed and changed under its lock.

mod guest;
mod host;
mod name;

use core::fmt;
use std::path::Path;

use homing_core::crypto::{Identity, PROTO, PublicKey, Secret, hash};
use homing_core::handshake::{RouteId, Suite};
use homing_core::wire::{CAPABILITY_LEN, TOKEN_LEN};
use homing_local::device_log::Entry;
use homing_local::hex::{self, Hex};
use homing_local::{StoreError, Vault};
use homing_tokio::RelayUrl;
use serde::{Deserialize, Serialize};

pub use guest::GuestLink;
pub use host::{DeviceLog, HostSummary};

use crate::error::DeviceError;
use crate::mirror::{Break, Checked, Mirror};
use guest::GuestPart;
use name::{NAME_MAX, is_name, to_name};

/// The state file's name.
pub const STATE_FILE: &str = "vault.enc";
/// The name of its key's file.
pub const KEY_FILE: &str = "vault.key";
/// Relays of one host that are remembered.
const RELAYS_MAX: usize = 8;

/// The hosts of a device.
#[derive(Default, Serialize, Deserialize)]
pub struct Profiles {
    hosts: Vec<HostProfile>,
}

/// What a device keeps of one host. Its secrets are wiped when it is dropped.
#[derive(Serialize, Deserialize)]
pub struct HostProfile {
    id: String,
    name: String,
    /// Where it was paired; `plain` belongs to it.
    relay: String,
    plain: bool,
    /// Where the host says that it can be reached, `wss://…`, the best first.
    #[serde(default)]
    relays: Vec<String>,
    suite: u8,
    host_key: Hex<32>,
    identity: Hex<32>,
    device_root: Hex<32>,
    device_id: Hex<8>,
    token: Hex<TOKEN_LEN>,
    route_id: Hex<16>,
    /// The latest capability, which nobody has used yet.
    capability: Hex<CAPABILITY_LEN>,
    /// One that the relay has taken before.
    previous: Option<Hex<CAPABILITY_LEN>>,
    paired_at: u64,
    /// What the host told of its devices.
    #[serde(default)]
    devices: Mirror,
    /// What it was known by before it moved, until it has answered by what it is known by now.
    #[serde(default)]
    former: Option<Former>,
    /// Where this device is a guest of another one's host.
    #[serde(default)]
    guest: Option<GuestPart>,
}

/// What a host was known and reached by.
#[derive(Serialize, Deserialize)]
struct Former {
    host_key: Hex<32>,
    route_id: Hex<16>,
    capability: Hex<CAPABILITY_LEN>,
    previous: Option<Hex<CAPABILITY_LEN>>,
    /// How long it answers by that, Unix seconds.
    until: u64,
}

/// Other keys of a host, as it tells them by those that are known (protocol 10.5).
#[derive(Deserialize)]
pub(crate) struct Move {
    host_key: Hex<32>,
    route_id: Hex<16>,
    capability: Hex<CAPABILITY_LEN>,
    until: u64,
}

/// What pairing gives.
pub(crate) struct NewHost<'a> {
    pub(crate) name: &'a str,
    pub(crate) relay: &'a RelayUrl,
    pub(crate) suite: Suite,
    pub(crate) host: &'a PublicKey,
    pub(crate) identity: &'a Identity,
    pub(crate) device_root: Secret<32>,
    pub(crate) device_id: [u8; 8],
    pub(crate) token: Secret<TOKEN_LEN>,
    pub(crate) route_id: RouteId,
    pub(crate) capability: Secret<CAPABILITY_LEN>,
    pub(crate) paired_at: u64,
}

/// The id of the host with this key.
fn host_id(host: &PublicKey) -> String {
    hex::emit(hash(&[PROTO, b" host id", host.as_bytes()]).get(..8).unwrap_or_default())
}

impl Profiles {
    /// Reads the file; none is as good as an empty one.
    ///
    /// # Errors
    /// [`DeviceError::Store`].
    pub fn read(data: &Path) -> Result<Self, DeviceError> {
        Ok(Vault::open(data, STATE_FILE, KEY_FILE)?.map(|(_, profiles)| profiles).unwrap_or_default())
    }

    /// The hosts of the device whose data is in `data`, by name.
    ///
    /// # Errors
    /// [`DeviceError::Store`].
    pub fn list(data: &Path) -> Result<Vec<HostSummary>, DeviceError> {
        let mut hosts: Vec<_> = Self::read(data)?.hosts.iter().map(HostProfile::summary).collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(hosts)
    }

    /// Gives a host another name.
    ///
    /// # Errors
    /// [`DeviceError::UnknownHost`], [`DeviceError::Ambiguous`], [`DeviceError::BadName`],
    /// [`DeviceError::NameTaken`] or [`DeviceError::Store`].
    pub fn rename(data: &Path, host: &str, name: &str) -> Result<HostSummary, DeviceError> {
        if !is_name(name) {
            return Err(DeviceError::BadName { name: name.into() });
        }
        Self::change(data, host, |profiles| {
            let id = profiles.find(host)?.id.clone();
            if profiles.hosts.iter().any(|other| other.name == name && other.id != id) {
                return Err(DeviceError::NameTaken { name: name.into() });
            }
            let profile = profiles.by_id_mut(&id).ok_or_else(|| DeviceError::UnknownHost { host: host.into() })?;
            profile.name = name.into();
            Ok(profile.summary())
        })
    }

    /// Forgets a host and every secret shared with it. The host keeps its own record of this device.
    ///
    /// # Errors
    /// [`DeviceError::UnknownHost`], [`DeviceError::Ambiguous`] or [`DeviceError::Store`].
    pub fn forget(data: &Path, host: &str) -> Result<HostSummary, DeviceError> {
        Self::change(data, host, |profiles| {
            let summary = profiles.find(host)?.summary();
            profiles.hosts.retain(|profile| profile.id != summary.id);
            Ok(summary)
        })
    }

    /// What a host told of its devices.
    ///
    /// # Errors
    /// [`DeviceError::UnknownHost`], [`DeviceError::Ambiguous`] or [`DeviceError::Store`].
    pub fn device_log(data: &Path, host: &str) -> Result<DeviceLog, DeviceError> {
        Ok(Self::read(data)?.find(host)?.device_log())
    }

    /// Ends the warning that a host's log of devices is not the one that it told before; gives the log with what was
    /// wrong.
    ///
    /// # Errors
    /// [`DeviceError::UnknownHost`], [`DeviceError::Ambiguous`] or [`DeviceError::Store`].
    pub fn accept_device_log(data: &Path, host: &str) -> Result<DeviceLog, DeviceError> {
        Self::change(data, host, |profiles| {
            let (id, log) = profiles.find(host).map(|profile| (profile.id.clone(), profile.device_log()))?;
            if let Some(profile) = profiles.by_id_mut(&id) {
                profile.devices.accept();
            }
            Ok(log)
        })
    }

    /// The host of this name or id, or the only one whose name or id begins so.
    ///
    /// # Errors
    /// [`DeviceError::UnknownHost`] or [`DeviceError::Ambiguous`].
    pub fn find(&self, host: &str) -> Result<&HostProfile, DeviceError> {
        if let Some(exact) = self.hosts.iter().find(|profile| profile.name == host || profile.id == host) {
            return Ok(exact);
        }
        let matching = |profile: &&HostProfile| profile.name.starts_with(host) || profile.id.starts_with(host);
        let found: Vec<_> = self.hosts.iter().filter(matching).collect();
        match found.as_slice() {
            _ if host.is_empty() => Err(DeviceError::UnknownHost { host: host.into() }),
            [] => Err(DeviceError::UnknownHost { host: host.into() }),
            [one] => Ok(one),
            several => Err(DeviceError::Ambiguous {
                host: host.into(),
                names: several.iter().map(|profile| profile.name.clone()).collect(),
            }),
        }
    }

    /// The host with exactly this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&HostProfile> {
        self.hosts.iter().find(|profile| profile.name == name)
    }

    /// The host with exactly this id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&HostProfile> {
        self.hosts.iter().find(|profile| profile.id == id)
    }

    /// The id of the host with this key: one that moved since keeps that of its first.
    fn id_of(&self, host: &PublicKey) -> String {
        let known = self.hosts.iter().find(|profile| profile.host_key() == *host);
        known.map_or_else(|| host_id(host), |known| known.id.clone())
    }

    /// Takes a host in. One that is known already is replaced and keeps its name.
    pub(crate) fn insert(&mut self, new: NewHost<'_>) -> HostSummary {
        let id = self.id_of(new.host);
        let known = self.hosts.iter().position(|profile| profile.id == id).map(|place| self.hosts.remove(place));
        let profile = HostProfile {
            name: known.as_ref().map_or_else(|| self.unique(new.name), |known| known.name.clone()),
            // What it told before stays said.
            devices: known.map(|known| known.devices).unwrap_or_default(),
            id,
            relay: new.relay.authority().into(),
            plain: new.relay.is_plain(),
            relays: Vec::new(),
            suite: new.suite.to_byte(),
            host_key: Hex::new(*new.host.as_bytes()),
            identity: Hex(new.identity.secret()),
            device_root: Hex(new.device_root),
            device_id: Hex::new(new.device_id),
            token: Hex(new.token),
            route_id: Hex::new(new.route_id),
            capability: Hex(new.capability),
            previous: None,
            former: None,
            paired_at: new.paired_at,
            guest: None,
        };
        let summary = profile.summary();
        self.hosts.push(profile);
        summary
    }

    /// Stores a fresh capability for a route; the one in use, which the relay took, is kept behind it.
    pub(crate) fn renew(
        &mut self,
        id: &str,
        route: &RouteId,
        used: &Secret<CAPABILITY_LEN>,
        fresh: &[u8; CAPABILITY_LEN],
    ) {
        let Some(profile) = self.by_id_mut(id) else { return };
        let (capability, previous) = match &mut profile.former {
            _ if profile.route_id.0.expose() == route => (&mut profile.capability, &mut profile.previous),
            Some(former) if former.route_id.0.expose() == route => (&mut former.capability, &mut former.previous),
            _ => return,
        };
        *previous = Some(Hex(used.duplicate()));
        *capability = Hex::new(*fresh);
    }

    /// Stores what a host is known by from now on. What it was known by is kept until it has answered by that. False where
    /// it is known so already.
    pub(crate) fn follow(&mut self, id: &str, to: Move) -> bool {
        let Some(profile) = self.by_id_mut(id) else { return false };
        let known = |ours: &[u8], theirs: &[u8]| ours == theirs;
        if known(profile.host_key.0.expose(), to.host_key.0.expose())
            && known(profile.route_id.0.expose(), to.route_id.0.expose())
        {
            profile.capability = to.capability;
            return false;
        }
        let before = Former {
            host_key: core::mem::replace(&mut profile.host_key, to.host_key),
            route_id: core::mem::replace(&mut profile.route_id, to.route_id),
            capability: core::mem::replace(&mut profile.capability, to.capability),
            previous: profile.previous.take(),
            until: to.until,
        };
        // Where it has never answered by those, it is by the ones before that it speaks.
        profile.former.get_or_insert(before).until = to.until;
        true
    }

    /// The host has answered by what it is known by now: what was before is forgotten.
    pub(crate) fn settle(&mut self, id: &str, host: &PublicKey, route: &RouteId) {
        if let Some(profile) = self.by_id_mut(id)
            && profile.host_key() == *host
            && profile.route_id.0.expose() == route
        {
            profile.former = None;
        }
    }

    /// Notes where a host says that it can be reached. False where that is known already.
    pub(crate) fn learn_relays(&mut self, id: &str, told: &[String]) -> bool {
        let Some(profile) = self.by_id_mut(id) else { return false };
        let mut relays: Vec<String> = Vec::new();
        // Spelled in one way, and only what may be dialled.
        for relay in told.iter().filter_map(|relay| relay.parse::<RelayUrl>().ok()) {
            let relay = relay.to_string();
            if relays.len() < RELAYS_MAX && !relays.contains(&relay) {
                relays.push(relay);
            }
        }
        let is_news = !relays.is_empty() && profile.relays != relays;
        if is_news {
            profile.relays = relays;
        }
        is_news
    }

    /// Adds what a host told of its devices; gives what its user is to hear, and whether it fits what is known.
    pub(crate) fn note_devices(&mut self, id: &str, heard: &Checked, now: u64) -> (Vec<Entry>, Option<Break>, bool) {
        // A host that was forgotten meanwhile has nothing more to say.
        let Some(profile) = self.by_id_mut(id) else { return (Vec::new(), None, true) };
        let own = hex::emit(profile.device_id.0.expose());
        let alarmed = profile.devices.alarm().is_some();
        let (told, fits) = profile.devices.take(heard, &own, now);
        let alarm = profile.devices.alarm().filter(|_| !alarmed);
        (told, alarm.map(|alarm| alarm.what), fits)
    }

    fn change<R>(
        data: &Path,
        host: &str,
        change: impl FnOnce(&mut Self) -> Result<R, DeviceError>,
    ) -> Result<R, DeviceError> {
        let Some((mut vault, _)) = Vault::<Self>::open(data, STATE_FILE, KEY_FILE)? else {
            return Err(DeviceError::UnknownHost { host: host.into() });
        };
        vault.try_update(change).map(|(given, _)| given)
    }

    fn by_id_mut(&mut self, id: &str) -> Option<&mut HostProfile> {
        self.hosts.iter_mut().find(|profile| profile.id == id)
    }

    fn unique(&self, wanted: &str) -> String {
        let name = to_name(wanted);
        if self.by_name(&name).is_none() {
            return name;
        }
        let mut number = 2_u32;
        loop {
            let suffix = format!("-{number}");
            let end = name.len().min(NAME_MAX.saturating_sub(suffix.len()));
            let numbered = format!("{}{suffix}", name.get(..end).unwrap_or(&name));
            if self.by_name(&numbered).is_none() {
                return numbered;
            }
            number = number.saturating_add(1);
        }
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.hosts).finish()
    }
}

/// The open file, created where there is none.
pub(crate) fn vault(data: &Path) -> Result<Vault<Profiles>, StoreError> {
    Vault::open_or_create(data, STATE_FILE, KEY_FILE, Profiles::default).map(|(vault, _)| vault)
}

#[cfg(test)]
mod tests;
