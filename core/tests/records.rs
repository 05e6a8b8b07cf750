//! Where one epoch of records ends, how long they may be, and what `Debug` shows of keys.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, token_hash};
use homing_core::crypto::{Aead, Forged, Identity, Portable, Secret};
use homing_core::handshake::Suite;
use homing_core::session::{Discard, EPOCH_BYTES, EPOCH_RECORDS, EPOCH_TIME, Role, SealError, Session};
use homing_core::wire::{Auth, HEADER_LEN, Header, MAX_PLAINTEXT, MAX_RECORD, Params, TAG_LEN};
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

/// Seals records of `len` bytes of plaintext until the first one of another epoch: how many there are of this one.
fn fill<A: Aead>(session: &mut Session<A>, now: Instant, len: usize) -> u64 {
    let mut buf = vec![0; MAX_RECORD];
    session.seal(now, &mut buf, len).unwrap();
    let Header { epoch, counter } = session.next_sealed();
    loop {
        let next = session.next_sealed();
        session.seal(now, &mut buf, len).unwrap();
        if session.next_sealed().epoch != epoch {
            assert_eq!(session.next_sealed(), Header { epoch: epoch + 1, counter: next.counter + 1 });
            return next.counter - (counter - 1);
        }
    }
}

#[test]
fn each_epoch_ends_with_its_records() {
    let [device, _] = keys([Params::default(); 2]);
    let mut session = Session::<Nothing>::new(Role::Device, &device, Instant::ZERO);
    session.seal(Instant::ZERO, &mut [0; 64], 0).unwrap();
    // However few there were of the epoch before.
    let now = Instant::ZERO + EPOCH_TIME;
    assert_eq!(fill(&mut session, now, 0), EPOCH_RECORDS);
    // The first record of the epoch that has begun is sealed.
    assert_eq!(fill(&mut session, now, 0), EPOCH_RECORDS - 1);
    assert_eq!(session.next_sealed(), Header { epoch: 3, counter: 2 * EPOCH_RECORDS + 2 });
}

#[test]
fn each_epoch_ends_with_its_bytes() {
    let [device, _] = keys([Params::default(); 2]);
    let mut session = Session::<Nothing>::new(Role::Device, &device, Instant::ZERO);
    let records = EPOCH_BYTES.div_ceil((HEADER_LEN + MAX_PLAINTEXT + TAG_LEN) as u64);
    assert_eq!(fill(&mut session, Instant::ZERO, MAX_PLAINTEXT), records);
    assert_eq!(fill(&mut session, Instant::ZERO, MAX_PLAINTEXT), records - 1);
    assert_eq!(session.next_sealed(), Header { epoch: 2, counter: 2 * records + 1 });
}

#[test]
fn each_epoch_ends_with_its_time() {
    let [device, _] = keys([Params::default(); 2]);
    let mut session = Session::<Nothing>::new(Role::Device, &device, Instant::ZERO);
    let moment = Duration::from_micros(1);
    let mut seal = |now| {
        session.seal(now, &mut [0; 64], 0).unwrap();
        (session.next_sealed().epoch, session.next_sealed().counter)
    };
    let last = Instant::ZERO + EPOCH_TIME;
    assert_eq!(seal(Instant::from_micros(last.as_micros() - 1)), (0, 1));
    assert_eq!(seal(last), (1, 2));
    assert_eq!(seal(last + (EPOCH_TIME - moment)), (1, 3), "time counts from the beginning of the epoch");
    assert_eq!(seal(last + EPOCH_TIME), (2, 4));
}

/// A device that sealed two records in each of two epochs, and the host that they are for.
fn two_epochs() -> ([Vec<u8>; 4], Session) {
    let [device, host] = keys([Params::default(); 2]);
    let mut device: Session = Session::new(Role::Device, &device, Instant::ZERO);
    let records = [0u8, 1, 2, 3].map(|n| {
        let mut record = [&[0; HEADER_LEN][..], &[n], &[0; TAG_LEN]].concat();
        device.seal(if n < 2 { Instant::ZERO } else { Instant::ZERO + EPOCH_TIME }, &mut record, 1).unwrap();
        record
    });
    (records, Session::new(Role::Host, &host, Instant::ZERO))
}

#[test]
fn what_is_held_back_before_a_change_of_keys_is_missed() {
    for missing in 1..=2 {
        let (records, mut host) = two_epochs();
        for record in &records[..2 - missing] {
            host.open(Instant::ZERO, &mut record.clone()).unwrap();
        }
        let before = host.next_opened();
        for record in &records[2..] {
            assert_eq!(host.open(Instant::ZERO, &mut record.clone()), Err(Discard::Order), "{missing} missing");
        }
        assert_eq!(host.next_opened(), before, "a refused record moves nothing");
        // With them it goes on.
        for (n, record) in records.iter().enumerate().skip(2 - missing) {
            assert_eq!(host.open(Instant::ZERO, &mut record.clone()), Ok(&[n as u8][..]));
        }
        assert_eq!(host.next_opened(), Header { epoch: 1, counter: 4 });
    }
}

#[test]
fn a_peer_that_does_not_change_its_keys_is_refused() {
    let [device, host] = keys([Params::default(); 2]);
    let mut device = Session::<Nothing>::new(Role::Device, &device, Instant::ZERO);
    let mut host = Session::<Nothing>::new(Role::Host, &host, Instant::ZERO);
    let mut record = [0; HEADER_LEN + TAG_LEN];
    for _ in 0..EPOCH_RECORDS {
        device.seal(Instant::ZERO, &mut record, 0).unwrap();
        host.open(Instant::ZERO, &mut record).unwrap();
    }
    let next = Header { epoch: 0, counter: EPOCH_RECORDS };
    assert_eq!(host.next_opened(), next);
    record[..HEADER_LEN].copy_from_slice(&next.to_bytes());
    assert_eq!(host.open(Instant::ZERO, &mut record), Err(Discard::Epoch));
    record[..HEADER_LEN].copy_from_slice(&Header { epoch: 1, ..next }.to_bytes());
    host.open(Instant::ZERO, &mut record).unwrap();
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
