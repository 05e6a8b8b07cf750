//! Connections that end in every state there is: by a reset, or half, by one who hears and no longer speaks.

use homing_core::crypto::Secret;
use homing_core::hop::{Capability, Code, Frame, Purpose};
use homing_tokio::{Io, Socket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw::{Raw, UPGRADE, binary, reset, word};
use crate::stage::{Scene, Stage, play, scene};
use crate::support::{Device, Host, Said, in_an_hour};

/// How it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Reset,
    Half,
}
use End::{Half, Reset};

pub fn scenes() -> Vec<Scene> {
    vec![
        scene("a reset before a word", |stage| Box::pin(said(stage, b"", Reset))),
        scene("a half-open connection before a word", |stage| Box::pin(said(stage, b"", Half))),
        scene("a reset in a request", |stage| Box::pin(said(stage, &UPGRADE.as_bytes()[..99], Reset))),
        scene("a half-open connection in a request", |stage| Box::pin(said(stage, &UPGRADE.as_bytes()[..99], Half))),
        scene("a reset behind the upgrade", |stage| Box::pin(linked(stage, b"", Reset))),
        scene("a half-open link that is fresh", |stage| Box::pin(linked(stage, b"", Half))),
        scene("a reset in a frame's head", |stage| Box::pin(linked(stage, &[0x82, 0xfe, 1], Reset))),
        scene("a half-open link in a frame's head", |stage| Box::pin(linked(stage, &[0x82, 0xfe, 1], Half))),
        scene("a reset between fragments", |stage| Box::pin(linked(stage, &[2, 0x81, 0, 0, 0, 0, 9], Reset))),
        scene("a half-open link between fragments", |stage| Box::pin(linked(stage, &[2, 0x81, 0, 0, 0, 0, 9], Half))),
        scene("a reset of a parked device", |stage| Box::pin(parked(stage, Reset))),
        scene("a half-open parked device", |stage| Box::pin(parked(stage, Half))),
        scene("a reset of a host", |stage| Box::pin(host(stage, Reset))),
        scene("a half-open host", |stage| Box::pin(host(stage, Half))),
        scene("a reset of a host with a device at its door", |stage| Box::pin(door(stage, Reset))),
        scene("a half-open host with a device at its door", |stage| Box::pin(door(stage, Half))),
        scene("a reset of a host with data under way", |stage| Box::pin(open(stage, true, Reset))),
        scene("a half-open host with data under way", |stage| Box::pin(open(stage, true, Half))),
        scene("a reset of a device with data under way", |stage| Box::pin(open(stage, false, Reset))),
        scene("a half-open device with data under way", |stage| Box::pin(open(stage, false, Half))),
        scene("a reset in the goodbye", |stage| Box::pin(linked(stage, &[0x88, 0x82, 0, 0, 0, 0, 3], Reset))),
        scene("a half-open link in the goodbye", |stage| Box::pin(linked(stage, &[0x88, 0x82, 0, 0, 0, 0, 3], Half))),
    ]
}

/// Ends it; what is left of it.
async fn finish(mut tcp: TcpStream, how: End) -> Option<TcpStream> {
    if how == Reset {
        reset(&tcp);
        return None;
    }
    tcp.shutdown().await.unwrap();
    Some(tcp)
}

/// The relay lets go, while what is left is still held on to.
async fn end(stage: &mut Stage, tcp: TcpStream, how: End) {
    let _held = finish(tcp, how).await;
    stage.is_well("an end").await;
}

fn tcp_of(socket: Socket) -> TcpStream {
    match socket.into_inner().into_inner() {
        Io::Plain(tcp) => tcp,
        Io::Tls(_) => panic!("a plain relay"),
    }
}

async fn said(stage: &mut Stage, bytes: &[u8], how: End) {
    let mut raw = Raw::connect(&stage.relay).await;
    raw.say(bytes).await;
    end(stage, raw.tcp, how).await;
}

async fn linked(stage: &mut Stage, bytes: &[u8], how: End) {
    let mut link = Raw::link(&stage.relay).await;
    link.say(bytes).await;
    end(stage, link.tcp, how).await;
}

async fn parked(stage: &mut Stage, how: End) {
    let capability = Capability::mint(&Secret::new([1; 32]), &[9; 16], [9; 8], in_an_hour(), 0);
    let purpose = Purpose::Dial { route_id: [9; 16], capability };
    let mut device = Device::connect(&stage.relay, purpose).await;
    let before = stage.relay.handle.status().parked;
    tokio::select! {
        said = device.next() => panic!("{said:?}"),
        _ = stage.relay.until("a parked dial", |s| s.parked > before) => {}
    }
    end(stage, tcp_of(device.socket), how).await;
}

async fn host(stage: &mut Stage, how: End) {
    let host = Host::register(&stage.relay).await;
    end(stage, tcp_of(host.socket), how).await;
}

async fn door(stage: &mut Stage, how: End) {
    let host = Host::register(&stage.relay).await;
    let mut device = host.dial(&stage.relay).await;
    let _held = finish(tcp_of(host.socket), how).await;
    assert_eq!(device.next().await, Said::Closed { idx: 1, code: Code::Gone });
    drop(device);
    stage.is_well("a host that left a device at its door").await;
}

/// Each has data under way, and the one that ends half a message behind it.
async fn open(stage: &mut Stage, of_host: bool, how: End) {
    let mut host = Host::register(&stage.relay).await;
    let mut device = host.dial(&stage.relay).await;
    let idx = host.accept().await;
    for _ in 0..3 {
        device.send(&[7; 16_000]).await;
        host.send(idx, &[7; 16_000]).await;
    }
    let half = &binary(&word(if of_host { idx } else { 1 }, &Frame::Data(&[7; 100])))[..50];
    let leave = async |socket| {
        let mut tcp = tcp_of(socket);
        tcp.write_all(half).await.unwrap();
        finish(tcp, how).await
    };
    let is_gone = |said| matches!(said, Said::Closed { code: Code::Gone, .. });
    let _held = if of_host {
        let held = leave(host.socket).await;
        while !is_gone(device.next().await) {}
        drop(device);
        held
    } else {
        let held = leave(device.socket).await;
        while !is_gone(host.next().await) {}
        drop(host);
        held
    };
    stage.is_well("an end with data under way").await;
}

#[tokio::test]
async fn every_state_may_end_at_once() {
    play(scenes()).await;
}
