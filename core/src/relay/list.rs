//! Doubly linked lists through the slots of a table: first come, first served, constant time.

/// No slot.
pub(super) const NIL: u32 = u32::MAX;

/// A slot's place in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    prev: u32,
    next: u32,
}

impl Hook {
    pub(super) const FREE: Self = Self { prev: NIL, next: NIL };
}

/// A slot with a hook for each list that it can be in at the same time.
pub(super) trait Hooked<const WHICH: u8> {
    fn hook(&mut self) -> &mut Hook;
}

/// Ends of a list. A slot is pushed only while it is in no list of the same hook, and removed only
/// from the list it is in; the slot's state says which that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<const WHICH: u8> {
    head: u32,
    tail: u32,
    len: u32,
}

impl<const WHICH: u8> List<WHICH> {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL, len: 0 };

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    pub(super) fn next<T: Hooked<WHICH>>(slots: &mut [T], slot: u32) -> Option<u32> {
        let next = at(slots, slot)?.hook().next;
        (next != NIL).then_some(next)
    }

    pub(super) fn push<T: Hooked<WHICH>>(&mut self, slots: &mut [T], slot: u32) {
        let Some(new) = at(slots, slot) else { return };
        *new.hook() = Hook { prev: self.tail, next: NIL };
        match at(slots, self.tail) {
            Some(last) => last.hook().next = slot,
            None => self.head = slot,
        }
        self.tail = slot;
        self.len = self.len.saturating_add(1);
    }

    pub(super) fn remove<T: Hooked<WHICH>>(&mut self, slots: &mut [T], slot: u32) {
        let Some(old) = at(slots, slot) else { return };
        let Hook { prev, next } = core::mem::replace(old.hook(), Hook::FREE);
        match at(slots, prev) {
            Some(before) => before.hook().next = next,
            None => self.head = next,
        }
        match at(slots, next) {
            Some(after) => after.hook().prev = prev,
            None => self.tail = prev,
        }
        self.len = self.len.saturating_sub(1);
    }

    pub(super) fn pop<T: Hooked<WHICH>>(&mut self, slots: &mut [T]) -> Option<u32> {
        let slot = self.front()?;
        self.remove(slots, slot);
        Some(slot)
    }
}

/// The slot of this number.
pub(super) fn at<T>(slots: &mut [T], slot: u32) -> Option<&mut T> {
    slots.get_mut(usize::try_from(slot).ok()?)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    impl Hooked<0> for Hook {
        fn hook(&mut self) -> &mut Hook {
            self
        }
    }

    proptest! {
        #[test]
        fn a_list_is_a_queue_with_removal(steps in proptest::collection::vec(0u32..8, 0..100)) {
            let (mut slots, mut list, mut model) = ([Hook::FREE; 8], List::<0>::EMPTY, VecDeque::new());
            for slot in steps {
                if model.contains(&slot) {
                    list.remove(&mut slots, slot);
                    model.retain(|s| *s != slot);
                } else {
                    list.push(&mut slots, slot);
                    model.push_back(slot);
                }
                let mut seen = Vec::new();
                let mut next = list.front();
                while let Some(slot) = next {
                    seen.push(slot);
                    next = List::<0>::next(&mut slots, slot);
                }
                prop_assert_eq!(&model, &VecDeque::from(seen));
                prop_assert_eq!(list.len() as usize, model.len());
            }
        }
    }
}
