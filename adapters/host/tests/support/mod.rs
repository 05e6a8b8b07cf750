//! A real service, and clients that say exactly what they are told to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared, and each test file uses its part")]

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::{StreamExt, stream};
use homing_host::service::{Caller, Service, ServiceError, serve};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const DEVICE: &str = "00112233445566778899aabbccddeeff";

pub fn caller() -> Caller {
    Caller { device_id: DEVICE.into(), device_name: "Zoë's phone".into() }
}

/// What the service saw: requests begun, and handlers or bodies dropped before their end.
#[derive(Clone)]
pub struct Seen {
    pub requests: Arc<AtomicUsize>,
    gone: mpsc::UnboundedSender<&'static str>,
}

pub struct Site {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    pub gone: mpsc::UnboundedReceiver<&'static str>,
}

/// Sends its word when dropped.
struct Bell(&'static str, mpsc::UnboundedSender<&'static str>);
impl Drop for Bell {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

pub fn pattern(offset: u64, len: usize) -> Bytes {
    (offset..offset + len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 11) as u8).collect()
}

pub fn hash(chunks: impl Iterator<Item = Bytes>) -> String {
    let mut hash = Sha256::new();
    chunks.for_each(|chunk| hash.update(&chunk));
    hex(&hash.finalize())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn chunks(total: u64) -> impl Iterator<Item = Bytes> + Send {
    (0..total.div_ceil(50_000)).map(move |i| pattern(i * 50_000, 50_000.min(total - i * 50_000) as usize))
}

async fn show(request: Request) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

async fn count_and_hash(body: Body) -> Response {
    let (mut body, mut hash, mut len) = (body.into_data_stream(), Sha256::new(), 0);
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else { return http::StatusCode::BAD_REQUEST.into_response() };
        hash.update(&chunk);
        len += chunk.len();
    }
    format!("{len} {}", hex(&hash.finalize())).into_response()
}

async fn take_some(State(seen): State<Seen>, body: Body) -> &'static str {
    let _bell = Bell("upload", seen.gone.clone());
    let mut body = body.into_data_stream();
    let _ = seen.gone.send("upload began");
    while let Some(Ok(_)) = body.next().await {}
    "done"
}

async fn wait_for_ever(State(seen): State<Seen>) {
    let _bell = Bell("handler", seen.gone.clone());
    core::future::pending().await
}

async fn events(State(seen): State<Seen>) -> impl IntoResponse {
    let bell = Bell("events", seen.gone.clone());
    let first = stream::once(async { Ok::<_, core::convert::Infallible>(Event::default().data("first")) });
    Sse::new(first.chain(stream::once(async move {
        let _bell = bell;
        core::future::pending().await
    })))
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let _ = socket.send(message).await;
        }
    })
}

async fn flood(State(seen): State<Seen>) -> Response {
    let bell = Bell("flood", seen.gone.clone());
    let chunk = pattern(0, 50_000);
    Body::from_stream(stream::repeat_with(move || {
        let _ = &bell;
        Ok::<_, std::io::Error>(chunk.clone())
    }))
    .into_response()
}

pub fn router() -> (Router, Arc<AtomicUsize>, mpsc::UnboundedReceiver<&'static str>) {
    let (gone, rings) = mpsc::unbounded_channel();
    let seen = Seen { requests: Arc::default(), gone };
    let requests = seen.requests.clone();
    let count = seen.requests.clone();
    let router = Router::new()
        .route("/show", any(show))
        .route("/hash", post(count_and_hash).put(count_and_hash))
        .route("/take", post(take_some))
        .route("/hang", any(wait_for_ever))
        .route("/events", get(events))
        .route("/flood", get(flood))
        .route("/echo", get(echo))
        .route(
            "/bytes/{n}",
            get(async |Path(n): Path<u64>| Body::from_stream(stream::iter(chunks(n).map(Ok::<_, std::io::Error>)))),
        )
        .route(
            "/rich",
            get(async || {
                let headers = [
                    ("set-cookie", "a=1; Path=/"),
                    ("set-cookie", "b=2"),
                    ("etag", "\"v1\""),
                    ("content-encoding", "gzip"),
                    ("location", "http://elsewhere.example/x"),
                    ("keep-alive", "timeout=5"),
                    ("connection", "x-secret-hop"),
                    ("x-secret-hop", "1"),
                    ("proxy-authenticate", "Basic"),
                ];
                let mut answer = Response::new(Body::from("not really gzip"));
                *answer.status_mut() = http::StatusCode::FOUND;
                for (name, value) in headers {
                    answer.headers_mut().append(name, value.parse().unwrap());
                }
                answer
            }),
        )
        .layer(axum::middleware::from_fn(move |request: Request, next: axum::middleware::Next| {
            count.fetch_add(1, Ordering::SeqCst);
            next.run(request)
        }))
        .with_state(seen);
    (router, requests, rings)
}

/// The real service over real TCP.
pub async fn site() -> Site {
    let (router, requests, gone) = router();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Site { address, requests, gone }
}

/// A service that reads one request head and then says `answer`, byte for byte, and closes.
pub async fn canned(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                read_head(&mut tcp).await;
                tcp.write_all(answer).await.unwrap();
            });
        }
    });
    address
}

pub fn service(url: impl core::fmt::Display) -> Arc<Service> {
    Arc::new(Service::new(format!("web={url}").parse().unwrap()).unwrap())
}

pub type Served = JoinHandle<Result<(), ServiceError>>;

/// A stream of a device with the service at its other end.
pub fn stream_to(service: &Arc<Service>) -> (tokio::io::DuplexStream, Served) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let service = service.clone();
    (near, tokio::spawn(async move { serve(far, &service, &caller()).await }))
}

/// The same as a TCP address, for clients that are programs.
pub async fn front(service: &Arc<Service>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move { serve(tcp, &service, &caller()).await });
        }
    });
    address
}

/// Reads a head byte by byte, so that nothing after it is lost.
pub async fn read_head(io: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match within(io.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Sends `request` on a stream of its own and reads to the end.
pub async fn ask(service: &Arc<Service>, request: &str) -> String {
    let (mut near, _served) = stream_to(service);
    near.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(near.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

pub async fn curl(arguments: &[&str]) -> (String, bool) {
    let run = tokio::process::Command::new("curl").args(["-sS", "--max-time", "60"]).args(arguments).output();
    let output = run.await.expect("curl is installed");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// A service that accepts and hands out the sockets.
pub async fn acceptor() -> (SocketAddr, mpsc::UnboundedReceiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, sockets) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if accepted.send(tcp).is_err() {
                return;
            }
        }
    });
    (address, sockets)
}
