//! Malicious endpoints at a switch, against a plain model of who is joined with whom: no byte of one
//! channel reaches another, nobody sends more than was granted, and the budget is kept.

mod model;
mod play;
mod step;

use core::time::Duration;
use std::sync::LazyLock;

use homing_core::Instant;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::Frame;
use homing_core::relay::{ChannelSlot, Config, Handled, LinkId, LinkSlot, RouteSlot, Switch};
use homing_core::wire::Writer;

use super::{Bytes, Seeded, Steps};

use model::{Challenge, Seen};

pub use step::Step;

const RELAY: &str = "relay.example.net";
const UNIX: u64 = 1_900_000_000;
const LINKS: usize = 8;

/// What the two hosts prove their routes with.
static ROUTES: LazyLock<[Identity; 2]> =
    LazyLock::new(|| [1, 2].map(|byte| Identity::from_secret(&Secret::new([byte; 32]))));

pub struct Run {
    switch: Switch<[LinkSlot; LINKS], [ChannelSlot; 4], [RouteSlot; 8]>,
    seen: Seen,
    rng: Seeded,
    now: Instant,
    config: Config,
}

impl Run {
    /// A host and a device are joined to begin with, or most runs would join nobody.
    pub fn joined() -> Self {
        let mut run = Self::new();
        run.step(Step::Attach);
        run.step(Step::Register { link: 0, host: 0, honest: true });
        run.step(Step::Attach);
        run.step(Step::Dial { link: 1, host: 0, honest: true });
        assert_eq!(run.seen.channels.len(), 1);
        run.step(Step::Accept { channel: 0, credit: 100_000 });
        run
    }

    pub fn new() -> Self {
        let config = Config { parked: 3, budget: 1 << 20, max_window: 256 << 10, ..Config::default() };
        let mut rng = Seeded::new(3);
        let links = core::array::from_fn(|_| LinkSlot::default());
        let channels = core::array::from_fn(|_| ChannelSlot::default());
        let routes = [RouteSlot::default(); 8];
        let switch = Switch::new(config.clone(), links, channels, routes, Instant::ZERO, UNIX, &mut rng);
        Self { switch, seen: Seen::default(), rng, now: Instant::ZERO, config }
    }

    /// What holds after every step.
    fn check(&self) {
        let counters = self.switch.counters();
        assert_eq!(counters.links as usize, self.seen.links.len());
        assert_eq!(counters.channels as usize, self.seen.channels.len());
        let waiting = self.seen.waiting.values().filter(|host| host.is_some());
        assert_eq!(counters.waiting as usize, waiting.count());
        assert!(counters.reserved <= self.config.budget && counters.parked <= self.config.parked);
        let over: u64 = self.seen.over.values().map(|over| over.bytes).sum();
        let mut held = over;
        for channel in &self.seen.channels {
            for flow in [&channel.up, &channel.down] {
                assert!(flow.left <= flow.arrived && flow.arrived <= flow.granted && flow.granted <= flow.allowed);
                assert!(flow.granted - flow.left <= u64::from(self.config.max_window), "one window");
                held += flow.arrived - flow.left;
            }
        }
        assert!(held <= counters.reserved, "what is held has been reserved");
        assert!(counters.channels > 0 || counters.reserved == over);
    }

    /// How often a host was woken.
    #[allow(dead_code, reason = "not every runner asks")]
    pub fn knocks(&self) -> usize {
        self.seen.knocks
    }

    /// Lets everything end that waits; how many channels there were.
    pub fn end(mut self) -> usize {
        self.now = self.now + Duration::from_millis(1);
        self.switch.handle_timeout(self.now, &mut self.seen);
        while let Some(next) = self.switch.poll_timeout() {
            assert!(next > self.now, "nothing spins");
            self.now = next;
            self.switch.handle_timeout(self.now, &mut self.seen);
            self.check();
        }
        // Silence ends no waiting; the socket does.
        for link in self.seen.waiting.keys().copied().collect::<Vec<_>>() {
            self.switch.detach(link, &mut self.seen);
            self.seen.forget(link);
        }
        self.check();
        let counters = self.switch.counters();
        assert_eq!((counters.links, counters.hosts, counters.channels, counters.parked), (0, 0, 0, 0));
        while !self.seen.over.is_empty() {
            self.late(0, u32::MAX, self.seen.joined.is_multiple_of(2));
            self.check();
        }
        assert_eq!(self.switch.counters().reserved, 0);
        self.seen.joined
    }

    fn say(&mut self, link: LinkId, idx: u32, frame: &Frame<'_>) -> Option<Handled> {
        let mut out = [0; 512];
        let mut w = Writer::new(&mut out);
        frame.emit(idx, &mut w).unwrap();
        let len = w.len();
        self.switch.handle(self.now, link, &mut out[..len], &mut self.rng, &mut self.seen).ok()
    }

    fn link(&self, at: u8) -> Option<(LinkId, Challenge)> {
        self.seen.links.values().nth(usize::from(at) % self.seen.links.len().max(1)).copied()
    }

    fn channel(&self, at: u8) -> Option<usize> {
        usize::from(at).checked_rem(self.seen.channels.len())
    }
}

pub fn check(Steps(steps): Steps<Step<'_>>) {
    let mut run = Run::joined();
    for step in steps {
        run.step(step);
    }
    assert!(run.end() > 0);
}
