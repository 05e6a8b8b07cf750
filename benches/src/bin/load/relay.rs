//! The relay under load: the program as it is installed, in a process of its own, weighed through `/proc`.

use core::time::Duration;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use homing_benches::program::{self, homing};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::target::Target;

pub(crate) struct Relay {
    child: Child,
    dir: tempfile::TempDir,
    pub(crate) target: Target,
    /// What it is started with.
    program: Vec<String>,
}

/// How a relay is to be started.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) tls: bool,
    pub(crate) links: usize,
    /// MiB that may wait.
    pub(crate) queues: usize,
    /// What the program is started by: `taskset -c 0`, or the like.
    pub(crate) by: Vec<String>,
}

impl Relay {
    pub(crate) fn start(plan: &Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut args =
            vec!["relay".to_owned(), "start".into(), "--open".into(), "--listen".into(), address.to_string()];
        args.extend(["--max-links".into(), plan.links.max(1024).to_string()]);
        args.extend(["--queue-mib".into(), plan.queues.max(256).to_string()]);
        let mut target = Target::plain(address);
        if plan.tls {
            let (cert, key) = certificate(dir.path());
            args.extend(["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()].map(String::from));
            target = Target::encrypted(address, &cert);
        }
        let mut program = plan.by.clone();
        program.extend([homing().to_str().unwrap().to_owned(), "--data".into()]);
        program.push(dir.path().join("relay").to_str().unwrap().to_owned());
        program.extend(args);
        let child = spawn(&program, dir.path());
        let relay = Self { child, dir, target, program };
        relay.until_up();
        relay
    }

    fn until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.target.address).is_err() {
            let said = || fs::read_to_string(self.dir.path().join("relay.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the relay does not come up: {}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it again, where it was before.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.program, self.dir.path());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What `homing relay status` tells.
    pub(crate) fn status(&self) -> Value {
        let mut command = Command::new(homing());
        command.arg("--data").arg(self.dir.path().join("relay")).args(["relay", "status", "--json"]);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }

    /// Waits until it has so many links.
    pub(crate) fn until_links(&self, links: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.status()["links"].as_u64() != Some(links) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn target(&self) -> Target {
        self.target.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn spawn(program: &[String], dir: &Path) -> Child {
    let log = File::create(dir.join("relay.log")).unwrap();
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program[0]))
}

/// An authority's certificate that is the server's as well, and its key: ECDSA on P-256.
fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

/// Bytes that a process has resident.
pub(crate) fn resident(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0
}

/// CPU seconds of a process so far; 0 where it is gone.
pub(crate) fn cpu(id: u32) -> f64 {
    program::cpu(id).unwrap_or(0.0)
}

pub(crate) fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}
