//! What the fuzz targets check, for a moment each: over random input, and over the targets' seeds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "../bodies/mod.rs"]
mod bodies;
mod relay;
mod streams;

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use bodies::{channel, datagrams, handshake, hop, keystore, mux, session, ticket, wire};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// As a fuzz target would: bytes to a structure, a structure to the body.
fn feed<'a, T: Arbitrary<'a>>(data: &'a [u8], check: impl FnOnce(T)) {
    if let Ok(input) = T::arbitrary_take_rest(Unstructured::new(data)) {
        check(input);
    }
}

/// Gives bytes to the body of a target.
fn run(target: &str, data: &[u8]) {
    match target {
        "wire" => wire::check(data),
        "ticket" => ticket::check(data),
        "keystore" => feed(data, |input| keystore::check(&input)),
        "handshake" => feed(data, |input| handshake::check(&input)),
        "session" => feed(data, |steps| session::check(&steps)),
        "channel" => feed(data, |input| channel::check(&input)),
        "mux" => feed(data, |input| mux::check(&input)),
        "datagrams" => feed(data, |steps| datagrams::check(&steps)),
        "hop" => feed(data, |input| hop::check(&input)),
        "relay" => feed(data, bodies::relay::check),
        _ => panic!("no target {target}"),
    }
}

fn any_bytes(target: &str, cases: u32, most: usize) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&vec(any::<u8>(), 0..most), |data| {
        run(target, &data);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn of_the_wire() {
    any_bytes("wire", 5_000, 400);
}

#[test]
fn of_tickets() {
    any_bytes("ticket", 2_000, 300);
}

#[test]
fn of_the_keystore() {
    any_bytes("keystore", 500, 200);
}

#[test]
fn of_handshakes() {
    any_bytes("handshake", 1_000, 100);
}

#[test]
fn of_a_session() {
    any_bytes("session", 300, 600);
}

#[test]
fn of_datagrams() {
    any_bytes("datagrams", 1_000, 300);
}

#[test]
fn of_a_channel() {
    any_bytes("channel", 2_000, 300);
}

#[test]
fn of_streams() {
    any_bytes("mux", 4_000, 300);
}

#[test]
fn of_a_link() {
    any_bytes("hop", 500, 400);
}

#[test]
fn of_a_relay() {
    any_bytes("relay", 100, 400);
}

/// What the fuzzer begins with, from the test vectors and from what it found before.
#[test]
fn the_seeds_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut count = 0;
    for target in fs::read_dir(seeds).unwrap().map(Result::unwrap) {
        for seed in fs::read_dir(target.path()).unwrap().map(Result::unwrap) {
            run(target.file_name().to_str().unwrap(), &fs::read(seed.path()).unwrap());
            count += 1;
        }
    }
    assert!(count > 100, "{count} seeds");
}

/// Shows an input that a target stumbled over: `SHOW=target:file cargo test show -- --nocapture`.
#[test]
fn show() {
    let Ok(text) = std::env::var("SHOW") else { return };
    let (target, file) = text.split_once(':').unwrap();
    let data = fs::read(file).unwrap();
    match target {
        "mux" => feed(&data, |input: mux::Input<'_>| println!("{input:#?}")),
        "channel" => feed(&data, |input: channel::Input<'_>| println!("{input:#?}")),
        _ => panic!("no target {target}"),
    }
    run(target, &data);
}

#[test]
fn the_model_sees_hosts_that_wait() {
    use hop::Step::{Deny, Hello, Knock, Ok, Pass, Poll, Pong, Slot};
    let steps = [
        Poll(1),
        Hello(1, [9; 32]),
        Poll(2),
        Ok(0),
        Knock,
        Slot(0, 0),
        Deny(1),
        Poll(9),
        Pong(1),
        Knock,
        Pass(59_000_000),
        Knock,
    ];
    hop::check(&hop::Input { at_device: false, pairs: true, steps: bodies::Steps(steps.to_vec()) });
}
