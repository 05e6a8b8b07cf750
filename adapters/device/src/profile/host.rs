//! What is known of one host: what may be told of it, and the ways to reach it.

use core::fmt;

use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::handshake::{Exports, RouteId, Suite};
use homing_core::hop::Capability;
use homing_core::wire::TOKEN_LEN;
use homing_local::device_log::Entry;
use homing_tokio::RelayUrl;
use serde::Serialize;

use super::{Former, HostProfile};
use crate::error::DeviceError;
use crate::mirror::{Alarm, Break, Mirror};

/// One of the ways to reach a host.
pub(crate) struct Way {
    pub(crate) host: PublicKey,
    pub(crate) route: RouteId,
    pub(crate) capability: Capability,
    /// By what it was known by before it moved.
    pub(crate) former: bool,
}

/// What may be told of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostSummary {
    /// Its id on this device, sixteen hex digits: it follows the key that the host had when they were paired.
    pub id: String,
    /// Its name on this device.
    pub name: String,
    /// The relay that it was paired through, `wss://…`.
    pub relay: String,
    /// All its relays as far as this device knows, the first to try first.
    pub relays: Vec<String>,
    /// When this device was paired with it, Unix seconds.
    pub paired_at: u64,
    /// What is wrong with its log of devices, until somebody accepts that.
    pub warning: Option<Break>,
    /// Until when this device is a guest there, Unix seconds; none where it was paired itself.
    pub guest_until: Option<u64>,
}

/// What a host told of its devices, the oldest first.
#[derive(Clone, Debug)]
pub struct DeviceLog {
    /// The host's name on this device.
    pub host: String,
    /// As it is now.
    pub entries: Vec<Entry>,
    /// What is wrong with it, until somebody accepts that.
    pub alarm: Option<Alarm>,
}

impl HostProfile {
    /// What may be told of it.
    #[must_use]
    pub fn summary(&self) -> HostSummary {
        let relays = self.relays().map(|relays| relays.iter().map(ToString::to_string).collect());
        HostSummary {
            id: self.id.clone(),
            name: self.name.clone(),
            relay: self.paired_through(),
            relays: relays.unwrap_or_else(|_| vec![self.paired_through()]),
            paired_at: self.paired_at,
            warning: self.devices.alarm().map(|alarm| alarm.what),
            guest_until: self.guest.as_ref().map(|guest| guest.expires_at),
        }
    }

    pub(crate) const fn mirror(&self) -> &Mirror {
        &self.devices
    }

    pub(super) fn device_log(&self) -> DeviceLog {
        DeviceLog {
            host: self.name.clone(),
            entries: self.devices.entries().collect(),
            alarm: self.devices.alarm().cloned(),
        }
    }

    /// Where its relays are, the first to try first: those that the host named, then the one that
    /// it was paired through.
    ///
    /// # Errors
    /// [`DeviceError::RelayName`] where a stored name is none.
    pub fn relays(&self) -> Result<Vec<RelayUrl>, DeviceError> {
        let wrong = |error| DeviceError::RelayName { relay: self.relay.clone(), error };
        let paired = RelayUrl::from_authority(&self.relay, self.plain).map_err(wrong)?;
        // One that a later version can read is no reason to reach the host through none.
        let mut relays: Vec<RelayUrl> = self.relays.iter().filter_map(|relay| relay.parse().ok()).collect();
        if !relays.contains(&paired) {
            relays.push(paired);
        }
        Ok(relays)
    }

    fn paired_through(&self) -> String {
        let scheme = if self.plain { "ws" } else { "wss" };
        format!("{scheme}://{}", self.relay)
    }

    pub(crate) fn suite(&self) -> Result<Suite, DeviceError> {
        Suite::from_byte(self.suite)
            .ok_or_else(|| DeviceError::failed("this host was paired by a newer version: update this program"))
    }

    pub(crate) const fn host_key(&self) -> PublicKey {
        PublicKey::from_bytes(*self.host_key.0.expose())
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::from_secret(&self.identity.0)
    }

    pub(crate) fn psk(&self, suite: Suite) -> Secret<32> {
        Exports::psk(&self.device_root.0, suite)
    }

    pub(crate) const fn token(&self) -> &Secret<TOKEN_LEN> {
        &self.token.0
    }

    /// How to reach it, the best way first: by the newest capability, by the one before, and where it has moved and not
    /// answered since, by what it was known by before.
    pub(crate) fn ways(&self, now: u64) -> Vec<Way> {
        let newest = (&self.host_key, &self.route_id, &self.capability, &self.previous, false);
        let former = self.former.as_ref().filter(|former| now < former.until).map(|former| {
            let Former { host_key, route_id, capability, previous, .. } = former;
            (host_key, route_id, capability, previous, true)
        });
        let pins = core::iter::once(newest).chain(former);
        let ways = pins.flat_map(|(host, route, capability, previous, former)| {
            core::iter::once(capability).chain(previous).map(move |capability| Way {
                host: PublicKey::from_bytes(*host.0.expose()),
                route: *route.0.expose(),
                capability: Capability::from_bytes(capability.0.expose()),
                former,
            })
        });
        ways.collect()
    }

    /// Whether it has moved, and not answered since.
    pub(crate) const fn has_moved(&self) -> bool {
        self.former.is_some()
    }
}

impl fmt::Debug for HostProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostProfile").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
