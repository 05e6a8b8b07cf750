//! What all links, dialogs and the control socket of a host share.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use homing_core::channel::code;
use homing_core::crypto::Secret;
use homing_core::handshake::Suite;
use homing_core::hop::Capability;
use homing_core::pairing::{Office, TicketId, TicketState};
use homing_driver::host::{Registrar, Session, Sessions};
use homing_local::clock::unix_now;
use homing_local::hex;
use homing_local::{StoreError, Vault};
use homing_tokio::{ClientTls, RelayUrl};
use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use zeroize::Zeroizing;

use crate::audit::Trail;
use crate::dialog::PairEvent;
use crate::grant::Grant;
use crate::grant::guest::Guest;
use crate::grant::running::Running;
use crate::keys::{Keys, Route};
use crate::links::{LinkStatus, Waiter};
use crate::registry::{self, Device, DeviceError, State};
use crate::service::{ExposeError, Exposed, Service, Services};

/// Sessions at once, over all devices, where nobody says otherwise.
pub const MAX_SESSIONS: usize = 64;
/// Sessions at once of one device.
pub const MAX_SESSIONS_PER_DEVICE: usize = 8;
/// And of all its guests: the rest are for the device itself.
pub const MAX_SESSIONS_OF_GUESTS: usize = 6;
/// How long a session waits for its device, where nobody says otherwise.
pub const KEEP: Duration = Duration::from_secs(10 * 60);
/// How long a capability lets a device through the relay, in seconds. Each session brings a new
/// one, so this is how long a device may stay away.
const CAPABILITY_LIFE: u64 = 365 * 24 * 3600;
const CAPABILITY_CLASS: u8 = 1;
/// How long a host on demand keeps a link that nobody uses, where nobody says otherwise.
pub const LINGER: Duration = Duration::from_secs(10);

/// What a host starts with.
#[derive(Debug)]
pub struct HostConfig {
    /// The data directory.
    pub data: PathBuf,
    /// What the host calls itself when it is made; later starts keep the first name.
    pub name: String,
    /// Its relays. Where there are none it takes those that were set while it ran.
    pub relays: Vec<RelayUrl>,
    /// Whether it may start without a relay, to be given one on its settings page.
    pub relays_later: bool,
    /// What set `relays`, as its owner knows it: while the host runs they are not changed then.
    pub relays_fixed_by: Option<String>,
    /// Where its settings are served: at an address of this machine only. None for nowhere.
    pub settings: Option<TcpListener>,
    /// What devices can reach.
    pub exposed: Vec<crate::service::Exposed>,
    /// The relay operator's key, where it asks for one.
    pub relay_key: Option<Zeroizing<String>>,
    /// Trust in relays.
    pub tls: ClientTls,
    /// Primitives of new pairings.
    pub suite: Suite,
    /// How long a session waits for its device after its connection was lost.
    pub keep: Duration,
    /// Whether it has links with its relays only while a device needs one, and otherwise waits to be knocked at.
    pub on_demand: bool,
    /// How long it then keeps a link that nobody uses.
    pub linger: Duration,
    /// Sessions at once, over all devices.
    pub max_sessions: usize,
    /// Whether devices may have guests, unless their grants say otherwise.
    pub guests: bool,
}

impl HostConfig {
    /// A host with its state in the directory `data`, this name, and one relay; it exposes nothing
    /// yet, and has the defaults for everything else.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, name: impl Into<String>, relay: RelayUrl) -> Self {
        Self {
            data: data.into(),
            name: name.into(),
            relays: vec![relay],
            relays_later: false,
            relays_fixed_by: None,
            settings: None,
            exposed: Vec::new(),
            relay_key: None,
            tls: ClientTls::system(),
            suite: Suite::Hybrid,
            keep: KEEP,
            on_demand: false,
            linger: LINGER,
            max_sessions: MAX_SESSIONS,
            guests: true,
        }
    }
}

pub(crate) struct Shared {
    relays: watch::Sender<Arc<[RelayUrl]>>,
    pub(crate) relays_fixed_by: Option<String>,
    pub(crate) data: PathBuf,
    /// Where the settings are served.
    pub(crate) settings: OnceLock<SocketAddr>,
    pub(crate) relay_key: Option<Zeroizing<String>>,
    pub(crate) tls: ClientTls,
    pub(crate) suite: Suite,
    services: RwLock<Arc<Services>>,
    /// Services of the program's own, which no configuration takes away.
    own: Vec<Arc<Service>>,
    keys: watch::Sender<Arc<Keys>>,
    pub(crate) enabled: watch::Sender<bool>,
    pub(crate) sessions: Arc<Sessions>,
    /// Rung when a relay has confirmed the route.
    pub(crate) arrivals: Notify,
    pub(crate) keep: Duration,
    pub(crate) on_demand: bool,
    pub(crate) linger: Duration,
    pub(crate) max_sessions: usize,
    /// Counts pairing links that were opened.
    pub(crate) tickets: watch::Sender<u64>,
    pub(crate) guests: bool,
    pub(crate) trail: Trail,
    /// What devices are doing right now.
    pub(crate) running: Running,
    /// Rung where devices may have something to hear.
    pub(crate) news: watch::Sender<()>,
    /// Pairings are taken in one after the other.
    pub(crate) pairing: tokio::sync::Mutex<()>,
    vault: Mutex<Vault<State>>,
    inner: Mutex<Inner>,
}

/// Two links to one relay would take the route from each other.
fn distinct(mut relays: Vec<RelayUrl>) -> Vec<RelayUrl> {
    let mut known = HashSet::new();
    relays.retain(|relay| known.insert(relay.clone()));
    relays
}

pub(crate) struct Inner {
    pub(crate) state: State,
    pub(crate) office: Office,
    pub(crate) dialogs: HashMap<TicketId, mpsc::Sender<PairEvent>>,
    /// What the devices of these tickets may reach, where that is not everything. Kept as long as the ticket may be
    /// shown, which is longer than its dialog.
    pub(crate) grants: HashMap<TicketId, Grant>,
    pub(crate) live: HashMap<u64, Live>,
    pub(crate) links: Vec<LinkStatus>,
    pub(crate) registrars: Vec<Option<Registrar>>,
    /// Of a host on demand.
    pub(crate) waiters: Vec<Waiter>,
    /// Where in those the links of the route before the last rotation begin.
    pub(crate) former: usize,
    counter: u64,
}

/// A device's session.
pub(crate) struct Live {
    pub(crate) device: String,
    /// Whose it is, where not the device's own.
    pub(crate) guest: Option<Arc<Guest>>,
    pub(crate) session: Session,
}

impl Shared {
    pub(crate) fn new(
        config: HostConfig,
        services: Services,
        own: Vec<Arc<Service>>,
        vault: Vault<State>,
        state: State,
        trail: Trail,
    ) -> Arc<Self> {
        Arc::new(Self {
            relays: watch::Sender::new(distinct(config.relays).into()),
            relays_fixed_by: config.relays_fixed_by,
            data: config.data,
            settings: OnceLock::new(),
            relay_key: config.relay_key,
            tls: config.tls,
            suite: config.suite,
            services: RwLock::new(Arc::new(services)),
            own,
            keys: watch::Sender::new(Arc::new(Keys::of(&state))),
            enabled: watch::Sender::new(state.enabled),
            sessions: Arc::new(Sessions::new(config.keep)),
            arrivals: Notify::new(),
            keep: config.keep,
            on_demand: config.on_demand,
            linger: config.linger,
            max_sessions: config.max_sessions,
            tickets: watch::Sender::new(0),
            guests: config.guests,
            trail,
            running: Running::default(),
            news: watch::Sender::new(()),
            pairing: tokio::sync::Mutex::new(()),
            vault: Mutex::new(vault),
            inner: Mutex::new(Inner {
                state,
                office: Office::new(),
                dialogs: HashMap::new(),
                grants: HashMap::new(),
                live: HashMap::new(),
                links: Vec::new(),
                registrars: Vec::new(),
                waiters: Vec::new(),
                former: 0,
                counter: 0,
            }),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a relay has confirmed that devices can reach the host.
    pub(crate) fn is_reachable(&self) -> bool {
        let inner = self.lock();
        (0..inner.former).any(|relay| inner.is_reachable_at(relay))
    }

    /// Whether there is a link with this relay, and whether somebody uses it or may come to at any moment.
    pub(crate) fn needs_link(&self, now: homing_core::Instant, relay: usize) -> (bool, bool) {
        let inner = self.lock();
        let link = inner.registrars.get(relay).and_then(Option::as_ref);
        let slots = inner.office.slots(now).enumerate().filter(|(_, (_, left))| *left > 0);
        let mut tickets = slots.filter_map(|(place, _)| inner.office.state(inner.office.id_at(place)?));
        // A device that has not confirmed its pairing may come back with the ticket that let it in.
        let shows_ticket = tickets.any(|state| match state {
            TicketState::Active => true,
            TicketState::Consumed(key) => inner.state.by_key(&key).is_some_and(|device| !device.confirmed),
        });
        (link.is_some(), shows_ticket || link.is_some_and(|link| link.channels() > 0))
    }

    /// Where the host can be reached, as of now.
    pub(crate) fn relays(&self) -> Arc<[RelayUrl]> {
        self.relays.borrow().clone()
    }

    /// Their URLs.
    pub(crate) fn relay_names(&self) -> Vec<String> {
        self.relays().iter().map(ToString::to_string).collect()
    }

    /// Tells of changes of [`relays`](Self::relays).
    pub(crate) fn watch_relays(&self) -> watch::Receiver<Arc<[RelayUrl]>> {
        self.relays.subscribe()
    }

    /// Changes the state on disk, then in memory. Blocks on the disk.
    pub(crate) fn persist<R>(&self, change: impl FnOnce(&mut State) -> R) -> Result<R, StoreError> {
        let mut vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        let (result, mut state) = vault.update(|state| {
            state.learn(&self.lock().state);
            state.noting(|state| {
                state.tidy();
                change(state)
            })
        })?;
        let mut inner = self.lock();
        // Once more: sessions began and ended while the disk was busy.
        state.learn(&inner.state);
        let is_news = inner.state.log.head() != state.log.head();
        inner.state = state;
        let rotated = !self.keys().are_of(&inner.state);
        if rotated {
            self.keys.send_replace(Arc::new(Keys::of(&inner.state)));
        }
        // Told only once it is on the disk: what was told is never taken back.
        if is_news || rotated {
            self.news.send_replace(());
        }
        Ok(result)
    }

    /// What the host is known by, as of now.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.keys.borrow().clone()
    }

    /// Tells of changes of [`keys`](Self::keys).
    pub(crate) fn watch_keys(&self) -> watch::Receiver<Arc<Keys>> {
        self.keys.subscribe()
    }

    /// Ends all pairing dialogs.
    pub(crate) fn cancel_dialogs(&self) {
        let mut inner = self.lock();
        let open: Vec<_> = inner.dialogs.drain().map(|(id, _)| id).collect();
        open.into_iter().for_each(|id| inner.office.cancel(id));
    }

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
        let inner = self.lock();
        for registrar in inner.registrars.iter().flatten() {
            for (capability, expiry) in &gone.capabilities {
                if let Some(capability) = hex::parse(capability) {
                    registrar.deny(*capability.expose(), *expiry);
                }
            }
        }
        for denials in inner.waiters.iter().filter_map(|waiter| waiter.denials.as_ref()) {
            for (capability, expiry) in &gone.capabilities {
                if let Some(capability) = hex::parse(capability) {
                    // Where it has no room, the next stream is told at its start.
                    let _ = denials.try_send((*capability.expose(), *expiry));
                }
            }
        }
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

    /// What streams that begin now can reach.
    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Tells every relay which pairing slots there are.
    pub(crate) fn announce_slot(&self, rv_hash: [u8; 16], ttl: u16) {
        for registrar in self.lock().current().flatten() {
            registrar.set_pair_slot(rv_hash, ttl);
        }
        // A host on demand dials its relays for that.
        self.tickets.send_modify(|tickets| *tickets = tickets.wrapping_add(1));
    }
}

impl Inner {
    /// Whether a relay has confirmed that devices can reach the host there.
    pub(crate) fn is_reachable_at(&self, relay: usize) -> bool {
        let linked = self.registrars.get(relay).is_some_and(Option::is_some);
        linked || self.waiters.get(relay).is_some_and(|waiter| waiter.registered)
    }

    /// The links of the route of now.
    pub(crate) fn current(&self) -> impl Iterator<Item = Option<&Registrar>> {
        self.registrars.iter().take(self.former).map(Option::as_ref)
    }

    /// Takes a session in, within the limits.
    pub(crate) fn admit(
        &mut self,
        device: &str,
        guest: Option<Arc<Guest>>,
        session: Session,
        max: usize,
    ) -> Result<u64, u16> {
        // A session that its device came back for is the same one, though its old channel may linger.
        let id = session.id();
        self.live.retain(|_, live| live.device != device || id.is_none() || live.session.id() != id);
        let of_device = || self.live.values().filter(|live| live.device == device);
        let of_guests = of_device().filter(|live| live.guest.is_some()).count();
        if self.live.len() >= max
            || of_device().count() >= MAX_SESSIONS_PER_DEVICE
            || (guest.is_some() && of_guests >= MAX_SESSIONS_OF_GUESTS)
        {
            return Err(code::LIMIT);
        }
        self.counter = self.counter.wrapping_add(1);
        self.live.insert(self.counter, Live { device: device.into(), guest, session });
        Ok(self.counter)
    }

    /// Ends a device's sessions with this code.
    pub(crate) fn close_sessions(&mut self, device: &str, code: u16) {
        self.live.retain(|_, live| {
            let stays = live.device != device;
            if !stays {
                live.session.close(code);
            }
            stays
        });
    }

    /// Ends the sessions of guests whose time is over, or whose device may have none. Tells whether there are others.
    pub(crate) fn end_guests(&mut self, now: u64) -> bool {
        let devices = &self.state.devices;
        let lonely = |id: &str| {
            let device = devices.iter().find(|device| device.id == id);
            device.and_then(|device| device.grant.as_ref()).is_some_and(|grant| grant.no_guests)
        };
        let mut others = false;
        self.live.retain(|_, live| {
            let Some(guest) = &live.guest else { return true };
            let ended = match () {
                () if now >= guest.expires_at => Some(code::EXPIRED),
                () if lonely(&live.device) => Some(code::DENIED),
                () => None,
            };
            ended.iter().for_each(|code| live.session.close(*code));
            others |= ended.is_none();
            ended.is_none()
        });
        others
    }

    pub(crate) fn device(&mut self, id: &str) -> Option<&mut Device> {
        self.state.devices.iter_mut().find(|device| device.id == id)
    }
}
