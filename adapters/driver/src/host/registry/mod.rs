//! A host's keys, tickets and devices in memory, and the gate that decides by them. It takes in
//! whoever holds a ticket, once, and gives the streams of its devices to one handler; a host that
//! asks its operator first, or grants less, writes a [`Gate`] of its own.

mod devices;
mod gate;
mod record;

use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_core::Instant;
use homing_core::channel::{Config, code};
use homing_core::crypto::Secret;
use homing_core::handshake::{RouteId, Suite, host_mac1_key};
use homing_core::hop::{self, Capability, route_id, rv_hash};
use homing_core::pairing::{Flags, Office, Refused, TICKET_LIFE, Ticket, TicketError};

use super::{Gate, Registrar, Registration, Sessions, serve};
use crate::drive::Clock;
use crate::ended::Ended;
use crate::random;
use crate::stream::Stream;

pub use record::{DeviceId, DeviceRecord, HostKeys};

use devices::Devices;
use gate::{Live, RegistryGate};

/// How long a capability lets a device through the relay, in seconds. Each session brings a new
/// one, so this is how long a device may stay away.
const CAPABILITY_LIFE: u64 = 365 * 24 * 3600;
const CAPABILITY_CLASS: u8 = 1;

/// Writes down a device that is about to be taken in.
type Store = Box<dyn FnMut(&DeviceRecord) -> Result<(), String> + Send>;

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// Too many are open.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The relay's name does not fit a ticket.
    #[error("the relay's name does not fit into a pairing link: {0}")]
    Relay(#[from] TicketError),
}

/// A host that keeps its devices in memory. Cheap to clone; serves any number of links at once.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    keys: HostKeys,
    name: String,
    mac1_key: Secret<32>,
    route_id: RouteId,
    sessions: Arc<Sessions>,
    /// Also makes pairings wait for each other, so that one device wins a ticket.
    store: Mutex<Option<Store>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    devices: Devices,
    office: Office,
    live: HashMap<u64, Live>,
    registrars: HashMap<u64, Registrar>,
    /// Names links and sessions.
    counter: u64,
    /// Those who wait for a link.
    waiting: Vec<Waker>,
}

impl core::fmt::Debug for Registry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Registry").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Registry {
    /// A host with these keys, this name of at most [`MAX_NAME`](homing_core::wire::MAX_NAME)
    /// bytes, and no devices yet. Sessions end with their link.
    #[must_use]
    pub fn new(keys: HostKeys, name: &str) -> Self {
        Self::keeping(keys, name, Duration::ZERO)
    }

    /// The same, with sessions that wait so long for their device after a loss. Whoever asks for
    /// that calls [`Sessions::expire`] when [`Sessions::deadline`] has come.
    #[must_use]
    pub fn keeping(keys: HostKeys, name: &str, keep: Duration) -> Self {
        Self(Arc::new(Shared {
            mac1_key: host_mac1_key(keys.identity.public()),
            route_id: route_id(keys.route.public()),
            keys,
            name: name.into(),
            sessions: Arc::new(Sessions::new(keep)),
            store: Mutex::new(None),
            inner: Mutex::default(),
        }))
    }

    /// Has each device written down before it hears that it is taken in; the text of an error is
    /// logged, and the device may try again. Called from the loop: it must not block for long, nor call
    /// this method.
    pub fn store_with(&self, store: impl FnMut(&DeviceRecord) -> Result<(), String> + Send + 'static) {
        *self.0.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(store));
    }

    /// Takes in a device that was written down, in place of any with the same key.
    pub fn add(&self, device: DeviceRecord) {
        self.replace(device);
    }

    /// Makes a ticket for one device that lives for [`TICKET_LIFE`]. `relay` is the relay's name,
    /// `host[:port]`; `plain` says that it has no TLS, which devices take for loopback only.
    ///
    /// # Errors
    /// [`InviteError`]: too many tickets are open, or the relay's name does not fit.
    pub fn invite(&self, relay: &str, plain: bool, suite: Suite, now: Instant) -> Result<Ticket, InviteError> {
        let expiry = u32::try_from(unix_now().saturating_add(TICKET_LIFE.as_secs())).unwrap_or(u32::MAX);
        let flags = Flags { plain, ..Flags::default() };
        let ticket = Ticket::issue(suite, flags, expiry, self.0.keys.identity.public(), relay, &mut random())?;
        let mut inner = self.lock();
        inner.office.issue(&ticket, now, TICKET_LIFE)?;
        let ttl = u16::try_from(TICKET_LIFE.as_secs()).unwrap_or(u16::MAX);
        for registrar in inner.registrars.values() {
            registrar.set_pair_slot(rv_hash(&ticket.secrets().rendezvous), ttl);
        }
        Ok(ticket)
    }

    /// Serves a link to the relay of this name until it ends: see [`serve`](super::serve). Each
    /// stream that a device opens is given to `handler`, which must not block.
    pub async fn serve<S, C>(
        &self,
        socket: WebSocketStream<S>,
        clock: &C,
        relay: &str,
        handler: impl FnMut(DeviceId, Stream),
    ) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin,
        C: Clock,
    {
        serve(socket, clock, self.registration(relay), &mut self.gate(clock, handler)).await
    }

    /// What a relay of this name is told of the host, without an operator's key.
    #[must_use]
    pub fn registration(&self, relay: &str) -> Registration {
        let keys = &self.0.keys;
        Registration {
            relay: relay.into(),
            route: keys.route.duplicate(),
            capability_key: keys.capability_key.duplicate(),
            previous_capability_key: keys.previous_capability_key.duplicate(),
            operator_key: None,
            config: Config::default(),
            sessions: self.0.sessions.clone(),
        }
    }

    /// The gate for one link, as [`serve`](Self::serve) uses it.
    pub fn gate<'c, C: Clock, F: FnMut(DeviceId, Stream)>(
        &self,
        clock: &'c C,
        handler: F,
    ) -> impl Gate<Visitor: Send> + use<'c, C, F> {
        let mut inner = self.lock();
        let link = inner.next();
        RegistryGate { registry: self.clone(), clock, handler, link, heard: None }
    }

    /// How many relays have confirmed that devices can reach the host through them.
    #[must_use]
    pub fn links(&self) -> usize {
        self.lock().links()
    }

    /// Waits until a relay has confirmed that devices can reach the host.
    pub async fn reachable(&self) {
        poll_fn(|cx| self.poll_reachable(cx)).await;
    }

    fn poll_reachable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.links() > 0 {
            return Poll::Ready(());
        }
        if !inner.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The devices, by id and name.
    #[must_use]
    pub fn devices(&self) -> Vec<(DeviceId, String)> {
        self.lock().devices.iter().map(|device| (device.id, device.name.clone())).collect()
    }

    /// Ends a device: when this returns, nothing that it sends is opened any more. Where there
    /// is none with this id, nothing happens.
    pub fn revoke(&self, id: DeviceId) {
        let Some((device, capabilities)) = self.lock().devices.remove(id) else { return };
        self.close(&device, code::REVOKED);
        for registrar in self.lock().registrars.values() {
            for (capability, expiry) in &capabilities {
                registrar.deny(*capability, *expiry);
            }
        }
    }

    /// The sessions of its devices, over all links.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn replace(&self, device: DeviceRecord) {
        let old = self.lock().devices.replace(device);
        // Sessions under the record that is gone could not be found by a revocation.
        if let Some(old) = old {
            self.close(&old, code::SUPERSEDED);
        }
    }

    /// Ends the sessions of a device that is not in the table any more.
    fn close(&self, device: &DeviceRecord, code: u16) {
        self.lock().live.retain(|_, live| {
            let stays = live.device != device.id;
            if !stays {
                live.session.close(code);
            }
            stays
        });
        // Those that wait for their device, too.
        self.0.sessions.revoke(&device.token_hash, code);
    }

    /// A fresh capability for a device, remembered so that it can be denied.
    fn mint(&self, inner: &mut Inner, device: DeviceId) -> Capability {
        let id: hop::CapId = *Secret::random(&mut random()).expose();
        let expiry = u32::try_from(unix_now().saturating_add(CAPABILITY_LIFE)).unwrap_or(u32::MAX);
        inner.devices.gave_capability(device, id, expiry);
        Capability::mint(&self.0.keys.capability_key, &self.0.route_id, id, expiry, CAPABILITY_CLASS)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn links(&self) -> usize {
        self.registrars.values().filter(|registrar| !registrar.is_over()).count()
    }

    const fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        self.counter
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
