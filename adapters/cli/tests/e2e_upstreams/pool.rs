//! How many connections a service has, and for how long.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::support::client::Http;
use crate::support::service::{Site, raw};
use crate::support::{in_time, within};

#[derive(Default)]
struct Gauge {
    open: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
}

/// A service that takes its time for each request, and counts its connections.
async fn slow_site(gauge: Arc<Gauge>) -> core::net::SocketAddr {
    raw(move |mut tcp| {
        let gauge = gauge.clone();
        async move {
            gauge.opened.fetch_add(1, Ordering::SeqCst);
            let open = gauge.open.fetch_add(1, Ordering::SeqCst) + 1;
            gauge.most.fetch_max(open, Ordering::SeqCst);
            let (mut head, mut byte) = (Vec::new(), [0]);
            while matches!(tcp.read(&mut byte).await, Ok(1)) {
                head.push(byte[0]);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            }
            gauge.open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_shared_and_never_more_than_allowed() {
    let gauge = Arc::new(Gauge::default());
    let address = slow_site(gauge.clone()).await;
    let world = World::start(&[]).await;
    configure(&world, &format!("[services.web]\nurl = 'http://{address}'\nmax_connections = 3\nidle_seconds = 1\n"))
        .await;
    let device = world.pair().await;
    let web = device.forward("web").await;
    let crowd: Vec<_> = (0..60)
        .map(|_| {
            let address = web.address;
            tokio::spawn(async move { Http::to(address).await.get("/").await.status })
        })
        .collect();
    for one in crowd {
        assert_eq!(within(one).await.unwrap(), 200);
    }
    assert_eq!((gauge.most.load(Ordering::SeqCst), gauge.opened.load(Ordering::SeqCst)), (3, 3));
    // Idle ones are not kept for longer than was said.
    support::until("idle connections are closed", support::PATIENCE, || gauge.open.load(Ordering::SeqCst) == 0).await;

    configure(&world, &format!("[services.web]\nurl = 'http://{address}'\nidle_connections = 0\n")).await;
    let mut http = Http::to(web.address).await;
    for _ in 0..3 {
        let head = http.get("/").await;
        http.body(&head).await;
    }
    assert_eq!(gauge.opened.load(Ordering::SeqCst), 6, "none is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_a_moment_for_a_connection_and_then_is_told_to_come_again() {
    let mut site = Site::start().await;
    let world = World::start(&[]).await;
    configure(&world, &format!("[services.web]\nurl = '{}'\nmax_connections = 1\n", site.url())).await;
    let device = world.pair().await;
    let web = device.forward("web").await;
    let mut busy = Http::to(web.address).await;
    busy.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(site.next().await, "hang began");
    let (mut http, asked) = (Http::to(web.address).await, Instant::now());
    let head = in_time(Duration::from_secs(10), http.get("/show")).await;
    http.body(&head).await;
    assert_eq!((head.status, head.all("retry-after")), (503, vec!["1"]), "{}", head.text);
    assert!(asked.elapsed() >= Duration::from_secs(1), "it waited");
    // One that becomes free in time is used.
    let waiting = tokio::spawn(async move { http.get("/show").await.status });
    drop(busy);
    assert_eq!(site.next().await, "hang dropped");
    assert_eq!(within(waiting).await.unwrap(), 200);
    // A WebSocket has its connection for as long as it lasts.
    let mut socket = Http::to(web.address).await;
    socket
        .send(
            "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(socket.head().await.status, 101);
    assert_eq!(status(&web, "/show", &[]).await.0, 503);
    drop(socket);
    within(async { while status(&web, "/show", &[]).await.0 != 200 {} }).await;
}
