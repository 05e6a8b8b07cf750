//! The candidate as a process that reads and writes lines of JSON.

use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use serde_json::Value;

/// How long an answer may take. Some questions make a candidate seal a million records.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest answer, in bytes.
const LONGEST: u64 = 1 << 20;

/// A running candidate. It is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<Result<String, String>>,
    gone: Option<String>,
}

impl Process {
    /// Starts a program with its arguments.
    pub(crate) fn start(command: &[String]) -> Result<Self, String> {
        let (program, args) = command.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program} does not start: {error}"))?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or("the candidate has no pipes")?;
        let (lines, answers) = channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let mut line = String::new();
                let read = stdout.by_ref().take(LONGEST).read_line(&mut line);
                let (line, over) = match read {
                    Ok(0) => (Err("the candidate has ended".to_owned()), true),
                    Ok(_) if line.ends_with('\n') => (Ok(line), false),
                    Ok(_) => (Err("the candidate's answer is too long, or its last one is cut off".to_owned()), true),
                    Err(error) => (Err(format!("the candidate cannot be read: {error}")), true),
                };
                if lines.send(line).is_err() || over {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, answers, gone: None })
    }

    /// Asks one question and waits for the answer. After the first that does not come there are no more.
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value, String> {
        if let Some(why) = &self.gone {
            return Err(why.clone());
        }
        // A candidate that reads no more may have answered before; what it wrote or did not write says so.
        let _ = writeln!(self.stdin, "{request}").and_then(|()| self.stdin.flush());
        let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(format!("no answer in {} s", PATIENCE.as_secs())),
            RecvTimeoutError::Disconnected => Err("the candidate has ended".to_owned()),
        });
        match answer {
            Ok(line) => serde_json::from_str(&line).map_err(|error| format!("an answer that is not JSON: {error}")),
            Err(why) => {
                self.gone = Some(why.clone());
                Err(why)
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
