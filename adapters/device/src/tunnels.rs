//! The tunnels of one process, one per host, made when they are needed.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_tokio::{ClientTls, TunnelStream};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::error::DeviceError;
use crate::http_proxy;
use crate::news::News;
use crate::profile::{HostSummary, Profiles};
use crate::status::LinkStatus;
use crate::tunnel::{KEEP, OpenError, Tunnel};

/// News that may wait to be heard.
const NEWS: usize = 256;

/// The tunnels of one process, by host.
#[derive(Debug)]
pub struct Tunnels {
    data: PathBuf,
    tls: Arc<ClientTls>,
    keep: Duration,
    news: broadcast::Sender<News>,
    held: Mutex<HashMap<String, Tunnel>>,
}

impl Tunnels {
    /// None yet, for the device whose data is in `data`.
    #[must_use]
    pub fn new(data: &Path, tls: ClientTls) -> Self {
        let news = broadcast::Sender::new(NEWS);
        Self { data: data.to_path_buf(), tls: Arc::new(tls), keep: KEEP, news, held: Mutex::default() }
    }

    /// Lets streams wait so long for a connection that was lost.
    #[must_use]
    pub const fn keeping(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// The tunnel to the host of this name, id, or beginning of either, inside a tokio runtime. One
    /// that is over makes way for a new one: the device may have been paired again.
    ///
    /// # Errors
    /// [`DeviceError::UnknownHost`], [`DeviceError::Ambiguous`] or [`DeviceError::Store`].
    pub fn to(&self, host: &str) -> Result<Tunnel, DeviceError> {
        let summary = Profiles::read(&self.data)?.find(host)?.summary();
        Ok(self.tunnel(summary))
    }

    /// What every call is doing, by the host's name.
    #[must_use]
    pub fn statuses(&self) -> Vec<LinkStatus> {
        let mut links: Vec<_> = self.lock().values().map(Tunnel::status).collect();
        links.sort_by(|a, b| a.host.cmp(&b.host));
        links
    }

    /// What hosts tell from now on. Whoever is too slow misses some.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Ends every call after telling the hosts.
    pub async fn close(&self) {
        let tunnels: Vec<_> = self.lock().drain().map(|(_, tunnel)| tunnel).collect();
        for tunnel in tunnels {
            tunnel.close().await;
        }
    }

    fn tunnel(&self, host: HostSummary) -> Tunnel {
        let mut held = self.lock();
        match held.get(&host.id) {
            // A host that was renamed keeps its call; a name in a status is worth no reconnection.
            Some(tunnel) if !tunnel.is_over() => tunnel.clone(),
            _ => {
                let tunnel = Tunnel::to(&self.data, host.clone(), self.tls.clone(), self.keep, self.news.clone());
                held.insert(host.id, tunnel.clone());
                tunnel
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Tunnel>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_proxy::Opener for Tunnels {
    type Stream = TunnelStream;

    async fn open(&self, host: &str, service: &str) -> Result<TunnelStream, http_proxy::OpenError> {
        // Only whole names: what a page may ask for should not depend on what else is paired.
        let summary = {
            let profiles = Profiles::read(&self.data).map_err(|error| unreachable(&error))?;
            profiles.by_name(host).ok_or(http_proxy::OpenError::UnknownHost)?.summary()
        };
        self.tunnel(summary).open(service).await.map_err(|error| match error {
            OpenError::NotReachable { why } => http_proxy::OpenError::Unreachable(why),
            OpenError::Refused { why } => http_proxy::OpenError::Refused(why),
            OpenError::Expired => http_proxy::OpenError::Refused(OpenError::Expired.to_string()),
            OpenError::BadName => http_proxy::OpenError::UnknownService,
        })
    }
}

fn unreachable(error: &DeviceError) -> http_proxy::OpenError {
    http_proxy::OpenError::Unreachable(error.to_string())
}

/// Serves `http://SERVICE.HOST.homing/…` on a listener for every host of this device, for ever.
///
/// # Errors
/// [`DeviceError::Broken`] where the listener itself fails.
pub async fn proxy(tunnels: Arc<Tunnels>, listener: TcpListener) -> Result<Infallible, DeviceError> {
    http_proxy::serve(listener, tunnels).await?;
    Err(io::Error::from(io::ErrorKind::NotConnected).into())
}
