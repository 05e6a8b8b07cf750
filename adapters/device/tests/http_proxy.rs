//! The local proxy with real clients in front and streams held by the test behind.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use homing_device::http_proxy::{OpenError, Opener, serve, serve_connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Hands the far end of every stream to the test.
struct Opens(mpsc::UnboundedSender<(String, DuplexStream)>);

impl Opener for Opens {
    type Stream = DuplexStream;

    async fn open(&self, host: &str, service: &str) -> Result<DuplexStream, OpenError> {
        match (host, service) {
            ("stranger", _) => return Err(OpenError::UnknownHost),
            (_, "nothing") => return Err(OpenError::UnknownService),
            (_, "secret") => return Err(OpenError::Refused("no grant for secret".into())),
            (_, "down") => return Err(OpenError::Unreachable("the host is offline".into())),
            (_, "slow") => return Err(OpenError::TimedOut),
            _ => {}
        }
        let (near, far) = tokio::io::duplex(16 * 1024);
        self.0.send((format!("{service}@{host}"), far)).map_err(|_| OpenError::UnknownHost)?;
        Ok(near)
    }
}

type Streams = mpsc::UnboundedReceiver<(String, DuplexStream)>;

fn client() -> (DuplexStream, Streams) {
    let (opened, streams) = mpsc::unbounded_channel();
    let (near, far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(async move { serve_connection(far, &Opens(opened)).await });
    (near, streams)
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn head(io: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(io.read_u8()).await.expect("a whole head"));
    }
    String::from_utf8(head).expect("text")
}

async fn exactly(io: &mut (impl AsyncReadExt + Unpin), text: &str) {
    let mut got = vec![0; text.len()];
    within(io.read_exact(&mut got)).await.expect("bytes");
    assert_eq!(String::from_utf8_lossy(&got), text);
}

async fn say(io: &mut (impl AsyncWriteExt + Unpin), text: &str) {
    within(io.write_all(text.as_bytes())).await.expect("written");
}

#[tokio::test]
async fn both_forms_of_request_arrive_and_a_stream_serves_many() {
    let (mut client, mut streams) = client();
    say(
        &mut client,
        "GET http://u:p@Web.nas.homing:80/a?b=c HTTP/1.1\r\nHost: ignored\r\nProxy-Connection: keep-alive\r\n\
        Proxy-Authorization: Basic x\r\nConnection: x-hop\r\nX-Hop: 1\r\nCookie: k=v\r\n\r\n",
    )
    .await;
    let (to, mut service) = within(streams.recv()).await.expect("a stream");
    assert_eq!(to, "web@nas");
    let seen = head(&mut service).await;
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n") && seen.contains("host: Web.nas.homing:80\r\n"), "{seen}");
    assert!(seen.contains("cookie: k=v\r\n") && !seen.contains("proxy-") && !seen.contains("x-hop"), "{seen}");
    say(&mut service, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: x\r\nETag: \"1\"\r\n\r\nhello").await;
    let answer = head(&mut client).await;
    assert!(answer.contains("etag: \"1\"\r\n") && !answer.contains("keep-alive"), "{answer}");
    exactly(&mut client, "hello").await;

    say(
        &mut client,
        "POST /up HTTP/1.1\r\nHost: web.nas.homing\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    let seen = head(&mut service).await;
    assert!(seen.starts_with("POST /up HTTP/1.1\r\n"), "{seen}");
    exactly(&mut service, "3\r\nabc\r\n0\r\n\r\n").await;
    say(&mut service, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 204 "));

    // The host closes the idle stream: the next request opens another.
    drop(service);
    say(&mut client, "GET / HTTP/1.1\r\nHost: web.nas.homing\r\n\r\n").await;
    let (_, mut service) = within(streams.recv()).await.expect("another stream");
    head(&mut service).await;
    say(&mut service, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    head(&mut client).await;

    // Another service on the same connection.
    say(&mut client, "GET / HTTP/1.1\r\nHost: api.my.nas.homing\r\n\r\n").await;
    assert_eq!(within(streams.recv()).await.expect("a stream").0, "api@my.nas");
}

#[tokio::test]
async fn nothing_else_is_fetched() {
    let (mut client, mut streams) = client();
    for (request, status, text) in [
        ("GET http://example.com/ HTTP/1.1\r\nHost: web.nas.homing", 403, "serves only http://SERVICE.HOST.homing/"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080", 403, "serves only"),
        ("GET https://example.com/ HTTP/1.1\r\nHost: a", 403, "serves only"),
        ("GET ftp://web.nas.homing/ HTTP/1.1\r\nHost: a", 400, "say http://"),
        ("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com", 403, "serves only"),
        ("CONNECT web.nas.homing:443 HTTP/1.1\r\nHost: a", 400, "say http://"),
        ("GET / HTTP/1.1\r\nHost: nas.homing", 404, "name a service"),
        ("GET / HTTP/1.1", 400, "Host"),
        ("GET / HTTP/1.1\r\nHost: web.nas.homing\r\nHost: b.nas.homing", 400, "Host"),
        ("GET / HTTP/1.1\r\nHost: web.stranger.homing", 404, "homing hosts list"),
        ("GET / HTTP/1.1\r\nHost: nothing.nas.homing", 404, "no service"),
        ("GET / HTTP/1.1\r\nHost: secret.nas.homing", 403, "no grant for secret"),
        ("GET / HTTP/1.1\r\nHost: down.nas.homing", 502, "offline"),
        ("GET / HTTP/1.1\r\nHost: slow.nas.homing", 504, "in time"),
        ("CONNECT web.stranger.homing:80 HTTP/1.1\r\nHost: a", 404, "homing hosts list"),
    ] {
        say(&mut client, &format!("{request}\r\n\r\n")).await;
        let answer = head(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        let length = answer.split_once("content-length: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        let mut body = vec![0; length.expect("a length").0.parse().expect("a number")];
        within(client.read_exact(&mut body)).await.expect("a body");
        let body = String::from_utf8(body).expect("text");
        assert!(body.contains(text), "{request}: {body}");
    }
    assert!(streams.try_recv().is_err(), "a stream was opened");
}

#[tokio::test]
async fn connect_and_upgrades_carry_bytes() {
    let (mut client1, mut streams) = client();
    say(&mut client1, "CONNECT ssh.nas.homing:22 HTTP/1.1\r\nHost: ssh.nas.homing:22\r\n\r\nearly").await;
    let (to, mut service) = within(streams.recv()).await.expect("a stream");
    assert_eq!(to, "ssh@nas");
    assert!(head(&mut client1).await.starts_with("HTTP/1.1 200 "));
    exactly(&mut service, "early").await;
    say(&mut service, "SSH-2.0").await;
    exactly(&mut client1, "SSH-2.0").await;
    client1.shutdown().await.expect("half-close");
    assert_eq!(within(service.read(&mut [0; 1])).await.expect("end"), 0);
    say(&mut service, "last").await;
    drop(service);
    let mut rest = String::new();
    within(client1.read_to_string(&mut rest)).await.expect("end");
    assert_eq!(rest, "last");

    let (mut client2, mut streams) = client();
    say(&mut client2, "GET /ws HTTP/1.1\r\nHost: web.nas.homing\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
    let (_, mut service) = within(streams.recv()).await.expect("a stream");
    let seen = head(&mut service).await;
    assert!(seen.contains("connection: upgrade\r\n") && seen.contains("upgrade: x\r\n"), "{seen}");
    say(&mut service, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nalong").await;
    let answer = head(&mut client2).await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: x\r\n"), "{answer}");
    exactly(&mut client2, "along").await;
    say(&mut client2, "there").await;
    exactly(&mut service, "there").await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_stream() {
    let (mut client, mut streams) = client();
    say(&mut client, "GET /events HTTP/1.1\r\nHost: web.nas.homing\r\n\r\n").await;
    let (_, mut service) = within(streams.recv()).await.expect("a stream");
    head(&mut service).await;
    say(&mut service, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
    head(&mut client).await;
    exactly(&mut client, "9\r\ndata: 1\n\n\r\n").await;
    drop(client);
    assert_eq!(within(service.read(&mut [0; 1])).await.expect("end"), 0);
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_repeated() {
    let (mut client, mut streams) = client();
    say(&mut client, "POST / HTTP/1.1\r\nHost: web.nas.homing\r\nContent-Length: 1\r\n\r\nx").await;
    let (_, mut service) = within(streams.recv()).await.expect("a stream");
    head(&mut service).await;
    drop(service);
    assert!(head(&mut client).await.starts_with("HTTP/1.1 502 "));
    assert!(streams.try_recv().is_err(), "the request was repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_through_both_ways() {
    let (opened, mut streams) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy: SocketAddr = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, Arc::new(Opens(opened))));
    tokio::spawn(async move {
        while let Some((to, mut stream)) = streams.recv().await {
            tokio::spawn(async move {
                loop {
                    let path = head(&mut stream).await;
                    let line = path.lines().next().unwrap_or_default();
                    let body = format!("{to} {line} {}", "x".repeat(1_000_000));
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    say(&mut stream, &(head + &body)).await;
                }
            });
        }
    });
    for extra in [&[][..], &["--proxytunnel"][..]] {
        let output = tokio::process::Command::new("curl")
            .args(["-sS", "--max-time", "20", "-x", &format!("http://{proxy}")])
            .args(extra)
            .args(["http://web.nas.homing/one", "http://web.nas.homing/two"])
            .output();
        let output = output.await.expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.starts_with("web@nas GET /one HTTP/1.1 x") && text.contains("web@nas GET /two HTTP/1.1 x"));
        assert!(text.len() > 2_000_000);
    }
}
