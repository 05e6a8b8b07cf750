//! What all links, dialogs and the control socket of a host share.
//!
//! | module | does |
//! |---|---|
//! | `config` | what a host starts with |
//! | `live` | the sessions of devices and their guests |
//! | `passage` | their way through the relay |
//! | `owner` | what the owner of a running host changes |

mod config;
mod live;
mod owner;
mod passage;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use homing_core::handshake::Suite;
use homing_core::pairing::{Office, TicketId, TicketState};
use homing_driver::host::{Registrar, Sessions};
use homing_local::{StoreError, Vault};
use homing_tokio::{ClientTls, RelayUrl};
use tokio::sync::{Notify, mpsc, watch};
use zeroize::Zeroizing;

use crate::audit::Trail;
use crate::dialog::PairEvent;
use crate::grant::Grant;
use crate::grant::running::Running;
use crate::keys::Keys;
use crate::links::{LinkStatus, Waiter};
use crate::registry::{Device, State};
use crate::service::{Service, Services};

pub use config::{HostConfig, KEEP, LINGER, MAX_SESSIONS, MAX_SESSIONS_OF_GUESTS, MAX_SESSIONS_PER_DEVICE};

pub(crate) use live::Live;

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

    /// What streams that begin now can reach.
    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// The relay that the link leads to, or the stream that the host waits on: of a cluster, one of many.
    pub(crate) fn node(&self, relay: usize) -> Option<&RelayUrl> {
        let link = self.links.get(relay).and_then(LinkStatus::node);
        link.or_else(|| self.waiters.get(relay).and_then(Waiter::node))
    }

    /// The links of the route of now.
    pub(crate) fn current(&self) -> impl Iterator<Item = Option<&Registrar>> {
        self.registrars.iter().take(self.former).map(Option::as_ref)
    }

    pub(crate) fn device(&mut self, id: &str) -> Option<&mut Device> {
        self.state.devices.iter_mut().find(|device| device.id == id)
    }
}
