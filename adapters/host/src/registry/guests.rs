//! Guests of devices, as far as their host has met them: it learns of one when it comes (protocol 11.4), and remembers
//! those that its owner has ended for as long as they could come.

use homing_local::clock::{rfc3339, unix_now};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Device, DeviceError, State};
use crate::grant::MAX_EXPIRY;
use crate::grant::guest::Guest;

/// Guests of one device that are remembered, those that came last.
const KNOWN: usize = 32;
/// Guests of one device that can be ended before their time. None of them is ever forgotten for another.
const ENDED: usize = 64;
/// What is kept of a name, in characters: a guest's guest has the names of all before it.
const NAME: usize = 64;

/// A guest that has come, or was ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownGuest {
    /// What it and those that it has its link from are told apart by, itself last.
    chain: Vec<String>,
    /// What it is called.
    pub name: String,
    /// When its link ends, in Unix seconds.
    pub expires_at: u64,
    /// When it last began a session, in Unix seconds; none where it was ended before it came.
    pub last_seen: Option<u64>,
}

impl KnownGuest {
    /// Its id: its device's and its own.
    #[must_use]
    pub fn id(&self, device: &str) -> String {
        format!("{device}-{}", self.chain.last().map_or("", String::as_str))
    }

    /// One that has not come, by its id. Nobody knows then when its link ends.
    fn unseen(id: &str, device: &str) -> Option<Self> {
        let own = id.strip_prefix(device)?.strip_prefix('-')?;
        let fits = own.len() == 16 && own.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let guest = || Self { chain: vec![own.into()], name: String::new(), expires_at: MAX_EXPIRY, last_seen: None };
        fits.then(guest)
    }

    fn is(&self, other: &Self) -> bool {
        self.chain.last() == other.chain.last()
    }
}

impl Device {
    /// Takes note that a guest came.
    pub(crate) fn met(&mut self, guest: &Guest) {
        let (now, name) = (unix_now(), guest.name.chars().take(NAME).collect());
        let known = KnownGuest { chain: guest.chain(), name, expires_at: guest.expires_at, last_seen: Some(now) };
        self.guests.retain(|other| !other.is(&known) && now < other.expires_at);
        let excess = self.guests.len().saturating_sub(KNOWN.saturating_sub(1));
        self.guests.drain(..excess);
        self.guests.push(known);
    }

    /// Whether a guest, or one that it has its link from, was ended.
    pub(crate) fn has_ended(&self, guest: &Guest) -> bool {
        !self.ended_guests.is_empty() && self.has_ended_any(&guest.chain())
    }

    fn has_ended_any(&self, chain: &[String]) -> bool {
        self.ended_guests.iter().any(|ended| ended.chain.last().is_some_and(|ended| chain.contains(ended)))
    }

    /// All that are known, those that came last first.
    fn guests(&self) -> impl Iterator<Item = &KnownGuest> {
        let unseen = |ended: &&KnownGuest| !self.guests.iter().any(|known| known.is(ended));
        self.guests.iter().rev().chain(self.ended_guests.iter().rev().filter(unseen))
    }

    /// Forgets guests whose links are over anyway.
    pub(super) fn forget_guests(&mut self, now: u64) {
        self.guests.retain(|guest| now < guest.expires_at);
        self.ended_guests.retain(|guest| now < guest.expires_at);
    }
}

impl State {
    /// The guests that are known, as `host guests list` shows them; `connected` counts the sessions of one by its id.
    pub fn guests(&self, connected: impl Fn(&str) -> usize) -> Vec<Value> {
        let now = unix_now();
        let all = self.devices.iter().flat_map(|device| device.guests().map(move |guest| (device, guest)));
        let shown = |(device, guest): (&Device, &KnownGuest)| {
            let id = guest.id(&device.id);
            json!({
                "connected": connected(&id),
                "id": id,
                "name": guest.name,
                "device": device.id,
                "device_name": device.name,
                "last_seen": guest.last_seen.map(rfc3339),
                "expires_at": Some(guest.expires_at).filter(|at| *at < MAX_EXPIRY).map(rfc3339),
                "ended": device.has_ended_any(&guest.chain),
            })
        };
        all.filter(|(_, guest)| now < guest.expires_at).map(shown).collect()
    }

    /// Ends a guest before its time, and with it those that it has made; gives what the audit trail says of it, nothing
    /// where it was ended before. Who has not come yet is known by the id only.
    pub(crate) fn end_guest(&mut self, name: &str) -> Result<Option<Value>, DeviceError> {
        let (place, guest) = self.find_guest(name)?;
        let device = self.devices.get_mut(place).ok_or_else(|| DeviceError::UnknownGuest(name.into()))?;
        if device.has_ended_any(&guest.chain) {
            return Ok(None);
        }
        if device.ended_guests.len() >= ENDED {
            return Err(DeviceError::TooManyEnded(device.name.clone()));
        }
        let said = json!({ "device": device.id, "guest": guest.name, "guest_id": guest.id(&device.id) });
        device.ended_guests.push(guest);
        Ok(Some(said))
    }

    /// The guest with this id or, where only one has it, this name or beginning of an id; first the place of its device.
    fn find_guest(&self, name: &str) -> Result<(usize, KnownGuest), DeviceError> {
        let all = || {
            let devices = self.devices.iter().enumerate();
            devices.flat_map(|(place, device)| device.guests().map(move |guest| (place, guest.id(&device.id), guest)))
        };
        let found = |fits: &dyn Fn(&str, &KnownGuest) -> bool| -> Vec<(usize, KnownGuest)> {
            let fitting = all().filter(|(_, id, guest)| fits(id, guest));
            fitting.map(|(place, _, guest)| (place, guest.clone())).collect()
        };
        for mut found in [
            found(&|id, _| id == name),
            // Who was ended before it came has no name.
            found(&|_, guest| !name.is_empty() && guest.name == name),
            found(&|id, _| !name.is_empty() && id.starts_with(name)),
        ] {
            match found.len() {
                0 => {}
                1 => return found.pop().ok_or_else(|| DeviceError::UnknownGuest(name.into())),
                _ => return Err(DeviceError::AmbiguousGuest(name.into())),
            }
        }
        let mut devices = self.devices.iter().enumerate();
        let unseen = devices.find_map(|(place, device)| Some((place, KnownGuest::unseen(name, &device.id)?)));
        unseen.ok_or_else(|| DeviceError::UnknownGuest(name.into()))
    }
}

#[cfg(test)]
#[path = "guests_tests.rs"]
mod tests;
