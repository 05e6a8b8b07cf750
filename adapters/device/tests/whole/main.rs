//! The whole path in one process: a relay, a host with raw services, and the device under test.

mod rest;

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use homing_device::{DeviceError, LinkState, OpenError, PairedHost, Profiles, Tunnel, Tunnels};
use homing_device::{proxy, serve_status};
use homing_host::{Host, HostConfig, HostHandle, PairOptions};
use homing_local::control::{self, Role};
use homing_relay::{Admission, Relay, RelayConfig};
use homing_tokio::ClientTls;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took too long"),
    }
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn start_relay(listen: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let relay = Relay::bind(RelayConfig::new(listen, Admission::Open)).await.expect("a relay");
    (relay.local_addr(), tokio::spawn(relay.run(core::future::pending())))
}

/// What a test has around it. The service hands its connections to the test.
struct World {
    data: TempDir,
    relay_at: SocketAddr,
    relay: JoinHandle<()>,
    service_at: SocketAddr,
    served: mpsc::Receiver<TcpStream>,
    host: HostHandle,
    running: RunningHost,
}

struct RunningHost(oneshot::Sender<()>, JoinHandle<()>);

impl RunningHost {
    async fn stop(self) {
        let _ = self.0.send(());
        within("the host's end", self.1).await.expect("the host ended well");
    }
}

impl World {
    async fn new() -> Self {
        let data = TempDir::new().expect("a directory");
        let (relay_at, relay) = start_relay(([127, 0, 0, 1], 0).into()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a service");
        let service_at = listener.local_addr().expect("its address");
        let (hand, served) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let _ = hand.send(tcp).await;
            }
        });
        let (host, running) = start_host(&data.path().join("host"), relay_at, service_at).await;
        Self { data, relay_at, relay, service_at, served, host, running }
    }

    fn device(&self) -> std::path::PathBuf {
        self.data.path().join("device")
    }

    async fn pair(&self) -> PairedHost {
        pair(&self.host, &self.device()).await.expect("paired")
    }

    fn tunnel(&self) -> Tunnel {
        Tunnel::start(&self.device(), "workshop", Arc::new(ClientTls::system())).expect("a tunnel")
    }

    /// A local port onto the service.
    async fn port(&self, tunnel: &Tunnel) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let tunnel = tunnel.clone();
        tokio::spawn(async move { homing_device::forward(tunnel, "raw", listener, &[]).await });
        at
    }

    async fn joined(&mut self, port: SocketAddr) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(port).await.expect("the port");
        let service = within("the service's connection", self.served.recv()).await.expect("a connection");
        (client, service)
    }
}

async fn start_host(data: &Path, relay: SocketAddr, service: SocketAddr) -> (HostHandle, RunningHost) {
    run_host(config(data, relay, service)).await
}

fn config(data: &Path, relay: SocketAddr, service: SocketAddr) -> HostConfig {
    HostConfig {
        exposed: vec![
            format!("raw=tcp://{service}").parse().expect("a service"),
            "dead=tcp://127.0.0.1:9".parse().expect("a service"),
        ],
        ..HostConfig::new(data, "Workshop", format!("ws://{relay}").parse().expect("an address"))
    }
}

async fn run_host(config: HostConfig) -> (HostHandle, RunningHost) {
    let host = Host::open(config).expect("a host");
    let handle = host.handle();
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(async move {
        host.run(async {
            let _ = stopped.await;
        })
        .await
        .expect("the host stored its state");
    });
    let reachable = handle.clone();
    until("the host's registration", move || reachable.is_reachable()).await;
    (handle, RunningHost(stop, running))
}

async fn pair(host: &HostHandle, device: &Path) -> Result<PairedHost, DeviceError> {
    let mut dialog = host.pair(PairOptions::default()).expect("a link");
    let link = dialog.link();
    let tls = ClientTls::system();
    let paired = within("pairing", homing_device::pair(device, &link, "tester", &tls, |_, _| {})).await;
    let _ = within("the dialog's end", dialog.next()).await;
    paired
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paired_device_carries_connections_both_ways() {
    let mut world = World::new().await;
    let paired = world.pair().await;
    assert_eq!(paired.name, "workshop");
    let names: Vec<_> = paired.services.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"raw") && names.contains(&"dead"), "{names:?}");
    assert_eq!(Profiles::list(&world.device()).unwrap()[0].id, paired.id);

    let tunnel = world.tunnel();
    assert_eq!(within("the list", tunnel.services()).await.unwrap(), paired.services);
    let port = world.port(&tunnel).await;
    let (mut client, mut service) = world.joined(port).await;

    // Ten megabytes up, an end, and then an answer down: each way has its own end.
    let question: Vec<u8> = (0..10_000_000_u32).map(|i| (i % 251) as u8).collect();
    let sent = question.clone();
    let asking = tokio::spawn(async move {
        client.write_all(&sent).await.expect("sent");
        client.shutdown().await.expect("ended");
        client
    });
    let mut heard = Vec::new();
    within("the question", service.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == question);
    let mut client = asking.await.unwrap();
    let answering = tokio::spawn(async move {
        service.write_all(&heard).await.expect("answered");
        service
    });
    let mut answer = vec![0; question.len()];
    within("the answer", client.read_exact(&mut answer)).await.unwrap();
    assert!(answer == question);
    drop(answering.await.unwrap());
    assert_eq!(within("the end", client.read(&mut answer)).await.unwrap(), 0);

    let status = tunnel.status();
    assert_eq!((status.state, status.last_error), (LinkState::Connected, None));
    assert_eq!(status.relay, format!("ws://{}", world.relay_at));
    tunnel.close().await;
    assert_eq!(tunnel.status().state, LinkState::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborts_travel_to_the_other_end() {
    let mut world = World::new().await;
    world.pair().await;
    let tunnel = world.tunnel();
    let port = world.port(&tunnel).await;

    // The client resets an idle connection.
    let (client, mut service) = world.joined(port).await;
    client.set_zero_linger().unwrap();
    drop(client);
    let mut byte = [0];
    let end = within("the service's end", service.read(&mut byte)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");

    // The client resets while nothing it says is taken any more.
    let (client, mut service) = world.joined(port).await;
    let mut said = 0;
    loop {
        let chunk = [0; 65536];
        match tokio::time::timeout(Duration::from_millis(500), client.writable()).await {
            Err(_) => break,
            Ok(ready) => ready.unwrap(),
        }
        said += client.try_write(&chunk).unwrap_or(0);
    }
    assert!(said > 100_000);
    client.set_zero_linger().unwrap();
    drop(client);
    let drained = async {
        let mut chunk = vec![0; 65536];
        let mut heard = 0;
        while let Ok(len @ 1..) = service.read(&mut chunk).await {
            heard += len;
        }
        heard
    };
    assert!(within("the service's end", drained).await < said, "nothing was still on its way");

    // The service resets: the client must not take that for an end.
    let (mut client, service) = world.joined(port).await;
    client.write_all(b"x").await.unwrap();
    service.set_zero_linger().unwrap();
    drop(service);
    let end = within("the client's end", client.read(&mut byte)).await;
    assert_eq!(end.expect_err("an error").kind(), ErrorKind::ConnectionReset);

    // The host goes: neither may take that for an end.
    let (mut client, mut service) = world.joined(port).await;
    client.write_all(b"x").await.unwrap();
    within("a byte", service.read_exact(&mut byte)).await.unwrap();
    world.running.stop().await;
    let end = within("the client's end", client.read(&mut byte)).await;
    assert_eq!(end.expect_err("an error").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_comes_back_with_its_host_and_its_relay() {
    let world = World::new().await;
    world.pair().await;
    let tunnel = world.tunnel();
    within("the list", tunnel.services()).await.unwrap();

    world.running.stop().await;
    until("the loss", || tunnel.status().state != LinkState::Connected).await;
    let (_host, running) = start_host(&world.data.path().join("host"), world.relay_at, world.service_at).await;
    within("the list", tunnel.services()).await.unwrap();

    world.relay.abort();
    let _ = world.relay.await;
    until("the loss", || tunnel.status().state == LinkState::Waiting).await;
    let status = tunnel.status();
    assert!(status.last_error.is_some() && status.retry_in_ms.is_some(), "{status:?}");
    let (_, _relay) = start_relay(world.relay_at).await;
    within("the list", async { while tunnel.services().await.is_err() {} }).await;
    assert_eq!(tunnel.status().last_error, None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_told_and_may_pair_again() {
    let world = World::new().await;
    let first = world.pair().await;
    let tunnels = Tunnels::new(&world.device(), ClientTls::system());
    let tunnel = tunnels.to("workshop").unwrap();
    within("the list", tunnel.services()).await.unwrap();

    let id = world.host.devices()[0]["id"].as_str().unwrap().to_owned();
    world.host.revoke(&id).await.unwrap();
    // By the host's last word where it arrives, else when the device knocks again.
    until("the refusal", || matches!(tunnel.status().state, LinkState::Refused | LinkState::Ended)).await;
    let end = DeviceError::from(within("the refusal", tunnel.open("raw")).await.unwrap_err());
    assert_eq!(end.exit_code(), 4, "{end}");
    assert!(end.to_string().contains("revoked"), "{end}");
    tunnel.close().await;
    assert!(tunnel.is_over());

    // Whoever comes later hears it from the relay or the host, and soon.
    let later = tunnels.to("workshop").unwrap();
    let refused = within("the refusal", later.open("raw")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
    assert_eq!(later.status().state, LinkState::Refused);

    let again = world.pair().await;
    assert_eq!((again.id, again.name), (first.id, first.name));
    later.close().await;
    within("the list", tunnels.to("workshop").unwrap().services()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_speaks_over_stdin_and_stdout() {
    let mut world = World::new().await;
    world.pair().await;
    let tunnel = world.tunnel();
    let (mut typed, input) = tokio::io::duplex(1024);
    let (output, mut shown) = tokio::io::duplex(1024);
    let session = tunnel.clone();
    let connected = tokio::spawn(async move { homing_device::connect(&session, "raw", input, output).await });
    let mut service = within("the service's connection", world.served.recv()).await.unwrap();
    typed.write_all(b"hello").await.unwrap();
    drop(typed);
    let mut heard = String::new();
    within("the question", service.read_to_string(&mut heard)).await.unwrap();
    service.write_all(b"goodbye").await.unwrap();
    drop(service);
    let mut seen = String::new();
    within("the answer", shown.read_to_string(&mut seen)).await.unwrap();
    assert_eq!((heard.as_str(), seen.as_str()), ("hello", "goodbye"));
    within("the end", connected).await.unwrap().unwrap();

    for (service, code) in [("nothing", 4), ("dead", 3)] {
        let end = homing_device::connect(&tunnel, service, tokio::io::empty(), tokio::io::sink());
        let error = within("the refusal", end).await.unwrap_err();
        assert_eq!(error.exit_code(), code, "{service}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_serves_one_device() {
    let world = World::new().await;
    let dialog = world.host.pair(PairOptions::default()).unwrap();
    let tls = ClientTls::system();
    let other = world.data.path().join("other");
    let link = dialog.link();
    within("pairing", homing_device::pair(&world.device(), &link, "one", &tls, |_, _| {})).await.unwrap();
    let error = within("pairing", homing_device::pair(&other, &link, "two", &tls, |_, _| {})).await.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    assert_eq!((Profiles::list(&other).unwrap().len(), world.host.devices().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_makes_tunnels_on_demand_and_status_tells_of_them() {
    let mut world = World::new().await;
    world.pair().await;
    let data = world.device();
    let tunnels = Arc::new(Tunnels::new(&data, ClientTls::system()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(proxy(tunnels.clone(), listener));
    let (told, telling) = (tunnels.clone(), data.clone());
    tokio::spawn(async move { serve_status(&telling, told).await });

    for (name, status) in [("raw.workshop.homing:80", "200"), ("raw.work.homing:80", "404")] {
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(format!("CONNECT {name} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        within("an answer", client.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head[9..], status.as_bytes(), "{name}");
        if status == "200" {
            client.write_all(b"hello").await.unwrap();
            let mut service = within("the service's connection", world.served.recv()).await.unwrap();
            let mut heard = [0; 5];
            within("bytes", service.read_exact(&mut heard)).await.unwrap();
            assert_eq!(&heard, b"hello");
        }
    }

    let asked = within("the socket", async {
        loop {
            match control::call(&data, Role::Device, &serde_json::json!({ "cmd": "status" })).await {
                Ok(connection) => break connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    let status = within("the status", asked.await.next()).await.unwrap().unwrap();
    assert_eq!(status["pid"], std::process::id());
    let links = status["links"].as_array().unwrap();
    assert_eq!((links.len(), &links[0]["host"], &links[0]["state"]), (1, &"workshop".into(), &"connected".into()));
    assert!(links[0]["last_error"].is_null() && links[0]["since"].is_u64(), "{status}");
}
