//! What a relay of a cluster is called, and where endpoints reach it.

use std::sync::Arc;

use homing_driver::relay::{BadRelayUrl, RelayUrl};

/// The longest name.
const MAX_NAME: usize = 32;

/// A relay of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name, which no other one has: letters from a to z, digits and `-`.
    pub name: Arc<str>,
    /// Where endpoints reach it and no other one.
    pub url: RelayUrl,
}

/// Why a text is no relay of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadNode {
    /// Not `NAME=URL`.
    #[error("write NAME=URL, such as a=wss://a.relay.example.org")]
    Shape,
    /// Not a name.
    #[error("{0:?} is no name for a relay: use 1 to 32 letters from a to z, digits and -")]
    Name(String),
    /// Not a URL.
    #[error("{0}: {1}")]
    Url(String, BadRelayUrl),
}

impl NodeInfo {
    /// A relay of this name, reached there.
    ///
    /// # Errors
    /// [`BadNode`], which says what is wrong.
    pub fn new(name: &str, url: &str) -> Result<Self, BadNode> {
        if !is_name(name) {
            return Err(BadNode::Name(name.chars().take(MAX_NAME).collect()));
        }
        let url = url.parse().map_err(|error| BadNode::Url(name.to_owned(), error))?;
        Ok(Self { name: name.into(), url })
    }

    /// Reads `NAME=URL`.
    ///
    /// # Errors
    /// [`BadNode`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Self, BadNode> {
        let (name, url) = text.split_once('=').ok_or(BadNode::Shape)?;
        Self::new(name.trim(), url.trim())
    }
}

/// Whether this may be a relay's name, or a cluster's.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_plain_names_and_urls() {
        let node = NodeInfo::parse("a-1 = wss://A.example.org:443").unwrap();
        assert_eq!((&*node.name, node.url.authority()), ("a-1", "a.example.org"));
        assert_eq!(NodeInfo::parse("wss://a"), Err(BadNode::Shape));
        for name in ["", "A", "a.b", "ä", "a b", &"a".repeat(33)] {
            assert!(matches!(NodeInfo::new(name, "wss://a"), Err(BadNode::Name(_))), "{name}");
        }
        assert!(matches!(NodeInfo::parse("a=ws://a.example.org"), Err(BadNode::Url(..))));
    }
}
