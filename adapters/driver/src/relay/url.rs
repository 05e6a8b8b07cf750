//! Where a relay is, and the name that proofs and tickets know it by.

use core::fmt;
use core::str::FromStr;

use url::{Host, Url};

/// The longest authority, in bytes (protocol 12.2).
pub const MAX_AUTHORITY: usize = 64;

/// The address of a relay: `wss://host[:port]`, or `ws://` on this machine.
///
/// ```
/// # use homing_driver::relay::RelayUrl;
/// let relay: RelayUrl = "wss://Relay.Example.org:443/".parse()?;
/// assert_eq!(relay.authority(), "relay.example.org");
/// assert_eq!(relay.to_string(), "wss://relay.example.org");
/// # Ok::<(), homing_driver::relay::BadRelayUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelayUrl {
    /// `host[:port]`, lower case, without the scheme's own port.
    authority: Box<str>,
    /// What to resolve: the host without the brackets of an IPv6 address.
    host: Box<str>,
    port: u16,
    plain: bool,
}

/// Why a text is no address of a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRelayUrl {
    /// Not a URL at all, and why.
    #[error("not a URL: {0}; write wss://relay.example.org")]
    Syntax(Box<str>),
    /// A scheme other than `wss` and `ws`.
    #[error("relays are reached by wss://, not {0}://")]
    Scheme(Box<str>),
    /// Unencrypted to another machine.
    #[error("ws:// is for relays on this machine only (127.0.0.1, ::1, localhost); use wss://")]
    PlainToElsewhere,
    /// Names a user, a path, a query or a fragment.
    #[error("a relay's URL holds a host and a port, nothing else")]
    Extras,
    /// The authority is longer than [`MAX_AUTHORITY`] bytes.
    #[error("host and port take more than 64 bytes")]
    TooLong,
    /// An authority that is spelled differently in tickets and proofs.
    #[error("the relay's name has to be written {0}")]
    NotCanonical(Box<str>),
}

impl RelayUrl {
    /// The URL of the relay whose name is `authority`, exactly as tickets carry it.
    ///
    /// # Errors
    /// [`BadRelayUrl`] where the authority is not in its canonical form, or `plain` and elsewhere.
    pub fn from_authority(authority: &str, plain: bool) -> Result<Self, BadRelayUrl> {
        let scheme = if plain { "ws" } else { "wss" };
        let url: Self = format!("{scheme}://{authority}").parse()?;
        if *url.authority == *authority { Ok(url) } else { Err(BadRelayUrl::NotCanonical(url.authority)) }
    }

    /// The relay's name in proofs and tickets: lower-case `host[:port]`, the port left out where it
    /// is the scheme's own (443; 80 for a plain one).
    #[must_use]
    pub const fn authority(&self) -> &str {
        &self.authority
    }

    /// The host's name or address, to resolve and to verify the certificate against.
    #[must_use]
    pub const fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the link goes without TLS, which stays on this machine.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.plain
    }
}

impl FromStr for RelayUrl {
    type Err = BadRelayUrl;

    fn from_str(text: &str) -> Result<Self, BadRelayUrl> {
        let url = Url::parse(text.trim()).map_err(|error| BadRelayUrl::Syntax(error.to_string().into()))?;
        let plain = match url.scheme() {
            "wss" => false,
            "ws" => true,
            other => return Err(BadRelayUrl::Scheme(other.into())),
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
        if has_user || has_more {
            return Err(BadRelayUrl::Extras);
        }
        let host = url.host().ok_or(BadRelayUrl::Extras)?;
        if plain && !is_loopback(&host) {
            return Err(BadRelayUrl::PlainToElsewhere);
        }
        let authority: Box<str> = match url.port() {
            Some(port) => format!("{host}:{port}").into(),
            None => host.to_string().into(),
        };
        if authority.len() > MAX_AUTHORITY {
            return Err(BadRelayUrl::TooLong);
        }
        let host = match host {
            Host::Domain(name) => name.into(),
            Host::Ipv4(ip) => ip.to_string().into(),
            Host::Ipv6(ip) => ip.to_string().into(),
        };
        let port = url.port().unwrap_or(if plain { 80 } else { 443 });
        Ok(Self { authority, host, port, plain })
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "ws" } else { "wss" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RelayUrl, BadRelayUrl> {
        text.parse()
    }

    #[test]
    fn the_name_is_lower_case_and_lacks_the_default_port() {
        for (text, authority, port) in [
            ("wss://Relay.Example.ORG", "relay.example.org", 443),
            ("wss://relay.example.org:443/", "relay.example.org", 443),
            ("wss://relay.example.org:8443", "relay.example.org:8443", 8443),
            ("wss://[2001:DB8::1]:444", "[2001:db8::1]:444", 444),
            ("ws://127.0.0.1:8080", "127.0.0.1:8080", 8080),
            ("ws://localhost:80/", "localhost", 80),
            ("ws://localhost:443", "localhost:443", 443),
            ("ws://[::1]:9", "[::1]:9", 9),
        ] {
            let url = parse(text).unwrap();
            assert_eq!((url.authority(), url.port()), (authority, port), "{text}");
            assert_eq!(RelayUrl::from_authority(authority, url.is_plain()), Ok(url.clone()));
            assert_eq!(parse(&url.to_string()), Ok(url));
        }
        assert_eq!(parse("ws://[::1]:9").unwrap().host(), "::1");
    }

    #[test]
    fn plain_links_stay_on_this_machine() {
        for text in ["ws://relay.example.org", "ws://192.168.1.2:80", "ws://[2001:db8::1]", "ws://localhost.evil"] {
            assert_eq!(parse(text), Err(BadRelayUrl::PlainToElsewhere), "{text}");
        }
        assert!(parse("ws://127.9.9.9").is_ok());
    }

    #[test]
    fn everything_but_host_and_port_is_refused() {
        for text in ["wss://u@h", "wss://u:p@h", "wss://h/path", "wss://h?q", "wss://h/#f"] {
            assert_eq!(parse(text), Err(BadRelayUrl::Extras), "{text}");
        }
        assert_eq!(parse("https://h"), Err(BadRelayUrl::Scheme("https".into())));
        assert!(matches!(parse("relay.example.org"), Err(BadRelayUrl::Syntax(_))));
        assert!(matches!(parse("wss://"), Err(BadRelayUrl::Syntax(_))));
        let long = format!("wss://{}.example.org", "a".repeat(60));
        assert_eq!(parse(&long), Err(BadRelayUrl::TooLong));
    }

    #[test]
    fn a_ticket_cannot_spell_the_name_in_two_ways() {
        let other = RelayUrl::from_authority("Relay.example.org:443", false);
        assert_eq!(other, Err(BadRelayUrl::NotCanonical("relay.example.org".into())));
        assert!(RelayUrl::from_authority("h/path", false).is_err());
    }
}
