//! The raw AEADs below a record, called as their crates' documentation does.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use homing_core::crypto::{Aead, Portable};
use homing_core::wire::{HEADER_LEN, TAG_LEN};
use homing_driver::Ring;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// An AEAD without a record around it: 12 bytes of associated data, in place.
pub trait Raw {
    /// With a fixed key.
    fn new() -> Self;
    /// Seals all of `buf` but the room for header and tag.
    fn seal(&self, counter: u64, buf: &mut [u8]);
    /// Opens what [`seal`](Self::seal) made.
    fn open(&self, counter: u64, buf: &mut [u8]);
}

/// A provider of ours and the crate below it.
pub trait Provider: Aead {
    /// The same AEAD, raw.
    type Raw: Raw;
    /// For tables.
    const NAME: &'static str;
}

impl Provider for Portable {
    type Raw = ChaCha20Poly1305;
    const NAME: &'static str = "portable";
}

impl Provider for Ring {
    type Raw = LessSafeKey;
    const NAME: &'static str = "ring";
}

impl Raw for ChaCha20Poly1305 {
    fn new() -> Self {
        KeyInit::new(&[7; 32].into())
    }

    fn seal(&self, counter: u64, buf: &mut [u8]) {
        let (ad, text, tag) = parts(buf);
        *tag = self.encrypt_inout_detached(&nonce(counter).into(), ad, text.into()).unwrap().into();
    }

    fn open(&self, counter: u64, buf: &mut [u8]) {
        let (ad, text, tag) = parts(buf);
        self.decrypt_inout_detached(&nonce(counter).into(), ad, text.into(), &(*tag).into()).unwrap();
    }
}

impl Raw for LessSafeKey {
    fn new() -> Self {
        Self::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).unwrap())
    }

    fn seal(&self, counter: u64, buf: &mut [u8]) {
        let (ad, text, tag) = parts(buf);
        let nonce = Nonce::assume_unique_for_key(nonce(counter));
        let sealed = self.seal_in_place_separate_tag(nonce, Aad::from(ad), text).unwrap();
        tag.copy_from_slice(sealed.as_ref());
    }

    fn open(&self, counter: u64, buf: &mut [u8]) {
        let (ad, sealed) = buf.split_first_chunk_mut::<HEADER_LEN>().unwrap();
        let nonce = Nonce::assume_unique_for_key(nonce(counter));
        self.open_in_place(nonce, Aad::from(&*ad), sealed).unwrap();
    }
}

fn parts(buf: &mut [u8]) -> (&[u8; HEADER_LEN], &mut [u8], &mut [u8; TAG_LEN]) {
    let (ad, rest) = buf.split_first_chunk_mut::<HEADER_LEN>().unwrap();
    let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().unwrap();
    (ad, text, tag)
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    bytes
}
