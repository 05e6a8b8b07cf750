//! A host at one or several relays, and one device of it that forwards its services.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::hole::Hole;
use crate::support::client::Http;
use crate::support::service::{Site, echo_service};
use crate::support::{Device, Forward, HOST, Process, links, pair, start_host, start_relay};

pub(crate) struct Relay {
    pub(crate) process: Process,
    /// Where it listens, also after a restart.
    pub(crate) address: SocketAddr,
    data: PathBuf,
}

impl Relay {
    async fn start(data: PathBuf, listen: SocketAddr) -> Self {
        let (process, address) = start_relay(&data, listen).await;
        Self { process, address, data }
    }

    /// Starts it again where it was. The old one has to be gone.
    pub(crate) async fn restart(&mut self) {
        *self = Self::start(self.data.clone(), self.address).await;
    }
}

pub(crate) struct Stage {
    pub(crate) relays: Vec<Relay>,
    /// What ends meet instead of the relays, where they may go dark.
    pub(crate) holes: Vec<Hole>,
    pub(crate) host: Process,
    pub(crate) device: Device,
    /// One process, one call: all streams share it.
    pub(crate) proxy: Forward,
    _site: Site,
    // Last: the processes end before their directories go.
    dir: TempDir,
}

impl Stage {
    /// So many relays, each behind a hole where `dark` says so.
    pub(crate) async fn set(count: usize, dark: bool) -> Self {
        Self::with(count, dark, &[]).await
    }

    /// The same with more services, as `NAME=URL`.
    pub(crate) async fn with(count: usize, dark: bool, more: &[String]) -> Self {
        let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (mut relays, mut holes) = (Vec::new(), Vec::new());
        for number in 0..count {
            let relay = Relay::start(dir.path().join(format!("relay-{number}")), any).await;
            if dark {
                holes.push(Hole::start(relay.address).await);
            }
            relays.push(relay);
        }
        let dialled = |number: usize| holes.get(number).map_or(relays[number].address, |hole| hole.address);
        let urls: Vec<_> = (0..count).map(|number| format!("ws://{}", dialled(number))).collect();

        let site = Site::start().await;
        let exposed = [format!("web={}", site.url()), format!("raw=tcp://{}", echo_service().await)];
        let host = start_host(&dir.path().join("host"), &urls, &[&exposed, more].concat());
        until_attached(&dir.path().join("host"), count).await;

        let device = pair(&dir.path().join("host"), &dir.path().join("device"), "device", &[]).await;
        let proxy = device.proxy().await;
        Self { relays, holes, host, device, proxy, _site: site, dir }
    }

    pub(crate) fn host_data(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    /// A stream to a service: a connection through the proxy.
    pub(crate) async fn connect(&self, service: &str) -> Http {
        let mut http = Http::to(self.proxy.address).await;
        let to = format!("{service}.{HOST}.homing:80");
        http.send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")).await;
        let head = http.head().await;
        assert_eq!(head.status, 200, "{}", head.text);
        http
    }

    /// Waits until so many relays have confirmed the host.
    pub(crate) async fn attached(&self, count: usize) {
        until_attached(&self.dir.path().join("host"), count).await;
    }

    /// The relay that the device's calls go through.
    pub(crate) async fn in_use(&self) -> usize {
        let link = in_use(&self.device.data).await;
        let at = |relay: &Relay| link.ends_with(&relay.address.to_string());
        self.relays.iter().position(at).unwrap_or_else(|| panic!("{link} is none of the relays"))
    }
}

async fn until_attached(host: &Path, count: usize) {
    let started = Instant::now();
    loop {
        let links = links(host).await;
        if links.iter().filter(|link| link["state"] == "connected").count() >= count {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(40), "the host is not at {count} relays: {links:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for the device's call, and tells the relay that it goes through.
async fn in_use(device: &Path) -> String {
    let started = Instant::now();
    loop {
        let links = links(device).await;
        if let Some(link) = links.iter().find(|link| link["state"] == "connected") {
            return link["relay"].as_str().unwrap().to_owned();
        }
        assert!(started.elapsed() < Duration::from_secs(40), "the device does not find its host: {links:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
