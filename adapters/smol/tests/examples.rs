//! The examples, run and held to what they do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "../examples/smol_echo.rs"]
mod smol_echo;

use core::time::Duration;

/// More than any window holds at first.
fn long() -> Vec<u8> {
    (0..1_000_000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_device_pairs_and_comes_back_to_an_echo() {
    let long = long();
    let late = async {
        smol::Timer::after(Duration::from_secs(60)).await;
        panic!("not done in a minute");
    };
    let heard = smol::block_on(smol::future::or(smol_echo::run([b"hello", &long]), late));
    assert!(heard == [b"hello".to_vec(), long]);
}

#[test]
fn the_example_runs_as_a_program() {
    smol_echo::main();
}
