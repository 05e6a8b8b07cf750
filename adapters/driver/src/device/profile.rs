//! What a device keeps of one host, in memory, and calls that use and renew it.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_core::channel::Config;
use homing_core::crypto::{Identity, Secret};
use homing_core::handshake::{CheckWords, Exports};
use homing_core::hop::Capability;
use homing_core::pairing::Ticket;
use homing_core::wire::CAPABILITY_LEN;

use super::opening::{self, Opening, Teller};
use super::record::HostRecord;
use super::{Call, Caller, Intent, Kept, Opener, call_again};
use crate::conversation::Paired;
use crate::drive::Clock;
use crate::ended::Ended;
use crate::random;

/// Writes a record down, where what is kept is to outlive the process.
type Store = Box<dyn FnMut(&HostRecord) -> Result<(), String> + Send>;
/// Shows the words to compare and the seconds left.
type Ask = Box<dyn FnMut(CheckWords, u16) + Send>;

/// A device's way to one host: it pairs with its first call and connects with each later one.
/// Cheap to clone; calls go one after the other: each takes over the streams of the one before, and
/// one that begins while another has them waits, and times out.
#[derive(Clone)]
pub struct Profile {
    kept: Kept,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    state: State,
    store: Option<Store>,
    ask: Option<Ask>,
}

enum State {
    Invited { ticket: Ticket, identity: Identity, name: String, platform: u8 },
    Paired(HostRecord),
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("host", &self.host_name()).finish_non_exhaustive()
    }
}

impl Profile {
    /// A device with a fresh key that will use this ticket, under a name of at most
    /// [`MAX_NAME`](homing_core::wire::MAX_NAME) bytes. `platform` says what kind of device it is,
    /// see [`homing_core::wire::PairFinish`].
    #[must_use]
    pub fn new(ticket: Ticket, name: &str, platform: u8) -> Self {
        let identity = Identity::generate(&mut random());
        Self::with(State::Invited { ticket, identity, name: name.into(), platform })
    }

    /// A device that was paired before.
    #[must_use]
    pub fn paired(record: HostRecord) -> Self {
        Self::with(State::Paired(record))
    }

    fn with(state: State) -> Self {
        Self { kept: Kept::default(), inner: Arc::new(Mutex::new(Inner { state, store: None, ask: None })) }
    }

    /// Lets streams wait so long for another call after a loss; otherwise they end with their call.
    /// Whoever asks for that calls [`Kept::expire`] when [`Kept::deadline`] has come and no call runs.
    #[must_use]
    pub fn keeping(self, keep: Duration) -> Self {
        Self { kept: Kept::new(keep), ..self }
    }

    /// Has what is kept written down: when paired, before the host hears that it is, and with each
    /// fresh capability. An error ends the pairing. Called from the loop: it may block for a moment,
    /// and must not call the profile.
    pub fn store_with(&self, store: impl FnMut(&HostRecord) -> Result<(), String> + Send + 'static) {
        self.lock().store = Some(Box::new(store));
    }

    /// Shows the check words, and the seconds left to compare them, where the host's operator is
    /// asked. Must not call the profile.
    pub fn ask_with(&self, ask: impl FnMut(CheckWords, u16) + Send + 'static) {
        self.lock().ask = Some(Box::new(ask));
    }

    /// Whether a host has taken the device in.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        matches!(self.lock().state, State::Paired(_))
    }

    /// What the host calls itself, once the device is paired.
    #[must_use]
    pub fn host_name(&self) -> Option<String> {
        match &self.lock().state {
            State::Invited { .. } => None,
            State::Paired(record) => Some(record.host_name.clone()),
        }
    }

    /// The streams that wait for another call.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// A call over a WebSocket that the relay of the ticket has accepted, and the way to its streams
    /// once the host is there: see [`call_again`]. The call makes no step unless it is polled.
    pub fn call<S, C>(&self, socket: WebSocketStream<S>, clock: C) -> (impl Future<Output = Ended> + use<S, C>, Opening)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        C: Clock,
    {
        self.start(self.want(), socket, clock)
    }

    /// The same through another relay of the host, by the name that it was dialled by.
    pub fn call_through<S, C>(
        &self,
        relay: &str,
        socket: WebSocketStream<S>,
        clock: C,
    ) -> (impl Future<Output = Ended> + use<S, C>, Opening)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        C: Clock,
    {
        self.start(Call { relay: relay.into(), ..self.want() }, socket, clock)
    }

    fn start<S, C>(
        &self,
        want: Call,
        socket: WebSocketStream<S>,
        clock: C,
    ) -> (impl Future<Output = Ended> + use<S, C>, Opening)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        C: Clock,
    {
        let (teller, opening) = opening::new();
        let profile = self.clone();
        let calling = async move {
            let mut ears = Ears { profile, teller };
            let kept = ears.profile.kept.clone();
            call_again(socket, &clock, want, &kept, &mut ears).await
        };
        (calling, opening)
    }

    fn want(&self) -> Call {
        let inner = self.lock();
        match &inner.state {
            State::Invited { ticket, identity, name, platform } => {
                let secrets = ticket.secrets();
                let (platform, name) = (*platform, name.clone());
                let rendezvous = Secret::new(secrets.rendezvous);
                Call {
                    relay: ticket.relay.as_str().into(),
                    suite: ticket.suite,
                    identity: identity.duplicate(),
                    host: ticket.host,
                    intent: Intent::Pair { ticket: secrets.handshake, rendezvous, platform, name },
                    config: Config::default(),
                }
            }
            State::Paired(record) => Call {
                relay: record.relay.clone(),
                suite: record.suite,
                identity: record.identity.duplicate(),
                host: record.host,
                intent: Intent::Connect {
                    route: record.route,
                    capability: Capability::from_bytes(record.capability.expose()),
                    psk: Exports::psk(&record.root, record.suite),
                    token: record.token.duplicate(),
                    guest: None,
                },
                config: Config::default(),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn store(&mut self, record: &HostRecord) -> Result<(), String> {
        self.store.as_mut().map_or(Ok(()), |store| store(record))
    }

    fn pair(&mut self, paired: Paired, root: Secret<32>) -> Result<(), String> {
        let State::Invited { ticket, identity, .. } = &self.state else { return Ok(()) };
        let record = HostRecord {
            relay: ticket.relay.as_str().into(),
            plain: ticket.flags.plain,
            suite: ticket.suite,
            identity: identity.duplicate(),
            host: ticket.host,
            host_name: paired.host_name,
            device_id: paired.device_id,
            route: paired.route_id,
            capability: paired.capability,
            token: paired.token,
            root,
        };
        self.store(&record)?;
        self.state = State::Paired(record);
        Ok(())
    }

    fn renew(&mut self, capability: &[u8; CAPABILITY_LEN]) {
        let Self { state: State::Paired(record), store, .. } = self else { return };
        record.capability = Secret::new(*capability);
        if let Some(store) = store
            && let Err(error) = store(record)
        {
            // The one before it may do for the next call.
            tracing::warn!(%error, "a fresh capability could not be stored");
        }
    }
}

/// Hears a call for its profile.
struct Ears {
    profile: Profile,
    teller: Teller,
}

impl Caller for Ears {
    fn established(&mut self, opener: Opener) {
        self.teller.tell(opener);
    }

    fn pending(&mut self, check: CheckWords, seconds: u16) {
        if let Some(ask) = &mut self.profile.lock().ask {
            ask(check, seconds);
        }
    }

    fn paired(&mut self, paired: Paired, root: Secret<32>) -> Result<(), String> {
        self.profile.lock().pair(paired, root)
    }

    fn capability(&mut self, capability: &[u8; CAPABILITY_LEN]) {
        self.profile.lock().renew(capability);
    }
}
