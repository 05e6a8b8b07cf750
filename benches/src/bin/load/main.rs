//! What a relay carries on this machine: figures L1 to L8 and R1 to R3, each a command; `all` is those that take minutes.
//!
//! `HOMING` names the binary, which is beside this one otherwise. `--out FILE` takes lines of JSON. Relay and load share
//! the machine.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops at once")]

mod accept;
mod aside;
mod blackhole;
mod crowd;
mod drain;
mod forward;
mod idle;
mod latency;
mod overload;
mod pairs;
mod peer;
mod relay;
mod sheet;
mod soak;
mod splice;
mod storm;
mod target;
mod wire;

use std::process::ExitCode;

use idle::Idle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sheet::Sheet;

fn main() -> ExitCode {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let mut sheet = Sheet::new(text("--out"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&mut sheet));
    if sheet.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(sheet: &mut Sheet) {
    let command = std::env::args().nth(1).unwrap_or_default();
    match command.as_str() {
        "idle" => {
            let (tls, burst, seconds) = (flag("--tls"), flag("--burst"), number("--seconds", 0) as u64);
            let (hosts, devices) = (number("--hosts", 4000), number("--devices", 4000));
            idle::run(sheet, &Idle { hosts, devices, tls, seconds, burst }).await;
        }
        "accept" => accept::run(sheet, number("--seconds", 5) as u64, number("--rounds", 3)).await,
        "forward" => {
            let (seconds, rounds) = (number("--seconds", 5) as u64, number("--rounds", 3));
            forward::run(sheet, number("--pairs", 32), seconds, rounds, flag("--tls")).await;
        }
        "latency" => latency::run(sheet, number("--seconds", 10) as u64).await,
        "soak" => {
            let (hosts, devices) = (number("--hosts", 500), number("--devices", 500));
            soak::run(sheet, &soak::Soak { hosts, devices, seconds: number("--seconds", 3600) as u64 }).await;
        }
        "overload" => overload::run(sheet, number("--seconds", 10) as u64).await,
        "storm" => storm::run(sheet, number("--hosts", 9000)).await,
        "drain" => drain::run(sheet, number("--hosts", 2000)).await,
        "blackhole" => blackhole::run(sheet, number("--hosts", 1000)).await,
        "all" => all(sheet).await,
        "splice" => {
            let address = |place| std::env::args().nth(place).and_then(|text| text.parse().ok()).expect("IP:PORT");
            splice::serve(address(2), address(3)).await;
        }
        _ => panic!("a command: idle, accept, forward, latency, soak, overload, storm, drain, blackhole or all"),
    }
}

/// Everything but the hour and the half hour, in some ten minutes.
async fn all(sheet: &mut Sheet) {
    idle::run(sheet, &Idle { hosts: 4000, devices: 4000, tls: false, seconds: 0, burst: true }).await;
    idle::run(sheet, &Idle { hosts: 4000, devices: 4000, tls: true, seconds: 48, burst: true }).await;
    idle::run(sheet, &Idle { hosts: 9000, devices: 9000, tls: false, seconds: 48, burst: false }).await;
    accept::run(sheet, 5, 3).await;
    forward::run(sheet, 32, 5, 5, false).await;
    forward::run(sheet, 32, 5, 3, true).await;
    latency::run(sheet, 10).await;
    overload::run(sheet, 10).await;
    storm::run(sheet, 9000).await;
    drain::run(sheet, 2000).await;
    blackhole::run(sheet, 1000).await;
}

fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

fn number(name: &str, default: usize) -> usize {
    text(name).map_or(default, |value| value.parse().expect("a number"))
}

fn flag(name: &str) -> bool {
    std::env::args().any(|arg| arg == name)
}
