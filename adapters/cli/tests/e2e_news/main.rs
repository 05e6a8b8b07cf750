//! What a host tells its devices of each other: real programs, and a host that goes back on its word.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod log;
mod rollover;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::Value;

use support::{Device, HOST, World, run, until};

/// What a command says as JSON.
async fn json(data: &Path, args: &[&str]) -> Value {
    let ended = run(data, &[args, &["--json"]].concat()).await;
    assert_eq!(ended.code, 0, "{args:?}: {ended}");
    serde_json::from_str(ended.stdout.trim()).unwrap()
}

/// The copy of the host's log on a device.
async fn log_of(device: &Device) -> Value {
    json(&device.data, &["hosts", "log", HOST]).await
}
