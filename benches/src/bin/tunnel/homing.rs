//! Our tunnel: relay, host and devices as users run them, each with a data directory of its own.

use core::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use homing_benches::program::{free_address, homing_as};

use crate::Tunnel;
use crate::load::answers;
use crate::process::{Process, until};
use crate::service::Service;

pub(crate) fn start(service: &Service) -> Tunnel {
    let kept = tempfile::tempdir().unwrap();
    let dir = kept.path();
    let relay_address = free_address();
    let listen = relay_address.to_string();
    let relay =
        Process::start("relay", dir, homing_as(dir, "relay").args(["relay", "start", "--open", "--listen", &listen]));
    until("our relay", || std::net::TcpStream::connect(relay_address).ok());

    let host = Process::start(
        "host",
        dir,
        homing_as(dir, "host")
            .args(["host", "start", "--name", "bench", "--relay", &format!("ws://{relay_address}")])
            .args(["--expose", &format!("bulk=tcp://{}", service.bulk)])
            .args(["--expose", &format!("raw=tcp://{}", service.http)])
            .args(["--expose", &format!("web=http://{}", service.http)]),
    );
    let link = until("our host", || ticket(dir));
    Process::start("pair", dir, homing_as(dir, "device").args(["pair", &link.1])).finish();
    link.0.finish();

    let mut processes = vec![relay, host];
    let [bulk, raw, web] = [("device bulk", "bulk"), ("device raw", "raw"), ("device web", "web")]
        .map(|(role, name)| forward(dir, role, name, &mut processes));
    until("our raw service", || answers(raw).then_some(()));
    until("our web service", || answers(web).then_some(()));
    Tunnel { name: "homing", processes, bulk, raw, web: Some(web), _dir: kept }
}

/// Asks the host for a link; none while it is not up.
fn ticket(dir: &Path) -> Option<(Process, String)> {
    let mut command = homing_as(dir, "host");
    let mut process =
        Process::start("ticket", dir, command.args(["host", "pair", "--auto", "--json"]).stdout(Stdio::piped()));
    let mut lines = process.lines();
    let line = lines.next()?;
    let link = line["link"].as_str().expect("a link").to_owned();
    process.keep(lines);
    Some((process, link))
}

fn forward(dir: &Path, role: &'static str, name: &str, processes: &mut Vec<Process>) -> SocketAddr {
    let mut command = homing_as(dir, "device");
    command.args(["forward", &format!("bench/{name}"), "127.0.0.1:0", "--json"]).stdout(Stdio::piped());
    let mut process = Process::start(role, dir, &mut command);
    let mut lines = process.lines();
    let line = lines.next().unwrap_or_else(|| process.complain());
    process.keep(lines);
    processes.push(process);
    line["address"].as_str().expect("an address").parse().unwrap()
}
