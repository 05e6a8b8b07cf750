//! A device takes nobody else for its host, and a host nobody else for its device.

use core::fmt::Write as _;

use homing_core::channel::code;
use homing_core::crypto::Identity;
use homing_core::handshake::{Exports, Failure, HELLO_MAX, Kind, parse_failure, start};
use homing_core::pairing::{Flags, Ticket, parse_link};
use homing_core::wire::Params;
use serde_json::json;

use crate::rogue::{Rogue, Said, entropy};
use crate::scene::{devices, event, hosts, pair, reseal, ticket, unseal};
use crate::support::{HOST, World, run};
use crate::{mitm, plain, scene};

fn write(ticket: &Ticket) -> String {
    let mut link = String::new();
    ticket.write_link(&mut link).unwrap();
    link
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_link_pairs_with_nobody() {
    let world = World::start(&[]).await;
    let (link, mut dialog) = ticket(&world.host_data(), &json!({})).await;
    let mut with_other_key = parse_link(&link).unwrap();
    with_other_key.host = *Identity::generate(&mut entropy()).public();
    let mut lives_longer = parse_link(&link).unwrap();
    lives_longer.expiry += 3600;
    let mut asks_nobody = parse_link(&link).unwrap();
    asks_nobody.flags = Flags { confirm: !asks_nobody.flags.confirm, ..asks_nobody.flags };
    for (what, ticket) in [("key", with_other_key), ("expiry", lives_longer), ("flags", asks_nobody)] {
        let data = world.dir.path().join(what);
        let refused = run(&data, &["pair", &write(&ticket)]).await;
        assert_eq!(refused.code, 4, "{what}: {refused}");
        assert!(hosts(&data).await.is_empty(), "{what}");
    }
    // One letter changed is noticed before anything is dialled.
    let typo = link.replacen(&link[40..41], if &link[40..41] == "A" { "B" } else { "A" }, 1);
    let refused = run(&world.dir.path().join("typo"), &["pair", &typo]).await;
    assert_eq!(refused.code, 2, "{refused}");
    assert!(devices(&world.host_data()).await.is_empty());
    // The link itself has suffered nothing.
    let paired = run(&world.dir.path().join("good"), &["pair", &link]).await;
    assert_eq!(paired.code, 0, "{paired}");
    assert_eq!(event(&mut dialog).await["event"], "paired");
}

/// The host's place is taken by one with another key: at the same route, and at a route of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_another_key_is_refused() {
    let echo = plain::echo().await;
    let mut world = World::start(&[("echo", format!("tcp://{echo}"))]).await;
    let device = world.pair().await;
    let other = hex(Identity::generate(&mut entropy()).secret().expose());
    world.host.signal("TERM");
    world.host.ended().await;
    let before = unseal(&world.host_data(), "relay");
    reseal(&world.host_data(), "relay", |state| state["identity"] = other.clone().into());
    assert_ne!(unseal(&world.host_data(), "relay")["identity"], before["identity"]);
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let path = format!("{HOST}/echo");
    let refused = run(&device.data, &["connect", &path]).await;
    assert!([3, 4].contains(&refused.code) && refused.stdout.is_empty(), "{refused}");
    assert!(refused.stderr.contains("refused") || refused.stderr.contains("does not want"), "{refused}");

    // What the impostor knows of the device is worth nothing without the key; with it all is well again.
    world.host.signal("TERM");
    world.host.ended().await;
    reseal(&world.host_data(), "relay", |state| state["identity"] = before["identity"].clone());
    world.restart_host();
    world.host.logged("reachable through relay").await;
    let reached = run(&device.data, &["connect", &path]).await;
    assert_eq!(reached.code, 0, "{reached}");

    // A fresh host has another route as well: to the device it is as if nobody were there.
    world.host.signal("TERM");
    world.host.ended().await;
    std::fs::rename(world.host_data(), world.dir.path().join("old-host")).unwrap();
    world.restart_host();
    world.host.logged("reachable through relay").await;
    pair(&world.host_data(), &world.dir.path().join("other"), "other").await;
    let refused = run(&device.data, &["connect", &path]).await;
    assert_eq!(refused.code, 3, "{refused}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whoever answers in the host's place, without its key, is called what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impostor_in_the_middle_is_named_loudly() {
    use mitm::{Blow, Target, Way};
    let echo = plain::echo().await;
    let scene = scene::Scene::start(&[("echo", format!("tcp://{echo}"))]).await;
    let device = scene.pair("device").await;
    scene.mitm.arm(Way::ToDevice, Target::Handshake, Blow::Flip);
    let refused = run(&device.data, &["connect", &format!("{HOST}/echo")]).await;
    assert_eq!((scene.mitm.blows(), refused.code), (1, 4), "{refused}");
    assert!(refused.stderr.contains("WRONG HOST KEY"), "{refused}");
    // And it is when pairing.
    let (link, _dialog) = ticket(&scene.host_data(), &json!({})).await;
    scene.mitm.arm(Way::ToDevice, Target::Handshake, Blow::Flip);
    let refused = run(&scene.dir.path().join("new"), &["pair", &link]).await;
    assert_eq!((scene.mitm.blows(), refused.code), (2, 4), "{refused}");
    assert!(refused.stderr.contains("do not trust that relay"), "{refused}");
    // A relay that splices channels is found out too: the channel's name is in the handshake.
    scene.mitm.arm_other_channel();
    let refused = run(&scene.dir.path().join("new"), &["pair", &link]).await;
    assert_eq!(scene.mitm.blows(), 3);
    assert!([1, 3, 4].contains(&refused.code), "{refused}");
    assert_eq!(devices(&scene.host_data()).await.len(), 1);
}

/// A token is worth nothing in another device's hands, and a device nothing without its token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_for_its_own_device_alone() {
    let world = World::start(&[]).await;
    let (link, _dialog) = ticket(&world.host_data(), &json!({})).await;
    let mut one = Rogue::pair(&link).await;
    let (link, _dialog) = ticket(&world.host_data(), &json!({})).await;
    let mut other = Rogue::pair(&link).await;
    one.connect().await;
    core::mem::swap(&mut one.paired.token, &mut other.paired.token);
    for thief in [&mut one, &mut other] {
        let mut line = thief.shake_hands(Params::default()).await;
        line.say(&[thief.auth()]).await.unwrap();
        assert_eq!(line.closed().await, Some(code::TOKEN_INVALID));
    }
    // A stranger's key does not get as far.
    core::mem::swap(&mut one.paired.token, &mut other.paired.token);
    one.connect().await;
    one.identity = Identity::generate(&mut entropy());
    let (mut line, channel) = one.dial().await.unwrap();
    let psk = Exports::psk(&one.root, one.suite);
    let kind = Kind::Connect { route: &one.paired.route_id, psk: &psk };
    let (own, mut hello) = (Params::default(), [0; HELLO_MAX]);
    let rng = &mut entropy();
    let (len, _) = start(one.suite, kind, &channel, &one.identity, &one.host, own, rng, &mut hello).unwrap();
    line.send_body(&hello[..len]).await.unwrap();
    let Said::Data(reply) = line.event().await else { panic!("no answer") };
    assert_eq!(parse_failure(&reply).unwrap().unwrap().0, Failure::Rejected);
    assert_eq!(devices(&world.host_data()).await.len(), 2);
}
