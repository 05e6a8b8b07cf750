//! The homing host: who may come in, and the way to local services. It dials out to relays and
//! knows nothing of their inside; the protocol is in `homing-core`, the loop in `homing-driver`.
#![forbid(unsafe_code)]

mod control;
mod dialog;
mod gate;
mod links;
pub mod registry;
pub mod service;
mod shared;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use homing_core::channel::code;
use homing_local::control::{ControlError, Listener, Role};
use homing_local::role_lock::RoleLockError;
use homing_local::{RoleLock, StoreError};
use serde_json::{Value, json};

pub use control::device_json;
pub use dialog::{PairDialog, PairError, PairEvent, PairOptions};
pub use shared::{HostConfig, KEEP, MAX_SESSIONS, MAX_SESSIONS_PER_DEVICE};

use registry::DeviceError;
use service::{ExposeError, Service, Services};
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
    /// What is exposed.
    #[error(transparent)]
    Expose(#[from] ExposeError),
    /// No relay was named.
    #[error("no relay: name one with --relay wss://RELAY, HOMING_RELAY_SERVER or `relay` in homing.toml")]
    NoRelay,
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A host, ready to run.
pub struct Host {
    handle: HostHandle,
    listener: Listener,
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
        // Two links to one relay would take the route from each other.
        let mut known = HashSet::new();
        config.relays.retain(|relay| known.insert(relay.clone()));
        if config.relays.is_empty() {
            return Err(HostError::NoRelay);
        }
        let lock = RoleLock::acquire(&config.data, "host")?;
        let mut services = Services::new(config.exposed.iter().cloned())?;
        own.into_iter().try_for_each(|service| services.add(service))?;
        let (vault, state) = registry::open_or_create(&config.data, &config.name)?;
        let listener = Listener::bind(&config.data, Role::Host)?;
        let shared = Shared::new(config, services, vault, state);
        Ok(Self { handle: HostHandle { shared }, listener, _lock: lock })
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
        let mut links = tokio::task::JoinSet::new();
        for relay in 0..shared.relays.len() {
            links.spawn(links::keep(shared.clone(), relay));
        }
        let handle = self.handle.clone();
        tokio::select! {
            never = links::expire(&shared) => match never {},
            never = self.listener.serve(move |request| control::answer(handle.clone(), request)) => match never {},
            () = shutdown => {}
        }
        self.handle.say_goodbye().await;
        links.shutdown().await;
        let stored = tokio::task::spawn_blocking(move || shared.persist(|_| ())).await;
        stored.unwrap_or(Ok(()))?;
        Ok(())
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
        let channels = |id: &str| inner.live.values().filter(|live| live.device == id).count();
        inner.state.devices.iter().map(|device| device_json(device, channels(&device.id))).collect()
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

    /// Lets the host be reached, or not.
    ///
    /// # Errors
    /// [`DeviceError::Store`].
    pub async fn set_enabled(&self, enabled: bool) -> Result<(), DeviceError> {
        self.blocking(move |shared| shared.set_enabled(enabled).map_err(DeviceError::from)).await
    }

    /// The host's entry in `homing status`.
    #[must_use]
    pub fn status(&self) -> Value {
        let inner = self.shared.lock();
        let links: Vec<_> =
            inner.links.iter().zip(&inner.registrars).map(|(link, registrar)| link.json(registrar.as_ref())).collect();
        json!({
            "role": "host",
            "pid": std::process::id(),
            "name": inner.state.name,
            "enabled": inner.state.enabled,
            "services": self.shared.services.iter().map(|service| service.name()).collect::<Vec<_>>(),
            "devices": inner.state.devices.len(),
            "sessions": inner.live.len(),
            "max_sessions": MAX_SESSIONS,
            "links": links,
        })
    }

    /// Whether a relay has confirmed that devices can reach the host.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.shared.lock().registrars.iter().any(Option::is_some)
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

    /// Tells every device, and every relay, that the host is leaving.
    async fn say_goodbye(&self) {
        {
            let inner = self.shared.lock();
            for live in inner.live.values() {
                live.session.close(code::SHUTDOWN);
            }
            for registrar in inner.registrars.iter().flatten() {
                registrar.leave();
            }
        }
        self.shared.sessions.close_all(code::SHUTDOWN);
        // The links say it as soon as their sockets take it; nobody waits long for that.
        let gone = async {
            while self.is_reachable() {
                tokio::time::sleep(core::time::Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(core::time::Duration::from_secs(1), gone).await;
    }

    async fn blocking(
        &self,
        change: impl FnOnce(&Shared) -> Result<(), DeviceError> + Send + 'static,
    ) -> Result<(), DeviceError> {
        let shared = self.shared.clone();
        match tokio::task::spawn_blocking(move || change(&shared)).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
