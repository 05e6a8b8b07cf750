//! The table of paired devices.

use homing_core::crypto::{PublicKey, same};
use homing_core::hop::CapId;

use super::record::{DeviceId, DeviceRecord};

/// Capabilities of a device that are remembered: only the last few can still be in use.
const CAPABILITIES: usize = 4;

/// Ids of capabilities, with their expiry in Unix seconds.
pub(super) type Capabilities = Vec<(CapId, u32)>;

#[derive(Default)]
pub(super) struct Devices(Vec<(DeviceRecord, Capabilities)>);

impl Devices {
    pub(super) fn iter(&self) -> impl Iterator<Item = &DeviceRecord> {
        self.0.iter().map(|(device, _)| device)
    }

    pub(super) fn by_key(&self, key: &PublicKey) -> Option<&DeviceRecord> {
        // All are looked at, so that time tells nothing of which one fits.
        self.iter().fold(
            None,
            |found, device| {
                if same(device.key.as_bytes(), key.as_bytes()) { Some(device) } else { found }
            },
        )
    }

    pub(super) fn contains(&self, id: DeviceId) -> bool {
        self.iter().any(|device| device.id == id)
    }

    /// Takes a device in; returns the one that had its key or id before.
    pub(super) fn replace(&mut self, device: DeviceRecord) -> Option<DeviceRecord> {
        let old = self.0.extract_if(.., |(known, _)| known.key == device.key || known.id == device.id).last();
        self.0.push((device, Vec::new()));
        old.map(|(old, _)| old)
    }

    pub(super) fn remove(&mut self, id: DeviceId) -> Option<(DeviceRecord, Capabilities)> {
        let place = self.iter().position(|device| device.id == id)?;
        Some(self.0.remove(place))
    }

    pub(super) fn gave_capability(&mut self, device: DeviceId, id: CapId, expiry: u32) {
        let Some((_, given)) = self.0.iter_mut().find(|(known, _)| known.id == device) else { return };
        given.push((id, expiry));
        let excess = given.len().saturating_sub(CAPABILITIES);
        given.drain(..excess);
    }
}
