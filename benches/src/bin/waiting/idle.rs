//! What hosts cost while nobody needs them.

use core::net::SocketAddr;
use core::time::Duration;
use std::thread;

use crate::link::{Attached, Idle, Traffic, Waiting};
use crate::process::Process;

/// Hosts that a relay has seen before it is weighed: what it takes once is no cost of a host.
const WARM: usize = 50;

/// Bytes that a relay has resident more for each of so many hosts.
pub(crate) fn weigh<H: Idle>(hosts: u64, start: impl Fn(SocketAddr) -> H) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let (relay, address) = crate::relay(dir.path());
    let settle = || thread::sleep(Duration::from_secs(1));
    drop((0..WARM).map(|_| start(address)).collect::<Vec<_>>());
    settle();
    let before = resident(&relay);
    let all: Vec<H> = (0..hosts).map(|_| start(address)).collect();
    settle();
    let after = resident(&relay);
    drop(all);
    (after - before) / hosts as f64
}

fn resident(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

/// What one host of each kind sends and hears in this time.
pub(crate) fn listen(time: Duration) -> [Traffic; 2] {
    let dir = tempfile::tempdir().unwrap();
    let (_relay, address) = crate::relay(dir.path());
    let attached = thread::spawn(move || Attached::start(address).stay(time));
    let waiting = Waiting::start(address).stay(time);
    [attached.join().unwrap(), waiting]
}
