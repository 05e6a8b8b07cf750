//! A link lets one device in, once, while somebody looks at it.

use core::time::Duration;
use std::path::PathBuf;

use homing_core::crypto::Identity;
use homing_core::handshake::{HELLO_MAX, Kind, start};
use homing_core::hop::{DeviceLink, Purpose};
use homing_core::pairing::{Ticket, parse_link};
use homing_core::{crypto::Secret, wire::Params};
use homing_driver::Clock;
use homing_local::control::{ControlError, Role, call};
use homing_tokio::{ClientTls, TokioClock, dial, endpoint_config};
use serde_json::{Value, json};

use crate::rogue::{Line, Said, entropy, pair_as, relay_of};
use crate::scene::{devices, event, hosts, ticket};
use crate::support::{Process, World, run, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_good_for_one_device() {
    let world = World::start(&[]).await;
    let dialog = Process::start("host pair", &world.host_data(), &["host", "pair", "--auto", "--json"]);
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let [first, second] = ["first", "second"].map(|name| world.dir.path().join(name));
    let paired = run(&first, &["pair", &link, "--name", "first"]).await;
    assert_eq!(paired.code, 0, "{paired}");
    assert_eq!(dialog.ended().await, 0);
    // The same machine again has another key, and is as much a stranger as any other.
    for data in [&second, &first] {
        let refused = run(data, &["pair", &link]).await;
        assert_eq!(refused.code, 4, "{refused}");
        assert!(refused.stderr.contains("was used") && refused.stderr.contains("new one"), "{refused}");
    }
    let listed = devices(&world.host_data()).await;
    assert_eq!(listed.iter().map(|device| &device["name"]).collect::<Vec<_>>(), ["first"]);
    assert_eq!((hosts(&first).await.len(), hosts(&second).await.len()), (1, 0));
}

/// A device that did not hear of its success pairs once more under its link. That gives it no more than it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_link_gives_back_neither_a_revoked_device_nor_a_wider_grant() {
    let world = World::start(&[]).await;
    let host = world.host_data();
    let args = ["host", "pair", "--auto", "--json", "--grant", "web"];
    let dialog = Process::start("host pair", &host, &args);
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let ticket = parse_link(&link).unwrap();
    let device = pair_as(&ticket, "rogue", Identity::generate(&mut entropy())).await.unwrap();
    assert_eq!(dialog.ended().await, 0);
    let id = devices(&host).await[0]["id"].as_str().unwrap().to_owned();
    let again = async || pair_as(&ticket, "rogue", device.identity.duplicate()).await;

    assert!(again().await.is_ok());
    assert_eq!(devices(&host).await[0]["granted"], "web", "the link's, though nobody shows it any more");
    let less = run(&host, &["host", "devices", "grant", &id, "--grant", "web:GET"]).await;
    assert_eq!(less.code, 0, "{less}");
    assert!(again().await.is_ok());
    let listed = devices(&host).await;
    assert_eq!((&listed[0]["granted"], &listed[0]["id"], listed.len()), (&json!("web:GET"), &json!(id), 1));

    let revoked = run(&host, &["host", "devices", "revoke", &id]).await;
    assert_eq!(revoked.code, 0, "{revoked}");
    assert!(again().await.is_err(), "a revoked device came back by its old link");
    assert!(devices(&host).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_many_gets_in() {
    let world = World::start(&[]).await;
    for round in 0..10 {
        for rivals in [2, 8] {
            let (link, mut dialog) = ticket(&world.host_data(), &json!({})).await;
            let race = (0..rivals).map(|rival| {
                let data = world.dir.path().join(format!("{round}-{rivals}-{rival}"));
                let link = link.clone();
                async move { (run(&data, &["pair", &link]).await, data) }
            });
            let ends = futures_util::future::join_all(race).await;
            let said = event(&mut dialog).await;
            assert_eq!(said["event"], "paired");
            let (won, lost): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(end, _)| end.code == 0);
            assert_eq!(won.len(), 1, "{} of {rivals} got in", won.len());
            for (end, data) in lost {
                assert_eq!(end.code, 4, "{end}");
                assert_eq!(hosts(&data).await, Vec::<Value>::new());
            }
            let listed = devices(&world.host_data()).await;
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0]["id"], said["device"]["id"]);
            let revoked =
                run(&world.host_data(), &["host", "devices", "revoke", listed[0]["id"].as_str().unwrap()]).await;
            assert_eq!(revoked.code, 0, "{revoked}");
        }
    }
}

/// A device that has dialled with a ticket and says hello when it is told to.
struct Waiting {
    line: Line,
    channel: [u8; 16],
    ticket: Ticket,
}

impl Waiting {
    async fn dial(link: &str) -> Self {
        let ticket = parse_link(link).unwrap();
        let relay = relay_of(&ticket);
        let socket = dial(&relay, &ClientTls::system(), endpoint_config()).await.unwrap();
        let purpose = Purpose::Pair { rendezvous: Secret::new(ticket.secrets().rendezvous) };
        let link = DeviceLink::new(relay.authority(), purpose, TokioClock.now()).unwrap();
        let mut line = Line { socket, link, session: None };
        let Said::Opened(channel) = line.event().await else { panic!("the relay does not open the channel") };
        Self { line, channel, ticket }
    }

    /// Whether the host answers the handshake as to somebody who may pair.
    async fn answered(mut self) -> bool {
        let identity = Identity::generate(&mut entropy());
        let secrets = self.ticket.secrets();
        let (kind, mut hello) = (Kind::Pair { ticket: &secrets.handshake }, [0; HELLO_MAX]);
        let (suite, host) = (self.ticket.suite, &self.ticket.host);
        let started = start(suite, kind, &self.channel, &identity, host, Params::default(), &mut entropy(), &mut hello);
        let (len, wait) = started.unwrap();
        self.line.send_body(&hello[..len]).await.unwrap();
        match self.line.event().await {
            Said::Data(mut reply) => wait.read(&mut reply).is_ok(),
            Said::Opened(_) | Said::Over(_) => false,
        }
    }
}

/// No device's clock and no relay is asked: the host itself ends the ticket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_ends_an_expired_ticket_whatever_the_device_believes() {
    let world = World::start(&[]).await;
    let (link, mut dialog) = ticket(&world.host_data(), &json!({ "life": 3 })).await;
    let [early, late] = [Waiting::dial(&link).await, Waiting::dial(&link).await];
    assert!(early.answered().await);
    assert_eq!(event(&mut dialog).await["event"], "expired");
    assert!(!late.answered().await);
    let data = world.dir.path().join("late");
    let expired = run(&data, &["pair", &link]).await;
    assert_eq!(expired.code, 5, "{expired}");
    assert!(expired.stderr.contains("expired"), "{expired}");
    assert!(devices(&world.host_data()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_with_the_command_that_shows_it() {
    let world = World::start(&[]).await;
    let host = world.host_data();
    let show = |name| Process::start(name, &host, &["host", "pair", "--auto", "--json"]);
    let dialogs = ["a", "b", "c", "d"].map(show);
    let mut links = Vec::new();
    for dialog in &dialogs {
        links.push(dialog.event("ticket").await["link"].as_str().unwrap().to_owned());
    }
    // Only four at once: that there is room again shows that the host noticed.
    let fifth = run(&host, &["host", "pair", "--auto", "--json"]).await;
    assert_eq!(fifth.code, 1, "{fifth}");
    let [one, other] = [Waiting::dial(&links[0]).await, Waiting::dial(&links[0]).await];
    assert!(one.answered().await);
    // As Ctrl-C would, but for runners that have INT ignored: children inherit that.
    dialogs[0].signal("TERM");
    dialogs[0].ended().await;
    let (_, again) = within(async {
        loop {
            let mut dialog = call(&host, Role::Host, &json!({ "cmd": "pair" })).await.unwrap();
            match dialog.next().await {
                Ok(ticket) => return (ticket, dialog),
                Err(ControlError::Refused { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert!(!other.answered().await);
    // The relay knows the link no longer either, and keeps the dial for as long as any that it does not know.
    let refused = run(&world.dir.path().join("late"), &["pair", &links[0]]).await;
    assert_eq!(refused.code, 4, "{refused}");
    // The others are as good as before.
    let paired = run(&world.dir.path().join("good"), &["pair", &links[1]]).await;
    assert_eq!(paired.code, 0, "{paired}");
    drop(again);
}

/// Runs `pair` of a device while a dialog asks; both ends' check words.
async fn asked(world: &World, confirm: &str) -> (Process, homing_local::control::Connection, PathBuf) {
    let (link, mut dialog) = ticket(&world.host_data(), &json!({ "confirm": true })).await;
    let data = world.dir.path().join(confirm);
    let device = Process::start(confirm, &data, &["pair", &link, "--name", confirm, "--json"]);
    let said = event(&mut dialog).await;
    assert_eq!(said["event"], "confirm");
    assert_eq!(said["device"]["name"], confirm);
    let check = said["check"].as_str().unwrap();
    device.logged(check).await;
    assert!(check.len() == 7 && check.bytes().all(|byte| byte.is_ascii_digit() || byte == b' '), "{check:?}");
    assert!(devices(&world.host_data()).await.is_empty());
    (device, dialog, data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_decides_where_the_link_says_so() {
    let world = World::start(&[]).await;
    let host = world.host_data();

    let (device, mut dialog, data) = asked(&world, "denied").await;
    dialog.send(&json!({ "approve": false })).await.unwrap();
    assert_eq!(event(&mut dialog).await["event"], "denied");
    assert_eq!(device.ended().await, 4);
    device.logged("did not accept").await;
    assert_eq!((devices(&host).await.len(), hosts(&data).await.len()), (0, 0));

    // Nobody answers, and the one who was asked goes away: that is a no.
    let (device, dialog, data) = asked(&world, "ignored").await;
    drop(dialog);
    assert_eq!(device.ended().await, 4);
    assert_eq!((devices(&host).await.len(), hosts(&data).await.len()), (0, 0));

    let (device, mut dialog, data) = asked(&world, "approved").await;
    dialog.send(&json!({ "approve": true })).await.unwrap();
    let said = event(&mut dialog).await;
    assert_eq!((&said["event"], &said["device"]["name"]), (&json!("paired"), &json!("approved")));
    assert_eq!(device.ended().await, 0);
    assert_eq!((devices(&host).await.len(), hosts(&data).await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_link_is_burnt() {
    let world = World::start(&[]).await;
    let (link, mut dialog) = ticket(&world.host_data(), &json!({ "confirm": true })).await;
    let (before, after) = (Waiting::dial(&link).await, Waiting::dial(&link).await);
    assert!(before.answered().await);
    let device = Process::start("thief", &world.dir.path().join("thief"), &["pair", &link, "--json"]);
    assert_eq!(event(&mut dialog).await["event"], "confirm");
    dialog.send(&json!({ "approve": false })).await.unwrap();
    assert_eq!(event(&mut dialog).await["event"], "denied");
    assert!(!after.answered().await);
    until("the thief is told", crate::support::PATIENCE, || !device.is_running()).await;
    assert_eq!(device.ended().await, 4);
}
