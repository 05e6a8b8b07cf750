//! Other keys for the host, which its devices follow.

use super::*;
use crate::support::client::{Http, curl};
use crate::support::service::Site;
use crate::support::{Forward, PATIENCE, trail, within};

/// Whether each of these devices has followed, as the host has it.
async fn followed(world: &World, devices: &[&Device]) -> Vec<bool> {
    let list = json(&world.host_data(), &["host", "devices", "list"]).await;
    let list = list.as_array().unwrap();
    let entry = |device: &&Device| list.iter().find(|entry| entry["id"] == *device.id).unwrap();
    devices.iter().map(|device| entry(device)["followed"].as_bool().unwrap()).collect()
}

async fn until_followed(world: &World, devices: &[&Device], expected: &[bool]) {
    let started = tokio::time::Instant::now();
    while followed(world, devices).await != expected {
        assert!(started.elapsed() < PATIENCE, "{:?}", followed(world, devices).await);
    }
}

async fn rotate(world: &World, flags: &[&str]) -> Value {
    json(&world.host_data(), &[&["host", "rotate"], flags].concat()).await
}

/// The keys that the host has, and a device of it: identity and route.
fn keys(data: &Path) -> (Value, Value) {
    let state = homing_local::Vault::<Value>::open(data, "relay.enc", "relay.key").unwrap().unwrap().1;
    (state["identity"].clone(), state["route"].clone())
}

fn pins(device: &Device) -> (Value, Value, Value) {
    let state = homing_local::Vault::<Value>::open(&device.data, "vault.enc", "vault.key").unwrap().unwrap().1;
    let host = &state["hosts"][0];
    (host["host_key"].clone(), host["route_id"].clone(), host["former"].clone())
}

async fn status_of(web: &Forward) -> u16 {
    let answer = curl(&["-o", "/dev/null", "-w", "%{http_code}", &web.url("/show")]).await;
    answer.stdout.parse().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_follow_without_pairing_again_and_without_a_break() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let (first, second, third) = (world.pair().await, world.pair().await, world.pair().await);
    let all = [&first, &second, &third];
    let (old, known) = (keys(&world.host_data()), pins(&first));

    // A download that lasts over the rotation, and a stream that is open.
    let web = first.forward("web").await;
    let mut feed = Http::to(web.address).await;
    let gaps = vec!["50"; 60].join(",");
    assert_eq!(feed.get(&format!("/events/{gaps}")).await.status, 200);
    while feed.line().await.unwrap() != "data: 1" {}
    let said = rotate(&world, &[]).await;
    assert_eq!(said["waiting"], 3, "{said}");
    let new = keys(&world.host_data());
    assert!(old.0 != new.0 && old.1 != new.1);
    until_followed(&world, &all, &[true, false, false]).await;
    until("the old keys are forgotten", PATIENCE, || pins(&first).2.is_null()).await;
    let now = pins(&first);
    assert!(now.0 != known.0 && now.1 != known.1);
    for number in 2..60 {
        let wanted = format!("data: {number}");
        // Between two events there is an empty line; nothing is missing or said twice.
        while within(feed.line()).await.expect("the feed goes on") != wanted {}
    }
    assert_eq!(status_of(&web).await, 200);
    drop(web);

    // The host is restarted, and has both.
    world.host.kill();
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let status = json(&world.host_data(), &["status"]).await;
    let links = status["roles"][0]["links"].as_array().unwrap().clone();
    assert_eq!(links.iter().map(|link| link["former_route"].clone()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(status["roles"][0]["not_followed"], 2);
    assert_eq!(run(&world.host_data(), &["doctor"]).await.code, 0);
    assert_eq!(run(&world.host_data(), &["host", "rotate"]).await.code, 1, "one after the other");

    // One that was away follows when it comes, and stays.
    let web = second.forward("web").await;
    assert_eq!(status_of(&web).await, 200);
    until_followed(&world, &all, &[true, true, false]).await;
    drop(web);
    assert_eq!(run(&second.data, &["doctor", HOST]).await.code, 0);
    // One that pairs now needs not.
    let fourth = world.pair().await;
    assert_eq!(followed(&world, &[&fourth]).await, [true]);

    // Then it is over: who has not followed is told to pair again.
    let said = rotate(&world, &["--now"]).await;
    assert_eq!((&said["until"], &said["waiting"]), (&Value::Null, &1.into()), "{said}");
    assert_eq!(keys(&world.host_data()), new, "no other keys again");
    for device in [&first, &second, &fourth] {
        assert_eq!(status_of(&device.forward("web").await).await, 200, "{}", device.name);
    }
    let late = run(&third.data, &["connect", &format!("{HOST}/web")]).await;
    assert!(late.code == 4 && late.stderr.contains("pair again"), "{late}");
    assert_eq!(trail(&world.host_data(), "followed").await.len(), 2);
    assert_eq!(trail(&world.host_data(), "rotated").await.len(), 1);
    assert_eq!(trail(&world.host_data(), "rotation over").await[0]["left_behind"], serde_json::json!([third.id]));

    // It does, and finds its host under the same name.
    let dialog = crate::support::Process::start("host pair", &world.host_data(), &["host", "pair", "--auto", "--json"]);
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let paired = run(&third.data, &["pair", &link]).await;
    assert_eq!(paired.code, 0, "{paired}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_keys_go_with_the_last_device_that_follows() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    for flags in [&["--identity"][..], &["--route"], &[]] {
        let before = (keys(&world.host_data()), pins(&device));
        // The host is down, and the device meets its new keys later.
        world.host.kill();
        assert_eq!(rotate(&world, flags).await["waiting"], 1);
        world.restart_host();
        world.host.logged("reachable through relay").await;
        let web = device.forward("web").await;
        assert_eq!(status_of(&web).await, 200);
        world.host.logged("the rotation of the host's keys is over").await;
        assert_eq!(status_of(&web).await, 200);
        until("the device knows", PATIENCE, || pins(&device).2.is_null()).await;
        let after = (keys(&world.host_data()), pins(&device));
        let changed = (before.0.0 != after.0.0, before.0.1 != after.0.1);
        assert_eq!(changed, (flags != ["--route"], flags != ["--identity"]));
        assert_eq!((before.1.0 != after.1.0, before.1.1 != after.1.1), changed);
        let status = json(&world.host_data(), &["status"]).await;
        assert_eq!(status["roles"][0]["not_followed"], Value::Null);
    }
    // Nothing of an alarm in all this.
    assert_eq!(json(&device.data, &["status"]).await["warnings"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_may_be_stolen_are_followed_by_nobody() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let web = device.forward("web").await;
    assert_eq!(status_of(&web).await, 200);
    let said = rotate(&world, &["--now"]).await;
    assert_eq!((&said["until"], &said["waiting"]), (&Value::Null, &1.into()));
    web.process.logged("pair again").await;
    assert_eq!(followed(&world, &[&device]).await, [false]);
    let late = run(&device.data, &["connect", &format!("{HOST}/web")]).await;
    assert!(late.code == 4 && late.stderr.contains("pair again"), "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_waits_to_be_knocked_at_has_other_keys_too() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let (first, second) = (world.pair().await, world.pair().await);
    world.host.kill();
    std::fs::write(world.host_data().join("homing.toml"), "[host]\non_demand = true\n").unwrap();
    world.restart_host();
    world.host.logged("devices wake this host").await;
    assert_eq!(rotate(&world, &[]).await["waiting"], 2);
    for device in [&first, &second] {
        let web = device.forward("web").await;
        assert_eq!(status_of(&web).await, 200);
        within(async { while !followed(&world, &[device]).await[0] {} }).await;
        assert_eq!(status_of(&web).await, 200);
    }
    world.host.logged("the rotation of the host's keys is over").await;
    assert_eq!(status_of(&first.forward("web").await).await, 200);
}
