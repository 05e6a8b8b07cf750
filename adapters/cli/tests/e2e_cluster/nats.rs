//! Relays that find each other by NATS: Debian's server, which is killed, frozen and cut off.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use crate::balancer::Balancer;
use crate::server::Server;
use crate::stage::{BACK, Relay, Stage, free, relays};
use crate::support::Process;
use crate::support::client::Http;

/// Three relays, each with a way of its own to the server, which can be cut.
async fn cluster(dir: &Path, server: SocketAddr) -> (Vec<Relay>, Vec<Balancer>) {
    let mut ways = Vec::new();
    for _ in 0..3 {
        ways.push(Balancer::start(vec![server]).await);
    }
    let urls: Vec<_> = ways.iter().map(|way| format!("nats://{}", way.address)).collect();
    let flags = |name: &str, _: &[SocketAddr]| {
        let place = ["a", "b", "c"].iter().position(|known| *known == name).unwrap();
        ["--cluster-nats", &urls[place], "--cluster-lease-seconds", "3"].map(str::to_owned).into()
    };
    let relays = relays(dir, flags).await;
    for relay in &relays {
        relay.process.logged("joined the cluster").await;
    }
    until_all(&relays, "homing_relay_directory_nodes", 3).await;
    (relays, ways)
}

pub(crate) async fn until_all(relays: &[Relay], metric: &str, value: u64) {
    for relay in relays {
        until_metric(relay, metric, value).await;
    }
}

pub(crate) async fn until_metric(relay: &Relay, metric: &str, value: u64) {
    let started = Instant::now();
    loop {
        let found = relay.metric(metric).await;
        if found == Some(value) {
            return;
        }
        assert!(started.elapsed() < BACK, "{}: {metric} is {found:?}, not {value}", relay.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn front(relays: &[Relay], first: usize) -> Vec<SocketAddr> {
    let mut all: Vec<_> = relays.iter().map(|relay| relay.address).collect();
    all.rotate_left(first);
    all
}

/// Relays, a host at one of them, and a device.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) server: Server,
    ways: Vec<Balancer>,
    pub(crate) front: Balancer,
}

impl Scene {
    async fn set() -> Self {
        Self::set_with("").await
    }

    /// The same with these settings of the host.
    pub(crate) async fn set_with(settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
        let server = Server::start(dir.path().join("nats"), free(1)[0]).await;
        let (relays, ways) = cluster(dir.path(), server.address).await;
        let balancer = Balancer::start(front(&relays, 0)).await;
        let urls = [balancer.url()];
        let stage = Stage::set_with(dir, relays, &urls, settings).await;
        Self { stage, server, ways, front: balancer }
    }

    /// The relay that the host is at.
    async fn home(&self) -> usize {
        self.stage.at(&self.stage.host_at(|nodes| nodes.len() == 1).await[0])
    }

    /// A device that begins now, at this relay.
    async fn land_at(&mut self, relay: usize) {
        self.front.lead_to(front(&self.stage.relays, relay));
        self.stage.forward.process.kill();
        self.stage.forward = self.stage.device.forward("web").await;
        self.stage.answers().await;
    }

    /// Waits until one relay has the route, and no other.
    async fn one_owner(&self) {
        let started = Instant::now();
        loop {
            let mut owners = 0;
            for relay in self.stage.relays.iter().filter(|relay| relay.process.is_running()) {
                owners += relay.metric("homing_relay_directory_routes").await.unwrap_or_default();
            }
            if owners == 1 && self.stage.hosts().await == 1 {
                return;
            }
            assert!(started.elapsed() < BACK, "{owners} relays have the route");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A request on a connection that was there before.
async fn goes_on(http: &mut Http) {
    let head = http.get("/show").await;
    assert_eq!(head.status, 200);
    http.body(&head).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_met_from_any_relay_and_outlives_its_own() {
    let mut scene = Scene::set().await;
    let home = scene.home().await;
    scene.one_owner().await;
    let other = (home + 1) % 3;
    scene.land_at(other).await;
    assert_eq!(scene.stage.relays[other].metric("homing_relay_channels").await, Some(0), "it was sent on");
    assert_eq!(scene.stage.relays[other].metric("homing_relay_directory_known").await, Some(1));

    // Its relay is killed: the host comes back at another, and the device finds it there.
    scene.front.lead_to(front(&scene.stage.relays, other));
    scene.stage.relays[home].process.kill();
    scene.stage.answers().await;
    let now = scene.home().await;
    assert_ne!(now, home);
    scene.one_owner().await;
    let last = 3 - home - now;
    scene.land_at(last).await;

    // And the first one back, it is one of three again, and nobody is moved.
    scene.stage.relays[home].restart().await;
    until_all(&scene.stage.relays, "homing_relay_directory_nodes", 3).await;
    scene.land_at(home).await;
    assert_eq!(scene.home().await, now);
    scene.one_owner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_outlives_the_directory() {
    let mut scene = Scene::set().await;
    let home = scene.home().await;
    let other = (home + 1) % 3;
    let mut stream = scene.stage.stream().await;
    let cut = "homing_relay_directory{state=\"cut\"}";
    for frozen in [false, true] {
        if frozen {
            scene.server.process.signal("STOP");
        } else {
            scene.server.process.kill();
        }
        until_all(&scene.stage.relays, cut, 1).await;
        assert!(scene.stage.relays[home].ready().await.starts_with("ready\nwarning"), "it is ready all the same");
        goes_on(&mut stream).await;
        // A new call, which lands on another relay.
        scene.front.lead_to(front(&scene.stage.relays, other));
        let fresh = scene.stage.device.forward("web").await;
        let kept = core::mem::replace(&mut scene.stage.forward, fresh);
        scene.stage.answers().await;
        scene.stage.forward = kept;
        goes_on(&mut stream).await;
        assert_eq!(scene.home().await, home);
        if frozen {
            scene.server.process.signal("CONT");
        } else {
            scene.server.restart().await;
        }
        until_all(&scene.stage.relays, cut, 0).await;
        goes_on(&mut stream).await;
        scene.one_owner().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_cut_off_gives_up_what_another_has() {
    let mut scene = Scene::set().await;
    let home = scene.home().await;
    // The way of one relay to the directory is cut: it goes on with its host.
    let server = scene.server.address;
    scene.ways[home].cut();
    until_metric(&scene.stage.relays[home], "homing_relay_directory{state=\"cut\"}", 1).await;
    let others: Vec<_> = (0..3).filter(|relay| *relay != home).collect();
    for other in &others {
        until_metric(&scene.stage.relays[*other], "homing_relay_directory_nodes", 2).await;
    }
    scene.stage.answers().await;
    assert_eq!(scene.home().await, home);

    // It freezes, and the host goes elsewhere; woken, it is cut off still and cannot look: it gives up what it had.
    scene.front.lead_to(vec![scene.stage.relays[others[0]].address, scene.stage.relays[others[1]].address]);
    scene.stage.relays[home].process.signal("STOP");
    let gone = scene.stage.relays[home].url();
    scene.stage.host_at(|nodes| nodes.len() == 1 && nodes[0] != gone).await;
    scene.stage.relays[home].process.signal("CONT");
    until_metric(&scene.stage.relays[home], "homing_relay_directory_routes", 0).await;
    scene.stage.answers().await;

    // Back in the cluster, it sends devices to where the host is.
    scene.ways[home].lead_to(vec![server]);
    until_all(&scene.stage.relays, "homing_relay_directory_nodes", 3).await;
    scene.land_at(home).await;
    assert_ne!(scene.home().await, home);
    scene.one_owner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_relays_with_one_name_the_newer_one_stays() {
    let scene = Scene::set().await;
    let home = scene.home().await;
    let twin = scene.stage.path().join("twin");
    let relay = &scene.stage.relays[home];
    let [address, metrics] = [free(1)[0].to_string(), "127.0.0.1:0".to_owned()];
    let url = format!("ws://{address}");
    let nats = format!("nats://{}", scene.server.address);
    let args = ["relay", "start", "--open", "--json", "--listen", &address, "--metrics", &metrics, "--cluster-node"];
    let more = [relay.name, "--cluster-url", &url, "--cluster-nats", &nats, "--cluster-lease-seconds", "3"];
    let twin = Process::start("twin", &twin, &[&args[..], &more[..]].concat());
    twin.logged("joined the cluster").await;
    until_metric(relay, "homing_relay_directory{state=\"withdrawn\"}", 1).await;
    assert!(relay.ready().await.starts_with("not ready"));
    // Its host is at one of the others, or at the twin.
    let gone = relay.url();
    scene.stage.host_at(|nodes| nodes.len() == 1 && nodes[0] != gone).await;
    twin.kill();
    until_metric(relay, "homing_relay_directory{state=\"holding\"}", 1).await;
}
