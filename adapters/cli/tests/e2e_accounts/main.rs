//! Accounts of a relay: who is let in, what it may use, and how soon it is cut off. Real relays, hosts and devices.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod admission;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/mod.rs"]
mod support;

use core::net::SocketAddr;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use support::{Device, HOST, PATIENCE, Process, run, until};

/// A relay that wants keys.
struct Relay {
    process: Process,
    address: SocketAddr,
    dir: TempDir,
}

impl Relay {
    async fn start(settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
        let data = dir.path().join("relay");
        homing_local::file::make_dir(&data).unwrap();
        std::fs::write(data.join("homing.toml"), settings).unwrap();
        let (process, address) = serve(&data, "127.0.0.1:0").await;
        Self { process, address, dir }
    }

    async fn restart(&mut self) {
        self.process.kill();
        (self.process, self.address) = serve(&self.data(), &self.address.to_string()).await;
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("relay")
    }

    /// `relay keys …`, as JSON.
    async fn keys(&self, args: &[&str]) -> Value {
        let done = run(&self.data(), &[&["relay", "keys", "--json"], args].concat()).await;
        assert_eq!(done.code, 0, "{done}");
        serde_json::from_str(done.stdout.trim()).unwrap()
    }

    /// A file with a new key of an account.
    async fn key_file(&self, args: &[&str]) -> PathBuf {
        let key = self.keys(args).await["relay_key"].as_str().unwrap().to_owned();
        let path = self.dir.path().join(format!("{}.key", args.join("-")));
        homing_local::file::write(&path, key.as_bytes()).unwrap();
        path
    }

    async fn account(&self, name: &str) -> Value {
        let list = self.keys(&["list"]).await;
        list.as_array().unwrap().iter().find(|account| account["name"] == name).unwrap().clone()
    }

    fn host(&self, data: &str, key_file: &Path, service: &str) -> Process {
        let url = format!("ws://{}", self.address);
        let key_file = key_file.to_str().unwrap();
        let args =
            ["host", "start", "--relay", &url, "--name", HOST, "--expose", service, "--relay-key-file", key_file];
        Process::start(data, &self.dir.path().join(data), &args)
    }

    async fn pair(&self, host: &str, name: &str) -> Device {
        let host = self.dir.path().join(host);
        let dialog = Process::start("host pair", &host, &["host", "pair", "--auto", "--json"]);
        let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
        let data = self.dir.path().join(name);
        let paired = run(&data, &["pair", &link, "--name", name, "--json"]).await;
        assert_eq!(paired.code, 0, "{paired}");
        let id = dialog.event("paired").await["device"]["id"].as_str().unwrap().to_owned();
        Device { name: name.into(), data, id, paired: serde_json::from_str(paired.stdout.trim()).unwrap() }
    }
}

async fn serve(data: &Path, listen: &str) -> (Process, SocketAddr) {
    let process = Process::start("relay", data, &["relay", "start", "--listen", listen, "--json"]);
    let address = process.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    (process, address)
}

/// Lines of the log that hold this.
fn count(process: &Process, text: &str) -> usize {
    process.log().iter().filter(|line| line.contains(text)).count()
}

const REACHED: &str = "reachable through relay";
const LOST: &str = "link lost";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_account_is_cut_off_at_once_and_for_good() {
    let mut relay = Relay::start("").await;
    let first = relay.process.event("relay_key").await["relay_key"].as_str().unwrap().to_owned();
    let file = relay.dir.path().join("first.key");
    homing_local::file::write(&file, first.as_bytes()).unwrap();
    let web = format!("web=http://{}", plain::page("", "hello").await);
    let default = relay.host("default", &file, &web);
    let alice = relay.host("alice", &relay.key_file(&["add", "alice"]).await, &web);
    default.logged(REACHED).await;
    alice.logged(REACHED).await;
    let device = relay.pair("alice", "phone").await;
    let forward = device.forward("web").await;
    assert!(plain::get(forward.address, "/", "").await.unwrap().ends_with("hello"));

    let revoked = Instant::now();
    relay.keys(&["revoke", "alice"]).await;
    until("the revoked host's link is cut", Duration::from_secs(2), || count(&alice, LOST) > 0).await;
    assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
    // It comes back, and is turned away.
    until("it is refused", PATIENCE, || count(&alice, LOST) > 1).await;
    assert_eq!(count(&alice, REACHED), 1);
    assert!(alice.log().iter().rfind(|line| line.contains(LOST)).unwrap().contains("den"), "{:?}", alice.log());
    assert_eq!((count(&default, LOST), relay.account("alice").await["state"].as_str()), (0, Some("revoked")));
    assert!(!relay.process.log().join("\n").contains(&first), "no key in the log");

    // The same over a restart, also for what was done while no relay ran.
    relay.process.kill();
    let bob = relay.key_file(&["add", "bob", "--for", "7d"]).await;
    let again = run(&relay.data(), &["relay", "keys", "add", "bob"]).await;
    assert!(again.code == 1 && again.stderr.contains("keys rotate bob"), "{again}");
    relay.restart().await;
    assert_eq!(count(&relay.process, "relay_key"), 0);
    let bob = relay.host("bob", &bob, &web);
    bob.logged(REACHED).await;
    until("the first host is back", PATIENCE, || count(&default, REACHED) == 2).await;
    assert_eq!(count(&alice, REACHED), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_without_a_gap_and_the_old_one_ends_on_time() {
    let relay = Relay::start("").await;
    let web = format!("web=http://{}", plain::page("", "hello").await);
    let old = relay.key_file(&["add", "alice"]).await;
    let host = relay.host("old", &old, &web);
    host.logged(REACHED).await;
    let new = relay.key_file(&["rotate", "alice", "--overlap", "3s"]).await;
    let rotated = Instant::now();
    assert!(relay.account("alice").await["old_key_until"].is_string());
    // Hosts that come with either key are let in meanwhile.
    let replaced = relay.host("new", &new, &web);
    replaced.logged(REACHED).await;
    let late = relay.host("late", &old, &web);
    late.logged(REACHED).await;
    assert_eq!(count(&host, LOST), 0);
    until("the old key has ended for who comes anew", PATIENCE, || count(&late, LOST) > 1).await;
    assert!(rotated.elapsed() >= Duration::from_secs(2), "{:?}", rotated.elapsed());
    assert_eq!((count(&late, REACHED), count(&replaced, LOST)), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_limits_hosts_devices_and_the_rate() {
    let plans = "[plans.small]\nhosts = 1\ndevices = 1\nbytes_per_second = 100000\n\
                 [plans.month]\nbytes_per_month = 200000\n";
    let relay = Relay::start(plans).await;
    let fountain = format!("tap=tcp://{}", plain::fountain(500_000).await);
    let key = relay.key_file(&["add", "alice", "--plan", "small"]).await;
    let host = relay.host("host", &key, &fountain);
    host.logged(REACHED).await;
    let second = relay.host("second", &key, &fountain);
    second.logged(LOST).await;
    assert_eq!(count(&second, REACHED), 0);
    second.kill();

    let (phone, laptop) = (relay.pair("host", "phone").await, relay.pair("host", "laptop").await);
    let forward = phone.forward("tap").await;
    let began = Instant::now();
    let mut tcp = tokio::net::TcpStream::connect(forward.address).await.unwrap();
    let heard = plain::hear(&mut tcp).await;
    // A second's worth at once, and what the links' windows take in before anyone waits.
    assert!(began.elapsed() > Duration::from_secs(2), "{:?} for {heard:?}", began.elapsed());
    let busy = run(&laptop.data, &["connect", &format!("{HOST}/tap")]).await;
    assert!(busy.code == 3, "one device at a time: {busy}");
    drop(forward);

    // What a month allows is used up: the host is cut off, and the account's use is on record.
    let key = relay.key_file(&["add", "bob", "--plan", "month"]).await;
    let month = relay.host("month", &key, &fountain);
    month.logged(REACHED).await;
    let device = relay.pair("month", "tablet").await;
    let forward = device.forward("tap").await;
    let _tcp = tokio::net::TcpStream::connect(forward.address).await.unwrap();
    until("the month is used up", PATIENCE, || count(&month, LOST) > 0).await;
    // It stays away for as long as it was told, half a minute; nobody else of the account gets in, either.
    let other = relay.host("other", &key, &fountain);
    other.logged(LOST).await;
    assert_eq!((count(&month, REACHED), count(&other, REACHED)), (1, 0));
    within_list(&relay, "bob", 200_000).await;
    let unknown = relay.host("unknown", &relay.key_file(&["add", "carol", "--plan", "huge"]).await, &fountain);
    unknown.logged(LOST).await;
    relay.process.logged("plan is not in homing.toml").await;
}

/// Waits until an account's use is written down.
async fn within_list(relay: &Relay, name: &str, least: u64) {
    let began = Instant::now();
    while relay.account(name).await["bytes_this_month"].as_u64().unwrap() < least {
        assert!(began.elapsed() < PATIENCE, "{}", relay.account(name).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
