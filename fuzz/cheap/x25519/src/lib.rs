//! Key agreement for fuzzing only. It commutes, as X25519 does, and hides nothing: a public key is
//! the secret times a constant, modulo a prime.

const PRIME: u64 = (1 << 61) - 1;
const BASE: u64 = 0x1234_5678_9abc_def1;

fn times(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

/// The number that 32 bytes stand for. Every byte counts.
fn number(bytes: &[u8; 32]) -> u64 {
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()) % PRIME);
    words.zip([1, 3, 5, 7]).fold(0, |sum, (word, weight)| (sum + times(word, weight)) % PRIME)
}

#[derive(Clone)]
pub struct StaticSecret([u8; 32]);

#[derive(Clone, Copy)]
pub struct PublicKey([u8; 32]);

pub struct SharedSecret(u64);

impl From<[u8; 32]> for StaticSecret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl StaticSecret {
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    pub fn diffie_hellman(&self, peer: &PublicKey) -> SharedSecret {
        SharedSecret(times(self.number(), number(&peer.0)))
    }

    /// Never zero.
    fn number(&self) -> u64 {
        number(&self.0).max(1)
    }
}

impl From<&StaticSecret> for PublicKey {
    fn from(secret: &StaticSecret) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&times(secret.number(), BASE).to_le_bytes());
        Self(bytes)
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PublicKey {
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl SharedSecret {
    pub fn was_contributory(&self) -> bool {
        self.0 != 0
    }

    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&self.0.to_le_bytes()));
        bytes
    }
}
