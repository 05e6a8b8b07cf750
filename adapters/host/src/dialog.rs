//! Pairing dialogs: a ticket that lives as long as somebody looks at it.

use core::time::Duration;
use std::sync::Arc;

use homing_core::channel::{CONFIRM_TIME, code};
use homing_core::crypto::{PublicKey, Secret};
use homing_core::handshake::Suite;
use homing_core::hop::rv_hash;
use homing_core::pairing::{self, Commit, Flags, Refused, TICKET_LIFE, Ticket, TicketId};
use homing_driver::Clock;
use homing_driver::host::{PairRequest, Session, Welcome};
use homing_local::clock::unix_now;
use homing_local::hex;
use homing_tokio::TokioClock;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::grant::{Grant, describe};
use crate::registry::{Device, MAX_DEVICES, platform_name};
use crate::shared::{Inner, Shared};

/// How a pairing is to go.
#[derive(Clone, Debug)]
pub struct PairOptions {
    /// Whether somebody is asked before the device is taken in.
    pub confirm: bool,
    /// How long the link lives, at most 5 minutes.
    pub life: Duration,
    /// What the device that is let in may reach; none for everything.
    pub grant: Option<Grant>,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self { confirm: false, life: TICKET_LIFE, grant: None }
    }
}

/// What happens while a pairing link is open.
#[derive(Debug)]
pub enum PairEvent {
    /// A device asks: compare the check words and answer.
    Confirm {
        /// What the device calls itself.
        name: String,
        /// What kind of device it says it is.
        platform: &'static str,
        /// What the device shows too.
        check: String,
        /// The answer.
        answer: oneshot::Sender<bool>,
    },
    /// A device was taken in: the link is used up.
    Paired {
        /// The device's id.
        id: String,
        /// The device's name.
        name: String,
    },
    /// Somebody said no: the link is burnt.
    Denied,
    /// The link expired.
    Expired,
}

/// Why there is no pairing link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// Too many are open.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The host has no relay.
    #[error("the host has no relay; start it with `homing host start --relay URL`")]
    NoRelay,
    /// The host may not be reached.
    #[error("the host is disabled; enable it with `homing host enable`")]
    Disabled,
    /// The relay's name does not fit a link.
    #[error("the relay's name does not fit into a pairing link: {0}")]
    Ticket(#[from] pairing::TicketError),
}

/// An open pairing link. Dropping it cancels the link.
pub struct PairDialog {
    shared: Arc<Shared>,
    id: TicketId,
    rv_hash: [u8; 16],
    ticket: Ticket,
    ends: Instant,
    events: mpsc::Receiver<PairEvent>,
    over: bool,
}

impl core::fmt::Debug for PairDialog {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PairDialog").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PairDialog {
    pub(crate) fn open(shared: &Arc<Shared>, options: PairOptions) -> Result<Self, PairError> {
        if !*shared.enabled.borrow() {
            return Err(PairError::Disabled);
        }
        let life = options.life.min(TICKET_LIFE);
        let now = TokioClock.now();
        let relays = shared.relays();
        let keys = shared.keys();
        let mut inner = shared.lock();
        // A relay that is connected now, else the first: it may be back before the link expires.
        let place = (0..relays.len()).find(|relay| inner.is_reachable_at(*relay)).unwrap_or(0);
        let relay = relays.get(place).ok_or(PairError::NoRelay)?;
        // Of a cluster, the one that the host is at: the ticket names no route to find it by.
        let relay = inner.node(place).unwrap_or(relay).clone();
        let flags = Flags { confirm: options.confirm, in_band: false, plain: relay.is_plain() };
        let expiry = u32::try_from(unix_now().saturating_add(life.as_secs())).unwrap_or(u32::MAX);
        let ticket = Ticket::issue(
            shared.suite,
            flags,
            expiry,
            keys.identity.public(),
            relay.authority(),
            &mut crate::random(),
        )?;
        let id = inner.office.issue(&ticket, now, life)?;
        let (sender, events) = mpsc::channel(4);
        inner.dialogs.insert(id, sender);
        let Inner { grants, office, .. } = &mut *inner;
        grants.retain(|id, _| office.state(*id).is_some());
        let granted = describe(options.grant.as_ref());
        grants.extend(options.grant.and_then(Grant::or_everything).map(|grant| (id, grant)));
        drop(inner);
        let fields = json!({ "expires_at": expiry, "confirm": options.confirm, "grant": granted });
        shared.trail.note("link opened", fields);
        let rv_hash = rv_hash(&ticket.secrets().rendezvous);
        shared.announce_slot(rv_hash, u16::try_from(life.as_secs()).unwrap_or(u16::MAX));
        let ends = Instant::now() + life;
        Ok(Self { shared: shared.clone(), id, rv_hash, ticket, ends, events, over: false })
    }

    /// `homing://pair/…`
    #[must_use]
    pub fn link(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, and a ticket of ours fits.
        let _ = self.ticket.write_link(&mut text);
        text
    }

    /// `https://RELAY/pair#…`
    #[must_use]
    pub fn web_link(&self) -> String {
        let mut text = String::new();
        let _ = self.ticket.write_web_link(&mut text);
        text
    }

    /// When the link expires, in Unix seconds.
    #[must_use]
    pub const fn expires_at(&self) -> u32 {
        self.ticket.expiry
    }

    /// What happens next; none after the dialog's end.
    pub async fn next(&mut self) -> Option<PairEvent> {
        if self.over {
            return None;
        }
        let event = tokio::select! {
            event = self.events.recv() => event.unwrap_or(PairEvent::Expired),
            () = sleep_until(self.ends) => PairEvent::Expired,
        };
        self.over = !matches!(event, PairEvent::Confirm { .. });
        Some(event)
    }
}

impl Drop for PairDialog {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.dialogs.remove(&self.id);
        // A device that was taken in may still finish a pairing whose end it did not hear of.
        if !matches!(inner.office.state(self.id), Some(pairing::TicketState::Consumed(_))) {
            inner.office.cancel(self.id);
            drop(inner);
            self.shared.announce_slot(self.rv_hash, 0);
        }
    }
}

/// Who asks to be taken in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) ticket: TicketId,
    pub(crate) key: PublicKey,
    pub(crate) suite: Suite,
    /// How often the host's keys had been rotated when it knocked.
    pub(crate) rotations: u64,
}

/// Takes a device in, or not: asks where the ticket says so, then exactly one device wins the
/// ticket, its record reaches the disk, and only then does it hear of it.
pub(crate) async fn take_in(shared: Arc<Shared>, candidate: Candidate, request: PairRequest, session: Session) {
    let dialog = shared.lock().dialogs.get(&candidate.ticket).cloned();
    let confirms = shared.lock().office.confirms(candidate.ticket);
    if confirms && !confirm(dialog.as_ref(), &request, &session).await {
        shared.lock().office.cancel(candidate.ticket);
        session.close(code::DENIED);
        if let Some(dialog) = dialog {
            let _ = dialog.try_send(PairEvent::Denied);
        }
        shared.trail.note("denied", json!({ "name": request.name, "check": request.check.to_string() }));
        tracing::warn!("pairing denied: somebody else may have seen the link");
        return;
    }
    let _one_at_a_time = shared.pairing.lock().await;
    let name = if request.name.trim().is_empty() { "unnamed device".into() } else { request.name };
    let (committed, grant) = {
        let mut inner = shared.lock();
        let committed = inner.office.commit(candidate.ticket, &candidate.key, TokioClock.now());
        (committed, inner.grants.get(&candidate.ticket).cloned())
    };
    let again = match committed {
        Ok(commit) => commit == Commit::Again,
        Err(refused) => {
            shared.trail.refuse("pairing", json!({ "error": refused.to_string() }));
            tracing::info!(%refused, "pairing refused");
            return session.close(code::TICKET_USED);
        }
    };
    // A device that pairs again, since it did not hear of the end, keeps the id that it was shown by.
    let known = shared.lock().state.by_key(&candidate.key).and_then(|device| hex::parse::<8>(&device.id));
    let id = *known.unwrap_or_else(|| Secret::random(&mut crate::random())).expose();
    let token = token_of(id);
    let mut device = Device::new(
        id,
        name.clone(),
        request.platform,
        candidate.key,
        candidate.suite,
        request.device_root,
        token.expose(),
    );
    let (text_id, platform) = (device.id.clone(), device.platform.clone());
    device.grant = grant;
    device.followed = candidate.rotations;
    let stored = tokio::task::spawn_blocking({
        let shared = shared.clone();
        move || {
            shared.persist(|state| {
                let known = state.by_key(&candidate.key);
                match known {
                    // The owner may have changed it since.
                    Some(known) => device.grant.clone_from(&known.grant),
                    // It was revoked since: its link lets nobody in any more.
                    None if again => return Err(code::REVOKED),
                    None => {}
                }
                let replaced = known.map(|known| (known.id.clone(), known.token_hash()));
                state.devices.retain(|known| known.key() != candidate.key);
                if state.devices.len() >= MAX_DEVICES {
                    return Err(code::LIMIT);
                }
                let granted = describe(device.grant());
                state.devices.push(device);
                Ok((replaced, granted))
            })
        }
    })
    .await;
    let granted = match stored {
        Ok(Ok(Ok((replaced, granted)))) => {
            // Sessions under the record that is gone could not be found by a revocation.
            if let Some((old, key)) = replaced {
                shared.lock().close_sessions(&old, code::SUPERSEDED);
                shared.sessions.revoke(&key, code::SUPERSEDED);
            }
            granted
        }
        Ok(Ok(Err(refused))) => {
            if refused == code::LIMIT {
                tracing::warn!("there are {MAX_DEVICES} devices already; revoke one");
            }
            shared.lock().office.roll_back(candidate.ticket);
            return session.close(refused);
        }
        failed => {
            if let Ok(Err(error)) = failed {
                tracing::error!(%error, "cannot store the new device");
            }
            shared.lock().office.roll_back(candidate.ticket);
            return session.close(code::INTERNAL);
        }
    };
    let route = shared.keys().route.clone();
    let (capability, host_name) = {
        let mut inner = shared.lock();
        (Shared::mint(&mut inner, &text_id, &route), inner.state.name.clone())
    };
    session.welcome(Welcome { device_id: id, token, route_id: route.id, capability, host_name });
    let asked = confirms.then(|| request.check.to_string());
    let fields = json!({ "device": text_id, "name": name, "platform": platform, "check": asked, "grant": granted });
    shared.trail.note("paired", fields);
    tracing::info!(device = text_id, "device paired");
    if let Some(dialog) = dialog {
        let _ = dialog.try_send(PairEvent::Paired { id: text_id, name });
    }
}

/// A fresh bearer token: the device's id, then a secret (protocol 11.1).
fn token_of(id: [u8; 8]) -> Secret<40> {
    let mut token = [0; 40];
    let (head, tail) = token.split_at_mut(id.len());
    head.copy_from_slice(&id);
    tail.copy_from_slice(Secret::<32>::random(&mut crate::random()).expose());
    Secret::new(token)
}

async fn confirm(dialog: Option<&mpsc::Sender<PairEvent>>, request: &PairRequest, session: &Session) -> bool {
    let Some(dialog) = dialog else { return false };
    session.pend(u16::try_from(CONFIRM_TIME.as_secs()).unwrap_or(60));
    let (answer, asked) = oneshot::channel();
    let (name, platform) = (request.name.clone(), platform_name(request.platform));
    let event = PairEvent::Confirm { name, platform, check: request.check.to_string(), answer };
    if dialog.send(event).await.is_err() {
        return false;
    }
    matches!(timeout(CONFIRM_TIME, asked).await, Ok(Ok(true)))
}
