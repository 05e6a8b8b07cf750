//! HTTP through a stream to a real service.

mod support;

use core::sync::atomic::Ordering;

use homing_host::service::{Refusal, Service, ServiceError, serve_gated};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_arrive_whole() {
    let site = site().await;
    let front = front(&service(format!("http://{}", site.address))).await;
    let directory = tempfile::tempdir().unwrap();
    for size in [0, 1, 64 * 1024, 64 * 1024 * 1024] {
        let expected = hash(chunks(size));
        let file = directory.path().join("body");
        let path = file.to_str().unwrap();

        let (_, fine) = curl(&["-o", path, &format!("http://{front}/bytes/{size}")]).await;
        assert!(fine);
        let got = std::fs::read(&file).unwrap_or_default();
        assert_eq!(got.len() as u64, size);
        assert_eq!(hash(core::iter::once(got.into())), expected, "download of {size}");

        let upload = format!("@{path}");
        let url = format!("http://{front}/hash");
        // With a length and `Expect: 100-continue`, then chunked.
        for extra in ["Expect: 100-continue", "Transfer-Encoding: chunked"] {
            let (answer, fine) = curl(&["--data-binary", &upload, "-H", extra, &url]).await;
            assert!(fine);
            assert_eq!(answer, format!("{size} {expected}"), "upload of {size} with {extra}");
        }
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, b"").unwrap();
    }
}

#[tokio::test]
async fn the_first_event_comes_at_once_and_leaving_is_noticed() {
    let mut site = site().await;
    let service = service(format!("http://{}", site.address));
    let (mut near, served) = stream_to(&service);
    near.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = read_head(&mut near).await;
    assert!(head.contains("text/event-stream"), "{head}");
    let mut body = String::new();
    while !body.contains("data: first\n\n") {
        body.push(char::from(within(near.read_u8()).await.unwrap()));
    }
    drop(near);
    assert_eq!(within(site.gone.recv()).await, Some("events"));
    assert!(matches!(within(served).await.unwrap(), Err(ServiceError::Http(_))));
}

#[tokio::test]
async fn leaving_cancels_the_request_wherever_it_stands() {
    let mut site = site().await;
    let service = service(format!("http://{}", site.address));

    let (mut near, _served) = stream_to(&service);
    near.write_all(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    wait_until(|| site.requests.load(Ordering::SeqCst) == 1).await;
    drop(near);
    assert_eq!(within(site.gone.recv()).await, Some("handler"));

    let (mut near, _served) = stream_to(&service);
    near.write_all(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut some = vec![0; 300_000];
    within(near.read_exact(&mut some)).await.unwrap();
    drop(near);
    assert_eq!(within(site.gone.recv()).await, Some("flood"));

    let (mut near, _served) = stream_to(&service);
    near.write_all(b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello").await.unwrap();
    assert_eq!(within(site.gone.recv()).await, Some("upload began"));
    drop(near);
    assert_eq!(within(site.gone.recv()).await, Some("upload"));

    // Dropping the future that serves does the same.
    let (mut near, served) = stream_to(&service);
    near.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut near).await;
    served.abort();
    assert_eq!(within(site.gone.recv()).await, Some("events"));
}

async fn wait_until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(core::time::Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_service_that_breaks_off_is_not_taken_for_an_end() {
    let cases: [&'static [u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ];
    for answer in cases {
        let service = service(format!("http://{}", canned(answer).await));
        let (mut near, served) = stream_to(&service);
        near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut got = Vec::new();
        let _ = within(near.read_to_end(&mut got)).await;
        let got = String::from_utf8(got).unwrap();
        assert!(got.starts_with("HTTP/1.1 200") && !got.ends_with("0\r\n\r\n"), "{got}");
        assert!(within(served).await.unwrap().is_err());
    }
}

#[tokio::test]
async fn trailers_and_head_pass() {
    let service1 = service(format!(
        "http://{}",
        canned(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"
        )
        .await
    ));
    let answer = ask(&service1, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");

    let service2 = service(format!("http://{}", canned(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await));
    let answer = ask(&service2, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\ncontent-length: 1234\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn streams_share_connections_and_old_clients_work() {
    let (address, mut sockets) = acceptor().await;
    let service = service(format!("http://{address}"));
    let mut kept = None;
    for turn in 0..5 {
        let (mut near, served) = stream_to(&service);
        near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        if turn == 0 {
            kept = within(sockets.recv()).await;
        }
        let socket = kept.as_mut().unwrap();
        assert!(read_head(socket).await.starts_with("GET / HTTP/1.1\r\n"), "turn {turn}");
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        assert!(read_head(&mut near).await.starts_with("HTTP/1.1 200"));
        let mut body = [0; 2];
        within(near.read_exact(&mut body)).await.unwrap();
        drop(near);
        let _ = within(served).await.unwrap();
    }
    assert!(sockets.try_recv().is_err(), "a second connection was opened");

    // The service closes the idle connection: the next request goes out once, on another.
    drop(kept);
    // Another event of the network that came later: what came before is known by then.
    let later = tokio::net::TcpStream::connect(address).await.unwrap();
    drop((later, within(sockets.recv()).await));
    let (mut near, _served) = stream_to(&service);
    near.write_all(b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    let mut socket = within(sockets.recv()).await.unwrap();
    let head = read_head(&mut socket).await;
    assert!(head.starts_with("POST / HTTP/1.1\r\n") && !head.contains("x-forwarded-host"), "{head}");
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end").await.unwrap();
    drop(socket);
    let mut answer = String::new();
    within(near.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("\r\n\r\nto the end"), "{answer}");
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again() {
    let (address, mut sockets) = acceptor().await;
    let service = service(format!("http://{address}"));
    let (mut near, _served) = stream_to(&service);
    near.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    let mut socket = within(sockets.recv()).await.unwrap();
    read_head(&mut socket).await;
    drop(socket);
    let head = read_head(&mut near).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(sockets.try_recv().is_err(), "the request was repeated");
}

#[tokio::test]
async fn a_service_that_is_down_is_named() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let service = service(format!("http://{closed}"));
    let (mut near, _served) = stream_to(&service);
    for _ in 0..2 {
        near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = read_head(&mut near).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        let mut body = vec![0; "service web is not reachable, is it running?\n".len()];
        within(near.read_exact(&mut body)).await.unwrap();
        assert_eq!(body, b"service web is not reachable, is it running?\n");
    }
}

#[tokio::test]
async fn http_goes_over_unix_sockets_and_tls() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (router, _, _gone) = router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let unix = service(format!("http+unix://{}", path.display()));
    let request = "GET /show HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(&unix, request).await;
    assert!(answer.contains("\nhost: localhost\n"), "{answer}");

    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (address, mut sockets) = acceptor().await;
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
    tokio::spawn(async move {
        while let Some(tcp) = sockets.recv().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let head = read_head(&mut tls).await;
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
                tls.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let exposed: homing_host::service::Exposed = format!("web=https://localhost:{}", address.port()).parse().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let trusting = Service::with_tls(exposed.clone(), client.into());
    let answer = ask(&trusting.into(), request).await;
    assert!(answer.contains(&format!("\nhost: localhost:{}\r\n", address.port())), "{answer}");

    // Without that trust there is no answer from the service.
    let answer = ask(&Service::new(exposed).unwrap().into(), request).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn the_gate_decides_before_the_service_hears() {
    let site = site().await;
    let service = service(format!("http://{}", site.address));
    let (mut near, far) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        serve_gated(far, &service, &caller(), |request| {
            let (method, path) = (request.method(), request.uri().path());
            if method == http::Method::GET && path == "/show" {
                return Ok(());
            }
            let status = http::StatusCode::TOO_MANY_REQUESTS;
            Err(Refusal { status, text: format!("not {method} {path}"), retry_after: Some(7) })
        })
        .await
    });
    near.write_all(b"POST /show?q HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let head = read_head(&mut near).await;
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nretry-after: 7\r\n"), "{head}");
    let mut body = [0; "not POST /show\n".len()];
    within(near.read_exact(&mut body)).await.unwrap();
    assert_eq!(&body, b"not POST /show\n");
    assert_eq!(site.requests.load(Ordering::SeqCst), 0);
    near.write_all(b"GET /show?q HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_head(&mut near).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_service_that_does_not_accept_is_given_up() {
    // With the queue of waiting connections full, further ones are left without an answer.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(tcp)) =
        tokio::time::timeout(core::time::Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(tcp);
        assert!(waiting.len() < 100, "the queue never fills");
    }
    let service = service(format!("http://{address}"));
    let (mut near, _served) = stream_to(&service);
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::pause(); // from here on, waiting costs no time
    let head = read_head(&mut near).await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
}
