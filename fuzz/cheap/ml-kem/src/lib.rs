//! Key encapsulation for fuzzing only, with the lengths of ML-KEM-768: both sides come to the same
//! secret, and nothing is hidden.

use kem::Decapsulate;

const KEY: usize = 1184;
const TEXT: usize = 1088;

pub struct DecapsulationKey768([u8; KEY]);

pub struct EncapsulationKey768([u8; KEY]);

pub struct InvalidKey;

pub trait KeyExport {
    fn to_bytes(&self) -> [u8; KEY];
}

pub mod kem {
    pub trait Decapsulate {
        fn decapsulate(&self, text: &[u8; super::TEXT]) -> [u8; 32];
    }
}

fn shared(key: &[u8; KEY], text: &[u8; TEXT]) -> [u8; 32] {
    core::array::from_fn(|at| key[at] ^ text[at])
}

impl DecapsulationKey768 {
    pub fn from_seed(seed: [u8; 64]) -> Self {
        Self(core::array::from_fn(|at| seed[at % 64]))
    }

    pub fn encapsulation_key(&self) -> EncapsulationKey768 {
        EncapsulationKey768(self.0)
    }
}

impl Decapsulate for DecapsulationKey768 {
    fn decapsulate(&self, text: &[u8; TEXT]) -> [u8; 32] {
        shared(&self.0, text)
    }
}

impl EncapsulationKey768 {
    /// # Errors
    /// Where the last byte is 255: a key that is refused.
    pub fn new(bytes: &[u8; KEY]) -> Result<Self, InvalidKey> {
        if bytes[KEY - 1] == 255 { Err(InvalidKey) } else { Ok(Self(*bytes)) }
    }

    pub fn encapsulate_deterministic(&self, coins: &[u8; 32]) -> ([u8; TEXT], [u8; 32]) {
        let text = core::array::from_fn(|at| coins[at % 32]);
        (text, shared(&self.0, &text))
    }
}

impl KeyExport for EncapsulationKey768 {
    fn to_bytes(&self) -> [u8; KEY] {
        self.0
    }
}
