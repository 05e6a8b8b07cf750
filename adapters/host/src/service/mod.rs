//! The way from a tunnel stream to a local service. Who may come in is decided elsewhere.
//!
//! A stream of a `tcp` or `unix` service is copied byte for byte, half-closes included. A stream of an `http` service
//! meets a real HTTP/1.1 server here and a pooled client towards the service, or an app in this process: see
//! [`Service::in_process`]. Everything one stream needs is polled by
//! the one future that [`serve`] returns: dropping it frees the stream and the service's connection at once.
//!
//! # What a service sees of a request
//!
//! | header | value |
//! |---|---|
//! | `Host` | the service's own authority, as exposed |
//! | `Homing-Device` | the device's id, in hex; of a guest that, a hyphen, and more |
//! | `Homing-Device-Name` | the device's name, UTF-8, percent-encoded |
//! | `Homing-Assertion` | the same, signed by the host: see below |
//! | `Forwarded` | `for="_DEVICE";host="HOST";proto=http`, HOST as the device wrote it |
//! | `X-Forwarded-Host`, `X-Forwarded-Proto` | the same, for services that know only these |
//! | `X-Forwarded-For`, `X-Real-IP` | an address that stands for the device, see below |
//!
//! The host sees no address of the device, but services count, limit and log by address, and one that reads 127.0.0.1
//! may take the caller for the operator. So a device gets one of its own: `2001:db8::/32` filled up with the first 96
//! bits of its id. That network is set apart for examples: it is nobody's, and no list of "local" networks holds it.
//! What a device sends under any of these names is removed, spelled with `_` for `-` too.
//!
//! `proto` is `http` because that is what arrived on the stream; whether a browser holds TLS before it is not known here.
//!
//! `Homing-Assertion` is a JSON Web Token (EdDSA) for a service that others reach, too, and that cannot believe headers. Its
//! claims are `iss`, the host's id as `homing hosts list` shows it, `aud`, the service's name, `sub`, the device's id, `name`,
//! `iat`, `exp`, at most 60 seconds later, and `jti`; requests within some seconds have the same one. The public key is at
//! `/.well-known/jwks.json` where the host serves its settings, and from `homing host jwks`. Hosts set it; a [`Service`]
//! that is served without one has none.
//!
//! The [`Credential`] of a service is set in its header, whatever a device sends there.
//!
//! # Where the host connects to
//!
//! Only to what was exposed, and to Unix sockets only where one was. A name is resolved for each connection, every address
//! checked, and the connection goes to one that passed: link-local addresses (which cloud metadata services have),
//! multicast, broadcast and unspecified ones are never dialled, nor this machine by another name than `localhost`. The
//! host follows no redirects: the device gets them.
//!
//! # Ends
//!
//! `Ok` says that the stream was shut down in order; after `Err` it was dropped without, and whoever carries the stream
//! tells the peer so with a reset. On an HTTP stream the end of input while an answer is under way means that the client
//! has gone, as with most servers: the request is cancelled. No request that may have reached a service is sent twice.

mod address;
mod app;
mod assertion;
mod body;
mod connect;
mod ending;
mod error;
mod exchange;
mod headers;
mod http;
mod options;
mod pool;
mod raw;
mod table;
mod target;
mod upgrade;

use std::sync::{Arc, OnceLock};

use ::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::io::{AsyncRead, AsyncWrite};

pub use address::Forbidden;
pub use error::ServiceError;
pub use options::{Ca, Credential, IDLE_CONNECTIONS, IDLE_TIME, MAX_CONNECTIONS, Options, OptionsError};
pub use table::Services;
pub use target::{ExposeError, Exposed, Target};

pub(crate) use assertion::Signer;
pub(crate) use target::check_name;

use app::App;
use connect::Remote;
use pool::Pool;

/// A byte stream that can carry a service.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Who is on the other end of a stream.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The device's id in hex.
    pub device_id: String,
    /// The name the device was paired under.
    pub device_name: String,
}

/// Why a request is turned away before it reaches the service.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status to answer with.
    pub status: StatusCode,
    /// One short line for the person at the other end.
    pub text: String,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u32>,
}

/// What a gate gives for a request that it lets through. Dropped when the answer is over.
pub trait Pass: Send + Unpin + 'static {
    /// The request has left HTTP, as WebSockets do: it lasts as long as its stream does.
    fn keep(self);

    /// The service was not reached.
    fn not_reached(&self, _error: &ServiceError) {}
}

impl Pass for () {
    fn keep(self) {}
}

/// One exposed service with its connections.
#[derive(Debug)]
pub struct Service {
    name: String,
    authority: HeaderValue,
    place: Place,
    /// What came after it, once it was replaced: none where it is exposed no longer.
    next: OnceLock<Option<Arc<Self>>>,
    /// Who swears to it who calls.
    signer: OnceLock<Arc<Signer>>,
}

#[derive(Debug)]
enum Place {
    Remote(Box<Remote>),
    InProcess(App),
}

impl Service {
    /// Makes a service ready to be served; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When the system's certificate store cannot be used for an `https` target.
    pub fn new(exposed: Exposed) -> Result<Self, ExposeError> {
        let connector = connect::Connector::new(&exposed)?;
        Ok(Self::with_connector(exposed, connector))
    }

    /// The same with a TLS configuration of the caller's, such as one that trusts a private CA.
    #[must_use]
    pub fn with_tls(exposed: Exposed, config: Arc<rustls::ClientConfig>) -> Self {
        let connector = connect::Connector::with_tls(&exposed, config);
        Self::with_connector(exposed, connector)
    }

    fn with_connector(exposed: Exposed, connector: connect::Connector) -> Self {
        let authority = headers::ascii(exposed.target.authority());
        let name = exposed.name.clone();
        let pool = Pool::new(&exposed.options);
        let place = Place::Remote(Box::new(Remote { exposed, connector, pool }));
        Self { name, authority, place, next: OnceLock::new(), signer: OnceLock::new() }
    }

    /// An HTTP service that is no process of its own and has no port: `app` is called for each
    /// request, and finds who calls in its extensions, as a [`Caller`]. Its headers are those of any
    /// service, with `localhost` for `Host`. A tower service, such as a router of axum, becomes such
    /// an app by `hyper_util::service::TowerToHyperService`.
    ///
    /// An app that agrees to an upgrade has the stream from then on; dropping it there ends it in
    /// order, as it does a socket.
    ///
    /// # Errors
    ///
    /// When the name is none: see [`Exposed::name`].
    pub fn in_process<A, B>(name: &str, app: A) -> Result<Self, ExposeError>
    where
        A: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
        A::Future: Send + 'static,
        A::Error: Into<Box<dyn core::error::Error + Send + Sync>>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let name = target::check_name(name)?.to_owned();
        let place = Place::InProcess(App::new(app));
        let authority = HeaderValue::from_static("localhost");
        Ok(Self { name, authority, place, next: OnceLock::new(), signer: OnceLock::new() })
    }

    /// Connects once, as the first request would, and hangs up.
    ///
    /// # Errors
    ///
    /// Why it is not reached.
    pub async fn reach(&self) -> Result<(), ServiceError> {
        match &self.place {
            Place::Remote(remote) => connect::connect(remote).await.map(drop),
            Place::InProcess(_) => Ok(()),
        }
    }

    /// The service that is to be used now, for streams that began before the configuration changed; none where there is
    /// none of that name any more.
    fn now(&self) -> Option<&Self> {
        let mut service = self;
        while let Some(next) = service.next.get() {
            service = next.as_ref()?;
        }
        Some(service)
    }

    /// The name devices ask for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the service lives; none where that is here.
    #[must_use]
    pub const fn target(&self) -> Option<&Target> {
        match &self.place {
            Place::Remote(remote) => Some(&remote.exposed.target),
            Place::InProcess(_) => None,
        }
    }

    /// Whether its streams are bytes, and no HTTP.
    pub(crate) const fn is_raw(&self) -> bool {
        matches!(self.target(), Some(Target::Tcp { .. } | Target::Unix { .. }))
    }

    /// The kind for listings: `http`, `tcp` or `unix`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.target() {
            Some(target) => target.kind(),
            None => "http",
        }
    }
}

/// Serves one stream until both sides are done.
///
/// # Errors
///
/// When the service cannot be reached (raw services only; HTTP answers 502 or 504) or either side breaks off.
pub async fn serve<S: Stream>(stream: S, service: &Service, caller: &Caller) -> Result<(), ServiceError> {
    serve_gated(stream, service, caller, |_| Ok(())).await
}

/// The same, asking `gate` before each HTTP request. It sees the request as the device sent it: a gate that grants path
/// prefixes must itself refuse dot segments and their encodings. Raw services have no requests and never ask.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_gated<S, G, P>(stream: S, service: &Service, caller: &Caller, gate: G) -> Result<(), ServiceError>
where
    S: Stream,
    G: Fn(&Request<Incoming>) -> Result<P, Refusal> + Send + Sync,
    P: Pass,
{
    match &service.place {
        Place::Remote(remote) if service.is_raw() => raw::serve(stream, remote).await,
        _ => http::serve(stream, service, caller, gate).await,
    }
}
