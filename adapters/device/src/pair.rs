//! Becoming a device of a host: a link is turned into a profile, and the host's services are listed
//! over the same call.

use core::pin::pin;
use core::time::Duration;
use std::path::Path;

use homing_core::backoff::Backoff;
use homing_core::channel::{Config, code};
use homing_core::crypto::{Identity, Secret};
use homing_core::handshake::{CheckWords, Failure, RouteId};
use homing_core::hop::Code;
use homing_core::pairing::{Ticket, is_guest_link, parse_link};
use homing_core::wire::CAPABILITY_LEN;
use homing_driver::device::{Call, Caller, Intent, Opener, call};
use homing_driver::{Clock as _, Ended, Paired};
use homing_local::Vault;
use homing_local::clock::unix_now;
use homing_tokio::{ClientTls, DialError, RelayUrl, TokioClock, dial, endpoint_config};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::error::DeviceError;
use crate::guest;
use crate::profile::{HostSummary, NewHost, Profiles, vault};
use crate::random;
use crate::service::{self, Offer, Service};

/// This kind of device, see [`homing_core::wire::PairFinish`].
const PLATFORM: u8 = 1;
/// How long a host that was lost half-way is waited for at its relay.
const RETURN: Duration = Duration::from_secs(30);
/// The longest that a host is left alone because it asks for that.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A host that this device now belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairedHost {
    /// Its id on this device.
    pub id: String,
    /// Its name on this device.
    pub name: String,
    /// What it offers; empty where the call broke off before it said.
    pub services: Vec<Service>,
    /// Until when this device is a guest there, Unix seconds; none where it was paired itself.
    pub guest_until: Option<u64>,
    /// Why the host of a guest was not reached yet.
    pub unreached: Option<String>,
}

/// Pairs this device with the host that made `link`, or makes it a guest there by a link that another device made, and
/// stores what all later calls rest on. Where
/// the host's operator is asked, `on_pending` is given the words to compare and the seconds left.
/// A call that breaks off is repeated with the same key while the link lives.
///
/// # Errors
/// [`DeviceError`], each kind with what to do about it.
pub async fn pair(
    data: &Path,
    link: &str,
    device_name: &str,
    tls: &ClientTls,
    mut on_pending: impl FnMut(CheckWords, u16),
) -> Result<PairedHost, DeviceError> {
    if is_guest_link(link) {
        return guest::accept(data, link, tls.clone()).await;
    }
    let ticket = parse_link(link)?;
    let relay = relay_of(&ticket)?;
    if is_expired(&ticket) {
        return Err(DeviceError::Expired);
    }
    let mut attempts = Attempts {
        ticket: &ticket,
        relay: &relay,
        tls,
        device_name: device_name.trim(),
        // One key for all attempts: the host lets its winner finish, and nobody else.
        identity: Identity::generate(&mut random()),
        // Before the ticket is spent: pairing without a place to keep the result would waste it.
        vault: vault(data)?,
        lost_at: None,
    };
    let mut backoff = Backoff::new();
    loop {
        let outcome = attempts.once(&mut on_pending).await;
        let again = match outcome {
            Ok(paired) => return Ok(paired),
            Err(again) => again,
        };
        let least = pause(&again);
        attempts.give_up(again)?;
        sleep(backoff.failed_until(TokioClock.now(), least, &mut random())).await;
    }
}

fn relay_of(ticket: &Ticket) -> Result<RelayUrl, DeviceError> {
    if ticket.relay.is_empty() {
        return Err(DeviceError::NoRelay);
    }
    RelayUrl::from_authority(&ticket.relay, ticket.flags.plain)
        .map_err(|error| DeviceError::RelayName { relay: ticket.relay.as_str().into(), error })
}

fn is_expired(ticket: &Ticket) -> bool {
    unix_now() >= u64::from(ticket.expiry)
}

#[derive(Debug)]
enum Broken {
    Dial(DialError),
    Ended(Ended),
}

struct Attempts<'a> {
    ticket: &'a Ticket,
    relay: &'a RelayUrl,
    tls: &'a ClientTls,
    device_name: &'a str,
    identity: Identity,
    vault: Vault<Profiles>,
    /// When a call broke off half-way for the first time.
    lost_at: Option<tokio::time::Instant>,
}

impl Attempts<'_> {
    async fn once(&mut self, on_pending: &mut impl FnMut(CheckWords, u16)) -> Result<PairedHost, Broken> {
        let socket = dial(self.relay, self.tls, endpoint_config()).await.map_err(Broken::Dial)?;
        let secrets = self.ticket.secrets();
        let want = Call {
            relay: self.relay.authority().into(),
            suite: self.ticket.suite,
            identity: self.identity.duplicate(),
            host: self.ticket.host,
            intent: Intent::Pair {
                ticket: secrets.handshake,
                rendezvous: Secret::new(secrets.rendezvous),
                platform: PLATFORM,
                name: self.device_name.into(),
            },
            config: Config::default(),
        };
        let (opened, opener) = oneshot::channel();
        let mut listener = Listener {
            ticket: self.ticket,
            relay: self.relay,
            identity: &self.identity,
            vault: &mut self.vault,
            stored: None,
            capability: None,
            opened: Some(opened),
            on_pending,
        };
        let (ended, offer) = {
            let mut calling = pin!(call(socket, &TokioClock, want, &mut listener));
            let listing = async move {
                let opener: Opener = opener.await.ok()?;
                let stream = opener.open()?;
                Some((opener, service::ask(stream.into()).await))
            };
            tokio::select! {
                ended = &mut calling => (Some(ended), None),
                Some((opener, listed)) = listing => {
                    opener.close();
                    (timeout(GOODBYE, calling).await.ok(), offer_of(listed))
                }
            }
        };
        match (listener.stored, ended) {
            (Some(host), _) => {
                let services = offer.map(|offer| self.note(&host.id, offer)).unwrap_or_default();
                Ok(PairedHost { id: host.id, name: host.name, services, guest_until: None, unreached: None })
            }
            (None, Some(ended)) => Err(Broken::Ended(ended)),
            // A stream is opened only after the host was stored.
            (None, None) => Err(Broken::Ended(Ended::Asked)),
        }
    }

    /// Stores where else the host can be reached, and gives its services.
    fn note(&mut self, id: &str, offer: Offer) -> Vec<Service> {
        if let Err(error) = self.vault.update(|profiles| profiles.learn_relays(id, &offer.relays)) {
            // The relay that the link names works, and the next call asks again.
            tracing::warn!(%error, "the host's relays could not be stored");
        }
        offer.services
    }

    /// Returns the error where another attempt makes no sense.
    fn give_up(&mut self, broken: Broken) -> Result<(), DeviceError> {
        if is_expired(self.ticket) {
            return Err(if self.lost_at.is_some() { DeviceError::Expired } else { verdict(broken) });
        }
        if matches!(broken, Broken::Ended(Ended::Failure(Failure::Busy, _))) {
            return Ok(());
        }
        if is_loss(&broken) {
            self.lost_at.get_or_insert_with(tokio::time::Instant::now);
            return Ok(());
        }
        // After a loss the relay, or the host behind it, may take a moment to come back.
        let returning = self.lost_at.is_some_and(|at| at.elapsed() < RETURN) && may_return(&broken);
        if returning { Ok(()) } else { Err(verdict(broken)) }
    }
}

fn offer_of(listed: Result<Offer, DeviceError>) -> Option<Offer> {
    listed.inspect_err(|error| tracing::warn!(%error, "paired, but the host did not list its services")).ok()
}

/// Whether the call broke off without anybody having said no.
fn is_loss(broken: &Broken) -> bool {
    match broken {
        Broken::Dial(_) => false,
        Broken::Ended(ended) => matches!(
            ended,
            Ended::Wire(_)
                | Ended::Silent(_)
                | Ended::Hop(Code::Gone | Code::Draining | Code::Superseded)
                | Ended::Closed { code: code::SHUTDOWN | code::SUPERSEDED, .. }
        ),
    }
}

/// How long a busy host asks to be left alone. Each attempt counts at the relay, which takes few for one link.
fn pause(broken: &Broken) -> Duration {
    match broken {
        Broken::Ended(Ended::Failure(Failure::Busy, retry_ms)) => {
            Duration::from_millis((*retry_ms).into()).min(MAX_PAUSE)
        }
        Broken::Ended(Ended::Busy { retry_after }) => (*retry_after).min(MAX_PAUSE),
        Broken::Dial(DialError::Full { retry_after, .. }) => retry_after.unwrap_or_default().min(MAX_PAUSE),
        _ => Duration::ZERO,
    }
}

/// Whether the next attempt may find what this one missed.
fn may_return(broken: &Broken) -> bool {
    match broken {
        Broken::Dial(DialError::TlsSetup(_)) => false,
        Broken::Dial(_) => true,
        Broken::Ended(ended) => {
            matches!(ended, Ended::Hop(Code::NotReachable | Code::PairSlot | Code::Busy) | Ended::Busy { .. })
        }
    }
}

/// What a failed pairing means to whoever wants it.
fn verdict(broken: Broken) -> DeviceError {
    let ended = match broken {
        Broken::Dial(error) => return error.into(),
        Broken::Ended(ended) => ended,
    };
    match ended {
        Ended::Hop(Code::PairSlot) => DeviceError::refused(
            "the relay knows no such pairing link: it was used, has expired, or its host is not connected; show a new \
             one on the host",
        ),
        Ended::Hop(Code::NotReachable | Code::Gone | Code::Timeout | Code::Busy | Code::Draining)
        | Ended::Wire(_)
        | Ended::Silent(_)
        | Ended::Failure(Failure::Busy, _) => DeviceError::not_reachable(ended),
        Ended::Failure(Failure::Rejected, _) => DeviceError::refused(
            "the host does not accept the pairing link: it was used or has expired; show a new one",
        ),
        Ended::Handshake(error) => DeviceError::refused(format_args!(
            "who answers is not the host that made the pairing link ({error}); do not trust that relay"
        )),
        Ended::Hop(Code::Denied | Code::Refused) => DeviceError::refused(ended),
        Ended::Closed { code: code::TIMEOUT, .. } => {
            DeviceError::refused("nobody accepted this device on the host in time; show a new link")
        }
        Ended::Closed { code: code::REVOKED | code::TICKET_USED | code::DENIED | code::TOKEN_INVALID, .. } => {
            DeviceError::refused(ended)
        }
        other => DeviceError::failed(other),
    }
}

/// Hears what happens during a pairing.
struct Listener<'a, F> {
    ticket: &'a Ticket,
    relay: &'a RelayUrl,
    identity: &'a Identity,
    vault: &'a mut Vault<Profiles>,
    stored: Option<HostSummary>,
    /// The first capability, and the route that it is for.
    capability: Option<(Secret<CAPABILITY_LEN>, RouteId)>,
    opened: Option<oneshot::Sender<Opener>>,
    on_pending: &'a mut F,
}

impl<F: FnMut(CheckWords, u16)> Caller for Listener<'_, F> {
    fn established(&mut self, opener: Opener) {
        if let Some(opened) = self.opened.take() {
            // Nobody waits where the call is being given up.
            let _ = opened.send(opener);
        }
    }

    fn pending(&mut self, check: CheckWords, seconds: u16) {
        (self.on_pending)(check, seconds);
    }

    fn paired(&mut self, paired: Paired, device_root: Secret<32>) -> Result<(), String> {
        self.capability = Some((paired.capability.duplicate(), paired.route_id));
        let new = NewHost {
            name: &paired.host_name,
            relay: self.relay,
            suite: self.ticket.suite,
            host: &self.ticket.host,
            identity: self.identity,
            device_root,
            device_id: paired.device_id,
            token: paired.token,
            route_id: paired.route_id,
            capability: paired.capability,
            paired_at: unix_now(),
        };
        let stored = self.vault.update(|profiles| profiles.insert(new)).map_err(|error| error.to_string())?;
        self.stored = Some(stored.0);
        Ok(())
    }

    fn capability(&mut self, fresh: &[u8; CAPABILITY_LEN]) {
        let (Some((first, route)), Some(host)) = (&self.capability, &self.stored) else { return };
        if let Err(error) = self.vault.update(|profiles| profiles.renew(&host.id, route, first, fresh)) {
            // The first one still works.
            tracing::warn!(%error, "a fresh capability could not be stored");
        }
    }
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
