//! A relay that says what it likes to a host and to a device: the link ends in an error or goes
//! on, and no channel appears that was not opened.

use core::time::Duration;
use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::hop::{
    Capability, Code, DeviceLink, Frame, Hello, HostLink, Incoming, Kind, MAX_CONTROL, MAX_MESSAGE, Purpose, WaitLink,
    device, host, wait,
};
use homing_core::wire::Writer;

use super::{Bytes, Steps};

#[derive(Arbitrary, Clone, Debug)]
pub enum Step<'a> {
    Raw(Bytes<'a>),
    Hello(u8, [u8; 32]),
    Ok(u32),
    Incoming(u8, bool, u32),
    Opened(u32),
    Data(u8, Bytes<'a>),
    Credit(u8, u32),
    Closed(u8),
    Ping(u64),
    Pong(u8),
    Accept(u8),
    Refuse(u8),
    Close(u8),
    Send(u8, u16),
    Processed(u8, u16),
    Slot(u8, u16),
    Deny(u8),
    Poll(u8),
    Pass(u32),
    Knock,
}

/// What the relay says in a step, if it says anything.
fn message(step: &Step<'_>, at_device: bool) -> Option<Vec<u8>> {
    let mut out = vec![0; MAX_MESSAGE];
    let mut w = Writer::new(&mut out);
    let channel = |n: u8| if at_device { 1 } else { u32::from(n % 8) };
    let (idx, frame) = match *step {
        Step::Raw(Bytes(bytes)) => return Some(bytes.to_vec()),
        Step::Hello(version, key) => {
            let ephemeral = PublicKey::from_bytes(key);
            (0, Frame::Hello(Hello { version: version % 3, flags: 0, nonce: key, ephemeral }))
        }
        Step::Ok(ttl) => (0, Frame::Ok { ttl }),
        Step::Incoming(n, pair, credit) => {
            let kind = if pair { Kind::Pair } else { Kind::Dial { cap_id: [n; 8] } };
            (channel(n), Frame::Incoming(Incoming { channel_id: [n; 16], kind, credit }))
        }
        Step::Opened(credit) => (1, Frame::Opened { channel_id: [5; 16], credit }),
        Step::Data(n, Bytes(body)) => (channel(n), Frame::Data(body)),
        Step::Credit(n, bytes) => (channel(n), Frame::Credit { bytes }),
        Step::Closed(n) => (channel(n), Frame::Closed { code: Code::Normal }),
        Step::Ping(n) => (0, Frame::Ping(n)),
        Step::Pong(n) => (0, Frame::Pong(n.into())),
        Step::Knock => (0, Frame::Knock),
        _ => return None,
    };
    frame.emit(idx, &mut w).ok()?;
    let len = w.len();
    out.truncate(len);
    Some(out)
}

fn parses_alike(message: &[u8]) {
    if let Ok((idx, frame)) = Frame::parse(message) {
        let mut out = vec![0; message.len()];
        let mut w = Writer::new(&mut out);
        frame.emit(idx, &mut w).expect("it fits where it came from");
        assert_eq!(w.len(), message.len());
        assert_eq!(out, message);
    }
}

fn run_host(steps: &[Step<'_>]) {
    let route = Identity::from_secret(&Secret::new([1; 32]));
    let mut now = Instant::ZERO;
    let mut link =
        HostLink::<4>::new("relay", route, Secret::new([2; 32]), Secret::new([3; 32]), None, now).expect("short");
    let mut known = BTreeSet::new();
    for step in steps {
        if let Some(message) = message(step, false) {
            parses_alike(&message);
            let Ok(event) = link.handle(now, &message) else { return };
            match event {
                Some(host::Event::Incoming { idx, .. }) => assert!(known.insert(idx), "a channel came twice"),
                Some(host::Event::Data { idx, .. } | host::Event::CreditArrived { idx }) => {
                    assert!(known.contains(&idx), "of an unknown channel");
                }
                Some(host::Event::Closed { idx, .. }) => assert!(idx == 0 || known.remove(&idx)),
                _ => {}
            }
        }
        match *step {
            Step::Accept(n) => drop(link.accept(n.into())),
            Step::Refuse(n) if link.refuse(n.into(), Code::Normal) => {
                known.remove(&n.into());
            }
            Step::Close(n) => {
                link.close(n.into(), Code::Normal);
                known.remove(&n.into());
            }
            Step::Send(n, len) => {
                let credit = link.credit(n.into());
                let sent = link.data_header(n.into(), len.into()).is_some();
                assert!(!sent || usize::from(len) <= credit, "sent more than was allowed");
            }
            Step::Processed(n, bytes) => link.processed(now, n.into(), bytes.into()),
            Step::Slot(n, ttl) => drop(link.set_pair_slot([n; 16], ttl)),
            Step::Deny(n) => drop(link.deny([n; 8], 9)),
            Step::Poll(times) => {
                let mut out = vec![0; MAX_MESSAGE];
                for _ in 0..times {
                    let Some(len) = link.poll_output(now, &mut out) else { break };
                    Frame::parse(&out[..len]).expect("it says what parses");
                }
            }
            Step::Pass(micros) => {
                now = now + Duration::from_micros(micros.into());
                if link.handle_timeout(now).is_err() {
                    return;
                }
            }
            _ => {}
        }
        assert!(link.channels() <= 4);
    }
}

fn run_waiting(steps: &[Step<'_>]) {
    let route = Identity::from_secret(&Secret::new([1; 32]));
    let mut now = Instant::ZERO;
    let mut link = WaitLink::new("relay", route, Secret::new([2; 32]), Secret::new([3; 32]), None, now).expect("short");
    let (mut registered, mut over) = (false, false);
    for step in steps {
        if let Some(message) = message(step, false) {
            let Ok(event) = link.handle(now, &message) else { return };
            assert!(!over || event.is_none(), "nothing counts after the end");
            match event {
                Some(wait::Event::Registered) => assert!(!core::mem::replace(&mut registered, true), "once"),
                Some(wait::Event::Knock) => assert!(registered, "a knock before the host waits"),
                Some(wait::Event::Closed { .. }) => over = true,
                Some(wait::Event::Draining) | None => {}
            }
        }
        match *step {
            Step::Deny(n) => drop(link.deny([n; 8], 9)),
            Step::Slot(..) => link.probe(now),
            Step::Accept(_) => link.heard(now),
            Step::Poll(times) => {
                let mut out = [0; MAX_CONTROL];
                for _ in 0..times {
                    let Some(len) = link.poll_output(&mut out) else { break };
                    let (idx, frame) = Frame::parse(&out[..len]).expect("it says what parses");
                    let register = matches!(frame, Frame::Register(_));
                    let later = matches!(frame, Frame::CapDeny { .. } | Frame::Ping(_));
                    assert!(idx == 0 && !over && (register != registered) && (register || later), "{frame:?}");
                }
            }
            Step::Pass(micros) => {
                now = now + Duration::from_micros(micros.into());
                if link.handle_timeout(now).is_err() {
                    return;
                }
            }
            _ => {}
        }
        assert_eq!(link.is_registered(), registered && !over);
    }
}

fn run_device(steps: &[Step<'_>], pairs: bool) {
    let purpose = if pairs {
        Purpose::Pair { rendezvous: Secret::new([4; 16]) }
    } else {
        let capability = Capability::mint(&Secret::new([2; 32]), &[1; 16], [3; 8], 1000, 1);
        Purpose::Dial { route_id: [1; 16], capability }
    };
    let mut now = Instant::ZERO;
    let mut link = DeviceLink::new("relay", purpose, now).expect("short");
    let mut opened = false;
    for step in steps {
        if let Some(message) = message(step, true) {
            parses_alike(&message);
            let Ok(event) = link.handle(now, &message) else { return };
            match event {
                Some(device::Event::Opened { .. }) => {
                    assert!(!opened, "opened twice");
                    opened = true;
                }
                Some(device::Event::Data { .. }) => assert!(opened, "data before the channel"),
                _ => {}
            }
        }
        match *step {
            Step::Close(_) => link.close(Code::Normal),
            Step::Send(_, len) => {
                let credit = link.credit();
                let sent = link.data_header(len.into()).is_some();
                assert!(!sent || usize::from(len) <= credit, "sent more than was allowed");
            }
            Step::Processed(_, bytes) => link.processed(now, bytes.into()),
            Step::Poll(times) => {
                let mut out = vec![0; MAX_MESSAGE];
                for _ in 0..times {
                    let Some(len) = link.poll_output(now, &mut out) else { break };
                    Frame::parse(&out[..len]).expect("it says what parses");
                }
            }
            Step::Pass(micros) => {
                now = now + Duration::from_micros(micros.into());
                if link.handle_timeout(now).is_err() {
                    return;
                }
            }
            _ => {}
        }
    }
}

/// Who listens, to what; a host that pairs waits to be woken.
#[derive(Arbitrary, Clone, Debug)]
pub struct Input<'a> {
    pub at_device: bool,
    pub pairs: bool,
    pub steps: Steps<Step<'a>>,
}

pub fn check(input: &Input<'_>) {
    match (input.at_device, input.pairs) {
        (true, pairs) => run_device(&input.steps.0, pairs),
        (false, false) => run_host(&input.steps.0),
        (false, true) => run_waiting(&input.steps.0),
    }
}
