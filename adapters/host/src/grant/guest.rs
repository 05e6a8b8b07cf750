//! A guest of a device, once it has proved what limits it.

use homing_core::channel::code;
use homing_core::crypto::hash;
use homing_core::wire::Caveats;
use homing_local::hex;

use super::Grant;
use super::caveat::Caveat;

/// What guests are told apart by: a device and a chain of caveats.
pub(crate) type GuestKey = [u8; 32];

/// What a guest may do besides what its device may.
#[derive(Debug)]
pub(crate) struct Guest {
    /// What it is called, and those that it has it from before that.
    pub(crate) name: String,
    /// When the first of its caveats ends it, in Unix seconds.
    pub(crate) expires_at: u64,
    /// Its caveats, the oldest first, each with whom it limits: all guests with the same caveats up to it.
    pub(crate) limits: Vec<(GuestKey, Grant)>,
}

/// Why a guest is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("a caveat cannot be read: {0}")]
    Caveat(super::GrantError),
    #[error("no caveat says until when")]
    Endless,
    #[error("a caveat does not let it pass on what it may reach")]
    PassedOn,
    #[error("its time is over")]
    Expired,
    #[error("it was ended before its time")]
    Ended,
}

impl Unfit {
    /// The code that its session ends with.
    pub(crate) const fn code(&self) -> u16 {
        match self {
            Self::Expired | Self::Ended => code::EXPIRED,
            Self::Caveat(_) | Self::Endless | Self::PassedOn => code::DENIED,
        }
    }
}

impl Guest {
    /// Reads what a guest of this device has proved; `now` in Unix seconds.
    pub(crate) fn read(device: &str, caveats: Caveats<'_>, now: u64) -> Result<Self, Unfit> {
        let (mut names, mut limits, mut end) = (Vec::new(), Vec::new(), None);
        let mut key = first_key(device);
        let mut passed_on = false;
        for text in caveats.iter() {
            let Caveat { name, grant } = Caveat::parse(text).map_err(Unfit::Caveat)?;
            if passed_on {
                return Err(Unfit::PassedOn);
            }
            passed_on = grant.no_guests;
            key = next_key(&key, text);
            names.extend(name);
            end = end.into_iter().chain(grant.expires_at).min();
            limits.push((key, grant));
        }
        let expires_at = end.ok_or(Unfit::Endless)?;
        if now >= expires_at {
            return Err(Unfit::Expired);
        }
        let name = if names.is_empty() { "guest".into() } else { names.join(" / ") };
        Ok(Self { name, expires_at, limits })
    }

    /// What services and the owner know it by: its device's id would give services the device.
    pub(crate) fn id(&self, device: &str) -> String {
        format!("{device}-{}", self.limits.last().map(|(key, _)| short(key)).unwrap_or_default())
    }

    /// What those that it has its link from are told apart by among the guests of one device, itself last.
    pub(crate) fn chain(&self) -> Vec<String> {
        self.limits.iter().map(|(key, _)| short(key)).collect()
    }

    /// Those of its caveats that something has to be counted for.
    pub(crate) fn limiting(&self) -> impl Iterator<Item = &(GuestKey, Grant)> {
        self.limits.iter().filter(|(_, grant)| grant.rate.is_some() || grant.concurrent.is_some())
    }

    /// Its grants.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.limits.iter().map(|(_, grant)| grant)
    }
}

/// What the owner of a host knows a guest by: the device that its link is of, and all that limits it.
#[must_use]
pub fn guest_id(device: &[u8; 8], caveats: Caveats<'_>) -> String {
    let device = hex::emit(device);
    let key = caveats.iter().fold(first_key(&device), |key, text| next_key(&key, text));
    format!("{device}-{}", short(&key))
}

fn first_key(device: &str) -> GuestKey {
    hash(&[b"homing guest ", device.as_bytes()])
}

fn next_key(key: &GuestKey, caveat: &[u8]) -> GuestKey {
    hash(&[key, caveat])
}

fn short(key: &GuestKey) -> String {
    hex::emit(key.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str], now: u64) -> Result<Guest, Unfit> {
        let mut bytes = vec![u8::try_from(texts.len()).unwrap()];
        for text in texts {
            bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        Guest::read("d0", Caveats::from_bytes(&bytes).unwrap(), now)
    }

    #[test]
    fn a_guest_ends_with_the_first_of_its_caveats() {
        let anna = r#"{"name":"anna","expires_at":100}"#;
        let bert = r#"{"name":"bert","expires_at":50}"#;
        let both = read(&[anna, bert], 49).unwrap();
        assert_eq!((both.name.as_str(), both.expires_at), ("anna / bert", 50));
        assert_eq!(read(&[bert, anna], 50).unwrap_err(), Unfit::Expired);
        assert_eq!(read(&[anna], 99).unwrap().expires_at, 100);
        assert_eq!(read(&["{}"], 0).unwrap_err(), Unfit::Endless);
        assert_eq!(read(&["{}", anna], 0).unwrap().name, "anna");
        assert!(matches!(read(&[anna, "{"], 0), Err(Unfit::Caveat(_))));
        let last = r#"{"guests":false,"expires_at":100}"#;
        assert_eq!(read(&[last, anna], 0).unwrap_err(), Unfit::PassedOn);
        assert!(read(&[anna, last], 0).is_ok());
    }

    #[test]
    fn guests_are_told_apart_by_all_their_caveats() {
        let (anna, bert) = (r#"{"expires_at":100}"#, r#"{"expires_at":200}"#);
        let ids: std::collections::HashSet<_> = [&[anna][..], &[bert], &[anna, bert], &[bert, anna], &[anna, anna]]
            .iter()
            .map(|texts| read(texts, 0).unwrap().id("d0"))
            .collect();
        assert_eq!(ids.len(), 5);
        let (one, child) = (read(&[anna], 0).unwrap(), read(&[anna, bert], 0).unwrap());
        assert_eq!(one.limits[0], child.limits[0], "a child counts against what limits its parent");
    }
}
