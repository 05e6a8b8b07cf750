//! The processes of a tunnel on one runtime: this program again, with a role to play.

use core::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use homing_conformance::{Device, Host, RunningRelay, Runtime, Smol, Tokio, forward};
use homing_core::handshake::Suite;
use homing_core::pairing::parse_link;
use homing_driver::device::Opener;
use homing_driver::relay::{ClientTls, RelayUrl};

use crate::load::answers;
use crate::process::{Process, until};
use crate::service::Service;

/// A relay, a host and a device that run, and where the services come out.
pub(crate) struct Trio {
    pub(crate) runtime: &'static str,
    pub(crate) processes: Vec<Process>,
    pub(crate) bulk: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Logs of the processes; gone after them.
    _dir: tempfile::TempDir,
}

impl Trio {
    pub(crate) fn start(runtime: &'static str, service: &Service) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = Vec::new();
        let mut role = |role: &'static str, arguments: &[&str]| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--play", role, runtime]).args(arguments).stdout(Stdio::piped());
            let mut process = Process::start(role, dir.path(), &mut command);
            let mut lines = process.lines();
            let told = lines.next().unwrap_or_else(|| process.complain());
            process.keep(lines);
            processes.push(process);
            told
        };
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let url = text(&role("relay", &[]));
        let link = text(&role("host", &[&url]));
        let told = role("device", &[&url, &link, &service.bulk.to_string(), &service.http.to_string()]);
        let [bulk, http] = [0, 1].map(|index| text(&told[index]).parse().unwrap());
        until(runtime, || answers(http).then_some(()));
        Self { runtime, processes, bulk, http, _dir: dir }
    }

    fn cpu(&self) -> f64 {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// What `work` returns, and the processes' CPU seconds meanwhile.
    pub(crate) fn measure<T>(&self, work: impl FnOnce() -> T) -> (T, f64) {
        let before = self.cpu();
        let done = work();
        (done, self.cpu() - before)
    }
}

/// Plays the role that the command line asks for; false where it asks for none.
pub(crate) fn play() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[1..] {
        ["--play", role, "smol", ref rest @ ..] => on::<Smol>(role, rest),
        ["--play", role, "tokio", ref rest @ ..] => on::<Tokio>(role, rest),
        _ => return false,
    }
    true
}

/// Says where it is to be found, and goes on until it is ended.
fn on<R: Runtime>(role: &str, arguments: &[&str]) {
    match (role, arguments) {
        ("relay", []) => {
            let relay = RunningRelay::start::<R>(None);
            println!("{}", serde_json::json!(relay.url.to_string()));
            wait(relay);
        }
        ("host", [url]) => {
            let host = Host::start::<R>(&url.parse().unwrap(), ClientTls::system(), Suite::Classic);
            let mut link = String::new();
            host.ticket.write_link(&mut link).unwrap();
            println!("{}", serde_json::json!(link));
            wait(host);
        }
        ("device", [url, link, services @ ..]) => {
            let url: RelayUrl = url.parse().unwrap();
            let ticket = parse_link(link).unwrap().into();
            let (device, pairing) = Device::pair::<R>(&url, ClientTls::system(), &ticket);
            let opener = pairing.opener();
            pairing.close(&opener);
            let (opener, calling) = device.reach::<R>(&url);
            let addresses: Vec<String> =
                services.iter().map(|service| expose::<R>(&opener, service.parse().unwrap()).to_string()).collect();
            println!("{}", serde_json::json!(addresses));
            wait((device, calling));
        }
        _ => panic!("no such role: {role} {arguments:?}"),
    }
}

fn expose<R: Runtime>(opener: &Opener, service: SocketAddr) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    let opener = opener.clone();
    std::thread::spawn(move || R::run(forward::<R>(opener, service, move |address| tell.send(address).unwrap())));
    told.recv().unwrap()
}

/// Keeps what runs, until somebody ends the process.
fn wait<T>(_kept: T) {
    loop {
        std::thread::park();
    }
}
