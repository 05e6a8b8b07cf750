//! How many handshakes a host takes (protocol 6.4).

use core::time::Duration;

use homing_core::Instant;
use homing_core::handshake::{Failure, Turnstile};

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

#[test]
fn twenty_may_come_at_once_and_ten_in_a_second_after_that() {
    let mut turnstile = Turnstile::new(at(0));
    for _ in 0..20 {
        assert_eq!(turnstile.pass(at(0), 0), Ok(()));
    }
    assert_eq!(turnstile.pass(at(0), 0), Err(Failure::Busy));
    assert_eq!(turnstile.pass(at(99), 0), Err(Failure::Busy));
    assert_eq!(turnstile.pass(at(100), 0), Ok(()));
    assert_eq!(turnstile.pass(at(100), 0), Err(Failure::Busy));
    let passed = (0..1000).filter(|millis| turnstile.pass(at(101 + millis), 0).is_ok()).count();
    assert!((9..=10).contains(&passed), "{passed} in a second");
}

#[test]
fn a_pause_earns_twenty_and_no_more() {
    let mut turnstile = Turnstile::new(at(0));
    while turnstile.pass(at(0), 0).is_ok() {}
    let later = at(0) + Duration::from_secs(3600);
    assert_eq!((0..100).filter(|_| turnstile.pass(later, 0).is_ok()).count(), 20);
}

#[test]
fn sixteen_that_have_not_confirmed_keep_others_out() {
    let mut turnstile = Turnstile::new(at(0));
    assert_eq!(turnstile.pass(at(0), 16), Err(Failure::Busy));
    assert_eq!(turnstile.pass(at(0), 15), Ok(()));
    // Whoever was kept out has cost nothing.
    assert_eq!((0..100).filter(|_| turnstile.pass(at(0), 0).is_ok()).count(), 19);
}

#[test]
fn a_channel_is_new_once_while_it_is_remembered() {
    let mut turnstile = Turnstile::new(at(0));
    let channel = |n: u16| {
        let mut id = [0xc1; 16];
        id[..2].copy_from_slice(&n.to_le_bytes());
        id
    };
    for n in 0..256 {
        assert!(turnstile.is_new(&channel(n)));
    }
    for n in 0..256 {
        assert!(!turnstile.is_new(&channel(n)), "{n}");
    }
    assert!(turnstile.is_new(&channel(256)));
    assert!(turnstile.is_new(&channel(0)), "the oldest makes room");
    assert!(!turnstile.is_new(&channel(2)));
    // A direct transport has no ids.
    assert!(turnstile.is_new(&[0; 16]) && turnstile.is_new(&[0; 16]));
}
