//! One life of a link, and how it ended.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use homing_core::channel::Config;
use homing_core::crypto::Identity;
use homing_core::hop::{Code, route_id};
use homing_driver::host::{Registration, serve};
use homing_driver::{Clock as _, Ended};
use homing_tokio::{DialError, RelayUrl, Seek, Socket, Surroundings, TokioClock, endpoint_config, is_local, seek};

use super::status::{At, Waiter, status};
use crate::gate::LinkGate;
use crate::shared::Shared;

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
pub(super) async fn attempt(
    shared: &Arc<Shared>,
    relay: usize,
    url: &RelayUrl,
    surroundings: &mut Surroundings,
) -> Lost {
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
