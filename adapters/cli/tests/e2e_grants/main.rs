//! What a device may reach is what it was granted: real programs, real services, and requests as clients send them.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod ends;
mod limits;
mod reach;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::Value;

use support::client::{Head, Http, status};
use support::{Device, Forward, HOST, World, run, trail, within};

/// Asks for a WebSocket.
async fn upgrade(forward: &Forward) -> (Http, Head) {
    let mut http = Http::to(forward.address).await;
    http.send(
        "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let head = http.head().await;
    (http, head)
}

/// `host devices grant` with these flags.
async fn grant(host: &Path, device: &Device, flags: &[&str]) -> Value {
    let set = run(host, &[&["host", "devices", "grant", &device.id, "--json"], flags].concat()).await;
    assert_eq!(set.code, 0, "{set}");
    serde_json::from_str(set.stdout.trim()).unwrap()
}

/// The host's entry of a device.
async fn listed(host: &Path, device: &Device) -> Value {
    let list = run(host, &["host", "devices", "list", "--json"]).await;
    let list: Value = serde_json::from_str(list.stdout.trim()).unwrap();
    list.as_array().unwrap().iter().find(|entry| entry["id"] == *device.id).unwrap().clone()
}

/// Asks until the answer has this status.
async fn until_status(forward: &Forward, path: &str, wanted: u16) {
    within(async {
        while status(forward, path, &[]).await.0 != wanted {
            tokio::time::sleep(core::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Whether a raw service says back what it hears; else the connection ends without a byte.
async fn echoes(device: &Device, service: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let forward = device.forward(service).await;
    let mut tcp = within(tokio::net::TcpStream::connect(forward.address)).await.unwrap();
    let _ = tcp.write_all(b"hello").await;
    let mut heard = [0; 5];
    match within(tcp.read_exact(&mut heard)).await {
        Ok(_) => heard == *b"hello",
        Err(_) => false,
    }
}

/// How `homing connect` to a service ends, and what it says.
async fn connect(device: &Device, service: &str) -> (i32, String) {
    let ended = run(&device.data, &["connect", &format!("{HOST}/{service}")]).await;
    (ended.code, ended.stderr)
}
