//! The same tunnel on smol and on tokio: relay, host and device of the conformance suite, each a process, on loopback. They take
//! turns round by round, and only the CPU time of their own processes counts.
//!
//! Arguments: `--rounds N`, `--mb N` per direction, `--requests N` per round; `--share` samples the processes with
//! `perf` instead and says whose code their CPU runs (build with `CARGO_PROFILE_RELEASE_DEBUG=line-tables-only` and
//! `CARGO_PROFILE_RELEASE_STRIP=none`).

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops at once")]

#[path = "../tunnel/figure.rs"]
mod figure;
#[path = "../tunnel/load.rs"]
mod load;
#[path = "../tunnel/process.rs"]
#[allow(dead_code, reason = "`tunnel` has use for more of it")]
mod process;
mod roles;
#[path = "../tunnel/service.rs"]
mod service;
mod share;

use std::process::ExitCode;

use figure::{Figure, argument, load_average, median};
use roles::Trio;

const CONNECTIONS: usize = 16;
/// Turns that each takes in a round at requests one by one, which the rest of the machine disturbs most.
const WAITS: usize = 8;

fn main() -> ExitCode {
    if roles::play() {
        return ExitCode::SUCCESS;
    }
    let (rounds, mb, requests) = (argument("--rounds", 9), argument("--mb", 500), argument("--requests", 20_000));
    let service = service::Service::start();
    let trios = ["smol", "tokio"].map(|runtime| Trio::start(runtime, &service));
    for trio in &trios {
        load::requests(trio.http, CONNECTIONS, 1000); // warm
    }
    if std::env::args().any(|arg| arg == "--share") {
        return share::report(&trios, mb * 1_000_000, requests);
    }
    let gb = mb as f64 / 1000.0;
    let mut up = Figure::new("bulk device to service, CPU s/GB", Some((false, 1.1)));
    let mut down = Figure::new("bulk service to device, CPU s/GB", Some((false, 1.1)));
    let mut up_speed = Figure::new("bulk device to service, MB/s", Some((true, 0.9)));
    let mut down_speed = Figure::new("bulk service to device, MB/s", Some((true, 0.9)));
    let mut rate = Figure::new("requests/s, 16 connections", Some((true, 0.9)));
    let mut cost = Figure::new("CPU us/request, 16 connections", Some((false, 1.1)));
    let mut wait = Figure::new("p50 us, 1 connection", Some((false, 1.1)));
    for round in 0..rounds {
        eprintln!("round {} of {rounds}, load {}", round + 1, load_average());
        // Whoever was last is first: what changes with time changes for both.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let (elapsed, cpu) = trios[which].measure(|| load::upload(trios[which].bulk, mb * 1_000_000));
            up.values[which].push(cpu / gb);
            up_speed.values[which].push(mb as f64 / elapsed.as_secs_f64());
        }
        for which in order {
            let (elapsed, cpu) = trios[which].measure(|| load::download(trios[which].bulk, mb * 1_000_000));
            down.values[which].push(cpu / gb);
            down_speed.values[which].push(mb as f64 / elapsed.as_secs_f64());
        }
        for which in order {
            let (elapsed, cpu) = trios[which].measure(|| load::requests(trios[which].http, CONNECTIONS, requests));
            rate.values[which].push(requests as f64 / elapsed.as_secs_f64());
            cost.values[which].push(cpu * 1e6 / requests as f64);
        }
        let mut waits = [Vec::new(), Vec::new()];
        for _ in 0..WAITS {
            for which in order {
                waits[which].push(load::median_wait(trios[which].http, requests.min(400)));
            }
        }
        for which in order {
            wait.values[which].push(median(&waits[which]));
        }
    }
    println!("load {}, {rounds} rounds of {mb} MB each way and {requests} requests", load_average());
    println!("| figure                                       |      smol |     tokio | target | ratio (rounds) | |");
    println!("|---|---|---|---|---|---|");
    let figures = [up, down, up_speed, down_speed, rate, cost, wait];
    let missed = figures.iter().filter(|figure| !figure.report()).count();
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
