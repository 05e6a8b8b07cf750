//! The homing host: who may come in, and the way to local services. It dials out to relays and
//! knows nothing of their inside; the protocol is in `homing-core`, the loop in `homing-driver`.
#![forbid(unsafe_code)]

pub mod audit;
mod control;
mod dialog;
mod gate;
pub mod grant;
mod keys;
mod links;
mod news;
pub mod registry;
mod roster;
pub mod rotation;
pub mod service;
pub mod settings;
mod shared;
mod waiting;
mod wake;

use core::net::SocketAddr;
use core::pin::pin;
use std::io;
use std::sync::Arc;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use homing_core::channel::code;
use homing_local::clock::rfc3339;
use homing_local::control::{ControlError, Listener, Role};
use homing_local::role_lock::RoleLockError;
use homing_local::{RoleLock, StoreError};
use homing_tokio::RelayUrl;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

pub use control::{device_json, progress_json, token_json};
pub use dialog::{PairDialog, PairError, PairEvent, PairOptions};
pub use shared::{HostConfig, KEEP, LINGER, MAX_SESSIONS, MAX_SESSIONS_OF_GUESTS, MAX_SESSIONS_PER_DEVICE};

use audit::{AuditError, AuditFiles, Trail};
use grant::Grant;
use registry::DeviceError;
use rotation::{Progress, Rotation};
use service::{ExposeError, Exposed, Service, Services};
use settings::{NewToken, Scope};
use shared::Shared;

/// A random part of one.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)
}

/// The system's randomness. Without it nothing here can go on safely, hence the panic inside.
fn random() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Why a host could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The state file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another host runs here.
    #[error(transparent)]
    Running(#[from] RoleLockError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The audit trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What is exposed.
    #[error(transparent)]
    Expose(#[from] ExposeError),
    /// No relay was named, and none is to be named later.
    #[error(
        "no relay: name one with --relay wss://RELAY, HOMING_RELAY_SERVER or `relay` in homing.toml, or say where its \
         settings page is to be, with --settings 127.0.0.1:7466, and name one there"
    )]
    NoRelay,
    /// The settings' address.
    #[error("cannot serve the settings: {0}")]
    Settings(io::Error),
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A host, ready to run.
pub struct Host {
    handle: HostHandle,
    listener: Listener,
    settings: Option<TcpListener>,
    _trail: OpenTrail,
    _lock: RoleLock,
}

impl core::fmt::Debug for Host {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    /// Loads or makes the host's state, and takes its data directory's host role. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`HostError`]; nothing on disk was changed then, except for a state file that was made.
    pub fn open(config: HostConfig) -> Result<Self, HostError> {
        Self::open_with(config, [])
    }

    /// The same, with services of the program's own beside those of the configuration, such as an
    /// app that is [called in this process](Service::in_process).
    ///
    /// # Errors
    /// As [`open`](Self::open); [`HostError::Expose`] where two have the same name.
    pub fn open_with(mut config: HostConfig, own: impl IntoIterator<Item = Service>) -> Result<Self, HostError> {
        let lock = RoleLock::acquire(&config.data, "host")?;
        let own: Vec<_> = own.into_iter().map(Arc::new).collect();
        let services = Services::with_own(config.exposed.iter().cloned(), &own)?;
        let (vault, state) = registry::open_or_create(&config.data, &config.name)?;
        if config.relays.is_empty() {
            config.relays = state.relays.iter().filter_map(|relay| relay.parse().ok()).collect();
        }
        if config.relays.is_empty() && !config.relays_later {
            return Err(HostError::NoRelay);
        }
        if let Some(signer) = state.signer() {
            services.sign_with(&Arc::new(signer));
        }
        let listener = Listener::bind(&config.data, Role::Host)?;
        let settings = config.settings.take().map(settings::listen).transpose().map_err(HostError::Settings)?;
        let trail = Trail::open(state.audit_files(&config.data))?;
        let shared = Shared::new(config, services, own, vault, state, trail);
        let (settings, address) = settings.unzip();
        if let Some(address) = address {
            let _ = shared.settings.set(address); // nobody else sets it
        }
        let trail = OpenTrail(shared.clone());
        Ok(Self { handle: HostHandle { shared }, listener, settings, _trail: trail, _lock: lock })
    }

    /// A handle that works while the host runs.
    #[must_use]
    pub fn handle(&self) -> HostHandle {
        self.handle.clone()
    }

    /// Serves devices until `shutdown` is ready.
    ///
    /// # Errors
    /// [`HostError::Store`] where the last changes could not be written.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), HostError> {
        let shared = self.handle.shared.clone();
        let mut grants = pin!(grant::running::expire(shared.clone()));
        let mut settings = pin!(settings::run(self.settings, self.handle.clone()));
        let mut relays = shared.watch_relays();
        let mut rotation = pin!(rotation::watch(shared.clone()));
        let mut keys = shared.watch_keys();
        let services: Vec<_> = shared.services().iter().map(|service| service.name().to_owned()).collect();
        shared.trail.note("started", json!({ "relays": shared.relay_names(), "services": services }));
        let handle = self.handle.clone();
        let mut control = pin!(self.listener.serve(move |request| control::answer(handle.clone(), request)));
        let mut shutdown = pin!(shutdown);
        let mut links = loop {
            relays.mark_unchanged();
            keys.mark_unchanged();
            let mut links = links::begin(&shared);
            tokio::select! {
                never = links::expire(&shared) => match never {},
                never = &mut control => match never {},
                never = &mut grants => match never {},
                never = &mut settings => match never {},
                () = &mut shutdown => break links,
                never = &mut rotation => match never {},
                _ = async { tokio::select! { _ = relays.changed() => {}, _ = keys.changed() => {} } } => {
                    links::say_goodbye(&shared).await;
                    links.shutdown().await;
                }
            }
        };
        for live in shared.lock().live.values() {
            live.session.close(code::SHUTDOWN);
        }
        shared.sessions.close_all(code::SHUTDOWN);
        links::say_goodbye(&shared).await;
        links.shutdown().await;
        let stored = tokio::task::spawn_blocking(move || {
            shared.trail.note("stopped", json!({}));
            shared.trail.end();
            shared.persist(|_| ())
        })
        .await;
        stored.unwrap_or(Ok(()))?;
        Ok(())
    }
}

/// Ends the audit trail with the host, however that ends: what its streams still hold must not keep the next one out.
struct OpenTrail(Arc<Shared>);

impl Drop for OpenTrail {
    fn drop(&mut self) {
        self.0.trail.end();
    }
}

/// A running host, to be asked and told from other tasks.
#[derive(Clone)]
pub struct HostHandle {
    shared: Arc<Shared>,
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
