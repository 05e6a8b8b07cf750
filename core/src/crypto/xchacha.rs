//! XChaCha20-Poly1305 as HChaCha20 plus the record AEAD (draft-irtf-cfrg-xchacha).

use chacha20::R20;

use super::aead::{Aead, Forged, Portable};
use super::key::Secret;
use crate::wire::TAG_LEN;

/// HChaCha20: the subkey for all nonces that start with `prefix`.
#[must_use]
pub fn hchacha(key: &Secret<32>, prefix: &[u8; 16]) -> Secret<32> {
    Secret::new(chacha20::hchacha::<R20>(key.expose().into(), prefix.into()).into())
}

/// Seals `text` in place under a 24-byte nonce and returns the tag. For single messages, as in a
/// key store; records keep the subkey.
#[must_use]
pub fn seal_detached(key: &Secret<32>, nonce: &[u8; 24], ad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
    let (aead, counter) = split(key, nonce);
    aead.seal(counter, ad, text)
}

/// Opens what [`seal_detached`] made: `sealed` is ciphertext and tag.
///
/// # Errors
/// [`Forged`].
pub fn open_detached(key: &Secret<32>, nonce: &[u8; 24], ad: &[u8], sealed: &mut [u8]) -> Result<(), Forged> {
    let (aead, counter) = split(key, nonce);
    aead.open(counter, ad, sealed)
}

fn split(key: &Secret<32>, nonce: &[u8; 24]) -> (Portable, u64) {
    let (prefix, counter) = nonce.split_first_chunk::<16>().map_or((&[0; 16], &[][..]), |parts| parts);
    let counter = counter.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes);
    (Portable::new(&hchacha(key, prefix)), counter)
}
