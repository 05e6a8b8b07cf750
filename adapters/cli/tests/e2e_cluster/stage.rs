//! Three relays of one cluster, a host and a device, all of the real binary.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU16, Ordering};
use core::time::Duration;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::support::client::{Http, curl};
use crate::support::service::{Site, echo_service};
use crate::support::{Device, Forward, Process, links, pair, start_host};

/// How long everyone may take to be back.
pub(crate) const BACK: Duration = Duration::from_secs(60);

pub(crate) struct Relay {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    metrics: SocketAddr,
    data: PathBuf,
    args: Vec<String>,
}

impl Relay {
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Starts it again where it was. The old one has to be gone.
    pub(crate) async fn restart(&mut self) {
        (self.process, self.metrics) = start(self.name, &self.data, &self.args).await;
    }

    /// What `/readyz` says.
    pub(crate) async fn ready(&self) -> String {
        curl(&["--max-time", "5", &format!("http://{}/readyz", self.metrics)]).await.stdout
    }

    /// A value of its metrics; none where it does not answer.
    pub(crate) async fn metric(&self, name: &str) -> Option<u64> {
        let answer = curl(&["--max-time", "5", &format!("http://{}/metrics", self.metrics)]).await;
        let line = answer.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.and_then(|value| value.trim().parse().ok())
    }
}

async fn start(name: &str, data: &Path, args: &[String]) -> (Process, SocketAddr) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let process = Process::start(name, data, &args);
    let listening = process.event("listening").await;
    let metrics = listening["metrics"].as_str().unwrap().parse().unwrap();
    (process, metrics)
}

/// So many addresses that nobody listens on, and that nobody is given who asks for any.
pub(crate) fn free(count: usize) -> Vec<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100).unwrap() * 100 + 20_000;
    let ports = core::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    let addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    addresses.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}

/// Starts relays `a`, `b` and `c` with these flags more, which are made of the name.
pub(crate) async fn relays(dir: &Path, flags: impl Fn(&str, &[SocketAddr]) -> Vec<String>) -> Vec<Relay> {
    let addresses = free(3);
    let mut relays = Vec::new();
    for (name, address) in ["a", "b", "c"].into_iter().zip(&addresses) {
        let url = format!("ws://{address}");
        let listen = address.to_string();
        let own = ["relay", "start", "--open", "--json", "--metrics", "127.0.0.1:0", "--listen", &listen];
        let mut args: Vec<String> = own.map(str::to_owned).into();
        args.extend(["--cluster-node".into(), name.into(), "--cluster-url".into(), url]);
        args.extend(flags(name, &addresses));
        let data = dir.join(format!("relay-{name}"));
        let (process, metrics) = start(name, &data, &args).await;
        relays.push(Relay { name, process, address: *address, metrics, data, args });
    }
    relays
}

pub(crate) struct Stage {
    pub(crate) relays: Vec<Relay>,
    pub(crate) host: Process,
    pub(crate) device: Device,
    pub(crate) forward: Forward,
    _site: Site,
    dir: TempDir,
}

impl Stage {
    /// A host at these relays' addresses, and a device that has called it once.
    pub(crate) async fn set(dir: TempDir, relays: Vec<Relay>, urls: &[String]) -> Self {
        Self::set_with(dir, relays, urls, "").await
    }

    /// The same with these settings of the host.
    pub(crate) async fn set_with(dir: TempDir, relays: Vec<Relay>, urls: &[String], settings: &str) -> Self {
        let site = Site::start().await;
        let exposed = [format!("web={}", site.url()), format!("raw=tcp://{}", echo_service().await)];
        let data = dir.path().join("host");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("homing.toml"), format!("[host]\n{settings}\n")).unwrap();
        let host = start_host(&data, urls, &exposed);
        until_at(dir.path(), |nodes| nodes.len() == urls.len()).await;
        let device = pair(&data, &dir.path().join("device"), "device", &[]).await;
        let forward = device.forward("web").await;
        let stage = Self { relays, host, device, forward, _site: site, dir };
        stage.answers().await;
        stage
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Asks until there is an answer.
    pub(crate) async fn answers(&self) {
        let started = Instant::now();
        loop {
            let answer = curl(&["--max-time", "15", &self.forward.url("/show")]).await;
            if answer.code == 0 && answer.stdout.starts_with("GET /show") {
                return;
            }
            assert!(started.elapsed() < BACK, "no answer within {BACK:?}: {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A stream of bytes that come back, on a connection that stays.
    pub(crate) async fn stream(&self) -> Http {
        let mut http = Http::to(self.forward.address).await;
        let head = http.get("/show").await;
        assert_eq!(head.status, 200);
        http.body(&head).await;
        http
    }

    /// The relays that the host is at or waits at, in the order of its links, once there is one that `fits`.
    pub(crate) async fn host_at(&self, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
        until_at(self.path(), fits).await
    }

    /// The relay of this URL.
    pub(crate) fn at(&self, url: &str) -> usize {
        self.relays.iter().position(|relay| relay.url() == url).unwrap_or_else(|| panic!("{url} is none of the relays"))
    }

    /// How many hosts the relays have between them.
    pub(crate) async fn hosts(&self) -> u64 {
        let mut all = 0;
        for relay in &self.relays {
            all += relay.metric("homing_relay_links{role=\"host\"}").await.unwrap_or_default();
        }
        all
    }
}

async fn until_at(dir: &Path, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
    let started = Instant::now();
    loop {
        let links = links(&dir.join("host")).await;
        let connected = links.iter().filter(|link| link["state"] == "connected" || link["state"] == "waiting");
        let nodes: Vec<String> = connected.filter_map(|link| link["node"].as_str().map(str::to_owned)).collect();
        if fits(&nodes) {
            return nodes;
        }
        assert!(started.elapsed() < BACK, "the host is not where it should be: {links:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
