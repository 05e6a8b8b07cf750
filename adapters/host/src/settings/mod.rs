//! The host's settings on this machine: a JSON API and a page, for people and programs that hold a
//! token. Loopback only.
//!
//! | module | does |
//! |---|---|
//! | `connections` | how many there may be, and how long they may take |
//! | `token` | who may do what |
//! | `guard` | refuses other sites, other names and callers without a token |
//! | `answer` | answers, and problems that programs can tell apart |
//! | `relay`, `onboarding`, `devices`, `trail` | the endpoints |
//! | `page` | the page, and the API's description |

mod answer;
mod connections;
mod devices;
mod guard;
mod links;
mod onboarding;
mod page;
mod relay;
pub(crate) mod token;
mod trail;

use core::convert::Infallible;
use core::future::pending;
use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, patch, post};
use tokio::net::TcpListener;

use crate::HostHandle;
use links::OpenLinks;

pub use token::{NewToken, Scope};

/// No request of the API says more, in bytes.
const MAX_BODY: usize = 16 << 10;

/// What the endpoints share.
#[derive(Clone)]
pub(crate) struct Desk {
    host: HostHandle,
    address: SocketAddr,
    links: Arc<OpenLinks>,
}

/// Takes a listener on this machine only, and its address.
///
/// # Errors
/// An address that other machines reach.
pub(crate) fn listen(listener: std::net::TcpListener) -> io::Result<(TcpListener, SocketAddr)> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        let text = format!("{address} is not a loopback address: settings are for this machine only");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    listener.set_nonblocking(true)?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Serves until dropped.
pub(crate) async fn run(listener: Option<TcpListener>, host: HostHandle) -> Infallible {
    let Some(listener) = listener else { return pending().await };
    match listener.local_addr() {
        Ok(address) => connections::serve(listener, router(Desk { address, host, links: Arc::default() })).await,
        Err(error) => {
            tracing::error!(%error, "the settings cannot be served");
            pending().await
        }
    }
}

fn router(desk: Desk) -> Router {
    let api = Router::new()
        .route("/settings/relay", get(relay::show).put(relay::change))
        .route("/settings/relay/status", get(relay::status))
        .route("/onboarding/qr", post(onboarding::qr))
        .route("/onboarding/deep-link", post(onboarding::deep_link))
        .route("/onboarding/validate", post(onboarding::validate))
        .route("/onboarding/{id}", get(onboarding::show).delete(onboarding::cancel))
        .route("/onboarding/{id}/answer", post(onboarding::answer))
        .route("/devices", get(devices::list))
        .route("/devices/{id}", patch(devices::rename))
        .route("/devices/{id}", delete(devices::revoke))
        .route("/devices/{id}/grant", get(devices::grant).put(devices::set_grant).delete(devices::lift_grant))
        .route("/guests", get(devices::guests))
        .route("/guests/{id}", delete(devices::end_guest))
        .route("/audit", get(trail::list))
        .route("/audit/events", get(trail::follow))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(desk.clone(), guard::authorise));
    page::router()
        .nest("/api", api)
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(from_fn_with_state(desk.clone(), guard::same_site))
        .layer(from_fn(page::headers))
        .with_state(desk)
}
