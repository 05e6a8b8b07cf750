//! A host on demand beside an attached one, in one run: what each costs a relay while nobody needs it, what each sends
//! meanwhile, and how long a device waits for its first byte.
//!
//! `HOMING` names the binary, which is beside this one otherwise. Arguments: `--hosts N`, `--rounds N`, `--seconds N` of
//! idle time, `--samples N` of first bytes.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops at once")]

#[path = "../tunnel/figure.rs"]
#[allow(dead_code, reason = "`tunnel` has use for more of it")]
mod figure;
mod first;
mod idle;
mod link;
#[path = "../tunnel/process.rs"]
#[allow(dead_code, reason = "`tunnel` has use for more of it")]
mod process;

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;

use homing_benches::program::{free_address, homing_as};

use figure::{argument, load_average, median};
use link::{Attached, Idle as _, Waiting};
use process::{Process, until};

fn main() {
    let (hosts, rounds) = (argument("--hosts", 1000), argument("--rounds", 5));
    let (seconds, samples) = (argument("--seconds", 120), argument("--samples", 40));
    println!("load {}, {hosts} hosts, {rounds} rounds, {seconds} s idle, {samples} first bytes", load_average());

    let (mut attached, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        attached.push(idle::weigh(hosts, Attached::start));
        waiting.push(idle::weigh(hosts, Waiting::start));
    }
    println!("| figure | attached | on demand | ratio |\n|---|---|---|---|");
    row("relay, resident bytes per idle host", median(&attached), median(&waiting));

    let [attached, waiting] = idle::listen(Duration::from_secs(seconds));
    let hour = 3600.0 / seconds as f64;
    row("messages per idle hour", attached.messages * hour, waiting.messages * hour);
    row("their bytes per idle hour, TCP's payload", attached.bytes * hour, waiting.bytes * hour);
    row("the same with TLS and IPv4, each acknowledged", attached.on_the_wire() * hour, waiting.on_the_wire() * hour);

    let [there, attached, woken] = first::bytes(samples);
    println!("| first byte of a request, device connected, p50 ms | {there:.2} | | |");
    row("first byte, the device has to connect, p50 ms", attached, woken);
}

fn row(figure: &str, attached: f64, waiting: f64) {
    println!("| {figure} | {attached:.2} | {waiting:.2} | {:.2} |", waiting / attached);
}

/// A relay for this machine, and where it listens.
fn relay(dir: &Path) -> (Process, SocketAddr) {
    let address = free_address();
    let listen = address.to_string();
    let mut command = homing_as(dir, "relay");
    let relay = Process::start("relay", dir, command.args(["relay", "start", "--open", "--listen", &listen]));
    until("the relay", || std::net::TcpStream::connect(address).ok());
    (relay, address)
}
