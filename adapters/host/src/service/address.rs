//! Which addresses the host connects to. What is exposed is written by its owner, but a name's address is written by
//! whoever answers for that name: each address is checked as it is resolved, and the connection goes to the very address
//! that was checked.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;

/// Why the host does not connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// 169.254.0.0/16 and fe80::/10, where clouds answer with their secrets.
    #[error("a link-local address")]
    LinkLocal,
    /// A cloud's metadata service at an address that is not link-local.
    #[error("a cloud's metadata service")]
    Metadata,
    /// More than one machine.
    #[error("a multicast or broadcast address")]
    Group,
    /// 0.0.0.0/8 and ::, which stand for no machine.
    #[error("the unspecified address; 127.0.0.1 is this machine")]
    Unspecified,
    /// A name that means this machine, and is none of its own.
    #[error("this machine itself, by a name that is not localhost; write localhost or 127.0.0.1 where that is meant")]
    Loopback,
    /// A localhost that means another machine.
    #[error("not this machine, though localhost is")]
    NotLoopback,
}

/// Checks an address. `name` is what it was resolved from; none where the owner wrote the address itself.
pub(super) fn check(name: Option<&str>, ip: IpAddr) -> Result<(), Forbidden> {
    let ip = plain(ip);
    let (link_local, metadata) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4 == Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    };
    let unspecified = matches!(ip, IpAddr::V4(v4) if v4.octets().starts_with(&[0])) || ip.is_unspecified();
    let group = ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    for (applies, why) in [
        (link_local, Forbidden::LinkLocal),
        (metadata, Forbidden::Metadata),
        (group, Forbidden::Group),
        (unspecified, Forbidden::Unspecified),
    ] {
        if applies {
            return Err(why);
        }
    }
    match name.map(is_localhost) {
        Some(false) if ip.is_loopback() => Err(Forbidden::Loopback),
        Some(true) if !ip.is_loopback() => Err(Forbidden::NotLoopback),
        _ => Ok(()),
    }
}

/// The addresses of these that may be connected to; where there is none, the first that may not, and why.
pub(super) fn fit(host: &str, all: Vec<SocketAddr>) -> io::Result<Result<Vec<SocketAddr>, (IpAddr, Forbidden)>> {
    let name = host.parse::<IpAddr>().is_err().then_some(host);
    let refused = all.iter().find_map(|address| Some((address.ip(), check(name, address.ip()).err()?)));
    let fit: Vec<_> = all.into_iter().filter(|address| check(name, address.ip()).is_ok()).collect();
    match (fit.is_empty(), refused) {
        (false, _) => Ok(Ok(fit)),
        (true, Some(refused)) => Ok(Err(refused)),
        (true, None) => Err(io::Error::new(io::ErrorKind::NotFound, "its name has no address")),
    }
}

pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The IPv4 address inside an IPv6 address that leads to it: mapped, or through a translator.
fn plain(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => match v6.octets() {
            [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
            _ => v6.into(),
        },
        v4 => v4,
    }
}

#[cfg(test)]
type Answer = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// Who answers for names.
#[derive(Clone, Default)]
pub(super) enum Names {
    #[default]
    System,
    #[cfg(test)]
    Fixed(std::sync::Arc<Answer>),
}

impl Names {
    /// All addresses of a host, as of now.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            #[cfg(test)]
            Self::Fixed(answer) => Ok(answer(host).into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: Option<&str>, ip: &str) -> Result<(), Forbidden> {
        check(name, ip.parse().unwrap())
    }

    #[test]
    fn what_is_never_connected_to() {
        for (ip, why) in [
            ("169.254.169.254", Forbidden::LinkLocal),
            ("169.254.0.1", Forbidden::LinkLocal),
            ("::ffff:169.254.169.254", Forbidden::LinkLocal),
            ("64:ff9b::a9fe:a9fe", Forbidden::LinkLocal),
            ("fe80::1", Forbidden::LinkLocal),
            ("febf::1", Forbidden::LinkLocal),
            ("fd00:ec2::254", Forbidden::Metadata),
            ("100.100.100.200", Forbidden::Metadata),
            ("224.0.0.1", Forbidden::Group),
            ("ff02::1", Forbidden::Group),
            ("255.255.255.255", Forbidden::Group),
            ("0.0.0.0", Forbidden::Unspecified),
            ("0.1.2.3", Forbidden::Unspecified),
            ("::", Forbidden::Unspecified),
        ] {
            for name in [None, Some("app.lan"), Some("localhost")] {
                assert_eq!(verdict(name, ip), Err(why), "{name:?} {ip}");
            }
        }
        for ip in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd00::1", "2001:db8::1", "fec0::1"] {
            assert_eq!((verdict(None, ip), verdict(Some("app.lan"), ip)), (Ok(()), Ok(())), "{ip}");
        }
    }

    #[test]
    fn this_machine_is_localhost_and_nothing_else() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            for name in [None, Some("localhost"), Some("LOCALHOST."), Some("app.localhost")] {
                assert_eq!(verdict(name, ip), Ok(()), "{name:?} {ip}");
            }
            for name in ["app.lan", "localhost.evil.example", "notlocalhost", "127.1", "2130706433"] {
                assert_eq!(verdict(Some(name), ip), Err(Forbidden::Loopback), "{name} {ip}");
            }
        }
        assert_eq!(verdict(Some("localhost"), "8.8.8.8"), Err(Forbidden::NotLoopback));
    }

    #[test]
    fn only_addresses_that_pass_are_left() {
        let all = |ips: &[&str]| ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect::<Vec<_>>();
        let mixed = all(&["fe80::1", "10.0.0.1", "127.0.0.1", "10.0.0.2"]);
        assert_eq!(fit("nas.lan", mixed).unwrap().unwrap(), all(&["10.0.0.1", "10.0.0.2"]));
        let (ip, why) = fit("nas.lan", all(&["127.0.0.1", "fe80::1"])).unwrap().unwrap_err();
        assert_eq!((ip.to_string().as_str(), why), ("127.0.0.1", Forbidden::Loopback));
        assert!(fit("nas.lan", Vec::new()).is_err());
        assert_eq!(fit("127.0.0.1", all(&["127.0.0.1"])).unwrap().unwrap().len(), 1);
    }
}
