//! A few bytes that fill no window are acknowledged all the same: with the next ping, so that the
//! sender need not keep them for ever (protocol 9.4).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Event, Output};
use homing_core::mux::{self, Source, Taken};
use homing_core::wire::{MAX_RECORD, Params, StreamId};
use support::ends::channels;

/// Ten bytes and no end.
struct Ten;

impl Source for Ten {
    fn read(&mut self, _: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let len = 10 - offset as usize;
        buf[..len].fill(7);
        Taken { len, more: false, fin: false }
    }
}

/// All that one has to say; what the other hears is acknowledged.
fn carry(from: &mut Channel<8>, to: &mut Channel<8>, now: Instant) -> Vec<u64> {
    let (mut out, mut acknowledged) = (vec![0; MAX_RECORD], Vec::new());
    while let Output::Transmit { len } = from.poll_output(now, &mut Ten, &mut out).unwrap() {
        for event in to.handle_input(now, &mut out[..len]).unwrap() {
            if let Event::Stream(mux::Event::Acknowledged { received, .. }) = event.unwrap() {
                acknowledged.push(received);
            }
        }
    }
    acknowledged
}

#[test]
fn a_ping_brings_the_acknowledgement_of_a_few_bytes() {
    let params = Params { max_streams: 4, ..Params::default() };
    let [mut device, mut host] = channels::<8>([params; 2], &Config::default());
    for _ in 0..3 {
        carry(&mut device, &mut host, Instant::ZERO);
        carry(&mut host, &mut device, Instant::ZERO);
    }
    assert!(device.is_open() && host.is_open());
    let id = device.open(Instant::ZERO).unwrap();
    device.streams().wants(id);
    assert_eq!(carry(&mut device, &mut host, Instant::ZERO), [0_u64; 0]);
    assert_eq!(carry(&mut host, &mut device, Instant::ZERO), [0_u64; 0], "ten bytes are not worth a record");
    let later = Instant::ZERO + Duration::from_secs(25);
    host.handle_timeout(later).unwrap();
    assert_eq!(carry(&mut host, &mut device, later), [10]);
    let later = later + Duration::from_secs(25);
    assert_eq!(carry(&mut device, &mut host, later), [0_u64; 0]);
    host.handle_timeout(later).unwrap();
    assert_eq!(carry(&mut host, &mut device, later), [0_u64; 0], "once");
}
