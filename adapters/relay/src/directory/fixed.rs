//! A cluster of a few relays that know each other from their configuration and never talk to each other. A route's rank
//! says where its host is: one link at the first relay, a second one at the second. Who cannot reach a relay asks again,
//! and is sent to the next.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use homing_driver::relay::{Seek, Seeker};

use super::decision::{Question, decide};
use super::name::NodeInfo;
use super::ranking::ranking;
use super::{Blinded, Claiming, Counts, Directory, Node, Placement, Present, Running};

/// The most relays of a list.
const MAX_NODES: usize = 64;

/// A cluster from a list.
#[derive(Debug)]
pub struct Fixed {
    nodes: Vec<NodeInfo>,
    me: usize,
    routes: Mutex<HashSet<Blinded>>,
    hosts_sent: AtomicU64,
    devices_sent: AtomicU64,
}

/// Why a list makes no cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FixedError {
    /// This relay is not in it, or is somebody else there.
    #[error(
        "the list of the cluster's relays says {said} of {name}, which is this relay at {url}: give all relays the same list"
    )]
    Me {
        /// This relay's name.
        name: Arc<str>,
        /// This relay's URL.
        url: String,
        /// What the list says.
        said: String,
    },
    /// Two of one name or URL.
    #[error("the list of the cluster's relays has {0} twice")]
    Twice(String),
    /// Too many.
    #[error("a list holds at most 64 relays; use NATS for more")]
    TooMany,
}

impl Fixed {
    /// The cluster of these relays, one of which is `me`.
    ///
    /// # Errors
    /// [`FixedError`], which says what is wrong with the list.
    pub fn new(me: NodeInfo, nodes: Vec<NodeInfo>) -> Result<Self, FixedError> {
        if nodes.len() > MAX_NODES {
            return Err(FixedError::TooMany);
        }
        let mut known = HashSet::new();
        for NodeInfo { name, url } in &nodes {
            if !known.insert(name.to_string()) {
                return Err(FixedError::Twice(name.to_string()));
            }
            if !known.insert(url.to_string()) {
                return Err(FixedError::Twice(url.to_string()));
            }
        }
        let place = nodes.iter().position(|node| node.name == me.name);
        let listed = place.and_then(|place| nodes.get(place));
        let (Some(place), true) = (place, listed.is_some_and(|node| node.url == me.url)) else {
            let said = listed.map_or_else(|| "nothing".to_owned(), |node| node.url.to_string());
            return Err(FixedError::Me { name: me.name, url: me.url.to_string(), said });
        };
        let routes = Mutex::default();
        Ok(Self { nodes, me: place, routes, hosts_sent: AtomicU64::new(0), devices_sent: AtomicU64::new(0) })
    }
}

impl Directory for Fixed {
    fn place(&self, seek: &Seek, dialled: &str, present: Present) -> Placement {
        let has = seek.seeker == Seeker::Device && self.holds(&seek.route);
        if has {
            return Placement::Here;
        }
        let names: Vec<&str> = self.nodes.iter().map(|node| &*node.name).collect();
        let order = ranking(&names, &seek.route);
        let taken = present.other;
        let decided = decide(Question { seek, order: &order, me: self.me, owner: None, taken, spread: true });
        // Who has woken it waits here, also where the host would wait elsewhere by now.
        let decided = if present.waits { Some(self.me) } else { decided };
        let Some(node) = decided.and_then(|place| self.nodes.get(place).map(|node| (place, node))) else {
            return Placement::Taken;
        };
        let (place, NodeInfo { url, .. }) = node;
        // A host is to know the relay by the name that leads here and nowhere else: its tickets carry it.
        if place == self.me && (seek.seeker == Seeker::Device || url.authority() == dialled) {
            return Placement::Here;
        }
        let sent = if seek.seeker == Seeker::Host { &self.hosts_sent } else { &self.devices_sent };
        sent.fetch_add(1, Ordering::Relaxed);
        Placement::At(url.to_string().into())
    }

    fn claim(&self, route: Blinded, _: u8) -> Claiming {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(route);
        Box::pin(core::future::ready(Ok(())))
    }

    fn holds(&self, route: &Blinded) -> bool {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).contains(route)
    }

    fn release(&self, route: Blinded) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(&route);
    }

    fn revoke(&self, _: &str) {}

    fn drain(&self) {}

    fn run(&self, _: Arc<dyn Node>) -> Running {
        Box::pin(core::future::pending())
    }

    fn counts(&self) -> Counts {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Counts {
            nodes: self.nodes.len() as u64,
            routes,
            known: routes,
            hosts_sent: self.hosts_sent.load(Ordering::Relaxed),
            devices_sent: self.devices_sent.load(Ordering::Relaxed),
            ..Counts::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<NodeInfo> {
        ["a=wss://a.example.org", "b=wss://b.example.org", "c=wss://c.example.org"]
            .map(|text| NodeInfo::parse(text).unwrap())
            .into()
    }

    fn all() -> Vec<Fixed> {
        nodes().into_iter().map(|me| Fixed::new(me, nodes()).unwrap()).collect()
    }

    /// Follows redirects from any relay, and gives the last one.
    fn led(all: &[Fixed], from: usize, seek: &Seek) -> usize {
        let mut at = from;
        let mut dialled = "relay.example.org".to_owned();
        for _ in 0..3 {
            match all[at].place(seek, &dialled, Present::default()) {
                Placement::Here => return at,
                Placement::At(url) => {
                    at = nodes().iter().position(|node| *node.url.to_string() == *url).unwrap();
                    dialled = nodes()[at].url.authority().to_owned();
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("in circles");
    }

    #[test]
    fn whoever_comes_anywhere_meets_at_the_same_relay() {
        let all = all();
        for number in 0..100 {
            let route = [number; 16];
            let (first, second) = (Seek::host(&route, 0), Seek::host(&route, 1));
            let at: Vec<_> = (0..3).map(|from| led(&all, from, &first)).collect();
            assert!(at.iter().all(|relay| *relay == at[0]));
            assert_ne!(led(&all, 0, &second), at[0], "the second link is at another one");
            assert!((0..3).all(|from| led(&all, from, &Seek::device(&route)) == at[0]));
            let skipping = Seek { skip: 1, ..Seek::device(&route) };
            assert!((0..3).all(|from| led(&all, from, &skipping) == led(&all, 0, &second)));
        }
    }

    #[tokio::test]
    async fn a_device_that_comes_where_its_host_is_stays() {
        let all = all();
        let seek = Seek::device(&[5; 16]);
        let away = (led(&all, 0, &seek) + 1) % 3;
        all[away].claim(seek.route, 0).await.unwrap();
        assert_eq!(all[away].place(&seek, "relay.example.org", Present::default()), Placement::Here);
        all[away].release(seek.route);
        assert!(matches!(all[away].place(&seek, "relay.example.org", Present::default()), Placement::At(_)));
        assert_eq!(all[away].counts().devices_sent, 1);
    }

    #[test]
    fn a_host_that_waits_here_is_reached_here() {
        let all = all();
        let seek = Seek::host(&[6; 16], 0);
        let away = (led(&all, 0, &seek) + 1) % 3;
        let waits = Present { waits: true, other: false };
        let own = nodes()[away].url.clone();
        assert_eq!(all[away].place(&seek, own.authority(), waits), Placement::Here);
        let sent = all[away].place(&seek, "relay.example.org", waits);
        assert_eq!(sent, Placement::At(own.to_string().into()), "by its own name");
    }

    #[test]
    fn lists_that_disagree_are_refused() {
        let me = |text| NodeInfo::parse(text).unwrap();
        assert!(matches!(Fixed::new(me("d=wss://d.example.org"), nodes()), Err(FixedError::Me { .. })));
        let moved = Fixed::new(me("a=wss://b.example.org"), nodes()).unwrap_err();
        assert!(moved.to_string().contains("wss://a.example.org"), "{moved}");
        let twice = [nodes(), vec![me("d=wss://a.example.org")]].concat();
        assert_eq!(
            Fixed::new(me("b=wss://b.example.org"), twice).err().unwrap(),
            FixedError::Twice("wss://a.example.org".into())
        );
        let twice = [nodes(), vec![me("a=wss://d.example.org")]].concat();
        assert_eq!(Fixed::new(me("b=wss://b.example.org"), twice).err().unwrap(), FixedError::Twice("a".into()));
    }
}
