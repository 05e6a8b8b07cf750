//! A session with many streams that is taken up again after its link was lost.

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Detached, Event, Output, token_hash};
use homing_core::crypto::Portable;
use homing_core::handshake::Suite;
use homing_core::mux;
use homing_core::wire::MAX_RECORD;

use crate::clock::time;
use crate::ends::{Ends, TOKEN};
use crate::records::Batch;
use crate::streams::{Messages, roomy};

/// Twice as many as a side may open.
const SLOTS: usize = 128;
/// Bytes of each stream that were under way when the link was lost.
const UNDER_WAY: usize = 100;

type End = Channel<SLOTS, Portable>;

/// A device's 64 streams and their host.
struct Streams {
    ends: Ends,
    device: End,
    host: End,
    source: Messages,
    buf: Vec<u8>,
    ids: Vec<homing_core::wire::StreamId>,
    /// What was seen since the link was lost: streams that went on, and ends that know where.
    went_on: usize,
    resumed: usize,
}

impl Streams {
    fn new(streams: u16) -> Self {
        let mut ends = Ends::new(Suite::Classic, false, roomy(streams));
        let [device, host] = ends.shake();
        let now = Instant::ZERO;
        let device = End::connect(&device, &TOKEN, &Config::default(), now);
        let host = End::admit(&host, token_hash(&TOKEN), &Config::default(), now);
        let (source, buf, ids) = (Messages::new(UNDER_WAY, false), vec![0; MAX_RECORD], Vec::new());
        let mut all = Self { ends, device, host, source, buf, ids, went_on: 0, resumed: 0 };
        for _ in 0..4 {
            all.flight(true, true);
            all.flight(false, true);
        }
        for _ in 0..streams {
            let id = all.device.open(now).unwrap();
            all.device.streams().wants(id);
            all.ids.push(id);
        }
        for _ in 0..4 {
            all.flight(true, true);
            all.flight(false, true);
        }
        all
    }

    /// All that one end has to say now; where it does not arrive, it is lost.
    fn flight(&mut self, from_device: bool, arrives: bool) {
        let now = Instant::ZERO;
        let (from, to) =
            if from_device { (&mut self.device, &mut self.host) } else { (&mut self.host, &mut self.device) };
        while let Output::Transmit { len } = from.poll_output(now, &mut self.source, &mut self.buf).unwrap() {
            if !arrives {
                continue;
            }
            let mut read = [const { None }; 2 * SLOTS];
            let mut slots = read.iter_mut();
            for event in to.handle_input(now, &mut self.buf[..len]).unwrap() {
                match event.unwrap() {
                    Event::Stream(mux::Event::Opened { id, data, .. } | mux::Event::Data { id, data, .. }) => {
                        *slots.next().unwrap() = Some((id, data.len()));
                    }
                    Event::Stream(mux::Event::Resumed) => self.resumed += 1,
                    _ => {}
                }
            }
            for (id, len) in read.into_iter().flatten() {
                to.streams().consumed(id, len, now);
                self.went_on += 1;
            }
        }
    }

    /// Every stream sends something, which gets lost with the link.
    fn lose(&mut self) -> [Detached<SLOTS>; 2] {
        for id in &self.ids {
            self.device.streams().wants(*id);
        }
        self.flight(true, false);
        (self.went_on, self.resumed) = (0, 0);
        [self.device.detach().unwrap(), self.host.detach().unwrap()]
    }

    /// A handshake, a round trip, and what was lost.
    fn resume(&mut self, [device, host]: [Detached<SLOTS>; 2]) {
        let now = Instant::ZERO;
        let [device_keys, host_keys] = self.ends.shake();
        self.device = End::resume(&device_keys, &TOKEN, device, &Config::default(), now);
        self.host = End::admit(&host_keys, token_hash(&TOKEN), &Config::default(), now);
        let Output::Transmit { len } = self.device.poll_output(now, &mut self.source, &mut self.buf).unwrap() else {
            panic!("nothing to say")
        };
        let mut kept = Some(host);
        let mut events = self.host.handle_input(now, &mut self.buf[..len]).unwrap();
        while let Some(event) = events.next() {
            match event.unwrap() {
                Event::ResumeRequested(_) => events.adopt(kept.take().unwrap()).unwrap(),
                Event::Stream(mux::Event::Resumed) => self.resumed += 1,
                _ => {}
            }
        }
        drop(events);
        self.flight(false, true);
        assert_eq!(self.resumed, 2, "both ends know where they are after one round trip");
        self.flight(true, true);
        assert!(self.went_on >= self.ids.len(), "{} streams went on", self.went_on);
        self.flight(false, true);
    }
}

/// Handshakes of the classic suite, each with the resumption of so many streams, both ends together,
/// until what was under way on every stream has arrived.
#[must_use]
pub fn resumed(streams: u16) -> Batch {
    let mut all = Streams::new(streams);
    Box::new(move |n| {
        (0..n)
            .map(|_| {
                let lost = all.lose();
                time(|| all.resume(lost))
            })
            .sum()
    })
}
