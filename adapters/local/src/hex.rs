//! Bytes as hex text, in the state file and for people.

use core::fmt::{self, Write as _};

use homing_core::crypto::Secret;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The text of `bytes`, which are no secret.
#[must_use]
pub fn emit(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Secret bytes that are written as hex. The text is wiped too.
pub struct Hex<const N: usize>(pub Secret<N>);

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hex(..)")
    }
}

impl<const N: usize> Hex<N> {
    /// Takes over `bytes`.
    #[must_use]
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(Secret::new(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new(String::with_capacity(N.saturating_mul(2)));
        for byte in self.0.expose() {
            // A string takes any character.
            let _ = text.write_char(digit(byte >> 4)).and_then(|()| text.write_char(digit(byte & 15)));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits<const N: usize>;
        impl<const N: usize> Visitor<'_> for Digits<N> {
            type Value = Hex<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} hex digits", N.saturating_mul(2))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Hex<N>, E> {
                parse(text).map(Hex).ok_or_else(|| E::invalid_length(text.len(), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// The `N` bytes of a text of exactly as many pairs of lower-case digits.
#[must_use]
pub fn parse<const N: usize>(text: &str) -> Option<Secret<N>> {
    if text.len() != N.checked_mul(2)? {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    let secret = Secret::new(bytes);
    bytes.zeroize();
    Some(secret)
}

fn digit(value: u8) -> char {
    DIGITS.get(usize::from(value)).copied().map_or('?', char::from)
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_nothing_else_is_read() {
        let hex = Hex::new([0x00, 0x7f, 0xff]);
        let text = serde_json::to_string(&hex).unwrap();
        assert_eq!(text, "\"007fff\"");
        assert_eq!(serde_json::from_str::<Hex<3>>(&text).unwrap().0.expose(), &[0x00, 0x7f, 0xff]);
        for bad in ["\"007ff\"", "\"007fff00\"", "\"007FFF\"", "\"007ffg\"", "\"\"", "7", "\"007f\u{ff}\""] {
            assert!(serde_json::from_str::<Hex<3>>(bad).is_err(), "{bad}");
        }
        assert_eq!(emit(&[0xab, 0x01]), "ab01");
    }
}
