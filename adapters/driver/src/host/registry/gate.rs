//! How a registry answers one link's questions.

use homing_core::Instant;
use homing_core::channel::{code, token_hash};
use homing_core::crypto::{PublicKey, Secret};
use homing_core::handshake::{self, ChannelId, ConnectKnock, Door, Exports, Knock, PairKnock, Suite, hear};
use homing_core::hop::Capability;
use homing_core::mux::reset;
use homing_core::pairing::{TicketId, TicketState};
use homing_core::wire::TOKEN_LEN;

use super::Registry;
use super::record::{DeviceId, DeviceRecord};
use crate::drive::Clock;
use crate::host::{Gate, Known, PairRequest, Registrar, Session, Welcome};
use crate::random;
use crate::stream::Stream;

/// Sessions of one device at once: no device takes all the channels of a link.
const MAX_SESSIONS: usize = 8;

/// A device's running session.
pub(super) struct Live {
    pub(super) device: DeviceId,
    pub(super) session: Session,
}

pub(super) struct RegistryGate<'c, C, F> {
    pub(super) registry: Registry,
    pub(super) clock: &'c C,
    pub(super) handler: F,
    /// Names this gate among those of the registry.
    pub(super) link: u64,
    /// The ticket that the last first message was opened with.
    pub(super) heard: Option<TicketId>,
}

/// The device at the other end of a channel.
pub(super) enum Visitor {
    Known { device: DeviceId, live: Option<u64> },
    Pairing { ticket: TicketId, key: PublicKey, suite: Suite },
}

impl<C, F> Drop for RegistryGate<'_, C, F> {
    fn drop(&mut self) {
        self.registry.lock().registrars.remove(&self.link);
    }
}

impl<C: Clock, F: FnMut(DeviceId, Stream)> Gate for RegistryGate<'_, C, F> {
    type Visitor = Visitor;

    fn registered(&mut self, link: Registrar) {
        let mut inner = self.registry.lock();
        for (rv_hash, ttl) in inner.office.slots(self.clock.now()) {
            link.set_pair_slot(rv_hash, ttl);
        }
        inner.registrars.insert(self.link, link);
        let waiting = core::mem::take(&mut inner.waiting);
        drop(inner);
        for waker in waiting {
            waker.wake();
        }
    }

    fn hear(&mut self, now: Instant, channel: &ChannelId, hello: &mut [u8]) -> Result<Knock, handshake::Error> {
        let shared = &self.registry.0;
        let door = Door {
            identity: &shared.keys.identity,
            mac1_key: &shared.mac1_key,
            route: &shared.route_id,
            weakest: Suite::Classic, // each device's record says what it must not fall below
        };
        let mut inner = self.registry.lock();
        let knock = hear(door, inner.office.live(now), channel, hello)?;
        if let Knock::Pair(knock) = &knock {
            self.heard = inner.office.id_at(knock.ticket());
        }
        Ok(knock)
    }

    fn recognise(&mut self, knock: &ConnectKnock) -> Option<(Known, Visitor)> {
        let inner = self.registry.lock();
        let device = inner.devices.by_key(knock.peer()).filter(|device| knock.suite() >= device.suite)?;
        let known =
            Known { psk: Exports::psk(&device.root, knock.suite()), token_hash: device.token_hash, guest: None };
        Some((known, Visitor::Known { device: device.id, live: None }))
    }

    fn pairing(&mut self, now: Instant, knock: &PairKnock) -> Option<Visitor> {
        let mut inner = self.registry.lock();
        // Tickets come and go between the calls, and the knock tells its place only.
        if inner.office.id_at(knock.ticket()) != self.heard.take() {
            return None;
        }
        let (key, (suite, _)) = (*knock.peer(), inner.office.live(now).nth(knock.ticket())?);
        let ticket = inner.office.knock(knock.ticket(), &key, now).ok()?;
        let again = inner.office.state(ticket) == Some(TicketState::Consumed(key));
        // A key has one record: it is not taken over by another ticket.
        (again || inner.devices.by_key(&key).is_none()).then_some(Visitor::Pairing { ticket, key, suite })
    }

    fn established(&mut self, visitor: &mut Visitor, session: Session) -> Result<Option<Capability>, u16> {
        let mut inner = self.registry.lock();
        let (device, paired_now) = match visitor {
            Visitor::Known { device, .. } => (*device, false),
            Visitor::Pairing { key, .. } => (inner.devices.by_key(key).ok_or(code::REVOKED)?.id, true),
        };
        // Revoked between the handshake and now: the record is gone.
        if !inner.devices.contains(device) {
            return Err(code::REVOKED);
        }
        // A session that its device came back for is the same one, though its old channel may linger.
        let id = session.id();
        inner.live.retain(|_, live| live.device != device || id.is_none() || live.session.id() != id);
        if inner.live.values().filter(|live| live.device == device).count() >= MAX_SESSIONS {
            return Err(code::LIMIT);
        }
        let live = inner.next();
        inner.live.insert(live, Live { device, session });
        *visitor = Visitor::Known { device, live: Some(live) };
        Ok((!paired_now).then(|| self.registry.mint(&mut inner, device)))
    }

    fn pair_requested(&mut self, visitor: &mut Visitor, request: PairRequest, session: Session) {
        let Visitor::Pairing { ticket, key, suite } = *visitor else { return };
        match self.take_in(ticket, key, suite, request) {
            Ok(welcome) => session.welcome(welcome),
            Err(code) => session.close(code),
        }
    }

    fn incoming(&mut self, visitor: &mut Visitor, stream: Stream) {
        match *visitor {
            Visitor::Known { device, .. } if self.registry.lock().devices.contains(device) => {
                (self.handler)(device, stream);
            }
            _ => stream.abort(reset::NOT_ALLOWED),
        }
    }

    fn ended(&mut self, visitor: Visitor) {
        if let Visitor::Known { live: Some(live), .. } = visitor {
            self.registry.lock().live.remove(&live);
        }
    }
}

impl<C: Clock, F> RegistryGate<'_, C, F> {
    /// Takes a device in: it wins the ticket, its record is written down, and only then it hears of
    /// it. An error is the code that its session ends with.
    fn take_in(&self, ticket: TicketId, key: PublicKey, suite: Suite, asks: PairRequest) -> Result<Welcome, u16> {
        let shared = &self.registry.0;
        let mut store = shared.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut inner = self.registry.lock();
        inner.office.commit(ticket, &key, self.clock.now()).map_err(|_| code::TICKET_USED)?;
        // A device that pairs again, since it did not hear of the end, keeps its id.
        let known = inner.devices.by_key(&key).map(|device| device.id);
        drop(inner);
        let id = known.unwrap_or_else(|| *Secret::random(&mut random()).expose());
        let token = token_of(id);
        let name = if asks.name.trim().is_empty() { "unnamed device".into() } else { asks.name };
        let (platform, root) = (asks.platform, asks.device_root);
        let device = DeviceRecord { id, name, platform, key, suite, root, token_hash: token_hash(token.expose()) };
        if let Some(store) = store.as_mut()
            && let Err(error) = store(&device)
        {
            tracing::error!(%error, "cannot store the new device");
            self.registry.lock().office.roll_back(ticket);
            return Err(code::INTERNAL);
        }
        self.registry.replace(device);
        let capability = self.registry.mint(&mut self.registry.lock(), id);
        let host_name = shared.name.clone();
        Ok(Welcome { device_id: id, token, route_id: shared.route_id, capability, host_name })
    }
}

/// A fresh bearer token: the device's id, then a secret (protocol 11.1).
fn token_of(id: DeviceId) -> Secret<TOKEN_LEN> {
    let mut token = *Secret::random(&mut random()).expose();
    let (head, _) = token.split_at_mut(id.len());
    head.copy_from_slice(&id);
    Secret::new(token)
}
