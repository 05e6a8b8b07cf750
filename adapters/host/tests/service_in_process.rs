//! HTTP through a stream to an app in the same process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use homing_host::service::{Caller, ExposeError, Service, ServiceError};
use hyper_util::service::TowerToHyperService;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

fn in_process(router: Router) -> Arc<Service> {
    Arc::new(Service::in_process("app", TowerToHyperService::new(router)).unwrap())
}

#[tokio::test]
async fn an_app_sees_who_calls_and_nothing_forged() {
    let (router, ..) = router();
    let router = router.route("/who", get(async |Extension(caller): Extension<Caller>| caller.device_id));
    let service = in_process(router);
    assert_eq!((service.name(), service.kind(), service.target()), ("app", "http", None));
    let answer = ask(&service, "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(DEVICE), "{answer}");
    let forged = "GET /show?x=1 HTTP/1.1\r\nHost: a.example\r\nHoming-Device: forged\r\nX-Forwarded-For: 127.0.0.1\r\n\
                  Connection: close, x-hop\r\nX-Hop: 1\r\n\r\n";
    let answer = ask(&service, forged).await.to_lowercase();
    assert!(answer.contains("get /show?x=1\n") && answer.contains(&format!("homing-device: {DEVICE}\n")), "{answer}");
    assert!(answer.contains("host: localhost\n") && answer.contains("x-forwarded-host: a.example\n"), "{answer}");
    assert!(!answer.contains("forged") && !answer.contains("127.0.0.1") && !answer.contains("x-hop"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_arrive_whole() {
    let (router, ..) = router();
    let front = front(&in_process(router)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    let path = file.to_str().unwrap();
    for size in [0, 1, 64 * 1024, 8 * 1024 * 1024] {
        let (_, fine) = curl(&["-o", path, &format!("http://{front}/bytes/{size}")]).await;
        assert!(fine);
        let (expected, got) = (hash(chunks(size)), std::fs::read(&file).unwrap_or_default());
        assert_eq!((got.len() as u64, hash(core::iter::once(got.into()))), (size, expected.clone()));
        let upload = format!("@{path}");
        for extra in ["Expect: 100-continue", "Transfer-Encoding: chunked"] {
            let url = format!("http://{front}/hash");
            let (answer, fine) = curl(&["--data-binary", &upload, "-H", extra, &url]).await;
            assert!(fine);
            assert_eq!(answer, format!("{size} {expected}"), "upload of {size} with {extra}");
        }
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, b"").unwrap();
    }
}

#[tokio::test]
async fn leaving_cancels_the_request_wherever_it_stands() {
    let (router, requests, mut gone) = router();
    let service = in_process(router);
    let (mut near, _served) = stream_to(&service);
    near.write_all(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(async {
        while requests.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(near);
    assert_eq!(within(gone.recv()).await, Some("handler"));

    let (mut near, served) = stream_to(&service);
    near.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut body = read_head(&mut near).await;
    while !body.contains("data: first\n\n") {
        body.push(char::from(within(near.read_u8()).await.unwrap()));
    }
    drop(near);
    assert_eq!(within(gone.recv()).await, Some("events"));
    assert!(matches!(within(served).await.unwrap(), Err(ServiceError::Http(_))));

    let (mut near, _served) = stream_to(&service);
    near.write_all(b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello").await.unwrap();
    assert_eq!(within(gone.recv()).await, Some("upload began"));
    drop(near);
    assert_eq!(within(gone.recv()).await, Some("upload"));
}

#[tokio::test]
async fn an_app_takes_the_stream_where_it_agrees_to_an_upgrade() {
    let (router, ..) = router();
    let service = in_process(router);
    let (mut near, _served) = stream_to(&service);
    let upgrade = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    near.write_all(upgrade).await.unwrap();
    let head = read_head(&mut near).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    near.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut frame = [0; 4];
    within(near.read_exact(&mut frame)).await.unwrap();
    assert_eq!(&frame, &[0x81, 2, b'h', b'i']);
    near.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.unwrap();
    let mut rest = Vec::new();
    within(near.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, [0x88, 2, 0x03, 0xe8]);
}

#[tokio::test]
async fn an_app_that_fails_harms_its_own_request_only() {
    let (sender, chunks) = mpsc::channel(2);
    let chunks = Arc::new(Mutex::new(Some(chunks)));
    let broken = async move || {
        let chunks: mpsc::Receiver<std::io::Result<Bytes>> = chunks.lock().unwrap().take().unwrap();
        Body::from_stream(futures_util::stream::unfold(chunks, async |mut chunks| Some((chunks.recv().await?, chunks))))
    };
    let unasked = async || Response::builder().status(101).header("upgrade", "x").body(Body::empty()).unwrap();
    let service = in_process(
        Router::new()
            .route("/broken", get(broken))
            .route("/unasked", get(unasked))
            .route("/fine", get(async || "fine")),
    );
    let (mut near, served) = stream_to(&service);
    near.write_all(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    sender.send(Ok("begun".into())).await.unwrap();
    let mut answer = read_head(&mut near).await;
    while !answer.contains("begun") {
        answer.push(char::from(within(near.read_u8()).await.unwrap()));
    }
    sender.send(Err(std::io::Error::other("no more"))).await.unwrap();
    within(near.read_to_string(&mut answer)).await.unwrap();
    assert!(!answer.contains("\r\n0\r\n"), "{answer}");
    assert!(matches!(within(served).await.unwrap(), Err(ServiceError::Http(_))));
    for upgrade in ["Connection: close", "Connection: close, upgrade\r\nUpgrade: h2c"] {
        let answer = ask(&service, &format!("GET /unasked HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    let answer = ask(&service, "GET /fine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("fine"), "{answer}");

    let app = hyper::service::service_fn(async |_| Err::<hyper::Response<String>, _>("out of order"));
    let service = Arc::new(Service::in_process("app", app).unwrap());
    let answer = ask(&service, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.ends_with("service app failed\n"), "{answer}");
    assert!(!answer.contains("out of order"), "an error's text is not the device's business");
}

#[test]
fn an_app_has_a_name_like_any_service() {
    let app = TowerToHyperService::new(Router::new());
    assert!(matches!(Service::in_process("No name", app), Err(ExposeError::Name(name)) if name == "No name"));
}
