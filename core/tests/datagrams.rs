//! Sessions over a transport that loses, repeats, reorders and forges: each record is opened at
//! most once, and nothing but the peer's records moves anything.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "../examples/datagram.rs"]
mod example;
mod support;

use core::cell::Cell;
use core::time::Duration;
use std::collections::BTreeSet;

use homing_core::Instant;
use homing_core::crypto::{Aead, Forged, Portable, Secret};
use homing_core::session::{
    Datagrams, Discard, EPOCH_RECORDS, EPOCH_TIME, FORGED_MAX, Fresh, Ordered, PREVIOUS_TIME, Role, Session, WINDOW,
    Window,
};
use homing_core::wire::{HEADER_LEN, Header, Params, TAG_LEN};
use proptest::collection::vec;
use proptest::prelude::*;
use support::ends::keys;

thread_local! {
    static OPENED: Cell<u64> = const { Cell::new(0) };
}

/// Counts how often a record is opened.
struct Counting(Portable);

impl Aead for Counting {
    fn new(subkey: &Secret<32>) -> Self {
        Self(Portable::new(subkey))
    }

    fn seal(&self, counter: u64, ad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        self.0.seal(counter, ad, text)
    }

    fn open(&self, counter: u64, ad: &[u8], sealed: &mut [u8]) -> Result<(), Forged> {
        OPENED.set(OPENED.get() + 1);
        self.0.open(counter, ad, sealed)
    }
}

type Unordered<A> = Session<A, Datagrams<A>>;

/// A device and a host of datagrams.
fn sessions<A: Aead>() -> (Unordered<A>, Unordered<A>) {
    let [device, host] = keys([Params::default(); 2]);
    (Session::datagrams(Role::Device, &device, Instant::ZERO), Session::datagrams(Role::Host, &host, Instant::ZERO))
}

fn seal<A: Aead, R: homing_core::session::Receive<A>>(from: &mut Session<A, R>, now: Instant, text: &[u8]) -> Vec<u8> {
    let mut record = [&[0; HEADER_LEN], text, &[0; TAG_LEN]].concat();
    from.seal(now, &mut record, text.len()).unwrap();
    record
}

fn open<A: Aead, R: homing_core::session::Receive<A>>(
    to: &mut Session<A, R>,
    now: Instant,
    record: &[u8],
) -> Result<Vec<u8>, Discard> {
    to.open(now, &mut record.to_vec()).map(<[u8]>::to_vec)
}

fn after(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

#[test]
fn the_example_holds() {
    example::main();
}

#[test]
fn records_come_in_any_order_but_once() {
    let (mut device, mut host) = sessions::<Portable>();
    let records: Vec<_> = (0..300u32).map(|n| seal(&mut device, Instant::ZERO, &n.to_le_bytes())).collect();
    for n in (0..300usize).rev() {
        assert_eq!(open(&mut host, Instant::ZERO, &records[n]).unwrap(), (n as u32).to_le_bytes());
    }
    for record in &records {
        assert_eq!(open(&mut host, Instant::ZERO, record), Err(Discard::Replayed));
    }
}

#[test]
fn what_is_not_new_is_refused_without_the_cipher() {
    let (mut device, mut host) = sessions::<Counting>();
    let records: Vec<_> = (0..WINDOW + 2).map(|_| seal(&mut device, Instant::ZERO, b"text")).collect();
    let of_the_next_epoch = seal(&mut device, after(600), b"text");
    let far_ahead = seal(&mut device, after(1200), b"text");
    let opens = |host: &mut Unordered<Counting>, record: &[u8]| {
        let before = OPENED.get();
        let opened = open(host, Instant::ZERO, record).map(|_| ());
        (opened, OPENED.get() - before)
    };
    assert_eq!(opens(&mut host, &records[1]), (Ok(()), 1), "the counter counts");
    assert_eq!(opens(&mut host, records.last().unwrap()), (Ok(()), 1));
    for replayed in [&records[1], records.last().unwrap()] {
        assert_eq!(opens(&mut host, replayed), (Err(Discard::Replayed), 0));
    }
    assert_eq!(opens(&mut host, &records[0]), (Err(Discard::Replayed), 0), "too old to tell");
    assert_eq!(opens(&mut host, &records[2]), (Ok(()), 1), "the oldest of the window");
    assert_eq!(opens(&mut host, &far_ahead), (Err(Discard::Epoch), 0));
    assert_eq!(opens(&mut host, &records[0][..HEADER_LEN + TAG_LEN - 1]), (Err(Discard::Malformed), 0));
    let mut renamed = records[3].clone();
    for (epoch, counter, opened) in [
        (0, EPOCH_RECORDS - 1, (Err(Discard::Forged), 1)),
        (0, EPOCH_RECORDS, (Err(Discard::Epoch), 0)),
        (1, 2 * EPOCH_RECORDS - 1, (Err(Discard::Forged), 1)),
        (1, 2 * EPOCH_RECORDS, (Err(Discard::Epoch), 0)),
        (1, u64::MAX, (Err(Discard::Epoch), 0)),
        (1, 1, (Err(Discard::Replayed), 0)),
    ] {
        renamed[..HEADER_LEN].copy_from_slice(&Header { epoch, counter }.to_bytes());
        assert_eq!(opens(&mut host, &renamed), opened, "{epoch}, {counter}");
    }
    assert_eq!(opens(&mut host, &of_the_next_epoch), (Ok(()), 1));
    assert_eq!(opens(&mut host, &of_the_next_epoch), (Err(Discard::Replayed), 0));
    assert_eq!(opens(&mut host, &records[2]), (Err(Discard::Replayed), 0), "of the previous epoch");
}

#[test]
fn both_modes_have_the_same_records() {
    let [device, host] = keys([Params::default(); 2]);
    let mut ordered = Session::<Portable>::new(Role::Device, &device, Instant::ZERO);
    let mut unordered = Session::<Portable, _>::datagrams(Role::Device, &device, Instant::ZERO);
    let mut to_ordered = Session::<Portable, Ordered<_>>::new(Role::Host, &host, Instant::ZERO);
    let mut to_unordered = Session::<Portable, Datagrams<_>>::datagrams(Role::Host, &host, Instant::ZERO);
    for step in 0..20 {
        let now = after(100 * step);
        let record = seal(&mut ordered, now, b"text");
        assert_eq!(record, seal(&mut unordered, now, b"text"));
        assert_eq!(open(&mut to_ordered, now, &record).unwrap(), b"text");
        assert_eq!(open(&mut to_unordered, now, &record).unwrap(), b"text");
    }
    assert_eq!((to_ordered.next_opened().epoch, to_unordered.newest_epoch()), (3, 3));
}

#[test]
fn an_ordered_session_does_not_pay_for_the_window() {
    let (ordered, datagrams) = (size_of::<Session<Portable>>(), size_of::<Unordered<Portable>>());
    assert!(ordered <= 184, "{ordered} bytes");
    assert!(datagrams <= 400, "{datagrams} bytes");
}

#[test]
fn any_record_begins_the_next_epoch_and_the_previous_stays_for_a_while() {
    let (mut device, mut host) = sessions::<Portable>();
    let old: Vec<_> = (0..4).map(|_| seal(&mut device, after(0), b"old")).collect();
    let new: Vec<_> = (0..3).map(|_| seal(&mut device, after(600), b"new")).collect();
    assert_eq!(open(&mut host, after(600), &old[0]).unwrap(), b"old");
    assert_eq!(host.poll_timeout(), None);
    assert_eq!(open(&mut host, after(600), &new[1]).unwrap(), b"new");
    assert_eq!((host.newest_epoch(), host.poll_timeout()), (1, Some(after(600) + PREVIOUS_TIME)));

    // What was opened of either epoch is known.
    assert_eq!(open(&mut host, after(600), &old[0]), Err(Discard::Replayed));
    assert_eq!(open(&mut host, after(601), &old[1]).unwrap(), b"old");
    assert_eq!(open(&mut host, after(601), &new[0]).unwrap(), b"new");
    assert_eq!(open(&mut host, after(601), &new[1]), Err(Discard::Replayed));

    // A record of the previous epoch does not make it live longer.
    assert_eq!(host.poll_timeout(), Some(after(630)));
    let almost = Instant::from_micros(after(630).as_micros() - 1);
    host.handle_timeout(almost);
    assert_eq!(open(&mut host, almost, &old[2]).unwrap(), b"old");
    assert_eq!(open(&mut host, after(630), &old[3]), Err(Discard::Epoch));
    assert_eq!(host.poll_timeout(), None);
    assert_eq!(open(&mut host, after(630), &new[2]).unwrap(), b"new");
}

#[test]
fn the_window_goes_on_over_a_change_of_keys() {
    let (mut device, mut host) = sessions::<Portable>();
    let old: Vec<_> = (0..4).map(|_| seal(&mut device, after(0), b"old")).collect();
    let new: Vec<_> = (4..WINDOW + 2).map(|_| seal(&mut device, after(600), b"new")).collect();
    assert_eq!(open(&mut host, after(600), &old[3]).unwrap(), b"old");
    assert_eq!(open(&mut host, after(600), new.last().unwrap()).unwrap(), b"new");
    assert_eq!(open(&mut host, after(600), &old[1]), Err(Discard::Replayed), "too old to tell");
    assert_eq!(open(&mut host, after(600), &old[2]).unwrap(), b"old");
    for again in [&old[2], &old[3], new.last().unwrap()] {
        assert_eq!(open(&mut host, after(600), again), Err(Discard::Replayed));
    }
}

#[test]
fn the_previous_epoch_is_forgotten_in_time() {
    let (mut device, mut host) = sessions::<Portable>();
    let old = seal(&mut device, after(0), b"old");
    open(&mut host, after(600), &seal(&mut device, after(600), b"new")).unwrap();
    host.handle_timeout(host.poll_timeout().unwrap());
    assert_eq!(host.poll_timeout(), None);
    assert_eq!(open(&mut host, after(600), &old), Err(Discard::Epoch), "no keys, whatever the time");
}

#[test]
fn only_one_epoch_before_the_current_is_kept_and_only_the_next_may_come() {
    let (mut device, mut host) = sessions::<Portable>();
    let records: Vec<_> = (0..4).map(|epoch| seal(&mut device, after(600 * epoch), b"text")).collect();
    let now = Instant::ZERO;
    assert_eq!(open(&mut host, now, &records[2]), Err(Discard::Epoch));
    assert_eq!(open(&mut host, now, &records[1]).unwrap(), b"text");
    assert_eq!(open(&mut host, now, &records[3]), Err(Discard::Epoch));
    assert_eq!(open(&mut host, now, &records[2]).unwrap(), b"text");
    assert_eq!(open(&mut host, now, &records[0]), Err(Discard::Epoch), "never opened, and gone for good");
    assert_eq!(open(&mut host, now, &records[1]), Err(Discard::Replayed));
}

#[test]
fn forged_records_move_nothing() {
    let (mut device, mut host) = sessions::<Portable>();
    let record = seal(&mut device, after(0), b"text");
    for (place, mask) in [(1, 1), (4, 0xff), (6, 1), (HEADER_LEN, 1), (record.len() - 1, 0x80)] {
        let mut forged = record.clone();
        forged[place] ^= mask;
        assert_eq!(open(&mut host, after(0), &forged), Err(Discard::Forged), "byte {place}");
    }
    assert_eq!((host.newest_epoch(), host.poll_timeout()), (0, None));
    assert_eq!(open(&mut host, after(0), &record).unwrap(), b"text");
}

/// Opens nothing whose text begins with a 1.
struct Choosy;

impl Aead for Choosy {
    fn new(_: &Secret<32>) -> Self {
        Self
    }

    fn seal(&self, _: u64, _: &[u8], _: &mut [u8]) -> [u8; TAG_LEN] {
        [0; TAG_LEN]
    }

    fn open(&self, _: u64, _: &[u8], sealed: &mut [u8]) -> Result<(), Forged> {
        if sealed[0] == 1 { Err(Forged) } else { Ok(()) }
    }
}

#[test]
fn too_many_forged_records_are_the_end() {
    let (mut device, mut host) = sessions::<Choosy>();
    let good: Vec<_> = (0..3).map(|_| seal(&mut device, after(0), &[0])).collect();
    let new = seal(&mut device, after(600), &[0]);
    let of_new = seal(&mut device, after(600), &[0]);
    let mut forged = good[2].clone();
    forged[HEADER_LEN] = 1;
    let forge = |host: &mut Unordered<Choosy>, times: u32| {
        for _ in 0..times {
            assert_eq!(host.open(after(600), &mut forged), Err(Discard::Forged));
        }
    };
    let mut forge = forge;
    forge(&mut host, FORGED_MAX - 1);
    open(&mut host, after(600), &good[0]).unwrap();
    // A new epoch counts anew.
    open(&mut host, after(600), &new).unwrap();
    forge(&mut host, FORGED_MAX);
    for record in [&good[1], &of_new] {
        assert_eq!(open(&mut host, after(600), record), Err(Discard::Worn));
    }
}

/// A window by the book: all that was seen, and the highest.
#[derive(Default)]
struct Seen(BTreeSet<u64>);

impl Seen {
    fn is_new(&self, counter: u64, size: u64) -> bool {
        let too_old = self.0.last().is_some_and(|highest| highest.saturating_sub(counter) >= size);
        !too_old && !self.0.contains(&counter)
    }
}

/// Counters that wander on, now and then far, and look back.
fn counters(size: u64) -> impl Strategy<Value = Vec<(u64, bool)>> {
    let step = prop_oneof![
        8 => (0..3u64, 0..4u64),
        4 => (0..2u64, 0..2 * size),
        2 => (0..2 * size, 0..2 * size),
        1 => (0..1u64 << 40, 0..3u64),
    ];
    let highest = prop_oneof![Just(0), 0..2 * size, Just(u64::MAX >> 1)];
    (highest, vec((step, any::<bool>()), 1..400)).prop_map(|(mut highest, steps)| {
        steps
            .into_iter()
            .map(|((ahead, back), commits)| {
                highest += ahead;
                (highest.saturating_sub(back), commits)
            })
            .collect()
    })
}

fn behaves_as_a_set<const WORDS: usize>(counters: Vec<(u64, bool)>) -> Result<(), TestCaseError> {
    let (mut window, mut seen) = (Window::<WORDS>::EMPTY, Seen::default());
    for (counter, commits) in counters {
        let fresh = window.check(counter);
        prop_assert_eq!(fresh.is_ok(), seen.is_new(counter, Window::<WORDS>::SIZE), "{}", counter);
        if let (Ok(fresh), true) = (fresh, commits) {
            Fresh::commit(fresh);
            seen.0.insert(counter);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_small_window_is_a_set(counters in counters(64)) {
        behaves_as_a_set::<2>(counters)?;
    }

    #[test]
    fn an_odd_window_is_a_set(counters in counters(128)) {
        behaves_as_a_set::<3>(counters)?;
    }

    #[test]
    fn the_window_of_a_session_is_a_set(counters in counters(WINDOW)) {
        behaves_as_a_set::<17>(counters)?;
    }
}

/// What the network does next.
#[derive(Clone, Debug)]
enum Step {
    /// The sender seals some records; the first of them some seconds later.
    Seal { records: u16, later: u64 },
    /// One of all records sealed arrives: so many before the last, changed or not.
    Arrive { back: prop::sample::Index, recent: bool, forged: bool },
    /// Time passes at the receiver.
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..40u16).prop_map(|records| Step::Seal { records, later: 0 }),
        1 => (1..1500u16, prop_oneof![Just(0), Just(300u64), Just(600)])
            .prop_map(|(records, later)| Step::Seal { records, later }),
        12 => (any::<prop::sample::Index>(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(back, recent, forged)| Step::Arrive { back, recent, forged }),
        1 => (0..40u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A receiver by the book: all counters, forever.
#[derive(Default)]
struct Model {
    newest: u32,
    /// When the newest epoch began.
    since: Instant,
    seen: Seen,
}

impl Model {
    fn open(&mut self, now: Instant, epoch: u32, counter: u64, forged: bool) -> Result<(), Discard> {
        let previous_is_kept = now < self.since + PREVIOUS_TIME;
        let possible = epoch == self.newest || epoch == self.newest + 1 || epoch + 1 == self.newest && previous_is_kept;
        if !possible {
            return Err(Discard::Epoch);
        } else if !self.seen.is_new(counter, WINDOW) {
            return Err(Discard::Replayed);
        } else if forged {
            return Err(Discard::Forged);
        }
        self.seen.0.insert(counter);
        if epoch > self.newest {
            (self.newest, self.since) = (epoch, now);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_session_of_datagrams_is_a_set(steps in vec(step(), 1..200)) {
        let (mut device, mut host) = sessions::<Portable>();
        let (mut sealing, mut opening) = (Instant::ZERO, Instant::ZERO);
        let (mut sealed, mut delivered, mut model) = (Vec::new(), BTreeSet::new(), Model::default());
        for step in steps {
            match step {
                Step::Seal { records, later } => {
                    sealing = sealing + Duration::from_secs(later);
                    for _ in 0..records {
                        let text = (sealed.len() as u64).to_le_bytes();
                        let record = seal(&mut device, sealing, &text);
                        let header = device.next_sealed();
                        sealed.push((record, header.epoch, header.counter - 1));
                    }
                }
                Step::Wait { seconds } => {
                    opening = opening + Duration::from_secs(seconds);
                    if seconds % 2 == 0 {
                        host.handle_timeout(opening);
                    }
                }
                Step::Arrive { .. } if sealed.is_empty() => {}
                Step::Arrive { back, recent, forged } => {
                    let back = back.index(if recent { sealed.len().min(8) } else { sealed.len() });
                    let (record, epoch, counter) = &sealed[sealed.len() - 1 - back];
                    let mut record = record.clone();
                    *record.last_mut().unwrap() ^= u8::from(forged);
                    let expected = model.open(opening, *epoch, *counter, forged);
                    let opened = host.open(opening, &mut record).map(<[u8]>::to_vec);
                    prop_assert_eq!(opened.as_ref().map(|_| ()).map_err(|error| *error), expected);
                    if let Ok(text) = opened {
                        prop_assert!(delivered.insert(text), "delivered twice");
                    }
                }
            }
        }
        prop_assert_eq!(delivered.len(), model.seen.0.len());
        prop_assert!(sealing < Instant::ZERO + EPOCH_TIME || device.next_sealed().epoch > 0);
    }
}
