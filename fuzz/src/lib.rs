//! What the targets share with the tests: two ends of a handshake, and randomness that is the
//! same each time.

#[path = "../../core/tests/support/ends.rs"]
pub mod ends;
#[path = "../../core/tests/support/rng.rs"]
mod rng;

pub use rng::Seeded;
