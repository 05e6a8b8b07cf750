//! The audit trail: one JSON object per line, each chained to the one before under a key of the
//! host, in files that rotate. Nothing here decides anything; it remembers what was decided.
//!
//! | file in the data directory | holds |
//! |---|---|
//! | `audit.ndjson` | the latest lines |
//! | `audit.1.ndjson` … `audit.8.ndjson` | older ones, 1 the youngest |
//! | `audit.head` | the first and last line that there should be |
//!
//! A line is `{"seq":…,"time":…,"event":…,…,"chain":…}`. `chain` is keyed BLAKE2s of the chain before
//! it and the line's text up to it, so a line that was changed, removed or moved shows without
//! the file it was in being trusted. Lines cut from the end show by `audit.head`. Who can read
//! the host's key file could write another trail; to keep such people out, follow the trail to
//! another machine.
//!
//! | field of `refused` | says |
//! |---|---|
//! | `reason` | why: `handshake`, `unknown device`, `not granted`, `too many requests`, … |
//! | `device`, `service` | who wanted what, where that is known |
//! | `count`, `seconds` | how often more it was, with the same three, in the time before this line |
//!
//! Of each device, and of each guest, one `connected` and one `disconnected` is told in a minute. Whoever comes and goes
//! more often, as on a bad network, has a line `reconnected` at the end of it:
//!
//! | field of `reconnected` | says |
//! |---|---|
//! | `device`, `guest`, `guest_id` | who |
//! | `connected`, `disconnected`, `seconds` | how often more it was, in the time before this line |
//! | `last` | what it did last |
//!
//! Nothing but these and refusals is ever gathered.

mod chain;
mod files;
mod gathered;
mod page;
mod refusals;
mod trail;
mod verify;
mod visits;
mod writer;

use std::io;
use std::path::PathBuf;

use homing_local::FileError;

pub use files::AuditFiles;
pub use page::page;
pub use trail::Trail;
pub use verify::{Problem, Report, verify};
pub use visits::Visit;
pub(crate) use writer::Writer;

/// Why there is no audit trail. What is on disk is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes the trail.
    #[error("another process writes the audit trail; try again in a moment")]
    Busy,
}

impl AuditError {
    fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_path_buf(), source }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
