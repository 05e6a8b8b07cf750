//! How a connection becomes a link: the WebSocket handshake of both ends' subprotocol.

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use async_tungstenite::tungstenite::{Error as WsError, protocol::WebSocketConfig};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_io::{AsyncRead, AsyncWrite};

use super::error::DialError;
use super::url::RelayUrl;
use super::websocket::{PATH, SUBPROTOCOL};

/// Asks for a link on a connection to the relay, inside TLS where its URL says so.
///
/// # Errors
/// [`DialError`] where the relay refuses, or is none.
pub async fn upgrade<S>(url: &RelayUrl, io: S, config: WebSocketConfig) -> Result<WebSocketStream<S>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(url).map_err(|error| DialError::refusal(url, error))?;
    let opened = client_async_with_config(request, io, Some(config)).await;
    let (socket, answer) = opened.map_err(|error| DialError::refusal(url, error))?;
    // None was asked for, and frames would mean something else with one.
    if answer.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(DialError::NotARelay { relay: url.authority().into(), status: answer.status().as_u16() });
    }
    Ok(socket)
}

fn request(url: &RelayUrl) -> Result<Request, WsError> {
    let mut request = format!("{url}{PATH}").into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(request)
}
