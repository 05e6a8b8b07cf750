//! Dialling a relay: TCP, TLS, and the WebSocket handshake, under one deadline.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use async_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use async_tungstenite::tungstenite::{Error as WsError, protocol::WebSocketConfig};
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::socket::{Io, prepare};
use crate::tls::{ClientTls, TlsError};
use crate::url::RelayUrl;
use crate::websocket::{PATH, SUBPROTOCOL};

/// How long dialling may take, over all.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one of several addresses may keep the others waiting.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// A link's WebSocket on tokio.
pub type Socket = WebSocketStream<Compat<Io>>;

/// Why a relay could not be dialled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No connection: name, network, or nobody listens.
    #[error("cannot reach {relay}: {error}; check the address and that the relay runs")]
    Unreachable {
        /// The relay's name.
        relay: Box<str>,
        /// The system's reason.
        error: io::Error,
    },
    /// TLS is not set up on this machine.
    #[error(transparent)]
    TlsSetup(#[from] TlsError),
    /// The relay's certificate was refused, or it speaks no TLS.
    #[error(
        "no TLS with {relay}: {error}; check the relay's certificate, and for a private authority set \
         SSL_CERT_FILE to its PEM file"
    )]
    Tls {
        /// The relay's name.
        relay: Box<str>,
        /// The library's reason.
        error: io::Error,
    },
    /// It speaks HTTP, yet is no relay of this protocol.
    #[error("{relay} answered {status} instead of opening a link; is it a homing relay, and its URL right?")]
    NotARelay {
        /// The relay's name.
        relay: Box<str>,
        /// The HTTP status, 101 where the upgrade came without our subprotocol.
        status: u16,
    },
    /// It is a relay without room: later, or elsewhere.
    #[error("{relay} has no room for another link; trying again later")]
    Full {
        /// The relay's name.
        relay: Box<str>,
    },
    /// The answer is no HTTP.
    #[error("{relay} gave no proper WebSocket answer: {error}; is it a homing relay?")]
    Garbled {
        /// The relay's name.
        relay: Box<str>,
        /// The library's reason.
        error: Box<WsError>,
    },
    /// No answer in [`DIAL_TIMEOUT`].
    #[error("{relay} did not answer in 10 s; check the network between here and there")]
    Timeout {
        /// The relay's name.
        relay: Box<str>,
    },
}

/// Opens a link's WebSocket to the relay.
///
/// # Errors
/// [`DialError`], each kind with what to do about it.
pub async fn dial(url: &RelayUrl, tls: &ClientTls, config: WebSocketConfig) -> Result<Socket, DialError> {
    match timeout(DIAL_TIMEOUT, dial_steps(url, tls, config)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::Timeout { relay: url.authority().into() }),
    }
}

async fn dial_steps(url: &RelayUrl, tls: &ClientTls, config: WebSocketConfig) -> Result<Socket, DialError> {
    let relay = || url.authority().into();
    let tcp = connect(url).await.map_err(|error| DialError::Unreachable { relay: relay(), error })?;
    prepare(&tcp).map_err(|error| DialError::Unreachable { relay: relay(), error })?;
    let io = if url.is_plain() { Io::Plain(tcp) } else { encrypt(url, tls, tcp).await? };
    let request = request(url).map_err(|e| garbled(url, e))?;
    let opened = async_tungstenite::client_async_with_config(request, io.compat(), Some(config)).await;
    opened.map(|(socket, _answer)| socket).map_err(|error| refusal(url, error))
}

async fn encrypt(url: &RelayUrl, tls: &ClientTls, tcp: TcpStream) -> Result<Io, DialError> {
    let refused = |error| DialError::Tls { relay: url.authority().into(), error };
    let name = ServerName::try_from(url.host().to_owned()).map_err(|e| refused(io::Error::other(e)))?;
    let stream = tls.connector()?.connect(name, tcp).await.map_err(refused)?;
    Ok(Io::Tls(Box::new(stream.into())))
}

async fn connect(url: &RelayUrl) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((url.host(), url.port())).await?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (i, address) in addresses.iter().enumerate() {
        let is_last = i.saturating_add(1) == addresses.len();
        let limit = if is_last { DIAL_TIMEOUT } else { ADDRESS_TIMEOUT };
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

fn request(url: &RelayUrl) -> Result<Request, WsError> {
    let mut request = format!("{url}{PATH}").into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(request)
}

fn refusal(url: &RelayUrl, error: WsError) -> DialError {
    let relay = url.authority().into();
    match error {
        WsError::Http(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => DialError::Full { relay },
        WsError::Http(answer) => DialError::NotARelay { relay, status: answer.status().as_u16() },
        WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            DialError::NotARelay { relay, status: StatusCode::SWITCHING_PROTOCOLS.as_u16() }
        }
        WsError::Io(error) => DialError::Unreachable { relay, error },
        other => garbled(url, other),
    }
}

fn garbled(url: &RelayUrl, error: WsError) -> DialError {
    DialError::Garbled { relay: url.authority().into(), error: Box::new(error) }
}
