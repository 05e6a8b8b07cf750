//! The connections of the settings: so many, and each with a time for what it asks. Whoever shares this machine could else take
//! all of the host's descriptors.

use core::convert::Infallible;
use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Connections at once; who comes while there are as many waits for a place.
const CONNECTIONS: usize = 128;
/// How long a request's head may take, and a connection wait for its next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a head. Browsers send the cookies of all that runs on this machine.
const MAX_HEAD: usize = 64 << 10;
/// The pause where there is no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until dropped, and ends all connections then.
pub(super) async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        // It is never closed.
        let place = places.clone().acquire_owned().await;
        while tasks.try_join_next().is_some() {}
        let Ok((tcp, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tasks.spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
            if let Err(error) = builder.serve_connection(TokioIo::new(tcp), service).await {
                tracing::debug!(%error, "a connection to the settings ended early");
            }
            drop(place);
        });
    }
}
