//! What a device may reach: the grant that its owner gave it, and whether a request falls under it.
//! Time is an argument here, except in `running` and `lease`.
//!
//! | module | does |
//! |---|---|
//! | `rule` | one service, with methods and a path prefix |
//! | `path` | whether a path is below a prefix, however a service may read it |
//! | `limit` | requests per second, and how many at once |
//! | `caveat` | what limits a guest of a device, as the device writes it down |
//! | `guest` | a guest that has proved its caveats |
//! | `json` | grants as JSON, the same in the state file, on the control socket and in the API |
//! | `lease` | a device's use of a service, over the life of one stream |
//! | `running` | what devices are doing right now, and its end where a grant ends |
//!
//! A device without a grant may reach all that is exposed. A grant without rules may, too, within its limits; one with
//! an empty list of rules may reach nothing. Methods and prefixes are about HTTP: a rule that has either does not let a
//! device reach a raw service.

mod caveat;
pub(crate) mod guest;
mod json;
pub(crate) mod lease;
mod limit;
mod path;
mod rule;
pub(crate) mod running;
#[cfg(test)]
mod tests;

use core::fmt;

use homing_local::clock::rfc3339;
use http::{HeaderMap, Method};

pub use caveat::{Caveat, MAX_GUEST_NAME, check_name as check_guest_name};
pub use guest::guest_id;
pub use rule::Rule;

pub(crate) use limit::{Limited, Limiter};

/// Rules of one grant.
pub const MAX_RULES: usize = 32;
/// The highest rate, burst and concurrency that a grant can name.
pub const MAX_LIMIT: u32 = 1_000_000;
/// The last Unix second that a grant can name.
pub const MAX_EXPIRY: u64 = 253_402_300_799;

/// What a device may reach, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub struct Grant {
    /// What it may reach: whatever falls under one of these. None for everything.
    pub rules: Option<Vec<Rule>>,
    /// How fast.
    pub rate: Option<Rate>,
    /// Requests and raw streams at once.
    pub concurrent: Option<u32>,
    /// Until when, in Unix seconds.
    pub expires_at: Option<u64>,
    /// Whether it must not pass any of that on to guests.
    pub no_guests: bool,
}

/// Requests per second. Opening a raw stream counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// Why a grant cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// A name that no service can have.
    #[error("{0:?} is no service's name; write a name, or * for every service")]
    Service(String),
    /// A method that is none.
    #[error("{0:?} is no HTTP method, such as GET or POST")]
    Method(String),
    /// A path that is none, or one that could be read in two ways.
    #[error("{0:?} is no path prefix: begin with /, and leave out %, \\, ;, ?, #, //, . and .. as parts")]
    Prefix(String),
    /// Something is too much.
    #[error("a grant has at most {MAX_RULES} rules, with at most 32 methods each")]
    TooMany,
    /// A number is out of bounds.
    #[error("{0} is a whole number from 1 to {1}")]
    Number(&'static str, u64),
    /// A field is of the wrong kind, unknown or missing.
    #[error("{0}")]
    Field(String),
}

/// Why something does not fall under a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No rule covers it.
    NotGranted,
    /// Its time is over.
    Expired,
}

/// What a device wants of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish<'a> {
    /// Bytes.
    Raw,
    /// One request. Its path is as it was sent; `method_overridden` where a header asks for another method.
    Http { method: &'a Method, path: &'a str, method_overridden: bool },
}

impl Grant {
    /// The same, unless it grants everything without limits: that is no grant at all.
    #[must_use]
    pub fn or_everything(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// Whether its time is over; `now` in Unix seconds.
    #[must_use]
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    /// Whether a device may do this at all; how much of it is for the [`Limiter`].
    pub(crate) fn check(&self, service: &str, wish: Wish<'_>, now: u64) -> Result<(), Denied> {
        if self.is_expired(now) {
            return Err(Denied::Expired);
        }
        let covered = self.rules.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.covers(service, wish)));
        if covered { Ok(()) } else { Err(Denied::NotGranted) }
    }

    /// Whether any of a service is granted.
    pub(crate) fn shows(&self, service: &str, raw: bool, now: u64) -> bool {
        let shown = |rule: &Rule| rule.names(service) && (!raw || rule.is_whole());
        !self.is_expired(now) && self.rules.as_ref().is_none_or(|rules| rules.iter().any(shown))
    }
}

/// Whether a header asks a service to take the request for one with another method, as some frameworks do.
pub(crate) fn overrides_method(headers: &HeaderMap) -> bool {
    ["x-http-method-override", "x-http-method", "x-method-override"].iter().any(|name| {
        // Gateways behind which `-` and `_` are one make no difference between them, so neither do we.
        headers.keys().any(|key| key.as_str().bytes().map(|b| if b == b'_' { b'-' } else { b }).eq(name.bytes()))
    })
}

/// A grant in a line, for people.
#[must_use]
pub fn describe(grant: Option<&Grant>) -> String {
    grant.map_or_else(|| "everything".into(), ToString::to_string)
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rules.as_deref() {
            None => f.write_str("everything")?,
            Some([]) => f.write_str("nothing")?,
            Some(rules) => {
                for (place, rule) in rules.iter().enumerate() {
                    write!(f, "{}{rule}", if place == 0 { "" } else { " " })?;
                }
            }
        }
        if let Some(Rate { per_second, burst }) = self.rate {
            write!(f, ", {per_second} a second")?;
            if burst != per_second {
                write!(f, " (burst {burst})")?;
            }
        }
        if let Some(most) = self.concurrent {
            write!(f, ", {most} at once")?;
        }
        if let Some(end) = self.expires_at {
            write!(f, ", until {}", rfc3339(end))?;
        }
        if self.no_guests {
            f.write_str(", no guests")?;
        }
        Ok(())
    }
}
