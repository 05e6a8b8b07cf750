//! What a guest reaches.

use homing_local::Vault;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::support::service::{Site, echo_service};
use crate::support::{Device, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_reaches_what_each_link_of_its_chain_leaves() {
    let site = Site::start().await;
    let raw = echo_service().await;
    let mut world = World::start(&[("web", site.url()), ("raw", format!("tcp://{raw}"))]).await;
    let device = world.pair().await;
    // The host is not asked: it is not even there.
    world.host.signal("TERM");
    world.host.ended().await;
    let made =
        pass_on(&device, &["--grant", "web:get:/bytes", "--grant", "web::/show", "--for", "1h", "--name", "anna"])
            .await;
    let (_, early) = accept(&world, "early", &pass_on(&device, &["--for", "1h"]).await).await;
    assert_eq!(early.code, 0, "stored for later: {early}");
    assert!(early.stdout.contains("\"unreached\":\"not reachable"), "{early}");
    world.restart_host();
    world.host.logged("reachable through relay").await;

    let (anna, paired) = accept(&world, "anna", &made).await;
    assert_eq!((paired.code, names(&anna)), (0, vec!["web"]), "{paired}");
    let hosts = run(&anna.data, &["hosts", "list", "--json"]).await;
    let hosts: Value = serde_json::from_str(&hosts.stdout).unwrap();
    assert_eq!((&hosts[0]["name"], &hosts[0]["guest_until"]), (&HOST.into(), &anna.paired["guest_until"]));
    let web = anna.forward("web").await;
    for (path, args, expected) in [
        ("/bytes/10", &[][..], 200),
        ("/bytes/10", &["-X", "DELETE"], 403),
        ("/show", &["-X", "DELETE"], 200),
        ("/bytes/../hang", &[], 403),
        ("/hash", &["-d", "x"], 403),
    ] {
        let (code, text) = status(&web, path, args).await;
        assert_eq!(code, expected, "{path} {args:?}: {text}");
    }
    // Services see who it is, and that it is not the device.
    let (_, text) = status(&web, "/show", &["-H", "Homing-Device: forged"]).await;
    assert!(text.contains(&format!("homing-device-name: anna%20%28guest%20of%20{}%29\n", device.name)), "{text}");
    assert!(text.contains(&format!("homing-device: {}-", device.id)) && !text.contains("forged"), "{text}");
    let (code, said) = connect(&anna, "raw").await;
    assert!(code == 4 && said.contains("may not use the service"), "{code} {said}");

    // A child: what it is given is not more than what its parent has, whatever it says.
    let bert =
        guest(&world, "bert", &anna, &["--grant", "web:GET+DELETE:/bytes", "--grant", "raw", "--for", "7d"]).await;
    assert_eq!(names(&bert), ["web"]);
    assert_eq!(bert.paired["guest_until"], anna.paired["guest_until"], "no longer than its parent");
    let web = bert.forward("web").await;
    for (path, args, expected) in
        [("/bytes/10", &[][..], 200), ("/bytes/10", &["-X", "DELETE"], 403), ("/show", &[], 403)]
    {
        let (code, text) = status(&web, path, args).await;
        assert_eq!(code, expected, "{path} {args:?}: {text}");
    }
    let host = world.host_data();
    let listed = run(&host, &["host", "devices", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), listed[0]["guests"].as_u64()), (1, listed[0]["channels"].as_u64()));
    assert!(listed[0]["guests"].as_u64() >= Some(2), "{listed}");
    let seen = |entries: &[Value], who: &str| {
        entries.iter().any(|entry| entry["guest"] == who && entry["device"] == device.id.as_str())
    };
    let (connected, refused) = (trail(&host, "connected").await, trail(&host, "refused").await);
    assert!(seen(&connected, "anna") && seen(&connected, "anna / bert"), "{connected:?}");
    // Refusals of one kind are gathered by device.
    assert!(seen(&refused, "anna"), "{refused:?}");
}

/// Changes what a guest keeps.
fn tamper(guest: &Device, change: impl FnOnce(&mut Value)) {
    let (mut vault, _) = Vault::<Value>::open(&guest.data, "vault.enc", "vault.key").unwrap().unwrap();
    vault.update(|state| change(&mut state["hosts"][0])).unwrap();
}

/// Puts other bytes in the place of some in a list of numbers.
fn replace(list: &mut Value, from: &str, to: &str) {
    let mut bytes: Vec<u8> = serde_json::from_value(list.clone()).unwrap();
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    bytes.splice(at..at + from.len(), to.bytes());
    *list = json!(bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caveat_that_was_changed_or_left_out_is_refused() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let anna = guest(&world, "anna", &device, &["--grant", "web:GET:/show", "--for", "1h"]).await;
    let bert = guest(&world, "bert", &anna, &["--grant", "web:GET:/show", "--for", "1h"]).await;
    // Bert knows his parent's caveat, and not where it leads.
    tamper(&bert, |profile| {
        let all: Vec<u8> = serde_json::from_value(profile["guest"]["caveats"].clone()).unwrap();
        let first = 3 + usize::from(u16::from_le_bytes([all[1], all[2]]));
        profile["guest"]["caveats"] = json!([&[1], &all[1..first]].concat());
    });
    tamper(&anna, |profile| replace(&mut profile["guest"]["caveats"], "/show", "/hang"));
    for guest in [&anna, &bert] {
        let (code, said) = connect(guest, "web").await;
        assert!(code == 4 && said.contains("token"), "{code} {said}");
    }
    // One that ends later, for this device's own eyes only.
    let carl = guest(&world, "carl", &device, &["--for", "1h"]).await;
    tamper(&carl, |profile| profile["guest"]["expires_at"] = json!(u32::MAX));
    assert_eq!(status(&carl.forward("web").await, "/show", &[]).await.0, 200);
    assert!(trail(&world.host_data(), "connected").await.len() >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_does_counts_against_all_limits_above_it() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let anna = guest(&world, "anna", &device, &["--concurrent", "1", "--for", "1h"]).await;
    let bert = guest(&world, "bert", &anna, &["--for", "1h"]).await;
    let carl = guest(&world, "carl", &device, &["--for", "1h"]).await;
    let mut webs = Vec::new();
    for who in [&anna, &bert, &carl, &device] {
        webs.push(who.forward("web").await);
    }
    let mut busy = support::client::Http::to(webs[0].address).await;
    assert_eq!(busy.get("/events/1").await.status, 200);
    while busy.line().await.unwrap() != "data: 1" {}
    for (web, expected) in webs.iter().zip([503, 503, 200, 200]) {
        assert_eq!(status(web, "/show", &[]).await.0, expected);
    }
    // And against the device's own.
    let host = world.host_data();
    let set = run(&host, &["host", "devices", "grant", &device.id, "--concurrent", "1"]).await;
    assert_eq!(set.code, 0, "{set}");
    for web in &webs {
        assert_eq!(status(web, "/show", &[]).await.0, 503);
    }
    drop(busy);
    for web in &webs {
        within(async { while status(web, "/show", &[]).await.0 != 200 {} }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guests_streams_survive_the_loss_of_its_link() {
    let raw = echo_service().await;
    let mut world = World::start(&[("raw", format!("tcp://{raw}"))]).await;
    let device = world.pair().await;
    let anna = guest(&world, "anna", &device, &["--for", "1h"]).await;
    let forward = anna.forward("raw").await;
    let mut tcp = within(TcpStream::connect(forward.address)).await.unwrap();
    for round in 0..3_u8 {
        tcp.write_all(&[round; 1000]).await.unwrap();
        let mut heard = [0; 1000];
        within(tcp.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, [round; 1000]);
        world.relay.kill();
        world.restart_relay().await;
    }
}
