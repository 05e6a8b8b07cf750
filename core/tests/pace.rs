//! What counts as a flood of control frames, and what is only busy.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;

use homing_core::Instant;
use homing_core::mux::{Mux, Source, Taken, WindowCaps};
use homing_core::session::Role;
use homing_core::wire::{Frame, Params, Reader, StreamId, Writer};

type Streams = Mux<64>;

/// Says the end at once.
struct End;

impl Source for End {
    fn read(&mut self, _: StreamId, _: u64, _: &mut [u8]) -> Taken {
        Taken { len: 0, more: false, fin: true }
    }
}

fn ends(max_streams: u16) -> (Streams, Streams) {
    let own = Params { max_streams, ..Params::default() };
    let of = |role| Streams::new(role, own, own, WindowCaps::default(), Instant::ZERO);
    (of(Role::Device), of(Role::Host))
}

/// Everything that one end has to say, said to the other.
fn say(from: &mut Streams, to: &mut Streams) {
    let mut buf = [0; 4096];
    let mut w = Writer::new(&mut buf);
    from.handle_timeout(Instant::ZERO + Duration::from_secs(1));
    from.poll(&mut End, &mut w);
    let len = w.len();
    let mut r = Reader::new(&buf[..len]);
    while let Some(frame) = Frame::parse(&mut r).unwrap() {
        to.handle(Instant::ZERO, frame).unwrap();
    }
}

#[test]
fn short_connections_that_the_service_closes_first_are_no_flood() {
    let (mut device, mut host) = ends(8);
    // More than the bucket holds, at one instant.
    for _ in 0..10_000 {
        let id = device.open(Instant::ZERO).unwrap();
        say(&mut device, &mut host);
        host.wants(id);
        say(&mut host, &mut device);
        host.release(id, 0, Instant::ZERO);
        say(&mut host, &mut device);
        say(&mut device, &mut host);
        device.release(id, 0, Instant::ZERO);
        say(&mut host, &mut device);
        assert!(device.is_empty() && host.is_empty());
    }
}

#[test]
fn long_lived_streams_do_not_keep_others_from_being_opened() {
    let (mut device, mut host) = ends(8);
    let stay: Vec<_> = (0..7).map(|_| device.open(Instant::ZERO).unwrap()).collect();
    // Fewer than a quarter of the limit is ever given back at once.
    for _ in 0..100 {
        let id = device.open(Instant::ZERO).expect("an eighth was promised");
        assert!(device.open(Instant::ZERO).is_none());
        say(&mut device, &mut host);
        for end in [&mut device, &mut host] {
            end.wants(id);
        }
        say(&mut device, &mut host);
        say(&mut host, &mut device);
        device.release(id, 0, Instant::ZERO);
        host.release(id, 0, Instant::ZERO);
        for _ in 0..2 {
            say(&mut device, &mut host);
            say(&mut host, &mut device);
        }
    }
    assert_eq!(device.len(), stay.len());
}
