//! Dialling against real sockets: every kind of refusal says what it is.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use homing_tokio::{ClientTls, DialError, RelayUrl, Seek, ServerTls, TlsError, accept, dial, endpoint_config, seek};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers one connection's request head with what `answer` makes of its key.
async fn answer_head(io: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: impl Fn(&str) -> String) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap().to_owned();
    io.write_all(answer(&key).as_bytes()).await.unwrap();
    head
}

fn upgrade(key: &str, more: &str) -> String {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// A plain listener that gives one answer; returns its URL and the request's head.
async fn one_answer(answer: impl Fn(&str) -> String + Send + 'static) -> (RelayUrl, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let serving = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let head = answer_head(&mut tcp, answer).await;
        let _ = tcp.read_u8().await;
        head
    });
    (url, serving)
}

async fn refusal(answer: impl Fn(&str) -> String + Send + 'static) -> DialError {
    let (url, _serving) = one_answer(answer).await;
    dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap_err()
}

#[tokio::test]
async fn a_relay_is_dialled_by_path_name_and_subprotocol() {
    let (url, serving) = one_answer(|key| upgrade(key, "Sec-WebSocket-Protocol: homing.1\r\n")).await;
    let socket = dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap();
    drop(socket);
    let head = serving.await.unwrap();
    assert!(head.starts_with("GET /homing/1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("Host: {}\r\n", url.authority())), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-protocol: homing.1\r\n"), "{head}");
}

#[tokio::test]
async fn what_is_no_relay_is_called_so() {
    let error = refusal(|_| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()).await;
    assert!(matches!(error, DialError::NotARelay { status: 404, .. }), "{error:?}");
    let error = refusal(|key| upgrade(key, "")).await;
    assert!(matches!(error, DialError::NotARelay { status: 101, .. }), "{error:?}");
    let error = refusal(|key| upgrade(key, "Sec-WebSocket-Protocol: other\r\n")).await;
    assert!(matches!(error, DialError::NotARelay { status: 101, .. }), "{error:?}");
    let error = refusal(|_| "SSH-2.0-OpenSSH\r\n\r\n".into()).await;
    assert!(matches!(error, DialError::Garbled { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_followed_by_who_says_what_it_seeks() {
    let (there, serving) = one_answer(|key| upgrade(key, "Sec-WebSocket-Protocol: homing.1\r\n")).await;
    let to = there.clone();
    let redirect = move |_: &str| {
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}/homing/1\r\nContent-Length: 0\r\n\r\n")
    };
    let (here, asked) = one_answer(redirect.clone()).await;
    let sought = Seek::device(&[1; 16]);
    let (socket, led) = seek(&here, &ClientTls::system(), endpoint_config(), sought).await.unwrap();
    drop(socket);
    assert_eq!(led, there);
    let header = format!("homing-route: {sought}\r\n");
    for head in [asked.await.unwrap(), serving.await.unwrap()] {
        assert!(head.to_lowercase().contains(&header.to_lowercase()), "{head}");
    }
    let error = refusal(redirect).await;
    assert!(matches!(error, DialError::Elsewhere { .. }), "who seeks no route follows nobody: {error:?}");
}

#[tokio::test]
async fn a_full_relay_is_told_apart() {
    let error = refusal(|_| "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".into()).await;
    assert!(matches!(error, DialError::Full { retry_after: None, .. }), "{error:?}");
    for (status, said, heard) in [
        ("503 Service Unavailable", "2", Some(2)),
        ("429 Too Many Requests", "31", Some(31)),
        ("503 Service Unavailable", "99999999999", Some(300)),
        ("503 Service Unavailable", "soon", None),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n");
        let error = refusal(move |_| answer.clone()).await;
        assert_eq!(error.retry_after(), heard.map(core::time::Duration::from_secs), "{said}: {error:?}");
        assert!(matches!(error, DialError::Full { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: RelayUrl = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
}

fn certificate(dir: &Path) -> ServerTls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    ServerTls::from_files(dir.join("cert.pem"), dir.join("key.pem")).unwrap()
}

#[tokio::test]
async fn only_a_trusted_certificate_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let server = certificate(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: RelayUrl = format!("wss://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = accept(tcp, Some(&server)).await else {
                continue;
            };
            answer_head(&mut tls, |key| upgrade(key, "Sec-WebSocket-Protocol: homing.1\r\n")).await;
            let _ = tls.read_u8().await;
        }
    });
    let trusting = ClientTls::trusting(dir.path().join("cert.pem"));
    let socket = dial(&url, &trusting, endpoint_config()).await.unwrap();
    assert!(socket.get_ref().get_ref().is_tls());
    drop(socket);

    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    let stranger = ClientTls::trusting(other.path().join("cert.pem"));
    let error = dial(&url, &stranger, endpoint_config()).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
}

#[test]
fn faulty_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let server = certificate(dir.path());
    certificate(other.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));

    let missing = ServerTls::from_files(dir.path().join("none.pem"), &key).unwrap_err();
    assert!(matches!(&missing, TlsError::Unreadable { path, .. } if path.ends_with("none.pem")), "{missing}");
    let no_cert = ServerTls::from_files(&key, &key).unwrap_err();
    assert!(matches!(no_cert, TlsError::Lacks { what: "certificate", .. }), "{no_cert}");
    let no_key = ServerTls::from_files(&cert, &cert).unwrap_err();
    assert!(matches!(no_key, TlsError::Lacks { what: "private key", .. }), "{no_key}");
    let mismatch = ServerTls::from_files(&cert, other.path().join("key.pem")).unwrap_err();
    assert!(matches!(mismatch, TlsError::KeyMismatch { .. }), "{mismatch}");

    std::fs::write(&cert, "rotated badly").unwrap();
    assert!(server.reload().is_err());
    certificate(dir.path());
    server.reload().unwrap();
}
