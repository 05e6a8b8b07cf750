//! Windows that have grown, and readers that have become slow.

use super::*;

const MANY: usize = 64;
const KIB: u64 = 1 << 10;

/// A host that sends without end to a device, over streams that the device has opened.
struct Pair {
    host: Mux<MANY>,
    device: Mux<MANY>,
    /// Bytes that have arrived on each stream and were not read.
    unread: Vec<u64>,
}

impl Pair {
    fn new(caps: WindowCaps) -> Self {
        let params = Params { max_streams: MANY as u16, ..Params::default() };
        let opener = Params { max_streams: 0, ..params };
        let mut host = Mux::new(Role::Host, params, opener, caps, NOW);
        let mut device = Mux::new(Role::Device, opener, params, caps, NOW);
        for _ in 0..MANY {
            device.open(NOW).unwrap();
        }
        pump(&mut device, &mut host);
        Self { host, device, unread: vec![0; MANY] }
    }

    /// The host sends on these streams whatever it may; tells how many bytes have arrived on each.
    fn send(&mut self, streams: core::ops::Range<u32>) -> Vec<u64> {
        streams.for_each(|number| self.host.wants(StreamId(2 * number)));
        let mut all = vec![0; MANY];
        loop {
            let arrived = pump(&mut self.host, &mut self.device);
            if arrived.iter().all(|bytes| *bytes == 0) {
                return all;
            }
            for (number, bytes) in arrived.iter().enumerate() {
                self.unread[number] += bytes;
                all[number] += bytes;
            }
            pump(&mut self.device, &mut self.host);
        }
    }

    /// The device reads all that has come on these streams, at this time, and tells the host so.
    fn read(&mut self, streams: core::ops::Range<u32>, now: Instant) {
        for number in streams {
            let bytes = core::mem::take(&mut self.unread[number as usize]);
            self.device.consumed(StreamId(2 * number), bytes as usize, now);
        }
        pump(&mut self.device, &mut self.host);
    }
}

/// Carries all that one end has to say to the other, and counts what arrives on each stream.
fn pump(from: &mut Mux<MANY>, to: &mut Mux<MANY>) -> Vec<u64> {
    let mut arrived = vec![0; MANY];
    loop {
        let mut out = [0; 16 << 10];
        let mut w = Writer::new(&mut out);
        from.poll(&mut Text(u64::MAX), &mut w);
        let len = w.len();
        if len == 0 {
            return arrived;
        }
        let mut r = Reader::new(&out[..len]);
        while let Some(frame) = Frame::parse(&mut r).unwrap() {
            if let Frame::Stream { id, data, .. } = &frame {
                arrived[id.0 as usize / 2] += data.len() as u64;
            }
            to.handle(NOW, frame).unwrap();
        }
    }
}

#[test]
fn readers_that_become_slow_leave_credit_to_the_others() {
    for slow in [1, 2, 3, 8, 22, 63] {
        let mut pair = Pair::new(WindowCaps::default());
        // Read at once: the windows grow as far as they may.
        for _ in 0..12 {
            pair.send(0..slow);
            pair.read(0..slow, NOW);
        }
        // Nobody reads any more.
        let unread: u64 = pair.send(0..slow).iter().sum();
        assert!(unread >= 4096 * KIB, "{slow} streams have grown: {unread}");
        assert!(unread <= 8192 * KIB + 64 * KIB * u64::from(slow), "{slow} streams: {unread}");
        // Somebody who reads is never stopped by them.
        for round in 0..1000 {
            let arrived = pair.send(63..64)[63];
            assert!(arrived > 0, "{slow} slow streams stop another one in round {round}");
            pair.read(63..64, NOW + Duration::from_secs(round));
        }
    }
}

#[test]
fn what_one_reader_gives_up_another_one_gets() {
    let mut pair = Pair::new(WindowCaps::default());
    let grow = |pair: &mut Pair, streams: core::ops::Range<u32>| {
        for _ in 0..12 {
            pair.send(streams.clone());
            pair.read(streams.clone(), NOW);
        }
        let most = pair.send(streams.clone()).into_iter().max().unwrap();
        pair.read(streams, NOW);
        most / KIB
    };
    assert_eq!(grow(&mut pair, 0..1), 4096);
    assert_eq!(grow(&mut pair, 0..8), 1024);
    for number in 1..8 {
        let id = StreamId(2 * number);
        pair.device.release(id, 0, NOW);
        pair.host.release(id, 0, NOW);
    }
    for _ in 0..2 {
        pair.read(0..1, NOW); // and the device says what it has let go of
        pair.send(0..1);
    }
    assert_eq!(pair.device.len(), MANY - 7);
    assert_eq!(grow(&mut pair, 0..1), 4096);
}
