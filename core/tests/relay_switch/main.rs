//! The relay's switch from outside: scripted meetings of hosts and devices, and random events
//! against a model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod meetings;
mod model;
mod rng;
mod world;
