//! What snow does not bring along: ML-KEM-768 for its `hfs`, and randomness that repeats.

use ml_kem::kem::Decapsulate;
use ml_kem::{DecapsulationKey768, EncapsulationKey768, KeyExport};
use rand_core::Rng;
use snow::params::{CipherChoice, DHChoice, HashChoice, KemChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Kem, Random};

use crate::rng::Seeded;

/// snow's own primitives, except for the KEM and the random numbers.
pub(crate) struct Resolver(pub(crate) u64);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Numbers(Seeded::new(self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }

    fn resolve_kem(&self, _: &KemChoice) -> Option<Box<dyn Kem>> {
        let mut coins = [0; 32];
        Seeded::new(!self.0).fill_bytes(&mut coins);
        Some(Box::new(MlKem768 { coins, key: None, public: Vec::new() }))
    }
}

struct Numbers(Seeded);

impl Random for Numbers {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

struct MlKem768 {
    coins: [u8; 32],
    key: Option<DecapsulationKey768>,
    public: Vec<u8>,
}

impl Kem for MlKem768 {
    fn name(&self) -> &'static str {
        "MLKEM768"
    }

    fn pub_len(&self) -> usize {
        1184
    }

    fn ciphertext_len(&self) -> usize {
        1088
    }

    fn shared_secret_len(&self) -> usize {
        32
    }

    fn generate(&mut self, rng: &mut dyn Random) {
        let mut seed = [0; 64];
        rng.try_fill_bytes(&mut seed).unwrap();
        let key = DecapsulationKey768::from_seed(seed.into());
        self.public = key.encapsulation_key().to_bytes().to_vec();
        self.key = Some(key);
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn encapsulate(&self, public: &[u8], shared: &mut [u8], text: &mut [u8]) -> Result<(usize, usize), snow::Error> {
        let key = public.try_into().ok().and_then(|bytes| EncapsulationKey768::new(bytes).ok());
        let (sent, secret) = key.ok_or(snow::Error::Kem)?.encapsulate_deterministic(&self.coins.into());
        shared.copy_from_slice(&secret);
        text.copy_from_slice(&sent);
        Ok((secret.len(), sent.len()))
    }

    fn decapsulate(&self, text: &[u8], shared: &mut [u8]) -> Result<usize, snow::Error> {
        let text = <&[u8; 1088]>::try_from(text).map_err(|_| snow::Error::Kem)?;
        shared.copy_from_slice(&self.key.as_ref().ok_or(snow::Error::Kem)?.decapsulate(text.into()));
        Ok(32)
    }
}
