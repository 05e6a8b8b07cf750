//! What runs when a grant ends.

use super::*;
use crate::support::service::{Site, echo_service};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A raw stream, an answer under way and a WebSocket.
struct Uses {
    raw: TcpStream,
    feed: Http,
    socket: Http,
}

impl Uses {
    async fn begin(web: &Forward, tcp: &Forward) -> Self {
        let mut raw = within(TcpStream::connect(tcp.address)).await.unwrap();
        raw.write_all(b"x").await.unwrap();
        within(raw.read_u8()).await.unwrap();
        let mut feed = Http::to(web.address).await;
        assert_eq!(feed.get("/events/1").await.status, 200);
        while feed.line().await.unwrap() != "data: 1" {}
        let (socket, head) = upgrade(web).await;
        assert_eq!(head.status, 101);
        Self { raw, feed, socket }
    }

    /// Waits until all of them have ended, none as if it were complete.
    async fn end(mut self) {
        assert!(within(self.raw.read_u8()).await.is_err());
        assert!(self.feed.rest().await.1.is_err(), "an answer that was cut looks complete");
        assert!(self.socket.rest().await.1.is_err());
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_cut_when_the_grant_expires_or_shrinks() {
    let mut site = Site::start().await;
    let raw = echo_service().await;
    let world = World::start(&[("web", site.url()), ("raw", format!("tcp://{raw}"))]).await;
    let device = world.pair().await;
    let host = world.host_data();
    let (web, tcp) = (device.forward("web").await, device.forward("raw").await);
    let idle = async || {
        let mut http = Http::to(web.address).await;
        let head = http.get("/show").await;
        http.body(&head).await;
        http
    };

    // Less is granted while it runs: what is still granted goes on.
    let mut uses = Uses::begin(&web, &tcp).await;
    grant(&host, &device, &["--grant", "raw", "--grant", "web:GET"]).await;
    uses.raw.write_all(b"y").await.unwrap();
    assert_eq!(within(uses.raw.read_u8()).await.unwrap(), b'y');
    let mut kept = idle().await;
    grant(&host, &device, &["--grant", "web::/show"]).await;
    uses.end().await;
    assert_eq!(site.next().await, "events dropped");
    assert_eq!(kept.get("/show").await.status, 200, "what was idle is not cut");

    // Then its time is over.
    let set = grant(&host, &device, &["--for", "3s"]).await;
    let end = set["grant"]["expires_at"].as_f64().unwrap();
    let uses = Uses::begin(&web, &tcp).await;
    let mut kept = idle().await;
    assert!(now() < end, "this machine is too slow for this test");
    uses.end().await;
    let late = now() - end;
    assert!((0.0..3.0).contains(&late), "cut {late} s after the end");
    let head = kept.get("/show").await;
    assert_eq!(head.status, 403, "{}", head.text);
    let (code, text) = status(&web, "/show", &[]).await;
    assert!(code == 403 && text.contains("expired"), "{code} {text}");
    assert!(!echoes(&device, "raw").await);
    assert!(trail(&host, "refused").await.iter().any(|entry| entry["reason"] == "grant expired"));
    let (code, said) = connect(&device, "raw").await;
    assert_eq!(code, 4, "{said}");

    grant(&host, &device, &["--for", "1h"]).await;
    assert_eq!(status(&web, "/show", &[]).await.0, 200);
    assert!(echoes(&device, "raw").await);
}
