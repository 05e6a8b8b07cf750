//! The two ends, and the wire between them.

use core::time::Duration;
use std::collections::VecDeque;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, token_hash};
use homing_core::handshake::Suite;
use homing_core::wire::{MAX_RECORD, Params};

use super::ACCEPT;
use super::side::Side;
use super::support::ends::{Ends, TOKEN};

/// The two, with a wire that takes time and holds few records.
pub(crate) struct Pair<const N: usize> {
    pub(crate) device: Side<N>,
    pub(crate) host: Side<N>,
    pub(crate) now: Instant,
    pub(crate) delay: Duration,
    /// On the way to the device, to the host: when it arrives, and what.
    pub(crate) wires: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// Records that a wire holds.
    pub(crate) width: usize,
    pub(crate) records: usize,
}

impl<const N: usize> Pair<N> {
    pub(crate) fn new(device: Channel<N>, host: Channel<N>) -> Self {
        Self {
            device: Side::new(device),
            host: Side::new(host),
            now: Instant::ZERO,
            delay: Duration::from_millis(20),
            wires: Default::default(),
            width: 8,
            records: 0,
        }
    }

    /// Connected by a handshake of that suite.
    pub(crate) fn connected(suite: Suite, own: [Params; 2]) -> Self {
        let [device, host] = Ends::with_params(suite, false, own).shake();
        let mut pair = Self::new(
            Channel::connect(&device, &TOKEN, &Config::default(), Instant::ZERO),
            Channel::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO),
        );
        pair.run_until(|pair| pair.device.channel.is_open() && pair.host.channel.is_open());
        pair
    }

    /// Sends, hears and lets time pass until nothing is to be done before the next ping.
    pub(crate) fn run(&mut self) {
        let end = self.now + Duration::from_secs(20);
        while self.step(end) {}
    }

    #[track_caller]
    pub(crate) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(1_000);
        while !done(self) {
            assert!(self.step(end), "it never comes to that");
        }
    }

    /// The host takes the device in.
    pub(crate) fn accept(&mut self) {
        let mut out = vec![0; MAX_RECORD];
        let len = self.host.channel.accept_pairing(&ACCEPT, self.now, &mut out).unwrap();
        out.truncate(len);
        self.wires[0].push_back((self.now + self.delay, out));
    }

    pub(crate) fn step(&mut self, end: Instant) -> bool {
        for (to, side) in [(1, &mut self.device), (0, &mut self.host)] {
            while self.wires[to].len() < self.width {
                let Some(record) = side.poll(self.now) else { break };
                self.records += 1;
                self.wires[to].push_back((self.now + self.delay, record));
            }
        }
        let arrivals = self.wires.iter().filter_map(|wire| wire.front()).map(|(at, _)| *at);
        let deadlines = [self.device.channel.poll_timeout(), self.host.channel.poll_timeout()].into_iter().flatten();
        let Some(next) = arrivals.chain(deadlines).min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        for (to, side) in [(1, &mut self.host), (0, &mut self.device)] {
            while self.wires[to].front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, mut record) = self.wires[to].pop_front().unwrap();
                side.hear(self.now, &mut record);
            }
            if side.channel.poll_timeout().is_some_and(|at| at <= self.now)
                && let Err(error) = side.channel.handle_timeout(self.now)
            {
                side.fail(error);
            }
        }
        true
    }
}
