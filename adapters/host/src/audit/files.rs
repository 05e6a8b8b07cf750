//! Where the trail is.

use std::path::{Path, PathBuf};

use homing_core::crypto::Secret;
use homing_local::FileError;
use homing_local::file;
use homing_local::hex;
use serde_json::{Value, json};

use super::chain::{Link, START};

/// Older files that are kept.
pub(super) const KEPT: usize = 8;

/// The files of an audit trail, and the key of its chain.
pub struct AuditFiles {
    dir: PathBuf,
    pub(super) key: Secret<32>,
}

impl core::fmt::Debug for AuditFiles {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AuditFiles").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl AuditFiles {
    /// Those in this data directory.
    #[must_use]
    pub fn new(dir: &Path, key: Secret<32>) -> Self {
        Self { dir: dir.into(), key }
    }

    /// The file that is written to.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.numbered(0)
    }

    /// Those that exist, oldest first.
    #[must_use]
    pub fn existing(&self) -> Vec<PathBuf> {
        (0..=KEPT).rev().map(|number| self.numbered(number)).filter(|path| path.exists()).collect()
    }

    pub(super) fn numbered(&self, number: usize) -> PathBuf {
        match number {
            0 => self.dir.join("audit.ndjson"),
            _ => self.dir.join(format!("audit.{number}.ndjson")),
        }
    }

    fn head_path(&self) -> PathBuf {
        self.dir.join("audit.head")
    }

    /// None where there is none; one that nobody of ours wrote is an error.
    pub(super) fn head(&self) -> Result<Option<Head>, FileError> {
        let path = self.head_path();
        let Some(value) = file::read_json::<Value>(&path)? else { return Ok(None) };
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let link = || Some(*hex::parse(value.get("chain")?.as_str()?)?.expose());
        let head = (|| Some(Head { first: number("first")?, last: number("last")?, link: link()? }))();
        head.map(Some).ok_or(FileError::Unreadable { path, line: 1, column: 0 })
    }

    pub(super) fn set_head(&self, head: &Head) -> Result<(), FileError> {
        let value = json!({ "first": head.first, "last": head.last, "chain": hex::emit(&head.link) });
        file::write_json(&self.head_path(), &value)
    }
}

/// What there should be.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Number of the oldest line, from 1.
    pub(super) first: u64,
    /// Number of the newest line; zero before the first.
    pub(super) last: u64,
    /// The newest line's link.
    pub(super) link: Link,
}

impl Default for Head {
    fn default() -> Self {
        Self { first: 1, last: 0, link: START }
    }
}
