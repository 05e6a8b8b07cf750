//! Dialling against real sockets: every kind of refusal says what it is.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use homing_smol::{ClientTls, DialError, RelayUrl, Seek, ServerTls, accept, dial, endpoint_config, seek};
use smol::Task;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::TcpListener;

/// Answers one connection's request head with what `answer` makes of its key.
async fn answer_head(io: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: impl Fn(&str) -> String) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        io.read_exact(&mut byte).await.unwrap();
        head.extend(byte);
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
async fn one_answer(answer: impl Fn(&str) -> String + Send + 'static) -> (RelayUrl, Task<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let serving = smol::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let head = answer_head(&mut tcp, answer).await;
        let _ = tcp.read(&mut [0]).await;
        head
    });
    (url, serving)
}

async fn refusal(answer: impl Fn(&str) -> String + Send + 'static) -> DialError {
    let (url, _serving) = one_answer(answer).await;
    dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap_err()
}

#[test]
fn a_relay_is_dialled_by_path_name_and_subprotocol() {
    smol::block_on(async {
        let (url, serving) = one_answer(|key| upgrade(key, "Sec-WebSocket-Protocol: homing.1\r\n")).await;
        let socket = dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap();
        drop(socket);
        let head = serving.await;
        assert!(head.starts_with("GET /homing/1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("Host: {}\r\n", url.authority())), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-protocol: homing.1\r\n"), "{head}");
    });
}

#[test]
fn what_is_no_relay_is_called_so() {
    smol::block_on(async {
        let error = refusal(|_| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()).await;
        assert!(matches!(error, DialError::NotARelay { status: 404, .. }), "{error:?}");
        let error = refusal(|key| upgrade(key, "")).await;
        assert!(matches!(error, DialError::NotARelay { status: 101, .. }), "{error:?}");
        let error = refusal(|key| upgrade(key, "Sec-WebSocket-Protocol: other\r\n")).await;
        assert!(matches!(error, DialError::NotARelay { status: 101, .. }), "{error:?}");
        let error = refusal(|_| "SSH-2.0-OpenSSH\r\n\r\n".into()).await;
        assert!(matches!(error, DialError::Garbled { .. }), "{error:?}");
    });
}

#[test]
fn a_redirect_is_followed_by_who_says_what_it_seeks() {
    smol::block_on(async {
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
        for head in [asked.await, serving.await] {
            assert!(head.to_lowercase().contains(&header.to_lowercase()), "{head}");
        }
        let error = refusal(redirect).await;
        assert!(matches!(error, DialError::Elsewhere { .. }), "who seeks no route follows nobody: {error:?}");
    });
}

#[test]
fn a_full_relay_is_told_apart() {
    smol::block_on(async {
        let error = refusal(|_| "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".into()).await;
        assert!(matches!(error, DialError::Full { .. }), "{error:?}");
    });
}

#[test]
fn nobody_listening_is_unreachable() {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: RelayUrl = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let error = dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap_err();
        assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
    });
}

fn certificate(dir: &Path) -> ServerTls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    ServerTls::from_files(dir.join("cert.pem"), dir.join("key.pem")).unwrap()
}

#[test]
fn only_a_trusted_certificate_is_accepted() {
    smol::block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let server = certificate(dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: RelayUrl = format!("wss://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        smol::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let Ok(mut tls) = accept(tcp, Some(&server)).await else {
                    continue;
                };
                answer_head(&mut tls, |key| upgrade(key, "Sec-WebSocket-Protocol: homing.1\r\n")).await;
                let _ = tls.read(&mut [0]).await;
            }
        })
        .detach();
        let trusting = ClientTls::trusting(dir.path().join("cert.pem"));
        let socket = dial(&url, &trusting, endpoint_config()).await.unwrap();
        assert!(socket.get_ref().is_tls());
        drop(socket);

        let other = tempfile::tempdir().unwrap();
        certificate(other.path());
        let stranger = ClientTls::trusting(other.path().join("cert.pem"));
        let error = dial(&url, &stranger, endpoint_config()).await.unwrap_err();
        assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
        assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    });
}
