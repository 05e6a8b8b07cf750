//! The relay's HTTP surface: links, and two questions that anybody may ask.

use core::convert::Infallible;
use std::time::SystemTime;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use homing_driver::relay::events::{EVENTS_PATH, parse_base64url};
use homing_driver::relay::{MAX_AUTHORITY, PATH, ROUTE_HEADER, SUBPROTOCOL, Seek};
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::address::TooMuch;
use crate::directory::Placement;
use crate::hub::LinkName;
use crate::outbox::Form;

const EVENT_STREAM: &str = "text/event-stream";

/// When there may be room for another link, in seconds: one that is there has to end first.
const NO_ROOM: u64 = 30;
/// When a relay that has lost its directory, or is not well, may be back, in seconds.
const WITHDRAWN: u64 = 5;

/// A short answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What an endpoint must get right for a link, and under which name it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The relay's name in the endpoint's proofs.
    pub(crate) name: Box<str>,
    /// How its messages look on the wire.
    pub(crate) form: Form,
    /// Which of its host's links it is, as that counts them.
    pub(crate) number: u8,
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
            PATH | EVENTS_PATH => {
                let opened = match path {
                    PATH => self.open(request, has_room),
                    _ => self.wait(request, has_room),
                };
                match opened {
                    Ok((answer, opening)) => (answer, Some(opening)),
                    Err(refusal) => (*refusal, None),
                }
            }
            "/healthz" => (plain(StatusCode::OK, "ok\n"), None),
            "/version" => (plain(StatusCode::OK, concat!(env!("CARGO_PKG_VERSION"), "\n")), None),
            _ => (plain(StatusCode::NOT_FOUND, "this is a homing relay; there is no page here\n"), None),
        }
    }

    fn open<B>(&self, request: &Request<B>, has_room: bool) -> Result<(Answer, Opening), Box<Answer>> {
        let headers = request.headers();
        if !has_token(headers, &CONNECTION, "upgrade") || !has_token(headers, &UPGRADE, "websocket") {
            let text = "links are WebSockets; a proxy in front has to pass Upgrade on\n";
            let mut refusal = plain(StatusCode::UPGRADE_REQUIRED, text);
            refusal.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            return Err(refusal.into());
        }
        if request.version() < Version::HTTP_11 {
            return Err(plain(StatusCode::BAD_REQUEST, "links need HTTP/1.1\n").into());
        }
        if only(headers, &SEC_WEBSOCKET_VERSION) != Some(b"13") {
            let mut refusal = plain(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13\n");
            refusal.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return Err(refusal.into());
        }
        if !has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            let text = "this relay speaks the subprotocol homing.1\n";
            return Err(plain(StatusCode::BAD_REQUEST, text).into());
        }
        let Some(key) = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
            let text = "Sec-WebSocket-Key has to be there, once: sixteen bytes in base64\n";
            return Err(plain(StatusCode::BAD_REQUEST, text).into());
        };
        let name = self.name(request)?;
        if !has_room {
            return Err(full());
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
        Ok((answer, Opening { name, form: Form::WebSocket, number: 0 }))
    }

    /// A link on which a host waits.
    fn wait<B>(&self, request: &Request<B>, has_room: bool) -> Result<(Answer, Opening), Box<Answer>> {
        if !has_token(request.headers(), &ACCEPT, EVENT_STREAM) {
            let text = "hosts wait here; ask for text/event-stream\n";
            return Err(plain(StatusCode::NOT_ACCEPTABLE, text).into());
        }
        let name = self.name(request)?;
        if !has_room {
            return Err(full());
        }
        let mut answer = Response::new(Full::default());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A proxy in front is not to hold events back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        // The stream ends with its connection.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now())) {
            headers.insert(DATE, date);
        }
        Ok((answer, Opening { name, form: Form::Events, number: 0 }))
    }

    /// The name that the endpoint dialled, spelled as it is in proofs. Refuses what a proxy in front may understand
    /// otherwise: a body, where the link's bytes come, and two names.
    pub(crate) fn name<B>(&self, request: &Request<B>) -> Result<Box<str>, Box<Answer>> {
        let headers = request.headers();
        let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
        if headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0") {
            return Err(plain(StatusCode::BAD_REQUEST, "a link's request has no body\n").into());
        }
        let host = only(headers, &HOST).and_then(|host| core::str::from_utf8(host).ok()).unwrap_or_default();
        if !host.is_ascii() || request.uri().authority().is_some_and(|a| !a.as_str().eq_ignore_ascii_case(host)) {
            return Err(plain(StatusCode::BAD_REQUEST, "Host is no name, or another than the target's\n").into());
        }
        let host = host.to_ascii_lowercase();
        let default_port = if self.tls { ":443" } else { ":80" };
        let name = host.strip_suffix(default_port).unwrap_or(&host);
        if name.is_empty() || name.len() > MAX_AUTHORITY {
            return Err(plain(StatusCode::BAD_REQUEST, "Host is missing, there twice, or too long\n").into());
        }
        if !self.names.is_empty() && !self.names.iter().any(|known| known == name) {
            return Err(plain(StatusCode::MISDIRECTED_REQUEST, "this relay goes by another name\n").into());
        }
        Ok(name.into())
    }
}

/// The secret name of a waiting link that a request is about.
pub(crate) fn link_of(headers: &HeaderMap) -> Option<LinkName> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, name) = value.split_once(' ')?;
    let name = scheme.eq_ignore_ascii_case("bearer").then(|| parse_base64url(name.trim().as_bytes()))??;
    name.try_into().ok()
}

/// What a request for a link says of its route; none where it says nothing.
pub(crate) fn seek_of(headers: &HeaderMap) -> Result<Option<Seek>, Box<Answer>> {
    if !headers.contains_key(ROUTE_HEADER) {
        return Ok(None);
    }
    let value = only(headers, &HeaderName::from_static(ROUTE_HEADER));
    let seek = value.and_then(|value| core::str::from_utf8(value).ok()?.parse().ok());
    seek.map(Some).ok_or_else(|| plain(StatusCode::BAD_REQUEST, "Homing-Route is malformed\n").into())
}

/// Sends an endpoint to another relay of the cluster, or away; none where it has come to the right one.
pub(crate) fn sent(placement: &Placement, path: &str) -> Option<Answer> {
    match placement {
        Placement::Here => None,
        Placement::At(url) => {
            let mut answer = plain(StatusCode::TEMPORARY_REDIRECT, "another relay of this cluster serves the route\n");
            let location = HeaderValue::from_str(&format!("{url}{path}")).ok()?;
            answer.headers_mut().insert(LOCATION, location);
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Some(answer)
        }
        Placement::Taken => Some(plain(StatusCode::CONFLICT, "this host is attached to the cluster already\n")),
        Placement::Nowhere => {
            Some(unavailable("this relay has left its cluster for now, and knows no other\n", WITHDRAWN))
        }
    }
}

/// The bytes of an answer that has no body, for a connection that is a link from there on.
pub(crate) fn head(answer: &Answer) -> Vec<u8> {
    let status = answer.status();
    let mut bytes = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default());
    for (name, value) in answer.headers() {
        // Made from text above, all of them.
        bytes.extend([name.as_str(), ": ", value.to_str().unwrap_or_default(), "\r\n"]);
    }
    bytes.push_str("\r\n");
    bytes.into_bytes()
}

/// One address wants too much.
pub(crate) fn too_much(too_much: TooMuch) -> Answer {
    let (text, wait) = match too_much {
        TooMuch::Links => ("this address has as many links as it may have\n", NO_ROOM),
        // Rounded up: who comes then finds room.
        TooMuch::Rate(wait) => ("this address asks for links too fast\n", wait.as_secs().saturating_add(1)),
    };
    let mut refusal = plain(StatusCode::TOO_MANY_REQUESTS, text);
    refusal.headers_mut().insert(RETRY_AFTER, wait.into());
    refusal
}

fn full() -> Box<Answer> {
    unavailable("no room for another link\n", NO_ROOM).into()
}

fn unavailable(text: &'static str, seconds: u64) -> Answer {
    let mut refusal = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    refusal.headers_mut().insert(RETRY_AFTER, seconds.into());
    refusal
}

/// The value of a header that may be there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

/// Whether this is sixteen bytes in base64.
fn is_key(text: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(text.split_at_checked(22), Some((digits, b"==")) if digits.iter().all(is_digit))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// A short answer in words.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Answer {
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
    fn a_link_to_wait_on_is_a_stream_of_events() {
        let ask = |accept: Option<&str>, host: &str, has_room| {
            let mut request = Request::get(EVENTS_PATH).header(HOST, host);
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            let (answer, opening) = surface(&["relay.example.org"], true).answer(&request.body(()).unwrap(), has_room);
            (answer, opening)
        };
        let (answer, opening) = ask(Some("text/event-stream"), "Relay.example.org:443", true);
        assert_eq!(opening, Some(Opening { name: "relay.example.org".into(), form: Form::Events, number: 0 }));
        let head = String::from_utf8(head(&answer)).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("x-accel-buffering: no\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        for (accept, host, has_room, status) in [
            (None, "relay.example.org", true, 406),
            (Some("text/html"), "relay.example.org", true, 406),
            (Some("text/event-stream"), "other.example.org", true, 421),
            (Some("text/event-stream"), "", true, 400),
            (Some("text/event-stream"), "relay.example.org", false, 503),
        ] {
            let (answer, opening) = ask(accept, host, has_room);
            assert_eq!((answer.status().as_u16(), opening), (status, None));
        }
    }

    #[test]
    fn a_link_is_named_in_a_header_only() {
        let named = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            link_of(&headers)
        };
        assert_eq!(named("Bearer AAAAAAAAAAAAAAAAAAAAAA"), Some([0; 16]));
        assert_eq!(named("bearer AAAAAAAAAAAAAAAAAAAAAB"), None, "bits left over");
        for value in ["AAAAAAAAAAAAAAAAAAAAAA", "Bearer", "Bearer AAAA", "Basic AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(named(value), None, "{value}");
        }
        assert_eq!(link_of(&HeaderMap::new()), None);
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
