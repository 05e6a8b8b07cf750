//! What all nodes share: time, the queue of what will happen, chance, the log, and the wires.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use homing_core::hop::Windows;
use homing_core::mux::WindowCaps;

use crate::dice::Dice;
use crate::trace::Trace;
use crate::wire::{Side, Wire};

/// Microseconds.
pub(crate) const MILLI: u64 = 1000;
pub(crate) const SECOND: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Relay(usize),
    Host(usize),
    Device(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// Something may have arrived at this side of a wire.
    Arrival(usize, Side),
    /// A node asked to be woken.
    Wake(Node),
    Fault(usize),
    /// A relay starts again.
    Restart(usize),
}

pub(crate) struct Net {
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    serial: u64,
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    pub(crate) wires: Vec<Wire>,
    /// How far windows grow in this world.
    pub(crate) caps: WindowCaps,
    /// What endpoints let a relay send ahead.
    pub(crate) windows: Windows,
    /// How wires behave in this world.
    pub(crate) weather: Weather,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) delay: u64,
    pub(crate) jitter: u64,
    /// Bytes per millisecond.
    pub(crate) rate: u64,
    /// Bytes that a wire takes before its sender has to wait.
    pub(crate) room: usize,
}

impl Net {
    pub(crate) fn new(seed: u64, mut dice: Dice) -> Self {
        let weather = Weather {
            delay: dice.wide(200 * MILLI),
            jitter: dice.wide(50 * MILLI),
            rate: dice.pick(&[200, 2_000, 20_000, 200_000]),
            room: dice.pick(&[20_000, 64_000, 256_000]),
        };
        let caps = WindowCaps { stream: dice.pick(&[64, 256, 4096]) << 10, session: dice.pick(&[128, 1024]) << 10 };
        let windows = Windows { initial: dice.pick(&[64, 64, 256]) << 10, max: 2 << 20 };
        let queue = BinaryHeap::new();
        Self { now: 0, queue, serial: 0, dice, trace: Trace::new(seed), wires: Vec::new(), caps, windows, weather }
    }

    pub(crate) fn at(&mut self, time: u64, happening: Happening) {
        self.serial += 1;
        self.queue.push(Reverse((time.max(self.now), self.serial, happening)));
    }

    pub(crate) fn after(&mut self, delay: u64, happening: Happening) {
        self.at(self.now.saturating_add(delay), happening);
    }

    /// The next thing that happens, until `end`; time goes on to it.
    pub(crate) fn next(&mut self, end: u64) -> Option<Happening> {
        let Reverse((time, ..)) = self.queue.peek()?;
        if *time > end {
            return None;
        }
        let Reverse((time, _, happening)) = self.queue.pop()?;
        self.now = time;
        self.trace.time(time);
        Some(happening)
    }
}

/// A node's own clock, which may jump ahead, and its alarm.
#[derive(Default)]
pub(crate) struct Clock {
    ahead: u64,
    armed: Option<u64>,
}

impl Clock {
    pub(crate) fn read(&self, net: &Net) -> homing_core::Instant {
        homing_core::Instant::from_micros(net.now + self.ahead)
    }

    pub(crate) const fn jump(&mut self, by: u64) {
        self.ahead += by;
    }

    /// Wakes the node when its own clock shows `at`, unless it is woken before.
    pub(crate) fn arm(&mut self, net: &mut Net, node: Node, at: Option<homing_core::Instant>) {
        let Some(at) = at else { return };
        let at = at.as_micros().saturating_sub(self.ahead).max(net.now);
        if self.armed.is_none_or(|armed| at < armed || armed < net.now) {
            self.armed = Some(at);
            net.at(at, Happening::Wake(node));
        }
    }

    /// The alarm rang.
    pub(crate) fn rung(&mut self, net: &Net) {
        if self.armed.is_some_and(|armed| armed <= net.now) {
            self.armed = None;
        }
    }
}
