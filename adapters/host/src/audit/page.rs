//! Reads a trail backwards, a page at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use super::{AuditError, AuditFiles};

/// The last `limit` lines before number `before`, newest first. Blocks on the disk.
///
/// # Errors
/// [`AuditError`] where a file cannot be read.
pub fn page(files: &AuditFiles, before: u64, limit: usize) -> Result<Vec<Value>, AuditError> {
    let mut page = Vec::new();
    for path in files.existing().into_iter().rev() {
        let io = || AuditError::io("read", &path);
        let mut last = VecDeque::new();
        for line in BufReader::new(File::open(&path).map_err(io())?).lines() {
            // What is no line of a trail is for `verify` to tell.
            let Ok(entry) = serde_json::from_str::<Value>(&line.map_err(io())?) else { continue };
            if entry.get("seq").and_then(Value::as_u64).is_none_or(|seq| seq >= before) {
                continue;
            }
            last.push_back(entry);
            if page.len().saturating_add(last.len()) > limit {
                last.pop_front();
            }
        }
        page.extend(last.into_iter().rev());
        if page.len() >= limit {
            break;
        }
    }
    Ok(page)
}
