//! Noise's symmetric state (Noise rev 34, 5.2) with `XChaChaPoly` and BLAKE2s.

use super::aead::{Aead, Forged, Portable};
use super::hash::{Hmac, hash};
use super::key::Secret;
use super::xchacha::hchacha;
use crate::wire::{NoSpace, TAG_LEN, Writer};

/// Everything said so far in a handshake, and the keys that follow from it.
pub(crate) struct Transcript {
    chaining: Secret<32>,
    h: [u8; 32],
    cipher: Option<Portable>,
    nonce: u64,
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
        let mut transcript = Self { chaining: Secret::new(h), h, cipher: None, nonce: 0 };
        transcript.mix_hash(prologue);
        transcript.mix_hash(responder);
        transcript
    }

    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.h = hash(&[&self.h, data]);
    }

    pub(crate) fn mix_key(&mut self, ikm: &[u8]) {
        let [chaining, key] = self.hkdf(ikm);
        self.chaining = chaining;
        self.set_key(&key);
    }

    pub(crate) fn mix_key_and_hash(&mut self, psk: &Secret<32>) {
        let temp = Hmac::new(self.chaining.expose()).mac(&[psk.expose()]);
        let hmac = Hmac::new(temp.expose());
        let chaining = hmac.mac(&[&[1]]);
        let mixed = hmac.mac(&[chaining.expose(), &[2]]);
        let key = hmac.mac(&[mixed.expose(), &[3]]);
        self.chaining = chaining;
        self.mix_hash(mixed.expose());
        self.set_key(&key);
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
        if let Some(cipher) = &self.cipher {
            *tag = cipher.seal(self.nonce, &self.h, body);
        }
        self.nonce = self.nonce.saturating_add(1);
        let h = hash(&[&self.h, start]);
        self.h = h;
        w.advance(text.len().saturating_add(TAG_LEN))
    }

    /// Opens `sealed` in place and returns the text.
    pub(crate) fn open<'m>(&mut self, sealed: &'m mut [u8]) -> Result<&'m mut [u8], Forged> {
        let h = hash(&[&self.h, sealed]);
        self.cipher.as_ref().ok_or(Forged)?.open(self.nonce, &self.h, sealed)?;
        self.nonce = self.nonce.saturating_add(1);
        self.h = h;
        let (text, _tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(Forged)?;
        Ok(text)
    }

    /// The final hash and the two transport keys, initiator's first.
    pub(crate) fn split(self) -> ([u8; 32], [Secret<32>; 2]) {
        (self.h, self.hkdf(&[]))
    }

    fn hkdf(&self, ikm: &[u8]) -> [Secret<32>; 2] {
        let temp = Hmac::new(self.chaining.expose()).mac(&[ikm]);
        let hmac = Hmac::new(temp.expose());
        let first = hmac.mac(&[&[1]]);
        let second = hmac.mac(&[first.expose(), &[2]]);
        [first, second]
    }

    /// A handshake key's nonces all start with zeros, so its subkey is computed once too.
    fn set_key(&mut self, key: &Secret<32>) {
        self.cipher = Some(Portable::new(&hchacha(key, &[0; 16])));
        self.nonce = 0;
    }
}
