//! The examples that show how to embed the core, run and held to what they print.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![allow(clippy::duplicate_mod, reason = "two examples share a module")]

#[path = "../examples/blocking.rs"]
mod blocking;
#[path = "../examples/custom_transport.rs"]
mod custom_transport;
#[path = "../examples/in_memory.rs"]
mod in_memory;

use homing_core::handshake::Suite;

/// More than fits one record or one window of any of the examples.
fn long(seed: u8) -> Vec<u8> {
    (0..300_000_u32)
        .map(|place| place.to_le_bytes().iter().fold(seed, |sum, byte| sum.wrapping_mul(31) ^ byte))
        .collect()
}

#[test]
fn in_memory_both_ends_hear_the_other() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let mut heard = Vec::new();
        in_memory::talk(in_memory::shake(suite), |who, text| heard.push((who.to_owned(), text.to_vec())));
        assert_eq!(heard, [("host".to_owned(), b"hello".to_vec()), ("device".to_owned(), b"hello yourself".to_vec())]);
    }
    in_memory::main();
}

#[test]
fn blocking_threads_carry_more_than_a_window() {
    let (says, answer) = (long(1), long(2));
    assert_eq!(blocking::talk(&says, &answer), [says, answer]);
    blocking::main();
}

#[test]
fn a_line_of_bytes_carries_records_amid_noise() {
    let (says, answer) = (long(1), long(2));
    assert_eq!(custom_transport::talk(&says, &answer), [says, answer]);
    custom_transport::main();
}
