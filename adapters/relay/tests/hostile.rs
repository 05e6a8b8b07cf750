//! Peers that break the rules: each gets its answer, and the relay goes on.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use homing_core::hop::{DATA, EARLY_CREDIT};
use homing_relay::RelayConfig;
use support::{Host, Running, Said, open, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn get(path: &str, host: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").into_bytes()
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn status(relay: &Running, request: &[u8]) -> u16 {
    let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
    tcp.write_all(request).await.unwrap();
    let mut line = [0; 12];
    soon("an answer", tcp.read_exact(&mut line)).await.unwrap();
    String::from_utf8_lossy(&line[9..]).parse().unwrap()
}

#[tokio::test]
async fn http_is_answered_in_kind() {
    let relay = Running::start(RelayConfig { names: vec!["relay.test".into()], ..open() }).await;
    assert_eq!(status(&relay, &get("/healthz", "any", "")).await, 200);
    assert_eq!(status(&relay, &get("/version", "any", "")).await, 200);
    assert_eq!(status(&relay, &get("/", "any", "")).await, 404);
    assert_eq!(status(&relay, &get("/homing/1", "relay.test", "")).await, 426);
    assert_eq!(status(&relay, &get("/homing/1", "relay.test", UPGRADE)).await, 101);
    assert_eq!(status(&relay, &get("/homing/1", "other.test", UPGRADE)).await, 421);
    let other = UPGRADE.replace("homing.1", "homing.2");
    assert_eq!(status(&relay, &get("/homing/1", "relay.test", &other)).await, 400);
    assert_eq!(status(&relay, &get("/", "any", &format!("X: {}\r\n", "a".repeat(9000)))).await, 431);
    assert_eq!(status(&relay, b"\x16\x03\x01 this is TLS\r\n\r\n").await, 400);
}

/// Upgrades, sends raw bytes, and gives the close code that the relay ends the link with.
async fn close_code(relay: &Running, frames: &[u8]) -> u16 {
    let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
    tcp.write_all(&get("/homing/1", "localhost", UPGRADE)).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the upgrade", tcp.read_u8()).await.unwrap());
    }
    tcp.write_all(frames).await.unwrap();
    loop {
        let [first, len] = [tcp.read_u8().await.unwrap(), tcp.read_u8().await.unwrap()];
        let mut payload = vec![0; len.into()];
        soon("a frame", tcp.read_exact(&mut payload)).await.unwrap();
        match first {
            0x88 => {
                let end = soon("the end", tcp.read(&mut [0])).await;
                assert!(matches!(end, Ok(0) | Err(_)), "more after the close frame");
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
            0x82 => {}
            other => panic!("frame {other:02x}"),
        }
    }
}

/// A frame of a client, its mask all zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[first, 0x80 | 126, len[0], len[1], 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn each_fault_ends_the_link_with_its_code() {
    let relay = Running::start(open()).await;
    for (what, frames, code) in [
        ("text", frame(0x81, b"hello"), 1003),
        ("unmasked", vec![0x82, 1, 0], 1002),
        ("compressed", frame(0xc2, b"x"), 1002),
        ("unknown opcode", frame(0x83, b"x"), 1002),
        ("longer than a first message", frame(0x82, &[0x8e; 513]), 1009),
        ("longer than anything", vec![0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], 1009),
        ("fragments without end", [frame(2, &[0; 300]), frame(0, &[0; 300])].concat(), 1009),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("an empty message", frame(0x82, b""), 4006),
        ("garbage", frame(0x82, b"garbage"), 4006),
        ("data before a word", frame(0x82, &[DATA, 1, 0, 0, 0, 9]), 4006),
        ("goodbye", vec![0x88, 0x82, 0, 0, 0, 0, 3, 232], 1000),
    ] {
        assert_eq!(close_code(&relay, &frames).await, code, "{what}");
    }
    relay.until("every link to be gone", |s| s.links == 0 && s.queued_bytes == 0).await;
    Host::register(&relay).await;
}

#[tokio::test]
async fn a_ping_flood_is_cut_and_its_memory_freed() {
    let relay = Running::start(open()).await;
    let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
    tcp.write_all(&get("/homing/1", "localhost", UPGRADE)).await.unwrap();
    let ping: Vec<u8> = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[7; 125]].concat();
    let flood = ping.repeat(500);
    // It never reads: once the kernel takes no more pongs, they pile up, and then the link ends.
    soon("the relay to cut it", async { while tcp.write_all(&flood).await.is_ok() {} }).await;
    relay.until("its memory to be freed", |s| s.links == 0 && s.queued_bytes == 0).await;
}

#[tokio::test]
async fn data_beyond_the_credit_closes_the_channel_and_no_other() {
    let relay = Running::start(open()).await;
    let mut host = Host::register(&relay).await;
    let mut greedy = host.dial(&relay).await;
    let mut modest = host.dial(&relay).await;
    let header = [DATA, 1, 0, 0, 0];
    let body = vec![0; EARLY_CREDIT as usize];
    for _ in 0..2 {
        let message = [&header[..], &body].concat();
        greedy.socket.send(async_tungstenite::tungstenite::Message::binary(message)).await.unwrap();
    }
    soon("the greedy one to be cut", async { while !matches!(greedy.next().await, Said::HungUp(_)) {} }).await;
    modest.send(b"still here").await;
    soon("the modest one's data", async {
        loop {
            match host.next().await {
                Said::Incoming { idx } => assert!(host.link.accept(idx)),
                Said::Data { body, .. } if body == b"still here" => break,
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn one_byte_at_a_time_is_understood_as_well() {
    let relay = Running::start(open()).await;
    let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let close = vec![0x88, 0x82, 1, 2, 3, 4, 2, 234];
    for byte in [get("/homing/1", "localhost", UPGRADE), close].concat() {
        tcp.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut all = Vec::new();
    let _ = soon("the relay's answer", tcp.read_to_end(&mut all)).await;
    assert!(all.starts_with(b"HTTP/1.1 101 "));
    assert!(all.ends_with(&[0x88, 2, 3, 232]), "{all:?}");
}
