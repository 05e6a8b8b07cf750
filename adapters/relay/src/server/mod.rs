//! A relay as a whole: its socket, what all its connections share, how it runs and how it ends.

mod connection;
mod request;

use core::fmt;
use core::future::pending;
use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpListener;
use std::sync::Arc;

use homing_driver::relay::{ServerTls, TlsError};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::Addresses;
use crate::config::{RelayConfig, RelayError};
use crate::http::Surface;
use crate::hub::Hub;
use crate::metrics::{self, Snapshot};
use crate::no_room::NoRoom;
use crate::runtime::{Runtime, timeout};
use crate::status::Status;
use crate::turned_away::Tally;
use crate::watch;

/// How long links may take to end once the relay ends them.
const LEAVE: Duration = Duration::from_secs(5);

/// A relay that has its socket and waits to run, on any runtime.
pub struct Server<R: Runtime> {
    listener: R::Listener,
    watchers: Option<R::Listener>,
    shared: Arc<Shared>,
}

/// A view of a relay, and a hand on it; cheap to clone.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
    surface: Surface,
    tls: Option<ServerTls>,
    pub(crate) hub: Arc<Hub>,
    tally: Tally,
    links: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    drain: Duration,
    addresses: Arc<Addresses>,
    proxies: Vec<IpNet>,
    no_room: NoRoom,
    stall: Duration,
    proxy_protocol: bool,
    /// Whether hosts have to show a certificate.
    certified_hosts: bool,
}

impl<R: Runtime> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<R: Runtime> Server<R> {
    /// Takes the socket and reads the certificate.
    ///
    /// # Errors
    /// [`RelayError`], which says what to change.
    pub async fn bind(config: RelayConfig) -> Result<Self, RelayError> {
        config.check()?;
        let listener = R::listen(config.listen).await;
        let listener = listener.map_err(|error| RelayError::Listen { listen: config.listen, error })?;
        Self::start(config, listener).await
    }

    /// The same with a socket that listens already, such as a service manager's, which keeps it while relays come and go:
    /// nobody is refused in between. `config.listen` says nothing then.
    ///
    /// # Errors
    /// [`RelayError`], which says what to change.
    pub async fn adopt(mut config: RelayConfig, socket: TcpListener) -> Result<Self, RelayError> {
        let failed = |error| RelayError::Listen { listen: config.listen, error };
        let listen = socket.local_addr().map_err(failed)?;
        let listener = socket.set_nonblocking(true).and_then(|()| R::adopt(socket)).map_err(failed)?;
        config.listen = listen;
        config.check()?;
        Self::start(config, listener).await
    }

    async fn start(config: RelayConfig, listener: R::Listener) -> Result<Self, RelayError> {
        let held = config.certificates.clone().map(ServerTls::holding);
        let tls = held.or_else(|| config.tls.as_ref().map(|files| ServerTls::from_files(&files.cert, &files.key)));
        let tls = match tls {
            Some(tls) => {
                let tls = tls?;
                Some(if let Some(clients) = &config.client_ca { tls.asking(clients)? } else { tls })
            }
            None => None,
        };
        let failed = |error| RelayError::Listen { listen: config.listen, error };
        let watchers = match config.metrics {
            Some(listen) => Some(R::listen(listen).await.map_err(|error| RelayError::Listen { listen, error })?),
            None => None,
        };
        let metrics = watchers.as_ref().map(R::address).transpose().map_err(failed)?;
        let shared = Arc::new(Shared {
            listen: R::address(&listener).map_err(failed)?,
            metrics,
            hub: Arc::new(Hub::new(&config)),
            certified_hosts: config.client_ca.is_some(),
            tally: Tally::new(config.log_addresses),
            surface: Surface { names: config.names, tls: tls.is_some() },
            tls,
            links: Arc::new(Semaphore::new(config.max_links.min(Semaphore::MAX_PERMITS))),
            handshakes: Arc::new(Semaphore::new(config.max_handshakes.min(Semaphore::MAX_PERMITS))),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            drain: config.drain,
            addresses: Addresses::new(config.addresses),
            proxies: config.proxies,
            no_room: NoRoom::new(config.tls.is_some()),
            stall: config.stall,
            proxy_protocol: config.proxy_protocol,
        });
        Ok(Self { listener, watchers, shared })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.listen
    }

    /// A view that outlives [`run`](Self::run).
    #[must_use]
    pub fn handle(&self) -> RelayHandle {
        RelayHandle { shared: self.shared.clone() }
    }

    /// Serves until `shutdown` is ready. Then it takes nothing new, tells every link, and gives the
    /// ends [`RelayConfig::drain`] to move elsewhere before it ends what is left. Where the future is
    /// dropped instead, the links end without being waited for.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, watchers, shared } = self;
        let stop_on_drop = StopOnDrop(&shared);
        tokio::select! {
            () = shutdown => {}
            () = connection::accept_all::<R>(listener, &shared) => {}
            () = watch::run::<R>(watchers, shared.clone()) => {}
            () = shared.hub.keep_time::<R>() => {}
            () = shared.hub.keep_accounts::<R>() => {}
            () = keep_directory(&shared) => {}
        }
        // The socket is closed by now: another relay may take the address while this one drains.
        shared.refuse_new();
        shared.hub.drain();
        if let Some(directory) = &shared.hub.directory {
            directory.drain();
        }
        tokio::select! {
            () = shared.tasks.wait() => {}
            () = R::sleep(shared.drain) => tracing::info!(links = shared.tasks.len(), "ending the links that have stayed"),
            () = shared.hub.keep_time::<R>() => {}
            () = shared.hub.keep_accounts::<R>() => {}
            () = keep_directory(&shared) => {}
        }
        drop(stop_on_drop);
        if timeout::<R, _>(LEAVE, shared.tasks.wait()).await.is_none() {
            tracing::warn!(links = shared.tasks.len(), "links did not end in time");
        }
        shared.hub.bill();
    }
}

/// Keeps up with the other relays of the cluster, for ever.
async fn keep_directory(shared: &Shared) {
    match &shared.hub.directory {
        Some(directory) => directory.run(shared.hub.clone()).await,
        None => pending().await,
    }
}

impl Shared {
    fn status(&self) -> Status {
        let counters = self.hub.counters();
        let (forwarded_records, forwarded_bytes) = self.hub.forwarded();
        Status {
            listen: self.listen,
            tls: self.tls.is_some(),
            uptime: self.hub.uptime(),
            draining: self.hub.is_draining(),
            links: counters.links,
            hosts: counters.hosts,
            waiting: counters.waiting,
            channels: counters.channels,
            parked: counters.parked,
            refused: counters.refused,
            forwarded_records,
            forwarded_bytes,
            reserved_bytes: counters.reserved,
            queued_bytes: self.hub.queued(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            status: self.status(),
            accepted: self.tally.accepted(),
            turned_away: self.tally.turned_away(),
            ended: self.hub.ended(),
            directory: self.hub.directory(),
            refused: self.hub.refusals(),
            delayed: [self.hub.delayed().as_slice(), &[self.addresses.delayed()]].concat(),
            admissions: self.hub.admissions(),
            process: metrics::process(),
        }
    }

    /// Drops what is no link yet.
    fn refuse_new(&self) {
        self.tasks.close();
        self.stop.cancel();
    }
}

/// Ends all that a relay started.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.refuse_new();
        self.0.hub.stop();
    }
}

impl RelayHandle {
    /// Counts, as of now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Where it tells how it does.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.shared.metrics
    }

    /// Cuts the hosts of an account off, at once; whether they may come back is for its [`Admit`](crate::account::Admit)
    /// to say. Returns how many there were.
    #[must_use]
    pub fn cut(&self, account: &str) -> usize {
        self.shared.hub.cut_everywhere(account)
    }

    /// Reads the certificate's files again, for new connections.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate read before stays in use.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        self.shared.tls.as_ref().map_or(Ok(()), ServerTls::reload)
    }
}
