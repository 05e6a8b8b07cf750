//! Streams that outlive what carries them: relays that are killed, stopped or started anew, and networks that go away.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod dark;
mod drain;
mod hole;
mod kills;
mod load;
mod network;
mod ssh;
mod stage;
#[path = "../support/mod.rs"]
mod support;
