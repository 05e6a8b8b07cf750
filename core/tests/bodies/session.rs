//! Two ends that seal, and a relay in between that loses, repeats, reorders and changes records:
//! what opens is what was sealed, in order, and a refused record moves nothing.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::crypto::Portable;
use homing_core::handshake::Keys;
use homing_core::session::{Role, Session};
use homing_core::wire::{HEADER_LEN, Header, MAX_PLAINTEXT, MAX_RECORD, Params, Reader, TAG_LEN, padme};

use super::ends::keys;
use super::{Bytes, Steps};

#[derive(Arbitrary, Clone, Debug)]
pub enum Step<'a> {
    /// An end seals a text, perhaps padded, and sends it.
    Seal(bool, bool, Bytes<'a>),
    /// A text of about this length, which may be more than a record carries.
    Long(bool, u16),
    /// The next record arrives at an end.
    Deliver(bool),
    /// A record arrives before its turn, or the last one a second time.
    Reorder(bool, u8),
    /// The next record arrives with a byte changed, then as it was.
    Change(bool, u16, u8),
    /// The next record arrives cut or extended, then as it was.
    Resize(bool, u16),
    /// Any bytes arrive instead of the next record, then that.
    Raw(bool, Bytes<'a>),
    /// Seconds pass; keys change after ten minutes.
    Pass(u16),
}

/// The most that each end announced to take in a record.
const MOST: u16 = 2048;

/// One handshake for all runs: it would take most of the time.
static KEYS: LazyLock<[Keys; 2]> = LazyLock::new(|| keys([Params { max_record: MOST, ..Params::default() }; 2]));

struct End {
    session: Session<Portable>,
    /// What is on its way to this end: record and text.
    coming: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// The last record that arrived.
    last: Vec<u8>,
}

struct World {
    ends: [End; 2],
    now: Instant,
}

pub fn check(Steps(steps): &Steps<Step<'_>>) {
    let mut world = World::new(Instant::ZERO);
    for step in steps {
        world.step(step);
    }
    world.settle();
}

impl World {
    fn new(now: Instant) -> Self {
        let [device, host] = &*KEYS;
        let ends = [(Role::Device, device), (Role::Host, host)].map(|(role, keys)| End {
            session: Session::new(role, keys, now),
            coming: VecDeque::new(),
            last: Vec::new(),
        });
        Self { ends, now }
    }

    fn step(&mut self, step: &Step<'_>) {
        let now = self.now;
        match *step {
            Step::Seal(host, pad, Bytes(text)) => self.seal(host, text, pad),
            Step::Long(host, len) => {
                // Seldom more than any record carries: filling them takes most of the time.
                let len = if len < 0xff00 { len % 3_000 } else { len % 20_000 };
                self.seal(host, &vec![7; len.into()], false);
            }
            Step::Deliver(host) => self.ends[usize::from(host)].deliver(now),
            Step::Reorder(host, n) => {
                let end = &mut self.ends[usize::from(host)];
                match usize::from(n) % end.coming.len().max(1) {
                    0 => end.refuses(now, end.last.clone()),
                    later => end.refuses(now, end.coming[later].0.clone()),
                }
            }
            Step::Change(host, place, change) => {
                let changed = |record: &mut Vec<u8>| {
                    let place = usize::from(place) % record.len();
                    record[place] ^= change;
                };
                self.ends[usize::from(host)].hears_changed(now, changed);
            }
            Step::Resize(host, len) => {
                self.ends[usize::from(host)].hears_changed(now, |record| record.resize(len.into(), 0));
            }
            Step::Raw(host, Bytes(bytes)) => {
                // The fuzzer has seen the records of other runs, which have the same keys.
                let end = &mut self.ends[usize::from(host)];
                if !end.may_be_next(bytes) {
                    end.hears_changed(now, |record| *record = bytes.to_vec());
                }
            }
            Step::Pass(seconds) => self.now = now + Duration::from_secs(seconds.into()),
        }
    }

    fn seal(&mut self, host: bool, text: &[u8], pad: bool) {
        let mut text = text.to_vec();
        if pad {
            text.resize(padme(text.len(), MAX_PLAINTEXT), 0);
        }
        let mut record = [&[0; HEADER_LEN], &text[..], &[0; TAG_LEN]].concat();
        let session = &mut self.ends[usize::from(host)].session;
        let before = session.next_sealed();
        let Ok(len) = session.seal(self.now, &mut record, text.len()) else {
            assert!(text.len() > MAX_PLAINTEXT);
            assert_eq!(session.next_sealed(), before);
            return;
        };
        let after = session.next_sealed();
        assert!(after.counter == before.counter + 1, "each number is used once");
        assert!(after.epoch == before.epoch || after.epoch == before.epoch + 1, "no epoch is left out");
        assert!(len == record.len() && len <= MAX_RECORD);
        assert!(text.len() < 8 || record[HEADER_LEN..][..text.len()] != text, "a record shows its text");
        if text.len() <= MOST.into() {
            self.ends[usize::from(!host)].coming.push_back((record, text));
        } else {
            // More than the other end announced: it is refused, and nothing can follow it.
            self.settle();
            self.ends[usize::from(!host)].refuses(self.now, record);
            *self = Self::new(self.now);
        }
    }

    /// All that is under way arrives.
    fn settle(&mut self) {
        for end in &mut self.ends {
            while !end.coming.is_empty() {
                end.deliver(self.now);
            }
        }
    }
}

impl End {
    fn deliver(&mut self, now: Instant) {
        let Some((mut record, text)) = self.coming.pop_front() else { return };
        self.last = record.clone();
        assert_eq!(self.session.open(now, &mut record), Ok(&text[..]));
    }

    fn may_be_next(&self, record: &[u8]) -> bool {
        let next = self.session.next_opened();
        let next_epoch = Header { epoch: next.epoch + 1, ..next };
        Header::parse(&mut Reader::new(record)).is_ok_and(|header| header == next || header == next_epoch)
    }

    /// The next record arrives changed, and after that as it was.
    fn hears_changed(&mut self, now: Instant, change: impl FnOnce(&mut Vec<u8>)) {
        let Some((record, _)) = self.coming.front() else { return };
        let mut changed = record.clone();
        change(&mut changed);
        if changed != *record {
            self.refuses(now, changed);
        }
        self.deliver(now);
    }

    fn refuses(&mut self, now: Instant, mut record: Vec<u8>) {
        let before = self.session.next_opened();
        assert!(self.session.open(now, &mut record).is_err());
        assert_eq!(self.session.next_opened(), before, "a refused record moves nothing");
    }
}
