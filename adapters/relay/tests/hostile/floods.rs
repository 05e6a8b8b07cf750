//! More of everything than anybody needs, and peers that take nothing.

use core::cell::Cell;
use core::time::Duration;

use async_tungstenite::tungstenite::Message;
use homing_core::hop::{Code, Frame};
use homing_relay::RelayConfig;
use tokio::io::AsyncWriteExt;

use crate::raw::{Raw, UPGRADE, binary, close, frame, word};
use crate::stage::{Scene, Stage, play, scene};
use crate::support::{Device, Host, Running, Said, open, soon};

pub fn scenes() -> Vec<Scene> {
    vec![
        scene("pings without end, and no pong is read", |stage| Box::pin(unread(stage, frame(0x89, &[7; 125])))),
        scene("PINGs without end, and no PONG is read", |stage| {
            Box::pin(unread(stage, binary(&word(0, &Frame::Ping(1)))))
        }),
        scene("100,000 pings that are read", |stage| Box::pin(pings(stage))),
        scene("100,000 pongs that nobody asked for", |stage| Box::pin(pongs(stage))),
        scene("two hundred links that say goodbye at once", |stage| Box::pin(goodbyes(stage))),
        scene("three hundred connections that are reset at once", |stage| Box::pin(resets(stage))),
        scene("a host that comes and goes with devices at its door", |stage| Box::pin(comings(stage))),
        scene("a hundred devices that dial and are gone", |stage| Box::pin(dials(stage))),
        scene("a device that sends more than its credit", |stage| Box::pin(greedy_device(stage))),
        scene("a host that sends more than its credit", |stage| Box::pin(greedy_host(stage))),
        scene("a device that reads nothing", |stage| Box::pin(deaf(stage))),
        scene("requests without end on one connection", |stage| Box::pin(requests(stage))),
    ]
}

/// It never reads: once the kernel takes no more answers they pile up, and then the link ends.
async fn unread(stage: &mut Stage, bytes: Vec<u8>) {
    let mut link = Raw::link(&stage.relay).await;
    let flood = bytes.repeat(500);
    let over = Cell::new(false);
    let flooding = async {
        while soon("the relay to cut it", link.tcp.write_all(&flood)).await.is_ok() {}
        over.set(true);
    };
    let serving = async {
        while !over.get() {
            stage.serves("a flood").await;
        }
    };
    tokio::join!(flooding, serving);
}

async fn pings(stage: &mut Stage) {
    let mut link = Raw::link(&stage.relay).await;
    let ping = frame(0x89, b"");
    for _ in 0..100 {
        link.say(&ping.repeat(1000)).await;
        for _ in 0..1000 {
            assert_eq!(link.frame().await, Some((0x8a, Vec::new())));
        }
    }
    stage.serves("pings").await;
}

async fn pongs(stage: &mut Stage) {
    let mut link = Raw::link(&stage.relay).await;
    link.say(&frame(0x8a, b"").repeat(100_000)).await;
    link.say(&close(1000, b"")).await;
    assert_eq!(link.ending().await, (None, Some(1000)));
}

async fn goodbyes(stage: &mut Stage) {
    let mut links = Vec::new();
    for _ in 0..200 {
        links.push(Raw::link(&stage.relay).await);
    }
    for link in &mut links {
        link.say(&close(1000, b"")).await;
    }
    stage.serves("goodbyes").await;
    for mut link in links {
        assert_eq!(link.ending().await, (None, Some(1000)));
    }
}

async fn resets(stage: &mut Stage) {
    let mut links = Vec::new();
    for number in 0..300 {
        let mut link = Raw::connect(&stage.relay).await;
        link.say(&UPGRADE.as_bytes()[..number % UPGRADE.len()]).await;
        links.push(link);
    }
    links.into_iter().for_each(Raw::reset);
    stage.serves("resets").await;
}

async fn comings(stage: &mut Stage) {
    let seed = crate::support::seed();
    for _ in 0..10 {
        let mut host = Host::connect_as(&stage.relay, &seed, None).await;
        assert_eq!(host.next().await, Said::Registered);
        let mut devices = [host.dial(&stage.relay).await, host.dial(&stage.relay).await];
        drop(host);
        for device in &mut devices {
            assert_eq!(device.next().await, Said::Closed { idx: 1, code: Code::Gone });
        }
    }
}

async fn dials(stage: &mut Stage) {
    let mut host = Host::register(&stage.relay).await;
    for _ in 0..100 {
        drop(host.dial(&stage.relay).await);
        let Said::Incoming { idx } = host.next().await else { panic!("nobody at the door") };
        assert_eq!(host.next().await, Said::Closed { idx, code: Code::Gone });
    }
}

/// A pair that is joined.
async fn joined(relay: &Running) -> (Host, Device, u32) {
    let mut host = Host::register(relay).await;
    let device = host.dial(relay).await;
    let idx = host.accept().await;
    (host, device, idx)
}

async fn greedy_device(stage: &mut Stage) {
    let (mut host, mut greedy, _) = joined(&stage.relay).await;
    let more = word(1, &Frame::Data(&[7; 16_000]));
    for _ in 0..400 {
        if greedy.socket.send(Message::binary(more.clone())).await.is_err() {
            break;
        }
    }
    soon("the greedy one to be cut", async { while !matches!(greedy.next().await, Said::HungUp(_)) {} }).await;
    // Others of the same host have not suffered.
    let mut modest = host.dial(&stage.relay).await;
    modest.send(b"still here").await;
    soon("the modest one's data", async {
        loop {
            match host.next().await {
                Said::Incoming { idx } => assert!(host.link.accept(idx)),
                Said::Data { body, .. } if body == b"still here" => break,
                Said::HungUp(code) => panic!("{code:?}"),
                _ => {}
            }
        }
    })
    .await;
}

async fn greedy_host(stage: &mut Stage) {
    let (mut host, mut device, idx) = joined(&stage.relay).await;
    let mut other = host.dial(&stage.relay).await;
    let more = word(idx, &Frame::Data(&[7; 16_000]));
    for _ in 0..400 {
        host.socket.send(Message::binary(more.clone())).await.unwrap();
    }
    soon("the end of the channel", async {
        while !matches!(device.next().await, Said::Closed { code: Code::FlowControl, .. }) {}
    })
    .await;
    // Its other channels have not suffered.
    let idx = host.accept().await;
    host.send(idx, b"still here").await;
    assert_eq!(other.receive(10).await, b"still here");
}

/// What waits for it is bounded by its window; others of the same host go on.
async fn deaf(stage: &mut Stage) {
    let (mut host, deaf, idx) = joined(&stage.relay).await;
    let mut sent = 0;
    while host.try_send(idx, &[7; 16_000]).await {
        sent += 16_000;
    }
    let quiet = tokio::time::timeout(Duration::from_millis(200), async {
        loop {
            host.next().await;
            while host.try_send(idx, &[7; 16_000]).await {
                sent += 16_000;
            }
        }
    });
    assert!(quiet.await.is_err() && sent < 8 << 20, "{sent} bytes were taken");
    let mut other = host.dial(&stage.relay).await;
    let idx = host.accept().await;
    host.send(idx, b"still here").await;
    assert_eq!(other.receive(10).await, b"still here");
    assert!(stage.relay.handle.status().queued_bytes < 1 << 20);
    drop(deaf);
}

async fn requests(stage: &mut Stage) {
    let mut raw = Raw::connect(&stage.relay).await;
    for _ in 0..20 {
        raw.say(&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100)).await;
        for _ in 0..100 {
            assert_eq!(raw.status().await, Some(200));
        }
    }
    stage.serves("requests").await;
}

/// Places that are taken are not taken from those who have one, and are free again afterwards.
#[tokio::test]
async fn places_are_counted_and_given_back() {
    let config = RelayConfig { max_links: 4, max_handshakes: 4, ..open() };
    let mut stage = Stage::set(Running::start(config).await, "tokio").await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(Raw::connect(&stage.relay).await);
    }
    let mut late = Raw::connect(&stage.relay).await;
    assert_eq!(late.status().await, Some(503), "a fifth connection that is no link yet is told so");
    stage.serves("connections that say nothing").await;
    idle.into_iter().for_each(Raw::reset);
    stage.is_well("connections that said nothing").await;

    let mut links = [Raw::link(&stage.relay).await, Raw::link(&stage.relay).await];
    let mut fifth = Raw::connect(&stage.relay).await;
    fifth.say(UPGRADE.as_bytes()).await;
    assert_eq!(fifth.status().await, Some(503));
    stage.serves("a full relay").await;
    links[0].say(&close(1000, b"")).await;
    assert_eq!(links[0].ending().await, (None, Some(1000)));
    stage.relay.until("a free place", |s| s.links == 3).await;
    drop(links);
    stage.is_well("a full relay").await;
    Raw::link(&stage.relay).await;
}

#[tokio::test]
async fn floods_are_cut_or_borne() {
    play(scenes()).await;
}
