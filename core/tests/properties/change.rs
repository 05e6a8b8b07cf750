//! What somebody in between does to a message.

use proptest::prelude::*;

/// Any change of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Flip { place: usize, bit: u8 },
    Cut(usize),
    Extend(u8),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (any::<usize>(), 0..8u8).prop_map(|(place, bit)| Change::Flip { place, bit }),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => any::<u8>().prop_map(Change::Extend),
    ]
}

impl Change {
    pub(crate) fn apply(self, message: &mut Vec<u8>) {
        let len = message.len();
        match self {
            Self::Flip { place, bit } => message[place % len] ^= 1 << bit,
            Self::Cut(place) => message.truncate(place % len),
            Self::Extend(byte) => message.push(byte),
        }
    }
}
