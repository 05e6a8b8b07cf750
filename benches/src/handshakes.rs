//! Whole handshakes, and the public-key operations that they consist of.

use core::hint::black_box;

use homing_core::handshake::Suite;
use homing_core::wire::Params;
use ml_kem::kem::Decapsulate;
use ml_kem::{DecapsulationKey768, EncapsulationKey768, KeyExport};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::clock::time;
use crate::ends::Ends;
use crate::records::Batch;

/// `es`, `ss`, `ee` and `se`, each at both sides.
const AGREEMENTS: usize = 8;
/// One ephemeral key at each side.
const GENERATIONS: usize = 2;

/// Handshakes, both sides together.
#[must_use]
pub fn shake(suite: Suite, pairs: bool) -> Batch {
    let mut ends = Ends::new(suite, pairs, Params::default());
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                black_box(ends.shake());
            }
        })
    })
}

/// The same public-key operations by the same crates and nothing else: what no code around them
/// can go below.
#[must_use]
pub fn operations(suite: Suite) -> Batch {
    let secret = StaticSecret::from([0xd1; 32]);
    let peer = PublicKey::from(&StaticSecret::from([0xa0; 32]));
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                for _ in 0..GENERATIONS {
                    black_box(PublicKey::from(black_box(&secret)));
                }
                for _ in 0..AGREEMENTS {
                    black_box(black_box(&secret).diffie_hellman(black_box(&peer)).was_contributory());
                }
                if suite == Suite::Hybrid {
                    encapsulate();
                }
            }
        })
    })
}

/// Key generation, encapsulation to the key's bytes and decapsulation.
fn encapsulate() {
    let key = DecapsulationKey768::from_seed(black_box([5; 64]).into());
    let bytes = key.encapsulation_key().to_bytes();
    let (text, _) = EncapsulationKey768::new(black_box(&bytes)).unwrap().encapsulate_deterministic(&[6; 32].into());
    black_box(key.decapsulate(black_box(&text)));
}
