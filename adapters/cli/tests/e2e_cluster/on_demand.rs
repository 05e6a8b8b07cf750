//! Hosts that wait to be woken, in a cluster: who lands elsewhere wakes them where they wait.

use core::time::Duration;
use std::time::Instant;

use crate::balancer::Balancer;
use crate::fixed::{addresses, peers};
use crate::nats::{Scene, until_all};
use crate::stage::{BACK, Stage, relays};

const ON_DEMAND: &str = "on_demand = true\nlinger_seconds = 1";

/// Waits until the host has no link and waits at so many relays; the first of them.
async fn asleep(stage: &Stage, at: u64) -> usize {
    let started = Instant::now();
    loop {
        let (mut waiting, mut links) = (0, 0);
        for relay in stage.relays.iter().filter(|relay| relay.process.is_running()) {
            waiting += relay.metric("homing_relay_links{role=\"waiting\"}").await.unwrap_or_default();
            links += relay.metric("homing_relay_links{role=\"host\"}").await.unwrap_or_default();
        }
        if (waiting, links) == (at, 0) {
            break;
        }
        assert!(started.elapsed() < BACK, "it waits at {waiting} relays, and has {links} links");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let nodes = stage.host_at(|nodes| nodes.len() as u64 == at).await;
    stage.at(&nodes[0])
}

/// A device that begins now and comes to this relay first wakes the host, which comes to the relay that it waits at.
async fn wakes(stage: &mut Stage, front: &Balancer, first: usize) {
    stage.forward.process.kill();
    let home = asleep(stage, 1).await;
    front.lead_to(vec![stage.relays[first].address]);
    stage.forward = stage.device.forward("web").await;
    stage.answers().await;
    let home = &stage.relays[home];
    for (role, count) in [("host", 1), ("waiting", 1), ("device", 1)] {
        let metric = format!("homing_relay_links{{role=\"{role}\"}}");
        assert_eq!(home.metric(&metric).await, Some(count), "{role} links at {}, from {first}", home.name);
    }
    assert_eq!(stage.host_at(|nodes| nodes.len() == 1).await, [home.url()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_list_it_is_woken_where_it_waits_whoever_is_back() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let relays = relays(dir.path(), peers).await;
    let front = Balancer::start(addresses(&relays)).await;
    let urls = [front.url()];
    let mut stage = Stage::set_with(dir, relays, &urls, ON_DEMAND).await;
    for first in 0..3 {
        wakes(&mut stage, &front, first).await;
    }

    // Its relay is killed while it waits: it waits at the next.
    stage.forward.process.kill();
    let home = asleep(&stage, 1).await;
    let others = [(home + 1) % 3, (home + 2) % 3];
    front.lead_to(others.map(|other| stage.relays[other].address).into());
    stage.relays[home].process.kill();
    assert_ne!(asleep(&stage, 1).await, home);
    for first in others {
        wakes(&mut stage, &front, first).await;
    }
    // It waits on there once the first is back, to which the cluster would send it, were it not for its waiting.
    stage.relays[home].restart().await;
    for first in 0..3 {
        wakes(&mut stage, &front, first).await;
    }
    stage.forward.process.kill();
    assert_ne!(asleep(&stage, 1).await, home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_two_relays_it_is_woken_at_either() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let relays = relays(dir.path(), peers).await;
    let front = [Balancer::start(addresses(&relays)).await, Balancer::start(addresses(&relays)).await];
    let urls = [front[0].url(), front[1].url()];
    let mut stage = Stage::set_with(dir, relays, &urls, ON_DEMAND).await;
    stage.forward.process.kill();
    let home = asleep(&stage, 2).await;
    let other = (0..3).find(|relay| *relay != home).unwrap();
    for balancer in &front {
        balancer.lead_to(vec![stage.relays[other].address]);
    }
    stage.forward = stage.device.forward("web").await;
    stage.answers().await;
    stage.forward.process.kill();

    // The first is gone: the second has it already.
    asleep(&stage, 2).await;
    stage.relays[home].process.kill();
    stage.forward = stage.device.forward("web").await;
    stage.answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_nats_it_is_woken_where_it_waits_with_and_without_the_directory() {
    let mut scene = Scene::set_with(ON_DEMAND).await;
    for first in 0..3 {
        wakes(&mut scene.stage, &scene.front, first).await;
    }
    scene.server.process.kill();
    until_all(&scene.stage.relays, "homing_relay_directory{state=\"cut\"}", 1).await;
    for first in 0..3 {
        wakes(&mut scene.stage, &scene.front, first).await;
    }
    scene.server.restart().await;
    until_all(&scene.stage.relays, "homing_relay_directory{state=\"cut\"}", 0).await;

    // Its relay is killed while it waits.
    scene.stage.forward.process.kill();
    let home = asleep(&scene.stage, 1).await;
    let others = [(home + 1) % 3, (home + 2) % 3];
    scene.front.lead_to(others.map(|other| scene.stage.relays[other].address).into());
    scene.stage.relays[home].process.kill();
    assert_ne!(asleep(&scene.stage, 1).await, home);
    for first in others {
        wakes(&mut scene.stage, &scene.front, first).await;
    }
    scene.stage.relays[home].restart().await;
    until_all(&scene.stage.relays, "homing_relay_directory_nodes", 3).await;
    for first in 0..3 {
        wakes(&mut scene.stage, &scene.front, first).await;
    }
}
