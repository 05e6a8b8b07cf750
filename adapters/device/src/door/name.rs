//! Names of hosts, as they stand in `Host` and `Origin`, and which of them the open internet cannot give away.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// What ends the names that nobody can register and point elsewhere: of this machine, its network, and ours.
const LOCAL: [&str; 6] = [".localhost", ".homing", ".local", ".internal", ".lan", ".home.arpa"];

/// The name or address of a host, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(Named);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Address(IpAddr),
    /// In lower case, without a final dot.
    Name(String),
}

/// This is not the name of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the name of a host alone, such as app.example, without http://, port or path")]
pub struct NotAName;

impl FromStr for HostName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            return Ok(Self(Named::Address(address.to_canonical())));
        }
        Self::read(text).ok_or(NotAName)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Named::Address(address) => address.fmt(f),
            Named::Name(name) => f.write_str(name),
        }
    }
}

impl HostName {
    /// Reads `HOST` or `HOST:PORT`; an IPv6 address is in brackets.
    pub(super) fn of_authority(text: &str) -> Option<Self> {
        let (host, port) = match (text.rfind(']'), text.rfind(':')) {
            (Some(bracket), Some(colon)) if colon < bracket => (text, ""),
            (_, Some(colon)) => (text.get(..colon)?, text.get(colon.saturating_add(1)..)?),
            (_, None) => (text, ""),
        };
        port.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        Self::read(host)
    }

    fn read(host: &str) -> Option<Self> {
        if let Some(inside) = host.strip_prefix('[') {
            let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
            return Some(Self(Named::Address(address.to_canonical())));
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Some(Self(Named::Address(address.into())));
        }
        let fits = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        (host.len() <= 253 && host.split('.').all(fits)).then(|| Self(Named::Name(host.to_ascii_lowercase())))
    }

    /// Whether nobody on the internet can have this name lead here: an address, or a name of this network.
    pub(super) fn is_local(&self) -> bool {
        match &self.0 {
            Named::Address(_) => true,
            Named::Name(name) => !name.contains('.') || LOCAL.iter().any(|end| name.ends_with(end)),
        }
    }

    /// Whether it is this machine under any circumstances.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.0 {
            Named::Address(address) => address.is_loopback(),
            Named::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> Option<bool> {
        HostName::of_authority(text).map(|name| name.is_local())
    }

    #[test]
    fn names_that_the_internet_gives_away_are_told_from_others() {
        for text in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "192.168.1.7:80",
            "203.0.113.9",
            "[::1]",
            "[::1]:8080",
            "[fe80::1]:",
            "localhost",
            "LocalHost:9000",
            "localhost.:9000",
            "app.localhost",
            "test",
            "my_nas-2:1",
            "web.nest.homing",
            "nas.local",
            "nas.lan.",
            "a.b.internal",
            "nas.home.arpa:80",
        ] {
            assert_eq!(local(text), Some(true), "{text}");
        }
        for text in [
            "evil.example",
            "EVIL.example:8080",
            "evil.example.",
            "127.0.0.1.evil.example",
            "127.1",
            "1.2.3.4.5",
            "localhost.evil.example",
            "evillocalhost.example",
            "home.arpa",
            "lan.example",
            "evil.nothoming",
        ] {
            assert_eq!(local(text), Some(false), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        for text in [
            "",
            ".",
            ":80",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "user@localhost",
            "localhost:80:80",
            "localhost:x",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[localhost]",
            "[fe80::1%25eth0]",
            "evil%2eexample",
            "evil\u{3002}example",
            "ünï",
        ] {
            assert_eq!(local(text), None, "{text:?}");
        }
        assert_eq!(local(&"a".repeat(254)), None);
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, expected) in [
            ("localhost", true),
            ("a.localhost:3000", true),
            ("127.3.4.5", true),
            ("[::1]:3000", true),
            ("[::ffff:127.0.0.1]", true),
            ("192.168.1.7", false),
            ("203.0.113.9", false),
            ("0.0.0.0", false),
            ("nas.local", false),
            ("nas", false),
            ("notlocalhost", false),
        ] {
            assert_eq!(HostName::of_authority(text).unwrap().is_loopback(), expected, "{text}");
        }
    }

    #[test]
    fn a_flag_names_a_host_alone() {
        for (text, shown) in
            [("App.Example.", "app.example"), ("::1", "::1"), ("[::1]", "::1"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(text.parse::<HostName>().unwrap().to_string(), shown);
        }
        for text in ["", "http://app.example", "app.example:80", "app.example/", "*.example"] {
            assert_eq!(text.parse::<HostName>(), Err(NotAName), "{text}");
        }
    }
}
