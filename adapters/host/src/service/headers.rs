//! Which headers pass, which stop here, and which are ours to set.

use core::fmt::Write as _;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use super::{Caller, Credential};

const HOMING_DEVICE: HeaderName = HeaderName::from_static("homing-device");
const HOMING_DEVICE_NAME: HeaderName = HeaderName::from_static("homing-device-name");
pub(super) const HOMING_ASSERTION: HeaderName = HeaderName::from_static("homing-assertion");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Why a message cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Not exactly one `Host`, or one that cannot be quoted.
    Host,
    /// A transfer coding other than `chunked`.
    Coding,
}

/// The values that tell a service who calls; the same for all requests of a stream.
pub(super) struct Identity {
    device: HeaderValue,
    name: HeaderValue,
    address: HeaderValue,
    forwarded_for: String,
}

impl Identity {
    pub(super) fn new(caller: &Caller) -> Self {
        let device = escape(&caller.device_id);
        Self {
            forwarded_for: format!("for=\"_{}\"", device.replace(['%', '~'], "_")),
            device: ascii(device),
            name: ascii(escape(&caller.device_name)),
            address: ascii(stand_in_address(&caller.device_id)),
        }
    }

    fn set(&self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        const HTTP: HeaderValue = HeaderValue::from_static("http");
        let forwarded = match host.as_ref().and_then(|host| host.to_str().ok()) {
            Some(host) => format!("{};host=\"{host}\";proto=http", self.forwarded_for),
            None => format!("{};proto=http", self.forwarded_for),
        };
        headers.insert(HOMING_DEVICE, self.device.clone());
        headers.insert(HOMING_DEVICE_NAME, self.name.clone());
        headers.insert(FORWARDED, ascii(forwarded));
        headers.insert(X_FORWARDED_FOR, self.address.clone());
        headers.insert(X_REAL_IP, self.address.clone());
        headers.insert(X_FORWARDED_PROTO, HTTP);
        if let Some(host) = host {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }
}

/// Makes a device's request headers fit for the service. `upgrade` is kept, and only then. `must_have_host` is false for
/// HTTP/1.0.
pub(super) fn clean_request(
    headers: &mut HeaderMap,
    upgrade: Option<HeaderValue>,
    must_have_host: bool,
    identity: &Identity,
    authority: &HeaderValue,
    credential: Option<&Credential>,
) -> Result<(), Unfit> {
    let chunked = is_chunked(headers)?;
    let host = original_host(headers, must_have_host)?;
    let trailers = names(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    let stops = |name: &str| {
        stops_at_the_host(name) || credential.is_some_and(|credential| same(name, credential.header().as_str()))
    };
    // A trailer is sent only when announced, so an identity that is not announced cannot be forged in one.
    if names(headers, &TRAILER).any(|name| stops(&name.to_ascii_lowercase())) {
        headers.remove(TRAILER);
    }
    strip(headers, stops);
    headers.remove(EXPECT); // answered by the server here as soon as the body is wanted
    if chunked {
        // Said outright, or a GET would lose its body.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    headers.insert(HOST, authority.clone());
    identity.set(headers, host);
    if let Some(credential) = credential {
        headers.insert(credential.header(), credential.value().clone());
    }
    Ok(())
}

/// Makes a service's answer headers fit for the device.
pub(super) fn clean_answer(headers: &mut HeaderMap, keep_upgrade: bool) -> Result<(), Unfit> {
    is_chunked(headers)?;
    let protocol = if keep_upgrade { headers.get(UPGRADE).cloned() } else { None };
    strip(headers, is_hop_by_hop);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    Ok(())
}

/// The protocol a request wants to change to. Another version of HTTP is not an upgrade that may pass: requests inside it
/// would carry whatever identity they like.
pub(super) fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = names(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let mut protocols = headers.get_all(UPGRADE).iter();
    let (protocol, None) = (protocols.next()?, protocols.next()) else { return None };
    let forbidden = names(headers, &UPGRADE).any(|name| {
        let name = name.to_ascii_lowercase();
        name.starts_with("h2") || name.starts_with("h3") || name.starts_with("http") || name.starts_with("tls")
    });
    (asked && !forbidden).then(|| protocol.clone())
}

fn is_chunked(headers: &HeaderMap) -> Result<bool, Unfit> {
    let mut codings = names(headers, &TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(true),
        _ => Err(Unfit::Coding),
    }
}

fn original_host(headers: &HeaderMap, must_have_host: bool) -> Result<Option<HeaderValue>, Unfit> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let fits = |host: &HeaderValue| {
        host.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b))
    };
    match (host, another) {
        (None, _) if must_have_host => Err(Unfit::Host),
        (None, _) => Ok(None),
        (Some(host), None) if fits(host) => Ok(Some(host.clone()).filter(|host| !host.is_empty())),
        _ => Err(Unfit::Host),
    }
}

/// The comma-separated names in all values of a header; what is not text is skipped.
fn names<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> + use<'h> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// Removes what `stops` and what `Connection` names. The length stays: it frames the body, whatever a peer claims.
fn strip(headers: &mut HeaderMap, stops: impl Fn(&str) -> bool) {
    let mut doomed: Vec<HeaderName> = headers.keys().filter(|name| stops(name.as_str())).cloned().collect();
    doomed.extend(
        names(headers, &CONNECTION)
            .filter(|name| !name.eq_ignore_ascii_case("content-length"))
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()),
    );
    for name in doomed {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade") || name.starts_with("proxy-")
}

fn stops_at_the_host(name: &str) -> bool {
    is_hop_by_hop(name) || is_claim(name)
}

/// Whether a header claims who calls, from where, or for what other path. Gateways behind which `-` and `_` are one make
/// no difference between them, so neither do we.
fn is_claim(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["homing-", "x-forwarded", "x-original-"];
    const WHOLE: [&str; 6] =
        ["forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "x-cluster-client-ip", "x-rewrite-url"];
    if !name.starts_with(['h', 'x', 'f', 't']) {
        return false;
    }
    PREFIXES.iter().any(|prefix| name.get(..prefix.len()).is_some_and(|head| same(head, prefix)))
        || WHOLE.iter().any(|whole| same(name, whole))
}

/// Whether two names in lower case are one to a gateway that takes `_` for `-`.
fn same(name: &str, other: &str) -> bool {
    let plain = |b: u8| if b == b'_' { b'-' } else { b };
    name.len() == other.len() && name.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Whether a header frames messages, or is set by the host itself.
pub(super) fn is_ours_or_framing(name: &HeaderName) -> bool {
    const FRAMING: [HeaderName; 4] = [HOST, EXPECT, TRAILER, CONTENT_LENGTH];
    const OURS: [HeaderName; 5] = [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP];
    is_hop_by_hop(name.as_str())
        || FRAMING.contains(name)
        || OURS.iter().any(|ours| same(name.as_str(), ours.as_str()))
        || name.as_str().get(..7).is_some_and(|head| same(head, "homing-"))
}

/// An IPv6 address that stands for a device, so that services can tell devices apart by address.
fn stand_in_address(device_id: &str) -> String {
    let mut digits = device_id.bytes().filter(u8::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase());
    let mut address = "2001:db8".to_owned();
    for _ in 0..6 {
        address.push(':');
        for _ in 0..4 {
            address.push(char::from(digits.next().unwrap_or(b'0')));
        }
    }
    address
}

/// Percent-encodes all but unreserved characters.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}"); // writing to a string cannot fail
        }
    }
    escaped
}

/// A value from text known to be visible ASCII; anything else comes out empty.
pub(super) fn ascii(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_through_underscores() {
        for name in ["homing_device", "homing-device", "x_forwarded_for", "x-forwarded", "x_real-ip", "forwarded"] {
            assert!(is_claim(name), "{name}");
        }
        for name in ["host", "homing", "x-forward", "x-real-ips", "forwarded-not", "cookie", "x-request-id"] {
            assert!(!is_claim(name), "{name}");
        }
    }

    #[test]
    fn devices_have_addresses_of_their_own() {
        let address = stand_in_address("00112233445566778899AABBCCDDEEFF");
        assert_eq!(address, "2001:db8:0011:2233:4455:6677:8899:aabb");
        address.parse::<core::net::Ipv6Addr>().unwrap();
        stand_in_address("").parse::<core::net::Ipv6Addr>().unwrap();
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("Zoë's\r\nphone"), "Zo%C3%AB%27s%0D%0Aphone");
    }

    #[test]
    fn another_http_is_no_upgrade() {
        let ask = |protocol: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static(protocol));
            wanted_upgrade(&headers)
        };
        assert!(ask("websocket").is_some());
        for protocol in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.3"] {
            assert!(ask(protocol).is_none(), "{protocol}");
        }
    }
}
