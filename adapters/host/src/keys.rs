//! The keys that a running host is known by: those of now and, after a rotation, those before.

use std::sync::Arc;

use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::handshake::{ChannelId, Door, Error, Knock, RouteId, Suite, Ticket, hear, host_mac1_key};
use homing_core::hop;

use crate::registry::State;
use crate::rotation::Former;

/// A route at relays, and what its capabilities are minted with.
pub(crate) struct Route {
    pub(crate) key: Identity,
    pub(crate) id: RouteId,
    pub(crate) capability_key: Secret<32>,
    pub(crate) previous_capability_key: Secret<32>,
}

/// All of them.
pub(crate) struct Keys {
    pub(crate) identity: Identity,
    mac1_key: Secret<32>,
    pub(crate) route: Arc<Route>,
    former: Option<Before>,
    /// Changes with the keys.
    mark: (u64, Option<bool>),
}

/// Those before the last rotation.
struct Before {
    /// A throwaway one where the overlap is over: nobody is let in by it, and who knocks with the old key is told no.
    identity: Identity,
    mac1_key: Secret<32>,
    /// None where it is the route of now.
    route: Option<Arc<Route>>,
    over: bool,
}

impl Keys {
    pub(crate) fn of(state: &State) -> Self {
        let route = |key: &Secret<32>, capability_key: &Secret<32>, previous: &Secret<32>| {
            let key = Identity::from_secret(key);
            let id = hop::route_id(key.public());
            let (capability_key, previous_capability_key) = (capability_key.duplicate(), previous.duplicate());
            Arc::new(Route { key, id, capability_key, previous_capability_key })
        };
        let identity = Identity::from_secret(&state.identity.0);
        let before = |former: &Former| Before {
            mac1_key: host_mac1_key(&PublicKey::from_bytes(*former.public.0.expose())),
            identity: match &former.identity {
                Some(identity) => Identity::from_secret(&identity.0),
                None => Identity::generate(&mut crate::random()),
            },
            route: former
                .route
                .as_ref()
                .map(|known| route(&known.key.0, &known.capability_key.0, &known.previous_capability_key.0)),
            over: former.is_over(),
        };
        Self {
            mac1_key: host_mac1_key(identity.public()),
            identity,
            route: route(&state.route.0, &state.capability_key.0, &state.previous_capability_key.0),
            former: state.former.as_ref().map(before),
            mark: Self::mark(state),
        }
    }

    /// Whether these are the keys of this state.
    pub(crate) fn are_of(&self, state: &State) -> bool {
        self.mark == Self::mark(state)
    }

    fn mark(state: &State) -> (u64, Option<bool>) {
        (state.rotations, state.former.as_ref().map(Former::is_over))
    }

    /// The route before the last rotation, as long as it is served.
    pub(crate) fn former_route(&self) -> Option<&Arc<Route>> {
        self.former.as_ref()?.route.as_ref()
    }

    /// Reads a first message that came by a route, with the keys of now, then with those before. Gives whether it was
    /// made with those of now, the route among them.
    pub(crate) fn hear<'t>(
        &self,
        route: &RouteId,
        tickets: impl IntoIterator<Item = (Suite, &'t Ticket)>,
        channel: &ChannelId,
        hello: &mut [u8],
    ) -> Result<(Knock, bool), Error> {
        // Each device's record says what suite it must not fall below.
        let weakest = Suite::Classic;
        let is_current = *route == self.route.id;
        let dismissed = !is_current && self.former.as_ref().is_none_or(|former| former.over);
        if !dismissed {
            let door = Door { identity: &self.identity, mac1_key: &self.mac1_key, route, weakest };
            match hear(door, tickets, channel, hello) {
                Err(Error::Mac1) => {}
                heard => return heard.map(|knock| (knock, is_current)),
            }
        }
        let former = self.former.as_ref().ok_or(Error::Mac1)?;
        let door = Door { identity: &former.identity, mac1_key: &former.mac1_key, route, weakest };
        hear(door, None::<(Suite, &Ticket)>, channel, hello).map(|knock| (knock, false))
    }
}
