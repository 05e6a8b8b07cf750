//! `HChaCha20` once and ChaCha20-Poly1305 per record is XChaCha20-Poly1305: shown against
//! `chacha20poly1305`, which shares parts with ours, and `orion`, which shares none.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use homing_core::crypto::{Aead, Portable, Secret, hchacha, seal_detached};
use orion::hazardous::aead::xchacha20poly1305 as other;
use rand_core::Rng;

use crate::rng::Seeded;

const COUNTERS: [u64; 5] = [0, 1, u32::MAX as u64, 1 << 32, u64::MAX - 1];

/// Every length up to 300, then steps that meet each residue of the block length, up to a full record.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=300).chain((301..16_384).step_by(317)).chain([16_383, 16_384])
}

#[test]
fn records_are_xchacha20_poly1305() {
    let mut rng = Seeded::new(1);
    let mut cases = 0;
    for (i, len) in lengths().enumerate() {
        let key = Secret::<32>::random(&mut rng);
        let prefix = *Secret::<16>::random(&mut rng).expose();
        let random = rng.next_u64();
        let mut ad = vec![0; (rng.next_u32() % 80) as usize];
        rng.fill_bytes(&mut ad);
        let mut plain = vec![0; len];
        rng.fill_bytes(&mut plain);
        for counter in [COUNTERS[i % COUNTERS.len()], random] {
            let mut nonce = [0; 24];
            nonce[..16].copy_from_slice(&prefix);
            nonce[16..].copy_from_slice(&counter.to_le_bytes());

            let ours = Portable::new(&hchacha(&key, &prefix));
            let mut text = plain.clone();
            let tag = ours.seal(counter, &ad, &mut text);
            let sealed = [&text[..], &tag].concat();

            let mut theirs = plain.clone();
            let whole = XChaCha20Poly1305::new(key.expose().into());
            let their_tag = whole.encrypt_inout_detached(&nonce.into(), &ad, theirs.as_mut_slice().into()).unwrap();
            assert_eq!([&theirs[..], &their_tag[..]].concat(), sealed, "{len} bytes, counter {counter}");

            let other_key = other::SecretKey::try_from(key.expose()).unwrap();
            let other_nonce = other::Nonce::try_from(&nonce).unwrap();
            let mut theirs = vec![0; len + 16];
            other::XChaCha20Poly1305::seal(&other_key, &other_nonce, &plain, Some(&ad), &mut theirs).unwrap();
            assert_eq!(theirs, sealed, "{len} bytes, counter {counter}");

            let mut text = plain.clone();
            assert_eq!(seal_detached(&key, &nonce, &ad, &mut text), tag);
            assert_eq!(text, sealed[..len]);

            let mut opened = theirs;
            ours.open(counter, &ad, &mut opened).unwrap();
            assert_eq!(opened[..len], plain);
            let mut forged = sealed;
            let at = rng.next_u64() as usize % forged.len();
            forged[at] ^= 1 << (random % 8);
            assert!(ours.open(counter, &ad, &mut forged).is_err(), "byte {at} of {len}");
            cases += 1;
        }
    }
    assert_eq!(cases, 2 * lengths().count());
    assert!(cases > 700);
}
