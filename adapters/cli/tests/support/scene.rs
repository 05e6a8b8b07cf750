//! A relay and a host behind a man in the middle, or with settings of their own; and what tests of security do to them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared, and each test file uses its part")]

use core::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use homing_local::Vault;
use homing_local::control::{Connection, Role, call};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mitm::Mitm;
use crate::support::{Device, HOST, Process, run, start_relay, within};

/// Relay, man in the middle, host: all links of devices and of the host pass him.
pub struct Scene {
    pub relay: Process,
    pub mitm: Mitm,
    pub host: Process,
    pub dir: TempDir,
}

impl Scene {
    pub async fn start(exposed: &[(&str, String)]) -> Self {
        let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (relay, address) = start_relay(&dir.path().join("relay"), any).await;
        let mitm = Mitm::start(address).await;
        let url = format!("ws://{}", mitm.address);
        let exposed: Vec<_> = exposed.iter().map(|(name, url)| format!("{name}={url}")).collect();
        let mut args = vec!["host", "start", "--relay", &url, "--name", HOST];
        args.extend(exposed.iter().flat_map(|service| ["--expose", service]));
        let host = Process::start("host", &dir.path().join("host"), &args);
        host.logged("reachable through relay").await;
        Self { relay, mitm, host, dir }
    }

    pub fn host_data(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    pub async fn pair(&self, name: &str) -> Device {
        pair(&self.host_data(), &self.dir.path().join(name), name).await
    }
}

/// Pairs the device in `data` with the host in `host`.
pub async fn pair(host: &Path, data: &Path, name: &str) -> Device {
    let (link, mut dialog) = ticket(host, &json!({})).await;
    let paired = run(data, &["pair", &link, "--name", name, "--json"]).await;
    assert_eq!(paired.code, 0, "pairing failed: {paired}");
    let said = event(&mut dialog).await;
    let id = said["device"]["id"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
    Device { name: name.into(), data: data.into(), id, paired: serde_json::from_str(paired.stdout.trim()).unwrap() }
}

/// Opens a pairing dialog with these settings; its link.
pub async fn ticket(host: &Path, settings: &Value) -> (String, Connection) {
    let mut request = json!({ "cmd": "pair", "confirm": false });
    request.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let mut dialog = call(host, Role::Host, &request).await.unwrap();
    let said = event(&mut dialog).await;
    assert_eq!(said["event"], "ticket");
    (said["link"].as_str().unwrap().to_owned(), dialog)
}

/// What a dialog says next.
pub async fn event(dialog: &mut Connection) -> Value {
    within(dialog.next()).await.unwrap().expect("an event")
}

/// Asks the running host one thing.
pub async fn ask(host: &Path, request: &Value) -> Value {
    let mut connection = call(host, Role::Host, request).await.unwrap();
    within(connection.next()).await.unwrap().expect("an answer")
}

/// The host's devices, as `host devices list` says.
pub async fn devices(host: &Path) -> Vec<Value> {
    let listed = run(host, &["host", "devices", "list", "--json"]).await;
    assert_eq!(listed.code, 0, "{listed}");
    serde_json::from_str(listed.stdout.trim()).unwrap()
}

/// The hosts of a device, as `hosts list` says.
pub async fn hosts(device: &Path) -> Vec<Value> {
    let listed = run(device, &["hosts", "list", "--json"]).await;
    assert_eq!(listed.code, 0, "{listed}");
    serde_json::from_str(listed.stdout.trim()).unwrap()
}

/// What an encrypted file holds, opened with its key.
pub fn unseal(dir: &Path, name: &str) -> Value {
    let (state, key) = (format!("{name}.enc"), format!("{name}.key"));
    Vault::<Value>::open(dir, &state, &key).unwrap().expect("a state file").1
}

/// Changes what an encrypted file holds.
pub fn reseal(dir: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let (state, key) = (format!("{name}.enc"), format!("{name}.key"));
    let (mut vault, _) = Vault::<Value>::open(dir, &state, &key).unwrap().expect("a state file");
    vault.update(change).unwrap();
}

/// Every string of hexadecimal digits in a document that is long enough to be a key or a token.
pub fn keys_in(document: &Value) -> Vec<String> {
    match document {
        Value::Array(items) => items.iter().flat_map(keys_in).collect(),
        Value::Object(members) => members.values().flat_map(keys_in).collect(),
        Value::String(text) if text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            vec![text.clone()]
        }
        _ => Vec::new(),
    }
}

/// The bytes of hexadecimal digits.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Whether `needle` is in `hay`.
pub fn holds(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// Everything below a directory, itself included, with its mode.
pub fn tree(dir: &Path) -> Vec<(PathBuf, std::fs::FileType, u32)> {
    let meta = std::fs::symlink_metadata(dir).unwrap();
    let mut found = vec![(dir.to_path_buf(), meta.file_type(), meta.permissions().mode() & 0o777)];
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(tree(&entry.path()));
        } else {
            found.push((entry.path(), meta.file_type(), meta.permissions().mode() & 0o777));
        }
    }
    found
}
