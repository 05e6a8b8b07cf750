//! The whole core in a box: relays, hosts and devices under one clock, one queue of events and one
//! seed, while links break, stall and reorder, processes die, clocks jump and the relay cheats.
//!
//! Checked at every step: each byte of each stream is the one that was sent, at its place, once;
//! streams are lost only with a process that held them; no memory beyond its budget, at the relay
//! and at both ends; no stream waits while others have more than a turn each; nobody blames an
//! honest peer. And after the last fault everything ends, in bounded time, and leaves nothing.
//!
//! `cargo test --release -p homing-core --test simulation` runs 10,000 seeds (a debug build: 300).
//! `SEEDS=from..to` runs others, `SEED=n` one, and `TRACE=1` prints what happens in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod call;
mod cipher;
mod device;
mod dice;
mod door;
mod faults;
mod host;
mod net;
mod people;
mod plan;
mod relay;
#[path = "../support/rng.rs"]
#[allow(unreachable_pub, reason = "shared with other tests")]
mod rng;
mod seeds;
mod session;
mod stream;
mod trace;
mod wire;
mod world;

use world::World;

#[test]
fn worlds_hold() {
    let seeds = seeds::asked();
    let figures = seeds::run(seeds.clone());
    println!("{figures}");
    if seeds.end - seeds.start >= 100 {
        assert!(figures.resumed > 0 && figures.whole > 0, "nothing was tried");
    }
}

#[test]
fn a_seed_is_a_world() {
    for seed in [1, 7, 1_000_000_007] {
        let [one, other] = [World::new(seed).run(), World::new(seed).run()];
        assert_eq!((one.hash, one.events), (other.hash, other.events), "seed {seed}");
    }
}
