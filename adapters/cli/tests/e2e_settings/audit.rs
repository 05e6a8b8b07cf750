//! The trail of what the host decided.

use super::*;
use crate::support::Process;

async fn entries(data: &Path) -> Vec<Value> {
    let shown = run(data, &["host", "audit", "-n", "1000", "--json"]).await;
    assert_eq!(shown.code, 0, "{shown}");
    shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn verify(data: &Path) -> Finished {
    run(data, &["host", "audit", "verify", "--json"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_written_down_and_followed() {
    // A name that leads to this machine, though it does not look like it.
    let world = World::start(&[("sly", "tcp://2130706433:9".to_owned())]).await;
    let data = world.host_data();
    let follower = Process::start("audit", &data, &["host", "audit", "--follow", "--json"]);
    follower.event("started").await;
    let settings = Settings::of(&data, "settings:read").await;
    let url = format!("{}api/audit/events", settings.url);
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sSN", "-H", &format!("Authorization: Bearer {}", settings.token), &url]);
    let events = Process::spawn("events", curl);

    let device = world.pair().await;
    let renamed = run(&data, &["host", "devices", "rename", &device.id, "x\u{1b}[31m"]).await;
    assert_eq!(renamed.code, 1, "control characters are no name: {renamed}");
    run(&data, &["host", "devices", "rename", &device.id, "another"]).await;
    let refused = run(&device.data, &["connect", "nest/sly"]).await;
    assert_ne!(refused.code, 0, "{refused}");
    run(&data, &["host", "devices", "revoke", &device.id]).await;
    run(&data, &["host", "disable"]).await;
    run(&data, &["host", "enable"]).await;
    for event in ["link opened", "paired", "connected", "renamed", "revoked", "refused", "disabled", "enabled"] {
        let line = follower.event(event).await;
        assert!(line["time"].is_string() && line["seq"].is_u64(), "{line}");
    }
    let paired = follower.event("paired").await;
    assert_eq!((&paired["device"], &paired["name"]), (&json!(device.id), &json!(device.name)));
    support::until("the API tells of it", support::PATIENCE, || {
        events.said().iter().any(|line| line.starts_with("data: ") && line.contains("\"event\":\"revoked\""))
    })
    .await;
    let (_, newest) = settings.ask("GET", "api/audit?limit=3", Value::Null).await;
    let seq = |place: usize| newest["entries"][place]["seq"].as_u64().unwrap();
    assert!(seq(0) == seq(1) + 1 && seq(1) == seq(2) + 1, "{newest}");
    let (_, before) = settings.ask("GET", &format!("api/audit?limit=3&before={}", seq(2)), Value::Null).await;
    assert_eq!(before["entries"][0]["seq"], seq(2) - 1);
    let sound = verify(&data).await;
    assert_eq!(sound.code, 0, "{sound}");

    // Also what is done while no host runs.
    world.host.signal("TERM");
    world.host.ended().await;
    run(&data, &["host", "disable"]).await;
    let all = entries(&data).await;
    let last: Vec<_> = all.iter().rev().take(2).map(|entry| entry["event"].clone()).collect();
    assert_eq!(last, ["disabled", "stopped"]);
    // It was there to pair, and to be refused: once told, once counted at the latest with the end.
    let of_device = |event: &str| all.iter().filter(|entry| entry["event"] == event).collect::<Vec<_>>();
    let more: u64 = of_device("reconnected").iter().map(|entry| entry["connected"].as_u64().unwrap()).sum();
    assert!(of_device("connected").len() as u64 + more >= 2, "{all:?}");
    assert_eq!(verify(&data).await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trail_that_was_changed_does_not_pass() {
    let mut world = World::start(&[]).await;
    let data = world.host_data();
    world.pair().await;
    world.host.signal("TERM");
    world.host.ended().await;
    let path = data.join("audit.ndjson");
    let good = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = good.lines().collect();
    let changed = good.replacen("device-0", "device-1", 1);
    let removed = lines.iter().enumerate().filter(|(place, _)| *place != 2).map(|(_, line)| format!("{line}\n"));
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let cut = lines[..lines.len() - 1].join("\n") + "\n";
    for (what, bad) in [
        ("changed", changed),
        ("removed", removed.collect()),
        ("swapped", swapped.join("\n") + "\n"),
        ("cut", cut),
        ("emptied", String::new()),
    ] {
        assert_ne!(bad, good);
        std::fs::write(&path, bad).unwrap();
        let found = verify(&data).await;
        assert_eq!(found.code, 1, "{what}: {found}");
        let report: Value = serde_json::from_str(found.stdout.trim()).unwrap();
        assert!(report["ok"] == false && report["problem_count"].as_u64() > Some(0), "{what}: {report}");
    }
    std::fs::write(&path, &good).unwrap();
    assert_eq!(verify(&data).await.code, 0);
    // A host that is killed leaves a trail that it, and verify, go on with.
    for _ in 0..3 {
        world.restart_host();
        world.host.logged("reachable through relay").await;
        world.host.kill();
        let sound = verify(&data).await;
        assert_eq!(sound.code, 0, "{sound}");
    }
}
