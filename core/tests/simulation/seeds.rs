//! Which worlds run, on all cores, and what became of them together.

use core::fmt;
use core::ops::Range;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU64, Ordering};
use std::panic::catch_unwind;
use std::time::Instant;

use crate::world::{Summary, World};

/// What many worlds saw.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    worlds: u64,
    events: u64,
    faults: u64,
    handshakes: u64,
    pub(crate) resumed: u64,
    streams: u64,
    pub(crate) whole: u64,
    lost: u64,
    longest: u64,
    held: usize,
    seconds: f64,
}

/// The seeds of the environment: `SEED=n`, `SEEDS=from..to`, or a number that fits the build.
pub(crate) fn asked() -> Range<u64> {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        return seed..seed + 1;
    }
    if let Ok(seeds) = std::env::var("SEEDS") {
        let (from, to) = seeds.split_once("..").expect("SEEDS is from..to");
        return from.parse().expect("a number")..to.parse().expect("a number");
    }
    0..if cfg!(debug_assertions) { 300 } else { 10_000 }
}

/// Runs worlds until all are done or one has failed, and says how to see that one again.
pub(crate) fn run(seeds: Range<u64>) -> Figures {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let parts: Vec<Figures> = std::thread::scope(|scope| {
        let work = || {
            let mut figures = Figures::default();
            while failed.load(Ordering::Relaxed) == u64::MAX {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    break;
                }
                match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
                    Ok(summary) => figures.add(&summary),
                    Err(_) => _ = failed.fetch_min(seed, Ordering::Relaxed),
                }
                let done = seed - seeds.start;
                if done > 0 && done.is_multiple_of(10_000) {
                    println!("{done} worlds, {:.0} s", begun.elapsed().as_secs_f64());
                }
            }
            figures
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let failed = failed.into_inner();
    assert!(
        failed == u64::MAX,
        "seed {failed} failed; again: SEED={failed} TRACE=1 cargo test --release -p homing-core --test simulation worlds_hold"
    );
    let mut figures = Figures::default();
    parts.iter().for_each(|part| figures.join(part));
    figures.seconds = begun.elapsed().as_secs_f64();
    figures
}

impl Figures {
    fn add(&mut self, one: &Summary) {
        self.worlds += 1;
        self.events += one.events;
        self.faults += one.faults;
        self.handshakes += one.handshakes;
        self.resumed += one.resumed;
        self.streams += one.streams;
        self.whole += one.whole;
        self.lost += one.lost;
        self.longest = self.longest.max(one.settled);
        self.held = self.held.max(one.held);
    }

    fn join(&mut self, part: &Self) {
        self.worlds += part.worlds;
        self.events += part.events;
        self.faults += part.faults;
        self.handshakes += part.handshakes;
        self.resumed += part.resumed;
        self.streams += part.streams;
        self.whole += part.whole;
        self.lost += part.lost;
        self.longest = self.longest.max(part.longest);
        self.held = self.held.max(part.held);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} worlds in {:.1} s: {} events, {} faults", self.worlds, self.seconds, self.events, self.faults)?;
        writeln!(f, "{} handshakes, {} sessions resumed", self.handshakes, self.resumed)?;
        writeln!(f, "{} streams, {} whole, {} lost in crashes", self.streams, self.whole, self.lost)?;
        let (settled, held) = (self.longest / 1_000_000, self.held / 1024);
        write!(f, "at most {settled} s from the last fault to the last end, {held} KiB held by a relay")
    }
}
