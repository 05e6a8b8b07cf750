//! Records through the relay's switch, from a device to its host.

use core::hint::black_box;
use std::collections::VecDeque;

use homing_core::Instant;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{
    Capability, Code, DATA, DATA_HEADER_LEN, DeviceLink, Frame, HostLink, MAX_CONTROL, Purpose, data_header, host,
    route_id,
};
use homing_core::relay::{ChannelSlot, Config, Handled, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use homing_core::wire::Writer;

use crate::clock::time;
use crate::ends::Seeded;
use crate::records::Batch;

const RELAY: &str = "relay.example.net";
const UNIX: u64 = 1_900_000_000;
/// What the host grants at once.
const GRANT: u32 = 128 << 10;

/// The switch's answers, in order.
#[derive(Default)]
struct Queue(VecDeque<(LinkId, Vec<u8>)>);

impl Outbox for Queue {
    fn control(&mut self, link: LinkId, message: &[u8]) {
        self.0.push_back((link, message.to_vec()));
    }

    fn hang_up(&mut self, _: LinkId, reason: Code) {
        panic!("hung up: {reason:?}");
    }
}

/// Takes what the switch says on its own: without the credit in it, nothing would be forwarded for long.
struct Heard;

impl Outbox for Heard {
    fn control(&mut self, _: LinkId, message: &[u8]) {
        black_box(message);
    }

    fn hang_up(&mut self, _: LinkId, reason: Code) {
        panic!("hung up: {reason:?}");
    }
}

/// A switch with as many slots as a small relay has, one host and one device with a channel.
struct Joined {
    switch: Switch<Vec<LinkSlot>, Vec<ChannelSlot>, Vec<RouteSlot>>,
    rng: Seeded,
    host: LinkId,
    device: LinkId,
    /// The channel's number at the host.
    idx: u32,
}

impl Joined {
    fn new() -> Self {
        let now = Instant::ZERO;
        let mut rng = Seeded(7);
        let [links, channels] = [1024, 1024];
        let links = core::iter::repeat_with(LinkSlot::default).take(links).collect();
        let channels = core::iter::repeat_with(ChannelSlot::default).take(channels).collect();
        let mut switch =
            Switch::new(Config::default(), links, channels, vec![RouteSlot::default(); 2048], now, UNIX, &mut rng);
        let route = Identity::from_secret(&Secret::new([9; 32]));
        let route_id = route_id(route.public());
        let k_cap = Secret::new([1; 32]);
        let capability = Capability::mint(&k_cap, &route_id, [1; 8], UNIX as u32 + 86_400, 1);
        let mut host_end = HostLink::<8>::new(RELAY, route, k_cap, Secret::new([2; 32]), None, now).unwrap();
        let mut device_end = DeviceLink::new(RELAY, Purpose::Dial { route_id, capability }, now).unwrap();

        let mut queue = Queue::default();
        let host = switch.attach(now, RELAY, &mut rng, &mut queue).unwrap();
        let mut device = None;
        let (mut idx, mut out) = (None, [0; MAX_CONTROL]);
        for _ in 0..100 {
            if let Some((to, message)) = queue.0.pop_front() {
                if to != host {
                    device_end.handle(now, &message).unwrap();
                } else if let Some(host::Event::Incoming { idx: offered, .. }) = host_end.handle(now, &message).unwrap()
                {
                    idx = Some(offered);
                    assert!(host_end.accept(offered));
                }
            }
            while let Some(len) = host_end.poll_output(now, &mut out) {
                switch.handle(now, host, &mut out[..len], &mut rng, &mut queue).unwrap();
            }
            while let Some((device, len)) = device.and_then(|id| Some((id, device_end.poll_output(now, &mut out)?))) {
                switch.handle(now, device, &mut out[..len], &mut rng, &mut queue).unwrap();
            }
            if device.is_none() && switch.counters().hosts == 1 {
                device = Some(switch.attach(now, RELAY, &mut rng, &mut queue).unwrap());
            }
        }
        Self { switch, rng, host, device: device.unwrap(), idx: idx.unwrap() }
    }
}

/// Records of `len` bytes that come in, pass the switch and leave, with the credit that they take.
/// Coming in is a copy into the buffer that goes out again.
#[must_use]
pub fn forwarded(len: usize) -> Batch {
    let Joined { mut switch, mut rng, host, device, idx } = Joined::new();
    let record = message(len);
    let mut buf = record.clone();
    let (mut heard, mut now, mut owed) = (Heard, Instant::ZERO, GRANT);
    let mut credit = [0; MAX_CONTROL];
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                now = now + core::time::Duration::from_micros(5);
                if owed >= GRANT {
                    let mut w = Writer::new(&mut credit);
                    Frame::Credit { bytes: owed }.emit(idx, &mut w).unwrap();
                    let len = w.len();
                    switch.handle(now, host, &mut credit[..len], &mut rng, &mut heard).unwrap();
                    owed = 0;
                }
                buf.copy_from_slice(black_box(&record));
                let handled = switch.handle(now, device, &mut buf, &mut rng, &mut heard).unwrap();
                let Handled::Forward { to, idx } = black_box(handled) else { panic!("not forwarded: {handled:?}") };
                switch.sent(now, to, idx, len, &mut heard);
                owed += len as u32;
            }
        })
    })
}

/// The copying alone.
#[must_use]
pub fn received(len: usize) -> Batch {
    let record = message(len);
    let mut buf = record.clone();
    Box::new(move |n| {
        time(|| {
            for _ in 0..n {
                buf.copy_from_slice(black_box(&record));
                black_box(&mut buf);
            }
        })
    })
}

/// DATA as a device sends it.
fn message(len: usize) -> Vec<u8> {
    let mut message = vec![0x5a; DATA_HEADER_LEN + len];
    message[..DATA_HEADER_LEN].copy_from_slice(&data_header(homing_core::hop::DEVICE_IDX));
    assert_eq!(message[0], DATA);
    message
}
