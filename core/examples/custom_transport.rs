//! Records over a line of bytes such as a UART: a mark and their length before them let the receiver
//! find its way back after noise. A lost record ends the channel: resume the session with another.
#![allow(clippy::unwrap_used, reason = "an example that cannot go on stops")]

mod pairing;

use std::collections::VecDeque;

use homing_core::channel::{Channel, Event, Output};
use homing_core::wire::{HEADER_LEN, Params, TAG_LEN};
use homing_core::{Instant, handshake::Suite, mux};
use pairing::{Says, paired};

const OWN: Params =
    Params { features: 0, max_record: 1024, max_streams: 2, session_window: 16 << 10, stream_window: 4 << 10 };
const LONGEST: usize = HEADER_LEN + OWN.max_record as usize + TAG_LEN;
const HEAD: usize = 6; // two bytes of mark, the length, the length's complement

fn send(line: &mut VecDeque<u8>, record: &[u8]) {
    line.extend(b"\x00\xa5\xff\xa5\x5a\x01\x00"); // noise, such as a line makes
    let [a, b] = (record.len() as u16).to_le_bytes();
    line.extend([0xa5, 0x5a, a, b, !a, !b].iter().chain(record));
}

/// The next record on the line, if all of it has come. What no record begins with is skipped.
fn receive(line: &mut VecDeque<u8>) -> Option<Vec<u8>> {
    while line.len() >= HEAD {
        let [mark_a, mark_b, a, b, not_a, not_b] = core::array::from_fn(|place| line[place]);
        let len = usize::from(u16::from_le_bytes([a, b]));
        if [mark_a, mark_b, !not_a, !not_b] != [0xa5, 0x5a, a, b] || len > LONGEST {
            line.pop_front();
        } else if line.len() < HEAD + len {
            return None;
        } else {
            return Some(line.drain(..HEAD + len).skip(HEAD).collect());
        }
    }
    None
}

/// Takes what one end has to say to the other; what arrives there on a stream goes into `heard`.
fn carry(line: &mut VecDeque<u8>, from: &mut Channel<8>, says: &[u8], to: &mut Channel<8>, heard: &mut Vec<u8>) {
    let (now, mut out) = (Instant::ZERO, [0; LONGEST]);
    while let Output::Transmit { len } = from.poll_output(now, &mut Says(says), &mut out).unwrap() {
        send(line, &out[..len]);
    }
    while let Some(mut record) = receive(line) {
        let mut arrived = None;
        for event in to.handle_input(now, &mut record).unwrap() {
            if let Event::Stream(mux::Event::Data { id, data, .. }) = event.unwrap() {
                heard.extend_from_slice(data);
                arrived = Some((id, data.len()));
            }
        }
        let Some((id, len)) = arrived else { continue };
        to.streams().consumed(id, len, now); // room for as many more
        to.streams().wants(id); // perhaps there is an answer
    }
}

/// What the host hears, and what the device does.
pub(crate) fn talk(says: &[u8], answer: &[u8]) -> [Vec<u8>; 2] {
    let ((device, host), mut line, [mut at_host, mut at_device]) =
        (paired(), VecDeque::new(), [Vec::new(), Vec::new()]);
    let (hello, state) = device.hello(Suite::Classic, OWN);
    send(&mut line, &hello);
    let (reply, mut far) = host.admit(&mut receive(&mut line).unwrap(), OWN).expect("a paired device");
    send(&mut line, &reply);
    let mut near = device.connect(state, &mut receive(&mut line).unwrap());
    while (at_host.len(), at_device.len()) != (says.len(), answer.len()) {
        carry(&mut line, &mut near, says, &mut far, &mut at_host);
        carry(&mut line, &mut far, answer, &mut near, &mut at_device);
    }
    [at_host, at_device]
}

pub(crate) fn main() {
    println!("{:?}", talk(b"hello", b"hello yourself").map(|heard| heard.escape_ascii().to_string()));
}
