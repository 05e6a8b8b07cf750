//! What relays tell each other, as text of a few words: bounded, and refused where it is not as it should be.

use std::sync::Arc;

use homing_driver::relay::RelayUrl;

use crate::directory::Blinded;
use crate::directory::book::Claim;
use crate::directory::name::is_name;

/// More is none of ours, in bytes.
const MAX_WORDS: usize = 256;

/// A relay that lives, as its entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) life: u64,
    pub(super) url: RelayUrl,
}

impl Peer {
    pub(super) fn emit(&self) -> String {
        format!("{} {}", self.life, self.url)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (life, url) = words(bytes)?.split_once(' ')?;
        Some(Self { life: life.parse().ok()?, url: url.parse().ok()? })
    }
}

/// Who serves a route, as its entry says. Its epoch is the entry's revision.
pub(super) fn emit_claim(node: &str, life: u64, link: u8) -> String {
    format!("{node} {life} {link}")
}

pub(super) fn parse_claim(bytes: &[u8], epoch: u64) -> Option<Claim> {
    let mut words = words(bytes)?.split(' ');
    let node: Arc<str> = words.next().filter(|node| is_name(node))?.into();
    let (life, link) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Claim { node, life, link, epoch })
}

/// A route's key.
pub(super) fn key(route: &Blinded) -> String {
    route.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn parse_key(key: &str) -> Option<Blinded> {
    let mut route = [0; 16];
    if key.len() != 32 || !key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (at, byte) in route.iter_mut().enumerate() {
        *byte = u8::from_str_radix(key.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(route)
}

/// A claim that was made a moment ago, for those who have not heard of it otherwise.
pub(super) fn emit_open(route: &Blinded, node: &str, life: u64, link: u8, epoch: u64) -> String {
    format!("{} {epoch} {}", key(route), emit_claim(node, life, link))
}

pub(super) fn parse_open(bytes: &[u8]) -> Option<(Blinded, Claim)> {
    let (route, rest) = words(bytes)?.split_once(' ')?;
    let (epoch, claim) = rest.split_once(' ')?;
    Some((parse_key(route)?, parse_claim(claim.as_bytes(), epoch.parse().ok()?)?))
}

/// A relay that is about to stop.
pub(super) fn parse_drain(bytes: &[u8]) -> Option<(&str, u64)> {
    let (node, life) = words(bytes)?.split_once(' ')?;
    Some((is_name(node).then_some(node)?, life.parse().ok()?))
}

/// An account's name.
pub(super) fn parse_account(bytes: &[u8]) -> Option<&str> {
    words(bytes).filter(|account| !account.is_empty())
}

fn words(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes.get(..bytes.len().min(MAX_WORDS + 1))?).ok().filter(|text| text.len() <= MAX_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_nothing_else() {
        let route = [0xab; 16];
        let claim = Claim { node: "a".into(), life: 7, link: 1, epoch: 9 };
        assert_eq!(parse_key(&key(&route)), Some(route));
        assert_eq!(parse_claim(emit_claim("a", 7, 1).as_bytes(), 9), Some(claim.clone()));
        assert_eq!(parse_open(emit_open(&route, "a", 7, 1, 9).as_bytes()), Some((route, claim)));
        let peer = Peer { life: 3, url: "wss://a.example.org".parse().unwrap() };
        assert_eq!(Peer::parse(peer.emit().as_bytes()), Some(peer));
        assert_eq!(parse_drain(b"a 3"), Some(("a", 3)));
        let long = [b'a'; 300];
        for wrong in [&b""[..], b"a", b"A 1 1", b"a 1 1 1", b"a x 1", b"a 1 256", b"\xff 1 1", &long] {
            assert_eq!(parse_claim(wrong, 1), None);
            assert_eq!(parse_open(wrong), None);
            assert_eq!(Peer::parse(wrong), None);
        }
        for wrong in ["", "AB", &"AB".repeat(16), &"a".repeat(31), &"+a".repeat(16)] {
            assert_eq!(parse_key(wrong), None);
        }
    }
}
