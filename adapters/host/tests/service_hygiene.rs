//! What an HTTP service may see and what never reaches it.

mod support;

use core::sync::atomic::Ordering;

use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn identity_is_set_and_forgeries_are_gone() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    let seen = ask(
        &service,
        "GET /show?a=b%20c HTTP/1.1\r\nHost: web.nas.homing\r\nHoming-Device: root\r\nHoming_Device: root\r\n\
         homing-grant: all\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n\
         X-Forwarded-Prefix: /evil\r\nX-Real-IP: 1.2.3.4\r\nX-Original-URL: /admin\r\nTE: trailers, gzip\r\n\
         Keep-Alive: 5\r\nProxy-Authorization: Basic x\r\nX-Hop: 1\r\nConnection: x-hop, homing-device, close\r\n\
         Accept: a\r\nAccept: b\r\nCookie: c=d\r\nIf-None-Match: \"v1\"\r\nRange: bytes=1-2\r\n\r\n",
    )
    .await;
    let has = |line: &str| assert!(seen.contains(&format!("\n{line}\n")), "{line:?} not in {seen}");
    has("homing-device: 00112233445566778899aabbccddeeff");
    has("homing-device-name: Zo%C3%AB%27s%20phone");
    has(&format!("host: {}", site.address));
    has("forwarded: for=\"_00112233445566778899aabbccddeeff\";host=\"web.nas.homing\";proto=http");
    has("x-forwarded-host: web.nas.homing");
    has("x-forwarded-proto: http");
    has("x-forwarded-for: 2001:db8:0011:2233:4455:6677:8899:aabb");
    has("x-real-ip: 2001:db8:0011:2233:4455:6677:8899:aabb");
    has("te: trailers");
    for kept in ["accept: a", "accept: b", "cookie: c=d", "if-none-match: \"v1\"", "range: bytes=1-2"] {
        has(kept);
    }
    assert!(seen.contains("GET /show?a=b%20c\n"));
    for forged in ["root", "all", "1.2.3.4", "evil", "admin", "keep-alive", "proxy-", "x-hop", "gzip", "connection"] {
        let body = seen.split_once("\r\n\r\n").unwrap().1;
        assert!(!body.contains(forged), "{forged:?} in {body}");
    }
}

#[tokio::test]
async fn answers_pass_with_all_their_headers() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    let answer = ask(&service, "GET /rich HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 302 Found\r\n"), "{answer}");
    for kept in [
        "set-cookie: a=1; Path=/",
        "set-cookie: b=2",
        "etag: \"v1\"",
        "content-encoding: gzip",
        "location: http://elsewhere.example/x",
    ] {
        assert!(answer.contains(&format!("\r\n{kept}\r\n")), "{kept} not in {answer}");
    }
    for hop in ["keep-alive", "x-secret-hop", "proxy-authenticate"] {
        assert!(!answer.contains(hop), "{hop} in {answer}");
    }
}

#[tokio::test]
async fn only_paths_are_served() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    for bad in [
        "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: a\r\n",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n",
        "CONNECT / HTTP/1.1\r\nHost: a\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n",
        "GET a:80 HTTP/1.1\r\nHost: a\r\n",
        "GET /show HTTP/1.1\r\n",
        "GET /show HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET /show HTTP/1.1\r\nHost: a\"; for=x\r\n",
        "GET /show HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n",
        "GET /show HTTP/1.1\r\nHost: a\r\nX : 1\r\n",
        "GET /show HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n",
        "GET /a\rb HTTP/1.1\r\nHost: a\r\n",
    ] {
        let answer = ask(&service, &format!("{bad}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?} got {answer}");
    }
    assert_eq!(site.requests.load(Ordering::SeqCst), 0, "something reached the service");
    let answer = ask(&service, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert_eq!(site.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_is_smuggled() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    let inner = "GET /show HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked", 5 + inner.len());
    for (framing, body, reaches) in [
        (both.as_str(), "0\r\n\r\n", 1), // chunked wins, the connection ends after it
        ("Content-Length: 0\r\nContent-Length: 5", "", 0),
        ("Content-Length: +0", "", 0),
        ("Content-Length: 0x1", "", 0),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n", 0),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", 0),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n", 0),
        ("Transfer-Encoding : chunked", "0\r\n\r\n", 0),
    ] {
        site.requests.store(0, Ordering::SeqCst);
        let request = format!("POST /hash HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}{inner}");
        let (mut near, served) = stream_to(&service);
        near.write_all(request.as_bytes()).await.unwrap();
        near.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within(near.read_to_end(&mut answer)).await;
        let _ = within(served).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let smuggled = answer.contains("GET /show");
        let refused_whole = framing.starts_with("Transfer-Encoding: gzip"); // well framed: the next request is one
        assert!(!smuggled || refused_whole, "{framing}: {answer}");
        if !refused_whole {
            assert_eq!(site.requests.load(Ordering::SeqCst), reaches, "{framing}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_chunked_get_keeps_its_body() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let put = format!("PUT /hash HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}");
    let answer = ask(&service, &put).await;
    assert!(answer.contains("5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"), "{answer}");
    let get = format!("GET /show HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}");
    let answer = ask(&service, &get).await;
    assert!(answer.contains("\ntransfer-encoding: chunked\n"), "{answer}");
}
