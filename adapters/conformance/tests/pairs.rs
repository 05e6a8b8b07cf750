//! One suite for both runtimes, and for every mixture of them. Run with `--nocapture` or without: each case says on
//! stderr with whom it ran.

use homing_conformance::cases::{check, dial_timeout};
use homing_conformance::{Smol, Tokio};

#[test]
fn smol_device_smol_host_smol_relay() {
    check::<Smol, Smol, Smol>();
}

#[test]
fn tokio_device_tokio_host_tokio_relay() {
    check::<Tokio, Tokio, Tokio>();
}

#[test]
fn smol_device_tokio_host_tokio_relay() {
    check::<Smol, Tokio, Tokio>();
}

#[test]
fn tokio_device_smol_host_tokio_relay() {
    check::<Tokio, Smol, Tokio>();
}

#[test]
fn tokio_device_tokio_host_smol_relay() {
    check::<Tokio, Tokio, Smol>();
}

#[test]
fn tokio_device_smol_host_smol_relay() {
    check::<Tokio, Smol, Smol>();
}

#[test]
fn smol_device_tokio_host_smol_relay() {
    check::<Smol, Tokio, Smol>();
}

#[test]
fn smol_device_smol_host_tokio_relay() {
    check::<Smol, Smol, Tokio>();
}

#[test]
fn a_relay_that_never_answers_is_given_up() {
    let tokio = std::thread::spawn(dial_timeout::<Tokio>);
    dial_timeout::<Smol>();
    tokio.join().expect("tokio does");
}
