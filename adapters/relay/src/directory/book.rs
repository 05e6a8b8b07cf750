//! Who serves which route, as far as this relay has heard, and what it serves itself. Every claim has an epoch, and the
//! directory gives each of a route only once: of two claims the later one counts, everywhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use super::Blinded;

/// Routes of other relays that are remembered at most; of more, devices are sent where they would be by rank.
const MAX_KNOWN: usize = 1 << 21;

/// A claim that somebody has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The relay's name.
    pub(super) node: Arc<str>,
    /// Which life of that relay.
    pub(super) life: u64,
    /// Which of its host's links.
    pub(super) link: u8,
    /// Its epoch.
    pub(super) epoch: u64,
}

/// A route that is served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    link: u8,
    state: Owned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owned {
    /// In the directory, in this epoch.
    Proven(u64),
    /// Taken in while the directory was lost, with what was known of the route then: the epoch of its last claim.
    Unproven { known: u64 },
}

/// What is to be done once everything has been heard again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// Routes that are not this relay's any more.
    pub(super) close: Vec<Blinded>,
    /// Routes to be claimed, with the links of their hosts.
    pub(super) claim: Vec<(Blinded, u8)>,
    /// Claims of this relay that nobody is here for, with their epochs.
    pub(super) release: Vec<(Blinded, u64)>,
}

/// Routes, and who serves them.
#[derive(Debug)]
pub(super) struct Book {
    node: Arc<str>,
    life: u64,
    known: HashMap<Blinded, Claim>,
    own: HashMap<Blinded, Own>,
}

impl Book {
    /// Of the relay of this name, in this life.
    pub(super) fn new(node: Arc<str>, life: u64) -> Self {
        Self { node, life, known: HashMap::new(), own: HashMap::new() }
    }

    /// The last claim that was heard of a route.
    pub(super) fn claim(&self, route: &Blinded) -> Option<&Claim> {
        self.known.get(route)
    }

    /// Whether the route is served here.
    pub(super) fn holds(&self, route: &Blinded) -> bool {
        self.own.contains_key(route)
    }

    /// How many routes are served here, and of how many it is known where.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.own.len(), self.known.len())
    }

    /// Every route that is served here.
    pub(super) fn own(&self) -> Vec<Blinded> {
        self.own.keys().copied().collect()
    }

    /// Hears of a claim. True where this relay served the route until now: its links have to end.
    #[must_use]
    pub(super) fn hear(&mut self, route: Blinded, claim: Claim) -> bool {
        let is_mine = self.is_mine(&claim);
        match self.known.get(&route) {
            Some(known) if known.epoch >= claim.epoch => return false,
            None if self.known.len() >= MAX_KNOWN && !self.own.contains_key(&route) => return false,
            _ => {}
        }
        let epoch = claim.epoch;
        self.known.insert(route, claim);
        let Slot::Occupied(mut own) = self.own.entry(route) else { return false };
        if is_mine {
            // It was made, though this relay did not hear so at the time.
            if let Owned::Unproven { .. } = own.get().state {
                own.get_mut().state = Owned::Proven(epoch);
            }
            return false;
        }
        let is_older = match own.get().state {
            Owned::Proven(mine) => mine > epoch,
            // The host came here after that claim.
            Owned::Unproven { known } => epoch <= known,
        };
        if is_older {
            return false;
        }
        own.remove();
        true
    }

    /// Hears that a claim was taken back, in this epoch.
    pub(super) fn forget(&mut self, route: &Blinded, epoch: u64) {
        if self.known.get(route).is_some_and(|known| known.epoch < epoch) {
            self.known.remove(route);
        }
    }

    /// This relay has claimed the route. False where another one has meanwhile, later.
    #[must_use]
    pub(super) fn claimed(&mut self, route: Blinded, link: u8, epoch: u64) -> bool {
        if self.known.get(&route).is_some_and(|known| known.epoch > epoch && !self.is_mine(known)) {
            return false;
        }
        self.own.insert(route, Own { link, state: Owned::Proven(epoch) });
        let claim = Claim { node: self.node.clone(), life: self.life, link, epoch };
        let known = self.known.entry(route).or_insert_with(|| claim.clone());
        if known.epoch < epoch {
            *known = claim;
        }
        true
    }

    /// This relay takes the route in without a claim, since the directory is lost.
    pub(super) fn take_in(&mut self, route: Blinded, link: u8) {
        let known = self.known.get(&route).map_or(0, |claim| claim.epoch);
        let own = self.own.entry(route).or_insert(Own { link, state: Owned::Unproven { known } });
        own.link = link;
    }

    /// Nobody is here for the route any more. Gives the epoch of the claim to take back.
    pub(super) fn leave(&mut self, route: &Blinded) -> Option<u64> {
        match self.own.remove(route)?.state {
            Owned::Proven(epoch) => Some(epoch),
            Owned::Unproven { .. } => None,
        }
    }

    /// Gives everything up.
    pub(super) fn give_up(&mut self) -> Vec<Blinded> {
        self.own.drain().map(|(route, _)| route).collect()
    }

    /// All is about to be heard anew: what the directory does not say any more is forgotten.
    pub(super) fn begin_anew(&mut self) {
        self.known.clear();
    }

    /// All has been heard again. `begin_anew` came before.
    pub(super) fn audit(&mut self) -> Audit {
        let mut audit = Audit::default();
        let (node, life, known) = (&self.node, self.life, &self.known);
        self.own.retain(|route, own| {
            let keeps = match (known.get(route), own.state) {
                (Some(claim), Owned::Proven(epoch)) if claim.node == *node && claim.life == life => {
                    own.state = Owned::Proven(epoch.max(claim.epoch));
                    return true;
                }
                // What was known when it came here is all there is: nobody has claimed it since.
                (Some(claim), Owned::Unproven { known }) => claim.epoch <= known,
                (Some(_), Owned::Proven(_)) => false,
                // The directory has lost it.
                (None, _) => true,
            };
            if keeps {
                audit.claim.push((*route, own.link));
            } else {
                audit.close.push(*route);
            }
            keeps
        });
        let mine = self.known.iter().filter(|(_, claim)| self.is_mine(claim));
        audit.release = mine.filter(|(route, _)| !self.own.contains_key(*route)).map(|(r, c)| (*r, c.epoch)).collect();
        audit
    }

    fn is_mine(&self, claim: &Claim) -> bool {
        claim.node == self.node && claim.life == self.life
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
