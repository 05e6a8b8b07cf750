//! A host's link against scripted messages of a relay.

extern crate std;

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::crypto::PublicKey;
use crate::hop::{Exceeded, Hello, Incoming, MAX_MESSAGE, RecvCredit, VERSION, register_mac};

const RELAY: &str = "relay.example.net";

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn secret(byte: u8) -> Secret<32> {
    Secret::new([byte; 32])
}

fn emit(idx: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; MAX_MESSAGE];
    let mut w = Writer::new(&mut out);
    frame.emit(idx, &mut w).unwrap();
    let len = w.len();
    out.truncate(len);
    out
}

fn fresh() -> HostLink<4> {
    HostLink::new(RELAY, Identity::from_secret(&secret(1)), secret(2), secret(3), Some("op"), at(0)).unwrap()
}

/// Everything the link has to say.
fn said<const N: usize>(link: &mut HostLink<N>, now: Instant) -> Vec<Vec<u8>> {
    let mut out = [0; MAX_CONTROL];
    core::iter::from_fn(|| link.poll_output(now, &mut out).map(|len| out[..len].to_vec())).collect()
}

fn hear<const N: usize>(link: &mut HostLink<N>, now: Instant, idx: u32, frame: &Frame<'_>) {
    let message = emit(idx, frame);
    link.handle(now, &message).unwrap();
}

fn hello() -> (Identity, Frame<'static>) {
    let ephemeral = Identity::from_secret(&secret(9));
    let hello = Hello { version: VERSION, flags: 0, nonce: [7; 32], ephemeral: *ephemeral.public() };
    (ephemeral, Frame::Hello(hello))
}

fn registered() -> HostLink<4> {
    let mut link = fresh();
    hear(&mut link, at(0), 0, &hello().1);
    said(&mut link, at(0));
    hear(&mut link, at(0), 0, &Frame::Ok { ttl: 75 });
    said(&mut link, at(0));
    link
}

fn knock(link: &mut HostLink<4>, idx: u32) {
    let incoming = Incoming { channel_id: [idx as u8; 16], kind: Kind::Pair, credit: 4096 };
    hear(link, at(0), idx, &Frame::Incoming(incoming));
}

#[test]
fn a_host_proves_its_route_and_measures_the_link() {
    let mut link = fresh();
    assert!(said(&mut link, at(0)).is_empty(), "the relay speaks first");
    let (ephemeral, hello) = hello();
    hear(&mut link, at(5), 0, &hello);
    let out = said(&mut link, at(5));
    let [message] = &out[..] else { panic!("one REGISTER") };
    let Ok((0, Frame::Register(register))) = Frame::parse(message) else { panic!("REGISTER") };
    let shared = ephemeral.agree(&register.route).unwrap();
    let mac = register_mac(&shared, RELAY, &[7; 32], ephemeral.public(), &register.route);
    assert_eq!(register.mac, mac);
    assert_eq!((register.current, register.previous), (&[2; 32], &[3; 32]));
    assert_eq!(register.operator_key, b"op");
    assert!(!link.is_registered());

    let ok = emit(0, &Frame::Ok { ttl: 75 });
    let event = link.handle(at(40), &ok).unwrap();
    assert_eq!(event, Some(Event::Registered { ttl: Duration::from_secs(75) }));
    assert!(link.is_registered());
    assert_eq!(said(&mut link, at(41)), [emit(0, &Frame::Ping(1))]);
    assert_eq!(link.round_trip(), None, "a socket is not a round trip");
    hear(&mut link, at(71), 0, &Frame::Pong(1));
    assert_eq!(link.round_trip(), Some(Duration::from_millis(30)));
    let pong = emit(0, &Frame::Pong(2));
    assert_eq!(link.handle(at(72), &pong), Err(Violation::Unexpected), "never asked");
}

#[test]
fn a_doubted_link_answers_soon_or_is_lost() {
    let mut link = registered();
    hear(&mut link, at(1000), 0, &Frame::Pong(1));
    link.probe(at(2000));
    assert_eq!(said(&mut link, at(2000)), [emit(0, &Frame::Ping(2))]);
    assert_eq!(link.poll_timeout(), Some(at(5000)));
    hear(&mut link, at(2040), 0, &Frame::Pong(2));
    assert_eq!(link.poll_timeout(), Some(at(17_040)));
    assert_eq!(link.handle_timeout(at(5000)), Ok(()));
    assert_eq!(link.round_trip(), Some(Duration::from_millis(40)));

    link.probe(at(6000));
    link.probe(at(8000));
    assert_eq!(said(&mut link, at(8000)), [emit(0, &Frame::Ping(3))]);
    assert_eq!(link.handle_timeout(at(8999)), Ok(()));
    assert_eq!(link.handle_timeout(at(9000)), Err(Lost), "the first doubt counts");
}

#[test]
fn silence_is_asked_and_then_believed() {
    let mut link = registered();
    hear(&mut link, at(1000), 0, &Frame::Pong(1));
    assert_eq!(link.poll_timeout(), Some(at(16_000)));
    assert_eq!(link.handle_timeout(at(15_999)), Ok(()));
    assert!(said(&mut link, at(15_999)).is_empty());
    assert_eq!(link.handle_timeout(at(16_000)), Ok(()));
    assert_eq!(said(&mut link, at(16_000)), [emit(0, &Frame::Ping(2))]);
    assert_eq!(link.poll_timeout(), Some(at(25_000)));
    assert_eq!(link.handle_timeout(at(16_001)), Ok(()));
    assert!(said(&mut link, at(16_001)).is_empty(), "asked once");

    // Anything heard starts anew.
    hear(&mut link, at(24_999), 0, &Frame::Ping(5));
    assert_eq!(said(&mut link, at(24_999)), [emit(0, &Frame::Pong(5))]);
    assert_eq!(link.handle_timeout(at(25_000)), Ok(()));
    assert_eq!(link.poll_timeout(), Some(at(39_999)));
    assert_eq!(link.handle_timeout(at(39_999)), Ok(()));
    assert_eq!(link.handle_timeout(at(48_999)), Err(Lost), "within two intervals of 25 s");
}

#[test]
fn a_relay_that_does_not_answer_is_given_up() {
    let mut link = fresh();
    assert_eq!(link.poll_timeout(), Some(at(10_000)));
    assert_eq!(link.handle_timeout(at(10_000)), Err(Lost));
    hear(&mut link, at(9_000), 0, &hello().1);
    assert_eq!(link.handle_timeout(at(18_999)), Ok(()));
    assert_eq!(link.handle_timeout(at(19_000)), Err(Lost));
}

#[test]
fn a_bad_hello_is_a_violation() {
    let key = *Identity::from_secret(&secret(9)).public();
    let weak = PublicKey::from_bytes([0; 32]);
    for (version, ephemeral, violation) in [(2, key, Violation::Version), (VERSION, weak, Violation::WeakKey)] {
        let message = emit(0, &Frame::Hello(Hello { version, flags: 0, nonce: [7; 32], ephemeral }));
        assert_eq!(fresh().handle(at(0), &message), Err(violation));
    }
    let ok = emit(0, &Frame::Ok { ttl: 75 });
    assert_eq!(fresh().handle(at(0), &ok), Err(Violation::Unexpected));
    assert_eq!(fresh().handle(at(0), b"GET /"), Err(Violation::Malformed));
}

#[test]
fn a_channel_speaks_once_it_is_accepted() {
    let mut link = registered();
    knock(&mut link, 77);
    assert_eq!((link.credit(77), link.data_header(77, 1)), (0, None));
    assert!(link.accept(77));
    assert!(!link.accept(77) && !link.refuse(77, Code::Busy), "answered once");
    assert_eq!(link.credit(77), 0, "ACCEPT goes first");
    assert_eq!(said(&mut link, at(0)), [emit(77, &Frame::Accept { credit: 60 * 1024 })]);
    assert_eq!(link.credit(77), 4096);
    assert_eq!(link.data_header(77, 0), None);
    assert_eq!(link.data_header(77, 4097), None);
    assert_eq!(link.data_header(77, 4000), Some([0x8b, 77, 0, 0, 0]));
    assert_eq!(link.credit(77), 96);
    let credit = emit(77, &Frame::Credit { bytes: 4 });
    assert_eq!(link.handle(at(1), &credit), Ok(Some(Event::CreditArrived { idx: 77 })));
    assert_eq!(link.credit(77), 100);
    assert_eq!(link.credit(78), 0);
}

#[test]
fn a_channel_that_exceeds_its_credit_ends_and_no_other() {
    let mut link = registered();
    knock(&mut link, 1);
    knock(&mut link, 2);
    let early = emit(1, &Frame::Data(&[0; 4096]));
    assert_eq!(link.handle(at(0), &early), Ok(Some(Event::Data { idx: 1, body: &[0; 4096] })));
    let more = emit(1, &Frame::Data(&[0]));
    let over = Event::Closed { idx: 1, code: Code::FlowControl };
    assert_eq!(link.handle(at(0), &more), Ok(Some(over)));
    assert_eq!(link.handle(at(0), &more), Ok(None), "a late message of a closed channel");
    assert_eq!(said(&mut link, at(0)), [emit(1, &Frame::Refuse { code: Code::FlowControl })]);
    assert_eq!(link.handle(at(0), &more), Ok(None));
    assert!(link.accept(2));
    assert_eq!(link.channels(), 1);
}

#[test]
fn credit_is_owed_for_what_was_processed() {
    let mut link = registered();
    knock(&mut link, 1);
    link.accept(1);
    said(&mut link, at(0));
    for _ in 0..4 {
        hear(&mut link, at(0), 1, &Frame::Data(&[0; 16 * 1024]));
    }
    link.processed(at(500), 1, 16 * 1024 - 1);
    assert!(said(&mut link, at(500)).is_empty());
    link.processed(at(500), 1, 1);
    assert_eq!(said(&mut link, at(500)), [emit(1, &Frame::Credit { bytes: 16 * 1024 })]);
    link.processed(at(500), 9, 1 << 20);
    assert!(said(&mut link, at(500)).is_empty());
}

#[test]
fn closing_races_are_no_violation() {
    let mut link = registered();
    knock(&mut link, 1);
    link.accept(1);
    said(&mut link, at(0));
    link.close(1, Code::Normal);
    hear(&mut link, at(0), 1, &Frame::Data(b"late"));
    hear(&mut link, at(0), 1, &Frame::Credit { bytes: 1 });
    assert_eq!(said(&mut link, at(0)), [emit(1, &Frame::Closed { code: Code::Normal })]);
    let closed = emit(1, &Frame::Closed { code: Code::Gone });
    assert_eq!(link.handle(at(0), &closed), Ok(None));
    assert_eq!(link.channels(), 0);

    knock(&mut link, 2);
    let closed = emit(2, &Frame::Closed { code: Code::Gone });
    assert_eq!(link.handle(at(0), &closed), Ok(Some(Event::Closed { idx: 2, code: Code::Gone })));
    assert!(!link.accept(2));
    assert!(said(&mut link, at(0)).is_empty());
}

#[test]
fn a_full_table_refuses_and_a_flood_is_a_violation() {
    let mut link = registered();
    for idx in 1..=4 {
        knock(&mut link, idx);
    }
    for idx in 5..5 + REFUSALS as u32 {
        knock(&mut link, idx);
    }
    let incoming = Incoming { channel_id: [0; 16], kind: Kind::Pair, credit: 4096 };
    let message = emit(999, &Frame::Incoming(incoming));
    assert_eq!(link.handle(at(0), &message), Err(Violation::Flood));
    let said = said(&mut link, at(0));
    assert_eq!(said.len(), REFUSALS);
    assert_eq!(said[0], emit(5, &Frame::Refuse { code: Code::Busy }));
    let again = emit(1, &Frame::Incoming(incoming));
    assert_eq!(link.handle(at(0), &again), Err(Violation::Unexpected), "a number in use");
}

#[test]
fn slots_and_denials_wait_for_registration() {
    let mut link = fresh();
    link.set_pair_slot([1; 16], 300).unwrap();
    link.set_pair_slot([1; 16], 0).unwrap();
    link.deny([2; 8], 99).unwrap();
    for n in 2..=SLOTS as u8 {
        link.set_pair_slot([n; 16], 300).unwrap();
    }
    assert_eq!(link.set_pair_slot([99; 16], 300), Err(QueueFull));
    hear(&mut link, at(0), 0, &hello().1);
    assert_eq!(said(&mut link, at(0)).len(), 1);
    hear(&mut link, at(0), 0, &Frame::Ok { ttl: 75 });
    let out = said(&mut link, at(0));
    assert_eq!(out.len(), 1 + SLOTS + 1);
    assert_eq!(out[1], emit(0, &Frame::PairSlot { rv_hash: [1; 16], ttl: 0 }), "the latest word");
    assert_eq!(out[1 + SLOTS], emit(0, &Frame::CapDeny { cap_id: [2; 8], until: 99 }));
}

#[test]
fn a_closed_link_is_over_and_a_draining_one_is_not() {
    let mut link = registered();
    knock(&mut link, 1);
    let draining = emit(0, &Frame::Closed { code: Code::Draining });
    assert_eq!(link.handle(at(0), &draining), Ok(Some(Event::Draining)));
    assert!(link.accept(1));
    let closed = emit(0, &Frame::Closed { code: Code::Superseded });
    assert_eq!(link.handle(at(0), &closed), Ok(Some(Event::Closed { idx: 0, code: Code::Superseded })));
    assert_eq!(link.poll_timeout(), None);
    assert!(said(&mut link, at(0)).is_empty());
    assert_eq!(link.handle(at(0), b"whatever"), Ok(None));
    assert_eq!(link.channels(), 0);
}

#[test]
fn names_have_a_limit() {
    let long = "x".repeat(65);
    let new = |relay: &str, key: Option<&str>| {
        HostLink::<1>::new(relay, Identity::from_secret(&secret(1)), secret(2), secret(3), key, at(0)).err()
    };
    assert_eq!(new(&long, None), Some(TooLong));
    assert_eq!(new(RELAY, Some(&long)), Some(TooLong));
    assert_eq!(new(&long[..64], Some(&long[..64])), None);
    let mut recv = RecvCredit::new(Windows::default(), at(0));
    assert_eq!(recv.receive(usize::MAX), Err(Exceeded));
}

proptest! {
    #[test]
    fn garbage_never_panics(
        messages in proptest::collection::vec((0x7fu8..0x92, 0u8..6, proptest::collection::vec(0u8..3, 0..70)), 0..60),
        calls in proptest::collection::vec((0u8..8, 0u32..6), 0..60),
    ) {
        let mut link = registered();
        let mut out = [0; MAX_CONTROL];
        for ((kind, idx, body), (call, on)) in messages.into_iter().zip(calls) {
            let mut message = vec![kind, idx, 0, 0, 0];
            message.extend(body);
            let _ = link.handle(at(1), &message);
            match call {
                0 => { link.accept(on); }
                1 => { link.refuse(on, Code::Busy); }
                2 => link.close(on, Code::Normal),
                3 => { let _ = link.data_header(on, 100); }
                4 => link.processed(at(2), on, 5000),
                5 => { let _ = link.handle_timeout(at(2)); }
                _ => { let _ = link.poll_output(at(2), &mut out); }
            }
            prop_assert!(link.channels() <= 4);
        }
    }
}
