//! The streams of one end, frame by frame: what it says, and what it holds against its peer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;

use homing_core::Instant;
use homing_core::mux::{Event, Mux, Source, Taken, Violation, WindowCaps};
use homing_core::session::Role;
use homing_core::wire::{Frame, Params, Reader, ResumeEntries, ResumeEntry, ResumeState, StreamId, Writer};

mod resume;
mod rules;
mod turns;
mod windows;

const NOW: Instant = Instant::ZERO;
const OWN: Params =
    Params { features: 0, max_record: 16_384, max_streams: 4, session_window: 16 << 10, stream_window: 4 << 10 };
const CAPS: WindowCaps = WindowCaps { stream: 32 << 10, session: 64 << 10 };
const FIRST: StreamId = StreamId(0);
const PEERS: StreamId = StreamId(1);

/// So many bytes at most, then the end.
struct Text(u64);

impl Source for Text {
    fn read(&mut self, _: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let left = self.0.saturating_sub(offset);
        let len = left.min(buf.len() as u64);
        Taken { len: len as usize, more: len < left, fin: len == left }
    }
}

struct End(Mux<8>);

impl End {
    /// A device's.
    fn new() -> Self {
        Self(Mux::new(Role::Device, OWN, OWN, CAPS, NOW))
    }

    /// A device's that has opened a stream and sent ten bytes and perhaps the end.
    fn sent(end: bool) -> Self {
        let mut mux = Self::new();
        let id = mux.0.open(NOW).unwrap();
        assert_eq!(id, FIRST);
        mux.0.wants(id);
        mux.say(if end { 10 } else { 10_000 });
        mux
    }

    /// Everything it has to say, as text.
    fn say(&mut self, len: u64) -> Vec<String> {
        let mut said = Vec::new();
        let mut out = [0; 64 << 10];
        let mut w = Writer::new(&mut out);
        self.0.poll(&mut Text(len), &mut w);
        let len = w.len();
        let mut r = Reader::new(&out[..len]);
        while let Some(frame) = Frame::parse(&mut r).unwrap() {
            said.push(match frame {
                Frame::Stream { id, offset, fin, data } => format!("{} {offset}+{} {fin}", id.0, data.len()),
                Frame::ResumeState(state) => format!("seen {} received {}", state.seen, state.received),
                frame => format!("{frame:?}"),
            });
        }
        said
    }

    fn hear(&mut self, frame: Frame<'_>) -> Result<(), Violation> {
        self.0.handle(NOW, frame).map(drop)
    }

    fn hear_data(&mut self, offset: u64, len: usize, fin: bool) -> Result<(), Violation> {
        self.hear(Frame::Stream { id: PEERS, offset, fin, data: &vec![0; len] })
    }

    fn hear_state(&mut self, seen: u32, received: u64, entries: &[ResumeEntry]) -> Result<(), Violation> {
        let mut room = [0; 200];
        let entries = ResumeEntries::emit_into(entries, &mut room).unwrap();
        self.hear(Frame::ResumeState(ResumeState { seen, received, limit: 0, more: false, entries }))
    }
}

fn entry(id: StreamId, received: u64, end: bool) -> ResumeEntry {
    ResumeEntry { id, received, limit: 20_000, flags: u8::from(end) }
}
