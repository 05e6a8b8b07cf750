//! Records and streams are handled without touching the heap, and a channel's size is known.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::time::Duration;
use std::alloc::System;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Event, Output};
use homing_core::crypto::Portable;
use homing_core::mux::{self, Mux, Source, Taken, WindowCaps};
use homing_core::session::{Role, Session};
use homing_core::wire::{Frame, MAX_PLAINTEXT, MAX_RECORD, Params, Reader, StreamId, Writer};
use support::ends::{channels, keys};

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

fn count() {
    OPERATIONS.with(|operations| operations.set(operations.get() + 1));
}

#[expect(unsafe_code, reason = "counting allocations needs an allocator; it passes everything on unchanged")]
// SAFETY: every call goes to `System` with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Heap operations while `work` runs.
fn heap_operations(work: impl FnOnce()) -> u64 {
    let before = OPERATIONS.with(Cell::get);
    work();
    OPERATIONS.with(Cell::get) - before
}

/// Zeros without end.
struct Zeros;

impl Source for Zeros {
    fn read(&mut self, _: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        buf.fill(0);
        Taken { len: buf.len(), more: true, fin: false }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(heap_operations(|| drop(core::hint::black_box(vec![0u8; 100]))), 2);
    assert_eq!(heap_operations(|| ()), 0);
}

#[test]
fn sealing_and_opening_need_no_heap() {
    let [device, host] = keys([Params::default(); 2]);
    let mut device = Session::<Portable>::new(Role::Device, &device, Instant::ZERO);
    let mut host = Session::<Portable>::new(Role::Host, &host, Instant::ZERO);
    let mut record = [0; MAX_RECORD];
    let operations = heap_operations(|| {
        for round in 0..200 {
            let now = Instant::ZERO + Duration::from_secs(60 * round); // key changes included
            let len = device.seal(now, &mut record, MAX_PLAINTEXT).unwrap();
            assert_eq!(host.open(now, &mut record[..len]).unwrap().len(), MAX_PLAINTEXT);
        }
    });
    assert_eq!(operations, 0);
    assert!(host.next_opened().epoch > 10);
}

#[test]
fn channels_need_no_heap() {
    let [mut device, mut host] =
        channels::<64>([Params { max_streams: 32, ..Params::default() }; 2], &Config::default());
    let (mut record, mut now) = ([0; MAX_RECORD], Instant::ZERO);
    let (mut received, mut records) = (0, 0);
    let operations = heap_operations(|| {
        for _ in 0..8 {
            let id = device.open(now).unwrap();
            device.streams().wants(id);
        }
        while records < 2_000 {
            now = now + Duration::from_millis(1);
            for turn in 0..2 {
                let (from, to) = if turn == 0 { (&mut device, &mut host) } else { (&mut host, &mut device) };
                let Output::Transmit { len } = from.poll_output(now, &mut Zeros, &mut record).unwrap() else {
                    continue;
                };
                records += 1;
                let mut consumed = [None; 16];
                let events = to.handle_input(now, &mut record[..len]).unwrap();
                for (event, slot) in events.zip(&mut consumed) {
                    if let Event::Stream(mux::Event::Opened { id, data, .. } | mux::Event::Data { id, data, .. }) =
                        event.unwrap()
                    {
                        *slot = Some((id, data.len()));
                    }
                }
                for (id, len) in consumed.into_iter().flatten() {
                    to.streams().consumed(id, len, now);
                    received += len;
                }
            }
        }
    });
    assert_eq!(operations, 0);
    assert!(device.is_open() && host.is_open());
    assert!(received > 10 << 20, "{received} bytes");
}

#[test]
fn the_mux_needs_no_heap() {
    let own = Params { max_streams: 32, ..Params::default() };
    let caps = WindowCaps::default();
    let mut device = Mux::<64>::new(Role::Device, own, own, caps, Instant::ZERO);
    let mut host = Mux::<64>::new(Role::Host, own, own, caps, Instant::ZERO);
    let (mut plain, mut now, mut over) = ([0; MAX_PLAINTEXT], Instant::ZERO, 0);
    let operations = heap_operations(|| {
        for _ in 0..500 {
            now = now + Duration::from_secs(1);
            // Streams come, send and are let go of, from either side.
            while let Some(id) = device.open(now) {
                device.wants(id);
            }
            for turn in 0..2 {
                let (from, to) = if turn == 0 { (&mut device, &mut host) } else { (&mut host, &mut device) };
                let mut w = Writer::new(&mut plain);
                from.poll(&mut Zeros, &mut w);
                let len = w.len();
                let mut frames = Reader::new(&plain[..len]);
                while let Some(frame) = Frame::parse(&mut frames).unwrap() {
                    match to.handle(now, frame).unwrap() {
                        Some(mux::Event::Opened { id, .. } | mux::Event::Reset { id, .. }) => to.release(id, 0, now),
                        Some(mux::Event::Stopped { id, .. }) => {
                            to.release(id, 0, now);
                            over += 1;
                        }
                        _ => {}
                    }
                }
            }
        }
    });
    assert_eq!(operations, 0);
    assert!(over > 100, "{over} streams came and went");
}

#[test]
fn a_channel_has_a_known_size() {
    const FEW: usize = 16;
    const MANY: usize = 256;
    let [few, many] = [size_of::<Channel<FEW, Portable>>(), size_of::<Channel<MANY, Portable>>()];
    let per_stream = (many - few) / (MANY - FEW);
    let fixed = few - FEW * per_stream;
    println!(
        "channel: {fixed} bytes besides its streams and {per_stream} per stream; session: {}",
        size_of::<Session<Portable>>()
    );
    println!("16 streams: {few} bytes, 256 streams: {many}");
    // 536 for the channel itself, the rest is what makes its session resumable: name, secret, offsets.
    assert!(fixed <= 696, "a channel takes {fixed} bytes besides its streams");
    assert!(per_stream <= 104, "a stream takes {per_stream} bytes");
}
