//! Roles that are killed, stopped and started again: the others find back to them by themselves.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use core::time::Duration;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Instant;

use support::client::{Http, curl, curled};
use support::service::{Site, content_hash};
use support::{Forward, World, in_time, run, until};
use tokio::io::AsyncReadExt;

/// How long everyone may take to be back. Waiting times grow to half a minute at most.
const BACK: Duration = Duration::from_secs(35);

/// Asks until there is an answer.
async fn answers_again(forward: &Forward) -> String {
    let started = Instant::now();
    let url = forward.url("/show");
    loop {
        let limit = BACK.saturating_sub(started.elapsed()).as_secs().max(1).to_string();
        let answer = curl(&["--max-time", &limit, &url]).await;
        if answer.code == 0 && answer.stdout.starts_with("GET /show") {
            eprintln!("back after {:.1?}", started.elapsed());
            return answer.stdout;
        }
        assert!(started.elapsed() < BACK, "not back within {BACK:?}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_is_back_after_the_relay_was_killed() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    for _ in 0..2 {
        curled(&[&forward.url("/show")]).await;
        world.relay.kill();
        // Long enough that both have noticed and tried in vain.
        let mut http = Http::to(forward.address).await;
        http.send("GET /show HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let early = tokio::time::timeout(Duration::from_secs(3), http.read.read_u8()).await;
        assert!(!matches!(early, Ok(Ok(_))), "an answer without a relay");
        world.restart_relay().await;
        let shown = answers_again(&forward).await;
        assert!(shown.contains(&device.id), "{shown}");
    }
    assert!(world.host.is_running() && forward.process.is_running());
    // The host takes new devices too.
    let another = world.pair().await;
    curled(&[&another.forward("web").await.url("/show")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_host_comes_back_as_itself() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    let before = curled(&[&forward.url("/show")]).await;
    let devices = devices(&world).await;

    world.host.kill();
    world.restart_host();
    let after = answers_again(&forward).await;
    let id = |shown: &str| shown.lines().find(|line| line.starts_with("homing-device: ")).map(str::to_owned);
    assert_eq!(id(&after), id(&before), "the same device without another pairing");
    let again = self::devices(&world).await;
    assert_eq!((&again[0]["id"], &again[0]["name"]), (&devices[0]["id"], &devices[0]["name"]));
    assert_eq!(again.as_array().unwrap().len(), 1);
    assert!(forward.process.is_running());
}

async fn devices(world: &World) -> serde_json::Value {
    let listed = run(&world.host_data(), &["host", "devices", "list", "--json"]).await;
    assert_eq!(listed.code, 0, "{listed}");
    serde_json::from_str(&listed.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_device_gets_through_as_soon_as_its_host_is_back() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    curled(&[&forward.url("/show")]).await;
    world.host.signal("TERM");
    assert_eq!(world.host.ended().await, 0);

    let mut http = Http::to(forward.address).await;
    http.send("GET /show HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_secs(6), http.read.read_u8()).await;
    assert!(early.is_err(), "it does not wait for the host: {early:?}");
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let back = Instant::now();
    let head = in_time(BACK, http.head()).await;
    let late = back.elapsed();
    assert_eq!(head.status, 200);
    eprintln!("through {late:.1?} after the host's return");
    assert!(late < Duration::from_secs(3), "the waiting request came through {late:?} after the host was back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_needs_nothing_but_its_files() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let forward = device.forward("web").await;
    let before = curled(&[&forward.url("/show")]).await;
    assert!(before.contains(&device.id));
    forward.process.kill();

    for _ in 0..3 {
        let forward = device.forward("web").await;
        assert!(curled(&[&forward.url("/show")]).await.contains(&device.id));
        forward.process.kill();
    }
    for data in [world.relay_data(), world.host_data(), device.data.clone()] {
        check_private(&data);
    }
}

/// Nobody but the owner reads anything here, or even finds it.
fn check_private(dir: &Path) {
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    for entry in std::fs::read_dir(dir).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            check_private(&path);
        } else if kind.is_file() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        } else {
            assert!(kind.is_socket() || kind.is_symlink(), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_stop_is_obeyed_in_order() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let (forward, proxy) = (device.forward("web").await, device.proxy().await);
    let via = proxy.url("");
    curled(&["-x", &via, &format!("http://web.{}.homing/show", support::HOST)]).await;
    // With transfers under way, which nobody reads.
    let mut busy = Http::to(forward.address).await;
    busy.get("/flood").await;
    let mut another = Http::to(forward.address).await;
    another.get("/events/0").await;

    let servers =
        [("proxy", &proxy.process), ("forward", &forward.process), ("host", &world.host), ("relay", &world.relay)];
    for (name, process) in servers {
        let asked = Instant::now();
        process.signal("TERM");
        assert_eq!(process.ended().await, 0, "the {name}'s exit code");
        let took = asked.elapsed();
        eprintln!("the {name} stopped after {took:.1?}");
        assert!(took < Duration::from_secs(6), "the {name} took {took:?}");
    }
    for role in ["relay", "host"] {
        let socket = world.dir.path().join(role).join("run").join(format!("{role}.sock"));
        until("its socket is gone", Duration::from_secs(1), || !socket.exists()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_a_pause_of_anyone_on_its_way() {
    const LEN: u64 = 200 << 20;
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;
    let mut http = Http::to(forward.address).await;
    let head = http.get(&format!("/bytes/{LEN}")).await;
    let pauses = async {
        for process in [&world.relay, &world.host, &forward.process] {
            process.signal("STOP");
            tokio::time::sleep(Duration::from_secs(3)).await;
            process.signal("CONT");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (got, ()) = tokio::join!(in_time(Duration::from_secs(90), http.body_hash(&head)), pauses);
    assert_eq!(got, (LEN, content_hash(LEN)));
}
