//! One end of a session: its channel, or what is kept of it, and what its application knows.

use std::collections::BTreeMap;

use homing_core::Instant;
use homing_core::channel::{Detached, Event, Output};
use homing_core::mux::{self, Source, Taken};
use homing_core::wire::{MAX_RECORD, StreamId};

use crate::{Chan, STREAMS};

/// The byte at a place of one direction of a stream.
fn byte_at(id: u32, from_host: bool, place: u64) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8) ^ (u64::from(id) * 7) ^ (u64::from(from_host) * 101)) as u8
}

/// What an application knows of one stream.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) offered: u64,
    pub(crate) ends: bool,
    pub(crate) acknowledged: u64,
    pub(crate) end_acknowledged: bool,
    pub(crate) received: u64,
    pub(crate) unread: usize,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u16>,
    pub(crate) stopped: Option<u16>,
    pub(crate) released: bool,
}

pub(crate) struct End {
    pub(crate) from_host: bool,
    pub(crate) channel: Option<Chan>,
    pub(crate) kept: Option<Detached<STREAMS>>,
    pub(crate) pipes: BTreeMap<u32, Pipe>,
    /// Bytes that were asked for, to see how many were sent twice.
    pub(crate) asked: u64,
    pub(crate) resumed: usize,
    pub(crate) lost: usize,
}

pub(crate) struct Pipes<'a>(pub(crate) &'a mut BTreeMap<u32, Pipe>, pub(crate) bool, pub(crate) &'a mut u64);

impl Source for Pipes<'_> {
    fn read(&mut self, id: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let pipe = self.0.get(&id.0).unwrap();
        assert!(offset >= pipe.acknowledged, "what was acknowledged is asked for again");
        let len = (pipe.offered - offset).min(buf.len() as u64);
        for (i, byte) in buf[..len as usize].iter_mut().enumerate() {
            *byte = byte_at(id.0, self.1, offset + i as u64);
        }
        *self.2 += len;
        let more = offset + len < pipe.offered;
        Taken { len: len as usize, more, fin: !more && pipe.ends }
    }
}

impl End {
    pub(crate) fn new(from_host: bool) -> Self {
        Self { from_host, channel: None, kept: None, pipes: BTreeMap::new(), asked: 0, resumed: 0, lost: 0 }
    }

    /// The streams, attached or not.
    pub(crate) fn streams(&mut self) -> Option<&mut mux::Mux<STREAMS>> {
        match (&mut self.kept, &mut self.channel) {
            (Some(kept), _) => Some(kept.streams()),
            (None, channel) => channel.as_mut().map(Chan::streams),
        }
    }

    pub(crate) fn open(&mut self, now: Instant) -> Option<u32> {
        let id = self.channel.as_mut()?.open(now)?.0;
        assert!(self.pipes.insert(id, Pipe::default()).is_none());
        Some(id)
    }

    pub(crate) fn write(&mut self, id: u32, bytes: u64, end: bool) {
        let pipe = self.pipes.get_mut(&id).unwrap();
        if pipe.ends || pipe.released || pipe.stopped.is_some() {
            return;
        }
        pipe.offered += bytes;
        pipe.ends = end;
        if let Some(streams) = self.streams() {
            streams.wants(StreamId(id));
        }
    }

    pub(crate) fn read(&mut self, id: u32, now: Instant) {
        let unread = core::mem::take(&mut self.pipes.get_mut(&id).unwrap().unread);
        if let Some(streams) = self.streams() {
            streams.consumed(StreamId(id), unread, now);
        }
    }

    pub(crate) fn release(&mut self, id: u32, code: u16, now: Instant) {
        self.pipes.get_mut(&id).unwrap().released = true;
        if let Some(streams) = self.streams() {
            streams.release(StreamId(id), code, now);
        }
    }

    /// The link is gone.
    pub(crate) fn lose(&mut self) {
        if let Some(mut channel) = self.channel.take()
            && let Some(detached) = channel.detach()
        {
            assert!(self.kept.is_none());
            self.kept = Some(detached);
        }
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let channel = self.channel.as_mut()?;
        if channel.poll_timeout().is_some_and(|at| now >= at) {
            channel.handle_timeout(now).unwrap();
        }
        let mut out = vec![0; MAX_RECORD];
        let mut source = Pipes(&mut self.pipes, self.from_host, &mut self.asked);
        match channel.poll_output(now, &mut source, &mut out).unwrap() {
            Output::Transmit { len } => {
                out.truncate(len);
                Some(out)
            }
            Output::Wait { .. } => None,
        }
    }

    pub(crate) fn hear(&mut self, now: Instant, record: &mut [u8]) {
        let Some(channel) = self.channel.as_mut() else { return };
        let mut resumed = false;
        let mut events = channel.handle_input(now, record).unwrap();
        while let Some(event) = events.next() {
            match event.unwrap() {
                Event::ResumeRequested(request) => {
                    let Some(kept) = self.kept.take() else { continue };
                    assert!(request.is_proven_by(kept.resumption()));
                    events.adopt(kept).unwrap();
                }
                Event::Established => self.lost += usize::from(!self.pipes.is_empty()),
                Event::Reattached => {}
                Event::Stream(mux::Event::Resumed) => resumed = true,
                Event::Stream(mux::Event::Opened { id, data, fin }) => {
                    assert!(self.pipes.insert(id.0, Pipe::default()).is_none(), "opened twice");
                    receive(&mut self.pipes, self.from_host, id, data, fin);
                }
                Event::Stream(mux::Event::Data { id, data, fin }) => {
                    receive(&mut self.pipes, self.from_host, id, data, fin);
                }
                Event::Stream(mux::Event::Reset { id, code }) => {
                    let pipe = self.pipes.get_mut(&id.0).unwrap();
                    assert!(!pipe.ended && pipe.reset.is_none());
                    pipe.reset = Some(code);
                }
                Event::Stream(mux::Event::Stopped { id, code }) => {
                    assert_eq!(self.pipes.get_mut(&id.0).unwrap().stopped.replace(code), None);
                }
                Event::Stream(mux::Event::Acknowledged { id, received, end }) => {
                    let pipe = self.pipes.get_mut(&id.0).unwrap();
                    pipe.acknowledged = pipe.acknowledged.max(received);
                    pipe.end_acknowledged |= end;
                }
                Event::Stream(mux::Event::MayOpen) => {}
                other => panic!("{other:?}"),
            }
        }
        drop(events);
        if resumed {
            self.resumed += 1;
            for (id, pipe) in &mut self.pipes {
                match self.channel.as_mut().unwrap().streams().acknowledged(StreamId(*id)) {
                    Some(acknowledged) => {
                        assert!(!pipe.end_acknowledged && acknowledged >= pipe.acknowledged);
                        pipe.acknowledged = acknowledged;
                    }
                    None => pipe.end_acknowledged = true,
                }
            }
        }
    }
}

fn receive(pipes: &mut BTreeMap<u32, Pipe>, by_host: bool, id: StreamId, data: &[u8], fin: bool) {
    let pipe = pipes.get_mut(&id.0).unwrap();
    assert!(!pipe.ended && pipe.reset.is_none());
    for byte in data {
        assert_eq!(*byte, byte_at(id.0, !by_host, pipe.received), "stream {} at {}", id.0, pipe.received);
        pipe.received += 1;
    }
    pipe.unread += data.len();
    pipe.ended = fin;
}
