//! A relay, a host with an echo service, and devices as the driver makes them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex};

use homing_core::channel::Config;
use homing_core::crypto::{Identity, Secret};
use homing_core::handshake::{CheckWords, Exports, Suite};
use homing_core::hop::Capability;
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

/// Nothing in these tests takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub fresh: Fresh,
    pub url: RelayUrl,
    pub host: HostHandle,
}

pub struct Device {
    pub identity: Secret<32>,
    pub root: Secret<32>,
    pub ticket: Arc<Ticket>,
    pub paired: Paired,
}

impl Device {
    /// The same one, for another task.
    pub fn again(&self) -> Self {
        let paired = Paired {
            device_id: self.paired.device_id,
            token: self.paired.token.duplicate(),
            route_id: self.paired.route_id,
            capability: self.paired.capability.duplicate(),
            host_name: self.paired.host_name.clone(),
        };
        let (identity, root) = (self.identity.duplicate(), self.root.duplicate());
        Self { identity, root, ticket: self.ticket.clone(), paired }
    }

    pub fn intent(&self) -> Intent {
        Intent::Connect {
            route: self.paired.route_id,
            capability: Capability::from_bytes(self.paired.capability.expose()),
            psk: Exports::psk(&self.root, self.ticket.suite),
            token: self.paired.token.duplicate(),
            guest: None,
        }
    }
}

impl World {
    pub async fn start(data: &Path, suite: Suite) -> Self {
        let url = start_relay().await;
        let host = start_host(data, &url, suite).await;
        Self { fresh: Fresh::default(), url, host }
    }

    pub async fn pair(&self) -> Device {
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
        Device { identity: identity.secret(), root, ticket: Arc::new(ticket), paired }
    }

    /// Pairs with this key and leaves the session open.
    pub async fn pair_with(&self, ticket: &Ticket, identity: &Identity) -> (Opener, tokio::task::JoinHandle<Ended>) {
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
    pub async fn call_until_it_ends(&self, device: &Device) -> Ended {
        let (mut ears, _heard) = Ears::new(&self.fresh);
        let want = self.call(&device.ticket, Identity::from_secret(&device.identity), device.intent());
        let socket = dial(&self.url, &ClientTls::system(), endpoint_config()).await.unwrap();
        timeout(PATIENCE, call(socket, &TokioClock, want, &mut ears)).await.unwrap()
    }

    pub fn call(&self, ticket: &Ticket, identity: Identity, intent: Intent) -> Call {
        call_of(&self.url, ticket, identity, intent)
    }

    pub async fn connect(&self, device: &Device) -> (Opener, tokio::task::JoinHandle<Ended>) {
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

pub fn call_of(relay: &RelayUrl, ticket: &Ticket, identity: Identity, intent: Intent) -> Call {
    Call {
        relay: relay.authority().into(),
        suite: ticket.suite,
        identity,
        host: ticket.host,
        intent,
        config: Config::default(),
    }
}

pub async fn start_relay() -> RelayUrl {
    let config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
    let relay = Relay::bind(config).await.unwrap();
    let url = format!("ws://{}", relay.local_addr()).parse().unwrap();
    tokio::spawn(relay.run(core::future::pending()));
    url
}

/// A host that exposes an echo service.
pub async fn start_host(data: &Path, relay: &RelayUrl, suite: Suite) -> HostHandle {
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
    let host =
        Host::open(HostConfig { exposed: vec![exposed], suite, ..HostConfig::new(data, "test host", relay.clone()) })
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
pub async fn echo(opener: &Opener, len: usize) -> usize {
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

pub enum Heard {
    Established(Opener),
    Paired(Paired, Secret<32>),
}

/// The capability that was given last.
pub type Fresh = Arc<Mutex<Option<Secret<45>>>>;

pub struct Ears(mpsc::UnboundedSender<Heard>, Fresh);

impl Ears {
    pub fn new(fresh: &Fresh) -> (Self, mpsc::UnboundedReceiver<Heard>) {
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

pub fn entropy() -> getrandom::rand_core::UnwrapErr<getrandom::SysRng> {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}
