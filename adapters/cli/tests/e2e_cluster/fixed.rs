//! Relays that know each other from a list.

use core::net::SocketAddr;

use crate::balancer::Balancer;
use crate::stage::{Relay, Stage, relays};
use crate::support::client::curl;
use crate::support::run;

pub(crate) fn peers(_: &str, addresses: &[SocketAddr]) -> Vec<String> {
    let names = ["a", "b", "c"].into_iter().zip(addresses);
    names.flat_map(|(name, address)| ["--cluster-peer".to_owned(), format!("{name}=ws://{address}")]).collect()
}

pub(crate) fn addresses(relays: &[Relay]) -> Vec<SocketAddr> {
    relays.iter().map(|relay| relay.address).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_at_two_relays_is_met_from_any_and_survives_one() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let relays = relays(dir.path(), peers).await;
    let front = [Balancer::start(addresses(&relays)).await, Balancer::start(addresses(&relays)).await];
    let urls = [front[0].url(), front[1].url()];
    let mut stage = Stage::set(dir, relays, &urls).await;

    // Wherever they knock, the host's links are at two relays, by their own names.
    let at = stage.host_at(|nodes| nodes.len() == 2).await;
    let homes = [stage.at(&at[0]), stage.at(&at[1])];
    assert_ne!(homes[0], homes[1]);
    let other = 3 - homes[0] - homes[1];
    assert_eq!(stage.hosts().await, 2);

    // A device that lands on the third is sent on before it has a link.
    for balancer in &front {
        balancer.lead_to(vec![stage.relays[other].address]);
    }
    stage.forward.process.kill();
    stage.forward = stage.device.forward("web").await;
    stage.answers().await;
    let sent = stage.relays[other].metric("homing_relay_directory_sent_total{role=\"device\"}").await.unwrap();
    assert!(sent > 0);
    assert_eq!(stage.relays[other].metric("homing_relay_channels").await, Some(0));

    // The first is killed: the second has the host already, and its first link finds the third.
    for balancer in &front {
        balancer.lead_to(vec![stage.relays[homes[1]].address, stage.relays[other].address]);
    }
    stage.relays[homes[0]].process.kill();
    stage.answers().await;
    let gone = at[0].clone();
    stage.host_at(|nodes| nodes.len() == 2 && !nodes.contains(&gone) && nodes[0] != nodes[1]).await;
    assert_eq!(stage.hosts().await, 2, "one link at each");
    // Also for a device that begins now.
    stage.forward.process.kill();
    stage.forward = stage.device.forward("web").await;
    stage.answers().await;

    stage.relays[homes[0]].restart().await;
    stage.answers().await;
    assert!(stage.host.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_says_where_a_route_is_and_nothing_else() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let relays = relays(dir.path(), peers).await;
    let ask = async |value: &str| {
        let url = format!("http://{}/homing/1", relays[0].address);
        let header = format!("Homing-Route: {value}");
        curl(&["-i", "--max-time", "5", "-H", &header, &url]).await.stdout
    };
    let (mut here, mut away) = (0, 0);
    for digit in "ABCDEFGHIJKLMNOPQRSTUVWXYZ".chars() {
        let said = ask(&format!("device {digit}AAAAAAAAAAAAAAAAAAAAA 0 0")).await;
        if said.starts_with("HTTP/1.1 307") {
            let location = said.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned();
            assert!(relays[1..].iter().any(|relay| location == format!("{}/homing/1", relay.url())), "{location}");
            away += 1;
        } else {
            assert!(said.starts_with("HTTP/1.1 426"), "{said}");
            here += 1;
        }
    }
    // One in 10^7 runs would have all 26 fall on one side.
    assert!(here > 0 && away > 0, "{here}, {away}");
    for wrong in ["", "device", "device x 0 0", "relay AAAAAAAAAAAAAAAAAAAAAA 0 0"] {
        let said = ask(&format!("{wrong} ")).await;
        assert!(said.starts_with("HTTP/1.1 400") || (wrong.is_empty() && said.starts_with("HTTP/1.1 4")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_makes_no_sense_is_refused_at_the_start() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let start = async |more: &[&str]| {
        let args = [&["relay", "start", "--open", "--listen", "127.0.0.1:0"], more].concat();
        let ended = run(dir.path(), &args).await;
        assert_eq!(ended.code, 2, "{ended}");
        ended.stderr
    };
    let said = start(&["--cluster-node", "a"]).await;
    assert!(said.contains("--cluster-url"), "{said}");
    let said = start(&["--cluster-node", "a", "--cluster-url", "ws://127.0.0.1:1"]).await;
    assert!(said.contains("--cluster-peer"), "{said}");
    let said =
        start(&["--cluster-node", "A", "--cluster-url", "ws://127.0.0.1:1", "--cluster-peer", "b=ws://127.0.0.1:2"]);
    let said = said.await;
    assert!(said.contains("no name for a relay"), "{said}");
    let said =
        start(&["--cluster-node", "a", "--cluster-url", "ws://127.0.0.1:1", "--cluster-peer", "b=ws://127.0.0.1:2"]);
    let said = said.await;
    assert!(said.contains("the same list"), "{said}");
}
