//! Two ends that seal datagrams, and a network that loses, repeats, reorders and changes them: each
//! opens once, exactly where a plain list of what was opened says so, and a refused one moves nothing.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::crypto::Portable;
use homing_core::handshake::Keys;
use homing_core::session::{Datagrams, PREVIOUS_TIME, Role, Session, WINDOW};
use homing_core::wire::{HEADER_LEN, Header, Params, TAG_LEN};

use super::ends::keys;
use super::{Bytes, Steps};

#[derive(Arbitrary, Clone, Debug)]
pub enum Step<'a> {
    /// The device seals a text and sends it.
    Seal(Bytes<'a>),
    /// It sends some empty ones, seldom many, none of which arrives yet.
    Burst(u8),
    /// One of the records sent so far arrives, perhaps not for the first time: so many before the last.
    Deliver(u16),
    /// As `Deliver`, with a byte changed.
    Change(u16, u16, u8),
    /// Seconds pass; keys change after ten minutes.
    Pass(u16),
    /// The host erases what is old.
    Timeout,
}

/// One handshake for all runs: it would take most of the time.
static KEYS: LazyLock<[Keys; 2]> = LazyLock::new(|| keys([Params::default(); 2]));

/// What the host should have opened.
#[derive(Default)]
struct Model {
    newest: u32,
    seen: BTreeSet<u64>,
    /// Until when the epoch before is taken.
    previous: Option<Instant>,
}

impl Model {
    /// Whether a record opens now.
    fn take(&mut self, now: Instant, Header { epoch, counter }: Header) -> bool {
        self.previous.take_if(|until| now >= *until);
        let is_previous = epoch + 1 == self.newest && self.previous.is_some();
        let is_old = self.seen.last().is_some_and(|top| counter + WINDOW <= *top);
        if is_old || !(is_previous || epoch == self.newest || epoch == self.newest + 1) || !self.seen.insert(counter) {
            return false;
        }
        if epoch > self.newest {
            (self.newest, self.previous) = (epoch, Some(now + PREVIOUS_TIME));
        }
        true
    }
}

pub fn check(Steps(steps): &Steps<Step<'_>>) {
    let [device, host] = &*KEYS;
    let mut now = Instant::ZERO;
    let mut device = Session::<Portable>::new(Role::Device, device, now);
    let mut host = Session::<Portable, Datagrams<Portable>>::datagrams(Role::Host, host, now);
    let (mut sent, mut model) = (Vec::<(Vec<u8>, Header, &[u8])>::new(), Model::default());
    let mut seal = |now, text, sent: &mut Vec<_>| {
        let header = device.next_sealed();
        let mut record = [&[0; HEADER_LEN][..], text, &[0; TAG_LEN]].concat();
        device.seal(now, &mut record, text.len()).expect("short");
        // Keys may have changed before it was sealed.
        let header = Header { epoch: device.next_sealed().epoch, ..header };
        sent.push((record, header, text));
    };
    for step in steps {
        match *step {
            Step::Seal(Bytes(text)) => seal(now, text, &mut sent),
            Step::Burst(many) => {
                let many = if many < 0xf0 { many % 8 } else { many };
                (0..many).for_each(|_| seal(now, b"", &mut sent));
            }
            Step::Deliver(back) => {
                let Some(place) = sent.len().checked_sub(1 + usize::from(back)) else { continue };
                let (mut record, header, text) = sent[place].clone();
                let opened = host.open(now, &mut record).ok();
                assert_eq!(opened, model.take(now, header).then_some(text), "{header:?}");
            }
            Step::Change(back, place, change) => {
                let Some(sent_at) = sent.len().checked_sub(1 + usize::from(back)) else { continue };
                let mut record = sent[sent_at].0.clone();
                let place = usize::from(place) % record.len();
                record[place] ^= change;
                assert!(change == 0 || host.open(now, &mut record).is_err());
            }
            Step::Pass(seconds) => now = now + Duration::from_secs(seconds.into()),
            Step::Timeout => host.handle_timeout(now),
        }
        assert_eq!(host.newest_epoch(), model.newest);
        assert!(host.poll_timeout().is_none_or(|_| model.newest > 0));
    }
}
