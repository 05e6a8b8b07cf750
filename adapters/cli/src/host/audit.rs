//! `homing host audit …`: reads the trail's files, whether a host runs or not.

use core::time::Duration;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use homing_host::audit::{AuditFiles, verify};
use homing_host::registry;
use serde_json::{Value, json};

use super::{ask, refused};
use crate::args::{AuditCommand, HostAuditArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, clean_line, field};

/// How soon a new line is shown.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a running host may take to write what has happened before. What it has written is shown in any case.
const WRITING: Duration = Duration::from_secs(2);

pub(crate) async fn audit(args: HostAuditArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let files = registry::audit_files(data).map_err(|error| refused(&error))?;
    let _ = tokio::time::timeout(WRITING, ask(data, &json!({ "cmd": "audit" }))).await;
    if let Some(AuditCommand::Verify) = args.command {
        return check(&files, out);
    }
    let mut follower = Follower { path: files.current(), open: None };
    let mut last = VecDeque::new();
    let older = files.existing();
    for path in older.iter().filter(|path| **path != follower.path) {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        keep(&mut last, args.last, BufReader::new(file).lines()).map_err(|error| unreadable(path, &error))?;
    }
    keep(&mut last, args.last, follower.lines()?.into_iter().map(Ok)).map_err(|error| unreadable(data, &error))?;
    for line in last {
        show(&line, out)?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for line in follower.lines()? {
            show(&line, out)?;
        }
    }
}

fn check(files: &AuditFiles, out: Output) -> Result<(), Failure> {
    let report = verify(files).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let problems: Vec<_> = report.problems.iter().map(|problem| clean_line(&problem.to_string())).collect();
    let sound = problems.is_empty();
    let (lines, first, last) = (report.lines, report.first, report.last);
    out.json(&json!({ "ok": sound, "files": report.files, "lines": lines, "first": first, "last": last,
        "problems": problems, "problem_count": report.count }))?;
    for problem in &problems {
        out.text(format_args!("{} {problem}", out.red("✗")))?;
    }
    if sound {
        return out.text(format_args!("{} {lines} lines, {first} to {last}, as the host wrote them", out.green("✓")));
    }
    Err(Failure::new(Exit::Failed, format!("the audit trail was changed: {} problems in {lines} lines", report.count)))
}

fn keep(last: &mut VecDeque<String>, most: usize, lines: impl Iterator<Item = io::Result<String>>) -> io::Result<()> {
    for line in lines {
        last.push_back(line?);
        if last.len() > most {
            last.pop_front();
        }
    }
    Ok(())
}

/// Reads what is added to a file, and goes on with the new one when it is rotated.
struct Follower {
    path: PathBuf,
    open: Option<(BufReader<File>, String)>,
}

impl Follower {
    fn lines(&mut self) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        self.read(&mut lines).map_err(|error| unreadable(&self.path, &error))?;
        Ok(lines)
    }

    fn read(&mut self, lines: &mut Vec<String>) -> io::Result<()> {
        loop {
            let (reader, part) = match &mut self.open {
                Some(open) => open,
                None => match File::open(&self.path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    file => self.open.insert((BufReader::new(file?), String::new())),
                },
            };
            // Before the end is looked for: what is written to a file that was rotated is over.
            let rotated = rotated(reader.get_ref(), &self.path)?;
            while reader.read_line(part)? > 0 {
                if part.ends_with('\n') {
                    lines.push(core::mem::take(part).trim_end().to_owned());
                }
            }
            if !rotated {
                return Ok(());
            }
            self.open = None;
        }
    }
}

fn rotated(open: &File, path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false), // between two renames
        there => Ok(there?.ino() != open.metadata()?.ino()),
    }
}

fn show(line: &str, out: Output) -> Result<(), Failure> {
    let Ok(value) = serde_json::from_str::<Value>(line) else {
        return Err(Failure::failed("a line of the audit trail is damaged; `homing host audit verify` says which"));
    };
    out.json(&value)?;
    let known = ["time", "event", "seq", "chain", "after"];
    let rest = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null());
    let rest: Vec<_> = rest.map(|(name, _)| format!("{name}={}", field(&value, name))).collect();
    out.text(format_args!("{}  {:<14}  {}", out.dim(field(&value, "time")), field(&value, "event"), rest.join("  ")))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read {}: {error}", path.display()))
}
