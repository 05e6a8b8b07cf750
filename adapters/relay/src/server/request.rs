//! What a request comes to: an answer, or a link.

use core::future::pending;
use core::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use homing_driver::relay::PATH;
use homing_driver::relay::events::EVENTS_PATH;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use crate::address::TooMuch;
use crate::forwarded::client;
use crate::http::{self, Answer, Never, Opening, plain};
use crate::hub::Hub;
use crate::link::{Client, FIRST_MESSAGE};
use crate::outbox::Form;
use crate::turned_away::Why;
use crate::watch;

/// What a request for a link came to: how the link begins, and its place.
pub(super) type Agreed = (Vec<u8>, Opening, OwnedSemaphorePermit, Client);

/// Answers a request; does not come back where its connection is to be a link.
pub(super) async fn answer(
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
    let form = if path == EVENTS_PATH { Form::Events } else { Form::WebSocket };
    match http::sent(&shared.hub.place(&seek, &name, form), path) {
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
