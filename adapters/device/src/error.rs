//! What goes wrong on a device, what to do about it, and the exit code of a command that met it.

use std::io;

use homing_core::pairing::LinkError;
use homing_driver::StreamError;
use homing_local::StoreError;
use homing_local::control::ControlError;
use homing_tokio::{BadRelayUrl, DialError};

use crate::tunnel::OpenError;

/// Why something on a device did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text is no pairing link.
    #[error("{0}")]
    Link(LinkError),
    /// The link leaves the relay to the device, which knows none.
    #[error(
        "the pairing link names no relay; make one with `homing host pair` on a host that was started with --relay"
    )]
    NoRelay,
    /// The relay's name cannot be dialled.
    #[error("the relay's name {relay} is refused: {error}")]
    RelayName {
        /// The name.
        relay: String,
        /// What is wrong with it.
        error: BadRelayUrl,
    },
    /// The pairing link's time is over.
    #[error("the pairing link has expired: show a new one on the host, and check that this machine's clock is right")]
    Expired,
    /// This device was a guest, and its time is over.
    #[error(
        "what this guest link gave is over: ask whoever made it for a new one, and check that this machine's clock is right"
    )]
    GuestExpired,
    /// A guest's link is for a host that this device was paired with itself.
    #[error("this device was paired with {host} itself; to be a guest there, `homing hosts forget {host}` first")]
    PairedItself {
        /// The host's name on this device.
        host: String,
    },
    /// What is passed on has too many limits, or they are too long.
    #[error("this cannot be passed on: there would be too many limits, or too long ones; name fewer")]
    TooNarrow,
    /// The relay could not be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// What this device knows could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such host.
    #[error("this device is paired with no host {host:?}; `homing hosts list` shows them, `homing pair LINK` adds one")]
    UnknownHost {
        /// What was asked for.
        host: String,
    },
    /// Several hosts begin with this.
    #[error("{host:?} may mean {}; write more of it", names.join(" or "))]
    Ambiguous {
        /// What was asked for.
        host: String,
        /// The names of the hosts that it may mean.
        names: Vec<String>,
    },
    /// Not a name for a host.
    #[error("{name:?} is no name for a host: use up to 63 lower-case letters, digits, dots, '-' and '_'")]
    BadName {
        /// What was asked for.
        name: String,
    },
    /// The name is another host's.
    #[error("another host is called {name:?} already; rename that one first")]
    NameTaken {
        /// What was asked for.
        name: String,
    },
    /// No service has such a name.
    #[error("a service's name has 1 to 255 bytes")]
    BadService,
    /// The host, or its service, cannot be reached at present.
    #[error("not reachable: {why}")]
    NotReachable {
        /// What is known about it.
        why: String,
    },
    /// The host does not want this device, or not there.
    #[error("refused: {why}")]
    Refused {
        /// What is known about it.
        why: String,
    },
    /// The host answered, and not as agreed.
    #[error("{why}")]
    Failed {
        /// What happened.
        why: String,
    },
    /// A stream broke off before its end.
    #[error("broken off: {0}")]
    Broken(#[from] io::Error),
    /// The control socket cannot be served.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl DeviceError {
    /// The exit code of a command that ends with this: 1 failed, 3 not reachable, 4 refused, 5 expired.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Dial(DialError::TlsSetup(_)) => 1,
            Self::Dial(_) | Self::NotReachable { .. } => 3,
            Self::Refused { .. } | Self::UnknownHost { .. } => 4,
            Self::Expired | Self::GuestExpired => 5,
            _ => 1,
        }
    }

    pub(crate) fn failed(why: impl core::fmt::Display) -> Self {
        Self::Failed { why: why.to_string() }
    }

    pub(crate) fn refused(why: impl core::fmt::Display) -> Self {
        Self::Refused { why: why.to_string() }
    }

    pub(crate) fn not_reachable(why: impl core::fmt::Display) -> Self {
        Self::NotReachable { why: why.to_string() }
    }

    /// What a stream's end before its time means.
    #[must_use]
    pub fn from_stream(error: io::Error) -> Self {
        use homing_core::mux::reset;
        match stream_error(&error) {
            Some(end @ StreamError::Reset(reset::UNKNOWN_SERVICE | reset::NOT_ALLOWED)) => Self::refused(end),
            Some(end @ (StreamError::Reset(reset::UNREACHABLE) | StreamError::Lost)) => Self::not_reachable(end),
            _ => Self::Broken(error),
        }
    }
}

impl From<LinkError> for DeviceError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<OpenError> for DeviceError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotReachable { why } => Self::NotReachable { why },
            OpenError::Refused { why } => Self::Refused { why },
            OpenError::Expired => Self::GuestExpired,
            OpenError::BadName => Self::BadService,
        }
    }
}

/// The tunnel's own reason inside an I/O error.
pub(crate) fn stream_error(error: &io::Error) -> Option<StreamError> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<StreamError>()).copied()
}

#[cfg(test)]
mod tests {
    use homing_core::mux::reset;

    use super::*;

    #[test]
    fn a_refused_stream_and_a_dead_service_have_their_exit_codes() {
        for (end, code) in [
            (StreamError::Reset(reset::UNKNOWN_SERVICE), 4),
            (StreamError::Reset(reset::NOT_ALLOWED), 4),
            (StreamError::Reset(reset::UNREACHABLE), 3),
            (StreamError::Lost, 3),
            (StreamError::Reset(reset::CANCELLED), 1),
        ] {
            assert_eq!(DeviceError::from_stream(end.into()).exit_code(), code, "{end}");
        }
        assert_eq!(DeviceError::from_stream(io::ErrorKind::BrokenPipe.into()).exit_code(), 1);
    }
}
