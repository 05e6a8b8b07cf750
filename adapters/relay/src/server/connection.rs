//! A connection from its acceptance until it is a link: whom it is from, encryption, and its HTTP.

use core::future::{Future, poll_fn};
use core::net::IpAddr;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::request::{Agreed, answer};
use crate::address::Unknown;
use crate::forwarded::is_trusted;
use crate::http::Opening;
use crate::link::{self, Client, Start};
use crate::no_room::Reason;
use crate::proxied;
use crate::runtime::{Runtime, Timer, timeout};
use crate::turned_away::Why;

/// How long a TLS handshake may take, and then a request's head.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may live without becoming a link.
const HTTP: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD: usize = 8 * 1024;

/// Accepts for ever: no error of a single connection, and no lack of descriptors, ends a relay.
pub(super) async fn accept_all<R: Runtime>(listener: R::Listener, shared: &Arc<Shared>) {
    let mut pause = Duration::from_millis(5);
    loop {
        match R::next(&listener).await {
            Ok((tcp, peer)) => {
                pause = Duration::from_millis(5);
                // Without room even the question costs too much to hear.
                shared.tally.accept();
                let Ok(permit) = shared.handshakes.clone().try_acquire_owned() else {
                    shared.tally.turn_away(Why::Handshakes, Some(peer.ip()));
                    shared.no_room.tell::<R>(tcp, Reason::Relay);
                    continue;
                };
                R::spawn(shared.tasks.track_future(serve::<R>(shared.clone(), tcp, peer.ip(), permit)));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                R::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::Interrupted)
}

/// What came of a connection that is to be a link.
struct Upgraded<R: Runtime> {
    io: R::Io,
    /// The answer, which the link sends itself.
    head: Vec<u8>,
    early: Bytes,
    opening: Opening,
    /// Its place among the links.
    place: OwnedSemaphorePermit,
    client: Client,
    /// Its place among the connections of its address that nobody knows.
    unknown: Option<Unknown>,
}

async fn serve<R: Runtime>(shared: Arc<Shared>, tcp: R::Tcp, peer: IpAddr, permit: OwnedSemaphorePermit) {
    // Boxed, so that a link's task does not keep the room that its beginning took.
    let upgrading = Box::pin(shared.stop.run_until_cancelled(upgrade::<R>(&shared, tcp, peer)));
    let Some(Some(Upgraded { io, head, early, opening, place, client, unknown })) = upgrading.await else { return };
    let (hub, stall) = (shared.hub.clone(), shared.stall);
    drop(shared);
    let start = Start { head, early, opening, client, unknown: (permit, unknown), stall };
    link::run::<R>(io, start, hub).await;
    drop(place);
}

async fn upgrade<R: Runtime>(shared: &Shared, tcp: R::Tcp, peer: IpAddr) -> Option<Upgraded<R>> {
    let slow = |client| shared.tally.turn_away(Why::Slow, Some(client));
    let Some(prepared) = timeout::<R, _>(HANDSHAKE, prepare::<R>(shared, tcp, peer)).await else {
        slow(peer);
        return None;
    };
    let (io, peer, unknown) = prepared?;
    let Some(spoke) = timeout::<R, _>(HTTP, speak_http::<R>(shared, io, peer)).await else {
        slow(peer);
        return None;
    };
    Some(Upgraded { unknown, ..spoke? })
}

/// A connection before its HTTP: hears whom a proxy speaks for, and encrypts.
async fn prepare<R: Runtime>(
    shared: &Shared,
    tcp: R::Tcp,
    mut peer: IpAddr,
) -> Option<(R::Io, IpAddr, Option<Unknown>)> {
    let mut tcp = Unread::<R>(tcp);
    if shared.proxy_protocol && is_trusted(peer, &shared.proxies) {
        match proxied::read(&mut tcp).await {
            Ok(said) => peer = said.unwrap_or(peer),
            Err(error) => {
                shared.tally.turn_away(Why::ProxyHeader, Some(peer));
                tracing::debug!(%error, "a proxy's connection is dropped");
                return None;
            }
        }
    }
    // Whom a proxy speaks for shows in its requests only.
    let unknown = match is_trusted(peer, &shared.proxies) {
        true => None,
        false => match shared.addresses.arrive(peer, Instant::now()) {
            Ok(unknown) => unknown,
            Err(_) => {
                shared.tally.turn_away(Why::AddressUnknown, Some(peer));
                shared.no_room.tell::<R>(tcp.0, Reason::Address);
                return None;
            }
        },
    };
    match R::accept(tcp.0, shared.tls.as_ref()).await {
        Ok(io) => Some((io, peer, unknown)),
        Err(error) => {
            shared.tally.turn_away(Why::Tls, Some(peer));
            tracing::debug!(%error, "connection ended before it was encrypted");
            None
        }
    }
}

/// A connection of which nothing is read yet.
struct Unread<R: Runtime>(R::Tcp);

impl<R: Runtime> proxied::Source for Unread<R> {
    fn read(&mut self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        R::read(&mut self.0, into)
    }

    fn peek(&mut self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        R::peek(&mut self.0, into)
    }
}

async fn speak_http<R: Runtime>(shared: &Shared, io: R::Io, peer: IpAddr) -> Option<Upgraded<R>> {
    let agreed: Mutex<Option<Agreed>> = Mutex::new(None);
    let may_host = !shared.certified_hosts || R::is_certified(&io);
    let service = service_fn(|request| Box::pin(answer(shared, request, (peer, may_host), &agreed)));
    let mut connection = http1::Builder::new()
        .timer(Timer::<R>::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(io), service);
    let taken = || agreed.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A link takes the connection away from here, and sends the answer to its request itself: an idle one is to cost
    // nothing of what HTTP takes.
    let (head, opening, place, client) = poll_fn(|cx| {
        let served = Pin::new(&mut connection).poll(cx);
        match (taken(), served) {
            (Some(agreed), _) => Poll::Ready(Some(agreed)),
            (None, Poll::Pending) => Poll::Pending,
            (None, Poll::Ready(served)) => {
                if let Err(error) = served {
                    shared.tally.turn_away(Why::Request, Some(peer));
                    tracing::debug!(%error, "connection ended before it was a link");
                }
                Poll::Ready(None)
            }
        }
    })
    .await?;
    let parts = connection.into_parts();
    let (io, early) = (parts.io.into_inner(), parts.read_buf);
    Some(Upgraded { io, head, early, opening, place, client, unknown: None })
}
