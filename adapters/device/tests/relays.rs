//! A host at several relays, and a device that finds it through whichever of them leads there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use homing_core::handshake::Suite;
use homing_device::{LinkState, Profiles, RelayState, Tunnel};
use homing_host::{Host, HostConfig, HostHandle, PairOptions};
use homing_relay::{Admission, Relay, RelayConfig};
use homing_tokio::ClientTls;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(40), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took too long"),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// A relay that can be told to drain, or be dropped where it stands.
struct Running {
    at: SocketAddr,
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Running {
    async fn start(at: SocketAddr) -> Self {
        let relay = Relay::bind(RelayConfig::new(at, Admission::Open)).await.unwrap();
        let at = relay.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(relay.run(async {
            let _ = stopped.await;
        }));
        Self { at, task, stop: Some(stop) }
    }

    async fn crash(&mut self) -> SocketAddr {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.at
    }

    fn url(&self) -> String {
        format!("ws://{}", self.at)
    }
}

/// A host at two relays, and a device that was paired through the first.
struct World {
    data: TempDir,
    first: Running,
    second: Running,
    host: HostHandle,
    _stop: oneshot::Sender<()>,
}

impl World {
    async fn new() -> Self {
        let data = TempDir::new().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (first, second) = (Running::start(any).await, Running::start(any).await);
        let host = Host::open(HostConfig {
            relays: [&first, &second].iter().map(|relay| relay.url().parse().unwrap()).collect(),
            exposed: vec!["dead=tcp://127.0.0.1:9".parse().unwrap()],
            suite: Suite::Classic,
            ..HostConfig::new(data.path().join("host"), "nest", first.url().parse().unwrap())
        });
        let host = host.unwrap();
        let handle = host.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(host.run(async {
            let _ = stopped.await;
        }));
        let world = Self { data, first, second, host: handle, _stop: stop };
        world.registered(2).await;
        let mut dialog = world.host.pair(PairOptions::default()).unwrap();
        let (link, tls) = (dialog.link(), ClientTls::system());
        within("pairing", homing_device::pair(&world.device(), &link, "tester", &tls, |_, _| {})).await.unwrap();
        within("the dialog's end", dialog.next()).await;
        world
    }

    fn device(&self) -> PathBuf {
        self.data.path().join("device")
    }

    fn tunnel(&self) -> Tunnel {
        Tunnel::start(&self.device(), "nest", Arc::new(ClientTls::system())).unwrap()
    }

    /// Waits until so many relays have confirmed the host.
    async fn registered(&self, wanted: usize) {
        until("the host's registrations", || {
            let status = self.host.status();
            let links = status["links"].as_array().unwrap();
            links.iter().filter(|link| link["state"] == "connected").count() == wanted
        })
        .await;
    }
}

fn through(tunnel: &Tunnel, relay: &str) -> bool {
    let status = tunnel.status();
    status.state == LinkState::Connected && status.relay == relay
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_learns_of_the_other_relay_and_moves_when_its_own_dies() {
    let mut world = World::new().await;
    let both = [world.first.url(), world.second.url()];
    assert_eq!(Profiles::list(&world.device()).unwrap()[0].relays, both, "learnt while pairing");
    let tunnel = world.tunnel();
    within("the services", tunnel.services()).await.unwrap();
    assert!(through(&tunnel, &both[0]), "{:?}", tunnel.status());

    let at = world.first.crash().await;
    let crashed = Instant::now();
    until("the call through the other relay", || through(&tunnel, &both[1])).await;
    eprintln!("moved in {:?}", crashed.elapsed());
    within("the services", tunnel.services()).await.unwrap();

    // And back again, once there is something to go back to.
    let first = Running::start(at).await;
    until("the host at the first relay", || {
        world.host.status()["links"].as_array().unwrap().iter().all(|link| link["state"] == "connected")
    })
    .await;
    world.second.crash().await;
    until("the call through the first relay", || through(&tunnel, &first.url())).await;
    within("the services", tunnel.services()).await.unwrap();
    tunnel.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_swallows_everything_delays_nobody_for_long() {
    let mut world = World::new().await;
    let second = world.second.url();
    let at = world.first.crash().await;
    // Somebody who takes connections and never says a word.
    let hole = TcpListener::bind(at).await.unwrap();
    let swallowing = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((tcp, _)) = hole.accept().await {
            held.push(tcp);
        }
    });
    let tunnel = world.tunnel();
    let started = Instant::now();
    until("the call through the other relay", || through(&tunnel, &second)).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}: not the dial's time out");
    within("the services", tunnel.services()).await.unwrap();
    let status = tunnel.status();
    assert_eq!(status.relays.len(), 2);
    assert_eq!(status.relays.iter().filter(|relay| relay.state == RelayState::InUse).count(), 1, "{status:?}");
    swallowing.abort();
    tunnel.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_at_the_other_relay_only_is_found_there() {
    let mut world = World::new().await;
    let (first, second) = (world.first.url(), world.second.url());
    // The first relay comes back at once, and the host is kept away from it: dials wait there in vain.
    let at = world.first.crash().await;
    let config = RelayConfig::new(at, Admission::Key([0; 32]));
    let relay = Relay::bind(config).await.unwrap();
    tokio::spawn(relay.run(core::future::pending()));
    let tunnel = world.tunnel();
    let started = Instant::now();
    until("the call through the other relay", || through(&tunnel, &second)).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}: not the time that a relay keeps a dial, {first}");
    within("the services", tunnel.services()).await.unwrap();
    tunnel.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_drains_is_left_for_the_other() {
    let mut world = World::new().await;
    let (first, second) = (world.first.url(), world.second.url());
    let tunnel = world.tunnel();
    until("the call", || through(&tunnel, &first)).await;
    let asked = Instant::now();
    drop(world.first.stop.take());
    until("the call through the other relay", || through(&tunnel, &second)).await;
    within("the relay's end", &mut world.first.task).await.unwrap();
    let took = asked.elapsed();
    eprintln!("drained in {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}: both ends left before they had to");
    within("the services", tunnel.services()).await.unwrap();
    tunnel.close().await;
}
