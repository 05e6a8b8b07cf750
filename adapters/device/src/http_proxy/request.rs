//! One request from a local client: where it goes, what of its headers goes along, and what comes back.

use core::error::Error as _;

use homing_core::mux::reset;
use homing_driver::StreamError;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::address::{Address, AddressError};
use super::lease::{Answer, Exchange, Lease, Stream};
use super::{OpenError, Opener, open};
use crate::error::stream_error;

/// An answer of our own.
pub(super) struct Refusal(StatusCode, String);

impl From<AddressError> for Refusal {
    fn from(error: AddressError) -> Self {
        let status = match error {
            AddressError::Elsewhere => StatusCode::FORBIDDEN,
            AddressError::Incomplete => StatusCode::NOT_FOUND,
        };
        Self(status, error.to_string())
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        let status = match error {
            OpenError::UnknownHost | OpenError::UnknownService => StatusCode::NOT_FOUND,
            OpenError::Refused(_) => StatusCode::FORBIDDEN,
            OpenError::Unreachable(_) => StatusCode::BAD_GATEWAY,
            OpenError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        };
        Self(status, error.to_string())
    }
}

fn bad(text: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, text.to_owned())
}

fn broken() -> Refusal {
    Refusal(StatusCode::BAD_GATEWAY, "the service broke off before a valid answer".to_owned())
}

/// No answer came: says why, where the tunnel or the host gave a reason.
fn lost(error: &hyper::Error) -> Refusal {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    match cause.and_then(stream_error) {
        Some(StreamError::Reset(reset::UNKNOWN_SERVICE)) => OpenError::UnknownService.into(),
        Some(end @ StreamError::Reset(reset::NOT_ALLOWED)) => OpenError::Refused(end.to_string()).into(),
        Some(end @ (StreamError::Reset(reset::UNREACHABLE) | StreamError::Lost)) => {
            OpenError::Unreachable(end.to_string()).into()
        }
        _ => broken(),
    }
}

/// Passes a request on and its answer back.
pub(super) async fn pass<O: Opener>(
    mut asked: Request<Incoming>,
    opener: &O,
    exchange: &Exchange<O::Stream>,
) -> Result<Response<Answer<O::Stream>>, Refusal> {
    let (address, authority) = destination(&asked)?;
    if asked.method() == Method::CONNECT {
        let service = open(opener, &address).await?;
        exchange.tunnel(hyper::upgrade::on(&mut asked), service);
        return Ok(Response::new(Answer::Text(None)));
    }
    let protocol = if asked.version() == Version::HTTP_11 { wanted_upgrade(asked.headers()) } else { None };
    let client = protocol.is_some().then(|| hyper::upgrade::on(&mut asked));
    prepare(&mut asked, protocol, authority)?;
    let answer = send(asked, address, opener, exchange).await?;
    receive(answer, client, exchange)
}

/// The service asked for, and the authority it was asked under.
fn destination(asked: &Request<Incoming>) -> Result<(Address, HeaderValue), Refusal> {
    let uri = asked.uri();
    let text = match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "ws") | None, Some(authority)) => authority.as_str(),
        (Some(_), Some(authority)) => {
            authority.as_str().parse::<Address>()?;
            return Err(bad("say http://, not https://: the way to the host is sealed already"));
        }
        (_, None) => {
            let mut hosts = asked.headers().get_all(HOST).iter();
            match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
                (Some(Ok(host)), None) => host,
                _ => return Err(bad("send one Host header, such as SERVICE.HOST.homing")),
            }
        }
    };
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host); // a user is for the proxy's eyes only
    let address = text.parse()?;
    if asked.method() == Method::CONNECT && uri.port_u16() == Some(443) {
        return Err(bad("say http://, not https://: the way to the host is sealed already"));
    }
    let authority = HeaderValue::from_str(text).map_err(|_| bad("the host name is not text"))?;
    Ok((address, authority))
}

fn prepare(
    asked: &mut Request<Incoming>,
    protocol: Option<HeaderValue>,
    authority: HeaderValue,
) -> Result<(), Refusal> {
    let path = asked.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let fits = path.as_str().starts_with('/') || (path == "*" && asked.method() == Method::OPTIONS);
    if !fits {
        return Err(bad("ask for a path, such as http://SERVICE.HOST.homing/index.html"));
    }
    *asked.uri_mut() = Uri::from(path);
    *asked.version_mut() = Version::HTTP_11;
    let headers = asked.headers_mut();
    // Anything but plain `chunked` is refused by the host, which answers for its service.
    let coding = headers.get(TRANSFER_ENCODING).cloned();
    let trailers = names(headers, &TE).any(|name| name.eq_ignore_ascii_case("trailers"));
    strip_hops(headers);
    if let Some(coding) = coding {
        headers.insert(TRANSFER_ENCODING, coding);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    headers.insert(HOST, authority);
    Ok(())
}

/// Sends a request on the kept stream or a new one. One that may have left is never sent again.
async fn send<O: Opener>(
    mut asked: Request<Incoming>,
    address: Address,
    opener: &O,
    exchange: &Exchange<O::Stream>,
) -> Result<Response<Incoming>, Refusal> {
    loop {
        let mut lease = match exchange.take(&address) {
            Some(lease) => lease,
            None => {
                let stream = open(opener, &address).await?;
                Lease::new(address.clone(), stream).await.map_err(|_| broken())?
            }
        };
        let used = lease.used;
        let answer = lease.sender.try_send_request(asked);
        exchange.begin(lease);
        match answer.await {
            Ok(answer) => return Ok(answer),
            Err(mut failed) => {
                exchange.cancel();
                match failed.take_message() {
                    Some(unsent) if used => asked = unsent, // it was closed while idle
                    _ => return Err(lost(failed.error())),
                }
            }
        }
    }
}

fn receive<S: Stream>(
    mut answer: Response<Incoming>,
    client: Option<OnUpgrade>,
    exchange: &Exchange<S>,
) -> Result<Response<Answer<S>>, Refusal> {
    let switching = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let keep_upgrade = switching || answer.status() == StatusCode::UPGRADE_REQUIRED;
    let protocol = if keep_upgrade { answer.headers().get(UPGRADE).cloned() } else { None };
    strip_hops(answer.headers_mut());
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(UPGRADE, protocol);
    }
    *answer.version_mut() = Version::HTTP_11;
    match (switching, client) {
        (false, _) => Ok(answer.map(|body| Answer::service(body, exchange.clone()))),
        (true, Some(client)) => {
            exchange.switch(client);
            Ok(answer.map(|_| Answer::Text(None)))
        }
        (true, None) => {
            exchange.cancel();
            Err(broken())
        }
    }
}

fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = names(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    if asked { headers.get(UPGRADE).cloned() } else { None }
}

fn names<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> + use<'h> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

/// Removes what concerns only the connection to the neighbour. The length stays: it frames the body.
fn strip_hops(headers: &mut HeaderMap) {
    let hop = |name: &str| {
        matches!(name, "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade")
            || name.starts_with("proxy-")
    };
    let mut doomed: Vec<HeaderName> = headers.keys().filter(|name| hop(name.as_str())).cloned().collect();
    doomed.extend(
        names(headers, &CONNECTION)
            .filter(|name| !name.eq_ignore_ascii_case("content-length"))
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()),
    );
    for name in doomed {
        headers.remove(name);
    }
}

/// An answer of our own, one line.
pub(super) fn refuse<S: Stream>(Refusal(status, mut text): Refusal) -> Response<Answer<S>> {
    text.push('\n');
    let mut answer = Response::new(Answer::Text(Some(text.into())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
