//! The record AEAD: ChaCha20-Poly1305 under a subkey, one small trait so that a caller can bring
//! a faster implementation.

use core::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

use super::key::Secret;
use crate::wire::TAG_LEN;

/// The bytes were not sealed with this key, nonce and associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("forged")
    }
}

impl core::error::Error for Forged {}

/// ChaCha20-Poly1305 (RFC 8439) with the nonce `0^4 || counter`.
///
/// With a subkey from [`hchacha`](super::hchacha) this is, bit for bit, XChaCha20-Poly1305 under
/// the 24-byte nonce `prefix || counter`.
pub trait Aead: Sized {
    /// Takes the 32-byte subkey.
    fn new(subkey: &Secret<32>) -> Self;

    /// Encrypts `text` in place and returns the tag.
    fn seal(&self, counter: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN];

    /// Checks and decrypts ciphertext and tag in place; the text is what precedes the last
    /// [`TAG_LEN`] bytes.
    ///
    /// # Errors
    /// [`Forged`]; the contents of `sealed` are then of no use.
    fn open(&self, counter: u64, ad: &[u8], sealed: &mut [u8]) -> Result<(), Forged>;
}

/// The AEAD in portable Rust, for every target.
pub struct Portable(ChaCha20Poly1305);

impl fmt::Debug for Portable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Portable(..)")
    }
}

impl Aead for Portable {
    fn new(subkey: &Secret<32>) -> Self {
        Self(ChaCha20Poly1305::new(subkey.expose().into()))
    }

    fn seal(&self, counter: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        // Fails only for texts of 256 GiB and more, which no slice of ours is.
        self.0.encrypt_inout_detached(&nonce(counter).into(), ad, text.into()).map_or([0; TAG_LEN], Into::into)
    }

    fn open(&self, counter: u64, ad: &[u8], sealed: &mut [u8]) -> Result<(), Forged> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(Forged)?;
        let tag = *tag;
        self.0.decrypt_inout_detached(&nonce(counter).into(), ad, text.into(), &tag.into()).map_err(|_| Forged)
    }
}

const fn nonce(counter: u64) -> [u8; 12] {
    let c = counter.to_le_bytes();
    [0, 0, 0, 0, c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]
}
