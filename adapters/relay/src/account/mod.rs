//! Who may register hosts, and how much each may use: accounts, the keys that they show, and their plans.
//!
//! An account is a name with one plan and one key, or two while one replaces the other. Only hashes of keys are kept.
//! Accounts live in one file ([`Accounts`]); what they may use is said by the plan of their name, which the relay's
//! configuration holds, so that a change of a plan reaches every account on it.

mod key;
mod plan;
mod record;
mod store;
#[cfg(test)]
mod tests;

pub use key::{PREFIX, RelayKey};
pub use plan::{Plan, UNLIMITED};
pub use record::{AccountEntry, Month};
pub use store::{AccountError, Accounts, Denial, Entitled};
