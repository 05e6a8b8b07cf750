//! The demo's sample service: a page with a live load graph, an echo and a speed test, to see and measure a tunnel by.
//! It is an ordinary HTTP service and knows nothing of tunnels but two headers.
//!
//! `GET /download?bytes=N` streams N bytes that anyone can compute: byte `i` is byte `i % 8`, little-endian, of
//! `mix(i / 8)`, where `mix` is the output function of SplitMix64 (wrapping arithmetic):
//!
//! ```text
//! mix(n): z = (n + 1) * 0x9E3779B97F4A7C15
//!         z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
//!         z = (z ^ (z >> 27)) * 0x94D049BB133111EB
//!         z ^ (z >> 31)
//! ```
//!
//! `GET /sha256?bytes=N` says what those bytes hash to, so `curl …/download?bytes=N | sha256sum` has something to be
//! compared with. `POST /upload` says length and hash of what arrived.

use core::convert::Infallible;
use core::fmt::Write as _;
use core::time::Duration;
use std::io;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use futures_util::{Stream, StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::time::Instant;

const PAGE: &str = include_str!("sample.html");
const DEFAULT_BYTES: u64 = 100 << 20;
const MAX_BYTES: u64 = 10 << 30;
const CHUNK: u64 = 64 * 1024;
const MAX_MESSAGE: usize = 1 << 20;

/// Serves the sample until the future is dropped.
///
/// # Errors
///
/// When the listener fails for good.
pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    // Without this an event waits for the acknowledgement of the one before.
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true); // slower, not wrong
    });
    axum::serve(listener, router()).await
}

/// The sample as a router.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(page))
        .route("/load", get(load))
        .route("/echo", get(echo))
        .route("/download", get(download))
        .route("/sha256", get(sha256))
        .route("/upload", post(upload))
}

/// What `/download?bytes=N` hashes to, in hex.
#[cfg_attr(not(test), allow(dead_code, reason = "for tests and measurements that check a whole download"))]
pub(crate) fn expected_sha256(bytes: u64) -> String {
    let mut hash = Sha256::new();
    chunks(bytes).for_each(|chunk| hash.update(&chunk));
    hex(&hash.finalize())
}

async fn page(headers: HeaderMap) -> Response {
    let caller = match headers.get("homing-device-name") {
        Some(name) => format!("You are <b>{}</b>, and came through the tunnel.", escape(&unescape(name.as_bytes()))),
        None => "You came straight here, not through the tunnel.".to_owned(),
    };
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  connect-src 'self' ws: wss:; img-src data:";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, PAGE.replacen("{{caller}}", &caller, 1)).into_response()
}

async fn load() -> impl IntoResponse {
    let reports = stream::unfold((Instant::now(), None), async |(next, before)| {
        tokio::time::sleep_until(next).await;
        let now = Times::read().await;
        let report = report(before, now).await;
        let event = Event::default().data(report);
        Some((Ok::<_, Infallible>(event), (next + Duration::from_secs(1), now)))
    });
    ([("x-accel-buffering", "no")], Sse::new(reports).keep_alive(KeepAlive::default()))
}

/// Processor time since boot, in ticks.
#[derive(Clone, Copy)]
struct Times {
    busy: u64,
    all: u64,
}

impl Times {
    async fn read() -> Option<Self> {
        let text = read_proc("stat").await?;
        let ticks: Vec<u64> = text.lines().next()?.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        let all = ticks.iter().sum();
        // user nice system idle iowait irq softirq steal
        Some(Self { all, busy: all - ticks.get(3)? - ticks.get(4)? })
    }
}

/// One report as JSON; what this system does not tell is null.
async fn report(before: Option<Times>, now: Option<Times>) -> String {
    let cpu = match (before, now) {
        (Some(before), Some(now)) if now.all > before.all => {
            let busy = now.busy.saturating_sub(before.busy) as f64;
            format!("{:.1}", 100.0 * busy / (now.all - before.all) as f64)
        }
        _ => "null".to_owned(),
    };
    let memory = read_proc("meminfo").await.unwrap_or_default();
    let bytes = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let (total, used) = match (bytes("MemTotal:"), bytes("MemAvailable:")) {
        (Some(total), Some(free)) => (total.to_string(), total.saturating_sub(free).to_string()),
        _ => ("null".to_owned(), "null".to_owned()),
    };
    let average = read_proc("loadavg").await.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let average = average.map_or("null".to_owned(), |average| average.to_string());
    format!(r#"{{"cpu_percent":{cpu},"load_average":{average},"memory_used":{used},"memory_total":{total}}}"#)
}

async fn read_proc(name: &str) -> Option<String> {
    // Made up by the kernel in memory: reading never waits for a disk.
    std::fs::read_to_string(format!("/proc/{name}")).ok()
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(MAX_MESSAGE).on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let back = matches!(message, Message::Text(_) | Message::Binary(_));
            if back && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

async fn download(RawQuery(query): RawQuery) -> Response {
    let bytes = match wanted(query.as_deref()) {
        Ok(bytes) => bytes,
        Err(refused) => return refused.into_response(),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"homing-{bytes}.bin\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Body::from_stream(stream::iter(chunks(bytes).map(Ok::<_, Infallible>)))).into_response()
}

async fn sha256(RawQuery(query): RawQuery) -> Response {
    let bytes = match wanted(query.as_deref()) {
        Ok(bytes) => bytes,
        Err(refused) => return refused.into_response(),
    };
    // Computed while others are served, and only as long as somebody waits for it.
    let mut hash = Sha256::new();
    for chunk in chunks(bytes) {
        hash.update(&chunk);
        tokio::task::yield_now().await;
    }
    (hex(&hash.finalize()) + "\n").into_response()
}

fn wanted(query: Option<&str>) -> Result<u64, (StatusCode, String)> {
    let text = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("bytes="));
    let bytes = text.map_or(Ok(DEFAULT_BYTES), str::parse);
    bytes.ok().filter(|bytes| *bytes <= MAX_BYTES).ok_or_else(|| {
        let text = format!("bytes is a number up to {MAX_BYTES}, such as ?bytes={DEFAULT_BYTES}\n");
        (StatusCode::BAD_REQUEST, text)
    })
}

async fn upload(body: Body) -> Response {
    match count(body.into_data_stream()).await {
        Ok((bytes, hash)) => {
            let json = format!("{{\"bytes\":{bytes},\"sha256\":\"{hash}\"}}\n");
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(), // the sender has gone and will not read it
    }
}

async fn count<E>(mut body: impl Stream<Item = Result<Bytes, E>> + Unpin) -> Result<(u64, String), E> {
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(chunk) = body.next().await.transpose()? {
        bytes += chunk.len() as u64;
        hash.update(&chunk);
    }
    Ok((bytes, hex(&hash.finalize())))
}

/// The download's bytes, piece by piece.
fn chunks(bytes: u64) -> impl Iterator<Item = Bytes> + Send {
    (0..bytes.div_ceil(CHUNK)).map(move |index| {
        let mut chunk = Vec::with_capacity(CHUNK as usize);
        for word in index * CHUNK / 8..(index + 1) * CHUNK / 8 {
            chunk.extend_from_slice(&mix(word).to_le_bytes());
        }
        chunk.truncate((bytes - index * CHUNK).min(CHUNK) as usize);
        chunk.into()
    })
}

const fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
        text
    })
}

/// Undoes percent-encoding; what is not encoded right stays as it is.
fn unescape(text: &[u8]) -> String {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let (mut plain, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Makes text harmless in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
