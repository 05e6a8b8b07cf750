//! The inputs of a question, each by its name.

use homing_core::crypto::Secret;
use serde_json::Value;

use super::Refusal;
use crate::hex;

pub(super) struct Input<'a>(pub(super) &'a Value);

impl<'a> Input<'a> {
    fn wrong(name: &str) -> Refusal {
        Refusal::Question(format!("the question has no good {name}"))
    }

    pub(super) fn value(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.0.get(name).ok_or_else(|| Self::wrong(name))
    }

    /// An object inside.
    pub(super) fn inside(&self, name: &str) -> Result<Self, Refusal> {
        Ok(Self(self.value(name)?))
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        let list = self.value(name)?.as_array().ok_or_else(|| Self::wrong(name))?;
        Ok(list.iter().map(Self).collect())
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, Refusal> {
        self.value(name)?.as_str().ok_or_else(|| Self::wrong(name))
    }

    pub(super) fn is(&self, name: &str) -> Result<bool, Refusal> {
        self.value(name)?.as_bool().ok_or_else(|| Self::wrong(name))
    }

    /// A number, also one in decimal digits.
    pub(super) fn number<T: TryFrom<u64>>(&self, name: &str) -> Result<T, Refusal> {
        let value = self.value(name)?;
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| Self::wrong(name))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        hex::decode(self.text(name)?).ok_or_else(|| Self::wrong(name))
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>, Refusal> {
        let list = self.value(name)?.as_array().ok_or_else(|| Self::wrong(name))?;
        list.iter().map(|text| text.as_str().ok_or_else(|| Self::wrong(name))).collect()
    }

    /// A list of bytes.
    pub(super) fn all_bytes(&self, name: &str) -> Result<Vec<Vec<u8>>, Refusal> {
        self.texts(name)?.into_iter().map(|text| hex::decode(text).ok_or_else(|| Self::wrong(name))).collect()
    }

    /// Exactly `N` bytes.
    pub(super) fn array<const N: usize>(&self, name: &str) -> Result<[u8; N], Refusal> {
        self.bytes(name)?.try_into().map_err(|_| Self::wrong(name))
    }

    pub(super) fn secret<const N: usize>(&self, name: &str) -> Result<Secret<N>, Refusal> {
        self.array(name).map(Secret::new)
    }
}
