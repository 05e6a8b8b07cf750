//! How tickets name a relay.

use core::fmt;
use core::ops::Deref;

use heapless::String;

use super::ticket::{RELAY_MAX, TicketError};

/// A relay's name: lower-case ASCII, `host[:port]`, at most [`RELAY_MAX`] bytes. Empty for the
/// device's default relay.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayName(String<RELAY_MAX>);

impl RelayName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for RelayName {
    type Error = TicketError;

    /// Takes a name with no user part and no path.
    fn try_from(name: &str) -> Result<Self, TicketError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
        if !name.bytes().all(plain) {
            return Err(TicketError::Relay);
        }
        String::try_from(name).map(Self).map_err(|_| TicketError::Relay)
    }
}

impl Deref for RelayName {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for RelayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for RelayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
