//! A host's links: one per relay, dialled again for ever.

use core::convert::Infallible;
use core::net::IpAddr;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use homing_core::backoff::Backoff;
use homing_core::channel::Config;
use homing_core::crypto::Identity;
use homing_core::hop::Code;
use homing_driver::host::{Registrar, Registration, serve};
use homing_driver::{Clock, Ended};
use homing_local::clock::unix_now;
use homing_tokio::{RelayUrl, Surroundings, TokioClock, dial, endpoint_config, is_local};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::gate::LinkGate;
use crate::shared::Shared;

/// Why a link stays down until a person does something.
const SUPERSEDED: &str = "another host with the same key has taken over at this relay: stop one of them, then \
    `homing host disable` and `homing host enable` here, or start this one anew";

/// The longest pause after a link was lost that had worked.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Links that are lost faster than this wait as others do.
const HURRY_EVERY: Duration = Duration::from_secs(1);
/// A link that lasted so long was no part of a storm.
const HEALTHY: Duration = Duration::from_secs(10);

/// How long the goodbyes of a link may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a link is doing.
#[derive(Clone, Debug)]
pub(crate) struct LinkStatus {
    relay: String,
    state: &'static str,
    since: u64,
    last_error: Option<String>,
    retry_at: Option<Instant>,
    proved: bool,
}

impl LinkStatus {
    pub(crate) fn new(relay: &RelayUrl) -> Self {
        Self {
            relay: relay.to_string(),
            state: "connecting",
            since: unix_now(),
            last_error: None,
            retry_at: None,
            proved: false,
        }
    }

    pub(crate) fn connected(&mut self) {
        self.enter("connected");
        self.last_error = None;
        self.proved = true;
    }

    pub(crate) fn json(&self, registrar: Option<&Registrar>) -> Value {
        let round_trip = registrar.and_then(Registrar::round_trip);
        let retry = self.retry_at.map(|at| at.saturating_duration_since(Instant::now()).as_millis());
        json!({
            "relay": self.relay,
            "state": self.state,
            "since": self.since,
            "last_round_trip_ms": round_trip.map(|trip| trip.as_secs_f64() * 1000.0),
            "last_round_trip_at": registrar.and_then(Registrar::round_trip_at),
            "last_error": self.last_error,
            "retry_in_ms": retry.and_then(|ms| u64::try_from(ms).ok()),
        })
    }

    fn enter(&mut self, state: &'static str) {
        if self.state != state {
            self.state = state;
            self.since = unix_now();
        }
        self.retry_at = None;
    }
}

/// Links to all relays, until they are others.
pub(crate) fn begin(shared: &Arc<Shared>) -> JoinSet<()> {
    let relays = shared.relays();
    {
        let mut inner = shared.lock();
        inner.links = relays.iter().map(LinkStatus::new).collect();
        inner.registrars = relays.iter().map(|_| None).collect();
    }
    let mut links = JoinSet::new();
    for (place, relay) in relays.iter().enumerate() {
        links.spawn(keep(shared.clone(), place, relay.clone()));
    }
    links
}

/// Tells the relays that the host leaves them, and waits a moment for that to be heard.
pub(crate) async fn say_goodbye(shared: &Shared) {
    for registrar in shared.lock().registrars.iter().flatten() {
        registrar.leave();
    }
    // The links say it as soon as their sockets take it.
    let gone = async {
        while shared.is_reachable() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(GOODBYE, gone).await;
}

/// Keeps the link to one relay until the host is shut down.
async fn keep(shared: Arc<Shared>, relay: usize, url: RelayUrl) {
    let mut enabled = shared.enabled.subscribe();
    let mut surroundings = Surroundings::watch();
    let mut backoff = Backoff::new();
    let mut hurried: Option<Instant> = None;
    loop {
        if !*enabled.borrow_and_update() {
            status(&shared, relay, |status| status.enter("disabled"));
            if enabled.changed().await.is_err() {
                return;
            }
            backoff = Backoff::new();
            continue;
        }
        status(&shared, relay, |status| status.enter("connecting"));
        let lost = {
            let mut running = pin!(attempt(&shared, relay, &url, &mut surroundings));
            tokio::select! {
                lost = &mut running => lost,
                _ = enabled.changed() => {
                    // The goodbyes leave: devices would wait for a host that only seems to be lost.
                    if let Some(registrar) = leave(&shared, relay) {
                        registrar.leave();
                        let _ = timeout(GOODBYE, running).await;
                    }
                    continue;
                }
            }
        };
        let proved = {
            let mut inner = shared.lock();
            if let Some(slot) = inner.registrars.get_mut(relay) {
                *slot = None;
            }
            inner.links.get_mut(relay).is_some_and(|status| core::mem::take(&mut status.proved))
        };
        if lost.superseded {
            // Two hosts with one key would take the route from each other for ever (protocol 12.2).
            tracing::error!(relay = url.authority(), "{SUPERSEDED}");
            status(&shared, relay, |status| {
                status.enter("superseded");
                status.last_error = Some(SUPERSEDED.into());
            });
            if enabled.changed().await.is_err() {
                return;
            }
            continue;
        }
        if lost.began.is_some() {
            shared.trail.note("relay lost", json!({ "relay": url.authority(), "error": lost.why }));
        }
        let now = TokioClock.now();
        if let Some(since) = lost.began.filter(|_| proved) {
            backoff.proved(since);
        }
        if lost.moved {
            // The network is another one, and changes of it come slowly enough.
            tracing::info!(relay = url.authority(), "{}; dialling anew", lost.why);
            backoff = Backoff::new();
            continue;
        }
        let mut delay = backoff.failed(now, &mut crate::random());
        // What was lost a moment ago may be back: the streams of its devices should hardly notice.
        if proved && hurried.is_none_or(|at| at.elapsed() >= HURRY_EVERY) {
            hurried = Some(Instant::now());
            delay = AT_ONCE.mul_f64(crate::jitter());
            if lost.began.is_some_and(|began| now.since(began) >= HEALTHY) {
                backoff = Backoff::new();
            }
        }
        tracing::warn!(relay = url.authority(), error = lost.why, retry = ?delay, "link lost");
        status(&shared, relay, |status| {
            status.enter("waiting");
            status.last_error = Some(lost.why.clone());
            status.retry_at = Some(Instant::now() + delay);
        });
        tokio::select! {
            () = sleep(delay) => {}
            _ = enabled.changed() => {}
            // What was in the way may be gone.
            _ = surroundings.changed() => backoff = Backoff::new(),
        }
    }
}

/// Ends the sessions that nobody came back for, for ever.
pub(crate) async fn expire(shared: &Shared) -> Infallible {
    loop {
        // The next loss is no earlier than now, so none is ended late by more than this.
        sleep(shared.keep.mul_f64(0.1).clamp(Duration::from_millis(50), Duration::from_secs(10))).await;
        shared.sessions.expire(TokioClock.now());
    }
}

/// What became of a link.
struct Lost {
    why: String,
    /// When it began to be served.
    began: Option<homing_core::Instant>,
    /// Another link of the same host took its place.
    superseded: bool,
    /// The network changed, or the machine slept, and the link did not survive it.
    moved: bool,
}

impl Lost {
    fn before_it_began(why: impl ToString) -> Self {
        Self { why: why.to_string(), began: None, superseded: false, moved: false }
    }
}

/// One life of a link.
async fn attempt(shared: &Arc<Shared>, relay: usize, url: &RelayUrl, surroundings: &mut Surroundings) -> Lost {
    let dialled = tokio::select! {
        dialled = dial(url, &shared.tls, endpoint_config()) => dialled,
        // The attempt may have begun on a network that is gone: once more.
        _ = surroundings.changed() => dial(url, &shared.tls, endpoint_config()).await,
    };
    let socket = match dialled {
        Ok(socket) => socket,
        Err(error) => return Lost::before_it_began(error),
    };
    let from = socket.get_ref().get_ref().local_address();
    let (current, previous) = {
        let inner = shared.lock();
        (inner.state.capability_key.0.duplicate(), inner.state.previous_capability_key.0.duplicate())
    };
    let registration = Registration {
        relay: url.authority().into(),
        route: Identity::duplicate(&shared.route),
        capability_key: current,
        previous_capability_key: previous,
        operator_key: shared.relay_key.clone(),
        config: Config::default(),
        sessions: shared.sessions.clone(),
    };
    let mut gate = LinkGate { shared: shared.clone(), relay, name: url.authority().into(), heard: None };
    let began = TokioClock.now();
    let ended: Ended = tokio::select! {
        ended = serve(socket, &TokioClock, registration, &mut gate) => ended,
        () = cut(surroundings, from, shared, relay) => {
            let why = "the link did not survive a change of this machine's network, or its sleep".into();
            return Lost { why, began: Some(began), superseded: false, moved: true };
        }
    };
    let superseded = matches!(ended, Ended::Hop(Code::Superseded));
    Lost { why: ended.to_string(), began: Some(began), superseded, moved: false }
}

/// Completes when the address that the link comes from is gone. At every other change the relay is asked, and the link
/// ends by itself where no answer comes.
async fn cut(surroundings: &mut Surroundings, from: Option<IpAddr>, shared: &Shared, relay: usize) {
    loop {
        let change = surroundings.changed().await;
        tracing::debug!(?change, "the link may be dead");
        if from.is_some_and(|address| !is_local(address)) {
            return;
        }
        if let Some(Some(registrar)) = shared.lock().registrars.get(relay) {
            registrar.probe();
        }
    }
}

/// Takes the relay's registrar away, where the link is there.
fn leave(shared: &Shared, relay: usize) -> Option<Registrar> {
    shared.lock().registrars.get_mut(relay)?.take()
}

fn status(shared: &Shared, relay: usize, change: impl FnOnce(&mut LinkStatus)) {
    if let Some(status) = shared.lock().links.get_mut(relay) {
        change(status);
    }
}
