//! Noise's symmetric state (Noise rev 34, 5.2) with `XChaChaPoly` and BLAKE2s.

use super::aead::{Aead, Forged, Portable};
use super::hash::{Prk, hash, hmac};
use super::key::Secret;
use super::xchacha::hchacha;
use crate::wire::{NoSpace, TAG_LEN, Writer};

/// Everything said so far in a handshake, and the keys that follow from it.
pub(crate) struct Transcript {
    chaining: Secret<32>,
    h: [u8; 32],
    cipher: Cipher,
    nonce: u64,
}

/// The key that follows from the last input. Often another input comes before it is used: then it
/// is never computed.
enum Cipher {
    None,
    /// What comes before the number of the key's output block is the chaining key, or `mixed`.
    Due {
        prk: Prk,
        number: u8,
        mixed: Option<Secret<32>>,
    },
    Ready(Portable),
}

impl Transcript {
    /// Starts with the protocol's name, the prologue and the responder's static key, which IK
    /// presumes known.
    pub(crate) fn new(name: &str, prologue: &[u8], responder: &[u8; 32]) -> Self {
        let h = match name.len() {
            len @ ..=32 => {
                let mut h = [0; 32];
                if let Some(head) = h.get_mut(..len) {
                    head.copy_from_slice(name.as_bytes());
                }
                h
            }
            _ => hash(&[name.as_bytes()]),
        };
        let mut transcript = Self { chaining: Secret::new(h), h, cipher: Cipher::None, nonce: 0 };
        transcript.mix_hash(prologue);
        transcript.mix_hash(responder);
        transcript
    }

    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.h = hash(&[&self.h, data]);
    }

    pub(crate) fn mix_key(&mut self, ikm: &[u8]) {
        let prk = Prk::new(&hmac(self.chaining.expose(), &[ikm]));
        self.chaining = prk.block(&[], 1);
        self.set_key(Cipher::Due { prk, number: 2, mixed: None });
    }

    pub(crate) fn mix_key_and_hash(&mut self, psk: &Secret<32>) {
        let prk = Prk::new(&hmac(self.chaining.expose(), &[psk.expose()]));
        self.chaining = prk.block(&[], 1);
        let mixed = prk.block(&[self.chaining.expose()], 2);
        self.mix_hash(mixed.expose());
        self.set_key(Cipher::Due { prk, number: 3, mixed: Some(mixed) });
    }

    /// `e` of a PSK handshake: into the hash and into the key (Noise 9.2).
    pub(crate) fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        self.mix_hash(public);
        self.mix_key(public);
    }

    /// Writes `text`, sealed.
    pub(crate) fn seal(&mut self, text: &[u8], w: &mut Writer<'_>) -> Result<(), NoSpace> {
        let start = w.spare().get_mut(..text.len().saturating_add(TAG_LEN)).ok_or(NoSpace)?;
        let (body, tag) = start.split_last_chunk_mut::<TAG_LEN>().ok_or(NoSpace)?;
        body.copy_from_slice(text);
        let (h, nonce) = (self.h, self.nonce);
        if let Some(cipher) = self.cipher() {
            *tag = cipher.seal(nonce, &h, body);
        }
        self.nonce = self.nonce.saturating_add(1);
        let h = hash(&[&self.h, start]);
        self.h = h;
        w.advance(text.len().saturating_add(TAG_LEN))
    }

    /// Opens `sealed` in place and returns the text.
    pub(crate) fn open<'m>(&mut self, sealed: &'m mut [u8]) -> Result<&'m mut [u8], Forged> {
        let h = hash(&[&self.h, sealed]);
        let (before, nonce) = (self.h, self.nonce);
        self.cipher().ok_or(Forged)?.open(nonce, &before, sealed)?;
        self.nonce = self.nonce.saturating_add(1);
        self.h = h;
        let (text, _tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(Forged)?;
        Ok(text)
    }

    /// The final hash and the two transport keys, initiator's first.
    pub(crate) fn split(self) -> ([u8; 32], [Secret<32>; 2]) {
        let prk = Prk::new(&hmac(self.chaining.expose(), &[]));
        let first = prk.block(&[], 1);
        let second = prk.block(&[first.expose()], 2);
        (self.h, [first, second])
    }

    fn set_key(&mut self, cipher: Cipher) {
        self.cipher = cipher;
        self.nonce = 0;
    }

    /// A handshake key's nonces all start with zeros, so its subkey is computed once too.
    fn cipher(&mut self) -> Option<&Portable> {
        if let Cipher::Due { prk, number, mixed } = &self.cipher {
            let before = mixed.as_ref().unwrap_or(&self.chaining);
            let key = prk.block(&[before.expose()], *number);
            self.cipher = Cipher::Ready(Portable::new(&hchacha(&key, &[0; 16])));
        }
        match &self.cipher {
            Cipher::Ready(cipher) => Some(cipher),
            _ => None,
        }
    }
}
