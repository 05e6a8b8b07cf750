//! How commands end: an exit code and, for people, a sentence on what to do.

use core::error::Error;
use core::fmt::Write as _;
use std::io::{self, Write as _};

use homing_local::control::ControlError;
use homing_local::{FileError, StoreError};

use crate::output::clean;

/// Exit codes, as scripts meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    Refused = 4,
    Expired = 5,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be said, then to be exited with.
    Said {
        /// The exit code.
        exit: Exit,
        /// What is wrong and what to do, ready to be printed.
        text: String,
    },
    /// Nobody reads our output any more, which is fine.
    NobodyReads,
    /// Everything that there is to say has been said.
    Silent(Exit),
}

impl Failure {
    /// A failure with a code of its own.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self::Said { exit, text: text.into() }
    }

    /// A plain failure.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// Wrong usage that only shows once the settings are known.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// An error with all its causes.
    pub(crate) fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, in_full(error))
    }

    /// Says it on stderr, and gives the process's exit code.
    pub(crate) fn report(&self) -> u8 {
        match self {
            Self::Said { exit, text } => {
                // Where nobody reads it, the exit code has to do.
                let _ = writeln!(io::stderr(), "error: {}", clean(text));
                *exit as u8
            }
            Self::NobodyReads => 0,
            Self::Silent(exit) => *exit as u8,
        }
    }
}

/// An error and its causes, each said once.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}"); // writing to a string cannot fail
        }
        cause = error.source();
    }
    text
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let exit = match &error {
            ControlError::NotRunning { .. } | ControlError::Gone => Exit::Unreachable,
            ControlError::Refused { code, .. } => match code.as_str() {
                "bad_request" => Exit::Usage,
                "expired" => Exit::Expired,
                "denied" | "refused" | "revoked" => Exit::Refused,
                "unreachable" => Exit::Unreachable,
                _ => Exit::Failed,
            },
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::of(Exit::Failed, &error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::of(Exit::Failed, &error)
    }
}

/// Errors of writing to stdout; every other file has errors of its own.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        Self::failed(format!("cannot write to stdout: {error}"))
    }
}
