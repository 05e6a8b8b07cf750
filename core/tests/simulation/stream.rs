//! One end of a stream: the application that writes and reads, and the pipe that keeps what the
//! peer has not acknowledged. Bytes are a function of their offset, so the pipe keeps numbers only.

use homing_core::Instant;
use homing_core::mux::{Mux, Taken, reset};
use homing_core::wire::StreamId;

use crate::plan::{ACCEPTOR, Fate, HEAD, Mode, OPENER, Plans, Whim, bytes};
use crate::session::STREAMS;

pub(crate) struct Stream {
    pub(crate) id: StreamId,
    /// Which end this is.
    end: usize,
    /// None until the opener's key has come.
    plan: Option<usize>,
    head: [u8; HEAD as usize],
    key: u64,
    written: u64,
    finished: bool,
    /// Where the mux has come to, and whether the end was taken, since the last attachment.
    sent: u64,
    fin_sent: bool,
    acknowledged: u64,
    out: Fate,
    received: u64,
    consumed: u64,
    ended: bool,
    pub(crate) inbound: Fate,
    read_at: u64,
    stopped: bool,
    pub(crate) released: bool,
    /// Turns of others since it has waited for one.
    waits: usize,
    /// The most streams that there were meanwhile.
    others: usize,
}

impl Stream {
    fn new(id: StreamId, end: usize) -> Self {
        Self {
            id,
            end,
            plan: None,
            head: [0; HEAD as usize],
            key: 0,
            written: 0,
            finished: false,
            sent: 0,
            fin_sent: false,
            acknowledged: 0,
            out: Fate::Open,
            received: 0,
            consumed: 0,
            ended: false,
            inbound: Fate::Open,
            read_at: 0,
            stopped: false,
            released: false,
            waits: 0,
            others: 0,
        }
    }

    pub(crate) fn open(id: StreamId, plan: usize, plans: &mut Plans) -> Self {
        plans.list[plan].opened = true;
        Self { plan: Some(plan), key: plans.list[plan].key, ..Self::new(id, OPENER) }
    }

    pub(crate) fn accepted(id: StreamId) -> Self {
        Self::new(id, ACCEPTOR)
    }

    /// Bytes that wait here for the application. It waits for none of a stream that it let go of.
    pub(crate) const fn held(&self) -> u64 {
        if self.released { 0 } else { self.received - self.consumed }
    }

    /// Whether the mux may still ask for its bytes or its end.
    pub(crate) fn is_sending(&self) -> bool {
        self.out == Fate::Open
    }

    /// Bytes arrived: they are the next ones, of this stream and no other.
    pub(crate) fn hear(&mut self, data: &[u8], fin: bool, plans: &mut Plans, device: usize, at_device: bool) {
        assert!(!self.ended && self.inbound == Fate::Open, "bytes after the end");
        let mut rest = data;
        if self.end == ACCEPTOR && self.received < HEAD {
            let at = self.received as usize;
            let len = rest.len().min(HEAD as usize - at);
            self.head[at..at + len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            self.received += len as u64;
            if self.received == HEAD {
                self.key = u64::from_le_bytes(self.head);
                let plan = plans.accept(self.key, device, at_device);
                self.plan = Some(plan);
                plans.decide(plan, self.end, self.end, self.out); // stopped before it was known
            }
        }
        let sender = 1 - self.end;
        bytes::check(self.key, sender, self.received, rest);
        self.received += rest.len() as u64;
        if let Some(plan) = self.plan {
            assert!(self.received <= plans.list[plan].total(sender), "more bytes than were sent");
        }
        if fin {
            let plan = self.plan.expect("no stream ends before its key");
            assert_eq!(self.received, plans.list[plan].total(sender), "ended before its end");
            self.ended = true;
            self.set_inbound(Fate::Complete, plans);
        }
    }

    /// The peer gave up sending.
    pub(crate) fn hear_reset(&mut self, plans: &mut Plans) {
        assert!(self.inbound == Fate::Open, "a reset after the end");
        if let Some(plan) = self.plan {
            assert!(plans.list[plan].given_up, "reset, and nobody gave up");
        }
        self.consumed = self.received;
        self.set_inbound(Fate::GivenUp, plans);
    }

    /// The peer wants no more.
    pub(crate) fn hear_stop(&mut self, plans: &mut Plans) {
        if let Some(plan) = self.plan {
            assert!(plans.list[plan].given_up, "stopped, and nobody gave up");
        }
        self.set_out(Fate::GivenUp, plans);
    }

    pub(crate) fn hear_acknowledged(&mut self, received: u64, end: bool, plans: &mut Plans) {
        assert!(received >= self.acknowledged && received <= self.written, "acknowledged {received}");
        self.acknowledged = received;
        if end && self.out == Fate::Open {
            self.end_out("acknowledged an end that was not sent", plans);
        }
    }

    /// The peer has the end: the one that was sent, or that of a peer who wanted no more when nobody
    /// here listened any more.
    fn end_out(&mut self, otherwise: &str, plans: &mut Plans) {
        let stopped = self.released && self.plan.is_some_and(|plan| plans.list[plan].given_up);
        assert!(self.fin_sent || stopped, "{otherwise}");
        self.set_out(if self.fin_sent { Fate::Complete } else { Fate::GivenUp }, plans);
    }

    /// A new attachment goes on with what the peer has.
    pub(crate) fn resume(&mut self, acknowledged: Option<u64>, plans: &mut Plans) {
        (self.waits, self.others) = (0, 0);
        match acknowledged {
            Some(acknowledged) => {
                assert!(acknowledged >= self.acknowledged && acknowledged <= self.written, "took bytes back");
                self.acknowledged = acknowledged;
                self.sent = acknowledged;
                self.fin_sent = false;
            }
            // The peer has all of it: or it was given up before.
            None if self.out == Fate::Open => self.end_out("forgotten before its end", plans),
            None => {}
        }
    }

    /// The mux takes bytes. All that is kept for a resumption fits the peer's window.
    pub(crate) fn read(&mut self, offset: u64, buf: &mut [u8], window: u64) -> Taken {
        assert!(offset >= self.acknowledged, "asked for what was acknowledged");
        assert!(offset <= self.written, "asked for what was not written");
        let len = (self.written - offset).min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        let kept = offset + len as u64 - self.acknowledged;
        assert!(kept <= window, "{kept} bytes are kept for a window of {window}");
        if self.end == OPENER && offset < HEAD {
            let key = &self.key.to_le_bytes()[offset as usize..];
            let part = key.len().min(len);
            buf[..part].copy_from_slice(&key[..part]);
            bytes::fill(self.key, self.end, offset + part as u64, &mut buf[part..]);
        } else {
            bytes::fill(self.key, self.end, offset, buf);
        }
        self.sent = offset + len as u64;
        let fin = self.finished && self.sent == self.written;
        self.fin_sent |= fin;
        (self.waits, self.others) = (0, 0);
        Taken { len, more: self.sent < self.written, fin }
    }

    /// Somebody else had a turn. This one has bytes, and credit as far as the first window goes:
    /// it may wait for everyone else once.
    pub(crate) fn wait(&mut self, window: u64, streams: usize) {
        let ready = self.out == Fate::Open && !self.released && self.sent < self.written.min(window);
        (self.waits, self.others) = if ready { (self.waits + 1, self.others.max(streams)) } else { (0, 0) };
        let most = 2 * self.others + 2;
        assert!(self.waits <= most, "stream {} starves: {} turns of {} streams", self.id.0, self.waits, self.others);
    }

    /// The application reads, writes, changes its mind, lets go.
    pub(crate) fn work(&mut self, now: u64, clock: Instant, mux: &mut Mux<STREAMS>, plans: &mut Plans) {
        if self.released {
            return;
        }
        self.read_on(now, clock, mux, plans);
        let Some(plan) = self.plan else {
            if self.inbound != Fate::Open {
                self.let_go(clock, mux, plans); // it ended before it said what it is
            }
            return;
        };
        let whim = plans.list[plan].whim[self.end];
        match whim {
            Whim::Reset(at) if self.written >= at && self.out == Fate::Open && !self.fin_sent => {
                plans.list[plan].given_up = true;
                mux.reset(self.id, 300);
                self.set_out(Fate::GivenUp, plans);
            }
            Whim::Stop(at) if self.consumed >= at && self.inbound == Fate::Open && !self.stopped => {
                plans.list[plan].given_up = true;
                mux.stop(self.id, 301);
                self.stopped = true;
            }
            Whim::Release(at) if self.consumed >= at && self.inbound == Fate::Open => {
                plans.list[plan].given_up = true;
                return self.let_go(clock, mux, plans);
            }
            _ => {}
        }
        self.write_on(plan, mux, plans);
        let said = self.out != Fate::Open || self.fin_sent;
        if said && self.inbound != Fate::Open && self.held() == 0 {
            self.released = true;
            mux.release(self.id, reset::CANCELLED, clock);
        }
    }

    fn read_on(&mut self, now: u64, clock: Instant, mux: &mut Mux<STREAMS>, plans: &Plans) {
        let pace = self.plan.map(|plan| plans.list[plan].pace[self.end]);
        let slow = pace.filter(|pace| pace.every > 0);
        if self.held() == 0 || slow.is_some_and(|_| now < self.read_at) {
            return;
        }
        let bytes = slow.map_or(self.held(), |pace| self.held().min(pace.bytes));
        self.read_at = now + slow.map_or(0, |pace| pace.every);
        self.consumed += bytes;
        mux.consumed(self.id, bytes as usize, clock);
    }

    fn write_on(&mut self, plan: usize, mux: &mut Mux<STREAMS>, plans: &mut Plans) {
        if self.out != Fate::Open {
            return;
        }
        let plan = &mut plans.list[plan];
        let total = plan.total(self.end);
        let may = match plan.mode {
            _ if self.end == OPENER => total,
            Mode::Both => total,
            Mode::Echo => self.consumed - HEAD.min(self.consumed),
            Mode::Answer => {
                if self.ended {
                    total
                } else {
                    0
                }
            }
        };
        if self.end == ACCEPTOR && plan.mode != Mode::Both && self.inbound == Fate::GivenUp {
            mux.reset(self.id, 302); // there is nothing to answer
            self.out = Fate::GivenUp;
            return plans.decide(self.plan.unwrap(), self.end, self.end, Fate::GivenUp);
        }
        self.written = self.written.max(may.min(self.sent + plan.ahead));
        self.finished = self.written == total && (self.end == OPENER || plan.mode == Mode::Both || self.ended);
        if self.sent < self.written || (self.finished && !self.fin_sent) {
            mux.wants(self.id);
        }
    }

    /// Lets go of both directions.
    fn let_go(&mut self, clock: Instant, mux: &mut Mux<STREAMS>, plans: &mut Plans) {
        self.released = true;
        mux.release(self.id, 303, clock);
        self.set_inbound(Fate::GivenUp, plans);
        // What was sent whole still arrives whole: the other end decides.
        self.set_out(Fate::GivenUp, plans);
    }

    /// The session is gone.
    pub(crate) fn lose(&mut self, plans: &mut Plans) {
        self.released = true;
        self.set_inbound(Fate::Lost, plans);
        self.set_out(Fate::Lost, plans);
    }

    /// When the application reads next.
    pub(crate) fn next(&self) -> Option<u64> {
        (!self.released && self.held() > 0).then_some(self.read_at)
    }

    fn set_inbound(&mut self, fate: Fate, plans: &mut Plans) {
        if self.inbound == Fate::Open {
            self.inbound = fate;
            if let Some(plan) = self.plan {
                plans.decide(plan, 1 - self.end, self.end, fate);
            }
        }
    }

    fn set_out(&mut self, fate: Fate, plans: &mut Plans) {
        if self.out == Fate::Open {
            self.out = fate;
            if let Some(plan) = self.plan {
                plans.decide(plan, self.end, self.end, fate);
            }
        }
    }
}
