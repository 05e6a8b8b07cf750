//! One call to one host, kept alive by a task of its own: it dials, waits and dials again until the
//! tunnel is closed or the host has said a final no. The task changes what a `watch` shows; whoever
//! opens a stream waits for that.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use homing_driver::device::Opener;
use homing_local::clock::unix_now;
use homing_tokio::{ClientTls, RelayUrl, TunnelStream};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::DeviceError;
use crate::keep::Keeper;
use crate::news::News;
use crate::profile::{HostSummary, Profiles};
use crate::service::{self, Service};
use crate::status::{LinkState, LinkStatus, RelayState, RelayStatus};

/// How long opening a stream waits for the host.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long streams wait for a connection that was lost, where nobody says otherwise.
pub const KEEP: Duration = Duration::from_secs(10 * 60);
/// How long closing waits for the goodbye to leave.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why no stream was opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The host did not answer in [`OPEN_TIMEOUT`]; it may later.
    #[error("not reachable: {why}")]
    NotReachable {
        /// What is known about it.
        why: String,
    },
    /// The host does not want this device, or is not the one that it was paired with.
    #[error("refused: {why}")]
    Refused {
        /// What is known about it.
        why: String,
    },
    /// This device was a guest, and its time is over.
    #[error("what this guest link gave is over")]
    Expired,
    /// No service has such a name.
    #[error("a service's name has 1 to 255 bytes")]
    BadName,
}

/// A call to a host that is kept alive; cheap to clone. It ends with its last clone.
#[derive(Clone, Debug)]
pub struct Tunnel(Arc<Held>);

/// What the clones of a tunnel hold, and its task does not.
#[derive(Debug)]
struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.stop.notify_one();
    }
}

/// What a tunnel shares with its task.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) view: watch::Sender<View>,
    pub(crate) host: HostSummary,
    /// Somebody asks for the host while the task waits.
    pub(crate) asked_for: Notify,
    pub(crate) stop: Notify,
    /// Changes when the host is to be called by other keys.
    pub(crate) moves: watch::Sender<u64>,
    /// Who wants to hear what the host tells.
    pub(crate) news: broadcast::Sender<News>,
    /// Held once by this, and by each stream that somebody has opened.
    pub(crate) streams: Arc<()>,
    /// How long the host wants to be called without a stream; none for ever.
    pub(crate) rest_after: watch::Sender<Option<Duration>>,
}

/// What the call is doing.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) phase: Phase,
    pub(crate) since: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) relays: Vec<RelayStatus>,
    /// The one in use, or dialled last.
    pub(crate) relay: String,
    /// A guest's time is over, and so is the call.
    pub(crate) expired: bool,
}

#[derive(Debug)]
pub(crate) enum Phase {
    Connecting,
    Connected(Opener),
    Resting,
    Waiting(Instant),
    Refused(Instant),
    Over,
}

impl Phase {
    const fn state(&self) -> LinkState {
        match self {
            Self::Connecting => LinkState::Connecting,
            Self::Connected(_) => LinkState::Connected,
            Self::Resting => LinkState::Resting,
            Self::Waiting(_) => LinkState::Waiting,
            Self::Refused(_) => LinkState::Refused,
            Self::Over => LinkState::Ended,
        }
    }
}

impl View {
    /// The call is doing something else now.
    pub(crate) fn enter(&mut self, phase: Phase, error: Option<String>) {
        if self.phase.state() != phase.state() {
            self.since = unix_now();
        }
        if error.is_some() || matches!(phase, Phase::Connected(_)) {
            self.last_error = error;
        }
        self.phase = phase;
    }
}

impl Shared {
    /// Shows that the call is doing something else now.
    pub(crate) fn enter(&self, phase: Phase, error: Option<String>) {
        self.view.send_modify(|view| view.enter(phase, error));
    }

    /// Shows these relays, none of them dialled yet.
    pub(crate) fn show_relays(&self, relays: &[RelayUrl]) {
        let idle =
            |relay: &RelayUrl| RelayStatus { relay: relay.to_string(), state: RelayState::Idle, last_error: None };
        self.view.send_modify(|view| view.relays = relays.iter().map(idle).collect());
    }

    /// Shows what a relay is good for.
    pub(crate) fn show_relay(&self, relay: &RelayUrl, state: RelayState, error: Option<String>) {
        let relay = relay.to_string();
        self.view.send_modify(|view| {
            if let Some(shown) = view.relays.iter_mut().find(|shown| shown.relay == relay) {
                (shown.state, shown.last_error) = (state, error);
            }
            if matches!(state, RelayState::InUse | RelayState::Dialling) {
                view.relay = relay;
            }
        });
    }

    /// Tells whoever listens.
    pub(crate) fn tell(&self, news: News) {
        let _ = self.news.send(news); // nobody has to listen
    }

    pub(crate) fn opener(&self) -> Option<Opener> {
        match &self.view.borrow().phase {
            Phase::Connected(opener) => Some(opener.clone()),
            _ => None,
        }
    }
}

impl Tunnel {
    /// Starts to call the host of this name, id, or beginning of either, inside a tokio runtime.
    ///
    /// # Errors
    /// [`DeviceError::UnknownHost`], [`DeviceError::Ambiguous`] or [`DeviceError::Store`]. That the
    /// host cannot be reached is none: streams wait for it.
    pub fn start(data: &Path, host: &str, tls: Arc<ClientTls>) -> Result<Self, DeviceError> {
        let summary = Profiles::read(data)?.find(host)?.summary();
        Ok(Self::to(data, summary, tls, KEEP, broadcast::Sender::new(1)))
    }

    pub(crate) fn to(
        data: &Path,
        host: HostSummary,
        tls: Arc<ClientTls>,
        keep: Duration,
        news: broadcast::Sender<News>,
    ) -> Self {
        let (view, _) = watch::channel(View {
            phase: Phase::Connecting,
            since: unix_now(),
            last_error: None,
            relays: Vec::new(),
            relay: host.relay.clone(),
            expired: false,
        });
        let shared = Arc::new(Shared {
            view,
            host,
            asked_for: Notify::new(),
            stop: Notify::new(),
            moves: watch::Sender::new(0),
            news,
            streams: Arc::default(),
            rest_after: watch::Sender::new(None),
        });
        tokio::spawn(Keeper::new(shared.clone(), data, tls, keep).keep());
        Self(Arc::new(Held(shared)))
    }

    /// The host that it leads to, as it was when the tunnel was started.
    #[must_use]
    pub fn host(&self) -> &HostSummary {
        &self.shared().host
    }

    /// A stream to a service. Waits for the host, at most [`OPEN_TIMEOUT`]; whether the service
    /// exists and may be used shows when the stream is read.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(&self, service: &str) -> Result<TunnelStream, OpenError> {
        let preface = service::preface(service).ok_or(OpenError::BadName)?;
        let mut stream = self.stream().await?;
        // A fresh stream takes more than a preface at once.
        stream.write_all(&preface).await.map_err(|error| OpenError::NotReachable { why: error.to_string() })?;
        Ok(stream)
    }

    /// The services that the host offers to this device.
    ///
    /// # Errors
    /// As [`open`](Self::open), or [`DeviceError::Failed`] where the answer cannot be read.
    pub async fn services(&self) -> Result<Vec<Service>, DeviceError> {
        Ok(service::ask(self.stream().await?).await?.services)
    }

    /// What the call is doing.
    #[must_use]
    pub fn status(&self) -> LinkStatus {
        let shared = self.shared();
        let view = shared.view.borrow();
        let (round_trip, measured_at, retry_at) = match &view.phase {
            Phase::Connected(opener) => (opener.round_trip(), opener.round_trip_at(), None),
            Phase::Waiting(until) | Phase::Refused(until) => (None, None, Some(*until)),
            Phase::Connecting | Phase::Resting | Phase::Over => (None, None, None),
        };
        let left = retry_at.map(|at| at.saturating_duration_since(Instant::now()).as_millis());
        LinkStatus {
            host: shared.host.name.clone(),
            relay: view.relay.clone(),
            relays: view.relays.clone(),
            state: view.phase.state(),
            since: view.since,
            last_round_trip_ms: round_trip.map(|trip| trip.as_secs_f64() * 1000.0),
            last_round_trip_at: measured_at,
            last_error: view.last_error.clone(),
            retry_in_ms: left.and_then(|ms| u64::try_from(ms).ok()),
        }
    }

    /// Whether it is over for good.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.shared().view.borrow().phase, Phase::Over)
    }

    /// Waits until the call is over for good, and tells why.
    pub async fn over(&self) -> DeviceError {
        let mut views = self.shared().view.subscribe();
        // The sender lives as long as this borrow.
        let _ = views.wait_for(|view| matches!(view.phase, Phase::Over)).await;
        if self.shared().view.borrow().expired {
            return DeviceError::GuestExpired;
        }
        DeviceError::refused(self.last_error("the tunnel was closed"))
    }

    /// Ends the call after telling the host. Streams that run are lost.
    pub async fn close(&self) {
        self.shared().stop.notify_one();
        let _ = timeout(CLOSE_TIMEOUT.saturating_mul(2), self.over()).await;
    }

    /// A stream to the host, nothing on it yet.
    async fn stream(&self) -> Result<TunnelStream, OpenError> {
        let shared = self.shared();
        let mut views = shared.view.subscribe();
        let deadline = Instant::now() + OPEN_TIMEOUT;
        loop {
            let opened = match &views.borrow_and_update().phase {
                // While the view is borrowed: nobody lays the call to rest meanwhile. One that has just ended opens none,
                // and shows something else in a moment.
                Phase::Connected(opener) => opener.open_holding(shared.streams.clone()),
                // Told at once: waiting would not help.
                Phase::Over | Phase::Refused(_) => break,
                // Some relays may be dialled while others rest.
                Phase::Waiting(_) | Phase::Connecting => {
                    shared.asked_for.notify_one();
                    None
                }
                Phase::Resting => None,
            };
            if let Some(stream) = opened {
                return Ok(stream.into());
            }
            shared.wake();
            if timeout_at(deadline, views.changed()).await.is_err() {
                let why = self.last_error("the host does not answer; check that it runs and is connected to its relay");
                return Err(OpenError::NotReachable { why });
            }
        }
        if shared.view.borrow().expired {
            return Err(OpenError::Expired);
        }
        Err(OpenError::Refused { why: self.last_error("the tunnel was closed") })
    }

    fn last_error(&self, otherwise: &str) -> String {
        self.shared().view.borrow().last_error.clone().unwrap_or_else(|| otherwise.into())
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}
