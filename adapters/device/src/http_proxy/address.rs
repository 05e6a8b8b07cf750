//! `SERVICE.HOST.homing`, as text only.

use core::str::FromStr;

/// A service of a host by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The host's name on this device; may hold dots.
    pub host: String,
    /// The service's name on that host.
    pub service: String,
}

/// Why a name leads to no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The name is of the open internet or of this network.
    #[error("this proxy serves only http://SERVICE.HOST.homing/ and fetches nothing else")]
    Elsewhere,
    /// The name ends as it should but does not name both.
    #[error("name a service and a host: http://SERVICE.HOST.homing/")]
    Incomplete,
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads a name with or without a port and a final dot, in any case.
    fn from_str(authority: &str) -> Result<Self, AddressError> {
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => authority,
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let inside = if name == "homing" { "" } else { name.strip_suffix(".homing").ok_or(AddressError::Elsewhere)? };
        let fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        match inside.split_once('.') {
            Some((service, host)) if name.len() <= 253 && fits(service) && host.split('.').all(fits) => {
                Ok(Self { host: host.to_owned(), service: service.to_owned() })
            }
            _ => Err(AddressError::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names() {
        for (text, service, host) in [
            ("web.nas.homing", "web", "nas"),
            ("WEB.Nas.Homing.:80", "web", "nas"),
            ("web.my.nas.homing:8080", "web", "my.nas"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.service.as_str(), address.host.as_str()), (service, host), "{text}");
        }
    }

    #[test]
    fn leads_nowhere_else() {
        use AddressError::{Elsewhere, Incomplete};
        for (text, error) in [
            ("", Elsewhere),
            ("example.com", Elsewhere),
            ("web.nas.homing.example.com", Elsewhere),
            ("web.nas.nothoming", Elsewhere),
            ("127.0.0.1:80", Elsewhere),
            ("[::1]:80", Elsewhere),
            ("web.nas.homing:80@example.com", Elsewhere),
            ("homing", Incomplete),
            ("nas.homing", Incomplete),
            (".nas.homing", Incomplete),
            ("web..homing", Incomplete),
            ("web.nas..homing", Incomplete),
            ("web.na/s.homing", Incomplete),
            ("user@web.nas.homing", Incomplete),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }
}
