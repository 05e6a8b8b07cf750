//! Bytes through a stream to a real service, as they are and after an upgrade.

mod support;

use homing_host::service::ServiceError;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn tcp_passes_bytes_and_each_half_close() {
    let (address, mut sockets) = acceptor().await;
    let (mut near, served) = stream_to(&service(format!("tcp://{address}")));
    let mut tcp = within(sockets.recv()).await.unwrap();
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = String::new();
    within(tcp.read_to_string(&mut got)).await.unwrap();
    assert_eq!(got, "question");
    // The other direction is still open.
    let answer = pattern(0, 1_000_000);
    let (sent, copy) = (answer.clone(), &mut Vec::new());
    let send = tokio::spawn(async move {
        tcp.write_all(&sent).await.unwrap();
        tcp.shutdown().await.unwrap();
    });
    within(near.read_to_end(copy)).await.unwrap();
    assert_eq!(&answer[..], &copy[..]);
    within(send).await.unwrap();
    within(served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cut_stream_is_a_reset_for_the_service_and_back() {
    let (address, mut sockets) = acceptor().await;
    let (mut near, served) = stream_to(&service(format!("tcp://{address}")));
    let mut tcp = within(sockets.recv()).await.unwrap();
    near.write_all(b"x").await.unwrap();
    within(tcp.read_u8()).await.unwrap();
    served.abort();
    let error = within(tcp.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let (mut near, served) = stream_to(&service(format!("tcp://{address}")));
    let mut tcp = within(sockets.recv()).await.unwrap();
    near.write_all(b"x").await.unwrap();
    within(tcp.read_u8()).await.unwrap();
    tcp.set_zero_linger().unwrap();
    drop(tcp);
    assert!(matches!(within(served).await.unwrap(), Err(ServiceError::Broken(_))));
}

#[tokio::test]
async fn unix_sockets_carry_bytes_and_absence_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raw.sock");
    let service = service(format!("unix://{}", path.display()));
    let (_near, served) = stream_to(&service);
    assert!(matches!(within(served).await.unwrap(), Err(ServiceError::Unreachable { .. })));

    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (mut near, served) = stream_to(&service);
    let (mut unix, _) = within(listener.accept()).await.unwrap();
    near.write_all(b"ping").await.unwrap();
    let mut got = [0; 4];
    within(unix.read_exact(&mut got)).await.unwrap();
    unix.write_all(&got).await.unwrap();
    drop(unix);
    near.shutdown().await.unwrap();
    let mut back = String::new();
    within(near.read_to_string(&mut back)).await.unwrap();
    assert_eq!(back, "ping");
    within(served).await.unwrap().unwrap();
}

const WEBSOCKET: &[u8] = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn websockets_echo_text_binary_and_close() {
    let site = site().await;
    let (mut near, served) = stream_to(&service(format!("http://{}", site.address)));
    near.write_all(WEBSOCKET).await.unwrap();
    let head = read_head(&mut near).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    for (opcode, payload) in [(1, &b"hello"[..]), (2, &[0, 255, 7][..]), (8, &[0x03, 0xE9][..])] {
        // Masked with zeroes: the payload stays readable.
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        near.write_all(&frame).await.unwrap();
        let mut echo = vec![0; 2 + payload.len()];
        within(near.read_exact(&mut echo)).await.unwrap();
        assert_eq!(echo[0], 0x80 | opcode);
        assert_eq!(&echo[2..], payload);
    }
    drop(near);
    let _ = within(served).await.unwrap();
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    let (mut near, _served) = stream_to(&service);
    let wrong = String::from_utf8(WEBSOCKET.to_vec()).unwrap().replace("Version: 13", "Version: 9");
    for _ in 0..2 {
        near.write_all(wrong.as_bytes()).await.unwrap();
        let head = read_head(&mut near).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        let length = head.split_once("content-length: ").unwrap().1.split_once("\r\n").unwrap().0.parse().unwrap();
        within(near.read_exact(&mut vec![0; length])).await.unwrap();
    }
}

#[tokio::test]
async fn another_http_gets_no_way_in() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    let request = "GET /show HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    let answer = ask(&service, request).await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(answer.starts_with("HTTP/1.1 200") && !body.contains("upgrade") && !body.contains("http2"), "{answer}");
}

#[tokio::test]
async fn an_unasked_upgrade_is_a_broken_service() {
    let address = canned(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let answer =
        ask(&service(format!("http://{address}")), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn what_the_service_says_along_with_101_is_kept() {
    let address = canned(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly").await;
    let (mut near, served) = stream_to(&service(format!("http://{address}")));
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await.unwrap();
    assert!(read_head(&mut near).await.starts_with("HTTP/1.1 101"));
    near.shutdown().await.unwrap();
    let mut rest = String::new();
    within(near.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "early");
    within(served).await.unwrap().unwrap();
}
