//! An echo on the relay's own WebSocket frames, for conformance suites: `websocket_echo 9011 tokio`, or `smol`.
#![allow(clippy::unwrap_used, reason = "a program for tests")]

use homing_relay::{Runtime, Smol, Tokio};

#[path = "../tests/websocket/echo.rs"]
mod echo;
#[path = "../src/frame.rs"]
mod frame;

/// Longer than any message of the suite.
const LIMIT: usize = 32 << 20;

async fn run<R: Runtime>(port: u16) {
    let listener = R::listen(([127, 0, 0, 1], port).into()).await.unwrap();
    echo::serve::<R>(listener, LIMIT).await;
}

fn main() {
    let mut args = std::env::args().skip(1);
    let port = args.next().and_then(|port| port.parse().ok()).unwrap_or(9011);
    match args.next().as_deref() {
        Some("smol") => smol::block_on(smol::spawn(run::<Smol>(port))),
        _ => tokio::runtime::Runtime::new().unwrap().block_on(run::<Tokio>(port)),
    }
}
