//! The relay's switch from outside: scripted meetings of hosts and devices.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod asking;
mod leaving;
mod meetings;
mod rng;
mod waking;
mod world;
