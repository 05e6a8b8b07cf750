//! The program as a process, with a data directory of its own and nothing of ours in its environment.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A data directory of its own.
pub(crate) struct Data(TempDir);

impl Data {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = bare();
        command.arg("--data").arg(self.path()).args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        // Without words there is nothing to give a directory to.
        if words.is_empty() { run(words) } else { self.command(words).output().unwrap() }
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.command(words).arg("--json").output().unwrap();
        serde_json::from_slice(&ok(&output).stdout).unwrap()
    }

    pub(crate) fn serve(&self, words: &[&str]) -> Server {
        Server::start(&mut self.command(words))
    }
}

/// A process that runs until it is stopped, at the latest with the test.
pub(crate) struct Server {
    child: Child,
    events: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Self { child, events }
    }

    /// The next line of its output.
    pub(crate) fn event(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}; {:?}", self.stop()))
    }

    /// Ends it in order; its exit code and what it logged.
    pub(crate) fn stop(&mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let code = self.child.wait().unwrap().code();
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).unwrap();
        }
        (code, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, with nothing of ours in its environment.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOMING_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(words: &[&str]) -> Output {
    bare().args(words).output().unwrap()
}

pub(crate) fn ok(output: &Output) -> &Output {
    assert!(output.status.success(), "{output:?}");
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
