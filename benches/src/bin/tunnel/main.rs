//! The whole tunnel on loopback beside rathole with Noise, in one run: they take turns round by
//! round, and only the CPU time of their own processes counts.
//!
//! `RATHOLE` and `HOMING` name the two binaries. Arguments: `--rounds N`, `--mb N` per direction,
//! `--requests N` per round. With `--alone` there is no rathole, and figures are told as they are.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops at once")]

mod figure;
mod homing;
mod load;
mod process;
mod rathole;
mod service;

use core::net::SocketAddr;
use std::process::ExitCode;

use figure::{Figure, argument, load_average};
use process::Process;

const CONNECTIONS: usize = 16;

/// A tunnel that runs: its processes, and where each service comes out.
struct Tunnel {
    name: &'static str,
    processes: Vec<Process>,
    bulk: SocketAddr,
    /// The HTTP service as raw TCP.
    raw: SocketAddr,
    /// The HTTP service as HTTP, where the tunnel knows the difference.
    web: Option<SocketAddr>,
    /// Data, configuration and logs of the processes; gone after them.
    _dir: tempfile::TempDir,
}

impl Tunnel {
    fn cpu(&self) -> f64 {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// What `work` returns, and the tunnel's CPU seconds meanwhile.
    fn measure<T>(&self, work: impl FnOnce() -> T) -> (T, f64) {
        let before = self.cpu();
        let done = work();
        (done, self.cpu() - before)
    }
}

/// Many connections, as a page of many parts makes them.
const MANY: usize = 64;

/// Ours without the other: one stream, and many.
fn alone(tunnel: &Tunnel, rounds: u64, mb: u64, requests: u64) {
    let web = tunnel.web.unwrap();
    load::requests(web, MANY, 1000); // warm
    let [mut up, mut down, mut rate] = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        let mib = mb as f64 * 1e6 / 1024.0 / 1024.0;
        up.push(mib / load::upload(tunnel.bulk, mb * 1_000_000).as_secs_f64());
        down.push(mib / load::download(tunnel.bulk, mb * 1_000_000).as_secs_f64());
        rate.push(requests as f64 / load::requests(web, MANY, requests).as_secs_f64());
    }
    let load = load_average();
    for (figure, values) in [
        ("one stream, device to service, MiB/s (>= 150)", up),
        ("one stream, service to device, MiB/s (>= 150)", down),
        ("http:// requests/s, 64 streams (>= 1500)", rate),
    ] {
        let value = figure::median(&values);
        println!("{}", serde_json::json!({ "id": "L5", "figure": figure, "value": value.round(), "load": load }));
    }
}

fn main() -> ExitCode {
    let (rounds, mb, requests) = (argument("--rounds", 5), argument("--mb", 1000), argument("--requests", 20_000));
    let service = service::Service::start();
    if std::env::args().any(|arg| arg == "--alone") {
        alone(&homing::start(&service), rounds, mb, requests);
        return ExitCode::SUCCESS;
    }
    let tunnels = [homing::start(&service), rathole::start(&service)];
    let gb = mb as f64 / 1000.0;

    let figure = Figure::new;
    let mut up = figure("bulk device to service, CPU s/GB", Some((false, 1.2)));
    let mut down = figure("bulk service to device, CPU s/GB", Some((false, 1.2)));
    let mut speed = figure("bulk service to device, MB/s", None);
    let mut rate = figure("requests/s, raw TCP, 16 connections", Some((true, 0.8)));
    let mut cost = figure("CPU us/request, raw TCP, 16 connections", None);
    let mut wait = figure("p50 us, raw TCP, 1 connection", None);
    let mut web_rate = figure("requests/s, http:// beside rathole's TCP", None);
    let mut web_cost = figure("CPU us/request, http:// beside rathole's TCP", None);
    for tunnel in &tunnels {
        load::requests(tunnel.raw, CONNECTIONS, 1000); // warm
    }
    for round in 0..rounds {
        eprintln!("round {} of {rounds}, load {}", round + 1, load_average());
        for (which, tunnel) in tunnels.iter().enumerate() {
            let (_, cpu) = tunnel.measure(|| load::upload(tunnel.bulk, mb * 1_000_000));
            up.values[which].push(cpu / gb);
            let (elapsed, cpu) = tunnel.measure(|| load::download(tunnel.bulk, mb * 1_000_000));
            down.values[which].push(cpu / gb);
            speed.values[which].push(mb as f64 / elapsed.as_secs_f64());
            let (elapsed, cpu) = tunnel.measure(|| load::requests(tunnel.raw, CONNECTIONS, requests));
            rate.values[which].push(requests as f64 / elapsed.as_secs_f64());
            cost.values[which].push(cpu * 1e6 / requests as f64);
            wait.values[which].push(load::median_wait(tunnel.raw, requests.min(2000)));
            match tunnel.web {
                Some(web) => {
                    let (elapsed, cpu) = tunnel.measure(|| load::requests(web, CONNECTIONS, requests));
                    web_rate.values[which].push(requests as f64 / elapsed.as_secs_f64());
                    web_cost.values[which].push(cpu * 1e6 / requests as f64);
                }
                None => {
                    let raw = [rate.values[which].last(), cost.values[which].last()].map(|value| *value.unwrap());
                    web_rate.values[which].push(raw[0]);
                    web_cost.values[which].push(raw[1]);
                }
            }
        }
    }

    println!("load {}, {rounds} rounds of {mb} MB each way and {requests} requests", load_average());
    println!("| figure                                       |    homing |   rathole | target | ratio (rounds) | |");
    println!("|---|---|---|---|---|---|");
    let figures = [up, down, speed, rate, cost, wait, web_rate, web_cost];
    let missed = figures.iter().filter(|figure| !figure.report()).count();
    println!("\n| process | peak RSS MB | CPU s in all |\n|---|---|---|");
    for tunnel in &tunnels {
        for process in &tunnel.processes {
            println!("| {} {} | {:.1} | {:.2} |", tunnel.name, process.role, process.peak_mb(), process.cpu());
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
