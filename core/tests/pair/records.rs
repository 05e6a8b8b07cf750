//! The records below a session: their limits, their keys, and a relay that meddles with them.

use homing_core::Instant;
use homing_core::channel::Error;
use homing_core::handshake::{Keys, Suite};
use homing_core::session::{EPOCH_BYTES, EPOCH_RECORDS, EPOCH_TIME, Role, Session};
use homing_core::wire::{HEADER_LEN, MAX_PLAINTEXT, MAX_RECORD, Params, Scope, StreamId, TAG_LEN};

use super::joined::Pair;
use super::side::Habit;
use super::support::ends::keys;
use super::{noise, small};

#[test]
fn records_keep_to_what_the_peer_accepts() {
    let own = Params { max_record: 1024, max_streams: 8, ..Params::default() };
    let mut pair = Pair::<16>::connected(Suite::Classic, [small()[0], own]);
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(100_000, 1), true);
    while let Some(mut record) = pair.device.poll(pair.now) {
        assert!(record.len() <= HEADER_LEN + 1024 + TAG_LEN);
        pair.host.hear(pair.now, &mut record);
    }
    assert_eq!(pair.host.pipe(id).read.len(), 64 << 10);
    assert_eq!(pair.host.error, None);
}

#[test]
fn keys_change_by_time_while_streams_run() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.host.habit = Habit::Echo;
    let id = pair.device.open(pair.now).unwrap();
    let bytes = noise(300_000, 1);
    for (n, part) in bytes.chunks(50_000).enumerate() {
        pair.device.write(id, part, n == 5);
        pair.run();
        let end = pair.now + EPOCH_TIME;
        while pair.step(end) {}
        pair.now = end;
    }
    pair.run_until(|pair| pair.device.ended(id));
    assert!(pair.device.pipe(id).read == bytes);
    let record = {
        pair.now = pair.now + EPOCH_TIME;
        pair.device.channel.close(Scope::Session, 0, "");
        pair.device.poll(pair.now).unwrap()
    };
    assert!(record[1] >= 6, "epoch {}", record[1]);
}

/// Sends records of `len` bytes of plaintext until the epoch changes: how many it took.
fn records_in_an_epoch(len: usize, most: u64) -> u64 {
    let [device, host] = keys(small());
    let mut device = Session::<homing_core::crypto::Portable>::new(Role::Device, &device, Instant::ZERO);
    let mut host = Session::<homing_core::crypto::Portable>::new(Role::Host, &host, Instant::ZERO);
    let mut buf = vec![0; MAX_RECORD];
    let mut records = 0;
    while device.next_sealed().epoch == 0 {
        let total = device.seal(Instant::ZERO, &mut buf, len).unwrap();
        assert_eq!(host.open(Instant::ZERO, &mut buf[..total]).unwrap().len(), len);
        records += 1;
        assert!(records <= most, "no end of the epoch");
    }
    assert_eq!((host.next_opened().epoch, host.next_opened().counter), (1, records));
    // And on it goes.
    let total = device.seal(Instant::ZERO, &mut buf, len).unwrap();
    host.open(Instant::ZERO, &mut buf[..total]).unwrap();
    records - 1
}

#[test]
fn keys_change_by_records() {
    assert_eq!(records_in_an_epoch(0, EPOCH_RECORDS + 1), EPOCH_RECORDS);
}

#[test]
fn keys_change_by_bytes() {
    let total = (MAX_PLAINTEXT + HEADER_LEN + TAG_LEN) as u64;
    assert_eq!(records_in_an_epoch(MAX_PLAINTEXT, EPOCH_BYTES / total + 2), EPOCH_BYTES.div_ceil(total));
}

/// A pair with a stream under way, and the next records of the device.
fn under_way() -> (Pair<16>, StreamId, [Vec<u8>; 3]) {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(50_000, 1), true);
    let records = core::array::from_fn(|_| pair.device.poll(pair.now).unwrap());
    (pair, id, records)
}

/// What the wire makes of three records.
type Tamper = fn([Vec<u8>; 3]) -> Vec<Vec<u8>>;

#[test]
fn a_lost_repeated_reordered_or_changed_record_is_the_end() {
    // In order all is well.
    let (mut pair, id, records) = under_way();
    for mut record in records {
        pair.host.hear(pair.now, &mut record);
    }
    assert_eq!(pair.host.error, None);
    let whole = pair.host.pipe(id).read.clone();
    assert!(whole.len() > 32_000);

    let tamper: [(&str, Tamper); 6] = [
        ("lost", |[a, _, c]| vec![a, c]),
        ("repeated", |[a, b, _]| vec![a.clone(), a, b]),
        ("repeated later", |[a, b, _]| vec![a.clone(), b, a]),
        ("reordered", |[a, b, c]| vec![a, c, b]),
        ("changed", |[a, mut b, c]| {
            b[100] ^= 1;
            vec![a, b, c]
        }),
        ("cut", |[a, mut b, c]| {
            b.truncate(200);
            vec![a, b, c]
        }),
    ];
    for (what, tamper) in tamper {
        let (mut pair, id, records) = under_way();
        for mut record in tamper(records) {
            if pair.host.error.is_none() {
                pair.host.hear(pair.now, &mut record);
                continue;
            }
            // What comes after the first bad record is not even looked at.
            let read = pair.host.pipe(id).read.len();
            pair.host.hear(pair.now, &mut record);
            assert_eq!(pair.host.pipe(id).read.len(), read, "{what}");
        }
        assert!(matches!(pair.host.error, Some(Error::Discard(_))), "{what}: {:?}", pair.host.error);
        let pipe = pair.host.pipe(id);
        assert!(whole.starts_with(&pipe.read) && pipe.read.len() < whole.len(), "{what}: wrong bytes");
        assert!(!pipe.ended && pipe.reset.is_none(), "{what}: an end that nobody sent");
        assert!(pair.host.channel.is_over());
        assert_eq!(pair.host.poll(pair.now), None, "{what}: met with silence");
    }
}

#[test]
fn a_record_is_not_taken_by_its_sender() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"mine", true);
    let mut record = pair.device.poll(pair.now).unwrap();
    pair.device.hear(pair.now, &mut record);
    assert!(matches!(pair.device.error, Some(Error::Discard(_))));
}

#[test]
fn both_ends_of_a_handshake_know_each_others_limits() {
    let own = [Params { max_streams: 3, ..Params::default() }, Params { max_streams: 5, ..Params::default() }];
    let [device, host]: [Keys; 2] = keys(own);
    assert_eq!((device.own, device.peer), (own[0], own[1]));
    assert_eq!((host.own, host.peer), (own[1], own[0]));
}
