//! Both ends of a link's connection: TCP, TLS, and the WebSocket handshake, under one deadline.

use core::time::Duration;
use std::io;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use homing_driver::relay::{
    ClientTls, DIAL_TIMEOUT, DialError, Hop, RelayUrl, Seek, ServerTls, attempts, follow, prepare, upgrade,
};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::socket::Io;
use crate::tls;

/// A link's WebSocket on tokio.
pub type Socket = WebSocketStream<Compat<Io>>;

/// Opens a link's WebSocket to the relay.
///
/// # Errors
/// [`DialError`], each kind with what to do about it.
pub async fn dial(url: &RelayUrl, tls: &ClientTls, config: WebSocketConfig) -> Result<Socket, DialError> {
    dial_within(DIAL_TIMEOUT, url, tls, config, None).await
}

/// Opens a link's WebSocket to the relay of a cluster that serves a route, by way of any of its relays. Also gives the
/// address of the one that it led to: its name is what proofs are made for. Where the relay has no cluster, that is the
/// relay itself.
///
/// # Errors
/// [`DialError`], each kind with what to do about it.
pub async fn seek(
    url: &RelayUrl,
    tls: &ClientTls,
    config: WebSocketConfig,
    seek: Seek,
) -> Result<(Socket, RelayUrl), DialError> {
    follow(url, seek, |Hop { at, seek, limit }| async move { dial_within(limit, &at, tls, config, Some(&seek)).await })
        .await
}

async fn dial_within(
    limit: Duration,
    url: &RelayUrl,
    tls: &ClientTls,
    config: WebSocketConfig,
    seek: Option<&Seek>,
) -> Result<Socket, DialError> {
    match timeout(limit, dial_steps(url, tls, config, seek)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::timeout(url)),
    }
}

/// Opens a connection to the relay that is to speak HTTP, encrypted as a link to it would be. Needs a deadline:
/// [`DIAL_TIMEOUT`] for all that comes before its use.
///
/// # Errors
/// [`DialError`], each kind with what to do about it.
pub async fn connect(url: &RelayUrl, tls: &ClientTls) -> Result<Io, DialError> {
    let tcp = connect_tcp(url).await.map_err(|error| DialError::unreachable(url, error))?;
    prepare(&tcp).map_err(|error| DialError::unreachable(url, error))?;
    if url.is_plain() { Ok(Io::Plain(tcp)) } else { encrypt(url, tls, tcp).await }
}

async fn dial_steps(
    url: &RelayUrl,
    tls: &ClientTls,
    config: WebSocketConfig,
    seek: Option<&Seek>,
) -> Result<Socket, DialError> {
    let io = connect(url, tls).await?;
    upgrade(url, io.compat(), config, seek).await
}

async fn connect_tcp(url: &RelayUrl) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for attempt in attempts(lookup_host((url.host(), url.port())).await?)? {
        match timeout(attempt.limit, TcpStream::connect(attempt.address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Encrypts a connection to the relay.
///
/// # Errors
/// [`DialError`] where the relay's certificate is refused, or nobody is trusted here.
pub async fn encrypt(url: &RelayUrl, tls: &ClientTls, tcp: TcpStream) -> Result<Io, DialError> {
    let config = tls.config()?;
    tls::connect(config, url.host(), tcp).await.map_err(|error| DialError::tls(url, error))
}

/// Takes a connection from a listener: prepares it, and encrypts it where this end shows a
/// certificate. Takes as long as the other end does, so give it a deadline.
///
/// # Errors
/// Where the connection is gone, or TLS fails.
pub async fn accept(tcp: TcpStream, tls: Option<&ServerTls>) -> io::Result<Io> {
    prepare(&tcp)?;
    match tls {
        Some(tls) => tls::accept(tls.config(), tcp).await,
        None => Ok(Io::Plain(tcp)),
    }
}
