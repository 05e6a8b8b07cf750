//! Whose request it is, where proxies stand between.

use core::net::IpAddr;

use hyper::header::HeaderMap;
use ipnet::IpNet;

/// The address that a request comes from: the connection's, or, as far as the proxies on the way are among those that are
/// trusted, what they say in `X-Forwarded-For`. What anybody else writes there counts for nothing. None where a trusted
/// proxy does not say it.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address| is_trusted(address, trusted);
    let said = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let said: Vec<_> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut client = peer;
    // Each proxy appends whom it heard: the last entry is the word of the nearest one.
    for text in said.iter().rev() {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = parse(text) else { break };
        client = address;
    }
    (!is_trusted(client)).then_some(client)
}

/// Whether an address is a proxy's that is believed.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address.to_canonical()))
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next().unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<core::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, said: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<_> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).map_or("nobody".into(), |address| address.to_string())
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_whom_they_heard() {
        let proxies = &["10.0.0.0/8", "::1/128"];
        assert_eq!(of("192.0.2.9", &["1.1.1.1"], proxies), "192.0.2.9");
        assert_eq!(of("10.1.2.3", &["1.1.1.1"], proxies), "1.1.1.1");
        assert_eq!(of("::ffff:10.1.2.3", &["1.1.1.1"], proxies), "1.1.1.1");
        assert_eq!(
            of("::1", &["6.6.6.6, 1.1.1.1, 10.0.0.7"], proxies),
            "1.1.1.1",
            "the first is the client's own word"
        );
        assert_eq!(of("::1", &["6.6.6.6", "1.1.1.1"], proxies), "1.1.1.1", "several headers are one list");
        assert_eq!(of("::1", &["[2001:db8::7]:443"], proxies), "2001:db8::7");
        assert_eq!(of("::1", &["1.1.1.1:5000"], proxies), "1.1.1.1");
        assert_eq!(of("::1", &["1.1.1.1, junk"], proxies), "nobody");
        assert_eq!(of("::1", &[], proxies), "nobody");
        assert_eq!(of("10.1.2.3", &["1.1.1.1"], &[]), "10.1.2.3");
    }
}
