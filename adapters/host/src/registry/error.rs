//! Why nothing was changed.

use homing_local::StoreError;

use crate::audit::AuditError;

/// Why a device or a guest could not be found, or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// None is called so.
    #[error("no device is called {0:?}; `homing host devices list` shows them")]
    Unknown(String),
    /// Several are called so.
    #[error("several devices are called {0:?}; use the id")]
    Ambiguous(String),
    /// No guest is called so.
    #[error("no guest is called {0:?}; `homing host guests list` shows those that have come")]
    UnknownGuest(String),
    /// Several guests are called so.
    #[error("several guests are called {0:?}; use the id")]
    AmbiguousGuest(String),
    /// So many guests of one device were ended that no more can be remembered.
    #[error(
        "{0} has made more guests than can be ended one by one: end them all with `homing host devices grant … \
         --no-guests`, or revoke it"
    )]
    TooManyEnded(String),
    /// A name that is empty, too long, or has control characters.
    #[error("a device's name has 1 to 64 characters, none of them a control character")]
    Name,
    /// The state file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Devices still follow the last rotation.
    #[error(
        "devices follow the last rotation until {until}, and {waiting} of them have not yet; `homing host devices list` \
         shows which, `homing host rotate --now` shuts them out"
    )]
    Rotating {
        /// When that ends.
        until: String,
        /// How many have not.
        waiting: usize,
    },
    /// There is no state file.
    #[error("there is no host in this data directory; start one with `homing host start`")]
    NoHost,
}
