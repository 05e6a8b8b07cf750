//! Who may register hosts, and how much each may use: accounts, the keys that they show, and their plans.
//!
//! Who comes in is decided by an [`Admit`]: with the feature `accounts` by [`Accounts`], a file with hashes of keys, with
//! the feature `callout` by a server of the operator's, asked by HTTP, or by a hook of the program's own. What the answer allows is kept by a ledger inside the relay: hosts and devices at once,
//! bytes in a second and in a month, and the time when it ends.

mod admit;
#[cfg(feature = "accounts")]
mod book;
#[cfg(feature = "callout")]
mod callout;
#[cfg(feature = "accounts")]
mod key;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod pace;
mod plan;
#[cfg(feature = "accounts")]
mod record;
#[cfg(feature = "accounts")]
mod store;
mod tenant;
#[cfg(all(test, feature = "accounts"))]
mod tests;

pub use admit::{Admit, Answer, Applicant, Entitlement, Refusal};
#[cfg(feature = "accounts")]
pub use book::{AccountBook, Plans};
#[cfg(feature = "callout")]
pub use callout::{Callout, CalloutConfig, CalloutError};
#[cfg(feature = "accounts")]
pub use key::{PREFIX, RelayKey};
pub use plan::{HostLimits, MIN_RATE, Plan, UNLIMITED};
#[cfg(feature = "accounts")]
pub use record::{AccountEntry, Month};
#[cfg(feature = "accounts")]
pub use store::{AccountError, Accounts, Denial, Entitled};

pub(crate) use admit::{Everyone, OneKey};
pub(crate) use ledger::Ledger;
