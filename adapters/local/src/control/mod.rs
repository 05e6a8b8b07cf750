//! The socket by which commands reach a running role: JSON objects, one per line, both ways. A
//! request opens a connection, any number of answers follow, closing it ends the matter. What the
//! objects say is agreed between the commands and the roles.

mod address;
mod client;
mod lines;
mod server;

use std::io;
use std::path::{Path, PathBuf};

pub use client::{Connection, Running, call, call_at, running};
pub use server::{Listener, Replies, Request, serve};

use crate::file::FileError;

/// The longest line from a client, in bytes without its end.
pub const MAX_REQUEST: usize = 64 << 10;

/// The longest line from a role, in bytes without its end.
pub const MAX_REPLY: usize = 4 << 20;

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The relay, at most one per data directory.
    Relay,
    /// The host, at most one per data directory.
    Host,
    /// A device's process, of which there may be several.
    Device,
}

impl Role {
    /// The role's name in file names and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Host => "host",
            Self::Device => "device",
        }
    }

    /// The command that starts it.
    const fn command(self) -> &'static str {
        match self {
            Self::Relay => "homing relay start",
            Self::Host => "homing host start",
            Self::Device => "homing forward",
        }
    }
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a role could not be reached or served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens.
    #[error("no {role} runs with this data directory; start one with `{}`", role.command())]
    NotRunning {
        /// Who was looked for.
        role: Role,
    },
    /// Somebody listens already.
    #[error("a {role} already runs with this data directory")]
    AlreadyServed {
        /// Who wanted to.
        role: Role,
    },
    /// The role refused the request.
    #[error("{message}")]
    Refused {
        /// A word for programs.
        code: String,
        /// A phrase for people.
        message: String,
    },
    /// Another user could listen in.
    #[error("{} is not a private directory of this user; remove it", path.display())]
    NotPrivate {
        /// The directory of the sockets.
        path: PathBuf,
    },
    /// The other side has gone, or does not read.
    #[error("the other side of the control socket has gone")]
    Gone,
    /// A line longer than allowed.
    #[error("a message on the control socket is longer than {limit} bytes")]
    TooLong {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// A line that is no JSON.
    #[error("a message on the control socket is not JSON; are both programs of the same version?")]
    NotJson,
    /// The system refused.
    #[error("cannot use the control socket {}", path.display())]
    Io {
        /// The socket or its directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory or lock file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ControlError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}
