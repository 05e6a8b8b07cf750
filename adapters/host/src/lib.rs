//! The homing host: who may come in, and the way to local services. It dials out to relays and
//! knows nothing of their inside; the protocol is in `homing-core`, the loop in `homing-driver`.
#![forbid(unsafe_code)]

pub mod audit;
mod control;
mod dialog;
mod gate;
pub mod grant;
mod handle;
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

use core::pin::pin;
use std::io;
use std::sync::Arc;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use homing_core::channel::code;
use homing_local::control::{ControlError, Listener, Role};
use homing_local::role_lock::RoleLockError;
use homing_local::{RoleLock, StoreError};
use serde_json::json;
use tokio::net::TcpListener;

pub use control::{device_json, progress_json, token_json};
pub use dialog::{PairDialog, PairError, PairEvent, PairOptions};
pub use handle::HostHandle;
pub use shared::{HostConfig, KEEP, LINGER, MAX_SESSIONS, MAX_SESSIONS_OF_GUESTS, MAX_SESSIONS_PER_DEVICE};

use audit::{AuditError, Trail};
use service::{ExposeError, Service, Services};
use shared::Shared;

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
            shared.trail.end_with("stopped");
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
