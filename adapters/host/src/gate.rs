//! The host's decisions, as the loop asks for them.

use core::time::Duration;
use std::sync::Arc;

use homing_core::Instant;
use homing_core::channel::code;
use homing_core::handshake::{self, ChannelId, ConnectKnock, Exports, GuestChain, GuestSeed, Knock, PairKnock, Suite};
use homing_core::hop::Capability;
use homing_core::mux::reset;
use homing_core::pairing::{TicketId, TicketState};
use homing_core::wire::Caveats;
use homing_driver::host::{Doorstep, Gate, Known, PairRequest, Registrar, Session};
use homing_driver::{Clock, Stream};
use homing_local::clock::unix_now;
use homing_local::hex;
use homing_tokio::{TokioClock, TunnelStream};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::audit::Visit;
use crate::dialog::{Candidate, take_in};
use crate::grant::guest::{Guest, Unfit};
use crate::grant::lease::{Lease, Leased};
use crate::keys::Route;
use crate::news;
use crate::registry::Device;
use crate::service::{self, Caller, Service};
use crate::shared::Shared;

/// How long a stream may take to name its service.
const NAMING_TIME: Duration = Duration::from_secs(10);

/// One link's way to the host's decisions.
pub(crate) struct LinkGate {
    pub(crate) shared: Arc<Shared>,
    pub(crate) relay: usize,
    pub(crate) route: Arc<Route>,
    /// The relay's name.
    pub(crate) name: String,
    /// The ticket that the last first message was opened with.
    pub(crate) heard: Option<TicketId>,
    /// Whether that was made with the host's keys of now.
    pub(crate) current: bool,
}

/// The device at the other end of a channel.
pub(crate) enum Visitor {
    /// A device or, once it has said what limits it, a guest of one.
    Known {
        device: String,
        guest: Option<Arc<Guest>>,
        live: Option<u64>,
        /// Whether it came by the host's keys of now.
        current: bool,
    },
    /// A guest of this device, before that.
    Stranger {
        device: String,
    },
    Pairing(Candidate),
}

impl Gate for LinkGate {
    type Visitor = Visitor;

    fn registered(&mut self, link: Registrar) {
        let now = TokioClock.now();
        let mut inner = self.shared.lock();
        // A relay gives a slot to one route only.
        if self.relay < inner.former {
            for (rv_hash, ttl) in inner.office.slots(now) {
                link.set_pair_slot(rv_hash, ttl);
            }
        }
        // Relays forget them with the link.
        for (capability, until) in inner.state.denied() {
            link.deny(capability, until);
        }
        if let Some(status) = inner.links.get_mut(self.relay) {
            status.proved("connected");
        }
        if let Some(slot) = inner.registrars.get_mut(self.relay) {
            *slot = Some(link);
        }
        drop(inner);
        self.shared.arrivals.notify_waiters();
        self.shared.news.send_replace(());
        self.shared.trail.note("relay reached", json!({ "relay": self.name }));
        tracing::info!(relay = self.name, "reachable through relay");
    }

    fn hear(&mut self, now: Instant, channel: &ChannelId, hello: &mut [u8]) -> Result<Knock, handshake::Error> {
        let keys = self.shared.keys();
        let mut inner = self.shared.lock();
        let heard = keys
            .hear(&self.route.id, inner.office.live(now), channel, hello)
            .inspect_err(|error| self.shared.trail.refuse("handshake", json!({ "error": error.to_string() })))?;
        let (knock, current) = heard;
        self.current = current;
        if let Knock::Pair(knock) = &knock {
            self.heard = inner.office.id_at(knock.ticket());
        }
        Ok(knock)
    }

    fn recognise(&mut self, knock: &ConnectKnock) -> Option<(Known, Visitor)> {
        let inner = self.shared.lock();
        let fits = |device: &&Device| knock.suite() >= device.suite();
        let known = inner.state.by_key(knock.peer()).filter(fits);
        if known.is_none()
            && let Some(device) = inner.state.by_guest_key(knock.peer()).filter(fits)
        {
            return welcome_guest(device, knock.suite());
        }
        let Some(device) = known else {
            self.shared.trail.refuse("unknown device", json!({ "key": hex::emit(knock.peer().as_bytes()) }));
            return None;
        };
        let known =
            Known { psk: Exports::psk(&device.root.0, knock.suite()), token_hash: device.token_hash(), guest: None };
        Some((known, Visitor::Known { device: device.id.clone(), guest: None, live: None, current: self.current }))
    }

    fn introduced(&mut self, visitor: &mut Visitor, caveats: Caveats<'_>) -> Result<(), u16> {
        let Visitor::Stranger { device } = visitor else { return Err(code::DENIED) };
        let mut inner = self.shared.lock();
        let known = inner.device(device).ok_or(code::REVOKED)?;
        let refuse = |why: &str| self.shared.trail.refuse("guest", json!({ "device": device, "error": why }));
        if !self.shared.guests || known.grant().is_some_and(|grant| grant.no_guests) {
            refuse("no guests are taken from this device");
            return Err(code::DENIED);
        }
        drop(inner);
        let guest = Guest::read(device, caveats, unix_now()).and_then(|guest| {
            let ended = self.shared.lock().device(device).is_some_and(|device| device.has_ended(&guest));
            if ended { Err(Unfit::Ended) } else { Ok(guest) }
        });
        let guest = guest.map_err(|unfit| {
            refuse(&unfit.to_string());
            unfit.code()
        })?;
        let (device, guest) = (core::mem::take(device), Some(Arc::new(guest)));
        // Guests do not follow: whoever let them in gives them another link.
        *visitor = Visitor::Known { device, guest, live: None, current: false };
        Ok(())
    }

    fn pairing(&mut self, now: Instant, knock: &PairKnock) -> Option<Visitor> {
        let mut inner = self.shared.lock();
        // Tickets come and go between the calls, and the knock tells its place only.
        if inner.office.id_at(knock.ticket()) != self.heard.take() {
            return None;
        }
        let ticket = inner.office.knock(knock.ticket(), knock.peer(), now).ok()?;
        let again = inner.office.state(ticket) == Some(TicketState::Consumed(*knock.peer()));
        let taken = || inner.state.by_key(knock.peer()).or_else(|| inner.state.by_guest_key(knock.peer()));
        if !again && taken().is_some() {
            return None;
        }
        Some(Visitor::Pairing(Candidate {
            ticket,
            key: *knock.peer(),
            suite: self.shared.suite,
            rotations: inner.state.rotations,
        }))
    }

    fn established(&mut self, visitor: &mut Visitor, session: Session) -> Result<Option<Capability>, u16> {
        let mut inner = self.shared.lock();
        let (id, guest, paired_now, current) = match visitor {
            Visitor::Known { device, guest, current, .. } => (device.clone(), guest.clone(), false, *current),
            Visitor::Stranger { .. } => return Err(code::DENIED),
            Visitor::Pairing(candidate) => {
                let device = inner.state.by_key(&candidate.key).ok_or(code::REVOKED)?;
                (device.id.clone(), None, true, false)
            }
        };
        // Revoked between the handshake and now: the record is gone.
        let rotations = inner.state.rotations;
        let device = inner.device(&id).ok_or(code::REVOKED)?;
        // So may a guest have been ended.
        if guest.as_ref().is_some_and(|guest| device.has_ended(guest)) {
            return Err(code::EXPIRED);
        }
        if let Some(guest) = &guest {
            device.met(guest);
        }
        let confirm = guest.is_none() && {
            device.last_seen = Some(unix_now());
            !core::mem::replace(&mut device.confirmed, true)
        };
        let follows = current && core::mem::replace(&mut device.followed, rotations) != rotations;
        let who = who(&id, guest.as_deref());
        let live = inner
            .admit(&id, guest.clone(), session, self.shared.max_sessions)
            .inspect_err(|_| self.shared.trail.refuse("too many sessions", who.clone()))?;
        let capability = match &guest {
            Some(guest) => Some(Shared::mint_for_guest(guest, &self.route)),
            None => (!paired_now).then(|| Shared::mint(&mut inner, &id, &self.route)),
        };
        drop(inner);
        self.store(confirm || follows);
        self.shared.trail.visit(Visit::Connected, who);
        if let Some(guest) = &guest {
            self.shared.running.watch_guest();
            tracing::info!(device = id, guest = guest.name, "guest connected");
        } else {
            tracing::info!(device = id, "device connected");
        }
        if follows {
            self.shared.trail.note("followed", json!({ "device": id }));
            tracing::info!(device = id, "device followed the rotation");
            self.shared.news.send_replace(());
        }
        *visitor = Visitor::Known { device: id, guest, live: Some(live), current };
        Ok(capability)
    }

    fn pair_requested(&mut self, visitor: &mut Visitor, request: PairRequest, session: Session) {
        if let Visitor::Pairing(candidate) = visitor {
            tokio::spawn(take_in(self.shared.clone(), *candidate, request, session));
        }
    }

    fn incoming(&mut self, visitor: &mut Visitor, stream: Stream) {
        let Visitor::Known { device, guest, .. } = visitor else { return stream.abort(reset::NOT_ALLOWED) };
        let name = self.shared.lock().device(device).map(|device| device.name.clone());
        let Some(name) = name else { return stream.abort(reset::NOT_ALLOWED) };
        let caller = match guest {
            None => Caller { device_id: device.clone(), device_name: name },
            Some(guest) => {
                Caller { device_id: guest.id(device), device_name: format!("{} (guest of {name})", guest.name) }
            }
        };
        tokio::spawn(carry(self.shared.clone(), device.clone(), guest.clone(), caller, stream.into()));
    }

    fn ended(&mut self, visitor: Visitor) {
        if let Visitor::Known { device, guest, live: Some(live), .. } = visitor {
            let mut inner = self.shared.lock();
            inner.live.remove(&live);
            if guest.is_none()
                && let Some(known) = inner.device(&device)
            {
                known.last_seen = Some(unix_now());
            }
            drop(inner);
            self.shared.trail.visit(Visit::Disconnected, who(&device, guest.as_deref()));
            tracing::info!(device, guest = guest.map(|guest| guest.name.clone()), "disconnected");
        }
    }
}

impl LinkGate {
    /// Stores what a connection changed: at once where the pairing is confirmed by it, or a rotation followed.
    fn store(&self, confirm: bool) {
        if !confirm {
            return; // last seen and capability ids go with the next change or the end
        }
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.persist(|_| ()) {
                tracing::error!(%error, "cannot store that the device confirmed its pairing, or follows a rotation");
            }
        });
    }
}

/// A guest of this device knocks, and has to say what limits it.
fn welcome_guest(device: &Device, suite: Suite) -> Option<(Known, Visitor)> {
    let (root, device_id) = (&device.root.0, *hex::parse::<8>(&device.id)?.expose());
    let doorstep = Doorstep { device_id, chain: GuestChain::of(root) };
    let known = Known { psk: GuestSeed::of(root).psk(suite), token_hash: device.token_hash(), guest: Some(doorstep) };
    Some((known, Visitor::Stranger { device: device.id.clone() }))
}

/// Who it was, for the audit trail.
fn who(device: &str, guest: Option<&Guest>) -> Value {
    match guest {
        None => json!({ "device": device }),
        Some(guest) => json!({ "device": device, "guest": guest.name, "guest_id": guest.id(device) }),
    }
}

/// Carries a stream to the service that its first bytes name, as far as its device's grant goes, and its guest's.
async fn carry(
    shared: Arc<Shared>,
    device: String,
    guest: Option<Arc<Guest>>,
    caller: Caller,
    mut stream: TunnelStream,
) {
    let Ok(Ok(name)) = tokio::time::timeout(NAMING_TIME, read_name(&mut stream)).await else { return };
    if name.is_empty() {
        return news::answer(&shared, &device, guest.as_deref(), stream).await;
    }
    let Some(service) = shared.services().find(&name).cloned() else { return stream.abort(reset::UNKNOWN_SERVICE) };
    let lease = Lease::new(shared.clone(), device, guest, name.clone());
    if service.is_raw() {
        if !lease.begin_raw() {
            return stream.abort(reset::NOT_ALLOWED);
        }
        // A raw service that breaks off must not look like one that ended.
        stream.abort_with(reset::UNREACHABLE);
    }
    let stream = Leased::new(stream, lease.clone());
    tokio::select! {
        served = service::serve_gated(stream, &service, &caller, |request| lease.begin_request(request)) => {
            if let Err(error) = served {
                lease.not_reached(&error);
                tracing::debug!(service = name, %error, "stream ended early");
            }
        }
        () = lease.ended() => tracing::debug!(service = name, "stream ended: it is not granted any more"),
    }
}

/// What a device can reach, and where else the host is.
pub(crate) fn offer(shared: &Shared, device: &str, guest: Option<&Guest>) -> Value {
    let grant = shared.lock().device(device).and_then(|device| device.grant.clone());
    let now = unix_now();
    let shown = |service: &Service| {
        let mut grants = grant.iter().chain(guest.into_iter().flat_map(Guest::grants));
        grants.all(|grant| grant.shows(service.name(), service.is_raw(), now))
    };
    let exposed = shared.services();
    let services = exposed.iter().filter(|service| shown(service));
    let list: Vec<_> = services.map(|service| json!({ "name": service.name(), "kind": service.kind() })).collect();
    // Devices were paired through one of them, and fall back on the others.
    let mut offer = json!({ "services": list, "relays": shared.relay_names(), "max_sessions": shared.max_sessions });
    if shared.on_demand {
        // It cannot sleep while devices stay that want nothing of it.
        offer["rest_after"] = shared.linger.as_secs().max(1).into();
    }
    offer
}

async fn read_name(stream: &mut TunnelStream) -> std::io::Result<String> {
    let len = stream.read_u8().await?;
    let mut name = vec![0; len.into()];
    stream.read_exact(&mut name).await?;
    String::from_utf8(name).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
