//! The faster AEAD: ring's ChaCha20-Poly1305, two to eight times the speed of portable Rust.

use core::fmt;

use homing_core::crypto::{Aead, Forged, Secret};
use homing_core::wire::TAG_LEN;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// ChaCha20-Poly1305 by ring. "Less safe" is ring's word for nonces that the caller chooses; ours
/// are the record counters, which never repeat under a key.
pub struct Ring(Option<LessSafeKey>);

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring(..)")
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // ring does not wipe its keys, but another one in the same place does.
        self.0 = UnboundKey::new(&CHACHA20_POLY1305, &[0; 32]).ok().map(LessSafeKey::new);
        core::hint::black_box(&self.0);
    }
}

impl Aead for Ring {
    fn new(subkey: &Secret<32>) -> Self {
        // Fails only for keys of another length.
        Self(UnboundKey::new(&CHACHA20_POLY1305, subkey.expose()).ok().map(LessSafeKey::new))
    }

    fn seal(&self, counter: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let mut out = [0; TAG_LEN];
        let sealed =
            self.0.as_ref().and_then(|key| key.seal_in_place_separate_tag(nonce(counter), Aad::from(ad), text).ok());
        match sealed {
            Some(tag) => out.copy_from_slice(tag.as_ref()),
            None => text.fill(0), // never plaintext on the wire, whatever happened
        }
        out
    }

    fn open(&self, counter: u64, ad: &[u8], sealed: &mut [u8]) -> Result<(), Forged> {
        let key = self.0.as_ref().ok_or(Forged)?;
        key.open_in_place(nonce(counter), Aad::from(ad), sealed).map_err(|_| Forged)?;
        Ok(())
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use homing_core::crypto::Portable;

    use super::*;

    /// Which of the two a peer runs must not show: same bytes, same refusals.
    #[test]
    fn ring_and_portable_are_one_cipher() {
        let mut cases = 0_u64;
        for len in (0..=300).chain((301..16_384).step_by(509)).chain([16_383, 16_384]) {
            let mut random = vec![0; 32 + 40 + len];
            getrandom::fill(&mut random).unwrap();
            let (key, rest) = random.split_first_chunk::<32>().unwrap();
            let (ad, plain) = rest.split_at(40);
            let ad = &ad[..len % 41];
            let (ring, portable) = (Ring::new(&Secret::new(*key)), Portable::new(&Secret::new(*key)));
            for counter in [0, u64::from(u32::MAX), u64::MAX - 1, cases << 32 | cases] {
                let mut ours = plain.to_vec();
                let tag = ring.seal(counter, ad, &mut ours);
                ours.extend(tag);
                let mut theirs = plain.to_vec();
                let tag = portable.seal(counter, ad, &mut theirs);
                theirs.extend(tag);
                assert_eq!(ours, theirs, "{len} bytes, counter {counter}");

                let mut forged = ours.clone();
                let at = (cases as usize * 31) % forged.len();
                forged[at] ^= 1;
                assert_eq!(ring.open(counter, ad, &mut forged.clone()), Err(Forged), "byte {at} of {len}");
                assert_eq!(portable.open(counter, ad, &mut forged), Err(Forged), "byte {at} of {len}");
                assert_eq!(ring.open(counter ^ 1, ad, &mut ours.clone()), Err(Forged));
                assert_eq!(ring.open(counter, b"other", &mut ours.clone()), Err(Forged));

                ring.open(counter, ad, &mut theirs).unwrap();
                portable.open(counter, ad, &mut ours).unwrap();
                assert!(ours.starts_with(plain) && theirs.starts_with(plain));
                cases += 1;
            }
        }
        assert!(cases > 1300, "{cases}");
        for short in 0..TAG_LEN {
            assert_eq!(Ring::new(&Secret::new([7; 32])).open(0, b"", &mut vec![0; short]), Err(Forged));
        }
    }
}
