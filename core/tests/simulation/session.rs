//! One end of a session: its streams, which outlive the channels that carry them.

use std::collections::BTreeMap;

use homing_core::Instant;
use homing_core::channel::{self, Detached};
use homing_core::mux::{self, Mux, Source, Taken, WindowCaps};
use homing_core::wire::{Params, StreamId};

use crate::cipher::Checksum;
use crate::dice::Dice;
use crate::plan::Plans;
use crate::stream::Stream;

/// Streams of both openers in one session.
pub(crate) const STREAMS: usize = 24;

pub(crate) type Channel = channel::Channel<STREAMS, Checksum>;
pub(crate) type Rest = Detached<STREAMS>;

/// What an endpoint accepts, and how its channels behave.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) own: Params,
    pub(crate) config: channel::Config,
}

impl Habits {
    pub(crate) fn random(dice: &mut Dice, caps: WindowCaps) -> Self {
        let session_window = dice.pick(&[16, 32, 128, 256]) * 1024;
        let stream_window = session_window / dice.pick(&[1, 2, 4]);
        let own = Params {
            max_record: dice.pick(&[1024, 5000, 16_384, 16_384]),
            max_streams: dice.pick(&[1, 2, 8, 16]),
            session_window,
            stream_window,
            ..Params::default()
        };
        Self { own, config: channel::Config { caps, pad: dice.percent(50), ..channel::Config::default() } }
    }
}

/// The streams of a session at one end, in the order they came.
pub(crate) struct Streams {
    device: usize,
    at_device: bool,
    habits: Habits,
    list: BTreeMap<u32, Stream>,
    /// The peer's first window of a stream, and what it may grow to.
    window: u64,
    cap: u64,
    resumed: bool,
}

impl Streams {
    pub(crate) fn new(device: usize, at_device: bool, habits: Habits, peer: Params) -> Self {
        let caps = habits.config.caps;
        let cap = caps.stream.min(caps.session.max(peer.session_window) / 2).max(peer.stream_window).into();
        let window = peer.stream_window.into();
        Self { device, at_device, habits, list: BTreeMap::new(), window, cap, resumed: false }
    }

    /// Something happened to a stream. What needs the mux is done [`after`](Self::after) the record.
    pub(crate) fn hear(&mut self, event: mux::Event<'_>, plans: &mut Plans) {
        match event {
            mux::Event::Opened { id, data, fin } => {
                let mut stream = Stream::accepted(id);
                stream.hear(data, fin, plans, self.device, self.at_device);
                assert!(self.list.insert(id.0, stream).is_none(), "a stream was opened twice");
            }
            mux::Event::Data { id, data, fin } => {
                let (device, at_device) = (self.device, self.at_device);
                self.of(id).hear(data, fin, plans, device, at_device);
            }
            mux::Event::Reset { id, .. } => self.of(id).hear_reset(plans),
            mux::Event::Stopped { id, .. } => self.of(id).hear_stop(plans),
            mux::Event::Acknowledged { id, received, end } => self.of(id).hear_acknowledged(received, end, plans),
            mux::Event::Resumed => self.resumed = true,
            mux::Event::MayOpen => {}
        }
    }

    fn of(&mut self, id: StreamId) -> &mut Stream {
        self.list.get_mut(&id.0).expect("an event of a stream that is there")
    }

    /// What a record brought was heard.
    pub(crate) fn after(&mut self, mux: &mut Mux<STREAMS>, plans: &mut Plans) {
        if core::mem::take(&mut self.resumed) {
            for stream in self.list.values_mut() {
                stream.resume(mux.acknowledged(stream.id), plans);
            }
        }
        let held: u64 = self.list.values().map(Stream::held).sum();
        let cap = self.habits.config.caps.session.max(self.habits.own.session_window);
        assert!(held <= cap.into(), "{held} bytes wait for the application");
    }

    /// Opens what is due, as far as the peer lets.
    pub(crate) fn open_due(&mut self, now: u64, clock: Instant, mux: &mut Mux<STREAMS>, plans: &mut Plans) {
        for place in 0..plans.list.len() {
            let plan = &plans.list[place];
            if plan.opened || plan.opens > now || plan.device != self.device || plan.by_device != self.at_device {
                continue;
            }
            let Some(id) = mux.open(clock) else { return };
            self.list.insert(id.0, Stream::open(id, place, plans));
        }
    }

    pub(crate) fn work(&mut self, now: u64, clock: Instant, mux: &mut Mux<STREAMS>, plans: &mut Plans) {
        for stream in self.list.values_mut() {
            stream.work(now, clock, mux, plans);
        }
    }

    /// When an application here does something next.
    pub(crate) fn next(&self, now: u64, plans: &Plans) -> Option<u64> {
        let reads = self.list.values().filter_map(Stream::next).min();
        let mine = |plan: &&crate::plan::Plan| {
            !plan.opened && plan.opens > now && plan.device == self.device && plan.by_device == self.at_device
        };
        let opens = plans.list.iter().filter(mine).map(|plan| plan.opens).min();
        [reads, opens].into_iter().flatten().min()
    }

    /// The session is gone.
    pub(crate) fn lose(&mut self, plans: &mut Plans) {
        for stream in self.list.values_mut() {
            stream.lose(plans);
        }
    }
}

impl Source for Streams {
    fn read(&mut self, id: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let open = self.list.values().filter(|stream| stream.is_sending()).count();
        for stream in self.list.values_mut().filter(|stream| stream.id != id) {
            stream.wait(self.window, open);
        }
        let cap = self.cap;
        self.of(id).read(offset, buf, cap)
    }
}
