//! What streams bring, and how they end.

use homing_core::channel::code;
use homing_core::handshake::Suite;
use homing_core::mux::{Source, Taken};
use homing_core::wire::{MAX_RECORD, Params, Scope, StreamId};

use super::joined::Pair;
use super::side::Habit;
use super::{noise, small};

#[test]
fn a_mebibyte_comes_back_under_back_pressure() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let mut pair = Pair::<16>::connected(suite, small());
        pair.host.habit = Habit::Echo;
        let bytes = noise(1 << 20, 1);
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, &bytes, true);
        pair.run_until(|pair| pair.device.ended(id));
        assert!(pair.device.pipe(id).read == bytes);
        assert!(pair.host.pipe(id).read == bytes);
        assert!(pair.records > 128, "{} records", pair.records);
        assert_eq!((pair.device.error, pair.host.error), (None, None));
    }
}

#[test]
fn a_reader_that_stops_reading_stops_the_writer() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.host.habit = Habit::Ignore;
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(1 << 20, 1), true);
    pair.run();
    let held = pair.host.pipe(id).held;
    assert_eq!(held, 64 * 1024, "one window");
    assert_eq!(pair.device.pipe(id).out.len(), (1 << 20) - held);
    // It goes on as soon as it reads.
    pair.host.habit = Habit::Read;
    pair.host.pipes.0.get_mut(&id.0).unwrap().held = 0;
    pair.host.channel.streams().consumed(id, held, pair.now);
    pair.run_until(|pair| pair.host.ended(id));
    assert_eq!(pair.host.pipe(id).read.len(), 1 << 20);
}

#[test]
fn each_side_closes_its_half() {
    for device_first in [true, false] {
        let mut pair = Pair::<16>::connected(Suite::Classic, small());
        let id = if device_first { pair.device.open(pair.now) } else { pair.host.open(pair.now) }.unwrap();
        if device_first {
            pair.device.write(id, b"question", true);
        } else {
            pair.host.write(id, b"question", true);
        }
        pair.run();
        let (asking, answering) =
            if device_first { (&mut pair.device, &mut pair.host) } else { (&mut pair.host, &mut pair.device) };
        assert_eq!((&answering.pipe(id).read[..], answering.pipe(id).ended), (&b"question"[..], true));
        assert!(!asking.pipe(id).ended);
        // The other half still carries.
        answering.write(id, b"answer", false);
        pair.run();
        let (asking, answering) =
            if device_first { (&mut pair.device, &mut pair.host) } else { (&mut pair.host, &mut pair.device) };
        assert_eq!((&asking.pipe(id).read[..], asking.pipe(id).ended), (&b"answer"[..], false));
        answering.write(id, b"", true);
        pair.run();
        for side in [&mut pair.device, &mut pair.host] {
            assert!(side.pipe(id).ended);
            assert_eq!(side.channel.streams().len(), 1, "until the application lets go");
            side.channel.streams().release(id, 0, pair.now);
            assert_eq!(side.channel.streams().len(), 0);
        }
    }
}

#[test]
fn resets_stops_and_releases_are_heard() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let [reset, stop, release] = core::array::from_fn(|_| {
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, b"begin", false);
        id
    });
    pair.run();
    assert_eq!(pair.host.opened, [reset, stop, release]);
    pair.device.channel.streams().reset(reset, 7);
    pair.host.channel.streams().stop(stop, 8);
    pair.host.channel.streams().release(release, 9, pair.now);
    pair.run();
    assert_eq!(pair.host.pipe(reset).reset, Some(7));
    assert!(!pair.host.pipe(reset).ended, "a reset is no end");
    assert_eq!(pair.device.pipe(stop).stopped, Some(8));
    assert_eq!(pair.host.pipe(stop).reset, Some(8), "stopping makes the sender reset");
    assert_eq!((pair.device.pipe(release).stopped, pair.device.pipe(release).reset), (Some(9), Some(9)));
    assert_eq!((pair.host.pipe(release).stopped, pair.host.pipe(release).reset), (None, None), "it has let go");
    for id in [reset, stop, release] {
        pair.device.channel.streams().release(id, 0, pair.now);
        pair.host.channel.streams().release(id, 0, pair.now);
    }
    pair.run();
    assert!(pair.device.channel.streams().is_empty() && pair.host.channel.streams().is_empty());
    assert_eq!((pair.device.error, pair.host.error), (None, None));
}

#[test]
fn a_peer_that_is_gone_ends_no_stream() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"half", false);
    pair.run();
    pair.device.channel.close(Scope::Session, code::SHUTDOWN, "bye");
    assert!(pair.device.open(pair.now).is_none());
    pair.run();
    assert_eq!(pair.host.closed, Some(code::SHUTDOWN));
    assert!(!pair.host.pipe(id).ended && pair.host.channel.is_over());
}

#[test]
fn two_hundred_streams_go_at_once() {
    let mut pair = Pair::<512>::connected(Suite::Classic, [Params::default(); 2]);
    pair.host.habit = Habit::Echo;
    let streams: Vec<_> =
        (0..200).map(|n| (pair.device.open(pair.now).unwrap(), noise(3_000 + n * 50, n as u64))).collect();
    for (id, bytes) in &streams {
        pair.device.write(*id, bytes, true);
    }
    pair.run_until(|pair| streams.iter().all(|(id, _)| pair.device.ended(*id)));
    for (id, bytes) in &streams {
        assert!(pair.device.pipe(*id).read == *bytes, "{id:?}");
        pair.device.channel.streams().release(*id, 0, pair.now);
        pair.host.channel.streams().release(*id, 0, pair.now);
    }
    pair.run();
    assert!(pair.device.channel.streams().is_empty() && pair.host.channel.streams().is_empty());
    // The peer's limit is given back, in quarters: nearly as many again, and no more than announced.
    let again = core::iter::from_fn(|| pair.device.open(pair.now)).count();
    assert!((193..=256).contains(&again), "{again}");
}

#[test]
fn a_source_that_promises_and_does_not_give_is_asked_once() {
    struct Empty(usize);
    impl Source for Empty {
        fn read(&mut self, _: StreamId, _: u64, _: &mut [u8]) -> Taken {
            self.0 += 1;
            Taken { len: 0, more: true, fin: false }
        }
    }
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let id = pair.device.open(pair.now).unwrap();
    pair.device.channel.streams().wants(id);
    let mut empty = Empty(0);
    pair.device.channel.poll_output(pair.now, &mut empty, &mut [0; MAX_RECORD]).unwrap();
    assert_eq!(empty.0, 1);
}
