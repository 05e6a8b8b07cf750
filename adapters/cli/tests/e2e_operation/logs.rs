//! The log of a relay that strangers shout at.

use core::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ends::{ask, tcp_from};
use crate::support::process::homing;
use crate::support::{Process, within};

/// Addresses of peers; none of the relay's own.
const PEER: [u8; 4] = [127, 0, 0, 77];
const PEERS: [&str; 4] = ["127.0.0.77", "203.0.113.9", "2001:db8::9", "198.51.100.9"];
const AWAY: &str = "turned a connection away";

async fn start(data: &Path, level: Option<&str>, format: Option<&str>, flags: &[&str]) -> (Process, SocketAddr) {
    let start = ["relay", "start", "--listen", "127.0.0.1:0", "--open", "--json", "--trusted-proxy", "127.0.0.77"];
    let limits = ["--links-per-address", "1", "--dials-per-address", "1000"];
    let mut command = homing(data, &[&start[..], &limits, flags].concat());
    command.envs(level.map(|level| ("HOMING_LOG", level)));
    command.envs(format.map(|format| ("HOMING_LOG_FORMAT", format)));
    let relay = Process::spawn("relay", command);
    let address = relay.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    (relay, address)
}

/// What strangers do: garbage, links that are too many, requests for what is not there, ends in the middle.
async fn shout(address: SocketAddr, times: usize) {
    let mut links = Vec::new();
    for forwarded in &PEERS[1..] {
        let mut link = tcp_from(PEER, address).await;
        assert_eq!(ask(&mut link, &format!("X-Forwarded-For: {forwarded}\r\n")).await, 101);
        links.push(link);
    }
    for turn in 0..times {
        let forwarded = PEERS[1 + turn % 3];
        let mut tcp = tcp_from(PEER, address).await;
        assert_eq!(ask(&mut tcp, &format!("X-Forwarded-For: {forwarded}\r\n")).await, 429);
        for garbage in [
            &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
            b"GET /homing/1 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n",
            b"GET /%0a203.0.113.9 HTTP/1.1\r\nHost: 203.0.113.9\r\nConnection: close\r\n\r\n",
            b"PROXY TCP4 203.0.113.9 203.0.113.9 1 2\r\n\r\n",
            b"GET /homing/1 HT",
        ] {
            let mut tcp = tcp_from(PEER, address).await;
            tcp.write_all(garbage).await.unwrap();
            let _ = tcp.shutdown().await;
            let _ = within(tcp.read_to_end(&mut Vec::new())).await;
        }
    }
    // One that speaks as a link, and wrongly.
    for mut link in links {
        link.write_all(b"\x82\x85\0\0\0\0hello").await.unwrap();
        let _ = within(link.read_to_end(&mut Vec::new())).await;
    }
}

fn none_is_named(relay: &Process) {
    let log = relay.log();
    assert!(!log.is_empty());
    for line in log {
        assert!(PEERS.iter().all(|peer| !line.contains(peer)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_fill_the_log_and_are_not_named_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, address) = start(&dir.path().join("relay"), None, None, &[]).await;
    let began = Instant::now();
    shout(address, 150).await;
    relay.logged("left out lines of the log").await;
    let windows = began.elapsed().as_secs() as usize / 10 + 2;
    let log = relay.log();
    let lines = log.iter().filter(|line| line.contains(AWAY));
    for (reason, times) in [("address_links", 150), ("request", 600)] {
        let count = lines.clone().filter(|line| line.contains(reason)).count();
        assert!(count >= 20 && count <= 20 * windows && count < times, "{count} lines of {reason}");
        let left_out = log.iter().find(|line| line.contains("left out lines") && line.contains(reason)).unwrap();
        assert!(left_out.contains("lines="), "{left_out}");
    }
    none_is_named(&relay);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_even_a_talkative_log_names_anyone_and_each_line_can_be_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, address) = start(&dir.path().join("relay"), Some("trace"), Some("json"), &[]).await;
    shout(address, 3).await;
    none_is_named(&relay);
    let objects: Vec<Value> = relay.log().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let away = objects.iter().find(|object| object["message"] == AWAY).unwrap();
    assert_eq!((away["reason"].as_str().unwrap(), away["level"].as_str().unwrap()), ("address_links", "INFO"));
    assert!(away["timestamp"].is_string() && away.get("address").is_none(), "{away}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_addresses_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, address) = start(&dir.path().join("relay"), None, None, &["--log-addresses"]).await;
    shout(address, 3).await;
    let line = relay.logged("reason=\"address_links\"").await;
    assert!(line.contains("address=203.0.113.9"), "{line}");
}
