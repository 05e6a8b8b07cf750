//! Hosts that somebody else's device lets this one reach, and what this device passes on (protocol 11.4).

use homing_core::crypto::Secret;
use homing_core::handshake::{GuestChain, GuestSeed};
use homing_core::pairing::{GUEST_RELAYS, GuestPass, LinkError, RelayName, TicketError};
use homing_core::wire::{CAVEATS_MAX, Caveats, TOKEN_LEN};
use homing_local::clock::unix_now;
use homing_local::hex::Hex;
use homing_tokio::RelayUrl;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{HostProfile, HostSummary, Profiles};
use crate::error::DeviceError;
use crate::mirror::Mirror;

/// What a guest keeps besides what a device does.
#[derive(Serialize, Deserialize)]
pub(super) struct GuestPart {
    seed: Hex<32>,
    chain: Hex<32>,
    caveats: Vec<u8>,
    pub(super) expires_at: u64,
}

/// A link that lets whoever has it be a guest.
pub struct GuestLink {
    /// `homing://guest/…`: a secret.
    pub link: Zeroizing<String>,
    /// The same for browsers.
    pub web_link: Zeroizing<String>,
    /// When it is over, in Unix seconds.
    pub expires_at: u64,
}

impl core::fmt::Debug for GuestLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GuestLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl HostProfile {
    /// What limits this device, where it is a guest, as [`Caveats`] reads it.
    #[must_use]
    pub fn caveats(&self) -> Option<&[u8]> {
        self.guest.as_ref().map(|guest| guest.caveats.as_slice())
    }

    /// Whether it is a guest whose time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.guest.as_ref().is_some_and(|guest| unix_now() >= guest.expires_at)
    }

    /// Passes on a part of what this device may reach at its host, which is not asked. `caveat` says
    /// which, as the host reads it, and ends at `expires_at`, in Unix seconds.
    ///
    /// # Errors
    /// [`DeviceError::GuestExpired`], [`DeviceError::TooNarrow`], [`DeviceError::RelayName`].
    pub fn pass_on(&self, caveat: &[u8], expires_at: u64) -> Result<GuestLink, DeviceError> {
        if self.is_over() {
            return Err(DeviceError::GuestExpired);
        }
        let (seed, chain, older) = match &self.guest {
            None => (GuestSeed::of(&self.device_root.0), GuestChain::of(&self.device_root.0), None),
            Some(guest) => (
                GuestSeed::from_secret(guest.seed.0.duplicate()),
                GuestChain::from_secret(guest.chain.0.duplicate()),
                Caveats::from_bytes(&guest.caveats).ok(),
            ),
        };
        let mut room = [0; CAVEATS_MAX];
        let caveats = Caveats::add(older, caveat, &mut room).map_err(|_| DeviceError::TooNarrow)?;
        let expires_at = self.guest.as_ref().map_or(expires_at, |guest| guest.expires_at.min(expires_at));
        // The first of them tells of all whether there is TLS.
        let known = self.relays()?;
        let plain = known.first().is_some_and(RelayUrl::is_plain);
        let names = known.iter().filter(|relay| relay.is_plain() == plain).take(GUEST_RELAYS);
        let pass = GuestPass {
            suite: self.suite()?,
            plain,
            expiry: u32::try_from(expires_at).unwrap_or(u32::MAX),
            host: self.host_key(),
            seed,
            chain: chain.narrowed(caveat),
            device_id: *self.device_id.0.expose(),
            route_id: *self.route_id.0.expose(),
            capability: self.capability.0.duplicate(),
            host_name: &self.name,
            relays: names.filter_map(|relay| RelayName::try_from(relay.authority()).ok()).collect(),
            caveats,
        };
        // Allocated once: a text that grows leaves copies behind.
        let text = || Zeroizing::new(String::with_capacity(homing_core::pairing::GUEST_LINK_MAX));
        let (mut link, mut web_link) = (text(), text());
        let written = pass.write_link(&mut *link).and_then(|()| pass.write_web_link(&mut *web_link));
        written.map_err(|_| DeviceError::TooNarrow)?;
        Ok(GuestLink { link, web_link, expires_at })
    }
}

impl Profiles {
    /// Takes a host in that this device may be a guest of. Gives what was known of it before, to be put
    /// back where the host says no.
    ///
    /// # Errors
    /// [`DeviceError::PairedItself`], [`DeviceError::RelayName`].
    pub(crate) fn insert_guest(
        &mut self,
        pass: &GuestPass<'_>,
    ) -> Result<(HostSummary, Option<HostProfile>), DeviceError> {
        let id = self.id_of(&pass.host);
        let place = self.hosts.iter().position(|profile| profile.id == id);
        if let Some(known) = place.and_then(|place| self.hosts.get(place)).filter(|known| known.guest.is_none()) {
            return Err(DeviceError::PairedItself { host: known.name.clone() });
        }
        let mut relays = pass.relays.iter().map(|name| {
            let wrong = |error| DeviceError::RelayName { relay: name.as_str().into(), error };
            RelayUrl::from_authority(name, pass.plain).map_err(wrong)
        });
        let damaged = || DeviceError::Link(LinkError::Ticket(TicketError::Relay));
        let first = relays.next().ok_or_else(damaged)??;
        let relays =
            core::iter::once(Ok(first.clone())).chain(relays).map(|relay| relay.map(|relay| relay.to_string()));
        let relays = relays.collect::<Result<_, _>>()?;
        let known = place.map(|place| self.hosts.remove(place));
        let profile = HostProfile {
            name: known.as_ref().map_or_else(|| self.unique(pass.host_name), |known| known.name.clone()),
            id,
            relay: first.authority().into(),
            plain: first.is_plain(),
            relays,
            suite: pass.suite.to_byte(),
            host_key: Hex::new(*pass.host.as_bytes()),
            identity: Hex(pass.seed.identity().secret()),
            device_root: Hex(pass.seed.root()),
            device_id: Hex::new(pass.device_id),
            token: Hex(pass.chain.token(&pass.device_id)),
            route_id: Hex::new(pass.route_id),
            capability: Hex(pass.capability.duplicate()),
            previous: None,
            former: None,
            paired_at: unix_now(),
            devices: Mirror::default(),
            guest: Some(GuestPart {
                seed: Hex(pass.seed.secret().duplicate()),
                chain: Hex(pass.chain.secret().duplicate()),
                caveats: pass.caveats.as_bytes().to_vec(),
                expires_at: pass.expiry.into(),
            }),
        };
        let summary = profile.summary();
        self.hosts.push(profile);
        Ok((summary, known))
    }

    /// Undoes [`insert_guest`](Self::insert_guest), unless something else has happened to the host since.
    pub(crate) fn take_back(&mut self, id: &str, token: &Secret<TOKEN_LEN>, before: Option<HostProfile>) {
        let count = self.hosts.len();
        self.hosts.retain(|profile| profile.id != id || !profile.token().same(token));
        if self.hosts.len() < count {
            self.hosts.extend(before);
        }
    }
}
