//! What an account may use.

use std::collections::BTreeSet;

/// The plan that is always there, and limits nothing.
pub const UNLIMITED: &str = "unlimited";

/// What the accounts of a plan may use, each. None is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What it may do beyond the usual, by the names that the operator or an admission hook gives it.
    pub features: BTreeSet<String>,
    /// Hosts registered at once.
    pub hosts: Option<u32>,
    /// Devices connected at once, over all its hosts.
    pub devices: Option<u32>,
    /// Bytes forwarded in a second, both ways together, in the long run.
    pub bytes_per_second: Option<u64>,
    /// Bytes forwarded in a calendar month (UTC), both ways together.
    pub bytes_per_month: Option<u64>,
}
