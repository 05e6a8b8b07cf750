//! Transfers that end before their time: whoever goes is missed, and a part never looks like the whole.

use core::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{Http, curl};
use crate::support::service::{Site, acceptor, canned, read_head};
use crate::support::{World, in_time, within};

/// How long an abort may take to reach the other end.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_cancels_its_request_at_the_service() {
    let mut site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let forward = world.pair().await.forward("web").await;

    let mut http = Http::to(forward.address).await;
    http.get("/flood").await;
    let mut some = vec![0; 300_000];
    within(http.read.read_exact(&mut some)).await.unwrap();
    drop(http);
    assert_eq!(in_time(SOON, site.next()).await, "flood dropped");

    let mut http = Http::to(forward.address).await;
    http.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(site.next().await, "hang began");
    drop(http);
    assert_eq!(in_time(SOON, site.next()).await, "hang dropped");

    let mut http = Http::to(forward.address).await;
    http.send("POST /take HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nthe beginning").await;
    assert_eq!(site.next().await, "take piece");
    drop(http);
    let mut end = in_time(SOON, site.next()).await;
    while end == "take piece" {
        end = in_time(SOON, site.next()).await;
    }
    assert_eq!(end, "take dropped");
    if let Ok(Some(more)) = tokio::time::timeout(Duration::from_millis(200), site.saw.recv()).await {
        assert_eq!(more, "take broken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_breaks_off_leaves_no_answer_that_looks_whole() {
    let (address, mut sockets) = acceptor().await;
    let world = World::start(&[("web", format!("http://{address}"))]).await;
    let forward = world.pair().await.forward("web").await;
    for (answer, reset) in [
        // A close in the middle of what was announced.
        ("Content-Length: 100\r\n\r\nshort", false),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", false),
        // A reset where only a close would have been the end.
        ("Connection: close\r\n\r\nshort", true),
    ] {
        let mut client = Http::to(forward.address).await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let mut service = within(sockets.recv()).await.unwrap();
        read_head(&mut service).await;
        service.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.unwrap();
        assert_eq!(client.head().await.status, 200);
        let mut part = Vec::new();
        while !part.ends_with(b"short") {
            part.push(within(client.read.read_u8()).await.unwrap());
        }
        if reset {
            service.set_zero_linger().unwrap();
        }
        drop(service);
        let (rest, end) = client.rest().await;
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "{answer:?}");
        assert!(rest.is_empty() || rest == b"\r\n", "{answer:?} goes on with {rest:?}");
    }

    // The same for a client that knows HTTP. 18: partial file, 56: failure in receiving.
    let announced = canned(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await;
    let world = World::start(&[("web", format!("http://{announced}"))]).await;
    let broken = curl(&[&world.pair().await.forward("web").await.url("/")]).await;
    assert!([18, 56].contains(&broken.code), "{broken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raw_connection_that_is_reset_is_reset_at_the_other_end() {
    let (address, mut sockets) = acceptor().await;
    let world = World::start(&[("raw", format!("tcp://{address}"))]).await;
    let forward = world.pair().await.forward("raw").await;

    let mut client = TcpStream::connect(forward.address).await.unwrap();
    let mut service = within(sockets.recv()).await.unwrap();
    service.write_all(b"part").await.unwrap();
    let mut part = [0; 4];
    within(client.read_exact(&mut part)).await.unwrap();
    service.set_zero_linger().unwrap();
    drop(service);
    let end = in_time(SOON, client.read_u8()).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "a service's reset");

    let mut client = TcpStream::connect(forward.address).await.unwrap();
    client.write_all(b"part").await.unwrap();
    let mut service = within(sockets.recv()).await.unwrap();
    within(service.read_exact(&mut part)).await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    let end = in_time(SOON, service.read_u8()).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "a client's reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_way_is_cut_for_too_long_ends_with_an_error_at_both_ends() {
    let victims = ["device", "host", "relay"];
    for (victim, signal) in victims.into_iter().flat_map(|victim| ["KILL", "TERM"].map(|signal| (victim, signal))) {
        let (address, mut sockets) = acceptor().await;
        let mut world = World::start(&[("raw", format!("tcp://{address}"))]).await;
        world.keep(1).await;
        let device = world.pair().await;
        device.keep(1);
        let forward = device.forward("raw").await;
        let mut client = TcpStream::connect(forward.address).await.unwrap();
        let mut service = within(sockets.recv()).await.unwrap();
        service.write_all(b"part").await.unwrap();
        let mut part = [0; 4];
        within(client.read_exact(&mut part)).await.unwrap();
        client.write_all(b"part").await.unwrap();
        within(service.read_exact(&mut part)).await.unwrap();
        match victim {
            "device" => forward.process.signal(signal),
            "host" => world.host.signal(signal),
            _ => world.relay.signal(signal),
        }
        for (end, socket) in [("client", &mut client), ("service", &mut service)] {
            let kind = within(socket.read_u8()).await.map_err(|error| error.kind());
            assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset), "the {end}, after {signal} for the {victim}");
        }
    }
}
