//! Lines and what links them.

use homing_core::crypto::{Secret, mac32};
use homing_local::hex;
use serde_json::{Map, Value};

/// What a line adds to the chain.
pub(super) type Link = [u8; 32];

/// Before the first line.
pub(super) const START: Link = [0; 32];

/// No line is longer, in bytes with its end: names and paths are cut before.
pub(super) const LINE_MAX: usize = 16 << 10;

const FIELD: &str = ",\"chain\":\"";
const DIGITS: usize = 64;
const TAIL: usize = FIELD.len() + DIGITS + "\"}".len();

fn link(key: &Secret<32>, before: &Link, text: &str) -> Link {
    mac32(key.expose(), &[before, text.as_bytes()])
}

/// A line with its end, and its link.
pub(super) fn emit(key: &Secret<32>, before: &Link, fields: Map<String, Value>) -> (String, Link) {
    let mut text = Value::Object(fields).to_string();
    text.pop(); // the closing brace comes after the chain
    let link = link(key, before, &text);
    text.push_str(FIELD);
    text.push_str(&hex::emit(&link));
    text.push_str("\"}\n");
    (text, link)
}

/// A line that was read, without its end.
#[derive(Debug)]
pub(super) struct Line<'a> {
    text: &'a str,
    /// The link that it claims.
    pub(super) link: Link,
    /// What it says, but for the chain.
    pub(super) fields: Map<String, Value>,
}

impl<'a> Line<'a> {
    /// None where it is no line of a trail.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let (text, tail) = line.split_at_checked(line.len().checked_sub(TAIL)?)?;
        let link = *hex::parse(tail.strip_prefix(FIELD)?.strip_suffix("\"}")?)?.expose();
        let fields = serde_json::from_str(&format!("{text}}}")).ok()?;
        Some(Self { text, link, fields })
    }

    pub(super) fn seq(&self) -> u64 {
        self.fields.get("seq").and_then(Value::as_u64).unwrap_or(0)
    }

    /// What the first line of a file says it comes after.
    pub(super) fn after(&self) -> Option<Link> {
        Some(*hex::parse(self.fields.get("after")?.as_str()?)?.expose())
    }

    /// Whether it is, unchanged, the one that follows `before`.
    pub(super) fn follows(&self, key: &Secret<32>, before: &Link) -> bool {
        homing_core::crypto::same(&link(key, before, self.text), &self.link)
    }
}
