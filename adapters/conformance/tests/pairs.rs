//! One suite for both runtimes, and for every mixture of them. Run with `--nocapture` or without: each case says on
//! stderr with whom it ran.

use homing_conformance::cases::check;
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
