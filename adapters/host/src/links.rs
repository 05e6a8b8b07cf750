//! A host's links: one per relay, dialled again for ever.

use core::convert::Infallible;
use core::net::IpAddr;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use homing_core::backoff::Backoff;
use homing_core::channel::Config;
use homing_core::crypto::Identity;
use homing_core::hop::{CapId, Code, route_id};
use homing_driver::host::{Registrar, Registration, serve};
use homing_driver::{Clock, Ended};
use homing_local::clock::unix_now;
use homing_tokio::{DialError, RelayUrl, Seek, Socket, Surroundings, TokioClock, endpoint_config, is_local, seek};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::gate::LinkGate;
use crate::shared::{Inner, Shared};
use crate::waiting;

/// Why a link stays down until a person does something.
const SUPERSEDED: &str = "another host with the same key has taken over at this relay: stop one of them, then \
    `homing host disable` and `homing host enable` here, or start this one anew";

/// Of a link that a host on demand has no need of.
const ASLEEP: &str = "asleep";

/// How long the goodbyes of a link may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a link is doing.
#[derive(Clone, Debug)]
pub(crate) struct LinkStatus {
    relay: String,
    /// The relay that it led to, where it is up: of a cluster, one of many.
    node: Option<RelayUrl>,
    state: &'static str,
    since: u64,
    last_error: Option<String>,
    retry_at: Option<Instant>,
    proved: bool,
    /// Of the route before the last rotation.
    former: bool,
}

impl LinkStatus {
    pub(crate) fn new(relay: &RelayUrl, former: bool) -> Self {
        Self {
            relay: relay.to_string(),
            node: None,
            state: "connecting",
            since: unix_now(),
            last_error: None,
            retry_at: None,
            proved: false,
            former,
        }
    }

    /// It leads to this relay.
    pub(crate) fn led_to(&mut self, node: RelayUrl) {
        self.node = Some(node);
    }

    /// The relay that it leads to.
    pub(crate) const fn node(&self) -> Option<&RelayUrl> {
        self.node.as_ref()
    }

    /// The relay has confirmed it.
    pub(crate) fn proved(&mut self, state: &'static str) {
        self.enter(state);
        self.last_error = None;
        self.proved = true;
    }

    pub(crate) fn json(&self, registrar: Option<&Registrar>) -> Value {
        let round_trip = registrar.and_then(Registrar::round_trip);
        let retry = self.retry_at.map(|at| at.saturating_duration_since(Instant::now()).as_millis());
        json!({
            "relay": self.relay,
            "node": self.node.as_ref().map(RelayUrl::to_string),
            "state": self.state,
            "former_route": self.former,
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

/// What a host on demand keeps at a relay.
#[derive(Debug)]
pub(crate) struct Waiter {
    status: LinkStatus,
    /// Whether the relay has confirmed it.
    pub(crate) registered: bool,
    /// Takes what its relay is to turn away.
    pub(crate) denials: Option<mpsc::Sender<(CapId, u32)>>,
}

impl Waiter {
    /// The relay that it waits at, once that has confirmed it.
    pub(crate) fn node(&self) -> Option<&RelayUrl> {
        self.status.node().filter(|_| self.registered)
    }
}

/// Links to all relays, until they are others.
pub(crate) fn begin(shared: &Arc<Shared>) -> JoinSet<()> {
    let relays = shared.relays();
    // As long as devices may know no other one, the route before the last rotation leads here, too.
    let former = shared.keys().former_route().is_some();
    let rounds = [false, true].into_iter().take(if former { 2 } else { 1 });
    let ways: Vec<_> = rounds.flat_map(|former| relays.iter().map(move |relay| (relay, former))).collect();
    {
        let mut inner = shared.lock();
        inner.links = ways.iter().map(|(relay, former)| LinkStatus::new(relay, *former)).collect();
        inner.registrars = ways.iter().map(|_| None).collect();
        inner.former = relays.len();
        let waiter = |relay| Waiter { status: LinkStatus::new(relay, false), registered: false, denials: None };
        inner.waiters = relays.iter().filter(|_| shared.on_demand).map(waiter).collect();
    }
    let mut links = JoinSet::new();
    for (place, (relay, former)) in ways.into_iter().enumerate() {
        // The route before the last rotation is no longer waited on: it is about to end.
        if former || !shared.on_demand {
            links.spawn(keep(shared.clone(), place, relay.clone(), Way::Link, shared.enabled.subscribe()));
            continue;
        }
        let (knocks, (wish, wanted)) = (Arc::<Notify>::default(), watch::channel(false));
        links.spawn(waiting::wish(shared.clone(), place, knocks.clone(), wish));
        links.spawn(keep(shared.clone(), place, relay.clone(), Way::Link, wanted));
        links.spawn(keep(shared.clone(), place, relay.clone(), Way::Stream(knocks), shared.enabled.subscribe()));
    }
    links
}

/// What all links are doing. A host on demand tells of the link that it was woken for, else of its waiting.
pub(crate) fn report(inner: &Inner) -> Vec<Value> {
    let links = inner.links.iter().zip(&inner.registrars).enumerate();
    let shown = links.map(|(place, (link, registrar))| match inner.waiters.get(place) {
        Some(waiter) if link.state == ASLEEP => waiter.status.json(None),
        _ => link.json(registrar.as_ref()),
    });
    shown.collect()
}

/// Tells the relays that the host leaves them, and waits a moment for that to be heard.
pub(crate) async fn say_goodbye(shared: &Shared) {
    for registrar in shared.lock().registrars.iter().flatten() {
        registrar.leave();
    }
    // The links say it as soon as their sockets take it. Relays hear of a stream's end by itself.
    let gone = async {
        while shared.lock().registrars.iter().any(Option::is_some) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(GOODBYE, gone).await;
}

/// What is kept with a relay.
enum Way {
    /// A link, which carries channels.
    Link,
    /// A stream of events to wait on, and whom its knocks wake.
    Stream(Arc<Notify>),
}

impl Way {
    const fn place(&self) -> At {
        match self {
            Self::Link => At::Link,
            Self::Stream(_) => At::Stream,
        }
    }
}

/// Keeps the link or the stream with one relay, as long as it is wanted, until the host is shut down.
async fn keep(shared: Arc<Shared>, relay: usize, url: RelayUrl, way: Way, mut wanted: watch::Receiver<bool>) {
    let place = way.place();
    let mut surroundings = Surroundings::watch();
    let mut backoff = Backoff::new();
    loop {
        if !*wanted.borrow_and_update() {
            let idle = if place == At::Link && shared.on_demand { ASLEEP } else { "disabled" };
            status(&shared, relay, place, |status| status.enter(idle));
            if wanted.changed().await.is_err() {
                return;
            }
            backoff = Backoff::new();
            continue;
        }
        status(&shared, relay, place, |status| status.enter("connecting"));
        let lost = {
            let mut running = pin!(async {
                match &way {
                    Way::Link => attempt(&shared, relay, &url, &mut surroundings).await,
                    Way::Stream(knocks) => waiting::attempt(&shared, relay, &url, &mut surroundings, knocks).await,
                }
            });
            loop {
                tokio::select! {
                    lost = &mut running => break Some(lost),
                    _ = wanted.changed() => {}
                }
                // A host on demand that has nothing to do leaves as well, unless somebody has come at the last moment.
                let rests = place == At::Link && *shared.enabled.borrow();
                if rests && *wanted.borrow_and_update() {
                    continue;
                }
                if rests && rest(&shared, relay) {
                    continue;
                }
                // The goodbyes leave: devices would wait for a host that only seems to be lost.
                if place == At::Link
                    && let Some(registrar) = leave(&shared, relay)
                {
                    registrar.leave();
                    let _ = timeout(GOODBYE, running).await;
                }
                break None;
            }
        };
        let Some(lost) = lost else {
            unregister(&shared, relay, place);
            continue;
        };
        let proved = unregister(&shared, relay, place);
        if lost.superseded {
            // Two hosts with one key would take the route from each other for ever (protocol 12.2).
            tracing::error!(relay = url.authority(), "{SUPERSEDED}");
            status(&shared, relay, place, |status| {
                status.enter("superseded");
                status.last_error = Some(SUPERSEDED.into());
            });
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        if !*wanted.borrow() {
            continue;
        }
        if lost.began.is_some() {
            let event = if lost.drained { "relay drained" } else { "relay lost" };
            shared.trail.note(event, json!({ "relay": url.authority(), "error": lost.why }));
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
        let delay = backoff.failed_until(now, lost.told, &mut crate::random());
        tracing::warn!(relay = url.authority(), error = lost.why, retry = ?delay, "link lost");
        status(&shared, relay, place, |status| {
            status.enter("retrying");
            status.last_error = Some(lost.why.clone());
            status.retry_at = Some(Instant::now() + delay);
        });
        tokio::select! {
            () = sleep(delay) => {}
            _ = wanted.changed() => {}
            // What was in the way may be gone.
            _ = surroundings.changed() => backoff = Backoff::new(),
        }
    }
}

/// Takes note that a link or a stream is gone; whether it had been confirmed.
fn unregister(shared: &Shared, relay: usize, place: At) -> bool {
    let mut inner = shared.lock();
    let status = match place {
        At::Link => {
            if let Some(slot) = inner.registrars.get_mut(relay) {
                *slot = None;
            }
            inner.links.get_mut(relay)
        }
        At::Stream => inner.waiters.get_mut(relay).map(|waiter| {
            (waiter.registered, waiter.denials) = (false, None);
            &mut waiter.status
        }),
    };
    status.is_some_and(|status| {
        status.node = None;
        core::mem::take(&mut status.proved)
    })
}

/// Ends the sessions that nobody came back for, for ever.
pub(crate) async fn expire(shared: &Shared) -> Infallible {
    loop {
        // The next loss is no earlier than now, so none is ended late by more than this.
        sleep(shared.keep.mul_f64(0.1).clamp(Duration::from_millis(50), Duration::from_secs(10))).await;
        shared.sessions.expire(TokioClock.now());
    }
}

/// What became of a link or of a stream.
pub(crate) struct Lost {
    pub(crate) why: String,
    /// When it began to be served.
    pub(crate) began: Option<homing_core::Instant>,
    /// Another one of the same host took its place.
    pub(crate) superseded: bool,
    /// The relay said that it would stop, and the link left.
    pub(crate) drained: bool,
    /// The network changed, or the machine slept, and it did not survive that.
    pub(crate) moved: bool,
    /// How long there is no use in coming back, as the relay said; zero where it did not.
    pub(crate) told: Duration,
}

impl Lost {
    pub(crate) fn before_it_began(why: impl ToString) -> Self {
        let told = Duration::ZERO;
        Self { why: why.to_string(), began: None, superseded: false, drained: false, moved: false, told }
    }

    pub(crate) fn undialled(error: &DialError) -> Self {
        Self { told: error.retry_after().unwrap_or_default(), ..Self::before_it_began(error) }
    }

    pub(crate) fn at(began: homing_core::Instant, why: impl ToString) -> Self {
        Self { began: Some(began), ..Self::before_it_began(why) }
    }

    /// The relay ended it.
    pub(crate) fn by_code(began: homing_core::Instant, code: Code) -> Self {
        let (superseded, drained) = (code == Code::Superseded, code == Code::Draining);
        Self { superseded, drained, ..Self::at(began, Ended::Hop(code)) }
    }

    pub(crate) fn by_the_network(began: homing_core::Instant) -> Self {
        let why = "the link did not survive a change of this machine's network, or its sleep";
        Self { moved: true, ..Self::at(began, why) }
    }
}

/// One life of a link.
async fn attempt(shared: &Arc<Shared>, relay: usize, url: &RelayUrl, surroundings: &mut Surroundings) -> Lost {
    let keys = shared.keys();
    let former = shared.lock().former;
    // Where the former one is gone, these links are about to end.
    let route = keys.former_route().filter(|_| relay >= former).unwrap_or(&keys.route).clone();
    let sought = Seek::host(&route_id(route.key.public()), relay.checked_rem(former).unwrap_or(relay));
    let dialled = tokio::select! {
        dialled = dial(shared, relay, url, sought) => dialled,
        // The attempt may have begun on a network that is gone: once more.
        _ = surroundings.changed() => dial(shared, relay, url, sought).await,
    };
    let (socket, node) = match dialled {
        Ok(dialled) => dialled,
        Err(error) => return Lost::undialled(&error),
    };
    status(shared, relay, At::Link, |status| status.led_to(node.clone()));
    let from = socket.get_ref().get_ref().local_address();
    let registration = Registration {
        relay: node.authority().into(),
        route: Identity::duplicate(&route.key),
        capability_key: route.capability_key.duplicate(),
        previous_capability_key: route.previous_capability_key.duplicate(),
        operator_key: shared.relay_key.clone(),
        config: Config::default(),
        sessions: shared.sessions.clone(),
    };
    let name = node.authority().into();
    let mut gate = LinkGate { shared: shared.clone(), relay, route, name, heard: None, current: false };
    let began = TokioClock.now();
    let ended: Ended = tokio::select! {
        ended = serve(socket, &TokioClock, registration, &mut gate) => ended,
        () = cut(surroundings, from, shared, relay) => {
            return Lost::by_the_network(began);
        }
    };
    match ended {
        Ended::Hop(code) => Lost::by_code(began, code),
        Ended::Busy { retry_after } => Lost { told: retry_after, ..Lost::by_code(began, Code::Busy) },
        ended => Lost::at(began, ended),
    }
}

/// Dials the relay that the host waits at, where it does: whoever knocked is there, wherever the cluster would send a host
/// by now. Else by the address that it was given.
async fn dial(shared: &Shared, relay: usize, url: &RelayUrl, sought: Seek) -> Result<(Socket, RelayUrl), DialError> {
    let waits_at = shared.lock().waiters.get(relay).and_then(Waiter::node).cloned();
    if let Some(node) = waits_at.filter(|node| node != url) {
        match seek(&node, &shared.tls, endpoint_config(), sought).await {
            // Who has asked for the host waits there, and nowhere else.
            there @ (Ok(_) | Err(DialError::Full { .. })) => return there,
            Err(error) => tracing::debug!(%error, "the relay that this host waits at takes no link of it"),
        }
    }
    seek(url, &shared.tls, endpoint_config(), sought).await
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

/// Ends the link where it has no channel; false where there is none to end.
fn rest(shared: &Shared, relay: usize) -> bool {
    let inner = shared.lock();
    let Some(Some(registrar)) = inner.registrars.get(relay) else { return false };
    registrar.rest();
    true
}

/// Which of the two that a host may have at a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// What carries channels.
    Link,
    /// What knocks come on.
    Stream,
}

pub(crate) fn status(shared: &Shared, relay: usize, place: At, change: impl FnOnce(&mut LinkStatus)) {
    let mut inner = shared.lock();
    let status = match place {
        At::Link => inner.links.get_mut(relay),
        At::Stream => inner.waiters.get_mut(relay).map(|waiter| &mut waiter.status),
    };
    if let Some(status) = status {
        change(status);
    }
}
