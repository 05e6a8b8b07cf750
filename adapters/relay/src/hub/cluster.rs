//! What a hub has to do with other relays: hosts are let in where the directory says so, and end where it says that
//! another relay serves them.

use core::time::Duration;
use std::collections::HashMap;

use homing_core::hop::{Code, RouteId, blinded_route};
use homing_core::relay::LinkId;
use homing_driver::relay::{Seek, Seeker};

use super::{Hub, State};
use crate::account::{Answer, Refusal};
use crate::directory::{Blinded, Counts, Node, Placement, Present, Unclaimed};
use crate::outbox::Form;

/// When a host that belongs elsewhere may ask again: it is sent there then.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// The hosts that are here, as the directory knows them.
#[derive(Default)]
pub(super) struct Guests {
    links: HashMap<LinkId, Blinded>,
    /// The links of each.
    routes: HashMap<Blinded, Vec<Guest>>,
}

/// One link of a host.
struct Guest {
    link: LinkId,
    /// Its number at the host.
    number: u8,
    /// Whether the host only waits on it.
    waits: bool,
}

impl Guests {
    fn enter(&mut self, route: Blinded, guest: Guest) {
        self.links.insert(guest.link, route);
        self.routes.entry(route).or_default().push(guest);
    }

    /// Gives the route where that was its last link.
    pub(super) fn leave(&mut self, link: LinkId) -> Option<Blinded> {
        let route = self.links.remove(&link)?;
        let links = self.routes.get_mut(&route)?;
        links.retain(|guest| guest.link != link);
        if !links.is_empty() {
            return None;
        }
        self.routes.remove(&route);
        Some(route)
    }

    /// Whether the host has a link of another number here.
    fn has_other(&self, route: &Blinded, number: u8) -> bool {
        self.of(route).any(|guest| guest.number != number)
    }

    /// Whether the host waits here for its link of this number.
    fn waits(&self, route: &Blinded, number: u8) -> bool {
        self.of(route).any(|guest| guest.waits && guest.number == number)
    }

    fn of(&self, route: &Blinded) -> impl Iterator<Item = &Guest> {
        self.routes.get(route).into_iter().flatten()
    }

    fn links_of(&self, route: &Blinded) -> Vec<LinkId> {
        self.of(route).map(|guest| guest.link).collect()
    }
}

impl Hub {
    /// Where a link that is asked for belongs, of this form; here, where the relay has no peers.
    pub(crate) fn place(&self, seek: &Seek, dialled: &str, form: Form) -> Placement {
        let Some(directory) = &self.directory else { return Placement::Here };
        let present = match seek.seeker {
            Seeker::Device => Present::default(),
            Seeker::Host => self.with(|State { guests, .. }, _| Present {
                other: guests.has_other(&seek.route, seek.link),
                waits: form == Form::WebSocket && guests.waits(&seek.route, seek.link),
            }),
        };
        directory.place(seek, dialled, present)
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
        let waits = state.outlets.waits(link);
        state.guests.enter(route, Guest { link, number, waits });
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
