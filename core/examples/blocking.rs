//! A device and a host that talk over TCP with plain threads: one reads, another drives the channel.
#![allow(clippy::unwrap_used, reason = "an example that cannot go on stops")]

mod pairing;

use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::{sync::mpsc, thread};

use homing_core::channel::{Channel, Event, Output, code};
use homing_core::wire::{MAX_RECORD, Params, Scope, StreamId};
use homing_core::{Instant, handshake::Suite, mux};
use pairing::Says;

fn send(mut link: &TcpStream, record: &[u8]) {
    link.write_all(&[&(record.len() as u16).to_be_bytes(), record].concat()).unwrap();
}

fn receive(mut link: &TcpStream) -> Result<Vec<u8>> {
    let mut len = [0; 2];
    link.read_exact(&mut len)?;
    let mut record = vec![0; u16::from_be_bytes(len).into()];
    link.read_exact(&mut record).map(|()| record)
}

/// Drives a channel until it is over: what was heard on its stream, after which `then` is called.
fn drive(link: &TcpStream, mut channel: Channel<8>, says: &[u8], then: impl Fn(&mut Channel<8>, StreamId)) -> Vec<u8> {
    let (began, mut heard, mut out) = (std::time::Instant::now(), Vec::new(), [0; MAX_RECORD]);
    let clock = || Instant::ZERO + began.elapsed();
    let ((sender, records), reading) = (mpsc::channel(), link.try_clone().unwrap()); // credit bounds what waits
    thread::spawn(move || while receive(&reading).is_ok_and(|record| sender.send(record).is_ok()) {});
    loop {
        while let Output::Transmit { len } = channel.poll_output(clock(), &mut Says(says), &mut out).unwrap() {
            send(link, &out[..len]);
        }
        let Some(until) = channel.poll_timeout() else { return heard }; // the channel is over
        let (mut arrived, waited) = (None, records.recv_timeout(until.since(clock())));
        match waited {
            Err(mpsc::RecvTimeoutError::Timeout) => channel.handle_timeout(clock()).unwrap(),
            Err(mpsc::RecvTimeoutError::Disconnected) => return heard, // or resume over another link
            Ok(mut record) => channel.handle_input(clock(), &mut record).unwrap().for_each(|event| {
                if let Event::Stream(mux::Event::Data { id, data, fin }) = event.unwrap() {
                    heard.extend_from_slice(data);
                    arrived = Some((id, data.len(), fin));
                }
            }),
        }
        let Some((id, len, fin)) = arrived else { continue };
        channel.streams().consumed(id, len, clock()); // room for as many more
        if fin {
            then(&mut channel, id);
        }
    }
}

/// What the host hears, and what the device does.
pub(crate) fn talk(says: &[u8], answer: &[u8]) -> [Vec<u8>; 2] {
    let ((device, host), own) = (pairing::paired(), Params { max_streams: 4, ..Params::default() });
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let link = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let at_host = || {
        let link = listener.accept().unwrap().0;
        let (reply, channel) = host.admit(&mut receive(&link).unwrap(), own).expect("a paired device");
        send(&link, &reply);
        drive(&link, channel, answer, |channel, stream| channel.streams().wants(stream))
    };
    thread::scope(|scope| {
        let at_host = scope.spawn(at_host);
        let (hello, state) = device.hello(Suite::Hybrid, own);
        send(&link, &hello);
        let channel = device.connect(state, &mut receive(&link).unwrap());
        let heard = drive(&link, channel, says, |channel, _| channel.close(Scope::Session, code::NORMAL, ""));
        [at_host.join().unwrap(), heard]
    })
}

pub(crate) fn main() {
    println!("{:?}", talk(b"hello", b"hello yourself").map(|heard| heard.escape_ascii().to_string()));
}
