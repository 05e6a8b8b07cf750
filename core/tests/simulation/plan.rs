//! What each stream is to carry, who opens it, and what became of it. A plan's key begins the
//! stream and shapes all of its bytes: whoever gets one byte of another stream sees it.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::net::MILLI;

/// The two ends of a stream.
pub(crate) const OPENER: usize = 0;
pub(crate) const ACCEPTOR: usize = 1;
/// Bytes of the key.
pub(crate) const HEAD: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Both directions at once.
    Both,
    /// What comes in goes back.
    Echo,
    /// The answer begins after the end of the question.
    Answer,
}

/// What an application does before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whim {
    None,
    /// Gives up sending once so much was written.
    Reset(u64),
    /// Wants no more once so much was read.
    Stop(u64),
    /// Lets go of everything once so much was read.
    Release(u64),
}

/// How one end reads: so many bytes each so many microseconds, or all at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) bytes: u64,
    pub(crate) every: u64,
}

/// How one direction ended, as one end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Complete,
    GivenUp,
    Lost,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) key: u64,
    pub(crate) device: usize,
    pub(crate) by_device: bool,
    pub(crate) opens: u64,
    /// Bytes in each direction, by the end that sends them; the opener's key not counted.
    pub(crate) size: [u64; 2],
    pub(crate) mode: Mode,
    pub(crate) pace: [Pace; 2],
    pub(crate) whim: [Whim; 2],
    /// Bytes that each end writes ahead of what is sent.
    pub(crate) ahead: u64,
    pub(crate) opened: bool,
    pub(crate) accepted: bool,
    /// An end gave up or let go before the end.
    pub(crate) given_up: bool,
    /// Of the direction that each end sends: as the sender and as the receiver sees it.
    pub(crate) fate: [[Fate; 2]; 2],
}

impl Plan {
    fn random(dice: &mut Dice, device: usize, latest: u64) -> Self {
        let most = dice.pick(&[100, 5_000, 60_000, 200_000]);
        let mut size = [dice.wide(most), dice.wide(most)];
        let mode = dice.pick(&[Mode::Both, Mode::Both, Mode::Echo, Mode::Answer]);
        if mode == Mode::Echo {
            size[ACCEPTOR] = size[OPENER];
        }
        let key = dice.between(1, u64::MAX - 1);
        let (pace, whim) = ([pace(dice, most), pace(dice, most)], [whim(dice, most), whim(dice, most)]);
        Self {
            key,
            device,
            by_device: dice.percent(70),
            opens: dice.sometime(latest),
            size,
            mode,
            pace,
            whim,
            ahead: dice.pick(&[4_096, 16_384, 65_536]),
            opened: false,
            accepted: false,
            given_up: false,
            fate: [[Fate::Open; 2]; 2],
        }
    }

    /// Bytes of the direction that this end sends.
    pub(crate) fn total(&self, end: usize) -> u64 {
        if end == OPENER { self.size[OPENER] + HEAD } else { self.size[ACCEPTOR] }
    }

    pub(crate) fn is_over(&self) -> bool {
        let [out, back] = self.fate;
        let opener = out[OPENER] != Fate::Open && back[OPENER] != Fate::Open;
        let acceptor = out[ACCEPTOR] != Fate::Open && back[ACCEPTOR] != Fate::Open;
        let lost = [out, back].iter().flatten().any(|fate| *fate == Fate::Lost);
        self.opened && opener && (acceptor || (!self.accepted && (self.given_up || lost)))
    }
}

/// Slow, if at all, so that all is read within some seconds.
fn pace(dice: &mut Dice, most: u64) -> Pace {
    if dice.percent(70) {
        return Pace { bytes: u64::MAX, every: 0 };
    }
    let every = dice.between(MILLI, 200 * MILLI);
    Pace { bytes: (most / 30).max(20), every }
}

fn whim(dice: &mut Dice, most: u64) -> Whim {
    if dice.percent(88) {
        return Whim::None;
    }
    let at = dice.wide(most);
    dice.pick(&[Whim::Reset(at), Whim::Stop(at), Whim::Release(at)])
}

/// Everything that is planned, and what is known of the sessions that carry it.
#[derive(Default)]
pub(crate) struct Plans {
    pub(crate) list: Vec<Plan>,
    by_key: BTreeMap<u64, usize>,
    sessions: BTreeMap<[u8; 16], Fact>,
}

#[derive(Default)]
struct Fact {
    /// The device knows that it has begun.
    known: bool,
    /// One of its ends crashed, or ended it on purpose.
    excused: bool,
}

impl Plans {
    pub(crate) fn add(&mut self, dice: &mut Dice, device: usize, latest: u64) {
        let plan = Plan::random(dice, device, latest);
        self.by_key.insert(plan.key, self.list.len());
        self.list.push(plan);
    }

    /// The plan of a stream that came to an acceptor.
    pub(crate) fn accept(&mut self, key: u64, device: usize, at_device: bool) -> usize {
        let place = *self.by_key.get(&key).expect("a stream begins with the key of a plan");
        let plan = &mut self.list[place];
        assert_eq!((plan.device, !plan.by_device), (device, at_device), "a stream came to the wrong end");
        assert!(!core::mem::replace(&mut plan.accepted, true), "a stream came twice");
        place
    }

    pub(crate) fn decide(&mut self, plan: usize, sender: usize, seen_by: usize, fate: Fate) {
        let known = &mut self.list[plan].fate[sender][seen_by];
        if *known == Fate::Open {
            *known = fate;
        }
    }

    pub(crate) fn are_over(&self) -> bool {
        self.list.iter().all(Plan::is_over)
    }

    /// The device knows of its session from now on: it may not be lost.
    pub(crate) fn confirm(&mut self, session: [u8; 16]) {
        self.sessions.entry(session).or_default().known = true;
    }

    /// An end of it crashed: it may be lost.
    pub(crate) fn excuse(&mut self, session: [u8; 16]) {
        self.sessions.entry(session).or_default().excused = true;
    }

    /// A session was lost: only with an excuse, or before the device knew of it.
    pub(crate) fn check_lost(&self, session: &[u8; 16]) {
        let fact = self.sessions.get(session);
        assert!(fact.is_none_or(|fact| fact.excused || !fact.known), "a session was lost without a crash");
    }

    /// What did not end, for the report of a failure.
    pub(crate) fn unfinished(&self) -> String {
        let left: Vec<_> = self.list.iter().filter(|plan| !plan.is_over()).map(|plan| format!("{plan:?}")).collect();
        left.join("\n")
    }

    /// Streams that came through whole, in both directions.
    pub(crate) fn whole(&self) -> u64 {
        let whole = |plan: &&Plan| plan.fate.iter().flatten().all(|fate| *fate == Fate::Complete);
        self.list.iter().filter(whole).count() as u64
    }

    pub(crate) fn lost(&self) -> u64 {
        let lost = |plan: &&Plan| plan.fate.iter().flatten().any(|fate| *fate == Fate::Lost);
        self.list.iter().filter(lost).count() as u64
    }
}

/// Byte streams of their own for each key and direction, readable at any offset.
pub(crate) mod bytes {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    fn word(key: u64, end: usize, number: u64) -> [u8; 8] {
        (key ^ end as u64).wrapping_add(number.wrapping_mul(STEP)).to_le_bytes()
    }

    /// Goes through the bytes of a direction from an offset on, in pieces of up to eight.
    fn pieces(key: u64, end: usize, mut offset: u64, mut len: usize, mut on: impl FnMut(usize, &[u8])) {
        let mut at = 0;
        while len > 0 {
            let word = word(key, end, offset / 8);
            let piece = &word[(offset % 8) as usize..];
            let piece = &piece[..piece.len().min(len)];
            on(at, piece);
            at += piece.len();
            offset += piece.len() as u64;
            len -= piece.len();
        }
    }

    pub(crate) fn fill(key: u64, end: usize, offset: u64, buf: &mut [u8]) {
        pieces(key, end, offset, buf.len(), |at, piece| buf[at..at + piece.len()].copy_from_slice(piece));
    }

    pub(crate) fn check(key: u64, end: usize, offset: u64, data: &[u8]) {
        pieces(key, end, offset, data.len(), |at, piece| {
            assert_eq!(&data[at..at + piece.len()], piece, "wrong bytes at offset {}", offset + at as u64);
        });
    }
}
