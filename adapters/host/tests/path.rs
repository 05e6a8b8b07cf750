//! The whole path with real sockets: relay, host and the driver's device end, in one process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex};

use homing_core::channel::{Config, code};
use homing_core::crypto::{Identity, Secret};
use homing_core::handshake::{CheckWords, Exports, Suite};
use homing_core::hop::{Capability, Code};
use homing_core::pairing::{Ticket, parse_link};
use homing_driver::device::{Call, Caller, Intent, Opener, call};
use homing_driver::{Ended, Paired};
use homing_host::{Host, HostConfig, HostHandle, PairOptions};
use homing_relay::{Admission, Relay, RelayConfig};
use homing_tokio::{ClientTls, RelayUrl, TokioClock, TunnelStream, dial, endpoint_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_pairs_once_and_then_reaches_the_service() {
    let data = tempfile::tempdir().unwrap();
    for suite in [Suite::Hybrid, Suite::Classic] {
        let world = World::start(&data.path().join(format!("{suite:?}")), suite).await;
        let device = world.pair().await;
        let (opener, _running) = world.connect(&device).await;
        for len in [0, 1, 64 * 1024, 3_000_000] {
            assert_eq!(echo(&opener, len).await, len);
        }
        let all = (0..200).map(|i| echo(&opener, 1000 + i));
        let lens = futures_util::future::join_all(all).await;
        assert!(lens.iter().enumerate().all(|(i, len)| *len == 1000 + i));
        assert_eq!(world.host.devices().len(), 1);
    }
}

/// A device that pairs again, with its key and while its link lives, gets a new record. What it
/// opened under the old one must not outlive the revocation of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_does_not_outlive_its_devices_record() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let dialog = world.host.pair(PairOptions::default()).unwrap();
    let ticket = parse_link(&dialog.link()).unwrap();
    let identity = Identity::generate(&mut entropy());
    let (first, first_ended) = world.pair_with(&ticket, &identity).await;
    assert_eq!(echo(&first, 10).await, 10);
    let (second, second_ended) = world.pair_with(&ticket, &identity).await;
    let ended = timeout(PATIENCE, first_ended).await.expect("the old session ends").unwrap();
    assert!(matches!(ended, Ended::Closed { code: code::SUPERSEDED, .. }), "{ended}");
    assert_eq!(echo(&second, 10).await, 10);
    assert_eq!(world.host.devices().len(), 1);
    world.host.revoke("test device").await.unwrap();
    let ended = timeout(PATIENCE, second_ended).await.unwrap().unwrap();
    assert!(matches!(ended, Ended::Closed { code: code::REVOKED, .. }), "{ended}");
}

/// The capability of a device's latest session is in no record yet when the device is revoked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_turns_away_what_a_revoked_device_got_last() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let mut device = world.pair().await;
    for _ in 0..2 {
        let (opener, running) = world.connect(&device).await;
        assert_eq!(echo(&opener, 10).await, 10);
        opener.close();
        timeout(PATIENCE, running).await.unwrap().unwrap();
        device.paired.capability = world.fresh.lock().unwrap().take().expect("each session brings one");
    }
    world.host.rename("test device", "renamed").await.unwrap();
    world.host.revoke("renamed").await.unwrap();
    let mut ended = Ended::Asked;
    // The first of them may be faster than the host's word to the relay.
    for _ in 0..4 {
        ended = world.call_until_it_ends(&device).await;
    }
    assert!(matches!(ended, Ended::Hop(Code::Denied)), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enabling_what_is_enabled_disturbs_nobody() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    let (opener, running) = world.connect(&device).await;
    world.host.set_enabled(true).await.unwrap();
    // A second device takes longer to pair than a link takes to end.
    world.pair().await;
    assert!(!running.is_finished());
    assert_eq!(echo(&opener, 10).await, 10);
    world.host.set_enabled(false).await.unwrap();
    timeout(PATIENCE, running).await.expect("disabling ends it").unwrap();
}

/// Two hosts with one key, as a copied directory makes them, do not take turns for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_another_replaced_stays_away() {
    let (data, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::start(data.path(), Suite::Classic).await;
    let device = world.pair().await;
    for file in [homing_host::registry::STATE_FILE, homing_host::registry::KEY_FILE] {
        std::fs::copy(data.path().join(file), copied.path().join(file)).unwrap();
    }
    let copy = start_host(copied.path(), &world.url, Suite::Classic).await;
    let state = |host: &HostHandle| host.status()["links"][0]["state"].clone();
    timeout(PATIENCE, async {
        while state(&world.host) != "superseded" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the first one gives way");
    assert_eq!(state(&copy), "connected");
    let (opener, _running) = world.connect(&device).await;
    assert_eq!(echo(&opener, 10).await, 10);
    // A person decides otherwise.
    world.host.set_enabled(false).await.unwrap();
    world.host.set_enabled(true).await.unwrap();
    timeout(PATIENCE, async {
        while state(&copy) != "superseded" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the copy gives way");
    assert_eq!(state(&world.host), "connected");
}

/// A device that did not hear the end of its pairing pairs again, and is the same device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairing_again_with_the_same_key_keeps_the_device() {
    let data = tempfile::tempdir().unwrap();
    let world = World::start(data.path(), Suite::Classic).await;
    let dialog = world.host.pair(PairOptions::default()).unwrap();
    let ticket = parse_link(&dialog.link()).unwrap();
    let identity = Identity::generate(&mut entropy());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (opener, _running) = world.pair_with(&ticket, &identity).await;
        assert_eq!(echo(&opener, 10).await, 10);
        let devices = world.host.devices();
        assert_eq!(devices.len(), 1);
        ids.push(devices[0]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
}

struct World {
    fresh: Fresh,
    url: RelayUrl,
    host: HostHandle,
}

struct Device {
    identity: Secret<32>,
    root: Secret<32>,
    ticket: Ticket,
    paired: Paired,
}

impl Device {
    fn intent(&self) -> Intent {
        Intent::Connect {
            route: self.paired.route_id,
            capability: Capability::from_bytes(self.paired.capability.expose()),
            psk: Exports::psk(&self.root, self.ticket.suite),
            token: self.paired.token.duplicate(),
        }
    }
}

impl World {
    async fn start(data: &Path, suite: Suite) -> Self {
        let config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
        let relay = Relay::bind(config).await.unwrap();
        let url: RelayUrl = format!("ws://{}", relay.local_addr()).parse().unwrap();
        tokio::spawn(relay.run(core::future::pending()));
        let host = start_host(data, &url, suite).await;
        Self { fresh: Fresh::default(), url, host }
    }

    async fn pair(&self) -> Device {
        let dialog = self.host.pair(PairOptions::default()).unwrap();
        let ticket = parse_link(&dialog.link()).unwrap();
        let secrets = ticket.secrets();
        let identity = Identity::generate(&mut entropy());
        let (mut ears, mut heard) = Ears::new(&self.fresh);
        let intent = Intent::Pair {
            ticket: secrets.handshake,
            rendezvous: Secret::new(secrets.rendezvous),
            platform: 1,
            name: "test device".into(),
        };
        let call = self.call(&ticket, identity.duplicate(), intent);
        let socket = dial(&self.url, &ClientTls::system(), endpoint_config()).await.unwrap();
        let running = async { homing_driver::device::call(socket, &TokioClock, call, &mut ears).await };
        let paired = async {
            let Some(Heard::Paired(paired, root)) = heard.recv().await else { panic!("not paired") };
            let Some(Heard::Established(opener)) = heard.recv().await else { panic!("not open") };
            assert_eq!(echo(&opener, 10).await, 10);
            opener.close();
            (paired, root)
        };
        let (ended, (paired, root)) = timeout(PATIENCE, async { tokio::join!(running, paired) }).await.unwrap();
        assert!(matches!(ended, Ended::Asked), "{ended}");
        Device { identity: identity.secret(), root, ticket, paired }
    }

    /// Pairs with this key and leaves the session open.
    async fn pair_with(&self, ticket: &Ticket, identity: &Identity) -> (Opener, tokio::task::JoinHandle<Ended>) {
        let secrets = ticket.secrets();
        let intent = Intent::Pair {
            ticket: secrets.handshake,
            rendezvous: Secret::new(secrets.rendezvous),
            platform: 1,
            name: "test device".into(),
        };
        let (mut ears, mut heard) = Ears::new(&self.fresh);
        let want = self.call(ticket, identity.duplicate(), intent);
        let socket = dial(&self.url, &ClientTls::system(), endpoint_config()).await.unwrap();
        let running = tokio::spawn(async move { call(socket, &TokioClock, want, &mut ears).await });
        let opener = async {
            loop {
                match heard.recv().await {
                    Some(Heard::Established(opener)) => return opener,
                    Some(Heard::Paired(..)) => {}
                    None => panic!("not paired"),
                }
            }
        };
        (timeout(PATIENCE, opener).await.unwrap(), running)
    }

    /// A call that is not to succeed.
    async fn call_until_it_ends(&self, device: &Device) -> Ended {
        let (mut ears, _heard) = Ears::new(&self.fresh);
        let want = self.call(&device.ticket, Identity::from_secret(&device.identity), device.intent());
        let socket = dial(&self.url, &ClientTls::system(), endpoint_config()).await.unwrap();
        timeout(PATIENCE, call(socket, &TokioClock, want, &mut ears)).await.unwrap()
    }

    fn call(&self, ticket: &Ticket, identity: Identity, intent: Intent) -> Call {
        Call {
            relay: self.url.authority().into(),
            suite: ticket.suite,
            identity,
            host: ticket.host,
            intent,
            config: Config::default(),
        }
    }

    async fn connect(&self, device: &Device) -> (Opener, tokio::task::JoinHandle<Ended>) {
        let identity = Identity::from_secret(&device.identity);
        let call_spec = self.call(&device.ticket, identity, device.intent());
        let (mut ears, mut heard) = Ears::new(&self.fresh);
        let socket = dial(&self.url, &ClientTls::system(), endpoint_config()).await.unwrap();
        let running = tokio::spawn(async move { call(socket, &TokioClock, call_spec, &mut ears).await });
        match timeout(PATIENCE, heard.recv()).await.unwrap() {
            Some(Heard::Established(opener)) => (opener, running),
            _ => panic!("not established: {:?}", running.await),
        }
    }
}

/// A host that exposes an echo service.
async fn start_host(data: &Path, relay: &RelayUrl, suite: Suite) -> HostHandle {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exposed = format!("echo=tcp://{}", service.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = service.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    let host = Host::open(HostConfig {
        data: data.into(),
        name: "test host".into(),
        relays: vec![relay.clone()],
        exposed: vec![exposed],
        relay_key: None,
        tls: ClientTls::system(),
        suite,
    })
    .unwrap();
    let handle = host.handle();
    tokio::spawn(host.run(core::future::pending()));
    timeout(PATIENCE, async {
        while !handle.is_reachable() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    handle
}

/// Sends `len` bytes to the echo service and counts those that come back unchanged.
async fn echo(opener: &Opener, len: usize) -> usize {
    let stream: TunnelStream = opener.open().unwrap().into();
    let (mut read, mut write) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
    let copy = sent.clone();
    let writing = async move {
        write.write_all(b"\x04echo").await.unwrap();
        write.write_all(&copy).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let reading = async { read.read_to_end(&mut got).await.unwrap() };
    timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.unwrap();
    assert!(got == sent);
    got.len()
}

enum Heard {
    Established(Opener),
    Paired(Paired, Secret<32>),
}

/// The capability that was given last.
type Fresh = Arc<Mutex<Option<Secret<45>>>>;

struct Ears(mpsc::UnboundedSender<Heard>, Fresh);

impl Ears {
    fn new(fresh: &Fresh) -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender, fresh.clone()), receiver)
    }
}

impl Caller for Ears {
    fn established(&mut self, opener: Opener) {
        let _ = self.0.send(Heard::Established(opener));
    }

    fn pending(&mut self, _: CheckWords, _: u16) {}

    fn paired(&mut self, paired: Paired, root: Secret<32>) -> Result<(), String> {
        let _ = self.0.send(Heard::Paired(paired, root));
        Ok(())
    }

    fn capability(&mut self, fresh: &[u8; 45]) {
        *self.1.lock().unwrap() = Some(Secret::new(*fresh));
    }
}

fn entropy() -> getrandom::rand_core::UnwrapErr<getrandom::SysRng> {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}
