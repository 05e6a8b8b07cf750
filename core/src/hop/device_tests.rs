//! A device's link against scripted messages of a relay.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;
use crate::crypto::PublicKey;
use crate::hop::{Hello, MAX_MESSAGE};

const RELAY: &str = "relay.example.net";

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn emit(idx: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; MAX_MESSAGE];
    let mut w = Writer::new(&mut out);
    frame.emit(idx, &mut w).unwrap();
    let len = w.len();
    out.truncate(len);
    out
}

fn said(link: &mut DeviceLink, now: Instant) -> Vec<Vec<u8>> {
    let mut out = [0; MAX_CONTROL];
    core::iter::from_fn(|| link.poll_output(now, &mut out).map(|len| out[..len].to_vec())).collect()
}

fn hear(link: &mut DeviceLink, now: Instant, idx: u32, frame: &Frame<'_>) {
    let message = emit(idx, frame);
    link.handle(now, &message).unwrap();
}

fn hello() -> Frame<'static> {
    Frame::Hello(Hello { version: 1, flags: 0, nonce: [7; 32], ephemeral: PublicKey::from_bytes([9; 32]) })
}

fn capability() -> Capability {
    Capability::mint(&Secret::new([2; 32]), &[1; 16], [3; 8], 1000, 1)
}

fn dialled() -> DeviceLink {
    let purpose = Purpose::Dial { route_id: [1; 16], capability: capability() };
    let mut link = DeviceLink::new(RELAY, purpose, at(0)).unwrap();
    hear(&mut link, at(0), 0, &hello());
    let dial = Dial {
        route_id: [1; 16],
        cap_id: [3; 8],
        expiry: 1000,
        class: 1,
        proof: capability().dial_proof(RELAY, &[7; 32]),
    };
    assert_eq!(said(&mut link, at(0)), [emit(1, &Frame::Dial(dial))]);
    link
}

fn open() -> DeviceLink {
    let mut link = dialled();
    let opened = emit(1, &Frame::Opened { channel_id: [5; 16], credit: 4096 });
    assert_eq!(link.handle(at(0), &opened), Ok(Some(Event::Opened { channel_id: [5; 16] })));
    let first = [emit(0, &Frame::Ping(1)), emit(1, &Frame::Credit { bytes: 60 * 1024 })];
    assert_eq!(said(&mut link, at(0)), first);
    link
}

#[test]
fn a_device_dials_and_may_speak_at_once() {
    let mut link = open();
    assert!(link.is_open());
    assert_eq!(link.credit(), 4096);
    assert_eq!(link.data_header(4097), None);
    assert_eq!(link.data_header(4096), Some([0x8b, 1, 0, 0, 0]));
    assert_eq!(link.data_header(1), None);
    let credit = emit(1, &Frame::Credit { bytes: 9 });
    assert_eq!(link.handle(at(0), &credit), Ok(Some(Event::CreditArrived)));
    assert_eq!(link.credit(), 9);
    hear(&mut link, at(20), 0, &Frame::Pong(1));
    assert_eq!(link.round_trip(), Some(Duration::from_millis(20)));

    let data = emit(1, &Frame::Data(b"hello"));
    assert_eq!(link.handle(at(0), &data), Ok(Some(Event::Data { body: b"hello" })));
    let other = emit(2, &Frame::Data(b"hello"));
    assert_eq!(link.handle(at(0), &other), Err(Violation::Unexpected));
}

#[test]
fn a_pairing_device_shows_its_rendezvous() {
    let purpose = Purpose::Pair { rendezvous: Secret::new([4; 16]) };
    let mut link = DeviceLink::new(RELAY, purpose, at(0)).unwrap();
    hear(&mut link, at(0), 0, &hello());
    assert_eq!(said(&mut link, at(0)), [emit(1, &Frame::DialPair { rendezvous: [4; 16] })]);
}

#[test]
fn a_parked_dial_waits_as_long_as_the_relay_keeps_it() {
    let mut link = dialled();
    assert_eq!(link.poll_timeout(), Some(at(15_000)));
    link.handle_timeout(at(15_000)).unwrap();
    assert_eq!(said(&mut link, at(15_000)), [emit(0, &Frame::Ping(1))]);
    hear(&mut link, at(15_010), 0, &Frame::Pong(1));
    link.handle_timeout(at(30_010)).unwrap();
    assert_eq!(link.poll_timeout(), Some(at(35_000)));
    assert_eq!(link.handle_timeout(at(35_000)), Err(Lost));
    let closed = emit(1, &Frame::Closed { code: Code::NotReachable });
    assert_eq!(link.handle(at(25_000), &closed), Ok(Some(Event::Closed { code: Code::NotReachable })));
    assert!(link.is_over());
    assert_eq!(link.poll_timeout(), None);
}

#[test]
fn closing_says_so_once() {
    let mut link = open();
    link.close(Code::Normal);
    link.close(Code::Busy);
    assert_eq!((link.credit(), link.data_header(1)), (0, None));
    hear(&mut link, at(0), 1, &Frame::Data(b"late"));
    assert_eq!(said(&mut link, at(0)), [emit(1, &Frame::Closed { code: Code::Normal })]);
    assert!(link.is_over());

    let mut link = dialled();
    link.close(Code::Normal);
    assert!(said(&mut link, at(0)).is_empty());
    assert!(link.is_over());
}

#[test]
fn more_than_the_credit_ends_the_channel() {
    let mut link = open();
    for _ in 0..4 {
        hear(&mut link, at(0), 1, &Frame::Data(&[0; 16 * 1024]));
    }
    let more = emit(1, &Frame::Data(&[0]));
    assert_eq!(link.handle(at(0), &more), Ok(Some(Event::Closed { code: Code::FlowControl })));
    assert_eq!(said(&mut link, at(0)), [emit(1, &Frame::Closed { code: Code::FlowControl })]);
}

#[test]
fn a_link_is_doubted_only_once_its_channel_is_open() {
    let mut link = dialled();
    let before = link.poll_timeout();
    link.probe(at(10));
    assert!(said(&mut link, at(10)).is_empty(), "a parked dial hears nothing for long");
    assert_eq!(link.poll_timeout(), before);

    let mut link = open();
    let _ = said(&mut link, at(0));
    link.probe(at(1000));
    assert!(matches!(said(&mut link, at(1000))[..], [ref ping] if ping[0] == 0x8e));
    assert_eq!(link.handle_timeout(at(4000)), Err(Lost));
}
