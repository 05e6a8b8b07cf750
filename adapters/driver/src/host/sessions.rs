//! The sessions of a host, over all its links: which channel carries each, and those that wait for
//! their device to come back.
//!
//! Whoever holds a conversation may take the table, never the other way round. Of conversations a
//! newer one may wait for the older one that it takes over, never the other way round.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_core::Instant;
use homing_core::channel::{ResumeRequest, Resumption};

use crate::conversation::{Answer, Conversation};
use crate::ties::Carried;

/// Sessions without a channel that are kept, of all devices.
const KEPT: usize = 64;
/// Sessions without a channel that are kept, of one device.
const KEPT_OF_DEVICE: usize = 8;
/// Bytes that they may hold together.
const BUDGET: usize = 64 * 1024 * 1024;

/// What a device's record is known by: the hash of its token, which every pairing makes anew.
pub type DeviceKey = [u8; 32];

/// A conversation that other links may take the session out of.
pub(super) type Shared = Arc<Mutex<Conversation>>;

pub(super) fn lock(conversation: &Shared) -> MutexGuard<'_, Conversation> {
    conversation.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who asks for a session, and how late the first message was heard.
#[derive(Clone, Copy)]
pub(super) struct Attachment {
    pub(super) device: DeviceKey,
    /// Of the token that was shown: the device's, or that of one of its guests.
    token: DeviceKey,
    pub(super) epoch: u64,
}

impl Attachment {
    pub(super) const fn new(device: DeviceKey, epoch: u64) -> Self {
        Self { device, token: device, epoch }
    }

    /// The same by a guest, if this is the hash of one's token.
    pub(super) fn by(&self, guest: Option<&DeviceKey>) -> Self {
        Self { token: guest.copied().unwrap_or(self.device), ..*self }
    }
}

/// The sessions of a host, shared by its links. A session whose channel was lost is kept for a
/// while, so that its device can go on with it, through this or another link.
pub struct Sessions {
    table: Mutex<HashMap<[u8; 16], Entry>>,
    epochs: AtomicU64,
    keep: Duration,
    budget: usize,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("sessions", &self.lock().len()).finish_non_exhaustive()
    }
}

struct Entry {
    device: DeviceKey,
    token: DeviceKey,
    resumption: Resumption,
    epoch: u64,
    place: Place,
}

enum Place {
    Live(Shared),
    Detached(Carried, Instant),
}

impl Entry {
    fn is_carried_by(&self, conversation: &Shared) -> bool {
        matches!(&self.place, Place::Live(live) if Arc::ptr_eq(live, conversation))
    }

    fn detached_since(&self) -> Option<Instant> {
        match self.place {
            Place::Live(_) => None,
            Place::Detached(_, since) => Some(since),
        }
    }

    fn bytes(&self) -> usize {
        match &self.place {
            Place::Live(_) => 0,
            Place::Detached(carried, _) => carried.bytes(),
        }
    }
}

impl Sessions {
    /// None yet. One that lost its channel is kept for this long.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self::with_budget(keep, BUDGET)
    }

    /// As [`new`](Self::new), with at most `budget` bytes in the sessions that are kept: the oldest
    /// of them make room.
    #[must_use]
    pub fn with_budget(keep: Duration, budget: usize) -> Self {
        Self { table: Mutex::default(), epochs: AtomicU64::new(0), keep, budget }
    }

    /// Sessions without a channel.
    #[must_use]
    pub fn detached(&self) -> usize {
        self.lock().values().filter(|entry| entry.detached_since().is_some()).count()
    }

    /// When [`expire`](Self::expire) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.lock().values().filter_map(Entry::detached_since).min().map(|since| since + self.keep)
    }

    /// Ends the sessions that were kept long enough, and those that hold too much.
    pub fn expire(&self, now: Instant) {
        let gone = self.sweep(&mut self.lock(), now);
        drop(gone); // outside the lock: it wakes those who hold the streams
    }

    /// Ends all sessions of a device, and of its guests, with this code. When this returns, nothing more that it sends
    /// on them is opened, and their streams have ended.
    pub fn revoke(&self, device: &DeviceKey, code: u16) {
        self.end(|entry| entry.device == *device, code);
    }

    /// Ends all sessions with this code.
    pub fn close_all(&self, code: u16) {
        self.end(|_| true, code);
    }

    fn end(&self, is_due: impl Fn(&Entry) -> bool, code: u16) {
        let gone: Vec<_> = self.lock().extract_if(|_, entry| is_due(entry)).collect();
        for (_, entry) in gone {
            match entry.place {
                Place::Live(conversation) => lock(&conversation).sever(code),
                Place::Detached(carried, _) => carried.cut(),
            }
        }
    }

    /// The place of a first message in the order of all.
    pub(super) fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed)
    }

    /// A session has begun.
    pub(super) fn enter(&self, by: &Attachment, conversation: &Shared) {
        let Some(resumption) = lock(conversation).channel().resumption() else { return };
        let mut table = self.lock();
        if let Some(entry) = table.get(resumption.session_id())
            && (entry.epoch != by.epoch || entry.is_carried_by(conversation))
        {
            return; // resumed, and entered when it was claimed
        }
        table.retain(|_, entry| !entry.is_carried_by(conversation));
        let (id, place) = (*resumption.session_id(), Place::Live(conversation.clone()));
        table.insert(id, Entry { device: by.device, token: by.token, resumption, epoch: by.epoch, place });
    }

    /// A device asks for its session, with a conversation that is locked and not in the table. If
    /// it is the one who owns it, this conversation carries it from now on: what carried it before
    /// is told so and ends.
    pub(super) fn claim(&self, request: &ResumeRequest, by: &Attachment, conversation: &Shared) -> Answer {
        let id = request.session_id();
        let place = {
            let mut table = self.lock();
            let Some(entry) = table.get_mut(id) else { return Answer::Begin };
            if entry.token != by.token || !request.is_proven_by(&entry.resumption) {
                return Answer::Begin;
            }
            if by.epoch <= entry.epoch {
                return Answer::Refuse;
            }
            entry.epoch = by.epoch;
            core::mem::replace(&mut entry.place, Place::Live(conversation.clone()))
        };
        let carried = match place {
            Place::Detached(carried, _) => Some(carried),
            // Older than this one, it waits for none that is newer.
            Place::Live(older) => lock(&older).supersede(),
        };
        match carried {
            Some(carried) => Answer::Adopt(carried),
            None => {
                self.lock().retain(|_, entry| !entry.is_carried_by(conversation));
                Answer::Begin
            }
        }
    }

    /// A channel is over: its session waits for another one, unless it ended as well.
    pub(super) fn leave(&self, conversation: &Shared, now: Instant) {
        let mut leaving = lock(conversation);
        let mut table = self.lock();
        let mut gone = Vec::new();
        // Where another one has claimed it, that one takes it away.
        if let Some(entry) = table.values_mut().find(|entry| entry.is_carried_by(conversation)) {
            match leaving.detach() {
                Some(carried) => entry.place = Place::Detached(carried, now),
                None => table.retain(|_, entry| !entry.is_carried_by(conversation)),
            }
            gone = self.sweep(&mut table, now);
        }
        drop(table);
        drop(leaving);
        drop(gone);
    }

    /// Takes out what is too old, too many or too much, the oldest first.
    fn sweep(&self, table: &mut HashMap<[u8; 16], Entry>, now: Instant) -> Vec<Entry> {
        let mut kept: Vec<_> = table
            .iter()
            .filter_map(|(id, entry)| Some((entry.detached_since()?, *id, entry.device, entry.bytes())))
            .collect();
        kept.sort_unstable_by_key(|(since, ..)| core::cmp::Reverse(*since));
        let (mut count, mut bytes, mut of_device) = (0, 0_usize, HashMap::<DeviceKey, usize>::new());
        let mut gone = Vec::new();
        for (since, id, device, size) in kept {
            let of_device = of_device.entry(device).or_default();
            let fits = count < KEPT && *of_device < KEPT_OF_DEVICE && bytes.saturating_add(size) <= self.budget;
            if fits && now < since + self.keep {
                (count, bytes, *of_device) = (count + 1, bytes + size, *of_device + 1);
            } else {
                gone.extend(table.remove(&id));
            }
        }
        gone
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
