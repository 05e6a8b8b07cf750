//! What several test files need: vectors from disk, scripted randomness.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "tests; each file uses a part")]

pub mod ends;
mod rng;

pub use rng::Seeded;

use core::convert::Infallible;
use std::path::Path;

use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

/// A file of `testvectors/`.
pub fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testvectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A hex string's bytes.
pub fn hex(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

/// A hex text's bytes.
pub fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// A hex string of exactly `N` bytes.
pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

/// "Randomness" that was written down beforehand; panics when it runs out.
pub struct Script(Vec<u8>);

impl Script {
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a Value>) -> Self {
        Self(parts.into_iter().filter(|p| !p.is_null()).flat_map(hex).collect())
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0[..out.len()]);
        self.0.drain(..out.len());
        Ok(())
    }
}

impl TryCryptoRng for Script {}
