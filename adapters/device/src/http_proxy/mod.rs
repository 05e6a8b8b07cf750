//! A local HTTP proxy in front of every service of every host: `http://SERVICE.HOST.homing/…`. How a stream to a service
//! comes about is the [`Opener`]'s business.
//!
//! Three ways in, all of them HTTP/1.1:
//!
//! - `GET http://SERVICE.HOST.homing/path`, what a client says to its proxy;
//! - `GET /path` with `Host: SERVICE.HOST.homing`, for names that resolve to this listener;
//! - `CONNECT SERVICE.HOST.homing:PORT`, bytes from then on; browsers do this for WebSocket, `ssh` through `nc -X connect`.
//!
//! Nothing outside `.homing` is ever fetched, so a page that gets a browser to ask this listener for anything under a
//! name of its own is refused. Each connection keeps its stream for the next request to the same service; opening
//! another costs no round trip, so connections share none. As behind most proxies, a client that closes its sending side
//! while an answer is under way has gone: its request is cancelled.

mod address;
mod lease;
mod request;

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use address::{Address, AddressError};
use lease::{Answer, Exchange, Upgrade};

const MAX_CONNECTIONS: usize = 1024;
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 200;
const IDLE: Duration = Duration::from_secs(60);
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
const BUFFER: usize = 64 * 1024;

/// Opens streams to services.
pub trait Opener: Send + Sync + 'static {
    /// One stream; dropping it without a shutdown cancels it at the other end.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a stream to `service` of the paired host named `host`.
    ///
    /// # Errors
    ///
    /// When there is no such host or service, it may not be used, or cannot be reached.
    fn open(&self, host: &str, service: &str) -> impl Future<Output = Result<Self::Stream, OpenError>> + Send;
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// This device is not paired with a host of that name.
    #[error("this device is paired with no host of that name; see `homing hosts list`")]
    UnknownHost,
    /// The host exposes no such service.
    #[error("the host exposes no service of that name")]
    UnknownService,
    /// The host does not let this device in, or not to this service.
    #[error("the host refuses: {0}")]
    Refused(String),
    /// The host or its service cannot be reached now.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
}

/// Why a local connection ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The client's HTTP could not be read, or it left in the middle.
    #[error("http ended early: {0}")]
    Http(#[from] hyper::Error),
    /// Either side broke off after an upgrade.
    #[error("broken off: {0}")]
    Broken(#[from] io::Error),
}

/// Serves local clients for ever; dropping the future ends every connection.
///
/// # Errors
///
/// When the listener itself is gone. Being out of descriptors only makes it wait.
pub async fn serve<O: Opener>(listener: TcpListener, opener: Arc<O>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((tcp, _)) => {
                let _ = tcp.set_nodelay(true); // slower, not wrong
                let opener = opener.clone();
                connections.spawn(async move {
                    let Ok(mut end) = Unsaid::new(&tcp) else { return };
                    // What went wrong has been answered or concerns only a client that left.
                    end.said = match serve_connection(tcp, &*opener).await {
                        Ok(()) => true,
                        Err(ProxyError::Http(error)) => error.is_parse(),
                        Err(ProxyError::Broken(_)) => false,
                    };
                });
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A client's connection that is reset unless all was said: what broke off must not look complete.
struct Unsaid {
    tcp: OwnedFd,
    said: bool,
}

impl Unsaid {
    fn new(tcp: &TcpStream) -> io::Result<Self> {
        Ok(Self { tcp: tcp.as_fd().try_clone_to_owned()?, said: false })
    }
}

impl Drop for Unsaid {
    fn drop(&mut self) {
        if !self.said {
            // Best effort: closing without a reset is what remains.
            let _ = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO));
        }
    }
}

/// Serves one local client.
///
/// # Errors
///
/// When the client sends something that is not HTTP, or either side breaks off.
pub async fn serve_connection<S, O>(client: S, opener: &O) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    O: Opener,
{
    let exchange = Exchange::<O::Stream>::default();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .auto_date_header(false);
    {
        let answer = service_fn(|asked| answer(asked, opener, &exchange));
        let mut server = pin!(builder.serve_connection(TokioIo::new(client), answer).with_upgrades());
        let served = poll_fn(|cx| {
            let server = server.as_mut().poll(cx);
            exchange.drive(cx);
            server
        });
        match served.await {
            Ok(()) => {}
            Err(idle) if idle.is_timeout() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    match exchange.take_upgrade() {
        Some(agreed) => join(agreed).await,
        None => Ok(()),
    }
}

async fn answer<O: Opener>(
    asked: Request<Incoming>,
    opener: &O,
    exchange: &Exchange<O::Stream>,
) -> Result<Response<Answer<O::Stream>>, hyper::Error> {
    Ok(request::pass(asked, opener, exchange).await.unwrap_or_else(request::refuse))
}

async fn open<O: Opener>(opener: &O, address: &Address) -> Result<O::Stream, OpenError> {
    let opening = opener.open(&address.host, &address.service);
    tokio::time::timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(OpenError::TimedOut))
}

/// Carries bytes both ways once both sides have left HTTP.
async fn join<S: lease::Stream>(agreed: Upgrade<S>) -> Result<(), ProxyError> {
    let (client, mut service, early): (_, S, Bytes) = match agreed {
        Upgrade::Tunnel { client, service } => (client, service, Bytes::new()),
        Upgrade::Switched { client, service } => {
            let (service, early) = service.into_stream().await?;
            (client, service, early)
        }
    };
    let mut client = TokioIo::new(client.await?);
    client.write_all(&early).await?;
    client.flush().await?;
    copy_bidirectional_with_sizes(&mut client, &mut service, BUFFER, BUFFER).await?;
    Ok(())
}
