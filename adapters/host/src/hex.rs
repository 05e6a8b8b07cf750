//! Bytes as hex text in the state file and on the control socket.

use homing_core::crypto::{PublicKey, Secret};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use zeroize::Zeroizing;

pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect()
}

pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Option<Zeroizing<Vec<u8>>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok()))
        .collect::<Option<_>>()
        .map(Zeroizing::new);
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (to, [high, low]) in out.iter_mut().zip(pairs) {
        *to = high << 4 | low;
    }
    Some(out)
}

/// For `#[serde(with = "hex::bytes")]`.
pub(crate) mod bytes {
    use super::*;

    pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<[u8; N], D::Error> {
        let text = Zeroizing::new(String::deserialize(d)?);
        decode(&text).ok_or_else(|| D::Error::custom("not hex of the right length"))
    }
}

/// For `#[serde(with = "hex::secret")]`.
pub(crate) mod secret {
    use super::*;

    pub(crate) fn serialize<S: Serializer, const N: usize>(secret: &Secret<N>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&Zeroizing::new(encode(secret.expose())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<Secret<N>, D::Error> {
        bytes::deserialize(d).map(Secret::new)
    }
}

/// For `#[serde(with = "hex::key")]`.
pub(crate) mod key {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(key: &PublicKey, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&encode(key.as_bytes()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PublicKey, D::Error> {
        bytes::deserialize(d).map(PublicKey::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_undoes_encoding_and_refuses_the_rest() {
        assert_eq!(encode(&[0, 0x1f, 0xff]), "001fff");
        assert_eq!(decode::<3>("001fFF"), Some([0, 0x1f, 0xff]));
        for bad in ["", "0", "001ff", "001fff00", "001fgg"] {
            assert_eq!(decode::<3>(bad), None, "{bad}");
        }
    }
}
