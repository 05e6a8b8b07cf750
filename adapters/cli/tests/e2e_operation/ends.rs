//! Host and device of a relay that has a certificate, and requests written by hand.

use core::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use homing_tokio::{ClientTls, Io, RelayUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::plain;
use crate::support::process::homing;
use crate::support::{HOST, Process, within};

/// The program, trusting an authority.
pub(crate) fn trusting(root: &Path, data: &Path, args: &[&str]) -> Command {
    let mut command = homing(data, args);
    command.env("SSL_CERT_FILE", root).env_remove("SSL_CERT_DIR").env("HOMING_LOG", "info,homing=debug");
    command
}

/// A host that serves a page, and a device that reads it, both at the relay of this URL.
pub(crate) async fn reach(dir: &Path, root: &Path, url: &str) {
    reach_with(dir, root, url, &[]).await;
}

/// The same with further flags for the host.
pub(crate) async fn reach_with(dir: &Path, root: &Path, url: &str, flags: &[&str]) {
    let page = format!("web=http://{}", plain::page("", "through").await);
    let (host, device) = (dir.join("host"), dir.join("device"));
    let args = ["host", "start", "--relay", url, "--name", HOST, "--expose", &page];
    let running = Process::spawn("host", trusting(root, &host, &[&args[..], flags].concat()));
    running.logged("reachable through relay").await;
    let dialog = Process::spawn("host pair", trusting(root, &host, &["host", "pair", "--auto", "--json"]));
    let link = dialog.event("ticket").await["link"].as_str().unwrap().to_owned();
    let pair = Process::spawn("pair", trusting(root, &device, &["pair", &link]));
    assert_eq!(pair.ended().await, 0, "{:?}", pair.log());
    let args = ["forward", &format!("{HOST}/web"), "127.0.0.1:0", "--json"];
    let forward = Process::spawn("forward", trusting(root, &device, &args));
    let address = forward.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    let answer = plain::get(address, "/", "").await.unwrap();
    assert!(answer.ends_with("through"), "{answer}");
}

/// A connection from another address of this machine.
pub(crate) async fn tcp_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
    within(socket.connect(to)).await.unwrap()
}

/// The same encrypted, to a port of `localhost`.
pub(crate) async fn tls_from(from: [u8; 4], port: u16, root: &Path) -> Io {
    let url: RelayUrl = format!("wss://localhost:{port}").parse().unwrap();
    let tcp = tcp_from(from, ([127, 0, 0, 1], port).into()).await;
    within(homing_tokio::encrypt(&url, &ClientTls::trusting(root), tcp)).await.unwrap()
}

/// Asks for a link; the status of the answer.
pub(crate) async fn ask(io: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), headers: &str) -> u16 {
    let request = format!(
        "GET /homing/1 HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(io.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
