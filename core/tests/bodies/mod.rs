//! What must hold for any input of a layer, one body each: the fuzz targets run them for long, the
//! tests for a moment and over the seeds.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "tests; each crate uses a part")]

#[path = "../support/ends.rs"]
pub mod ends;
#[path = "../support/rng.rs"]
mod rng;

mod input;

pub mod channel;
pub mod datagrams;
pub mod handshake;
pub mod hop;
pub mod joined;
pub mod keystore;
pub mod mux;
pub mod relay;
pub mod session;
pub mod streams;
pub mod ticket;
pub mod wire;

pub use input::{Bytes, Steps};
pub use rng::Seeded;
