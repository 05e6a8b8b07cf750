//! How long the first byte takes: with a device that is connected, with one that has to, and with a host that has to be
//! woken besides.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use homing_benches::program::homing_as;
use serde_json::Value;

use crate::figure::median;
use crate::process::{Process, until};

/// A service that says back what it hears.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

/// Medians in milliseconds.
pub(crate) fn bytes(samples: u64) -> [f64; 3] {
    let service = echo();
    let dir = tempfile::tempdir().unwrap();
    let (_relay, address) = crate::relay(dir.path());
    let hosts = ["attached", "woken"].map(|name| host(dir.path(), name, address, service));
    let (mut there, mut cold) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..samples {
        for (values, name) in cold.iter_mut().zip(["attached", "woken"]) {
            until("everybody to have left", || (links(dir.path()) == 2).then_some(()));
            values.push(connect(dir.path(), name));
        }
    }
    let mut forward = homing_as(dir.path(), "device");
    let mut forward = Process::start(
        "forward",
        dir.path(),
        forward.args(["forward", "attached/echo", "127.0.0.1:0", "--json"]).stdout(Stdio::piped()),
    );
    let mut lines = forward.lines();
    let line = lines.next().unwrap_or_else(|| forward.complain());
    forward.keep(lines);
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    for sample in 0..=samples {
        let since = Instant::now();
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.write_all(b"x").unwrap();
        tcp.read_exact(&mut [0]).unwrap();
        // The first connects.
        if sample > 0 {
            there.push(since.elapsed().as_secs_f64() * 1e3);
        }
    }
    drop(hosts);
    [median(&there), median(&cold[0]), median(&cold[1])]
}

fn host(dir: &Path, name: &'static str, relay: SocketAddr, service: SocketAddr) -> Process {
    let mut command = homing_as(dir, name);
    command.args(["host", "start", "--name", name, "--relay", &format!("ws://{relay}")]);
    command.args(["--expose", &format!("echo=tcp://{service}")]);
    if name == "woken" {
        command.arg("--on-demand").env("HOMING_HOST_LINGER_SECONDS", "1");
    }
    let host = Process::start(name, dir, &mut command);
    let (ticket, link) = until("a host", || {
        let mut command = homing_as(dir, name);
        let mut process =
            Process::start("ticket", dir, command.args(["host", "pair", "--auto", "--json"]).stdout(Stdio::piped()));
        let mut lines = process.lines();
        let link = lines.next()?["link"].as_str().unwrap().to_owned();
        process.keep(lines);
        Some((process, link))
    });
    Process::start("pair", dir, homing_as(dir, "device").args(["pair", &link])).finish();
    ticket.finish();
    host
}

/// Links that the relay has: of each host one, where nobody else is there.
fn links(dir: &Path) -> u64 {
    let said = homing_as(dir, "relay").args(["relay", "status", "--json"]).stdout(Stdio::piped()).output().unwrap();
    let status: Value = serde_json::from_slice(&said.stdout).unwrap();
    status["links"].as_u64().unwrap()
}

/// Milliseconds from the start of a `connect` to the first byte that comes back.
fn connect(dir: &Path, host: &str) -> f64 {
    let mut command = homing_as(dir, "device");
    command.args(["connect", &format!("{host}/echo")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let since = Instant::now();
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let took = since.elapsed();
    drop(child.stdin.take());
    child.wait().unwrap();
    thread::sleep(Duration::from_millis(50));
    took.as_secs_f64() * 1e3
}
