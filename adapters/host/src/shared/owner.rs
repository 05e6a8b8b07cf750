//! What the owner of a running host changes.

use std::sync::{Arc, PoisonError};

use homing_core::channel::code;
use homing_local::StoreError;
use homing_tokio::RelayUrl;
use serde_json::json;

use super::{Shared, distinct};
use crate::grant::Grant;
use crate::registry::{self, DeviceError};
use crate::service::{ExposeError, Exposed, Services};

impl Shared {
    /// Ends a device: its record first, then its sessions, then its way through the relay. When
    /// this returns, nothing that it sends is opened any more. Blocks on the disk.
    pub(crate) fn revoke(&self, id: &str) -> Result<(), DeviceError> {
        let (gone, said) = {
            // The whole id first: a name may come to mean another device while the disk is waited for.
            let id = {
                let inner = self.lock();
                let place = inner.state.find(id)?;
                inner.state.devices.get(place).map(|device| device.id.clone()).unwrap_or_default()
            };
            self.persist(|state| state.revoke(&id))??
        };
        let mut inner = self.lock();
        inner.close_sessions(&gone.id, code::REVOKED);
        drop(inner);
        // Those that wait for their device, too.
        self.sessions.revoke(&gone.token_hash(), code::REVOKED);
        self.lock().deny(&gone.capabilities);
        self.trail.note("revoked", said);
        tracing::info!(device = gone.id, "device revoked");
        Ok(())
    }

    pub(crate) fn rename(&self, id: &str, name: &str) -> Result<(), DeviceError> {
        let name = registry::check_name(name)?;
        let said = self.persist(|state| state.rename(id, name))??;
        self.trail.note("renamed", said);
        Ok(())
    }

    /// Says what a device may reach; none for everything. When this returns, what it is not granted any more has been
    /// stopped. Blocks on the disk.
    pub(crate) fn set_grant(&self, id: &str, grant: Option<Grant>) -> Result<(), DeviceError> {
        let said = self.persist(|state| state.set_grant(id, grant))??;
        self.running.changed(self);
        self.trail.note("grant set", said);
        Ok(())
    }

    /// Ends a guest of a device, and those that it has made. When this returns, what they were doing has been stopped.
    /// Blocks on the disk.
    pub(crate) fn end_guest(&self, id: &str) -> Result<(), DeviceError> {
        if let Some(said) = self.persist(|state| state.end_guest(id))?? {
            self.running.changed(self);
            tracing::info!(%said, "guest ended");
            self.trail.note("guest ended", said);
        }
        Ok(())
    }

    pub(crate) fn set_enabled(&self, enabled: bool) -> Result<(), StoreError> {
        self.persist(|state| state.enabled = enabled)?;
        if !enabled {
            self.sessions.close_all(code::SHUTDOWN);
        }
        // Links begin anew where this changes; they stay where it does not.
        if self.enabled.send_if_modified(|known| core::mem::replace(known, enabled) != enabled) {
            self.trail.note(if enabled { "enabled" } else { "disabled" }, json!({}));
        }
        Ok(())
    }

    /// Takes over what the configuration says now.
    pub(crate) fn reload(&self, exposed: Vec<Exposed>, relays: Vec<RelayUrl>) -> Result<(), ExposeError> {
        let services = Arc::new(Services::with_own(exposed, &self.own)?);
        let names: Vec<_> = services.iter().map(|service| service.name().to_owned()).collect();
        services.replace(&self.services());
        *self.services.write().unwrap_or_else(PoisonError::into_inner) = services;
        if !relays.is_empty() {
            self.move_to(relays);
        }
        self.trail.note("reloaded", json!({ "services": names, "relays": self.relay_names() }));
        Ok(())
    }

    /// Links begin anew where the relays are others.
    fn move_to(&self, relays: Vec<RelayUrl>) -> bool {
        let relays: Arc<[RelayUrl]> = distinct(relays).into();
        self.relays.send_if_modified(|known| core::mem::replace(known, relays.clone()) != relays)
    }

    /// Moves the host to other relays. Blocks on the disk.
    pub(crate) fn set_relays(&self, relays: Vec<RelayUrl>) -> Result<(), StoreError> {
        let relays = distinct(relays);
        let names: Vec<_> = relays.iter().map(ToString::to_string).collect();
        self.persist(|state| state.relays.clone_from(&names))?;
        if self.move_to(relays) {
            self.trail.note("relays set", json!({ "relays": names }));
        }
        Ok(())
    }
}
