//! The key that hosts show to be let in.

use core::fmt;

use homing_core::hop::operator_hash;
use zeroize::Zeroizing;

/// What a key starts with, so that scanners of leaked secrets know it.
pub const PREFIX: &str = "hk_";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A key that was just made. It is shown once; the relay keeps its hash.
pub struct RelayKey(Zeroizing<String>);

impl RelayKey {
    /// A fresh key of 256 random bits.
    ///
    /// # Errors
    /// The system has no random bytes to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut())?;
        Ok(Self::of(&bytes))
    }

    /// 55 letters: a relay takes at most 64 ([`MAX_NAME`](homing_core::hop::MAX_NAME)).
    fn of(bytes: &[u8; 32]) -> Self {
        let mut key = Zeroizing::new(String::with_capacity(64));
        key.push_str(PREFIX);
        for letter in 0..(bytes.len() * 8).div_ceil(5) {
            let bit = letter * 5;
            let byte = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
            let index = (byte(bit / 8) << 8 | byte(bit / 8 + 1)) >> (11 - bit % 8) & 31;
            key.push(ALPHABET.get(usize::from(index)).copied().map_or('?', char::from));
        }
        Self(key)
    }

    /// As it is shown to its owner.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the relay keeps of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        operator_hash(self.0.as_bytes())
    }
}

impl fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_in_the_key() {
        assert_eq!(RelayKey::of(&[0; 32]).as_str(), format!("{PREFIX}{}", "a".repeat(52)));
        assert_eq!(RelayKey::of(&[255; 32]).as_str(), format!("{PREFIX}{}q", "7".repeat(51)));
        let mut last = [0; 32];
        last[31] = 1;
        assert!(RelayKey::of(&last).as_str().ends_with("aaq"));
    }

    #[test]
    fn a_key_fits_into_a_registration_and_out_of_logs() {
        let key = RelayKey::generate().unwrap();
        assert!(key.as_str().len() == 55 && key.as_str().len() <= homing_core::hop::MAX_NAME);
        assert!(!format!("{key:?}").contains(&key.as_str()[PREFIX.len()..]));
    }
}
