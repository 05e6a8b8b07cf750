//! Hosts and devices over real sockets, and a relay to meet at.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use core::time::Duration;
use std::time::SystemTime;

use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use homing_core::Instant;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{
    Capability, Code, DeviceLink, HostLink, MAX_CONTROL, Purpose, RouteId, Windows, device, host, route_id,
};
use homing_relay::{Admission, Relay, RelayConfig, RelayHandle, Status};
use homing_tokio::{ClientTls, DialError, RelayUrl, Socket, dial, endpoint_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing in these tests takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// A relay that runs until it is dropped or stopped.
pub struct Running {
    pub url: RelayUrl,
    pub handle: RelayHandle,
    pub tls: ClientTls,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

pub fn open() -> RelayConfig {
    RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open)
}

impl Running {
    pub async fn start(config: RelayConfig) -> Self {
        let scheme = if config.tls.is_some() { "wss" } else { "ws" };
        let relay = Relay::bind(config).await.unwrap();
        let url = format!("{scheme}://localhost:{}", relay.local_addr().port()).parse().unwrap();
        let handle = relay.handle();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(relay.run(async {
            let _ = stopped.await;
        }));
        Self { url, handle, tls: ClientTls::system(), stop: Some(stop), task }
    }

    /// One on smol, on a thread of its own.
    #[cfg(feature = "smol")]
    pub async fn start_on_smol(config: RelayConfig) -> Self {
        let relay = homing_relay::SmolRelay::bind(config).await.unwrap();
        let url = format!("ws://localhost:{}", relay.local_addr().port()).parse().unwrap();
        let handle = relay.handle();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let task = tokio::task::spawn_blocking(|| smol::block_on(smol::spawn(relay.run(stopped))));
        Self { url, handle, tls: ClientTls::system(), stop: Some(stop), task }
    }

    pub fn address(&self) -> (&str, u16) {
        ("127.0.0.1", self.url.port())
    }

    pub async fn dial(&self) -> Result<Socket, DialError> {
        dial(&self.url, &self.tls, endpoint_config()).await
    }

    /// What SIGTERM does.
    pub fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped.
    pub async fn ended(self) {
        self.task.await.unwrap();
    }

    /// The value of a metric, of a relay that tells them.
    pub async fn metric(&self, name: &str) -> u64 {
        let mut tcp = tokio::net::TcpStream::connect(self.handle.metrics_addr().unwrap()).await.unwrap();
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        soon("the metrics", tcp.read_to_string(&mut text)).await.unwrap();
        let name = format!("homing_relay_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("no {name}in\n{text}")).parse().unwrap()
    }

    /// Waits until the relay's status is as it should be.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        soon(what, async {
            loop {
                let status = self.handle.status();
                if is_so(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }
}

pub fn now() -> Instant {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    Instant::from_micros(start.elapsed().as_micros() as u64)
}

pub fn in_an_hour() -> u32 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    (unix.as_secs() + 3600) as u32
}

/// What an endpoint hears, with its own copy of the data.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Registered,
    Incoming {
        idx: u32,
    },
    Opened,
    Data {
        idx: u32,
        body: Vec<u8>,
    },
    Closed {
        idx: u32,
        code: Code,
    },
    Credit,
    Draining,
    /// The WebSocket is over; its close code.
    HungUp(Option<u16>),
}

async fn read(socket: &mut Socket) -> Result<Vec<u8>, Option<u16>> {
    loop {
        match soon("a message", socket.next()).await {
            Some(Ok(Message::Binary(message))) => return Ok(message.to_vec()),
            Some(Ok(Message::Close(frame))) => return Err(frame.map(|f| f.code.into())),
            Some(Ok(_)) => {}
            None | Some(Err(_)) => return Err(None),
        }
    }
}

/// The close frame that a link ends with: code and reason.
pub async fn close_frame(socket: &mut Socket) -> Option<(u16, String)> {
    loop {
        match soon("the end", socket.next()).await? {
            Ok(Message::Close(frame)) => return frame.map(|frame| (frame.code.into(), frame.reason.to_string())),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn with_body(header: [u8; 5], body: &[u8]) -> Message {
    Message::binary([&header[..], body].concat())
}

/// A host's keys, as bytes.
pub fn seed() -> [u8; 64] {
    let mut seed = [0; 64];
    getrandom::fill(&mut seed).unwrap();
    seed
}

pub fn keys(seed: &[u8; 64]) -> (Identity, Secret<32>) {
    let identity = Identity::from_secret(&Secret::new(seed[..32].try_into().unwrap()));
    (identity, Secret::new(seed[32..].try_into().unwrap()))
}

pub struct Host {
    pub link: HostLink<16>,
    pub socket: Socket,
    pub route: RouteId,
    k_cap: Secret<32>,
}

impl Host {
    /// A host's link before it has said anything.
    pub async fn connect(relay: &Running, operator_key: Option<&str>) -> Self {
        Self::connect_as(relay, &seed(), operator_key).await
    }

    /// The same of a host with these keys.
    pub async fn connect_as(relay: &Running, seed: &[u8; 64], operator_key: Option<&str>) -> Self {
        let socket = relay.dial().await.unwrap();
        let (identity, k_cap) = keys(seed);
        let route = route_id(identity.public());
        let previous = k_cap.duplicate();
        let name = relay.url.authority();
        let link = HostLink::new(name, identity, k_cap.duplicate(), previous, operator_key, now()).unwrap();
        let windows = Windows { initial: 64 * 1024, max: 2 * 1024 * 1024 };
        Self { link: link.with_windows(windows), socket, route, k_cap }
    }

    pub async fn register(relay: &Running) -> Self {
        let mut host = Self::connect(relay, None).await;
        assert_eq!(host.next().await, Said::Registered);
        host
    }

    pub async fn say(&mut self) {
        let mut out = [0; MAX_CONTROL];
        while let Some(len) = self.link.poll_output(now(), &mut out) {
            self.socket.send(Message::binary(out[..len].to_vec())).await.unwrap();
        }
    }

    pub async fn next(&mut self) -> Said {
        loop {
            self.say().await;
            let message = match read(&mut self.socket).await {
                Ok(message) => message,
                Err(code) => return Said::HungUp(code),
            };
            let said = match self.link.handle(now(), &message).unwrap() {
                None => continue,
                Some(host::Event::Registered { .. }) => Said::Registered,
                Some(host::Event::Incoming { idx, .. }) => Said::Incoming { idx },
                Some(host::Event::Data { idx, body }) => Said::Data { idx, body: body.to_vec() },
                Some(host::Event::Closed { idx, code }) => Said::Closed { idx, code },
                Some(host::Event::CreditArrived { .. }) => Said::Credit,
                Some(host::Event::Draining) => Said::Draining,
            };
            if let Said::Data { idx, body } = &said {
                self.link.processed(now(), *idx, body.len());
            }
            self.say().await;
            return said;
        }
    }

    /// The close frame that its link ends with: code and reason.
    pub async fn close_frame(&mut self) -> Option<(u16, String)> {
        close_frame(&mut self.socket).await
    }

    /// Takes the next device in.
    pub async fn accept(&mut self) -> u32 {
        loop {
            if let Said::Incoming { idx } = self.next().await {
                assert!(self.link.accept(idx));
                self.say().await;
                return idx;
            }
        }
    }

    /// Sends if there is credit for it.
    pub async fn try_send(&mut self, idx: u32, body: &[u8]) -> bool {
        let Some(header) = self.link.data_header(idx, body.len()) else { return false };
        self.socket.send(with_body(header, body)).await.unwrap();
        true
    }

    /// Sends, waiting for credit; data that arrives meanwhile is dropped.
    pub async fn send(&mut self, idx: u32, body: &[u8]) {
        while !self.try_send(idx, body).await {
            self.next().await;
        }
    }

    pub fn capability(&self) -> Capability {
        let mut id = [0; 8];
        getrandom::fill(&mut id).unwrap();
        Capability::mint(&self.k_cap, &self.route, id, in_an_hour(), 0)
    }

    pub async fn dial(&self, relay: &Running) -> Device {
        let purpose = Purpose::Dial { route_id: self.route, capability: self.capability() };
        let mut device = Device::connect(relay, purpose).await;
        assert_eq!(device.next().await, Said::Opened);
        device
    }
}

pub struct Device {
    pub link: DeviceLink,
    pub socket: Socket,
}

impl Device {
    pub async fn connect(relay: &Running, purpose: Purpose) -> Self {
        let socket = relay.dial().await.unwrap();
        let link = DeviceLink::new(relay.url.authority(), purpose, now()).unwrap();
        let windows = Windows { initial: 64 * 1024, max: 2 * 1024 * 1024 };
        Self { link: link.with_windows(windows), socket }
    }

    pub async fn say(&mut self) {
        let mut out = [0; MAX_CONTROL];
        while let Some(len) = self.link.poll_output(now(), &mut out) {
            self.socket.send(Message::binary(out[..len].to_vec())).await.unwrap();
        }
    }

    pub async fn next(&mut self) -> Said {
        loop {
            self.say().await;
            let message = match read(&mut self.socket).await {
                Ok(message) => message,
                Err(code) => return Said::HungUp(code),
            };
            let said = match self.link.handle(now(), &message).unwrap() {
                None => continue,
                Some(device::Event::Opened { .. }) => Said::Opened,
                Some(device::Event::Data { body }) => Said::Data { idx: 1, body: body.to_vec() },
                Some(device::Event::Closed { code }) => Said::Closed { idx: 1, code },
                Some(device::Event::CreditArrived) => Said::Credit,
                Some(device::Event::Draining) => Said::Draining,
            };
            if let Said::Data { body, .. } = &said {
                self.link.processed(now(), body.len());
            }
            self.say().await;
            return said;
        }
    }

    pub async fn send(&mut self, body: &[u8]) {
        loop {
            if let Some(header) = self.link.data_header(body.len()) {
                return self.socket.send(with_body(header, body)).await.unwrap();
            }
            self.next().await;
        }
    }

    /// Reads `total` bytes of data.
    pub async fn receive(&mut self, total: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < total {
            match self.next().await {
                Said::Data { body, .. } => all.extend(body),
                Said::Credit => {}
                other => panic!("{other:?} after {} bytes", all.len()),
            }
        }
        all
    }
}

/// Bytes that show where they were lost or swapped.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}
