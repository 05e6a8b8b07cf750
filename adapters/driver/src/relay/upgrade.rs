//! How a connection becomes a link: the WebSocket handshake of both ends' subprotocol.

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use async_tungstenite::tungstenite::{Error as WsError, protocol::WebSocketConfig};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_io::{AsyncRead, AsyncWrite};

use super::error::DialError;
use super::seek::{ROUTE_HEADER, Seek};
use super::url::RelayUrl;
use super::websocket::{PATH, SUBPROTOCOL};

/// Asks for a link on a connection to the relay, inside TLS where its URL says so. Of a cluster, the relay that serves
/// the route is found by what is sought.
///
/// # Errors
/// [`DialError`] where the relay refuses, or is none; [`DialError::Elsewhere`] where another one is to be asked.
pub async fn upgrade<S>(
    url: &RelayUrl,
    io: S,
    config: WebSocketConfig,
    seek: Option<&Seek>,
) -> Result<WebSocketStream<S>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(url, seek).map_err(|error| DialError::refusal(url, error))?;
    let opened = client_async_with_config(request, io, Some(config)).await;
    let (socket, answer) = opened.map_err(|error| DialError::refusal(url, error))?;
    // None was asked for, and frames would mean something else with one.
    if answer.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(DialError::NotARelay { relay: url.authority().into(), status: answer.status().as_u16() });
    }
    Ok(socket)
}

/// What a redirect means whose `Location` this is: [`DialError::Elsewhere`], or why it is not followed. `path` is what was
/// asked for.
pub(super) fn redirect(url: &RelayUrl, location: Option<&[u8]>, path: &str) -> DialError {
    let relay: Box<str> = url.authority().into();
    let parsed = location.and_then(|location| core::str::from_utf8(location).ok()).map(|location| {
        let base = location.strip_suffix(path).ok_or("to another path")?;
        base.parse::<RelayUrl>().map_err(|_| "to what is no relay")
    });
    match parsed {
        Some(Ok(to)) => DialError::Elsewhere { relay, to: to.into() },
        Some(Err(why)) => DialError::Misled { relay, why: why.into() },
        None => DialError::Misled { relay, why: "without saying where".into() },
    }
}

fn request(url: &RelayUrl, seek: Option<&Seek>) -> Result<Request, WsError> {
    let mut request = format!("{url}{PATH}").into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Some(seek) = seek {
        request.headers_mut().insert(ROUTE_HEADER, HeaderValue::from_str(&seek.to_string())?);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_a_relay_and_nothing_more() {
        let url: RelayUrl = "wss://a.example.org".parse().unwrap();
        let to = |location: &str| redirect(&url, Some(location.as_bytes()), PATH);
        let followed = to("wss://b.example.org:8443/homing/1");
        assert!(matches!(&followed, DialError::Elsewhere { to, .. } if to.authority() == "b.example.org:8443"));
        for wrong in [
            "",
            "/homing/1",
            "https://b.example.org/homing/1",
            "wss://b.example.org/homing/2",
            "wss://u@b.example.org/homing/1",
            "wss://b.example.org/x/homing/1",
            "ws://b.example.org/homing/1",
            "wss://b.example.org/homing/1?q",
        ] {
            assert!(matches!(to(wrong), DialError::Misled { .. }), "{wrong}");
        }
        assert!(matches!(redirect(&url, None, PATH), DialError::Misled { .. }));
        assert!(matches!(redirect(&url, Some(&[0xff]), PATH), DialError::Misled { .. }));
    }
}
