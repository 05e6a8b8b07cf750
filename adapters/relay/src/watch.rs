//! The listener for those who watch over the relay: `/metrics`, `/healthz`, `/readyz` and a page, on an address of its own.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use crate::directory::Standing;
use crate::http::{Answer, Never, plain};
use crate::metrics::OPEN_METRICS;
use crate::runtime::{Runtime, Timer, timeout};
use crate::server::Shared;

/// Connections at once.
const CONNECTIONS: usize = 32;
/// How long each may live.
const LIFE: Duration = Duration::from_secs(30);

/// Answers for ever.
pub(crate) async fn run<R: Runtime>(listener: Option<R::Listener>, shared: Arc<Shared>) {
    let Some(listener) = listener else { return core::future::pending().await };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Who comes while all places are taken waits for one.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((tcp, _)) = R::next(&listener).await else {
            R::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let watched = shared.clone();
        R::spawn(async move {
            let _ = timeout::<R, _>(LIFE, serve::<R>(tcp, &watched)).await;
            drop(place);
        });
    }
}

async fn serve<R: Runtime>(tcp: R::Tcp, shared: &Shared) {
    let Ok(io) = R::accept(tcp, None).await else { return };
    let service = service_fn(|request| async move { Ok::<_, Never>(answer(shared, &request)) });
    let served = http1::Builder::new().timer(Timer::<R>::new()).serve_connection(TokioIo::new(io), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a watcher's connection ended early");
    }
}

fn answer<B>(shared: &Shared, request: &Request<B>) -> Answer {
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/metrics" => typed(OPEN_METRICS, shared.snapshot().emit()),
        "/" => typed("text/html; charset=utf-8", shared.snapshot().page()),
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" => ready(shared),
        _ => plain(StatusCode::NOT_FOUND, "here are /, /metrics, /healthz and /readyz\n"),
    }
}

/// Whether the relay takes new links, and passes on what they say.
pub(crate) fn ready(shared: &Shared) -> Answer {
    match shared.hub.ready() {
        Ok(()) => match shared.hub.directory().map(|directory| directory.standing) {
            None | Some(Standing::Holding) => plain(StatusCode::OK, "ready\n"),
            // What is here is served all the same.
            Some(Standing::Cut) => plain(StatusCode::OK, "ready\nwarning: the directory cannot be reached\n"),
            Some(Standing::Withdrawn) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "not ready: it cannot prove that its routes are its own\n")
            }
        },
        Err(why) => {
            let mut answer = Response::new(Full::from(format!("not ready: {why}\n")));
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
    }
}

fn typed(kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::from(Bytes::from(text)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
