//! Project Wycheproof's cases for X25519, XChaCha20-Poly1305 and ML-KEM-768. The numbers of cases
//! are spelt out, so that no set can shrink unseen.

use homing_core::crypto::{Identity, PublicKey, Secret, open_detached, seal_detached};
use ml_kem::kem::Decapsulate;
use ml_kem::{DecapsulationKey768, EncapsulationKey768, KeyExport};
use wycheproof::mlkem::TestName as KemSet;
use wycheproof::{TestResult, aead, mlkem, xdh};

#[test]
fn x25519_agrees_and_refuses_what_is_constant() {
    let (mut agreed, mut refused) = (0, 0);
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let me = Identity::from_secret(&Secret::new(test.private_key.as_slice().try_into().unwrap()));
        let peer = PublicKey::from_bytes(test.public_key.as_slice().try_into().unwrap());
        assert_ne!(test.result, TestResult::Invalid, "none is, in this set");
        if test.shared_secret.iter().all(|byte| *byte == 0) {
            assert!(me.agree(&peer).is_err(), "case {}", test.tc_id);
            refused += 1;
        } else {
            assert_eq!(&me.agree(&peer).unwrap().expose()[..], &test.shared_secret[..], "case {}", test.tc_id);
            agreed += 1;
        }
    }
    assert_eq!((agreed, refused), (487, 31));
}

#[test]
fn xchacha20_poly1305_seals_opens_and_refuses() {
    let (mut valid, mut forged, mut impossible) = (0, 0, 0);
    let set = aead::TestSet::load(aead::TestName::XChaCha20Poly1305).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let key = Secret::new(test.key.as_slice().try_into().unwrap());
        let Ok(nonce) = <[u8; 24]>::try_from(test.nonce.as_slice()) else {
            // Nonces of another length have no place in the type.
            assert!(test.result.must_fail());
            impossible += 1;
            continue;
        };
        let mut sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
        let opened = open_detached(&key, &nonce, &test.aad, &mut sealed);
        if test.result.must_fail() {
            assert!(opened.is_err(), "case {}", test.tc_id);
            forged += 1;
            continue;
        }
        assert!(opened.is_ok() && sealed.starts_with(&test.pt), "case {}", test.tc_id);
        let mut text = test.pt.to_vec();
        let tag = seal_detached(&key, &nonce, &test.aad, &mut text);
        assert_eq!((&text[..], &tag[..]), (&test.ct[..], &test.tag[..]), "case {}", test.tc_id);
        valid += 1;
    }
    assert_eq!((valid, forged, impossible), (246, 60, 9));
}

fn kem_tests(set: KemSet) -> Vec<mlkem::Test> {
    mlkem::TestSet::load(set).unwrap().test_groups.into_iter().flat_map(|group| group.tests).collect()
}

/// An encapsulation key from the wire, with both ways to be refused: length and content.
fn encapsulation_key(bytes: &[u8]) -> Option<EncapsulationKey768> {
    EncapsulationKey768::new(bytes.try_into().ok()?).ok()
}

#[test]
fn ml_kem_makes_keys_from_seeds() {
    let mut made = 0;
    for test in kem_tests(KemSet::MlKem768KeyGenSeed) {
        let seed: [u8; 64] = test.seed.unwrap().as_slice().try_into().unwrap();
        let key = DecapsulationKey768::from_seed(seed.into());
        assert_eq!(&key.encapsulation_key().to_bytes()[..], &test.encaps_key.unwrap()[..], "case {}", test.tc_id);
        made += 1;
    }
    assert_eq!(made, 100);
}

#[test]
fn ml_kem_encapsulates_and_refuses_keys() {
    let (mut valid, mut refused) = (0, 0);
    for test in kem_tests(KemSet::MlKem768Encaps) {
        let key = encapsulation_key(&test.encaps_key.unwrap());
        if test.result.must_fail() {
            assert!(key.is_none(), "case {}", test.tc_id);
            refused += 1;
            continue;
        }
        let coins: [u8; 32] = test.msg.unwrap().as_slice().try_into().unwrap();
        let (text, shared) = key.unwrap().encapsulate_deterministic(&coins.into());
        assert_eq!(&text[..], &test.ct.unwrap()[..], "case {}", test.tc_id);
        assert_eq!(&shared[..], &test.shared_secret.unwrap()[..], "case {}", test.tc_id);
        valid += 1;
    }
    assert_eq!((valid, refused), (133, 132));
}

#[test]
fn ml_kem_decapsulates() {
    let (mut valid, mut refused) = (0, 0);
    for test in kem_tests(KemSet::MlKem768) {
        let seed = <[u8; 64]>::try_from(test.seed.unwrap().as_slice());
        let text = <[u8; 1088]>::try_from(test.ct.unwrap().as_slice());
        let (Ok(seed), Ok(text)) = (seed, text) else {
            assert!(test.result.must_fail(), "case {}", test.tc_id);
            refused += 1;
            continue;
        };
        assert!(!test.result.must_fail(), "case {}", test.tc_id);
        let key = DecapsulationKey768::from_seed(seed.into());
        assert_eq!(&key.encapsulation_key().to_bytes()[..], &test.encaps_key.unwrap()[..], "case {}", test.tc_id);
        let shared = key.decapsulate(&text.into());
        assert_eq!(&shared[..], &test.shared_secret.unwrap()[..], "case {}", test.tc_id);
        valid += 1;
    }
    assert_eq!((valid, refused), (161, 40));
}
