//! How devices get through the relay: capabilities, and their end.

use homing_core::crypto::Secret;
use homing_core::hop::Capability;
use homing_local::clock::unix_now;
use homing_local::hex;

use super::{Inner, Shared};
use crate::grant::guest::Guest;
use crate::keys::Route;

/// How long a capability lets a device through the relay, in seconds. Each session brings a new
/// one, so this is how long a device may stay away.
const CAPABILITY_LIFE: u64 = 365 * 24 * 3600;
const CAPABILITY_CLASS: u8 = 1;

impl Shared {
    /// A fresh capability for a device and this route, remembered so that it can be denied.
    pub(crate) fn mint(inner: &mut Inner, device: &str, route: &Route) -> Capability {
        let id = *Secret::<8>::random(&mut crate::random()).expose();
        let expiry = u32::try_from(unix_now().saturating_add(CAPABILITY_LIFE)).unwrap_or(u32::MAX);
        if let Some(device) = inner.state.devices.iter_mut().find(|known| known.id == device) {
            device.gave_capability(id, expiry);
        }
        Capability::mint(&route.capability_key, &route.id, id, expiry, CAPABILITY_CLASS)
    }

    /// A fresh capability for a guest and this route, no longer than it may come.
    pub(crate) fn mint_for_guest(guest: &Guest, route: &Route) -> Capability {
        let id = *Secret::<8>::random(&mut crate::random()).expose();
        let expiry = guest.expires_at.min(unix_now().saturating_add(CAPABILITY_LIFE));
        let expiry = u32::try_from(expiry).unwrap_or(u32::MAX);
        Capability::mint(&route.capability_key, &route.id, id, expiry, CAPABILITY_CLASS)
    }
}

impl Inner {
    /// Has these turned away by the relays.
    pub(super) fn deny(&self, capabilities: &[(String, u32)]) {
        let parsed = |(id, expiry): &(String, u32)| Some((*hex::parse(id)?.expose(), *expiry));
        for (capability, expiry) in capabilities.iter().filter_map(parsed) {
            for registrar in self.registrars.iter().flatten() {
                registrar.deny(capability, expiry);
            }
            for denials in self.waiters.iter().filter_map(|waiter| waiter.denials.as_ref()) {
                // Where it has no room, the next stream is told at its start.
                let _ = denials.try_send((capability, expiry));
            }
        }
    }
}
