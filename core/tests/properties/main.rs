//! What must hold for any input: codecs, tampering, credit and tickets. More of it, shared with the fuzz targets, is in
//! `any_input`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backoff;
mod change;
mod codecs;
mod credit;
mod handshakes;
mod office;
mod records;
#[path = "../support/mod.rs"]
mod support;
mod tickets;

use proptest::prelude::ProptestConfig;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
