//! How guests end.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::support::client::Http;
use crate::support::service::Site;
use crate::support::within;

/// A feed that goes on for ever.
async fn feed(web: &Forward) -> Http {
    let mut feed = Http::to(web.address).await;
    assert_eq!(feed.get("/events/1").await.status, 200);
    while feed.line().await.unwrap() != "data: 1" {}
    feed
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_the_device_ends_its_guests_and_theirs() {
    let mut site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let other = world.pair().await;
    let anna = guest(&world, "anna", &device, &["--for", "1h"]).await;
    let bert = guest(&world, "bert", &anna, &["--for", "1h"]).await;
    let spare = pass_on(&anna, &["--for", "1h"]).await;
    let stays = guest(&world, "stays", &other, &["--for", "1h"]).await;
    let webs = [anna.forward("web").await, bert.forward("web").await, stays.forward("web").await];
    let mut feeds = Vec::new();
    for web in &webs {
        feeds.push(feed(web).await);
    }
    let revoked = run(&world.host_data(), &["host", "devices", "revoke", &device.id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    for mut feed in feeds.drain(..2) {
        assert!(feed.rest().await.1.is_err(), "an answer that was cut looks complete");
        assert_eq!(site.next().await, "events dropped");
    }
    for web in &webs[..2] {
        assert_eq!(web.process.ended().await, 4);
    }
    assert_eq!(status(&webs[2], "/show", &[]).await.0, 200, "another device's guest is not concerned");
    for guest in [&anna, &bert] {
        let (code, said) = connect(guest, "web").await;
        assert_eq!(code, 4, "{said}");
    }
    let (late, paired) = accept(&world, "late", &spare).await;
    assert_eq!(paired.code, 4, "{paired}");
    let hosts = run(&late.data, &["hosts", "list", "--json"]).await;
    assert_eq!(hosts.stdout.trim(), "[]", "what the host refused is not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_guest_is_ended_with_those_that_it_made_and_no_other() {
    let mut site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let host = world.host_data();
    let device = world.pair().await;
    let made = pass_on(&device, &["--name", "anna", "--for", "1h"]).await;
    let (anna, paired) = accept(&world, "anna", &made).await;
    assert_eq!(paired.code, 0, "{paired}");
    let bert = guest(&world, "bert", &anna, &["--for", "1h"]).await;
    let carl = guest(&world, "carl", &device, &["--for", "1h"]).await;
    let webs = [anna.forward("web").await, bert.forward("web").await, carl.forward("web").await];
    let own = device.forward("web").await;
    let mut feeds = Vec::new();
    for web in &webs[..2] {
        feeds.push(feed(web).await);
    }
    let listed = guests(&host).await;
    assert_eq!(listed.len(), 3, "{listed:?}");
    let shown = listed.iter().find(|guest| guest["name"] == "anna").unwrap();
    assert_eq!(
        (&shown["id"], &shown["ended"], &shown["device"]),
        (&made["id"], &false.into(), &device.id.clone().into())
    );
    assert!(shown["connected"].as_u64() >= Some(1), "{shown}");

    let ended = run(&host, &["host", "guests", "end", "anna"]).await;
    assert_eq!(ended.code, 0, "{ended}");
    for mut feed in feeds {
        assert!(feed.rest().await.1.is_err(), "an answer that was cut looks complete");
        assert_eq!(site.next().await, "events dropped");
    }
    for web in &webs[..2] {
        assert_eq!(web.process.ended().await, 5);
    }
    for guest in [&anna, &bert] {
        let (code, said) = connect(guest, "web").await;
        assert!(code == 5 && said.contains("over"), "{code} {said}");
    }
    for web in [&webs[2], &own] {
        assert_eq!(status(web, "/show", &[]).await.0, 200, "who else there is is not concerned");
    }
    // Whoever has the link a second time is the same guest.
    let (_, again) = accept(&world, "again", &made).await;
    assert_eq!(again.code, 5, "{again}");
    let entries = trail(&host, "guest ended").await;
    assert_eq!((entries.len(), &entries[0]["guest"], &entries[0]["guest_id"]), (1, &"anna".into(), &made["id"]));
    let refused = trail(&host, "refused").await;
    assert!(refused.iter().any(|entry| entry["error"] == "it was ended before its time"), "{refused:?}");

    // A link that nobody has used yet; and one that has been, while the host does not run.
    let spare = pass_on(&device, &["--for", "1h"]).await;
    assert_eq!(run(&host, &["host", "guests", "end", spare["id"].as_str().unwrap()]).await.code, 0);
    let (_, late) = accept(&world, "late", &spare).await;
    assert_eq!(late.code, 5, "{late}");
    world.host.signal("TERM");
    world.host.ended().await;
    assert_eq!(run(&host, &["host", "guests", "end", "carl"]).await.code, 0);
    assert_eq!(run(&host, &["host", "guests", "end", "nobody"]).await.code, 1);
    world.restart_host();
    world.host.logged("reachable through relay").await;
    assert_eq!(webs[2].process.ended().await, 5);
    for guest in [&anna, &carl] {
        assert_eq!(connect(guest, "web").await.0, 5, "it is remembered");
    }
    assert_eq!(status(&own, "/show", &[]).await.0, 200);
    assert!(guests(&host).await.iter().all(|guest| guest["ended"] == true));
    let fresh = guest(&world, "fresh", &device, &["--for", "1h"]).await;
    assert_eq!(status(&fresh.forward("web").await, "/show", &[]).await.0, 200, "the device may let others in");
}

/// What `homing host guests list` says.
async fn guests(host: &std::path::Path) -> Vec<Value> {
    let listed = run(host, &["host", "guests", "list", "--json"]).await;
    assert_eq!(listed.code, 0, "{listed}");
    serde_json::from_str(listed.stdout.trim()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_ends_when_its_time_is_over() {
    let mut site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let made = pass_on(&device, &["--for", "6s"]).await;
    let end = made["expires_at"].as_f64().unwrap();
    let (anna, paired) = accept(&world, "anna", &made).await;
    assert_eq!(paired.code, 0, "{paired}");
    let web = anna.forward("web").await;
    let mut feed = feed(&web).await;
    assert!(now() < end, "this machine is too slow for this test");
    assert!(feed.rest().await.1.is_err());
    let late = now() - end;
    assert!((0.0..3.0).contains(&late), "cut {late} s after the end");
    assert_eq!(site.next().await, "events dropped");
    assert_eq!(web.process.ended().await, 5);
    let (code, said) = connect(&anna, "web").await;
    assert!(code == 5 && said.contains("over"), "{code} {said}");
    assert_eq!(run(&anna.data, &["guest", HOST, "--for", "1h"]).await.code, 5);
    let (_, paired) = accept(&world, "late", &made).await;
    assert_eq!(paired.code, 5, "{paired}");

    // A guest whose clock is behind hears it from the host.
    let slow = pass_on(&device, &["--for", "1s"]).await;
    within(async { while now() < slow["expires_at"].as_f64().unwrap() + 0.1 {} }).await;
    let (late, paired) = accept(&world, "behind", &pass_on(&device, &["--for", "1h"]).await).await;
    assert_eq!(paired.code, 0, "{paired}");
    let (mut vault, _) = homing_local::Vault::<Value>::open(&late.data, "vault.enc", "vault.key").unwrap().unwrap();
    let link = slow["link"].as_str().unwrap();
    let mut room = [0; homing_core::pairing::GUEST_MAX];
    let pass = homing_core::pairing::parse_guest_link(link, &mut room).unwrap();
    let token = hex(pass.chain.token(&pass.device_id).expose());
    vault
        .update(|state| {
            state["hosts"][0]["token"] = token.into();
            state["hosts"][0]["guest"]["caveats"] = pass.caveats.as_bytes().into();
        })
        .unwrap();
    let (code, said) = connect(&late, "web").await;
    assert!(code == 5 && said.contains("over"), "{code} {said}");
    let refused = trail(&world.host_data(), "refused").await;
    assert!(refused.iter().any(|entry| entry["error"] == "its time is over"), "{refused:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_may_have_no_guests_has_none() {
    let site = Site::start().await;
    let mut world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let host = world.host_data();
    let anna = guest(&world, "anna", &device, &["--no-guests", "--for", "1h"]).await;
    let web = anna.forward("web").await;
    let mut feed = feed(&web).await;
    let own = device.forward("web").await;
    let made = run(&anna.data, &["guest", HOST, "--for", "1h"]).await;
    assert!(made.code == 4 && made.stderr.contains("guests of its own"), "{made}");

    let set = run(&host, &["host", "devices", "grant", &device.id, "--no-guests", "--json"]).await;
    assert!(set.stdout.contains("\"granted\":\"everything, no guests\""), "{set}");
    assert!(feed.rest().await.1.is_err());
    assert_eq!(web.process.ended().await, 4);
    assert_eq!(connect(&anna, "web").await.0, 4);
    assert_eq!(status(&own, "/show", &[]).await.0, 200, "the device itself is not concerned");
    assert_eq!(run(&host, &["host", "devices", "grant", &device.id, "--everything"]).await.code, 0);
    assert_eq!(status(&anna.forward("web").await, "/show", &[]).await.0, 200);
    let parted = run(&device.data, &["pair", pass_on(&device, &["--for", "1h"]).await["link"].as_str().unwrap()]).await;
    assert!(parted.code == 1 && parted.stderr.contains("itself"), "{parted}");
    assert_eq!(run(&device.data, &["guest", HOST]).await.code, 2, "a guest has an end");

    world.host.kill();
    std::fs::write(host.join("homing.toml"), "[host]\nguests = false\n").unwrap();
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let (code, said) = connect(&anna, "web").await;
    assert!(code == 4 && said.contains("did not accept"), "{code} {said}");
    assert_eq!(status(&own, "/show", &[]).await.0, 200);
}
