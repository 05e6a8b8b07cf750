//! Finds the host of a route or of a pairing slot, in constant time and without a heap: open
//! addressing with linear probing, deletion by shifting back.

use crate::crypto::mac16;

/// A place in the index. Give twice as many as there may be hosts and pairing slots.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteSlot {
    key: [u8; 16],
    hash: u32,
    owner: u32,
    kind: Option<Key>,
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Route = 1,
    Pair = 2,
    /// The host of a route that waits to be woken.
    Waiting = 3,
}

/// The index's secret: without it nobody can choose names that collide.
pub(super) struct Index {
    seed: [u8; 32],
}

impl Index {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    pub(super) fn find(&self, slots: &[RouteSlot], kind: Key, key: &[u8; 16]) -> Option<u32> {
        let at = position(slots, self.hash(kind, key), kind, key)?;
        slots.get(at).map(|slot| slot.owner)
    }

    /// Remembers the owner of a key, in place of an earlier one. False where there is no room.
    pub(super) fn insert(&self, slots: &mut [RouteSlot], kind: Key, key: &[u8; 16], owner: u32) -> bool {
        let hash = self.hash(kind, key);
        if let Some(slot) = position(slots, hash, kind, key).and_then(|at| slots.get_mut(at)) {
            slot.owner = owner;
            return true;
        }
        let len = slots.len();
        for at in probe(hash, len) {
            if let Some(slot) = slots.get_mut(at)
                && slot.kind.is_none()
            {
                *slot = RouteSlot { key: *key, hash, owner, kind: Some(kind) };
                return true;
            }
        }
        false
    }

    pub(super) fn remove(&self, slots: &mut [RouteSlot], kind: Key, key: &[u8; 16]) {
        let Some(mut hole) = position(slots, self.hash(kind, key), kind, key) else { return };
        let len = slots.len();
        // Whatever probed past the hole moves into it, so that no search ends early.
        let mut at = wrap(hole.saturating_add(1), len);
        for _ in 1..len {
            let Some(slot) = slots.get(at).copied().filter(|slot| slot.kind.is_some()) else { break };
            if distance(home(slot.hash, len), at, len) >= distance(hole, at, len) {
                if let Some(place) = slots.get_mut(hole) {
                    *place = slot;
                }
                hole = at;
            }
            at = wrap(at.saturating_add(1), len);
        }
        if let Some(place) = slots.get_mut(hole) {
            *place = RouteSlot::default();
        }
    }

    fn hash(&self, kind: Key, key: &[u8; 16]) -> u32 {
        let [a, b, c, d, ..] = mac16(&self.seed, &[&[kind as u8], key]);
        u32::from_le_bytes([a, b, c, d])
    }
}

fn position(slots: &[RouteSlot], hash: u32, kind: Key, key: &[u8; 16]) -> Option<usize> {
    for at in probe(hash, slots.len()) {
        let slot = slots.get(at)?;
        if slot.kind? == kind && slot.hash == hash && slot.key == *key {
            return Some(at);
        }
    }
    None
}

fn probe(hash: u32, len: usize) -> impl Iterator<Item = usize> {
    let home = home(hash, len);
    (home..len).chain(0..home)
}

fn home(hash: u32, len: usize) -> usize {
    usize::try_from(hash).unwrap_or(0).checked_rem(len).unwrap_or(0)
}

/// Steps from one place forward to another.
const fn distance(from: usize, to: usize, len: usize) -> usize {
    if to >= from { to.saturating_sub(from) } else { to.saturating_add(len).saturating_sub(from) }
}

const fn wrap(at: usize, len: usize) -> usize {
    if at >= len { 0 } else { at }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_index_is_a_map(len in 1usize..12, steps in proptest::collection::vec((0u8..16, any::<bool>(), any::<bool>()), 0..200)) {
            let index = Index::new([7; 32]);
            let mut slots = [RouteSlot::default(); 12];
            let slots = &mut slots[..len];
            let mut model = BTreeMap::new();
            for (owner, (name, pair, insert)) in (0u32..).zip(steps) {
                let kind = if pair { Key::Pair } else { Key::Route };
                if insert {
                    let room = model.len() < len || model.contains_key(&(name, pair));
                    prop_assert_eq!(index.insert(slots, kind, &[name; 16], owner), room);
                    if room {
                        model.insert((name, pair), owner);
                    }
                } else {
                    index.remove(slots, kind, &[name; 16]);
                    model.remove(&(name, pair));
                }
                for name in 0..16 {
                    for (kind, pair) in [(Key::Route, false), (Key::Pair, true)] {
                        prop_assert_eq!(index.find(slots, kind, &[name; 16]), model.get(&(name, pair)).copied());
                    }
                }
            }
        }
    }

    #[test]
    fn an_index_without_places_is_full() {
        let index = Index::new([7; 32]);
        assert!(!index.insert(&mut [], Key::Route, &[1; 16], 0));
        index.remove(&mut [], Key::Route, &[1; 16]);
        assert_eq!(index.find(&[], Key::Route, &[1; 16]), None);
    }
}
