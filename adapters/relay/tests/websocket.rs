//! The relay's WebSocket frames by the chapters of the Autobahn suite, against an echo on either runtime. The suite itself is
//! run by hand: `core/EVIDENCE.md` has its results.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "websocket/cases.rs"]
mod cases;
#[path = "websocket/echo.rs"]
mod echo;
#[path = "../src/frame.rs"]
mod frame;
#[path = "hostile/raw.rs"]
mod raw;
mod support;

use core::net::SocketAddr;

use homing_core::hop::MAX_MESSAGE;
use homing_relay::{Runtime, Tokio};
use tokio::net::TcpStream;

use cases::{Case, cases};
use raw::{Raw, UPGRADE};

async fn on_tokio() -> SocketAddr {
    let listener = Tokio::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = Tokio::address(&listener).unwrap();
    tokio::spawn(echo::serve::<Tokio>(listener, MAX_MESSAGE));
    address
}

#[cfg(feature = "smol")]
async fn on_smol() -> SocketAddr {
    use homing_relay::Smol;
    let listener = Smol::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = Smol::address(&listener).unwrap();
    smol::spawn(echo::serve::<Smol>(listener, MAX_MESSAGE)).detach();
    address
}

/// Sends a case in pieces of this many bytes; what comes back.
async fn run(address: SocketAddr, case: &Case, pieces: usize) -> Vec<(u8, Vec<u8>)> {
    let mut raw = Raw { tcp: TcpStream::connect(address).await.unwrap() };
    raw.tcp.set_nodelay(true).unwrap();
    raw.say(UPGRADE.as_bytes()).await;
    assert_eq!(raw.status().await, Some(101));
    for piece in case.send.chunks(pieces) {
        raw.say(piece).await;
        if pieces == 1 {
            tokio::task::yield_now().await;
        }
    }
    let mut heard = Vec::new();
    while let Some(frame) = raw.frame().await {
        heard.push(frame);
    }
    heard
}

async fn every_case(address: SocketAddr, runtime: &str) {
    for case in cases() {
        for pieces in [usize::MAX, 997, 1] {
            if pieces == 1 && case.send.len() > 3000 {
                continue;
            }
            let heard = run(address, &case, pieces).await;
            assert!(heard == case.hear, "{} in pieces of {pieces} on {runtime}: {heard:02x?}", case.name);
        }
    }
}

#[tokio::test]
async fn every_case_is_answered_as_the_standard_has_it() {
    every_case(on_tokio().await, "tokio").await;
    #[cfg(feature = "smol")]
    every_case(on_smol().await, "smol").await;
}

#[test]
fn there_are_cases_of_every_chapter() {
    let cases = cases();
    for chapter in ["1", "2", "3", "4", "5", "6", "7", "9"] {
        let count = cases.iter().filter(|case| case.name.starts_with(chapter)).count();
        assert!(count >= 4, "chapter {chapter} has {count}");
    }
    assert!(cases.len() >= 60, "{}", cases.len());
}
