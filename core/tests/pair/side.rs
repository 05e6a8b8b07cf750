//! What an end of a channel has on top: an application with its streams.

use std::collections::{BTreeMap, VecDeque};

use homing_core::Instant;
use homing_core::channel::{Channel, Error, Event, Output};
use homing_core::mux::{self, Source, Taken};
use homing_core::wire::{MAX_RECORD, StreamId};

/// What an application knows of one stream.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) out: VecDeque<u8>,
    pub(crate) ends: bool,
    pub(crate) read: Vec<u8>,
    /// Bytes heard of that the mux was not told about.
    pub(crate) held: usize,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u16>,
    pub(crate) stopped: Option<u16>,
}

#[derive(Debug, Default)]
pub(crate) struct Pipes(pub(crate) BTreeMap<u32, Pipe>);

impl Source for Pipes {
    fn read(&mut self, id: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        let pipe = self.0.entry(id.0).or_default();
        let len = buf.len().min(pipe.out.len());
        for (byte, from) in buf.iter_mut().zip(pipe.out.drain(..len)) {
            *byte = from;
        }
        let more = !pipe.out.is_empty();
        Taken { len, more, fin: !more && pipe.ends }
    }
}

/// What an application does with bytes that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    Read,
    /// Sends them back, and reads only as fast as that works.
    Echo,
    /// Leaves them where they are.
    Ignore,
}

/// A channel with its application.
pub(crate) struct Side<const N: usize> {
    pub(crate) channel: Channel<N>,
    pub(crate) pipes: Pipes,
    pub(crate) habit: Habit,
    /// Streams whose bytes are ignored whatever the habit.
    pub(crate) ignored: Vec<u32>,
    pub(crate) events: Vec<String>,
    pub(crate) closed: Option<u16>,
    pub(crate) error: Option<Error>,
    /// The order in which streams brought bytes.
    pub(crate) turns: Vec<u32>,
    pub(crate) opened: Vec<StreamId>,
}

impl<const N: usize> Side<N> {
    pub(crate) fn new(channel: Channel<N>) -> Self {
        Self {
            channel,
            pipes: Pipes::default(),
            habit: Habit::Read,
            ignored: Vec::new(),
            events: Vec::new(),
            closed: None,
            error: None,
            turns: Vec::new(),
            opened: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, now: Instant) -> Option<StreamId> {
        let id = self.channel.open(now)?;
        self.pipes.0.insert(id.0, Pipe::default());
        Some(id)
    }

    pub(crate) fn write(&mut self, id: StreamId, bytes: &[u8], ends: bool) {
        let pipe = self.pipes.0.get_mut(&id.0).unwrap();
        pipe.out.extend(bytes);
        pipe.ends |= ends;
        self.channel.streams().wants(id);
    }

    pub(crate) fn pipe(&self, id: StreamId) -> &Pipe {
        &self.pipes.0[&id.0]
    }

    pub(crate) fn ended(&self, id: StreamId) -> bool {
        self.pipes.0.get(&id.0).is_some_and(|pipe| pipe.ended)
    }

    /// The first error counts.
    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut out = vec![0; MAX_RECORD];
        match self.channel.poll_output(now, &mut self.pipes, &mut out) {
            Ok(Output::Transmit { len }) => {
                out.truncate(len);
                if self.habit == Habit::Echo {
                    self.consume_echoed(now);
                }
                Some(out)
            }
            Ok(Output::Wait { .. }) => None,
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    pub(crate) fn consume_echoed(&mut self, now: Instant) {
        for (id, pipe) in &mut self.pipes.0 {
            let done = pipe.held - pipe.out.len().min(pipe.held);
            pipe.held -= done;
            self.channel.streams().consumed(StreamId(*id), done, now);
        }
    }

    pub(crate) fn hear(&mut self, now: Instant, record: &mut [u8]) {
        let (mut heard, mut failed) = (Vec::new(), None);
        match self.channel.handle_input(now, record) {
            Ok(events) => {
                for event in events {
                    match event {
                        Ok(Event::Stream(event)) => heard.push(match event {
                            mux::Event::Opened { id, data, fin } => (id, Heard::Data(true, data.to_vec(), fin)),
                            mux::Event::Data { id, data, fin } => (id, Heard::Data(false, data.to_vec(), fin)),
                            mux::Event::Reset { id, code } => (id, Heard::Reset(code)),
                            mux::Event::Stopped { id, code } => (id, Heard::Stopped(code)),
                            mux::Event::Acknowledged { .. } | mux::Event::Resumed | mux::Event::MayOpen => continue,
                        }),
                        Ok(Event::Closed(close)) => self.closed = Some(close.code),
                        Ok(event) => self.events.push(format!("{event:?}").split(['(', ' ']).next().unwrap().into()),
                        Err(error) => failed = Some(error),
                    }
                }
            }
            Err(error) => failed = Some(error),
        }
        if let Some(error) = failed {
            self.fail(error);
        }
        for (id, what) in heard {
            self.apply(now, id, what);
        }
    }

    pub(crate) fn apply(&mut self, now: Instant, id: StreamId, what: Heard) {
        let pipe = self.pipes.0.entry(id.0).or_default();
        match what {
            Heard::Data(opened, data, fin) => {
                assert!(!pipe.ended && pipe.reset.is_none(), "data behind the end");
                if opened {
                    self.opened.push(id);
                }
                if !data.is_empty() {
                    self.turns.push(id.0);
                }
                pipe.ended |= fin;
                pipe.read.extend(&data);
                pipe.held += data.len();
                if self.ignored.contains(&id.0) || self.habit == Habit::Ignore {
                    return;
                }
                if self.habit == Habit::Echo {
                    pipe.out.extend(&data);
                    pipe.ends |= fin;
                    self.channel.streams().wants(id);
                } else {
                    let held = core::mem::take(&mut pipe.held);
                    self.channel.streams().consumed(id, held, now);
                }
            }
            Heard::Reset(code) => pipe.reset = Some(code),
            Heard::Stopped(code) => pipe.stopped = Some(code),
        }
    }
}

pub(crate) enum Heard {
    Data(bool, Vec<u8>, bool),
    Reset(u16),
    Stopped(u16),
}
