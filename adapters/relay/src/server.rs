//! The listener: accepts connections, answers their HTTP, and turns upgrades into links.

use core::fmt;
use core::future::{Future as _, pending, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use homing_driver::relay::events::EVENTS_PATH;
use homing_driver::relay::{PATH, ServerTls, TlsError};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::{Addresses, TooMuch, Unknown};
use crate::config::{RelayConfig, RelayError};
use crate::forwarded::{client, is_trusted};
use crate::http::{self, Answer, Never, Opening, Surface, plain};
use crate::hub::Hub;
use crate::link::{self, Client, FIRST_MESSAGE, Start};
use crate::metrics::{self, Snapshot};
use crate::no_room::{NoRoom, Reason};
use crate::outbox::Form;
use crate::proxied;
use crate::runtime::{Runtime, Timer, timeout};
use crate::status::Status;
use crate::turned_away::{Tally, Why};
use crate::watch;

/// How long a TLS handshake may take, and then a request's head.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may live without becoming a link.
const HTTP: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD: usize = 8 * 1024;
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
            () = accept_all::<R>(listener, &shared) => {}
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

/// Accepts for ever: no error of a single connection, and no lack of descriptors, ends a relay.
async fn accept_all<R: Runtime>(listener: R::Listener, shared: &Arc<Shared>) {
    let mut pause = Duration::from_millis(5);
    loop {
        match R::next(&listener).await {
            Ok((tcp, peer)) => {
                pause = Duration::from_millis(5);
                // Without room even the question costs too much to hear.
                shared.tally.accept();
                let Ok(permit) = shared.handshakes.clone().try_acquire_owned() else {
                    shared.tally.turn_away(Why::Handshakes, Some(peer.ip()));
                    shared.no_room.tell::<R>(tcp, Reason::Relay);
                    continue;
                };
                R::spawn(shared.tasks.track_future(serve::<R>(shared.clone(), tcp, peer.ip(), permit)));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                R::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::Interrupted)
}

/// What came of a connection that is to be a link.
struct Upgraded<R: Runtime> {
    io: R::Io,
    /// The answer, which the link sends itself.
    head: Vec<u8>,
    early: Bytes,
    opening: Opening,
    /// Its place among the links.
    place: OwnedSemaphorePermit,
    client: Client,
    /// Its place among the connections of its address that nobody knows.
    unknown: Option<Unknown>,
}

async fn serve<R: Runtime>(shared: Arc<Shared>, tcp: R::Tcp, peer: IpAddr, permit: OwnedSemaphorePermit) {
    // Boxed, so that a link's task does not keep the room that its beginning took.
    let upgrading = Box::pin(shared.stop.run_until_cancelled(upgrade::<R>(&shared, tcp, peer)));
    let Some(Some(Upgraded { io, head, early, opening, place, client, unknown })) = upgrading.await else { return };
    let (hub, stall) = (shared.hub.clone(), shared.stall);
    drop(shared);
    let start = Start { head, early, opening, client, unknown: (permit, unknown), stall };
    link::run::<R>(io, start, hub).await;
    drop(place);
}

async fn upgrade<R: Runtime>(shared: &Shared, tcp: R::Tcp, peer: IpAddr) -> Option<Upgraded<R>> {
    let slow = |client| shared.tally.turn_away(Why::Slow, Some(client));
    let Some(prepared) = timeout::<R, _>(HANDSHAKE, prepare::<R>(shared, tcp, peer)).await else {
        slow(peer);
        return None;
    };
    let (io, peer, unknown) = prepared?;
    let Some(spoke) = timeout::<R, _>(HTTP, speak_http::<R>(shared, io, peer)).await else {
        slow(peer);
        return None;
    };
    Some(Upgraded { unknown, ..spoke? })
}

/// A connection before its HTTP: hears whom a proxy speaks for, and encrypts.
async fn prepare<R: Runtime>(
    shared: &Shared,
    tcp: R::Tcp,
    mut peer: IpAddr,
) -> Option<(R::Io, IpAddr, Option<Unknown>)> {
    let mut tcp = Unread::<R>(tcp);
    if shared.proxy_protocol && is_trusted(peer, &shared.proxies) {
        match proxied::read(&mut tcp).await {
            Ok(said) => peer = said.unwrap_or(peer),
            Err(error) => {
                shared.tally.turn_away(Why::ProxyHeader, Some(peer));
                tracing::debug!(%error, "a proxy's connection is dropped");
                return None;
            }
        }
    }
    // Whom a proxy speaks for shows in its requests only.
    let unknown = match is_trusted(peer, &shared.proxies) {
        true => None,
        false => match shared.addresses.arrive(peer, Instant::now()) {
            Ok(unknown) => unknown,
            Err(_) => {
                shared.tally.turn_away(Why::AddressUnknown, Some(peer));
                shared.no_room.tell::<R>(tcp.0, Reason::Address);
                return None;
            }
        },
    };
    match R::accept(tcp.0, shared.tls.as_ref()).await {
        Ok(io) => Some((io, peer, unknown)),
        Err(error) => {
            shared.tally.turn_away(Why::Tls, Some(peer));
            tracing::debug!(%error, "connection ended before it was encrypted");
            None
        }
    }
}

/// A connection of which nothing is read yet.
struct Unread<R: Runtime>(R::Tcp);

impl<R: Runtime> proxied::Source for Unread<R> {
    fn read(&mut self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        R::read(&mut self.0, into)
    }

    fn peek(&mut self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        R::peek(&mut self.0, into)
    }
}

/// What a request for a link came to: how the link begins, and its place.
type Agreed = (Vec<u8>, Opening, OwnedSemaphorePermit, Client);

async fn speak_http<R: Runtime>(shared: &Shared, io: R::Io, peer: IpAddr) -> Option<Upgraded<R>> {
    let agreed: Mutex<Option<Agreed>> = Mutex::new(None);
    let may_host = !shared.certified_hosts || R::is_certified(&io);
    let service = service_fn(|request| Box::pin(answer(shared, request, (peer, may_host), &agreed)));
    let mut connection = http1::Builder::new()
        .timer(Timer::<R>::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(io), service);
    let taken = || agreed.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A link takes the connection away from here, and sends the answer to its request itself: an idle one is to cost
    // nothing of what HTTP takes.
    let (head, opening, place, client) = poll_fn(|cx| {
        let served = Pin::new(&mut connection).poll(cx);
        match (taken(), served) {
            (Some(agreed), _) => Poll::Ready(Some(agreed)),
            (None, Poll::Pending) => Poll::Pending,
            (None, Poll::Ready(served)) => {
                if let Err(error) = served {
                    shared.tally.turn_away(Why::Request, Some(peer));
                    tracing::debug!(%error, "connection ended before it was a link");
                }
                Poll::Ready(None)
            }
        }
    })
    .await?;
    let parts = connection.into_parts();
    let (io, early) = (parts.io.into_inner(), parts.read_buf);
    Some(Upgraded { io, head, early, opening, place, client, unknown: None })
}

/// Answers a request; does not come back where its connection is to be a link.
async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
    (peer, may_host): (IpAddr, bool),
    agreed: &Mutex<Option<Agreed>>,
) -> Result<Answer, Never> {
    if request.method() == Method::POST && request.uri().path() == EVENTS_PATH {
        return Ok(post(&shared.hub, request).await);
    }
    if request.method() == Method::GET && request.uri().path() == "/readyz" {
        return Ok(watch::ready(shared));
    }
    let client = client(peer, request.headers(), &shared.proxies);
    let number = match sought(shared, &request) {
        Ok(number) => number,
        Err(answer) => {
            if answer.status().is_client_error() {
                shared.tally.turn_away(Why::Request, client);
            }
            return Ok(*answer);
        }
    };
    let place = shared.links.clone().try_acquire_owned();
    if place.is_err() {
        shared.tally.turn_away(Why::NoRoom, client);
    }
    let (answer, opening) = shared.surface.answer(&request, place.is_ok());
    if let (Some(opening), Ok(place)) = (opening, place) {
        let opening = Opening { number, ..opening };
        if opening.form == Form::Events && !may_host {
            shared.tally.turn_away(Why::Certificate, client);
            return Ok(plain(StatusCode::FORBIDDEN, "hosts show a certificate here (--client-cert, --client-key)\n"));
        }
        let seat = match client {
            None => None,
            Some(client) => match shared.addresses.enter(client, Instant::now()) {
                Ok(seat) => seat,
                Err(too_much) => {
                    let why = match too_much {
                        TooMuch::Links => Why::AddressLinks,
                        TooMuch::Rate(_) => Why::AddressRate,
                    };
                    shared.tally.turn_away(why, Some(client));
                    return Ok(http::too_much(too_much));
                }
            },
        };
        shared.tally.take(client);
        let client = Client { address: client, seat, may_host };
        *agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some((http::head(&answer), opening, place, client));
        return pending().await;
    }
    if answer.status().is_client_error() {
        shared.tally.turn_away(Why::Request, client);
    }
    Ok(answer)
}

/// Sends those away whose route another relay serves. Gives which of its host's links a request is for.
fn sought(shared: &Shared, request: &Request<Incoming>) -> Result<u8, Box<Answer>> {
    let path = request.uri().path();
    if shared.hub.directory.is_none() || request.method() != Method::GET || !matches!(path, PATH | EVENTS_PATH) {
        return Ok(0);
    }
    let Some(seek) = http::seek_of(request.headers())? else { return Ok(0) };
    let name = shared.surface.name(request)?;
    match http::sent(&shared.hub.place(&seek, &name), path) {
        Some(answer) => Err(answer.into()),
        None => Ok(seek.link),
    }
}

/// Takes what a waiting host says: one outer frame, on the link that it names.
async fn post(hub: &Hub, request: Request<Incoming>) -> Answer {
    let unknown = || plain(StatusCode::NOT_FOUND, "no host waits under this name\n");
    // Before the body is waited for.
    let Some(link) = http::link_of(request.headers()).filter(|link| hub.waits(link)) else { return unknown() };
    let Ok(body) = Limited::new(request.into_body(), FIRST_MESSAGE).collect().await else {
        return plain(StatusCode::BAD_REQUEST, "one message of 512 bytes at most\n");
    };
    match hub.post(&link, &mut body.to_bytes().to_vec()) {
        Some(true) => plain(StatusCode::NO_CONTENT, ""),
        Some(false) => plain(StatusCode::BAD_REQUEST, "no message that has a place here\n"),
        None => unknown(),
    }
}
