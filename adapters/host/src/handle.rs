//! A running host, as other tasks ask and tell it.

use core::net::SocketAddr;
use std::collections::HashMap;
use std::sync::Arc;

use homing_local::clock::rfc3339;
use homing_tokio::RelayUrl;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::audit::AuditFiles;
use crate::dialog::{PairDialog, PairError, PairOptions};
use crate::grant::Grant;
use crate::registry::{self, DeviceError};
use crate::rotation::{self, Progress, Rotation};
use crate::service::{ExposeError, Exposed};
use crate::settings::{self, NewToken, Scope};
use crate::shared::Shared;
use crate::{device_json, links};

/// A running host, to be asked and told from other tasks.
#[derive(Clone)]
pub struct HostHandle {
    pub(crate) shared: Arc<Shared>,
}

impl core::fmt::Debug for HostHandle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostHandle").finish_non_exhaustive()
    }
}

impl HostHandle {
    /// Opens a pairing link.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn pair(&self, options: PairOptions) -> Result<PairDialog, PairError> {
        PairDialog::open(&self.shared, options)
    }

    /// The host's devices, as `host devices list` shows them.
    #[must_use]
    pub fn devices(&self) -> Vec<Value> {
        let inner = self.shared.lock();
        let of = |id: &str, guests: bool| {
            inner.live.values().filter(|live| live.device == id && (live.guest.is_some() || !guests)).count()
        };
        let shown =
            |device: &registry::Device| device_json(&inner.state, device, of(&device.id, false), of(&device.id, true));
        inner.state.devices.iter().map(shown).collect()
    }

    /// Renames a device.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), DeviceError> {
        let (id, name) = (id.to_owned(), name.to_owned());
        self.blocking(move |shared| shared.rename(&id, &name)).await
    }

    /// Revokes a device. When this returns, nothing that it sends is opened any more.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub async fn revoke(&self, id: &str) -> Result<(), DeviceError> {
        let id = id.to_owned();
        self.blocking(move |shared| shared.revoke(&id)).await
    }

    /// The guests of devices that have come or were ended, and whose links are not over, as `host guests list` shows them.
    #[must_use]
    pub fn guests(&self) -> Vec<Value> {
        let inner = self.shared.lock();
        let mut connected = HashMap::<String, usize>::new();
        for live in inner.live.values() {
            if let Some(guest) = &live.guest {
                *connected.entry(guest.id(&live.device)).or_default() += 1;
            }
        }
        inner.state.guests(|id| connected.get(id).copied().unwrap_or(0))
    }

    /// Ends a guest before its time, and those that it has made. When this returns, what they were doing has been
    /// stopped.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub async fn end_guest(&self, id: &str) -> Result<(), DeviceError> {
        let id = id.to_owned();
        self.blocking(move |shared| shared.end_guest(&id)).await
    }

    /// What a device may reach; none for everything.
    ///
    /// # Errors
    /// [`DeviceError::Unknown`], [`DeviceError::Ambiguous`].
    pub fn grant(&self, id: &str) -> Result<Option<Grant>, DeviceError> {
        let inner = self.shared.lock();
        let place = inner.state.find(id)?;
        Ok(inner.state.devices.get(place).and_then(|device| device.grant.clone()))
    }

    /// Says what a device may reach; none for everything. When this returns, what it is not granted any more has been
    /// stopped.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub async fn set_grant(&self, id: &str, grant: Option<Grant>) -> Result<(), DeviceError> {
        let id = id.to_owned();
        self.blocking(move |shared| shared.set_grant(&id, grant)).await
    }

    /// Lets the host be reached, or not.
    ///
    /// # Errors
    /// [`DeviceError::Store`].
    pub async fn set_enabled(&self, enabled: bool) -> Result<(), DeviceError> {
        self.blocking(move |shared| shared.set_enabled(enabled).map_err(DeviceError::from)).await
    }

    /// Whether the host may be reached at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        *self.shared.enabled.borrow()
    }

    /// Where it can be reached.
    #[must_use]
    pub fn relays(&self) -> Vec<String> {
        self.shared.relay_names()
    }

    /// What set the relays, where they cannot be changed while the host runs.
    #[must_use]
    pub fn relays_fixed_by(&self) -> Option<&str> {
        self.shared.relays_fixed_by.as_deref()
    }

    /// Moves the host to other relays, and remembers them.
    ///
    /// # Errors
    /// [`DeviceError::Store`].
    pub async fn set_relays(&self, relays: Vec<RelayUrl>) -> Result<(), DeviceError> {
        self.blocking(move |shared| shared.set_relays(relays).map_err(DeviceError::from)).await
    }

    /// Takes over what its configuration says now: other services for streams that begin from now on, and other relays
    /// where the configuration names any. Services of the program's own stay.
    ///
    /// # Errors
    /// [`ExposeError`]; everything is as before then.
    pub fn reload(&self, exposed: Vec<Exposed>, relays: Vec<RelayUrl>) -> Result<(), ExposeError> {
        self.shared.reload(exposed, relays)
    }

    /// Gives the host other keys, or ends the overlap of a rotation before. Devices follow without pairing anew, unless
    /// they are not to; pairing links that are open are cancelled.
    ///
    /// # Errors
    /// [`DeviceError::Rotating`], [`DeviceError::Store`].
    pub async fn rotate(&self, what: Rotation) -> Result<Progress, DeviceError> {
        self.blocking(move |shared| rotation::rotate(shared, what)).await
    }

    /// Where its settings are served.
    #[must_use]
    pub fn settings_address(&self) -> Option<SocketAddr> {
        self.shared.settings.get().copied()
    }

    /// Makes a token for the settings API, good for `life` seconds.
    ///
    /// # Errors
    /// [`DeviceError::Store`].
    pub async fn mint_token(&self, scope: Scope, life: u64) -> Result<NewToken, DeviceError> {
        self.blocking(move |shared| {
            let (token, said) = shared.persist(|state| state.mint_token(scope, life))?;
            shared.trail.note("token made", said);
            Ok(token)
        })
        .await
    }

    /// What a token of the settings API is good for; none where it is no token, or one that has expired.
    #[must_use]
    pub fn check_token(&self, token: &str) -> Option<Scope> {
        settings::token::check(&self.shared.lock().state.tokens, token)
    }

    /// The audit trail, to be read.
    #[must_use]
    pub fn audit_files(&self) -> AuditFiles {
        self.shared.lock().state.audit_files(&self.shared.data)
    }

    /// What services check the host's assertions with: a JSON Web Key Set.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.shared.services().signer().map_or_else(|| json!({ "keys": [] }), |signer| signer.jwks())
    }

    /// Waits until all that has happened by now is in the audit trail's files.
    pub async fn audit_written(&self) {
        self.shared.trail.written().await;
    }

    /// The lines that are added to the audit trail from now on.
    #[must_use]
    pub fn follow_audit(&self) -> broadcast::Receiver<Arc<str>> {
        self.shared.trail.follow()
    }

    /// The host's entry in `homing status`.
    #[must_use]
    pub fn status(&self) -> Value {
        let inner = self.shared.lock();
        let mut status = json!({
            "role": "host",
            "pid": std::process::id(),
            "name": inner.state.name,
            "enabled": inner.state.enabled,
            "services": self.shared.services().iter().map(|service| service.name()).collect::<Vec<_>>(),
            "devices": inner.state.devices.len(),
            "sessions": inner.live.len(),
            "max_sessions": self.shared.max_sessions,
            "on_demand": self.shared.on_demand,
            "settings": self.settings_address().map(|address| format!("http://{address}/")),
            "links": links::report(&inner),
        });
        if let (Some(rotation), Some(status)) = (inner.state.rotation(), status.as_object_mut()) {
            status.insert("rotation_until".into(), rotation.until.map(rfc3339).into());
            status.insert("not_followed".into(), rotation.waiting.into());
        }
        status
    }

    /// Whether a relay has confirmed that devices can reach the host.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.shared.is_reachable()
    }

    /// Waits until [`is_reachable`](Self::is_reachable).
    pub async fn reachable(&self) {
        loop {
            let arrival = self.shared.arrivals.notified(); // made first: one that comes now counts
            if self.is_reachable() {
                return;
            }
            arrival.await;
        }
    }

    async fn blocking<R: Send + 'static>(
        &self,
        change: impl FnOnce(&Shared) -> Result<R, DeviceError> + Send + 'static,
    ) -> Result<R, DeviceError> {
        let shared = self.shared.clone();
        match tokio::task::spawn_blocking(move || change(&shared)).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
