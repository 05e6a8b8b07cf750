//! A relay that is told to stop: it says so, takes nothing new, and waits for its links to move away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;
use std::time::Instant;

use homing_core::hop::Purpose;
use homing_relay::RelayConfig;
use homing_tokio::DialError;
use support::{Device, Host, Running, Said, open, soon};

/// Longer than any test: a relay that waited for it did not notice that its links had gone.
const FOR_EVER: Duration = Duration::from_secs(600);

fn with_drain(drain: Duration) -> RelayConfig {
    RelayConfig { drain, ..open() }
}

async fn until_draining(host: &mut Host) {
    while host.next().await != Said::Draining {}
}

#[tokio::test]
async fn a_draining_relay_tells_both_ends_and_goes_once_they_have_left() {
    let mut relay = Running::start(with_drain(FOR_EVER)).await;
    let mut host = Host::register(&relay).await;
    let mut device = host.dial(&relay).await;
    let idx = host.accept().await;
    relay.ask_to_stop();
    until_draining(&mut host).await;
    while device.next().await != Said::Draining {}
    assert!(relay.handle.status().draining);

    // What runs goes on.
    host.send(idx, &[7; 900]).await;
    assert_eq!(device.receive(900).await, [7; 900]);
    // Nobody new gets in.
    assert!(matches!(relay.dial().await, Err(DialError::Unreachable { .. })));

    drop((host, device));
    soon("the relay to end", relay.ended()).await;
}

#[tokio::test]
async fn links_that_stay_are_ended_when_the_time_is_over() {
    let drain = Duration::from_millis(400);
    let mut relay = Running::start(with_drain(drain)).await;
    let mut host = Host::register(&relay).await;
    let mut device = host.dial(&relay).await;
    let asked = Instant::now();
    relay.ask_to_stop();
    let host_hears = async {
        loop {
            if let Said::HungUp(code) = host.next().await {
                return code;
            }
        }
    };
    let device_hears = async {
        loop {
            if let Said::HungUp(code) = device.next().await {
                return code;
            }
        }
    };
    assert_eq!(tokio::join!(host_hears, device_hears), (Some(4009), Some(4009)));
    assert!(asked.elapsed() >= drain, "ended after {:?}", asked.elapsed());
    soon("the relay to end", relay.ended()).await;
}

#[tokio::test]
async fn a_link_that_has_not_said_what_it_wants_gets_nothing_while_the_relay_drains() {
    let mut relay = Running::start(with_drain(FOR_EVER)).await;
    let mut host = Host::register(&relay).await;
    let purpose = Purpose::Dial { route_id: host.route, capability: host.capability() };
    // Linked and greeted, and silent so far.
    let mut late = Device::connect(&relay, purpose).await;
    relay.until("both links", |status| status.links == 2).await;
    relay.ask_to_stop();
    until_draining(&mut host).await;
    loop {
        match late.next().await {
            Said::Draining => {}
            Said::HungUp(code) => break assert_eq!(code, Some(4009)),
            other => panic!("{other:?}"),
        }
    }
    drop((host, late));
    soon("the relay to end", relay.ended()).await;
}
