//! Who is shut out is out at once; who is not there is told apart from who says no.

use core::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::plain;
use crate::scene::{ask, devices, hosts};
use crate::support::{Device, HOST, World, in_time, run, within};

const AT_ONCE: Duration = Duration::from_secs(1);

async fn world() -> World {
    let echo = plain::echo().await;
    World::start(&[("echo", format!("tcp://{echo}")), ("dead", "tcp://127.0.0.1:1".into())]).await
}

/// A connection that carries.
async fn live(address: core::net::SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    within(plain::exchange(&mut tcp, b"hello")).await.unwrap();
    tcp
}

async fn cut(tcp: &mut TcpStream) {
    let end = timeout(AT_ONCE, tcp.read(&mut [0; 16])).await;
    assert!(matches!(end, Ok(Err(_))), "not cut within {AT_ONCE:?}, or as if all had been said: {end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_cut_off_at_once_and_others_are_not() {
    let world = world().await;
    let (device, other) = (world.pair().await, world.pair().await);
    let forward = device.forward("echo").await;
    let untouched = other.forward("echo").await;
    let mut lives = Vec::new();
    for _ in 0..5 {
        lives.push(live(forward.address).await);
    }
    let mut friend = live(untouched.address).await;
    let revoked = run(&world.host_data(), &["host", "devices", "revoke", &device.id]).await;
    let told = Instant::now();
    assert_eq!(revoked.code, 0, "{revoked}");
    for tcp in &mut lives {
        cut(tcp).await;
    }
    eprintln!("five connections cut {:?} after the command ended", told.elapsed());
    assert!(told.elapsed() < AT_ONCE);
    assert_eq!(within(forward.process.ended()).await, 4);
    assert!(forward.process.log().iter().any(|line| line.contains("revoked")));
    let refused = run(&device.data, &["connect", &format!("{HOST}/echo")]).await;
    assert_eq!(refused.code, 4, "{refused}");
    assert!(refused.stderr.contains("revoked") && refused.stderr.contains("pair again"), "{refused}");
    within(plain::exchange(&mut friend, b"still here")).await.unwrap();
    live(untouched.address).await;
    let listed = devices(&world.host_data()).await;
    assert_eq!(listed.iter().map(|device| &device["id"]).collect::<Vec<_>>(), [&json!(other.id)]);
    let again = run(&world.host_data(), &["host", "devices", "revoke", &device.id]).await;
    assert_eq!(again.code, 1, "{again}");
    assert!(again.stderr.contains("no device is called"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_works_while_the_host_is_stopped() {
    let mut world = world().await;
    let device = world.pair().await;
    let path = format!("{HOST}/echo");
    assert_eq!(run(&device.data, &["connect", &path]).await.code, 0);
    world.host.signal("TERM");
    assert_eq!(world.host.ended().await, 0);
    assert_eq!(devices(&world.host_data()).await.len(), 1);
    let revoked = run(&world.host_data(), &["host", "devices", "revoke", &device.id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    assert!(devices(&world.host_data()).await.is_empty());
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let refused = run(&device.data, &["connect", &path]).await;
    assert_eq!(refused.code, 4, "{refused}");
    assert!(refused.stderr.contains("revoked") && refused.stderr.contains("pair again"), "{refused}");
}

/// Exit codes tell what kind of no it is, and the text what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_no_has_its_code_and_its_words() {
    let world = world().await;
    let device = world.pair().await;
    let stranger = world.dir.path().join("stranger");
    let path = |service: &str| format!("{HOST}/{service}");
    for (data, path, code, words) in [
        (&device.data, path("nosuch"), 4, "service"),
        (&device.data, path("dead"), 3, "not reachable"),
        (&device.data, "nobody/echo".into(), 4, "paired with no host"),
        (&stranger, path("echo"), 4, "paired with no host"),
        (&device.data, "echo".into(), 2, "HOST/SERVICE"),
    ] {
        let refused = run(data, &["connect", &path]).await;
        assert_eq!(refused.code, code, "{path}: {refused}");
        assert!(refused.stderr.contains(words) && refused.stdout.is_empty(), "{path}: {refused}");
    }
    for link in ["", "homing://pair/", "homing://pair/AAAA", "https://example.org/", "x"] {
        let refused = run(&stranger, &["pair", link]).await;
        assert_eq!(refused.code, 2, "{link:?}: {refused}");
    }
    let long = format!("homing://pair/{}", "A".repeat(100_000));
    assert_eq!(run(&stranger, &["pair", &long]).await.code, 2);
    assert!(hosts(&stranger).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_change_on_both_ends_and_a_host_can_be_forgotten() {
    let world = world().await;
    let device = world.pair().await;
    let done = |args: Vec<String>| {
        let data = device.data.clone();
        async move {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            run(&data, &args).await
        }
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let renamed = run(&world.host_data(), &["host", "devices", "rename", &device.id[..6], "my phone"]).await;
    assert_eq!(renamed.code, 0, "{renamed}");
    assert_eq!(devices(&world.host_data()).await[0]["name"], "my phone");
    for bad in ["", "a\nb", &"x".repeat(65)] {
        let refused = run(&world.host_data(), &["host", "devices", "rename", &device.id, bad]).await;
        assert_eq!(refused.code, 1, "{bad:?}: {refused}");
    }
    assert_eq!(done(words(&format!("hosts rename {HOST} box"))).await.code, 0);
    assert_eq!(hosts(&device.data).await[0]["name"], "box");
    assert_eq!(done(words(&format!("connect {HOST}/echo"))).await.code, 4);
    assert_eq!(done(words("connect box/echo")).await.code, 0);
    assert_eq!(done(vec!["hosts".into(), "rename".into(), "box".into(), "Not A Name".into()]).await.code, 2);
    assert_eq!(done(words("hosts rename nobody other")).await.code, 4);
    assert_eq!(done(words("hosts forget nobody")).await.code, 4);
    assert_eq!(done(words("hosts forget box")).await.code, 0);
    assert!(hosts(&device.data).await.is_empty());
    let refused = done(words("connect box/echo")).await;
    assert_eq!(refused.code, 4, "{refused}");
    // The host keeps its record until its owner revokes it, even by name.
    assert_eq!(run(&world.host_data(), &["host", "devices", "revoke", "my phone"]).await.code, 0);
    assert!(devices(&world.host_data()).await.is_empty());
}

async fn switch(world: &World, to: &str) {
    let done = run(&world.host_data(), &["host", to]).await;
    assert_eq!(done.code, 0, "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_host_is_cut_off_and_comes_back() {
    let world = world().await;
    let device: Device = world.pair().await;
    let forward = device.forward("echo").await;
    let mut tcp = live(forward.address).await;
    switch(&world, "disable").await;
    cut(&mut tcp).await;
    let status = ask(&world.host_data(), &json!({ "cmd": "status" })).await;
    assert_eq!((&status["enabled"], &status["sessions"]), (&json!(false), &json!(0)), "{status}");
    let refused = run(&world.host_data(), &["host", "pair", "--auto"]).await;
    assert!(refused.code != 0 && refused.stderr.contains("homing host enable"), "{refused}");
    // A connection that is made meanwhile waits, and is served when the host is back.
    let waiting = tokio::spawn(live(forward.address));
    switch(&world, "enable").await;
    let enabled = Instant::now();
    in_time(Duration::from_secs(10), waiting).await.unwrap();
    eprintln!("served {:?} after the host was enabled", enabled.elapsed());
    assert!(enabled.elapsed() < Duration::from_secs(3));
}
