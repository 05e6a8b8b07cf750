//! Writes lines. Blocks on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use homing_local::clock::{rfc3339, unix_now};
use homing_local::{file, hex};
use serde_json::{Value, json};

use super::AuditError;
use super::chain::{LINE_MAX, Line, Link, emit};
use super::files::{AuditFiles, Head, KEPT};

/// A file that would grow beyond this is left for a new one, in bytes.
const FILE_MAX: u64 = 8 << 20;

/// The one writer of a trail.
pub(crate) struct Writer {
    files: AuditFiles,
    head: Head,
    file: File,
    len: u64,
    file_max: u64,
    _lock: File,
}

impl Writer {
    /// Goes on where the trail ends. What is wrong with its end is left for `verify` to show, and
    /// lines go on in a new file.
    pub(crate) fn open(files: AuditFiles) -> Result<Self, AuditError> {
        Self::with_max(files, FILE_MAX)
    }

    pub(super) fn with_max(files: AuditFiles, file_max: u64) -> Result<Self, AuditError> {
        let path = files.current();
        let lock = file::try_lock(&path)?.ok_or(AuditError::Busy)?;
        let (head, readable) = match files.head() {
            Ok(head) => (head, true),
            Err(_) => (None, false),
        };
        let known = head.is_some();
        let mut head = head.unwrap_or_default();
        let mut file = append_to(&path)?;
        let (len, last) = end_of(&mut file).map_err(AuditError::io("read", &path))?;
        // After a crash there may be lines that the head does not know of; never fewer.
        let sound = match &last {
            Some((seq, _)) => known && *seq >= head.last,
            None => len == 0 && readable && head.last == 0,
        };
        if let Some((seq, link)) = last.filter(|(seq, _)| *seq >= head.last) {
            (head.last, head.link) = (seq, link);
        }
        let mut writer = Self { files, head, file, len, file_max, _lock: lock };
        if !sound {
            tracing::error!("the audit trail does not end where it should; `homing host audit verify` says more");
            if writer.len > 0 {
                writer.rotate()?;
            }
            writer.begin()?;
        } else if writer.len == 0 {
            writer.begin()?;
        }
        Ok(writer)
    }

    /// Adds a line and returns it. It has reached the disk after [`seal`](Self::seal).
    pub(crate) fn append(&mut self, time: u64, event: &str, fields: &Value) -> Result<String, AuditError> {
        let (mut line, mut link) = self.line(time, event, fields);
        if self.len.saturating_add(line.len() as u64) > self.file_max && self.len > 0 {
            self.rotate()?;
            self.begin()?;
            (line, link) = self.line(time, event, fields);
        }
        self.push(&line, link)?;
        Ok(line)
    }

    /// Makes what was added last, also through a crash.
    pub(crate) fn seal(&mut self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(AuditError::io("write", &self.files.current()))?;
        Ok(self.files.set_head(&self.head)?)
    }

    fn line(&self, time: u64, event: &str, fields: &Value) -> (String, Link) {
        let with = |fields: &Value| {
            let mut all = fields.as_object().cloned().unwrap_or_default();
            all.insert("seq".into(), self.head.last.saturating_add(1).into());
            all.insert("time".into(), rfc3339(time).into());
            all.insert("event".into(), event.into());
            emit(&self.files.key, &self.head.link, all)
        };
        let (line, link) = with(fields);
        if line.len() <= LINE_MAX { (line, link) } else { with(&Value::Null) }
    }

    fn push(&mut self, line: &str, link: Link) -> Result<(), AuditError> {
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line would be a line that was changed.
            let _ = self.file.set_len(self.len);
            return Err(AuditError::io("write", &self.files.current())(error));
        }
        self.len = self.len.saturating_add(line.len() as u64);
        self.head.last = self.head.last.saturating_add(1);
        self.head.link = link;
        Ok(())
    }

    /// The first line of a file says what it comes after, so that it can be checked without the
    /// older ones.
    fn begin(&mut self) -> Result<(), AuditError> {
        let after = json!({ "after": hex::emit(&self.head.link) });
        let (line, link) = self.line(unix_now(), "opened", &after);
        self.push(&line, link)?;
        self.seal()
    }

    fn rotate(&mut self) -> Result<(), AuditError> {
        for number in (0..KEPT).rev() {
            let (from, to) = (self.files.numbered(number), self.files.numbered(number + 1));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(AuditError::io("rename", &from)(error));
                }
                _ => {}
            }
        }
        self.file = append_to(&self.files.current())?;
        self.len = 0;
        if let Some(oldest) = self.files.existing().first() {
            self.head.first = first_of(oldest).unwrap_or(self.head.first);
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> Result<File, AuditError> {
    let options = OpenOptions::new().read(true).append(true).create(true).mode(0o600).clone();
    options.open(path).map_err(AuditError::io("open", path))
}

/// The number of a file's first line.
fn first_of(path: &Path) -> Option<u64> {
    let mut head = String::new();
    File::open(path).ok()?.take(LINE_MAX as u64).read_to_string(&mut head).ok()?;
    Line::parse(head.lines().next()?).map(|line| line.seq())
}

/// The file's length and its last line's number and link. A line that a crash cut short is taken
/// away: nobody was told of it.
fn end_of(file: &mut File) -> io::Result<(u64, Option<(u64, Link)>)> {
    let len = file.seek(SeekFrom::End(0))?;
    let from = len.saturating_sub(2 * LINE_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(2 * LINE_MAX as u64).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
    let len = from.saturating_add(whole as u64);
    if whole < tail.len() {
        file.set_len(len)?;
    }
    let lines = tail.get(..whole).unwrap_or_default();
    let last = lines.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    let last = last.and_then(|line| core::str::from_utf8(line).ok()).and_then(Line::parse);
    Ok((len, last.map(|line| (line.seq(), line.link))))
}
