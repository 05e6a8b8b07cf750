//! How the host reaches its services: real programs, real servers, and what devices may and may not make of it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod addresses;
mod assertion;
mod pool;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::path::Path;

use serde_json::Value;
use support::client::curl;
use support::{Forward, World, run, trail, until};

/// Status and text of what curl is answered.
async fn status(forward: &Forward, path: &str, args: &[&str]) -> (u16, String) {
    let url = forward.url(path);
    let answer = curl(&[&["-w", "\n%{http_code}", &url], args].concat()).await;
    let (text, code) = answer.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{path}: {answer}"));
    (code.parse().unwrap(), text.to_owned())
}

/// Gives the running host another homing.toml, and waits until it has read it; what it said of it.
async fn configure(world: &World, text: &str) -> String {
    let heard = |line: &String| {
        line.contains("read the settings again") || line.contains("keeping the settings that were read before")
    };
    let before = world.host.log().iter().filter(|line| heard(line)).count();
    std::fs::write(world.host_data().join("homing.toml"), text).unwrap();
    world.host.signal("HUP");
    let mut said = None;
    until("the host reads its settings", support::PATIENCE, || {
        said = world.host.log().into_iter().filter(heard).nth(before);
        said.is_some()
    })
    .await;
    said.unwrap()
}

/// A file for its owner alone.
fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
