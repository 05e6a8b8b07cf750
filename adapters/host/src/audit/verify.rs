//! Checks a trail from end to end.

use core::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::AuditError;
use super::chain::{LINE_MAX, Line, Link, START};
use super::files::{AuditFiles, Head};

/// Problems that are told one by one.
const TOLD: usize = 20;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Files read.
    pub files: usize,
    /// Lines read.
    pub lines: u64,
    /// Number of the oldest line.
    pub first: u64,
    /// Number of the newest line.
    pub last: u64,
    /// What is wrong; the first twenty.
    pub problems: Vec<Problem>,
    /// How much is wrong.
    pub count: u64,
}

/// Something that is wrong with a trail.
#[derive(Debug)]
pub struct Problem {
    /// The file's name; empty where no file is to blame.
    pub file: String,
    /// The line in it, from 1; zero where no line is to blame.
    pub line: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => f.write_str(&self.what),
            (file, 0) => write!(f, "{file}: {}", self.what),
            (file, line) => write!(f, "{file}, line {line}: {}", self.what),
        }
    }
}

impl Report {
    fn blame(&mut self, file: &str, line: u64, what: impl Into<String>) {
        self.count = self.count.saturating_add(1);
        if self.problems.len() < TOLD {
            self.problems.push(Problem { file: file.into(), line, what: what.into() });
        }
    }
}

/// Reads the whole trail; a running host may go on writing it.
///
/// # Errors
/// [`AuditError`] where a file cannot be read at all.
pub fn verify(files: &AuditFiles) -> Result<Report, AuditError> {
    let mut report = Report::default();
    // First: what is written meanwhile comes after it.
    let head = files.head().unwrap_or_else(|error| {
        report.blame("", 0, format!("{error}"));
        None
    });
    let existing = files.existing();
    if head.is_none() && report.count == 0 && !existing.is_empty() {
        report.blame("audit.head", 0, "it is missing: lines may have been cut from the end");
    }
    let mut walk = Walk { files, head: head.unwrap_or_default(), end: None, report };
    for path in &existing {
        walk.file(path)?;
    }
    Ok(walk.finish())
}

struct Walk<'a> {
    files: &'a AuditFiles,
    head: Head,
    /// Number and link of the line before.
    end: Option<(u64, Link)>,
    report: Report,
}

impl Walk<'_> {
    fn file(&mut self, path: &Path) -> Result<(), AuditError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut reader = BufReader::new(File::open(path).map_err(AuditError::io("read", path))?);
        self.report.files = self.report.files.saturating_add(1);
        for number in 1.. {
            let mut bytes = Vec::new();
            let limit = LINE_MAX as u64 + 1;
            let read = reader.by_ref().take(limit).read_until(b'\n', &mut bytes);
            if read.map_err(AuditError::io("read", path))? == 0 {
                break;
            }
            let whole = bytes.pop_if(|byte| *byte == b'\n').is_some();
            if !whole && bytes.len() as u64 == limit {
                self.report.blame(
                    &name,
                    number,
                    "it is longer than any line of ours; the rest of the file is not read",
                );
                break;
            }
            match core::str::from_utf8(&bytes).ok().and_then(Line::parse) {
                Some(line) if whole => self.line(&name, number, &line),
                // The host may be writing it right now, or was killed while it did.
                _ if !whole && path == self.files.current() => {}
                _ => self.report.blame(&name, number, "it is not a line of an audit trail"),
            }
        }
        Ok(())
    }

    fn line(&mut self, file: &str, number: u64, line: &Line<'_>) {
        let seq = line.seq();
        self.report.lines = self.report.lines.saturating_add(1);
        let (expected, before) = match self.end {
            Some((last, link)) => (last.saturating_add(1), link),
            None => {
                self.report.first = seq;
                if seq > self.head.first {
                    self.report.blame(file, number, format!("the lines before number {seq} were removed"));
                }
                (seq, if seq == 1 { START } else { line.after().unwrap_or(START) })
            }
        };
        if seq > expected {
            self.report.blame(file, number, format!("lines {expected} to {} were removed", seq - 1));
        } else if seq < expected {
            self.report.blame(file, number, format!("number {seq} stands where {expected} should: moved or repeated"));
        } else if !line.follows(&self.files.key, &before) {
            self.report.blame(file, number, "it, or the one before it, was changed");
        }
        if seq == self.head.last && line.link != self.head.link {
            self.report.blame(file, number, "it is not the line that the host wrote");
        }
        self.end = Some((seq, line.link));
    }

    fn finish(mut self) -> Report {
        self.report.last = self.end.map_or(0, |(seq, _)| seq);
        if self.report.last < self.head.last {
            let from = self.report.last.saturating_add(1);
            self.report.blame("", 0, format!("lines {from} to {} were cut from the end", self.head.last));
        }
        self.report
    }
}
