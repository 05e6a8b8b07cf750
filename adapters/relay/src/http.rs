//! The relay's HTTP surface: links, and two questions that anybody may ask.

use core::convert::Infallible;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use homing_driver::relay::{MAX_AUTHORITY, PATH, SUBPROTOCOL};
use http_body_util::Full;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode};

/// A short answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What an endpoint must get right for a link, and under which name it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The relay's name in the endpoint's proofs.
    pub(crate) name: Box<str>,
}

/// What the surface needs to know of the relay.
#[derive(Debug)]
pub(crate) struct Surface {
    /// The names it goes by; any where there are none.
    pub(crate) names: Vec<String>,
    /// Whether TLS ends here, which tells the default port.
    pub(crate) tls: bool,
}

impl Surface {
    /// Answers a request. `Some` is a link to be, once the answer is out.
    pub(crate) fn answer<B>(&self, request: &Request<B>, has_room: bool) -> (Answer, Option<Opening>) {
        let path = request.uri().path();
        if request.method() != Method::GET {
            return (plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"), None);
        }
        match path {
            PATH => match self.open(request.headers(), has_room) {
                Ok((answer, opening)) => (answer, Some(opening)),
                Err(refusal) => (*refusal, None),
            },
            "/healthz" => (plain(StatusCode::OK, "ok\n"), None),
            "/version" => (plain(StatusCode::OK, concat!(env!("CARGO_PKG_VERSION"), "\n")), None),
            _ => (plain(StatusCode::NOT_FOUND, "this is a homing relay; there is no page here\n"), None),
        }
    }

    fn open(&self, headers: &HeaderMap, has_room: bool) -> Result<(Answer, Opening), Box<Answer>> {
        if !has_token(headers, &CONNECTION, "upgrade") || !has_token(headers, &UPGRADE, "websocket") {
            let text = "links are WebSockets; a proxy in front has to pass Upgrade on\n";
            let mut refusal = plain(StatusCode::UPGRADE_REQUIRED, text);
            refusal.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            return Err(refusal.into());
        }
        if headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
            let mut refusal = plain(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13\n");
            refusal.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return Err(refusal.into());
        }
        if !has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            let text = "this relay speaks the subprotocol homing.1\n";
            return Err(plain(StatusCode::BAD_REQUEST, text).into());
        }
        // Sixteen bytes in base64.
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let Some(key) = key.filter(|key| key.len() == 24) else {
            return Err(plain(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing\n").into());
        };
        let name = self.name(headers)?;
        if !has_room {
            let mut refusal = plain(StatusCode::SERVICE_UNAVAILABLE, "no room for another link\n");
            refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
            return Err(refusal.into());
        }
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        Ok((answer, Opening { name }))
    }

    /// The name that the endpoint dialled, spelled as it is in proofs.
    fn name(&self, headers: &HeaderMap) -> Result<Box<str>, Box<Answer>> {
        let host = headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let host = host.to_ascii_lowercase();
        let default_port = if self.tls { ":443" } else { ":80" };
        let name = host.strip_suffix(default_port).unwrap_or(&host);
        if name.is_empty() || name.len() > MAX_AUTHORITY {
            return Err(plain(StatusCode::BAD_REQUEST, "Host is missing or too long\n").into());
        }
        if !self.names.is_empty() && !self.names.iter().any(|known| known == name) {
            return Err(plain(StatusCode::MISDIRECTED_REQUEST, "this relay goes by another name\n").into());
        }
        Ok(name.into())
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
}

/// The error of a service that always has an answer.
pub(crate) type Never = Infallible;

#[cfg(test)]
mod tests {
    use super::*;

    fn surface(names: &[&str], tls: bool) -> Surface {
        Surface { names: names.iter().map(|n| (*n).to_owned()).collect(), tls }
    }

    fn upgrade() -> Request<()> {
        Request::get(PATH)
            .header(HOST, "Relay.Example.org")
            .header(CONNECTION, "keep-alive, Upgrade")
            .header(UPGRADE, "WebSocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_PROTOCOL, "other, homing.1")
            .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
    }

    fn outcome(surface: &Surface, request: &Request<()>) -> (u16, Option<Box<str>>) {
        let (answer, opening) = surface.answer(request, true);
        (answer.status().as_u16(), opening.map(|o| o.name))
    }

    #[test]
    fn an_upgrade_is_answered_as_the_standard_has_it() {
        let (answer, opening) = surface(&[], true).answer(&upgrade(), true);
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], "homing.1");
        assert_eq!(&*opening.unwrap().name, "relay.example.org");
    }

    #[test]
    fn each_fault_has_its_status() {
        let without = |header: HeaderName| {
            let mut request = upgrade();
            request.headers_mut().remove(header);
            outcome(&surface(&[], true), &request)
        };
        assert_eq!(without(UPGRADE), (426, None));
        assert_eq!(without(CONNECTION), (426, None));
        assert_eq!(without(SEC_WEBSOCKET_VERSION), (426, None));
        assert_eq!(without(SEC_WEBSOCKET_PROTOCOL), (400, None));
        assert_eq!(without(SEC_WEBSOCKET_KEY), (400, None));
        assert_eq!(without(HOST), (400, None));
        let (answer, opening) = surface(&[], true).answer(&upgrade(), false);
        assert_eq!((answer.status().as_u16(), opening), (503, None));
    }

    #[test]
    fn the_default_port_is_no_part_of_the_name() {
        let named = |host: &str, tls| {
            let mut request = upgrade();
            request.headers_mut().insert(HOST, host.parse().unwrap());
            outcome(&surface(&["relay.example.org"], tls), &request).0
        };
        assert_eq!(named("relay.example.org:443", true), 101);
        assert_eq!(named("relay.example.org:80", false), 101);
        assert_eq!(named("relay.example.org:443", false), 421);
        assert_eq!(named("other.example.org", true), 421);
    }

    #[test]
    fn there_are_no_other_pages() {
        let get = |path: &str| outcome(&surface(&[], false), &Request::get(path).body(()).unwrap()).0;
        assert_eq!((get("/healthz"), get("/version"), get("/"), get("/homing/2")), (200, 200, 404, 404));
        let post = Request::post(PATH).body(()).unwrap();
        assert_eq!(outcome(&surface(&[], false), &post).0, 405);
    }
}
