//! The smallest device: a handshake and a channel over a UART, nothing else. Its size is of interest.
#![no_std]
#![no_main]

mod board;

use core::panic::PanicInfo;
use core::ptr;

use board::SUITE;
use cortex_m_rt::entry;
use getrandom::{SysRng, rand_core::UnwrapErr};
use homing_core::Instant;
use homing_core::channel::{Channel, Config, Event, Output};
use homing_core::crypto::{Identity, Psk, PublicKey, Secret};
use homing_core::handshake::{HELLO_MAX, Kind, start};
use homing_core::mux::{self, Source, Taken};
use homing_core::wire::{HEADER_LEN, Params, StreamId, TAG_LEN};

const OWN: Params =
    Params { features: 0, max_record: 1024, max_streams: 4, session_window: 16 << 10, stream_window: 4 << 10 };
const LONGEST: usize = if cfg!(feature = "hybrid") { HELLO_MAX } else { HEADER_LEN + 1024 + TAG_LEN };
const UART: *mut u32 = 0x4000_4000 as *mut u32;
const CLOCK: *const u32 = 0x4000_0000 as *const u32;
/// Where the keys of a pairing are kept.
const KEYS: *const [u8; 32] = 0x003f_0000 as *const [u8; 32];

#[panic_handler]
fn halt(_: &PanicInfo) -> ! {
    loop {}
}

fn put(byte: u8) {
    // SAFETY: the UART's data register.
    unsafe { ptr::write_volatile(UART, byte.into()) }
}

fn take() -> u8 {
    // SAFETY: the UART's data register.
    unsafe { ptr::read_volatile(UART) as u8 }
}

fn now() -> Instant {
    // SAFETY: a counter's register.
    Instant::from_micros(unsafe { ptr::read_volatile(CLOCK) }.into())
}

fn key(place: usize) -> [u8; 32] {
    // SAFETY: keys are kept one behind the other.
    unsafe { ptr::read_volatile(KEYS.add(place)) }
}

fn send(record: &[u8]) {
    for byte in (record.len() as u16).to_le_bytes().iter().chain(record) {
        put(*byte);
    }
}

fn receive(buf: &mut [u8]) -> &mut [u8] {
    let len = usize::from(u16::from_le_bytes([take(), take()])).min(buf.len());
    let record = &mut buf[..len];
    record.fill_with(take);
    record
}

/// Says what comes from the UART's other bytes.
struct Readings;

impl Source for Readings {
    fn read(&mut self, _: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        let len = buf.len().min(16);
        buf[..len].fill_with(take);
        Taken { len, more: true, fin: false }
    }
}

#[entry]
fn main() -> ! {
    let (mut buf, route) = ([0; LONGEST], [0; 16]);
    let (me, psk) = (Identity::from_secret(&Secret::new(key(0))), Psk::new(key(1)));
    let kind = Kind::Connect { route: &route, psk: &psk };
    let host = PublicKey::from_bytes(key(2));
    let rng = &mut UnwrapErr(SysRng);
    let Ok((len, state)) = start(SUITE, kind, &route, &me, &host, OWN, rng, &mut buf) else { loop {} };
    send(&buf[..len]);
    let Ok((keys, _)) = state.read(receive(&mut buf)) else { loop {} };
    let mut channel = Channel::<8>::connect(&keys, &[7; 40], &Config::default(), now());
    if let Some(stream) = channel.open(now()) {
        channel.streams().wants(stream);
    }
    loop {
        while let Ok(Output::Transmit { len }) = channel.poll_output(now(), &mut Readings, &mut buf) {
            send(&buf[..len]);
        }
        let mut taken = None;
        if let Ok(events) = channel.handle_input(now(), receive(&mut buf)) {
            for event in events.flatten() {
                if let Event::Stream(mux::Event::Opened { id, data, .. } | mux::Event::Data { id, data, .. }) = event {
                    data.iter().for_each(|byte| put(*byte));
                    taken = Some((id, data.len()));
                }
            }
        }
        if let Some((id, len)) = taken {
            channel.streams().consumed(id, len, now());
        }
        let _ = channel.handle_timeout(now());
    }
}
