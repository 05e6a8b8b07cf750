//! What a device passes on, and what becomes of it: real programs, real services; the host is not asked.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod ends;
mod reach;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;

use support::client::status;
use support::{Device, Finished, Forward, HOST, World, run, trail};

/// What `homing guest` with these flags says.
async fn pass_on(of: &Device, flags: &[&str]) -> Value {
    let made = run(&of.data, &[&["guest", HOST, "--json"], flags].concat()).await;
    assert_eq!(made.code, 0, "{made}");
    let event: Value = serde_json::from_str(made.stdout.trim()).unwrap();
    assert_eq!(event["event"], "guest");
    event
}

/// `homing pair` with a guest's link, in a fresh data directory.
async fn accept(world: &World, name: &str, event: &Value) -> (Device, Finished) {
    let data = world.dir.path().join(name);
    let paired = run(&data, &["pair", event["link"].as_str().unwrap(), "--json"]).await;
    let said = serde_json::from_str(paired.stdout.trim()).unwrap_or_default();
    (Device { name: name.into(), data, id: String::new(), paired: said }, paired)
}

/// A guest that was let in.
async fn guest(world: &World, name: &str, of: &Device, flags: &[&str]) -> Device {
    let event = pass_on(of, &[&["--name", name], flags].concat()).await;
    let (guest, paired) = accept(world, name, &event).await;
    assert_eq!(paired.code, 0, "{paired}");
    assert_eq!(guest.paired["unreached"], Value::Null, "{paired}");
    guest
}

/// The services that a guest was shown.
fn names(guest: &Device) -> Vec<&str> {
    guest.paired["services"].as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap()).collect()
}

/// How `homing connect` to a service ends, and what it says.
async fn connect(device: &Device, service: &str) -> (i32, String) {
    let ended = run(&device.data, &["connect", &format!("{HOST}/{service}")]).await;
    (ended.code, ended.stderr)
}
