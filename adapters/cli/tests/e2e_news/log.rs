//! The log of devices.

use super::*;
use crate::support::service::Site;
use crate::support::{Forward, PATIENCE, Process};

/// Starts to talk to the host, and goes on.
async fn connected(device: &Device) -> Forward {
    let web = device.forward("web").await;
    web.process.logged("connected").await;
    web
}

/// The events about devices that a process has said, each with the name that it is about.
fn told(process: &Process) -> Vec<(String, String)> {
    let events = process.said().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let of_devices = events.filter(|event| event["event"] == "device");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_devices.map(|event| (text(&event["change"]), text(&event["device"]["name"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_hears_at_once_of_every_other_that_comes_changes_and_goes() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let first = world.pair().await;
    let proxy = first.proxy().await;
    // The proxy calls the host when it is first asked for.
    let url = format!("http://web.{HOST}.homing/show");
    let answer = crate::support::client::curl(&["-x", &proxy.url(""), &url]).await;
    assert_eq!(answer.code, 0, "{answer}");
    let host = world.host_data();

    let second = world.pair().await;
    proxy.process.logged(&format!("\"device-1\" was added to {HOST}")).await;
    let renamed = run(&host, &["host", "devices", "rename", &second.id, "ta\u{202e}blet"]).await;
    assert_eq!(renamed.code, 0, "{renamed}");
    proxy.process.logged(&format!("\"device-1\" is called \"ta\\u{{202e}}blet\" on {HOST} now")).await;
    let revoked = run(&host, &["host", "devices", "revoke", &second.id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    proxy.process.logged(&format!("\"ta\\u{{202e}}blet\" was removed from {HOST}")).await;
    until("three events", PATIENCE, || told(&proxy.process).len() == 3).await;
    let expected = [("added", "device-1"), ("renamed", "ta\u{202e}blet"), ("removed", "ta\u{202e}blet")];
    assert_eq!(told(&proxy.process), expected.map(|(change, name)| (change.to_owned(), name.to_owned())));

    let log = log_of(&first).await;
    let events: Vec<_> = log["entries"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(events, ["added", "added", "renamed", "removed"], "{log}");
    assert_eq!((&log["entries"][0]["device"]["id"], &log["warning"]), (&first.id.as_str().into(), &Value::Null));
    let shown = run(&first.data, &["hosts", "log", HOST]).await;
    assert!(shown.stdout.contains("ta\u{fffd}blet (was device-1)"), "{shown}");
    // The device that is gone has heard of no end of its own, and of none before itself.
    assert_eq!(log_of(&second).await["entries"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_a_device_was_away_or_the_host_was_down_is_told_later() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let (first, second) = (world.pair().await, world.pair().await);
    drop(connected(&first).await);
    until_known(&first, 2).await;
    world.host.kill();
    let revoked = run(&world.host_data(), &["host", "devices", "revoke", &second.id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    world.restart_host();
    let web = connected(&first).await;
    web.process.logged("\"device-1\" was removed from").await;
    let log = log_of(&first).await;
    assert_eq!((log["entries"].as_array().unwrap().len(), &log["warning"]), (3, &Value::Null));
}

/// Connects until the copy has so many entries.
async fn until_known(device: &Device, entries: usize) {
    let _web = connected(device).await;
    let started = tokio::time::Instant::now();
    while log_of(device).await["entries"].as_array().unwrap().len() != entries {
        assert!(started.elapsed() < PATIENCE, "{}", log_of(device).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_state_was_put_back_is_noticed() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let (first, second) = (world.pair().await, world.pair().await);
    until_known(&first, 2).await;
    world.host.kill();
    let (state, host) = (world.host_data().join("relay.enc"), world.host_data());
    let older = std::fs::read(&state).unwrap();
    let revoked = run(&host, &["host", "devices", "revoke", &second.id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    world.restart_host();
    until_known(&first, 3).await;
    let fine = json(&first.data, &["status"]).await;
    assert_eq!(fine["warnings"], serde_json::json!([]));

    // Whoever puts it back lets the revoked device in again.
    world.host.kill();
    std::fs::write(&state, older).unwrap();
    world.restart_host();
    let web = connected(&first).await;
    let event = web.process.event("device_log_broken").await;
    assert_eq!(event["warning"], "rolled_back");
    web.process.logged("its state was put back to an older copy").await;
    assert!(told(&web.process).is_empty(), "no news in what is old");
    drop(web);

    let status = json(&first.data, &["status"]).await;
    assert_eq!(
        (&status["warnings"][0]["host"], &status["warnings"][0]["warning"]),
        (&HOST.into(), &"rolled_back".into())
    );
    let shown = run(&first.data, &["status"]).await;
    assert!(shown.stdout.contains("put back to an older copy") && shown.stdout.contains("--accept"), "{shown}");
    let log = log_of(&first).await;
    assert_eq!(log["entries"].as_array().unwrap().len(), 2, "{log}");
    assert_eq!(log["warning"]["before"][2]["event"], "removed", "{log}");

    // It stays until somebody says that it is known.
    until_known(&first, 2).await;
    assert_eq!(log_of(&first).await["warning"]["warning"], "rolled_back");
    assert_eq!(json(&first.data, &["hosts", "log", HOST, "--accept"]).await["accepted"], true);
    until_known(&first, 2).await;
    assert_eq!(log_of(&first).await["warning"], Value::Null);
    assert_eq!(json(&first.data, &["status"]).await["warnings"], serde_json::json!([]));
}
