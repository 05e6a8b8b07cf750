//! The key that hosts need to register: made once, shown once, kept as its hash.

use std::path::Path;

use homing_core::hop::operator_hash;
use homing_local::file;
use homing_relay::Admission;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Holds the hash in hex.
const FILE: &str = "relay.key-hash";
/// What the key starts with, so that scanners of leaked secrets know it.
const PREFIX: &str = "hk_";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The admission by key, and the key itself where it was made just now.
pub(super) fn load_or_make(data: &Path) -> Result<(Admission, Option<Zeroizing<String>>), Failure> {
    let path = data.join(FILE);
    if let Some(bytes) = file::read(&path)? {
        let hash = core::str::from_utf8(&bytes).ok().and_then(|text| parse_hex(text.trim()));
        let hash = hash.ok_or_else(|| {
            let path = path.display();
            Failure::failed(format!("{path} holds no hash; remove it to make a new key, which every host then needs"))
        })?;
        return Ok((Admission::Key(hash), None));
    }
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| Failure::failed("no random bytes from the system"))?;
    let key = emit_key(&bytes);
    let hash = operator_hash(key.as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    file::write(&path, format!("{hex}\n").as_bytes())?;
    Ok((Admission::Key(hash), Some(key)))
}

/// 55 letters: a relay takes at most 64.
fn emit_key(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut key = Zeroizing::new(String::with_capacity(64));
    key.push_str(PREFIX);
    for letter in 0..(bytes.len() * 8).div_ceil(5) {
        let bit = letter * 5;
        let byte = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
        let index = (byte(bit / 8) << 8 | byte(bit / 8 + 1)) >> (11 - bit % 8) & 31;
        key.push(ALPHABET.get(usize::from(index)).copied().map_or('?', char::from));
    }
    key
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_core::hop::MAX_NAME;

    #[test]
    fn the_key_is_made_once_and_its_hash_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (made, key) = load_or_make(dir.path()).unwrap();
        let key = key.unwrap();
        assert!(key.starts_with(PREFIX) && key.len() == 55 && key.len() <= MAX_NAME);
        assert_eq!(made, Admission::Key(operator_hash(key.as_bytes())));
        let (loaded, again) = load_or_make(dir.path()).unwrap();
        assert!(again.is_none() && loaded == made);
        assert!(!std::fs::read_to_string(dir.path().join(FILE)).unwrap().contains(key.as_str()));
    }

    #[test]
    fn every_bit_is_in_the_key() {
        assert_eq!(*emit_key(&[0; 32]), format!("{PREFIX}{}", "a".repeat(52)));
        assert_eq!(*emit_key(&[255; 32]), format!("{PREFIX}{}q", "7".repeat(51)));
        let mut last = [0; 32];
        last[31] = 1;
        assert!(emit_key(&last).ends_with("aaq"));
    }

    #[test]
    fn a_damaged_hash_is_no_open_door() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            file::write(&dir.path().join(FILE), text.as_bytes()).unwrap();
            assert!(load_or_make(dir.path()).is_err(), "{text:?}");
        }
    }
}
