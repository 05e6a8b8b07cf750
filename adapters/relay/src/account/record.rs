//! What is kept of an account.

use homing_local::clock::month;
use serde::{Deserialize, Serialize};

/// A calendar month in UTC, counted from January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Month(pub u32);

impl Month {
    /// The month of a time in Unix seconds.
    #[must_use]
    pub fn of(unix: u64) -> Self {
        Self(month(unix))
    }
}

/// An account, as it is stored and listed: no key can be had from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccountEntry {
    /// The plan's name.
    pub plan: String,
    /// When it was made, in Unix seconds.
    pub created_at: u64,
    /// When it ends, in Unix seconds; never where there is none.
    pub expires_at: Option<u64>,
    /// When it was revoked, in Unix seconds.
    pub revoked_at: Option<u64>,
    /// When its key was made, in Unix seconds.
    pub key_made_at: u64,
    /// Until when the key before that is good, in Unix seconds.
    pub old_key_until: Option<u64>,
    /// Bytes forwarded in the latest month that saw any.
    pub used: Option<(Month, u64)>,
}

impl AccountEntry {
    /// Bytes forwarded in the month of this time.
    #[must_use]
    pub fn used_in(&self, month: Month) -> u64 {
        used_in(self.used, month)
    }

    /// Adds bytes.
    pub(super) fn use_more(&mut self, bytes: u64, month: Month) {
        let latest = self.used.map_or(month, |(known, _)| known.max(month));
        self.used = Some((latest, self.used_in(month).saturating_add(bytes)));
    }
}

/// A month that has not begun counts as this one: the clock has jumped back.
pub(super) fn used_in(used: Option<(Month, u64)>, month: Month) -> u64 {
    used.filter(|(known, _)| *known >= month).map_or(0, |(_, bytes)| bytes)
}
