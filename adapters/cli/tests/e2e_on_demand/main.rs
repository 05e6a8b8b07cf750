//! A host on demand: what it keeps open while nobody needs it, who wakes it, and how it goes back.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod behind;
#[path = "../support/mod.rs"]
mod support;

use core::time::Duration;
use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use support::client::{Http, curl, curled};
use support::service::Site;
use support::{Device, HOST, PATIENCE, Process, World, run, until};

const SETTINGS: &str = "on_demand = true\nlinger_seconds = 1";
const READY: &str = "waiting at relay";

/// A host that waits to be woken.
async fn start() -> (Site, World) {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    world.set_host(SETTINGS, READY).await;
    (site, world)
}

/// TCP connections of a process to this port, as the kernel has them.
fn connections(process: &Process, port: u16) -> usize {
    let links = std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap();
    let names = links.flatten().filter_map(|link| std::fs::read_link(link.path()).ok());
    let sockets: HashSet<String> =
        names.filter_map(|name| Some(name.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let to = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Local address, remote address, state (01: established), and the socket's number.
    rows.filter(|row| row[2].ends_with(&to) && row[3] == "01" && sockets.contains(row[9])).count()
}

async fn ask(data: &Path, args: &[&str]) -> Value {
    let said = run(data, args).await;
    assert_eq!(said.code, 0, "{said}");
    serde_json::from_str(said.stdout.trim()).unwrap()
}

/// Hosts that wait, hosts with a link, and links, as the relay counts them.
async fn counts(world: &World) -> [u64; 3] {
    let status = ask(&world.relay_data(), &["relay", "status", "--json"]).await;
    ["waiting", "hosts", "links"].map(|name| status[name].as_u64().unwrap())
}

/// What the relay has turned away.
async fn refused(world: &World) -> u64 {
    ask(&world.relay_data(), &["relay", "status", "--json"]).await["refused"].as_u64().unwrap()
}

/// The host's entry in `homing status`.
async fn status(world: &World) -> Value {
    let all = ask(&world.host_data(), &["status", "--json"]).await;
    all["roles"].as_array().unwrap().iter().find(|role| role["role"] == "host").unwrap().clone()
}

/// Waits until the host has nothing but its stream.
async fn asleep(world: &World) {
    let started = tokio::time::Instant::now();
    while counts(world).await != [1, 0, 1] {
        assert!(started.elapsed() < PATIENCE, "still {:?}", counts(world).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("one connection", PATIENCE, || connections(&world.host, world.relay_address.port()) == 1).await;
    let status = status(world).await;
    assert_eq!((status["links"][0]["state"].as_str(), status["sessions"].as_u64()), (Some("waiting"), Some(0)));
}

/// What the call of a device's process is doing.
async fn link_of(device: &Device) -> String {
    let all = ask(&device.data, &["status", "--json"]).await;
    let role = all["roles"].as_array().unwrap().iter().find(|role| role["role"] == "device").unwrap().clone();
    role["links"][0]["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_one_stream_and_a_device_wakes_it() {
    let (_site, mut world) = start().await;
    asleep(&world).await;
    let shown = status(&world).await;
    assert_eq!((&shown["on_demand"], &shown["max_sessions"]), (&true.into(), &64.into()));

    // A pairing link wakes it by itself, before any device comes.
    let device = world.pair().await;
    asleep(&world).await;

    for round in 0..2 {
        let forward = device.forward("web").await;
        let answer = curled(&["--max-time", "30", &forward.url("/show")]).await;
        assert!(answer.starts_with("GET /show") && answer.contains(&device.id), "{answer}");
        // As long as the device has a stream it stays, whatever the time.
        let mut feed = Http::to(forward.address).await;
        assert_eq!(feed.get("/events/1").await.status, 200);
        for _ in 0..2 {
            let now = status(&world).await;
            assert_eq!(now["links"][0]["state"], "connected", "{now}");
            assert_eq!(counts(&world).await, [1, 1, 3], "round {round}: a stream, a link, and the device's");
            assert_eq!(connections(&world.host, world.relay_address.port()), 2);
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        // A device that wants nothing of it lets it sleep, and wakes it when it wants something.
        drop(feed);
        asleep(&world).await;
        assert_eq!(link_of(&device).await, "resting");
        assert!(forward.process.is_running());
        let again = curled(&["--max-time", "30", &forward.url("/show")]).await;
        assert!(again.contains(&device.id), "{again}");
        drop(forward);
        asleep(&world).await;
    }

    // By the proxy as well, after the relay was gone for a while.
    world.relay.kill();
    world.restart_relay().await;
    asleep(&world).await;
    let proxy = device.proxy().await;
    let (through, url) = (proxy.url(""), format!("http://web.{HOST}.homing/show"));
    let answer = curl(&["--max-time", "30", "-x", &through, &url]).await;
    assert!(answer.code == 0 && answer.stdout.contains(&device.id), "{answer}");
    drop(proxy);
    asleep(&world).await;

    // And it says goodbye at once.
    let since = std::time::Instant::now();
    world.host.signal("TERM");
    assert_eq!(world.host.ended().await, 0);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_revoked_wakes_nobody() {
    let (_site, mut world) = start().await;
    let device = world.pair().await;
    let other = world.pair().await;
    asleep(&world).await;
    let revoked = run(&world.host_data(), &["host", "devices", "revoke", &device.id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    let knocks = |world: &World| {
        let log = world.host.log();
        log.iter().filter(|line| line.contains("a device knocks") || line.contains("reachable through relay")).count()
    };
    // Neither while the relay remembers, nor after one that remembers nothing has taken its place.
    for _ in 0..2 {
        let before = knocks(&world);
        assert_eq!(refused(&world).await, 0);
        let connect = run(&device.data, &["connect", &format!("{HOST}/web")]).await;
        assert_ne!(connect.code, 0, "{connect}");
        assert!(refused(&world).await > 0, "the relay turned it away");
        assert_eq!(knocks(&world), before, "the host has heard nothing of it");
        assert_eq!(counts(&world).await, [1, 0, 1]);
        world.relay.kill();
        world.restart_relay().await;
        asleep(&world).await;
    }
    // The other one does wake it.
    let forward = other.forward("web").await;
    assert!(curled(&["--max-time", "30", &forward.url("/show")]).await.contains(&other.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_cut_off_and_comes_back_as_it_is_told() {
    let (_site, world) = start().await;
    let device = world.pair().await;
    asleep(&world).await;
    assert_eq!(run(&world.host_data(), &["host", "disable"]).await.code, 0);
    until("no connection", PATIENCE, || connections(&world.host, world.relay_address.port()) == 0).await;
    assert_eq!(status(&world).await["links"][0]["state"], "disabled");
    assert_eq!(counts(&world).await, [0, 0, 0]);
    assert_eq!(run(&world.host_data(), &["host", "enable"]).await.code, 0);
    asleep(&world).await;
    let forward = device.forward("web").await;
    assert!(curled(&["--max-time", "30", &forward.url("/show")]).await.contains(&device.id));
    // While a device is there, too.
    assert_eq!(run(&world.host_data(), &["host", "disable"]).await.code, 0);
    until("no connection", PATIENCE, || connections(&world.host, world.relay_address.port()) == 0).await;
    assert_eq!(run(&world.host_data(), &["host", "enable"]).await.code, 0);
    let answer = curl(&["--max-time", "30", "--retry", "10", "--retry-all-errors", &forward.url("/show")]).await;
    assert!(answer.stdout.contains(&device.id), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_sessions_than_it_allows() {
    let (_site, mut world) = start().await;
    let (first, second) = (world.pair().await, world.pair().await);
    world.set_host("on_demand = true\nlinger_seconds = 1\nmax_sessions = 1", READY).await;
    assert_eq!(status(&world).await["max_sessions"], 1);
    let forward = first.forward("web").await;
    assert!(curled(&["--max-time", "30", &forward.url("/show")]).await.contains(&first.id));
    let mut feed = Http::to(forward.address).await;
    assert_eq!(feed.get("/events/1").await.status, 200);
    let turned_away = second.forward("web").await;
    let answer = curl(&["--max-time", "3", &turned_away.url("/show")]).await;
    assert!(!answer.stdout.contains(&second.id), "{answer}");
    turned_away.process.logged("not connected").await;
    // It has its turn once the first wants nothing more.
    drop(feed);
    let answer = curl(&["--max-time", "35", "--retry", "20", "--retry-all-errors", &turned_away.url("/show")]).await;
    assert!(answer.stdout.contains(&second.id), "{answer}");
}
