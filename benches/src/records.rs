//! Records sealed and opened by the batch, ours and raw: each function returns CPU time.

use core::hint::black_box;
use core::time::Duration;

use homing_core::Instant;
use homing_core::session::{Discard, Session};
use homing_core::wire::{HEADER_LEN, TAG_LEN};

use crate::clock::time;
use crate::ends::{datagram_sessions, sessions};
use crate::raw::{Provider, Raw};

const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// Records opened between two looks at the clock share this many bytes, so that they stay cached.
const CACHED: usize = 128 << 10;

/// A batch of work: seals or opens so many records and tells the CPU time.
pub type Batch = Box<dyn FnMut(u64) -> Duration>;

/// `Session::seal` of `len` bytes.
#[must_use]
pub fn seal<A: Provider + 'static>(len: usize) -> Batch {
    let [mut device, _] = sessions::<A>();
    let mut buf = vec![1; len + OVERHEAD];
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                black_box(device.seal(Instant::ZERO, black_box(&mut buf), len).unwrap());
            }
        })
    })
}

/// The raw AEAD sealing `len` bytes.
#[must_use]
pub fn raw_seal<A: Provider + 'static>(len: usize) -> Batch
where
    A::Raw: 'static,
{
    let raw = A::Raw::new();
    let mut buf = vec![1; len + OVERHEAD];
    let mut counter = 0;
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                raw.seal(counter, black_box(&mut buf));
                counter += 1;
            }
        })
    })
}

/// `Session::open` of `len` bytes; sealing is not counted.
#[must_use]
pub fn open<A: Provider + 'static>(len: usize) -> Batch {
    let [mut device, mut host]: [Session<A>; 2] = sessions();
    in_chunks(len, move |step, buf| match step {
        Step::Seal => drop(device.seal(Instant::ZERO, buf, len).unwrap()),
        Step::Open => drop(black_box(host.open(Instant::ZERO, black_box(buf)).unwrap())),
    })
}

/// The same with a window: `Session::open` of datagrams.
#[must_use]
pub fn open_datagram<A: Provider + 'static>(len: usize) -> Batch {
    let [mut device, mut host] = datagram_sessions::<A>();
    in_chunks(len, move |step, buf| match step {
        Step::Seal => drop(device.seal(Instant::ZERO, buf, len).unwrap()),
        Step::Open => drop(black_box(host.open(Instant::ZERO, black_box(buf)).unwrap())),
    })
}

/// `Session::open` of a datagram of `len` bytes that was opened before.
#[must_use]
pub fn refuse_replayed<A: Provider + 'static>(len: usize) -> Batch {
    let [mut device, mut host] = datagram_sessions::<A>();
    let mut buf = vec![1; len + OVERHEAD];
    device.seal(Instant::ZERO, &mut buf, len).unwrap();
    let sealed = buf.clone();
    host.open(Instant::ZERO, &mut buf).unwrap();
    buf = sealed;
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                let refused = host.open(Instant::ZERO, black_box(&mut buf));
                assert_eq!(black_box(refused), Err(Discard::Replayed));
            }
        })
    })
}

/// The raw AEAD opening `len` bytes; sealing is not counted.
#[must_use]
pub fn raw_open<A: Provider + 'static>(len: usize) -> Batch
where
    A::Raw: 'static,
{
    let raw = A::Raw::new();
    let [mut sealed, mut opened] = [0; 2];
    in_chunks(len, move |step, buf| match step {
        Step::Seal => {
            raw.seal(sealed, buf);
            sealed += 1;
        }
        Step::Open => {
            raw.open(opened, black_box(buf));
            opened += 1;
        }
    })
}

enum Step {
    Seal,
    Open,
}

/// Seals a cacheful of records, then opens them against the clock, until there were enough.
fn in_chunks(len: usize, mut step: impl FnMut(Step, &mut [u8]) + 'static) -> Batch {
    let chunk = (CACHED / (len + OVERHEAD)).clamp(1, 512);
    let mut bufs = vec![vec![1; len + OVERHEAD]; chunk];
    Box::new(move |n| {
        let (mut left, mut spent) = (usize::try_from(n).unwrap(), Duration::ZERO);
        while left > 0 {
            let now = left.min(chunk);
            for buf in &mut bufs[..now] {
                step(Step::Seal, buf);
            }
            spent += time(|| {
                for buf in &mut bufs[..now] {
                    step(Step::Open, buf);
                }
            });
            left -= now;
        }
        spent
    })
}
