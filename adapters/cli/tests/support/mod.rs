//! A relay, a host and devices as processes of the real binary, each with a data directory of its own. Services and
//! clients that tests use are in the modules beside.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    reason = "shared, and each test file uses its part"
)]

pub mod authority;
pub mod browser;
pub mod client;
pub mod process;
pub mod service;
pub mod ssh;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

pub use process::{Finished, Process, homing, rss_peak, run};

/// For what should take a moment: generous, as the tests share two cores.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// What the host is called by its devices.
pub const HOST: &str = "nest";

/// Waits for a future, no longer than [`PATIENCE`].
pub async fn within<F: Future>(future: F) -> F::Output {
    in_time(PATIENCE, future).await
}

/// Waits for a future, no longer than `limit`.
pub async fn in_time<F: Future>(limit: Duration, future: F) -> F::Output {
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("not within {limit:?}"))
}

/// Waits until `condition` holds; `what` says in the failure what was waited for.
pub async fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A relay and a host that reached it.
pub struct World {
    pub relay: Process,
    /// Where the relay listens, also after a restart.
    pub relay_address: SocketAddr,
    pub host: Process,
    exposed: Vec<String>,
    devices: AtomicUsize,
    // Last: the processes end before their directories go.
    pub dir: TempDir,
}

impl World {
    /// Starts relay and host, and waits until the host can be reached. `exposed` are names and URLs.
    pub async fn start(exposed: &[(&str, String)]) -> Self {
        let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (relay, relay_address) = start_relay(&dir.path().join("relay"), any).await;
        let exposed: Vec<_> = exposed.iter().map(|(name, url)| format!("{name}={url}")).collect();
        let host = start_host(&dir.path().join("host"), &[format!("ws://{relay_address}")], &exposed);
        host.logged("reachable through relay").await;
        Self { relay, relay_address, host, exposed, devices: AtomicUsize::new(0), dir }
    }

    /// Starts the host anew with these settings of its section, and waits until it logs `ready`.
    pub async fn set_host(&mut self, settings: &str, ready: &str) {
        self.host.kill();
        std::fs::write(self.host_data().join("homing.toml"), format!("[host]\n{settings}\n")).unwrap();
        self.restart_host();
        self.host.logged(ready).await;
    }

    /// The relay as hosts name it.
    pub fn relay_url(&self) -> String {
        format!("ws://{}", self.relay_address)
    }

    pub fn relay_data(&self) -> PathBuf {
        self.dir.path().join("relay")
    }

    pub fn host_data(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    /// Starts the relay again where it was. The old one has to be gone.
    pub async fn restart_relay(&mut self) {
        let (relay, address) = start_relay(&self.relay_data(), self.relay_address).await;
        assert_eq!(address, self.relay_address);
        self.relay = relay;
    }

    /// Starts the host again with the same data directory. The old one has to be gone.
    pub fn restart_host(&mut self) {
        self.host = start_host(&self.host_data(), &[self.relay_url()], &self.exposed);
    }

    /// Starts the host again, to keep sessions only so long after their link was lost.
    pub async fn keep(&mut self, seconds: u64) {
        self.host.kill();
        let settings = format!("[host]\nkeep_seconds = {seconds}\n");
        std::fs::write(self.host_data().join("homing.toml"), settings).unwrap();
        self.restart_host();
        self.host.logged("reachable through relay").await;
    }

    /// Pairs a device that has not been before.
    pub async fn pair(&self) -> Device {
        self.pair_with(&[]).await
    }

    /// The same with further flags for `host pair`.
    pub async fn pair_with(&self, flags: &[&str]) -> Device {
        let number = self.devices.fetch_add(1, Ordering::Relaxed);
        let name = format!("device-{number}");
        pair(&self.host_data(), &self.dir.path().join(&name), &name, flags).await
    }
}

/// Pairs the device that is to have its data here with the host that runs there, with these further flags for
/// `host pair`.
pub async fn pair(host: &Path, data: &Path, name: &str, flags: &[&str]) -> Device {
    let dialog = Process::start("host pair", host, &[&["host", "pair", "--auto", "--json"], flags].concat());
    let ticket = dialog.event("ticket").await;
    let link = ticket["link"].as_str().expect("a link");
    let paired = run(data, &["pair", link, "--name", name, "--json"]).await;
    assert_eq!(paired.code, 0, "pairing failed: {paired}");
    let paired: Value = serde_json::from_str(paired.stdout.trim()).expect("one JSON object");
    assert_eq!(paired["host"]["name"], HOST);
    let said = dialog.event("paired").await;
    assert_eq!(said["device"]["name"], name);
    assert_eq!(dialog.ended().await, 0);
    let id = said["device"]["id"].as_str().expect("an id").to_owned();
    Device { name: name.into(), data: data.into(), id, paired }
}

/// Starts a relay for anyone on this machine; port 0 takes any.
pub async fn start_relay(data: &Path, listen: SocketAddr) -> (Process, SocketAddr) {
    let listen = listen.to_string();
    let relay = Process::start("relay", data, &["relay", "start", "--listen", &listen, "--open", "--json"]);
    let listening = relay.event("listening").await;
    let address = listening["address"].as_str().expect("an address").parse().expect("IP:PORT");
    (relay, address)
}

/// Starts the host at these relays, with services as `NAME=URL`. It may not be reachable yet.
pub fn start_host(data: &Path, relays: &[String], exposed: &[String]) -> Process {
    let mut args = vec!["host", "start", "--name", HOST, "--json"];
    args.extend(relays.iter().flat_map(|url| ["--relay", url]));
    args.extend(exposed.iter().flat_map(|service| ["--expose", service]));
    Process::start("host", data, &args)
}

/// All links that `homing status` tells of in this data directory.
pub async fn links(data: &Path) -> Vec<Value> {
    let status = run(data, &["status", "--json"]).await;
    assert_eq!(status.code, 0, "{status}");
    let status: Value = serde_json::from_str(status.stdout.trim()).expect("one JSON object");
    let roles = status["roles"].as_array().expect("its roles");
    roles.iter().flat_map(|role| role["links"].as_array().cloned().unwrap_or_default()).collect()
}

/// A data directory that is paired with the host.
pub struct Device {
    /// What the host calls it.
    pub name: String,
    pub data: PathBuf,
    /// The host's id of it.
    pub id: String,
    /// What `pair --json` said.
    pub paired: Value,
}

/// A running `homing forward`.
pub struct Forward {
    pub process: Process,
    pub address: SocketAddr,
}

impl Device {
    /// Lets its streams wait only so long for a link that was lost, from its next start on.
    pub fn keep(&self, seconds: u64) {
        std::fs::write(self.data.join("homing.toml"), format!("[device]\nkeep_seconds = {seconds}\n")).unwrap();
    }

    /// Starts a forward to a service of the host and waits until it listens.
    pub async fn forward(&self, service: &str) -> Forward {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.forward_at(service, any).await
    }

    /// The same at a given address.
    pub async fn forward_at(&self, service: &str, listen: SocketAddr) -> Forward {
        self.forward_with(service, listen, &[]).await
    }

    /// The same with further flags.
    pub async fn forward_with(&self, service: &str, listen: SocketAddr, flags: &[&str]) -> Forward {
        let (path, listen) = (format!("{HOST}/{service}"), listen.to_string());
        let name = format!("{} forward {service}", self.name);
        let process = Process::start(&name, &self.data, &[&["forward", &path, &listen, "--json"], flags].concat());
        let listening = process.event("listening").await;
        let address = listening["address"].as_str().expect("an address").parse().expect("IP:PORT");
        Forward { process, address }
    }

    /// Starts the HTTP proxy.
    pub async fn proxy(&self) -> Forward {
        let name = format!("{} proxy", self.name);
        let process = Process::start(&name, &self.data, &["proxy", "127.0.0.1:0", "--json"]);
        let listening = process.event("listening").await;
        let address = listening["address"].as_str().expect("an address").parse().expect("IP:PORT");
        Forward { process, address }
    }
}

impl Forward {
    /// `http://ADDRESS` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// The audit trail's entries of this kind, the newest 1,000 at most looked at.
pub async fn trail(host: &Path, event: &str) -> Vec<Value> {
    let shown = run(host, &["host", "audit", "-n", "1000", "--json"]).await;
    assert_eq!(shown.code, 0, "{shown}");
    let entries = shown.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.filter(|entry| entry["event"] == event).collect()
}
