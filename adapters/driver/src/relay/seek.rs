//! What a request for a link says of its route, so that a cluster of relays can send it to the right one before it is a
//! link (protocol 12.8).

use core::fmt;
use core::str::FromStr;

use homing_core::hop::{RouteId, blinded_route};

use super::events::{base64url, parse_base64url};

/// The header's name.
pub const ROUTE_HEADER: &str = "homing-route";

/// The longest value; what relays need is shorter.
const MAX_VALUE: usize = 64;

/// Who asks for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeker {
    /// A host, which is to be found there.
    Host,
    /// A device, which looks for one.
    Device,
}

/// The way that a link is to lead, as a request for it says.
///
/// ```
/// # use homing_driver::relay::Seek;
/// let seek = Seek::device(&[7; 16]);
/// assert_eq!(seek.to_string().parse(), Ok(seek));
/// # Ok::<(), homing_driver::relay::BadSeek>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seek {
    /// Who asks.
    pub seeker: Seeker,
    /// The route, [blinded](blinded_route).
    pub route: [u8; 16],
    /// Which of a host's links, where it has several: 0 is the first. Of devices, 0.
    pub link: u8,
    /// How many relays of the cluster could not be reached where it sent this endpoint.
    pub skip: u8,
}

/// A text that names no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Homing-Route is to be `host` or `device`, 22 characters of base64url and two numbers")]
pub struct BadSeek;

impl Seek {
    /// A host's link with this number.
    #[must_use]
    pub fn host(route: &RouteId, link: usize) -> Self {
        let link = u8::try_from(link).unwrap_or(u8::MAX);
        Self { seeker: Seeker::Host, route: blinded_route(route), link, skip: 0 }
    }

    /// A device's link.
    #[must_use]
    pub fn device(route: &RouteId) -> Self {
        Self { seeker: Seeker::Device, route: blinded_route(route), link: 0, skip: 0 }
    }
}

impl fmt::Display for Seek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeker = match self.seeker {
            Seeker::Host => "host",
            Seeker::Device => "device",
        };
        write!(f, "{seeker} {} {} {}", base64url(&self.route), self.link, self.skip)
    }
}

impl FromStr for Seek {
    type Err = BadSeek;

    fn from_str(text: &str) -> Result<Self, BadSeek> {
        if text.len() > MAX_VALUE {
            return Err(BadSeek);
        }
        let mut words = text.split(' ');
        let seeker = match words.next() {
            Some("host") => Seeker::Host,
            Some("device") => Seeker::Device,
            _ => return Err(BadSeek),
        };
        let route = words.next().and_then(|word| parse_base64url(word.as_bytes())).ok_or(BadSeek)?;
        let mut number = || words.next().and_then(number).ok_or(BadSeek);
        let (link, skip) = (number()?, number()?);
        if words.next().is_some() {
            return Err(BadSeek);
        }
        Ok(Self { seeker, route: route.try_into().map_err(|_| BadSeek)?, link, skip })
    }
}

/// A number as this writes it, and no other spelling of it.
fn number(word: &str) -> Option<u8> {
    let number: u8 = word.parse().ok()?;
    (number.to_string() == word).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_named_in_one_way_only() {
        let seek = Seek { skip: 2, ..Seek::host(&[3; 16], 1) };
        let text = seek.to_string();
        assert_eq!(text.parse(), Ok(seek));
        assert!(text.starts_with("host ") && text.ends_with(" 1 2") && text.len() < MAX_VALUE, "{text}");
        assert_ne!(seek.route, [3; 16], "it is blinded");
        let blinded = base64url(&seek.route);
        for wrong in [
            String::new(),
            "host".into(),
            format!("relay {blinded} 0 0"),
            format!("host {blinded} 0"),
            format!("host {blinded} 0 0 0"),
            format!("host {blinded}A 0 0"),
            format!("host {blinded}= 0 0"),
            format!("host  {blinded} 0 0"),
            format!("host {blinded} 00 0"),
            format!("host {blinded} +1 0"),
            format!("host {blinded} 256 0"),
            format!("host {blinded} -1 0"),
            format!("host {} 0 0", "A".repeat(1000)),
        ] {
            assert_eq!(wrong.parse::<Seek>(), Err(BadSeek), "{wrong}");
        }
    }

    #[test]
    fn a_host_with_many_links_still_says_something() {
        assert_eq!(Seek::host(&[0; 16], 1000).link, u8::MAX);
    }
}
