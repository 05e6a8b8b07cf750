//! A waiting host's link against scripted messages of a relay.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::crypto::PublicKey;
use crate::hop::{Hello, VERSION, register_mac};

const RELAY: &str = "relay.example.net";

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn fresh() -> WaitLink {
    let secret = |byte| Secret::new([byte; 32]);
    WaitLink::new(RELAY, Identity::from_secret(&secret(1)), secret(2), secret(3), Some("op"), at(0)).unwrap()
}

fn emit(idx: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = [0; MAX_CONTROL];
    let mut w = Writer::new(&mut out);
    frame.emit(idx, &mut w).unwrap();
    let len = w.len();
    out[..len].to_vec()
}

fn hear(link: &mut WaitLink, now: Instant, frame: &Frame<'_>) -> Result<Option<Event>, Violation> {
    link.handle(now, &emit(0, frame))
}

fn said(link: &mut WaitLink) -> Vec<Vec<u8>> {
    let mut out = [0; MAX_CONTROL];
    core::iter::from_fn(|| link.poll_output(&mut out).map(|len| out[..len].to_vec())).collect()
}

fn hello(version: u8, ephemeral: PublicKey) -> Frame<'static> {
    Frame::Hello(Hello { version, flags: 0, nonce: [7; 32], ephemeral })
}

fn registered() -> WaitLink {
    let mut link = fresh();
    let ephemeral = Identity::from_secret(&Secret::new([9; 32]));
    hear(&mut link, at(0), &hello(VERSION, *ephemeral.public())).unwrap();
    assert_eq!(said(&mut link).len(), 1);
    assert_eq!(hear(&mut link, at(0), &Frame::Ok { ttl: 0 }), Ok(Some(Event::Registered)));
    link
}

#[test]
fn it_proves_its_route_as_any_host_does_and_hears_knocks() {
    let mut link = fresh();
    assert!(said(&mut link).is_empty(), "the relay speaks first");
    let ephemeral = Identity::from_secret(&Secret::new([9; 32]));
    assert_eq!(hear(&mut link, at(5), &hello(VERSION, *ephemeral.public())), Ok(None));
    let out = said(&mut link);
    let [message] = &out[..] else { panic!("one REGISTER") };
    let Ok((0, Frame::Register(register))) = Frame::parse(message) else { panic!("REGISTER") };
    let shared = ephemeral.agree(&register.route).unwrap();
    assert_eq!(register.mac, register_mac(&shared, RELAY, &[7; 32], ephemeral.public(), &register.route));
    assert_eq!((register.current, register.previous), (&[2; 32], &[3; 32]));
    assert_eq!(register.operator_key, b"op");
    assert!(!link.is_registered());
    assert_eq!(hear(&mut link, at(6), &Frame::Ok { ttl: 0 }), Ok(Some(Event::Registered)));
    assert!(link.is_registered());
    for _ in 0..3 {
        assert_eq!(hear(&mut link, at(7), &Frame::Knock), Ok(Some(Event::Knock)));
    }
    let denied = Code::Superseded;
    assert_eq!(hear(&mut link, at(8), &Frame::Closed { code: denied }), Ok(Some(Event::Closed { code: denied })));
    assert_eq!(link.poll_timeout(), None);
    assert_eq!(hear(&mut link, at(9), &Frame::Knock), Ok(None), "nothing counts after the end");
}

#[test]
fn what_has_no_place_is_a_violation() {
    let key = *Identity::from_secret(&Secret::new([9; 32])).public();
    assert_eq!(hear(&mut fresh(), at(0), &Frame::Knock), Err(Violation::Unexpected));
    assert_eq!(hear(&mut fresh(), at(0), &Frame::Ok { ttl: 0 }), Err(Violation::Unexpected));
    assert_eq!(hear(&mut fresh(), at(0), &hello(2, key)), Err(Violation::Version));
    assert_eq!(hear(&mut fresh(), at(0), &hello(1, PublicKey::from_bytes([0; 32]))), Err(Violation::WeakKey));
    assert_eq!(fresh().handle(at(0), b"?"), Err(Violation::Malformed));
    assert_eq!(hear(&mut registered(), at(0), &hello(1, key)), Err(Violation::Unexpected));
    assert_eq!(hear(&mut registered(), at(0), &Frame::Pong(1)), Err(Violation::Unexpected), "nobody asked");
    assert_eq!(registered().handle(at(0), &emit(7, &Frame::Data(b"x"))), Err(Violation::Unexpected));
}

#[test]
fn silence_loses_the_link_and_any_byte_keeps_it() {
    let mut link = fresh();
    assert_eq!(link.poll_timeout(), Some(at(10_000)), "HELLO is due");
    assert_eq!(link.handle_timeout(at(9_999)), Ok(()));
    assert_eq!(link.handle_timeout(at(10_000)), Err(Lost));
    link = registered();
    assert_eq!(link.poll_timeout(), Some(at(60_000)));
    link.heard(at(25_000));
    assert_eq!(link.handle_timeout(at(84_999)), Ok(()));
    assert_eq!(link.handle_timeout(at(85_000)), Err(Lost));
}

#[test]
fn a_doubt_asks_and_waits_but_shortly() {
    let mut link = fresh();
    link.probe(at(0));
    assert!(said(&mut link).is_empty());
    link = registered();
    link.probe(at(1_000));
    link.probe(at(3_000));
    assert_eq!(said(&mut link), [emit(0, &Frame::Ping(1))]);
    assert_eq!(link.poll_timeout(), Some(at(4_000)), "the first doubt counts");
    assert_eq!(hear(&mut link, at(3_500), &Frame::Pong(1)), Ok(None));
    assert_eq!(link.poll_timeout(), Some(at(63_500)));
    link.probe(at(5_000));
    assert_eq!(link.handle_timeout(at(8_000)), Err(Lost));
}

#[test]
fn denials_are_told_once_registered() {
    let mut link = fresh();
    link.deny([1; 8], 9).unwrap();
    assert!(said(&mut link).is_empty());
    link = registered();
    for n in 0..32 {
        link.deny([n; 8], 9).unwrap();
    }
    assert_eq!(link.deny([0; 8], 9), Err(QueueFull));
    let out = said(&mut link);
    assert_eq!(out.len(), 32);
    assert_eq!(out[3], emit(0, &Frame::CapDeny { cap_id: [3; 8], until: 9 }));
}
