//! Connections that a proxy hands on with the PROXY protocol, from outside: whom the limits count.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::io::ErrorKind;

use homing_relay::{AddressLimits, Admission, Relay, RelayConfig, RelayError, TlsFiles};
use homing_tokio::ClientTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::{Host, Running, Said, open, soon};

const REQUEST: &str = "GET /homing/1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn behind_a_proxy() -> RelayConfig {
    let addresses = AddressLimits { links: 1, per_second: 1000, burst: 1000, ..AddressLimits::USUAL };
    RelayConfig { addresses, proxies: vec!["127.0.0.1/32".parse().unwrap()], proxy_protocol: true, ..open() }
}

/// Begins a connection with these bytes and asks for a link; the status of the answer, none where there was none.
async fn ask(relay: &Running, header: &[u8]) -> (Option<u16>, TcpStream) {
    let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
    tcp.write_all(&[header, REQUEST.as_bytes()].concat()).await.unwrap();
    let mut head = [0; 12];
    let status = match soon("the answer", tcp.read_exact(&mut head)).await {
        Ok(_) => Some(core::str::from_utf8(&head[9..]).unwrap().parse().unwrap()),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
            None
        }
    };
    (status, tcp)
}

fn version_2(address: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &address[..], &[10, 0, 0, 1, 0, 1, 1, 187]].concat()
}

async fn each_client_is_counted(relay: &Running) {
    let (first, _first) = ask(relay, b"PROXY TCP4 192.0.2.1 10.0.0.1 1 443\r\n").await;
    let (other, _other) = ask(relay, &version_2([192, 0, 2, 2])).await;
    assert_eq!((first, other), (Some(101), Some(101)));
    assert_eq!(ask(relay, &version_2([192, 0, 2, 1])).await.0, Some(429), "both versions mean one address");
    assert_eq!(ask(relay, b"PROXY TCP4 192.0.2.2 10.0.0.1 9 443\r\n").await.0, Some(429));
    // A proxy that speaks for nobody: not counted.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let (status, link) = ask(relay, header).await;
        assert_eq!(status, Some(101));
        let (again, _) = ask(relay, header).await;
        assert_eq!(again, Some(101));
        drop(link);
    }
    for header in
        [&b""[..], b"PROXY TCP4 192.0.2.1\r\n", b"PROXY TCP4 a b c d\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"]
    {
        assert_eq!(ask(relay, header).await.0, None, "{}", String::from_utf8_lossy(header));
    }
}

#[tokio::test]
async fn limits_count_whom_a_proxy_speaks_for() {
    each_client_is_counted(&Running::start(behind_a_proxy()).await).await;
}

#[cfg(feature = "smol")]
#[tokio::test]
async fn limits_count_whom_a_proxy_speaks_for_on_smol() {
    each_client_is_counted(&Running::start_on_smol(behind_a_proxy()).await).await;
}

#[tokio::test]
async fn nobody_else_can_say_who_they_are() {
    let relay = Running::start(RelayConfig { proxies: vec!["10.0.0.0/8".parse().unwrap()], ..behind_a_proxy() }).await;
    assert_eq!(ask(&relay, b"PROXY TCP4 192.0.2.1 10.0.0.1 1 443\r\n").await.0, Some(400), "it is no HTTP");
    assert_eq!(ask(&relay, b"").await.0, Some(101), "and without it they are served");
    let unnamed = RelayConfig { proxies: Vec::new(), ..behind_a_proxy() };
    let refused = Relay::bind(unnamed).await.unwrap_err();
    assert!(matches!(refused, RelayError::NoProxies) && refused.to_string().contains("--trusted-proxy"));
}

#[tokio::test]
async fn tls_begins_behind_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Some(TlsFiles { cert: cert.clone(), key });
    let mut relay = Running::start(RelayConfig { tls, admission: Admission::Open, ..behind_a_proxy() }).await;
    // What a proxy does that passes TLS on as it is.
    let proxy = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (before, behind) = (proxy.local_addr().unwrap(), relay.url.port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = proxy.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
            server.write_all(&version_2([192, 0, 2, 9])).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    relay.url = format!("wss://localhost:{}", before.port()).parse().unwrap();
    relay.tls = ClientTls::trusting(&cert);
    let mut host = Host::connect(&relay, None).await;
    assert_eq!(host.next().await, Said::Registered);
    assert!(relay.dial().await.is_err(), "one link for each address");
}
