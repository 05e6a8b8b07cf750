//! Processes of the binary under test: started, listened to, and never left behind.

use core::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{PATIENCE, until};

/// The binary with a data directory, and no settings from around the tests.
pub fn homing(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOMING_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").arg("--data").arg(data).args(args);
    command
}

/// What a command that came to its end said.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; -1 for a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// Runs a command to its end, without stdin, for no longer than [`PATIENCE`].
pub async fn run(data: &Path, args: &[&str]) -> Finished {
    let mut command = tokio::process::Command::from(homing(data, args));
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.unwrap_or_else(|_| panic!("`homing {}` does not end", args.join(" "))).unwrap();
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The most memory that a process ever held, in bytes.
pub fn rss_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running process. Killed when dropped; what it said is printed where the test fails.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts the binary with `args`.
    pub fn start(name: &str, data: &Path, args: &[&str]) -> Self {
        let mut command = homing(data, args);
        if std::env::var_os("HOMING_LOG").is_none() {
            command.env("HOMING_LOG", "info,homing=debug");
        }
        Self::spawn(name, command)
    }

    /// Starts any command.
    pub fn spawn(name: &str, command: Command) -> Self {
        Self::spawn_fed(name, command, Stdio::null())
    }

    /// The same with something on stdin.
    pub fn spawn_fed(name: &str, mut command: Command, stdin: Stdio) -> Self {
        let piped = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { name: name.to_owned(), child: Mutex::new(child), stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Waits for a line of JSON on stdout whose `event` is `name`.
    pub async fn event(&self, name: &str) -> Value {
        let mut found = None;
        until(&format!("{} says the event {name}", self.name), PATIENCE, || {
            let lines = self.said();
            let mut values = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            found = values.find(|value| value["event"] == name);
            found.is_some() || self.must_run(name)
        })
        .await;
        found.unwrap()
    }

    /// Waits for a line in the log that holds `text`.
    pub async fn logged(&self, text: &str) -> String {
        let mut found = None;
        until(&format!("{} logs {text:?}", self.name), PATIENCE, || {
            found = self.log().into_iter().find(|line| line.contains(text));
            found.is_some() || self.must_run(text)
        })
        .await;
        found.unwrap()
    }

    /// Waits for a line on stdout that holds `text`.
    pub async fn says(&self, text: &str) -> String {
        let mut found = None;
        until(&format!("{} says {text:?}", self.name), PATIENCE, || {
            found = self.said().into_iter().find(|line| line.contains(text));
            found.is_some() || self.must_run(text)
        })
        .await;
        found.unwrap()
    }

    /// All that it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// All that it has said on stdout so far.
    pub fn said(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    pub fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    /// A process that ended says nothing more: no use in waiting until the deadline. What it said last is read first.
    fn must_run(&self, awaited: &str) -> bool {
        let ended = self.child.lock().unwrap().try_wait().unwrap();
        // The collectors hold the other references until the pipes are at their end.
        let heard = Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1;
        if let (Some(status), true) = (ended, heard) {
            let all = [self.said(), self.log()].concat().join("\n");
            assert!(all.contains(awaited), "{} ended with {status} before it said {awaited:?}", self.name);
        }
        false
    }

    /// Waits for its end; gives the exit code, -1 for a signal.
    pub async fn ended(&self) -> i32 {
        let mut status = None;
        until(&format!("{} ends", self.name), PATIENCE, || {
            status = self.child.lock().unwrap().try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code().unwrap_or(-1)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "no signal {name} for {}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            for (what, lines) in [("said", &self.stdout), ("logged", &self.stderr)] {
                let lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let from = lines.len().saturating_sub(60);
                eprintln!("--- {} {what} ({from} lines left out)", self.name);
                lines[from..].iter().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

fn collect(pipe: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let sink = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            sink.lock().unwrap().push(line);
        }
    });
    lines
}
