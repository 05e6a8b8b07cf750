//! What the links of a host are doing.

use homing_core::hop::CapId;
use homing_driver::host::Registrar;
use homing_local::clock::unix_now;
use homing_tokio::RelayUrl;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::shared::Shared;

/// What a link is doing.
#[derive(Clone, Debug)]
pub(crate) struct LinkStatus {
    relay: String,
    /// The relay that it led to, where it is up: of a cluster, one of many.
    pub(super) node: Option<RelayUrl>,
    pub(super) state: &'static str,
    since: u64,
    pub(super) last_error: Option<String>,
    pub(super) retry_at: Option<Instant>,
    pub(super) proved: bool,
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

    pub(super) fn enter(&mut self, state: &'static str) {
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
    pub(super) status: LinkStatus,
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
