//! A relay that lies for a while: host and device come through it once it is itself again. What each lie leads to is in the
//! relay's `hostile_relays`.

use core::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::mitm::frame;
use crate::plain;
use crate::rogue::soon;
use crate::support::{HOST, Process, run, start_relay};

/// What is said instead of what the relay would say; `{accept}` is replaced.
const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const NOISE: &str = "\u{1}\u{2}\u{3}\r\n\r\n";
const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";

type Lie = (&'static str, Vec<u8>);

fn lies() -> Vec<Lie> {
    vec![
        ("", Vec::new()),
        (PAGE, Vec::new()),
        (NOISE, Vec::new()),
        (UPGRADE, frame(0x81, b"a text", false)),
        (UPGRADE, frame(0x82, &[0x80, 0, 0, 0, 0, 2], false)),
        (UPGRADE, vec![0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (UPGRADE, [frame(0x02, b"x", false), frame(0x00, b"", false).repeat(131_000), vec![0xff]].concat()),
    ]
}

/// What is to be said to the next connections, the last first.
type Plan = Arc<Mutex<Vec<Lie>>>;

/// In front of the relay.
async fn front(relay: SocketAddr, plan: Plan) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let lie = plan.lock().unwrap().pop();
            tokio::spawn(async move {
                let Some((answer, more)) = lie else {
                    let mut relay = TcpStream::connect(relay).await?;
                    return copy_bidirectional(&mut tcp, &mut relay).await.map(drop);
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let is_key = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key: ");
                let key = head.lines().find(is_key).map_or("", |line| &line[19..]);
                tcp.write_all(answer.replace("{accept}", &derive_accept_key(key.as_bytes())).as_bytes()).await?;
                tcp.write_all(&more).await?;
                tcp.shutdown().await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_lies_for_a_while_is_borne() {
    let fountain = plain::fountain(1000).await;
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (_relay, address) = start_relay(&dir.path().join("relay"), any).await;
    let plan = Plan::default();
    let front = front(address, plan.clone()).await;
    // A host starts among lies, each answered by another attempt.
    *plan.lock().unwrap() = lies().split_off(4);
    let (url, service, data) = (format!("ws://{front}"), format!("fountain=tcp://{fountain}"), dir.path().join("host"));
    let host = Process::start("host", &data, &["host", "start", "--relay", &url, "--name", HOST, "--expose", &service]);
    host.logged("reachable through relay").await;
    assert!(plan.lock().unwrap().is_empty());
    let device = crate::scene::pair(&data, &dir.path().join("device"), "device").await;
    for (number, lie) in lies().into_iter().enumerate() {
        plan.lock().unwrap().push(lie);
        let reached = soon("the device", run(&device.data, &["connect", "nest/fountain"])).await;
        assert!(plan.lock().unwrap().is_empty(), "lie {number} was not told");
        // Another attempt may have come through; else it is the relay that is to blame.
        assert!(reached.code == 0 && reached.stdout.len() > 900 || reached.code == 3, "lie {number}: {reached}");
        assert!(!reached.stderr.contains("panicked"), "lie {number}: {reached}");
    }
    let reached = soon("the device", run(&device.data, &["connect", "nest/fountain"])).await;
    assert_eq!(reached.code, 0, "{reached}");
    assert!(host.is_running() && !host.log().iter().any(|line| line.contains("panicked")));
}
