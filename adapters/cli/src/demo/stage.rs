//! The demo's cast on one machine: a sample service, a relay, a host and a device, each with what it would have on a
//! machine of its own.

use core::future::pending;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use homing_device::Tunnel;
use homing_host::service::{Exposed, Options, Target};
use homing_host::{Host, HostConfig, HostHandle, PairOptions};
use homing_relay::{Admission, Relay, RelayConfig};
use homing_tokio::{ClientTls, RelayUrl};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fetch::SERVICE;
use super::sample;
use super::witness::Witness;
use crate::failure::{Exit, Failure, in_full};

/// How long everything may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everybody, alive for as long as this is.
pub(super) struct Stage {
    pub(super) relay: RelayUrl,
    pub(super) target: String,
    pub(super) host: HostHandle,
    pub(super) tunnel: Tunnel,
    pub(super) host_name: String,
    /// How long pairing took.
    pub(super) paired_in: Duration,
    stop: oneshot::Sender<()>,
    host_task: JoinHandle<()>,
    relay_task: JoinHandle<()>,
    /// Removed with everything in it.
    _data: TempDir,
}

impl Stage {
    pub(super) async fn set(witness: &Witness) -> Result<Self, Failure> {
        let data = tempfile::Builder::new().prefix("homing-demo-").tempdir();
        let data = data.map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))?;
        let (host_data, device_data) = (data.path().join("host"), data.path().join("device"));
        let (stop, stopped) = oneshot::channel();

        let target = start_sample().await?;
        let mut config = RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open);
        config.tap = Some(witness.tap());
        let relay = Relay::bind(config).await.map_err(|error| Failure::of(Exit::Failed, &error))?;
        let authority = relay.local_addr().to_string();
        let url = RelayUrl::from_authority(&authority, true).map_err(|error| Failure::of(Exit::Failed, &error))?;
        let relay_task = tokio::spawn(relay.run(pending()));

        let (host, host_task) = start_host(&host_data, &url, &target, stopped).await?;
        let started = Instant::now();
        let paired = pair(&host, &device_data).await?;
        let paired_in = started.elapsed();
        let tunnel = Tunnel::start(&device_data, &paired.id, Arc::new(ClientTls::system()))?;
        Ok(Self {
            relay: url,
            target: target.to_string(),
            host,
            tunnel,
            host_name: paired.name,
            paired_in,
            stop,
            host_task,
            relay_task,
            _data: data,
        })
    }

    /// Sends everybody home: the guests say goodbye, then there is nobody for whom the relay would have to stay.
    pub(super) async fn clear(self) {
        self.tunnel.close().await;
        let _ = self.stop.send(());
        let _ = self.host_task.await;
        self.relay_task.abort();
    }
}

async fn start_sample() -> Result<Target, Failure> {
    let cannot = |error| Failure::failed(format!("cannot start the sample service: {error}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(cannot)?;
    let port = listener.local_addr().map_err(cannot)?.port();
    tokio::spawn(sample::serve(listener));
    Ok(Target::Http { host: "127.0.0.1".to_owned(), port })
}

async fn start_host(
    data: &Path,
    relay: &RelayUrl,
    target: &Target,
    stop: oneshot::Receiver<()>,
) -> Result<(HostHandle, JoinHandle<()>), Failure> {
    let host = Host::open(HostConfig {
        exposed: vec![Exposed { name: SERVICE.to_owned(), target: target.clone(), options: Options::default() }],
        ..HostConfig::new(data, "demo", relay.clone())
    });
    let host = host.map_err(|error| Failure::of(Exit::Failed, &error))?;
    let handle = host.handle();
    let task = tokio::spawn(async move {
        if let Err(error) = host.run(async { drop(stop.await) }).await {
            tracing::error!(error = in_full(&error), "the host failed");
        }
    });
    let deadline = Instant::now() + PATIENCE;
    while !handle.is_reachable() {
        if Instant::now() > deadline || task.is_finished() {
            return Err(Failure::failed("the host did not get a link to the relay; run again with -v"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok((handle, task))
}

async fn pair(host: &HostHandle, device_data: &Path) -> Result<homing_device::PairedHost, Failure> {
    let mut dialog = host.pair(PairOptions::default()).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let tls = ClientTls::system();
    let link = dialog.link();
    let pairing = homing_device::pair(device_data, &link, "demo device", &tls, |_, _| ());
    let (paired, _) = tokio::join!(pairing, dialog.next());
    Ok(paired?)
}
