//! A process of a tunnel: started, weighed through `/proc`, ended with its owner.

use core::time::Duration;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use homing_benches::program;
use serde_json::Value;

/// How long a step of setting a tunnel up may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Process {
    pub(crate) role: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says goes to a log in `dir`.
    pub(crate) fn start(role: &'static str, dir: &Path, command: &mut Command) -> Self {
        let log = dir.join(format!("{role}.log"));
        let said = File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stderr(said).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        Self { role, child, log }
    }

    /// Its stdout, which was to be piped.
    pub(crate) fn lines(&mut self) -> Lines {
        Lines(BufReader::new(self.child.stdout.take().unwrap()))
    }

    /// Keeps its stdout open, so that it may go on printing.
    pub(crate) fn keep(&mut self, lines: Lines) {
        self.child.stdout = Some(lines.0.into_inner());
    }

    /// Stops the bench with what the process said.
    pub(crate) fn complain(&self) -> ! {
        panic!("{}: {}", self.role, fs::read_to_string(&self.log).unwrap())
    }

    /// Waits for it to end well.
    pub(crate) fn finish(mut self) {
        if !self.child.wait().unwrap().success() {
            self.complain();
        }
    }

    /// What the system calls it.
    #[allow(dead_code, reason = "one of the programs has use for it")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds so far, of all threads, in user and kernel.
    pub(crate) fn cpu(&self) -> f64 {
        program::cpu(self.child.id()).expect("it runs")
    }

    /// The most memory that was ever resident.
    pub(crate) fn peak_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// What a process prints.
pub(crate) struct Lines(BufReader<ChildStdout>);

impl Lines {
    /// The next line of JSON; none where the process ended without one.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }
}

/// Tries until it works or patience ends.
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < deadline, "{what} does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
}
