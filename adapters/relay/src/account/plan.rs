//! What an account may use.

use std::collections::BTreeSet;

#[cfg(feature = "accounts")]
use serde::{Deserialize, Serialize};

/// The plan that is always there, and limits nothing.
pub const UNLIMITED: &str = "unlimited";
/// Bytes per second that a limit allows at least. Less would not carry a full record within the time that an end waits for a
/// sign of the other.
pub const MIN_RATE: u64 = 16 << 10;

/// What the accounts of a plan may use, each. None is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "accounts", derive(Deserialize, Serialize), serde(deny_unknown_fields, default))]
pub struct Plan {
    /// What it may do beyond the usual, by the names that the operator or an admission hook gives it.
    #[cfg_attr(feature = "accounts", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub features: BTreeSet<String>,
    /// Hosts registered at once.
    pub hosts: Option<u32>,
    /// Devices connected at once, over all its hosts.
    pub devices: Option<u32>,
    /// Devices that connect in a second, in the long run; each costs a host a handshake. Ten times as many after a pause.
    pub dials_per_second: Option<u32>,
    /// Hosts that are woken in a minute, over all its hosts; as many at once.
    pub knocks_per_minute: Option<u32>,
    /// Hosts that register in a minute, over all its hosts; as many at once.
    pub registrations_per_minute: Option<u32>,
    /// Bytes forwarded in a second, both ways together, in the long run.
    pub bytes_per_second: Option<u64>,
    /// Bytes forwarded in a calendar month (UTC), both ways together.
    pub bytes_per_month: Option<u64>,
    /// What each of its hosts may use; where it says nothing, the relay's own [limits](crate::RelayConfig::hosts) hold.
    #[cfg_attr(feature = "accounts", serde(skip_serializing_if = "HostLimits::is_empty"))]
    pub host: HostLimits,
}

/// What one host may use. None is no limit of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "accounts", derive(Deserialize, Serialize), serde(deny_unknown_fields, default))]
pub struct HostLimits {
    /// Devices connected at once, up to the 64 that are the most.
    pub devices: Option<u32>,
    /// Devices that connect in a second, in the long run; ten times as many after a pause.
    pub dials_per_second: Option<u32>,
    /// How often it is woken in a minute; as often at once.
    pub knocks_per_minute: Option<u32>,
    /// How often it registers in a minute; as often at once.
    pub registrations_per_minute: Option<u32>,
    /// Bytes forwarded in a second, both ways together, in the long run.
    pub bytes_per_second: Option<u64>,
}

impl HostLimits {
    /// What a host may use where nobody says otherwise: far more than one needs, and a bound for one that is out of order.
    pub const USUAL: Self = Self {
        devices: None,
        dials_per_second: Some(20),
        knocks_per_minute: Some(60),
        registrations_per_minute: Some(120),
        bytes_per_second: None,
    };

    /// These, and where they say nothing, the others.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            devices: self.devices.or(others.devices),
            dials_per_second: self.dials_per_second.or(others.dials_per_second),
            knocks_per_minute: self.knocks_per_minute.or(others.knocks_per_minute),
            registrations_per_minute: self.registrations_per_minute.or(others.registrations_per_minute),
            bytes_per_second: self.bytes_per_second.or(others.bytes_per_second),
        }
    }

    /// Whether they limit nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Plan {
    /// What is wrong with it.
    ///
    /// # Errors
    /// A phrase that names the field.
    pub fn check(&self) -> Result<(), &'static str> {
        let rates = [self.bytes_per_second, self.host.bytes_per_second];
        if rates.into_iter().flatten().any(|rate| rate < MIN_RATE) {
            return Err("bytes_per_second is at least 16384");
        }
        Ok(())
    }
}
