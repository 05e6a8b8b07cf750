//! Services that run in the test: an HTTP service that tells what happened to its handlers, and raw ones.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Barrier, mpsc};

use super::within;

/// Bytes of a piece of [`content`].
const PIECE: u64 = 64 * 1024;

/// What every piece is made from: copying is cheap where a gigabyte is wanted.
static SEED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u64;
    let words = (0..PIECE / 8).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    });
    words.collect()
});

/// The `len` bytes that `/bytes/{len}` answers, no two pieces alike.
pub fn content(len: u64) -> impl Iterator<Item = Bytes> + Send {
    (0..len.div_ceil(PIECE)).map(move |index| {
        let mut piece = SEED.clone();
        piece[..8].copy_from_slice(&index.to_le_bytes());
        piece.truncate((len - index * PIECE).min(PIECE) as usize);
        piece.into()
    })
}

/// The hash of [`content`], in hex.
pub fn content_hash(len: u64) -> String {
    let mut hash = Sha256::new();
    content(len).for_each(|piece| hash.update(&piece));
    hex(&hash.finalize())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The HTTP service, and what it saw.
pub struct Site {
    pub address: SocketAddr,
    pub saw: mpsc::UnboundedReceiver<String>,
}

impl Site {
    pub async fn start() -> Self {
        let (router, saw) = router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, saw }
    }

    /// As hosts name it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next thing that happened in a handler.
    pub async fn next(&mut self) -> String {
        within(self.saw.recv()).await.expect("the service runs")
    }
}

/// The same on a Unix socket.
pub fn site_at(path: &std::path::Path) {
    let (router, _) = router();
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
}

#[derive(Clone)]
struct Seen {
    saw: mpsc::UnboundedSender<String>,
    crowd: Arc<Barrier>,
}

impl Seen {
    fn say(&self, what: &str) {
        let _ = self.saw.send(what.to_owned()); // a test that does not listen
    }
}

/// Says its word when dropped.
struct Bell(&'static str, Seen);

impl Drop for Bell {
    fn drop(&mut self) {
        self.1.say(self.0);
    }
}

/// How many requests `/meet/{n}` waits for.
pub const CROWD: usize = 200;

fn router() -> (Router, mpsc::UnboundedReceiver<String>) {
    let (saw, seen) = mpsc::unbounded_channel();
    let router = Router::new()
        .route("/bytes/{len}", get(bytes))
        .route("/hash", post(hash))
        .route("/show", any(show))
        .route("/meet/{number}", get(meet))
        .route("/hang", any(hang))
        .route("/flood", get(flood))
        .route("/take", post(take))
        .route("/events/{gaps}", get(events))
        .route("/ws", get(echo))
        .route("/file", get(file))
        .route("/moved", get(async || (StatusCode::FOUND, [(header::LOCATION, "/show?moved")])))
        .route(
            "/cookies",
            get(async || {
                let mut answer = "two cookies".into_response();
                answer.headers_mut().append("set-cookie", "a=1; Path=/; HttpOnly".parse().unwrap());
                answer
                    .headers_mut()
                    .append("set-cookie", "b=2; Expires=Wed, 21 Oct 2065 07:28:00 GMT".parse().unwrap());
                answer
            }),
        )
        .route("/zipped", get(async || ([("content-encoding", "gzip"), ("vary", "accept-encoding")], ZIPPED)))
        .with_state(Seen { saw, crowd: Arc::new(Barrier::new(CROWD)) });
    (router, seen)
}

/// [`unzipped`], compressed.
const ZIPPED: &[u8] =
    &[31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 87, 200, 160, 59, 9, 0, 47, 250, 248, 72, 120, 0, 0, 0];

/// What `/zipped` is.
pub fn unzipped() -> String {
    "hello ".repeat(20)
}

async fn bytes(Path(len): Path<u64>) -> impl IntoResponse {
    let pieces = stream::iter(content(len).map(Ok::<_, Infallible>));
    ([(header::CONTENT_LENGTH, len.to_string())], Body::from_stream(pieces))
}

async fn hash(body: Body) -> Response {
    let (mut body, mut hash, mut len) = (body.into_data_stream(), Sha256::new(), 0);
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else { return StatusCode::BAD_REQUEST.into_response() };
        hash.update(&piece);
        len += piece.len();
    }
    format!("{len} {}", hex(&hash.finalize())).into_response()
}

/// The request as it came, headers sorted by their arrival.
async fn show(request: Request) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

/// Answers when [`CROWD`] requests are here at once.
async fn meet(State(seen): State<Seen>, Path(number): Path<usize>) -> String {
    seen.crowd.wait().await;
    format!("you are {number}")
}

async fn hang(State(seen): State<Seen>) {
    seen.say("hang began");
    let _bell = Bell("hang dropped", seen);
    core::future::pending().await
}

async fn flood(State(seen): State<Seen>) -> Body {
    let bell = Bell("flood dropped", seen);
    let pieces = stream::iter(content(u64::MAX)).map(move |piece| {
        let _ = &bell;
        Ok::<_, Infallible>(piece)
    });
    Body::from_stream(pieces)
}

/// Reads an upload and tells how it ended.
async fn take(State(seen): State<Seen>, body: Body) -> &'static str {
    let bell = Bell("take dropped", seen.clone());
    let mut body = body.into_data_stream();
    let mut end = "take complete";
    while let Some(piece) = body.next().await {
        match piece {
            Ok(_) => seen.say("take piece"),
            Err(_) => end = "take broken",
        }
    }
    drop(bell);
    seen.say(end);
    "taken"
}

/// An event at once, then one after each gap of so many milliseconds; then nothing, for ever.
async fn events(State(seen): State<Seen>, Path(gaps): Path<String>) -> impl IntoResponse {
    let gaps: Vec<u64> = gaps.split(',').map(|gap| gap.parse().unwrap()).collect();
    let bell = Bell("events dropped", seen);
    let feed = stream::unfold((0, bell), move |(number, bell)| {
        let gap = if number == 0 { Some(0) } else { gaps.get(number - 1).copied() };
        async move {
            match gap {
                Some(gap) => tokio::time::sleep(Duration::from_millis(gap)).await,
                None => core::future::pending().await,
            }
            Some((Ok::<_, Infallible>(Event::default().data(number.to_string())), (number + 1, bell)))
        }
    });
    Sse::new(feed)
}

/// Says back what it hears, and closes when told to.
async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let message = match message {
                // Answered by reading on.
                Message::Close(_) => continue,
                Message::Text(text) if text == "close" => {
                    Message::Close(Some(CloseFrame { code: 4001, reason: "as asked".into() }))
                }
                other => other,
            };
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

/// A hundred bytes with a tag, for ranges and conditions.
async fn file(headers: HeaderMap) -> Response {
    let text: String = (0..100).map(|i| char::from(b'a' + i % 26)).collect();
    let tag = [(header::ETAG, "\"v1\""), (header::ACCEPT_RANGES, "bytes")];
    let header = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if header(header::IF_NONE_MATCH) == Some("\"v1\"") {
        return (StatusCode::NOT_MODIFIED, tag).into_response();
    }
    let range = header(header::RANGE).and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    match range {
        Some((first, last)) => {
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let range = [(header::CONTENT_RANGE, format!("bytes {first}-{last}/100"))];
            (StatusCode::PARTIAL_CONTENT, tag, range, text[first..=last].to_owned()).into_response()
        }
        None => (tag, text).into_response(),
    }
}

/// A raw service that says back what it hears, and ends when it has heard the end.
pub async fn echo_service() -> SocketAddr {
    raw(|mut tcp| async move {
        let (mut read, mut write) = tcp.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

/// The same on a Unix socket.
pub fn echo_service_at(path: &std::path::Path) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.into_split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
}

/// A service that hears one request head, answers byte for byte and closes.
pub async fn canned(answer: &'static [u8]) -> SocketAddr {
    raw(move |mut tcp| async move {
        read_head(&mut tcp).await;
        let _ = tcp.write_all(answer).await;
    })
    .await
}

/// A raw service of any kind.
pub async fn raw<F>(serve: impl Fn(TcpStream) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    address
}

/// A raw service whose connections the test handles itself.
pub async fn acceptor() -> (SocketAddr, mpsc::UnboundedReceiver<TcpStream>) {
    let (accepted, sockets) = mpsc::unbounded_channel();
    let address = raw(move |tcp| {
        let _ = accepted.send(tcp);
        core::future::ready(())
    })
    .await;
    (address, sockets)
}

/// Reads a head byte by byte, so that nothing behind it is lost.
pub async fn read_head(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
