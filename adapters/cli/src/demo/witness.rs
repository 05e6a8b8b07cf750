//! What the relay saw of each step: how many records, how long, when, which way. There is nothing else that it could
//! tell.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_relay::{Seen, Tap};
use serde_json::{Value, json};

/// Records that are kept one by one, of each step.
const KEPT: usize = 6;

/// Listens at the relay's tap.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<Mutex<Sighting>>);

/// What was seen since the last time somebody asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Sighting {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) smallest: usize,
    pub(super) largest: usize,
    pub(super) first: Vec<Seen>,
}

impl Witness {
    pub(super) fn tap(&self) -> Tap {
        let witness = self.clone();
        Arc::new(move |seen| witness.lock().add(seen))
    }

    /// What was seen since the last call.
    pub(super) fn take(&self) -> Sighting {
        core::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Sighting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sighting {
    fn add(&mut self, seen: Seen) {
        self.smallest = if self.records == 0 { seen.bytes } else { self.smallest.min(seen.bytes) };
        self.largest = self.largest.max(seen.bytes);
        self.records += 1;
        self.bytes += seen.bytes as u64;
        if self.first.len() < KEPT {
            self.first.push(seen);
        }
    }

    /// In a few words.
    pub(super) fn summary(&self) -> String {
        match self.records {
            0 => "nothing".to_owned(),
            1 => format!("1 record of {} B", self.bytes),
            n => format!("{n} records, {}–{} B", self.smallest, self.largest),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "records": self.records, "bytes": self.bytes, "smallest": self.smallest, "largest": self.largest })
    }

    /// The first records one by one: time since the first, direction, size.
    pub(super) fn lines(&self) -> impl Iterator<Item = (Duration, &'static str, usize)> {
        let start = self.first.first().map_or(Duration::ZERO, |seen| seen.at);
        self.first.iter().map(move |seen| {
            let way = if seen.from_host { "host → device" } else { "device → host" };
            (seen.at.saturating_sub(start), way, seen.bytes)
        })
    }
}
