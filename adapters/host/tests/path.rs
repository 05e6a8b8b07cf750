//! The whole path with real sockets: relay, host and the driver's device end, in one process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/world.rs"]
mod world;

use core::time::Duration;

use homing_core::channel::code;
use homing_core::crypto::Identity;
use homing_core::handshake::Suite;
use homing_core::hop::Code;
use homing_core::pairing::parse_link;
use homing_driver::Ended;
use homing_host::{HostHandle, PairOptions};
use tokio::time::timeout;

use world::{PATIENCE, World, echo, entropy, start_host};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_pairs_once_and_then_reaches_the_service() {
    let data = tempfile::tempdir().unwrap();
    for suite in [Suite::Hybrid, Suite::Classic] {
        let world = World::start(&data.path().join(format!("{suite:?}")), suite).await;
        let device = world.pair().await;
        let (opener, _running) = world.connect(&device).await;
        for len in [0, 1, 64 * 1024, 3_000_000] {
            assert_eq!(echo(&opener, len).await, len);
        }
        let all = (0..200).map(|i| echo(&opener, 1000 + i));
        let lens = futures_util::future::join_all(all).await;
        assert!(lens.iter().enumerate().all(|(i, len)| *len == 1000 + i));
        assert_eq!(world.host.devices().len(), 1);
    }
}

/// A device that pairs again, with its key and while its link lives, gets a new record. What it
/// opened under the old one must not outlive the revocation of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_does_not_outlive_its_devices_record() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let dialog = world.host.pair(PairOptions::default()).unwrap();
    let ticket = parse_link(&dialog.link()).unwrap();
    let identity = Identity::generate(&mut entropy());
    let (first, first_ended) = world.pair_with(&ticket, &identity).await;
    assert_eq!(echo(&first, 10).await, 10);
    let (second, second_ended) = world.pair_with(&ticket, &identity).await;
    let ended = timeout(PATIENCE, first_ended).await.expect("the old session ends").unwrap();
    assert!(matches!(ended, Ended::Closed { code: code::SUPERSEDED, .. }), "{ended}");
    assert_eq!(echo(&second, 10).await, 10);
    assert_eq!(world.host.devices().len(), 1);
    world.host.revoke("test device").await.unwrap();
    let ended = timeout(PATIENCE, second_ended).await.unwrap().unwrap();
    assert!(matches!(ended, Ended::Closed { code: code::REVOKED, .. }), "{ended}");
}

/// The capability of a device's latest session is in no record yet when the device is revoked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_turns_away_what_a_revoked_device_got_last() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let mut device = world.pair().await;
    for _ in 0..2 {
        let (opener, running) = world.connect(&device).await;
        assert_eq!(echo(&opener, 10).await, 10);
        opener.close();
        timeout(PATIENCE, running).await.unwrap().unwrap();
        device.paired.capability = world.fresh.lock().unwrap().take().expect("each session brings one");
    }
    world.host.rename("test device", "renamed").await.unwrap();
    world.host.revoke("renamed").await.unwrap();
    let mut ended = Ended::Asked;
    // The first of them may be faster than the host's word to the relay.
    for _ in 0..4 {
        ended = world.call_until_it_ends(&device).await;
    }
    assert!(matches!(ended, Ended::Hop(Code::Denied)), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enabling_what_is_enabled_disturbs_nobody() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    let (opener, running) = world.connect(&device).await;
    world.host.set_enabled(true).await.unwrap();
    // A second device takes longer to pair than a link takes to end.
    world.pair().await;
    assert!(!running.is_finished());
    assert_eq!(echo(&opener, 10).await, 10);
    world.host.set_enabled(false).await.unwrap();
    timeout(PATIENCE, running).await.expect("disabling ends it").unwrap();
}

/// Two hosts with one key, as a copied directory makes them, do not take turns for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_another_replaced_stays_away() {
    let (data, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    for file in [homing_host::registry::STATE_FILE, homing_host::registry::KEY_FILE] {
        std::fs::copy(data.path().join(file), copied.path().join(file)).unwrap();
    }
    let copy = start_host(copied.path(), &world.url, Suite::Classic).await;
    let state = |host: &HostHandle| host.status()["links"][0]["state"].clone();
    timeout(PATIENCE, async {
        while state(&world.host) != "superseded" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the first one gives way");
    assert_eq!(state(&copy), "connected");
    let (opener, _running) = world.connect(&device).await;
    assert_eq!(echo(&opener, 10).await, 10);
    // A person decides otherwise.
    world.host.set_enabled(false).await.unwrap();
    world.host.set_enabled(true).await.unwrap();
    timeout(PATIENCE, async {
        while state(&copy) != "superseded" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the copy gives way");
    timeout(PATIENCE, async {
        while state(&world.host) != "connected" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the first one is back");
}

/// A device that did not hear the end of its pairing pairs again, and is the same device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairing_again_with_the_same_key_keeps_the_device() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let dialog = world.host.pair(PairOptions::default()).unwrap();
    let ticket = parse_link(&dialog.link()).unwrap();
    let identity = Identity::generate(&mut entropy());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (opener, _running) = world.pair_with(&ticket, &identity).await;
        assert_eq!(echo(&opener, 10).await, 10);
        let devices = world.host.devices();
        assert_eq!(devices.len(), 1);
        ids.push(devices[0]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
}
