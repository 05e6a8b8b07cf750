//! Streams through a mux, and through a pair of channels, in memory.

use core::hint::black_box;
use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Event, Output};
use homing_core::crypto::Aead;
use homing_core::mux::{self, Mux, Source, Taken, WindowCaps};
use homing_core::session::Role;
use homing_core::wire::{Frame, MAX_PLAINTEXT, MAX_RECORD, Params, Reader, StreamId, Writer};

use crate::clock::time;
use crate::ends::{channels, sessions};
use crate::records::Batch;

const STREAM_HEADER: usize = homing_core::wire::STREAM_HEADER_LEN;

/// Messages of one length, without end; each is copied as from a pipe.
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// Whether a stream has more after each message.
    more: bool,
}

impl Messages {
    pub(crate) fn new(len: usize, more: bool) -> Self {
        Self { bytes: vec![0x5a; len], more }
    }
}

impl Source for Messages {
    fn read(&mut self, _: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        let len = buf.len().min(self.bytes.len());
        buf[..len].copy_from_slice(&self.bytes[..len]);
        Taken { len, more: self.more, fin: false }
    }
}

/// Windows that are never in the way for long.
pub(crate) fn roomy(max_streams: u16) -> Params {
    Params { max_streams, session_window: 16 << 20, stream_window: 1 << 20, ..Params::default() }
}

/// Frames of `len` bytes through one mux and into another, `streams` at once, credit included.
#[must_use]
pub fn through_mux<const N: usize>(streams: u16, len: usize) -> Batch {
    let own = roomy(streams);
    let mut device = Mux::<N>::new(Role::Device, own, own, WindowCaps::default(), Instant::ZERO);
    let mut host = Mux::<N>::new(Role::Host, own, own, WindowCaps::default(), Instant::ZERO);
    for _ in 0..streams {
        let id = device.open(Instant::ZERO).unwrap();
        device.wants(id);
    }
    let (mut source, mut none) = (Messages::new(len, true), Messages::new(0, false));
    let mut plain = vec![0; MAX_PLAINTEXT];
    let mut now = Instant::ZERO;
    Box::new(move |n| {
        let mut frames_left = i64::try_from(n).unwrap();
        time(|| {
            while frames_left > 0 {
                now = now + Duration::from_millis(1);
                let mut w = Writer::new(&mut plain);
                device.poll(&mut source, &mut w);
                let filled = w.len();
                assert!(filled > 0, "streams came to a halt");
                let mut frames = Reader::new(&plain[..filled]);
                while let Some(frame) = Frame::parse(&mut frames).unwrap() {
                    if let Some(mux::Event::Opened { id, data, .. } | mux::Event::Data { id, data, .. }) =
                        host.handle(now, frame).unwrap()
                    {
                        black_box(data);
                        host.consumed(id, data.len(), now);
                        frames_left -= 1;
                    }
                }
                let mut w = Writer::new(&mut plain);
                host.poll(&mut none, &mut w);
                let filled = w.len();
                let mut frames = Reader::new(&plain[..filled]);
                while let Some(frame) = Frame::parse(&mut frames).unwrap() {
                    black_box(device.handle(now, frame).unwrap());
                }
            }
        })
    })
}

/// The copying of the same bytes into the same buffer.
#[must_use]
pub fn copied(len: usize) -> Batch {
    let source = vec![0x5a_u8; len];
    let mut plain = vec![0; MAX_PLAINTEXT];
    Box::new(move |n| {
        let per_record = (MAX_PLAINTEXT / (len + STREAM_HEADER)).max(1);
        time(|| {
            let mut left = n;
            while left > 0 {
                for turn in 0..per_record.min(usize::try_from(left).unwrap_or(usize::MAX)) {
                    let start = turn * (len + STREAM_HEADER);
                    plain[start..start + len].copy_from_slice(black_box(&source));
                    left -= 1;
                }
                black_box(&mut plain);
            }
        })
    })
}

/// Two channels in memory, one stream from device to host.
pub struct Pipe<A: Aead> {
    ends: [Channel<16, A>; 2],
    source: Messages,
    record: Vec<u8>,
    now: Instant,
    stream: StreamId,
}

impl<A: Aead> core::fmt::Debug for Pipe<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pipe").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl<A: Aead> Pipe<A> {
    /// Open, with one stream that sends messages of `len` bytes, one to a record.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let mut ends = channels::<16, A>(roomy(8), &Config::default());
        let stream = ends[0].open(Instant::ZERO).unwrap();
        let now = Instant::ZERO;
        let source = Messages::new(len.min(MAX_PLAINTEXT - STREAM_HEADER), false);
        let mut pipe = Self { ends, source, record: vec![0; MAX_RECORD], now, stream };
        for _ in 0..4 {
            pipe.pass(0);
            pipe.pass(1);
        }
        pipe
    }

    /// One message from device to host and what the host answers: the records that it took.
    pub fn send(&mut self) -> u64 {
        self.now = self.now + Duration::from_micros(100);
        self.ends[0].streams().wants(self.stream);
        let sent = self.pass(0);
        assert!(sent > 0, "the stream came to a halt");
        self.pass(1);
        sent
    }

    /// Moves one record, if there is one, and tells the bytes of payload in it.
    fn pass(&mut self, from: usize) -> u64 {
        let [device, host] = &mut self.ends;
        let (from, to) = if from == 0 { (device, host) } else { (host, device) };
        let Output::Transmit { len } = from.poll_output(self.now, &mut self.source, &mut self.record).unwrap() else {
            return 0;
        };
        let mut consumed = None;
        for event in to.handle_input(self.now, &mut self.record[..len]).unwrap() {
            if let Event::Stream(mux::Event::Opened { id, data, .. } | mux::Event::Data { id, data, .. }) =
                event.unwrap()
            {
                black_box(data);
                consumed = Some((id, data.len()));
            }
        }
        let Some((id, len)) = consumed else {
            return 0;
        };
        to.streams().consumed(id, len, self.now);
        len as u64
    }
}

/// Messages through two channels, a record each, with credit going back.
#[must_use]
pub fn through_channels<A: Aead + 'static>(len: usize) -> Batch {
    let mut pipe = Pipe::<A>::new(len);
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                black_box(pipe.send());
            }
        })
    })
}

/// Sealing and opening of a record that holds `len` bytes, padding included.
#[must_use]
pub fn sealed_and_opened<A: Aead + 'static>(len: usize) -> Batch {
    let [mut device, mut host] = sessions::<A>();
    let text = homing_core::wire::padme((len + STREAM_HEADER).min(MAX_PLAINTEXT), MAX_PLAINTEXT);
    let mut record = vec![0; MAX_RECORD];
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                let len = device.seal(Instant::ZERO, black_box(&mut record), text).unwrap();
                black_box(host.open(Instant::ZERO, &mut record[..len]).unwrap());
            }
        })
    })
}
