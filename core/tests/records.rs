//! Where one epoch of records ends, how long they may be, and what `Debug` shows of keys.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, token_hash};
use homing_core::crypto::{Aead, Forged, Identity, Portable, Secret};
use homing_core::handshake::Suite;
use homing_core::session::{EPOCH_RECORDS, EPOCH_TIME, Role, SealError, Session};
use homing_core::wire::{Auth, MAX_PLAINTEXT, MAX_RECORD, Params};
use support::ends::{Ends, TOKEN, keys};

/// Nothing is sealed: for tests that count.
struct Nothing;

impl Aead for Nothing {
    fn new(_: &Secret<32>) -> Self {
        Self
    }

    fn seal(&self, _: u64, _: &[u8], _: &mut [u8]) -> [u8; 16] {
        [0; 16]
    }

    fn open(&self, _: u64, _: &[u8], _: &mut [u8]) -> Result<(), Forged> {
        Ok(())
    }
}

#[test]
fn a_record_carries_16_384_bytes_at_most() {
    let [device, _] = keys([Params::default(); 2]);
    let mut session: Session = Session::new(Role::Device, &device, Instant::ZERO);
    let mut buf = [0; MAX_RECORD + 10];
    assert_eq!(session.seal(Instant::ZERO, &mut buf, MAX_PLAINTEXT), Ok(MAX_RECORD));
    assert_eq!(session.seal(Instant::ZERO, &mut buf, MAX_PLAINTEXT + 1), Err(SealError::Length));
    assert_eq!(session.seal(Instant::ZERO, &mut buf[..MAX_RECORD - 1], MAX_PLAINTEXT), Err(SealError::Length));
}

#[test]
fn an_epoch_ends_with_its_records_or_its_time() {
    let [device, _] = keys([Params::default(); 2]);
    let mut session = Session::<Nothing>::new(Role::Device, &device, Instant::ZERO);
    let mut buf = [0; 64];
    for _ in 0..EPOCH_RECORDS {
        session.seal(Instant::ZERO, &mut buf, 0).unwrap();
    }
    assert_eq!((session.next_sealed().epoch, session.next_sealed().counter), (0, EPOCH_RECORDS));
    session.seal(Instant::ZERO, &mut buf, 0).unwrap();
    assert_eq!((session.next_sealed().epoch, session.next_sealed().counter), (1, 1));
    let last = Instant::ZERO + EPOCH_TIME;
    session.seal(Instant::from_micros(last.as_micros() - 1), &mut buf, 0).unwrap();
    assert_eq!((session.next_sealed().epoch, session.next_sealed().counter), (1, 2));
    session.seal(last, &mut buf, 0).unwrap();
    assert_eq!((session.next_sealed().epoch, session.next_sealed().counter), (2, 1));
    session.seal(last + (EPOCH_TIME - Duration::from_micros(1)), &mut buf, 0).unwrap();
    assert_eq!(session.next_sealed().epoch, 2, "time counts from the beginning of the epoch");
}

#[test]
fn what_debug_shows_of_keys_is_nothing() {
    let (secret, identity) = (Secret::new([0xab; 32]), Identity::from_secret(&Secret::new([0xab; 32])));
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    assert!(format!("{identity:?}").starts_with("Identity(") && !format!("{identity:?}").contains("171"));
    assert_eq!(format!("{:?}", Portable::new(&secret)), "Portable(..)");
    let auth = Auth { token: &TOKEN, resume: Some((&[0xab; 16], &[0xcd; 16])) };
    assert_eq!(format!("{auth:?}"), "Auth { resume: true, .. }");
    let ends = Ends::new(Suite::Classic, false);
    assert_eq!(format!("{:?}", ends.hello().1), "AwaitReply { suite: Classic, mode: Connect, .. }");
    let [device, host] = ends.shake();
    assert!(format!("{device:?}").starts_with("Keys { peer: Params"));
    let mut session: Session = Session::new(Role::Device, &device, Instant::ZERO);
    session.seal(Instant::ZERO, &mut [0; 64], 0).unwrap();
    assert_eq!(
        format!("{session:?}"),
        "Session { sealing: Header { epoch: 0, counter: 1 }, opening: Ordered(Header { epoch: 0, counter: 0 }), .. }"
    );
    let datagrams = Session::<Portable, _>::datagrams(Role::Device, &device, Instant::ZERO);
    assert_eq!(
        format!("{datagrams:?}"),
        "Session { sealing: Header { epoch: 0, counter: 0 }, opening: Datagrams { epoch: 0, previous_until: None, \
         forged: 0 }, .. }"
    );
    let config = Config::default();
    let device = Channel::<4>::connect(&device, &TOKEN, &config, Instant::ZERO);
    assert_eq!(format!("{device:?}"), "Channel { phase: Greeting, streams: 0, .. }");
    let host = Channel::<4>::admit(&host, token_hash(&TOKEN), &config, Instant::ZERO);
    assert_eq!(format!("{host:?}"), "Channel { phase: AwaitAuth, streams: 0, .. }");
}
