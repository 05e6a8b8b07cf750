//! Services as devices meet them: real processes, real sockets, real servers.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod bodies;
mod breaks;
mod door;
mod fairness;
mod feeds;
mod http;
mod proxy;
mod raw;
mod silence;
mod ssh;
#[path = "../support/mod.rs"]
mod support;
