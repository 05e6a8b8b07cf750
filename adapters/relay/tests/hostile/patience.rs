//! Peers that take their time. Each is given up after ten to thirty seconds, so all are watched at once.

use core::pin::Pin;
use core::time::Duration;

use async_tungstenite::tungstenite::Message;
use futures_util::future::join_all;
use homing_core::crypto::Secret;
use homing_core::hop::{Capability, Code, Dial, Frame, PARK_TIME};
use homing_driver::relay::events::{Event, EventReader};
use homing_relay::{RelayConfig, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::raw::{Raw, UPGRADE, binary, frame, head, word};
use crate::stage::Stage;
use crate::support::{Host, Running, Said, in_an_hour, keys, open, seed};

type Run = for<'a> fn(&'a Running) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub fn scenes() -> Vec<(&'static str, Run)> {
    vec![
        scene("a connection on which nothing is said", |relay| Box::pin(dripped(relay, b"", b""))),
        scene("a request of one byte a second", |relay| Box::pin(dripped(relay, b"GET / HTTP/1.1\r\n", b"X"))),
        scene("headers that never end", |relay| Box::pin(dripped(relay, b"GET / HTTP/1.1\r\n", b"X: a\r\n"))),
        scene("half an upgrade", |relay| Box::pin(dripped(relay, &UPGRADE.as_bytes()[..100], b""))),
        scene("a connection kept alive for nothing", |relay| Box::pin(kept(relay))),
        scene("a body of one byte a second", |relay| Box::pin(slow_body(relay))),
        scene("a link that says nothing", |relay| Box::pin(unspoken(relay, b""))),
        scene("a link that pings and says nothing", |relay| Box::pin(unspoken(relay, &[0x89, 0x80, 0, 0, 0, 0]))),
        scene("a link of PINGs alone", |relay| Box::pin(pinging(relay))),
        scene("a message of one byte a second", |relay| Box::pin(slow_message(relay))),
        scene("fragments of nothing, one a second", |relay| Box::pin(slow_fragments(relay))),
        scene("a peer that stays when it was sent away", |relay| Box::pin(stays(relay))),
        scene("a host that neither takes nor refuses", |relay| Box::pin(undecided(relay))),
        scene("a host that takes nothing off its socket", |relay| Box::pin(stalled(relay))),
        scene("a dial to nobody", |relay| Box::pin(unanswered(relay, Knock::Nobody))),
        scene("a dial with a wrong proof", |relay| Box::pin(unanswered(relay, Knock::Wrong))),
        scene("a dial with the proof of another link", |relay| Box::pin(unanswered(relay, Knock::Replayed))),
        scene("a dial with a capability of another host", |relay| Box::pin(unanswered(relay, Knock::Foreign))),
    ]
}

fn scene(name: &'static str, run: Run) -> (&'static str, Run) {
    (name, run)
}

/// Says this once a second until the relay has had enough.
async fn drip(raw: &mut Raw, drop: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        match timeout(Duration::from_secs(1), raw.tcp.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => return heard,
            Ok(Ok(len)) => heard.extend_from_slice(&bytes[..len]),
            Err(_) => drop_in(raw, drop).await,
        }
    }
}

async fn drop_in(raw: &mut Raw, drop: &[u8]) {
    let _ = raw.tcp.write_all(drop).await;
}

async fn dripped(relay: &Running, first: &[u8], drop: &[u8]) {
    let mut raw = Raw::connect(relay).await;
    raw.say(first).await;
    let heard = drip(&mut raw, drop).await;
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&heard));
}

async fn kept(relay: &Running) {
    let mut raw = Raw::connect(relay).await;
    raw.say(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.status().await, Some(200));
    drip(&mut raw, b"").await;
}

async fn slow_body(relay: &Running) {
    // A name of a link, so that the body is waited for.
    let mut waiting = Raw::connect(relay).await;
    waiting.say(b"GET /homing/1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").await;
    assert_eq!(waiting.status().await, Some(200));
    let (mut reader, mut line) = (EventReader::default(), Vec::new());
    let name = loop {
        line.push(waiting.tcp.read_u8().await.unwrap());
        if let Some(Event::Link(name)) = reader.read(&mut &line[line.len() - 1..]).unwrap() {
            break name;
        }
    };
    let mut raw = Raw::connect(relay).await;
    let request = format!(
        "POST /homing/1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {name}\r\nContent-Length: 500\r\n\r\n"
    );
    raw.say(request.as_bytes()).await;
    assert_eq!(drip(&mut raw, b"x").await, b"", "no answer to half a message");
    // It has not registered in time either.
    drip(&mut waiting, b"").await;
}

/// A link that says this once a second hears that it took too long.
async fn timed_out(mut link: Raw, drop: &[u8]) {
    let heard = drip(&mut link, drop).await;
    assert!(heard.ends_with(&[0x82, 6, 0x8d, 0, 0, 0, 0, 5, 0x88, 2, 0x0f, 0xa5]), "{heard:02x?}");
}

async fn unspoken(relay: &Running, drop: &[u8]) {
    timed_out(Raw::link(relay).await, drop).await;
}

async fn pinging(relay: &Running) {
    timed_out(Raw::link(relay).await, &binary(&word(0, &Frame::Ping(1)))).await;
}

async fn slow_message(relay: &Running) {
    let mut link = Raw::link(relay).await;
    link.say(&head(0x82, 300)).await;
    timed_out(link, b"x").await;
}

async fn slow_fragments(relay: &Running) {
    let mut link = Raw::link(relay).await;
    link.say(&frame(0x02, b"")).await;
    timed_out(link, &frame(0x00, b"")).await;
}

async fn stays(relay: &Running) {
    let mut link = Raw::link(relay).await;
    link.say(&frame(0x81, b"text")).await;
    drip(&mut link, &frame(0x82, b"still here")).await;
}

async fn undecided(relay: &Running) {
    let mut host = Host::register(relay).await;
    let mut device = host.dial(relay).await;
    let Said::Incoming { idx } = host.next().await else { panic!("nobody at the door") };
    assert_eq!(device.next().await, Said::Closed { idx: 1, code: Code::Timeout });
    assert_eq!(host.next().await, Said::Closed { idx, code: Code::Timeout });
}

/// What a device sends to it waits within its window, and its link ends once the socket has taken nothing for long.
async fn stalled(relay: &Running) {
    let mut host = Host::register(relay).await;
    let mut devices = Vec::new();
    for _ in 0..16 {
        let device = host.dial(relay).await;
        let idx = host.accept().await;
        // All that a host can allow: what bounds it is the relay's own window.
        host.socket.send(Message::binary(word(idx, &Frame::Credit { bytes: u32::MAX }))).await.unwrap();
        devices.push(device);
    }
    let sending = devices.iter_mut().map(|device| async {
        let piece = [7; 16_000];
        loop {
            while let Some(header) = device.link.data_header(piece.len()) {
                let message = Message::binary([&header[..], &piece].concat());
                if device.socket.send(message).await.is_err() {
                    return;
                }
            }
            match device.next().await {
                Said::Credit => {}
                Said::Closed { code: Code::Gone, .. } => return,
                other => panic!("{other:?}"),
            }
        }
    });
    join_all(sending).await;
}

#[derive(PartialEq, Eq)]
enum Knock {
    Nobody,
    Wrong,
    Replayed,
    Foreign,
}

/// Whatever is wrong with a dial, it is answered alike, and as late: nobody learns which hosts there are.
async fn unanswered(relay: &Running, knock: Knock) {
    let seed = seed();
    let mut host = Host::connect_as(relay, &seed, None).await;
    assert_eq!(host.next().await, Said::Registered);
    let route_id = if knock == Knock::Nobody { [9; 16] } else { host.route };
    let key = if knock == Knock::Foreign { Secret::new([9; 32]) } else { keys(&seed).1 };
    let capability = Capability::mint(&key, &route_id, [1; 8], in_an_hour(), 0);
    let (_other, other) = Raw::challenged(relay).await;
    let (mut link, own) = Raw::challenged(relay).await;
    let mut proof = capability.dial_proof("localhost", if knock == Knock::Replayed { &other } else { &own });
    if knock == Knock::Wrong {
        proof[0] ^= 1;
    }
    let dial = Dial { route_id, cap_id: capability.id, expiry: capability.expiry, class: 0, proof };
    let dialled = Instant::now();
    link.say(&binary(&word(1, &Frame::Dial(dial)))).await;
    let heard = drip(&mut link, b"").await;
    assert_eq!(heard, [0x82, 6, 0x8d, 1, 0, 0, 0, 1, 0x88, 2, 0x0f, 0xa1]);
    assert!(dialled.elapsed() >= PARK_TIME);
}

/// To a relay that does TLS: what is sent there, byte by byte or at once.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("plain HTTP on a TLS port", UPGRADE.as_bytes().to_vec()),
        ("half a TLS hello", vec![0x16, 3, 1, 2, 0, 1, 0, 1]),
        ("a TLS record of no kind", vec![0x2f; 5000]),
        ("a TLS hello of noughts", [&[0x16, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat()),
    ]
}

pub fn names() -> Vec<&'static str> {
    scenes().iter().map(|(name, _)| *name).chain(records().iter().map(|(name, _)| *name)).collect()
}

/// Each says what it has to say, and then waits for the relay to have enough of it.
async fn at_a_tls_port() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let relay = Running::start(RelayConfig { tls: Some(TlsFiles { cert, key }), ..open() }).await;
    let attempts = records().into_iter().map(|(name, bytes)| {
        let relay = &relay;
        async move {
            let mut raw = Raw::connect(relay).await;
            raw.say(&bytes).await;
            let heard = drip(&mut raw, b"").await;
            // An alert, where it was no TLS at all.
            assert!(heard.is_empty() || heard.starts_with(&[0x15, 3]), "{name}: {heard:02x?}");
        }
    });
    join_all(attempts).await;
    assert_eq!(relay.handle.status().links, 0);
}

#[tokio::test]
async fn nobody_is_waited_for_without_end() {
    let mut stages = Stage::on_each().await;
    let all = stages.iter().flat_map(|stage| {
        scenes().into_iter().map(move |(name, run)| async move {
            run(&stage.relay).await;
            eprintln!("{name} on {}", stage.runtime);
        })
    });
    let _ =
        timeout(Duration::from_secs(120), futures_util::future::join(join_all(all), at_a_tls_port())).await.unwrap();
    for stage in &mut stages {
        stage.is_well("peers that take their time").await;
    }
}
