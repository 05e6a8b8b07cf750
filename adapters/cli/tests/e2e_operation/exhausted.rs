//! A relay without descriptors: what exists goes on, and it recovers by itself.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::plain;
use crate::support::process::homing;
use crate::support::{Device, HOST, Process, run, within};

async fn is_healthy(address: SocketAddr) -> bool {
    let asked = async {
        let mut tcp = TcpStream::connect(address).await?;
        tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200 "))
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), asked).await, Ok(Ok(true)))
}

/// A host with a page, a device of its, and the device's forward.
pub(crate) async fn ends(dir: &Path, relay: SocketAddr, key_file: Option<&Path>) -> (Process, Process, SocketAddr) {
    let page = format!("web=http://{}", plain::page("", "through").await);
    let url = format!("ws://{relay}");
    let mut args = vec!["host", "start", "--relay", &url, "--name", HOST, "--expose", &page];
    args.extend(key_file.iter().flat_map(|file| ["--relay-key-file", file.to_str().unwrap()]));
    let host = Process::start("host", &dir.join("host"), &args);
    host.logged("reachable through relay").await;
    let dialog = Process::start("host pair", &dir.join("host"), &["host", "pair", "--auto", "--json"]);
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let data = dir.join("device");
    let paired = run(&data, &["pair", &link, "--name", "phone", "--json"]).await;
    assert_eq!(paired.code, 0, "{paired}");
    let id = dialog.event("paired").await["device"]["id"].as_str().unwrap().to_owned();
    let device = Device { name: "phone".into(), data, id, paired: Value::Null };
    let forward = device.forward("web").await;
    (host, forward.process, forward.address)
}

pub(crate) async fn reads(forward: SocketAddr) -> bool {
    within(plain::get(forward, "/", "")).await.is_ok_and(|answer| answer.ends_with("through"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_it_waits_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let relay = homing(&dir.path().join("relay"), &["relay", "start", "--listen", "127.0.0.1:0", "--open", "--json"]);
    let mut command = Command::new("prlimit");
    command.arg("--nofile=96").arg(relay.get_program()).args(relay.get_args()).env_remove("HOMING_LOG");
    let relay = Process::spawn("relay", command);
    let address = relay.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    let (_host, _forward, forward) = ends(dir.path(), address, None).await;
    assert!(reads(forward).await);

    // The system takes them in for the relay, which cannot.
    let mut idle = Vec::new();
    for _ in 0..160 {
        idle.push(within(TcpStream::connect(address)).await.unwrap());
    }
    relay.logged("cannot accept connections").await;
    assert!(!is_healthy(address).await, "there is nothing left to hear with");
    for _ in 0..10 {
        assert!(reads(forward).await, "links that exist go on");
    }
    let tries = relay.log().iter().filter(|line| line.contains("cannot accept")).count();
    assert!(tries <= 40, "it waits between its tries: {tries} lines");
    drop(idle);
    let mut healthy = false;
    for _ in 0..30 {
        healthy = healthy || is_healthy(address).await;
    }
    assert!(healthy && reads(forward).await, "it is back");
}
