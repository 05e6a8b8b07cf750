//! Several relays that serve as one: hosts and devices come to any of them and meet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod access;
mod balancer;
mod fixed;
mod nats;
mod on_demand;
mod server;
mod stage;
#[path = "../support/mod.rs"]
mod support;
