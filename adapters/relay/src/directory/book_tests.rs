//! Several books and one directory, heard late, in part, or not at all.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const NODES: usize = 3;
const ROUTES: u8 = 2;

fn claim(node: &str, epoch: u64) -> Claim {
    Claim { node: node.into(), life: 1, link: 0, epoch }
}

#[test]
fn of_two_claims_the_later_one_counts() {
    let mut book = Book::new("a".into(), 1);
    let route = [1; 16];
    assert!(book.claimed(route, 0, 5) && book.holds(&route));
    assert!(!book.hear(route, claim("b", 4)), "late news");
    assert!(book.holds(&route));
    assert!(book.hear(route, claim("b", 6)), "its links have to end");
    assert!(!book.holds(&route));
    assert!(!book.hear(route, claim("b", 6)), "once");
    assert!(!book.claimed(route, 0, 5), "another one was faster");
    assert_eq!(&*book.claim(&route).unwrap().node, "b");
    assert!(book.claimed(route, 0, 7));
    assert_eq!(book.leave(&route), Some(7));
}

#[test]
fn another_life_of_the_same_relay_is_another_relay() {
    let mut book = Book::new("a".into(), 2);
    let route = [1; 16];
    assert!(book.claimed(route, 0, 5));
    assert!(book.hear(route, claim("a", 6)));
}

#[test]
fn what_came_while_the_directory_was_lost_is_claimed_unless_somebody_else_has() {
    let (own, moved, new) = ([1; 16], [2; 16], [3; 16]);
    let mut book = Book::new("a".into(), 1);
    assert!(!book.hear(own, claim("b", 3)) && !book.hear(moved, claim("b", 4)));
    for route in [own, moved, new] {
        book.take_in(route, 1);
    }
    book.begin_anew();
    assert!(!book.hear(own, claim("b", 3)), "the same as before");
    let audit = {
        // Heard again, a claim that was made meanwhile ends the links at once.
        assert!(book.hear(moved, claim("c", 5)));
        book.audit()
    };
    let mut claims = audit.claim.clone();
    claims.sort_unstable();
    assert_eq!((claims, audit.close), (vec![(own, 1), (new, 1)], vec![]));
}

#[test]
fn claims_that_nobody_is_here_for_are_taken_back() {
    let mut book = Book::new("a".into(), 1);
    let route = [1; 16];
    assert!(book.claimed(route, 0, 5));
    assert_eq!(book.leave(&route), Some(5));
    book.begin_anew();
    assert!(!book.hear(route, claim("a", 5)));
    assert_eq!(book.audit().release, [(route, 5)]);
}

/// A directory, and relays that hear of it.
struct World {
    epoch: u64,
    /// The last claim of each route.
    claims: HashMap<Blinded, Claim>,
    books: Vec<Book>,
    /// What each has not heard yet; none while it is cut off.
    inbox: Vec<Option<VecDeque<(Blinded, Claim)>>>,
    /// Where each route's host is: a host has one link.
    hosts: HashMap<Blinded, usize>,
}

impl World {
    fn new() -> Self {
        let books = (0..NODES).map(|node| Book::new(node.to_string().into(), 1)).collect();
        let inbox = (0..NODES).map(|_| Some(VecDeque::new())).collect();
        Self { epoch: 0, claims: HashMap::new(), books, inbox, hosts: HashMap::new() }
    }

    fn claim(&mut self, node: usize, route: Blinded) {
        self.epoch += 1;
        let claim = claim(&node.to_string(), self.epoch);
        self.claims.insert(route, claim.clone());
        for inbox in self.inbox.iter_mut().flatten() {
            inbox.push_back((route, claim.clone()));
        }
        if !self.books[node].claimed(route, 0, self.epoch) {
            self.close(node, route);
        }
    }

    fn close(&mut self, node: usize, route: Blinded) {
        if self.hosts.get(&route) == Some(&node) {
            self.hosts.remove(&route);
        }
    }

    /// The host of a route comes to a relay; its link elsewhere may not be missed yet.
    fn arrive(&mut self, node: usize, route: Blinded) {
        self.hosts.insert(route, node);
        if self.inbox[node].is_some() {
            self.claim(node, route);
        } else {
            self.books[node].take_in(route, 0);
        }
    }

    fn hear(&mut self, node: usize) {
        let Some((route, claim)) = self.inbox[node].as_mut().and_then(VecDeque::pop_front) else { return };
        if self.books[node].hear(route, claim) {
            self.close(node, route);
        }
    }

    fn join(&mut self, node: usize) {
        if self.inbox[node].is_some() {
            return;
        }
        self.books[node].begin_anew();
        for (route, claim) in self.claims.clone() {
            if self.books[node].hear(route, claim) {
                self.close(node, route);
            }
        }
        self.inbox[node] = Some(VecDeque::new());
        let audit = self.books[node].audit();
        for route in audit.close {
            self.close(node, route);
        }
        for (route, _) in audit.claim {
            self.claim(node, route);
        }
    }

    /// Everybody joins and hears everything.
    fn settle(&mut self) {
        for node in 0..NODES {
            self.join(node);
        }
        for node in 0..NODES {
            while self.inbox[node].as_ref().is_some_and(|inbox| !inbox.is_empty()) {
                self.hear(node);
            }
        }
    }

    fn owners(&self, route: &Blinded) -> Vec<usize> {
        (0..NODES).filter(|node| self.books[*node].holds(route)).collect()
    }
}

proptest! {
    #[test]
    fn no_two_relays_serve_a_route_once_they_have_heard(
        steps in proptest::collection::vec((0..5_u8, 0..NODES, 0..ROUTES), 1..120),
    ) {
        let mut world = World::new();
        for (what, node, route) in steps {
            let route = [route; 16];
            match what {
                0 | 1 => world.arrive(node, route),
                2 => world.hear(node),
                3 => world.inbox[node] = None,
                _ => world.join(node),
            }
            // Whoever has heard all there is to hear serves only what is its own.
            for node in 0..NODES {
                if world.inbox[node].as_ref().is_some_and(VecDeque::is_empty) {
                    for (route, claim) in &world.claims {
                        if world.books[node].holds(route) {
                            prop_assert_eq!(&*claim.node, node.to_string(), "epoch {}", claim.epoch);
                        }
                    }
                }
            }
        }
        world.settle();
        for route in (0..ROUTES).map(|route| [route; 16]) {
            let owners = world.owners(&route);
            prop_assert!(owners.len() <= 1, "{:?}", owners);
            if let (Some(claim), [owner]) = (world.claims.get(&route), owners.as_slice()) {
                prop_assert_eq!(&*claim.node, owner.to_string());
            }
        }
    }
}
