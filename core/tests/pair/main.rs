//! Two channels joined under a virtual clock: everything a session does, and everything that must end it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod endings;
mod guest;
mod joined;
mod malice;
mod opening;
mod records;
mod side;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod turns;

use core::time::Duration;

use homing_core::wire::{PairAccept, Params};
use rand_core::Rng;
use support::Seeded;
use support::ends::TOKEN;

const ACCEPT: PairAccept<'_> =
    PairAccept { device_id: &[1; 8], token: &TOKEN, route_id: &[0x40; 16], capability: &[0xca; 45], host_name: "nas" };

fn small() -> [Params; 2] {
    [Params { max_streams: 8, ..Params::default() }; 2]
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Seeded::new(seed).fill_bytes(&mut bytes);
    bytes
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
