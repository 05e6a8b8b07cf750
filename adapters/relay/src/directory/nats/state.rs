//! What a relay knows by NATS: which others live, who serves what, and how it stands itself. No sockets here.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use homing_driver::relay::{RelayUrl, Seek, Seeker};

use super::words::Peer;
use crate::directory::book::Book;
use crate::directory::decision::{Question, decide};
use crate::directory::lease::Lease;
use crate::directory::ranking::ranking;
use crate::directory::{Counts, NodeInfo, Placement, Standing};

/// Relays that are remembered at most.
const MAX_PEERS: usize = 4096;

/// Another relay, or this one.
#[derive(Clone, Debug)]
struct Heard {
    peer: Peer,
    at: Instant,
    draining: bool,
}

/// What is known.
#[derive(Debug)]
pub(super) struct State {
    me: NodeInfo,
    pub(super) life: u64,
    ttl: Duration,
    pub(super) book: Book,
    pub(super) lease: Lease,
    peers: HashMap<Arc<str>, Heard>,
    draining: bool,
    /// When the directory was lost: nobody is held to have died since.
    cut_at: Option<Instant>,
    counts: Counts,
}

impl State {
    pub(super) fn new(me: NodeInfo, life: u64, ttl: Duration, now: Instant) -> Self {
        Self {
            book: Book::new(me.name.clone(), life),
            lease: Lease::new(ttl, now),
            me,
            life,
            ttl,
            peers: HashMap::new(),
            draining: false,
            cut_at: Some(now),
            counts: Counts::default(),
        }
    }

    /// Hears that a relay lives.
    pub(super) fn hear(&mut self, name: &str, peer: Peer, now: Instant) {
        let known = self.peers.get(name);
        if known.is_none() && self.peers.len() >= MAX_PEERS {
            return;
        }
        let draining = known.is_some_and(|known| known.draining && known.peer.life == peer.life);
        self.peers.insert(name.into(), Heard { peer, at: now, draining });
    }

    /// Hears that a relay has left.
    pub(super) fn forget(&mut self, name: &str) {
        self.peers.remove(name);
    }

    /// Hears that a relay is about to stop.
    pub(super) fn hear_drain(&mut self, name: &str, life: u64) {
        if let Some(known) = self.peers.get_mut(name).filter(|known| known.peer.life == life) {
            known.draining = true;
        }
    }

    pub(super) const fn drain(&mut self) {
        self.draining = true;
    }

    /// The directory is there, and everything of it was heard.
    pub(super) const fn joined(&mut self) {
        self.lease.joined();
        self.cut_at = None;
    }

    /// The directory is lost.
    pub(super) fn lost(&mut self, now: Instant) {
        if self.cut_at.is_none() {
            self.cut_at = Some(now);
            self.counts.lost += 1;
        }
        self.lease.lost();
    }

    pub(super) const fn gave_up(&mut self, routes: u64) {
        self.counts.given_up = self.counts.given_up.saturating_add(routes);
    }

    /// Whether a relay lives, in this life where one is given.
    pub(super) fn lives(&self, name: &str, life: Option<u64>, now: Instant) -> bool {
        if *name == *self.me.name {
            return self.takes_links() && life.is_none_or(|life| life == self.life);
        }
        let heard = self.peers.get(name).filter(|heard| life.is_none_or(|life| life == heard.peer.life));
        heard.is_some_and(|heard| !heard.draining && self.cut_at.unwrap_or(now) < heard.at + self.ttl)
    }

    fn takes_links(&self) -> bool {
        !self.draining && self.lease.standing() != Standing::Withdrawn
    }

    fn url_of(&self, name: &str) -> Option<&RelayUrl> {
        if *name == *self.me.name { Some(&self.me.url) } else { self.peers.get(name).map(|heard| &heard.peer.url) }
    }

    /// The names of the relays that take links.
    fn names(&self, now: Instant) -> Vec<Arc<str>> {
        let others = self.peers.keys().filter(|name| **name != self.me.name).cloned();
        let mut names: Vec<_> =
            others.chain([self.me.name.clone()]).filter(|name| self.lives(name, None, now)).collect();
        names.sort_unstable();
        names
    }

    /// Where a link that is asked for belongs.
    pub(super) fn place(&mut self, seek: &Seek, dialled: &str, now: Instant) -> Placement {
        let is_host = seek.seeker == Seeker::Host;
        let claim = self.book.claim(&seek.route).filter(|claim| self.lives(&claim.node, None, now)).cloned();
        // One link of a host has the route; it stays with that until it is gone.
        let other = claim.as_ref().filter(|claim| is_host && claim.link != seek.link);
        if other.is_some_and(|claim| self.is_served(claim.life, &claim.node, &seek.route, now)) {
            return Placement::Taken;
        }
        if !is_host && self.takes_links() && self.book.holds(&seek.route) {
            return Placement::Here;
        }
        let names = self.names(now);
        let order = ranking(&names.iter().map(|name| &**name).collect::<Vec<_>>(), &seek.route);
        let place_of = |name: &str| names.iter().position(|known| **known == *name);
        let owner = claim.and_then(|claim| place_of(&claim.node));
        let me = place_of(&self.me.name).unwrap_or(usize::MAX);
        let decided = decide(Question { seek, order: &order, me, owner, taken: false, spread: false });
        let Some(name) = decided.and_then(|place| names.get(place)) else { return Placement::Nowhere };
        let Some(url) = self.url_of(name) else { return Placement::Nowhere };
        if *name == self.me.name && (!is_host || url.authority() == dialled) {
            return Placement::Here;
        }
        let placement = Placement::At(url.to_string().into());
        let sent = if is_host { &mut self.counts.hosts_sent } else { &mut self.counts.devices_sent };
        *sent = sent.saturating_add(1);
        placement
    }

    /// Whether a claim stands for links that are there.
    pub(super) fn is_served(&self, life: u64, node: &str, route: &[u8; 16], now: Instant) -> bool {
        self.lives(node, Some(life), now) && (*node != *self.me.name || self.book.holds(route))
    }

    pub(super) fn counts(&self, now: Instant) -> Counts {
        let (routes, known) = self.book.len();
        let nodes = self.names(now).len() as u64;
        Counts { standing: self.lease.standing(), nodes, routes: routes as u64, known: known as u64, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::book::Claim;

    const TTL: Duration = Duration::from_secs(10);

    fn peer(name: &str) -> Peer {
        Peer { life: 1, url: format!("wss://{name}.example.org").parse().unwrap() }
    }

    fn state(now: Instant) -> State {
        let mut state = State::new(NodeInfo::new("a", "wss://a.example.org").unwrap(), 1, TTL, now);
        state.joined();
        for name in ["a", "b", "c"] {
            state.hear(name, peer(name), now);
        }
        state
    }

    fn claim(node: &str, link: u8) -> Claim {
        Claim { node: node.into(), life: 1, link, epoch: 1 }
    }

    fn at(name: &str) -> Placement {
        Placement::At(format!("wss://{name}.example.org").into())
    }

    #[test]
    fn a_route_is_where_it_was_as_long_as_that_relay_lives() {
        let now = Instant::now();
        let mut state = state(now);
        let seek = Seek::device(&[9; 16]);
        assert!(!state.book.hear(seek.route, claim("b", 0)));
        assert_eq!(state.place(&seek, "", now), at("b"));
        assert_eq!(state.place(&Seek::host(&[9; 16], 0), "a.example.org", now), at("b"));
        let later = now + TTL;
        state.hear("c", peer("c"), later);
        assert_ne!(state.place(&seek, "", later), at("b"), "its lease is over");
        state.hear("b", peer("b"), later);
        assert_eq!(state.place(&seek, "", later), at("b"));
        state.hear_drain("b", 1);
        assert_ne!(state.place(&seek, "", later), at("b"));
    }

    #[test]
    fn nobody_dies_while_the_directory_is_lost() {
        let now = Instant::now();
        let mut state = state(now);
        let seek = Seek::device(&[9; 16]);
        assert!(!state.book.hear(seek.route, claim("b", 0)));
        state.lost(now + TTL / 2);
        assert_eq!(state.place(&seek, "", now + 100 * TTL), at("b"));
        assert_eq!(state.counts(now + 100 * TTL).lost, 1);
    }

    #[test]
    fn one_link_of_a_host_has_the_route() {
        let now = Instant::now();
        let mut state = state(now);
        let second = Seek::host(&[9; 16], 1);
        assert!(!state.book.hear(second.route, claim("b", 0)));
        assert_eq!(state.place(&second, "a.example.org", now), Placement::Taken);
        assert_ne!(state.place(&second, "a.example.org", now + TTL), Placement::Taken, "once that is gone");
    }

    #[test]
    fn a_relay_that_has_withdrawn_sends_everybody_away() {
        let now = Instant::now();
        let mut state = state(now);
        assert_eq!(state.lease.tick(now + 2 * TTL, true), crate::directory::lease::Order::Nothing);
        for name in ["b", "c"] {
            state.hear(name, peer(name), now + 2 * TTL);
        }
        for number in 0..20 {
            let placed = state.place(&Seek::device(&[number; 16]), "", now + 2 * TTL);
            assert!(placed == at("b") || placed == at("c"), "{placed:?}");
        }
        state.forget("b");
        state.forget("c");
        assert_eq!(state.place(&Seek::device(&[1; 16]), "", now + 2 * TTL), Placement::Nowhere);
    }
}
