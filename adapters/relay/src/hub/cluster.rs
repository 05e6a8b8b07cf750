//! What a hub has to do with other relays: hosts are let in where the directory says so, and end where it says that
//! another relay serves them.

use core::time::Duration;
use std::collections::HashMap;

use homing_core::hop::{Code, RouteId, blinded_route};
use homing_core::relay::LinkId;
use homing_driver::relay::{Seek, Seeker};

use super::{Hub, State};
use crate::account::{Answer, Refusal};
use crate::directory::{Blinded, Counts, Node, Placement, Unclaimed};

/// When a host that belongs elsewhere may ask again: it is sent there then.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// The hosts that are here, as the directory knows them.
#[derive(Default)]
pub(super) struct Guests {
    links: HashMap<LinkId, Blinded>,
    /// The links of each, with their numbers at the host.
    routes: HashMap<Blinded, Vec<(LinkId, u8)>>,
}

impl Guests {
    fn enter(&mut self, link: LinkId, route: Blinded, number: u8) {
        self.links.insert(link, route);
        self.routes.entry(route).or_default().push((link, number));
    }

    /// Gives the route where that was its last link.
    pub(super) fn leave(&mut self, link: LinkId) -> Option<Blinded> {
        let route = self.links.remove(&link)?;
        let links = self.routes.get_mut(&route)?;
        links.retain(|(other, _)| *other != link);
        if !links.is_empty() {
            return None;
        }
        self.routes.remove(&route);
        Some(route)
    }

    /// Whether the host has a link of another number here.
    fn has_other(&self, route: &Blinded, number: u8) -> bool {
        self.routes.get(route).is_some_and(|links| links.iter().any(|(_, other)| *other != number))
    }

    fn links_of(&self, route: &Blinded) -> Vec<LinkId> {
        self.routes.get(route).into_iter().flatten().map(|(link, _)| *link).collect()
    }
}

impl Hub {
    /// Where a link that is asked for belongs; here, where the relay has no peers.
    pub(crate) fn place(&self, seek: &Seek, dialled: &str) -> Placement {
        let Some(directory) = &self.directory else { return Placement::Here };
        let is_host = seek.seeker == Seeker::Host;
        let taken = is_host && self.with(|state, _| state.guests.has_other(&seek.route, seek.link));
        directory.place(seek, dialled, taken)
    }

    /// How the directory stands, where there is one.
    pub(crate) fn directory(&self) -> Option<Counts> {
        self.directory.as_ref().map(|directory| directory.counts())
    }

    /// Lets a host in once the directory agrees, too.
    pub(super) fn claimed(&self, route: &RouteId, number: u8, admitted: Answer) -> Answer {
        let Some(directory) = self.directory.clone() else { return admitted };
        let route = blinded_route(route);
        Box::pin(async move {
            let entitlement = admitted.await?;
            match directory.claim(route, number).await {
                Ok(()) => Ok(entitlement),
                Err(Unclaimed::Taken | Unclaimed::Elsewhere) => Err(Refusal::BusyFor(SOON)),
            }
        })
    }

    /// Takes a host in that was claimed; false where it belongs elsewhere by now, or another link of it is here.
    pub(super) fn take_in(&self, state: &mut State, link: LinkId, route: &RouteId, number: u8) -> bool {
        let Some(directory) = &self.directory else { return true };
        let route = blinded_route(route);
        if !directory.holds(&route) || state.guests.has_other(&route, number) {
            return false;
        }
        state.guests.enter(link, route, number);
        true
    }

    /// The last link of a route is gone.
    pub(super) fn give_back(&self, route: Option<Blinded>) {
        if let (Some(route), Some(directory)) = (route, &self.directory) {
            directory.release(route);
        }
    }

    /// Cuts an account off here and at the other relays.
    pub(crate) fn cut_everywhere(&self, account: &str) -> usize {
        if let Some(directory) = &self.directory {
            directory.revoke(account);
        }
        self.cut(account)
    }
}

impl Node for Hub {
    fn close(&self, route: &Blinded) -> usize {
        self.with(|state, _| {
            let State { switch, outlets, guests, .. } = state;
            let links = guests.links_of(route);
            for link in &links {
                // Not "superseded", after which a host stays away: it is to dial again, and will be sent where it belongs.
                switch.deny(*link, Code::Draining, outlets);
            }
            links.len()
        })
    }

    fn has(&self, route: &Blinded) -> bool {
        self.with(|state, _| state.guests.routes.contains_key(route))
    }

    fn cut(&self, account: &str) {
        let _ = Self::cut(self, account);
    }

    fn is_well(&self) -> bool {
        // One that drains is as it should be.
        self.is_draining() || self.ready().is_ok()
    }
}
