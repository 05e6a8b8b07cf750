//! The same bytes as other people's code: snow for the handshake, Project Wycheproof for the
//! primitives, two more AEADs for the records. What is computed here was computed elsewhere.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod known;
mod noise;
mod post_quantum;
mod records;
#[path = "../support/rng.rs"]
#[allow(unreachable_pub, reason = "shared with other tests")]
mod rng;
