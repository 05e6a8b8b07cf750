//! A host's links: one per relay, dialled again for ever.

mod attempt;
mod status;

use core::convert::Infallible;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use homing_core::backoff::Backoff;
use homing_driver::Clock as _;
use homing_driver::host::Registrar;
use homing_tokio::{RelayUrl, Surroundings, TokioClock};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::shared::{Inner, Shared};
use crate::waiting;

pub(crate) use attempt::Lost;
use attempt::attempt;
pub(crate) use status::{At, LinkStatus, Waiter, status};

/// Why a link stays down until a person does something.
const SUPERSEDED: &str = "another host with the same key has taken over at this relay: stop one of them, then \
    `homing host disable` and `homing host enable` here, or start this one anew";

/// Of a link that a host on demand has no need of.
const ASLEEP: &str = "asleep";

/// How long the goodbyes of a link may take.
const GOODBYE: Duration = Duration::from_secs(1);

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
