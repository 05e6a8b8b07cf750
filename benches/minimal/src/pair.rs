//! Both ends of the core's `in_memory` example on a Cortex-M4, and how much stack they took.
#![no_std]
#![no_main]

mod board;

use core::panic::PanicInfo;
use core::ptr;

use cortex_m_rt::entry;
use cortex_m_semihosting::debug;
use getrandom::{SysRng, rand_core::UnwrapErr};
use homing_core::Instant;
use homing_core::channel::{Channel, Config, Output, token_hash};
use homing_core::crypto::{Identity, Psk};
use homing_core::handshake::{Door, HELLO_MAX, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::mux::{Source, Taken};
use homing_core::wire::{MAX_RECORD, Params, StreamId};

/// What the example prints goes to the debugger.
macro_rules! println {
    ($($arg:tt)*) => { cortex_m_semihosting::hprintln!($($arg)*) };
}

#[path = "../../../core/examples/in_memory.rs"]
#[expect(dead_code, reason = "the suite is chosen here")]
mod in_memory;

const PAINT: u32 = 0xa5a5_a5a5;
/// Below the stack that is in use when it is painted, which the painting itself needs.
const MARGIN: usize = 256;
/// How much is painted, in bytes.
const DEPTH: usize = 512 << 10;

#[panic_handler]
fn fail(info: &PanicInfo) -> ! {
    println!("{}", info);
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}

/// Paints the stack below its own frame and tells where that begins.
#[inline(never)]
fn paint() -> usize {
    let mark = 0_u32;
    let here = ptr::from_ref(&mark).addr() & !7;
    for word in (here - DEPTH..here - MARGIN).step_by(4) {
        // SAFETY: memory of this stack that nothing uses yet.
        unsafe { ptr::write_volatile(word as *mut u32, PAINT) }
    }
    here
}

#[inline(never)]
fn run<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Runs `work` and tells how many bytes of stack it took.
#[inline(never)]
fn stack_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let here = paint();
    let result = run(work);
    // SAFETY: as above.
    let touched =
        (here - DEPTH..here).step_by(4).find(|word| unsafe { ptr::read_volatile(*word as *const u32) } != PAINT);
    (result, touched.map_or(0, |word| here - word))
}

/// An application with nothing more to say than a record holds.
struct Full;

impl Source for Full {
    fn read(&mut self, _: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        Taken { len: buf.len(), more: true, fin: false }
    }
}

/// What each step takes beside the buffers, which are the caller's.
#[inline(never)]
fn measure(suite: Suite) {
    let (route, own, now) = ([0; 16], Params { max_streams: 4, ..Params::default() }, Instant::ZERO);
    let (mut hello, mut reply, mut record) = ([0; HELLO_MAX], [0; REPLY_MAX], [0; MAX_RECORD]);
    let rng = &mut UnwrapErr(SysRng);
    let (device, host, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
    let kind = Kind::Connect { route: &route, psk: &psk };
    let (started, start) = stack_of(|| start(suite, kind, &route, &device, host.public(), own, rng, &mut hello));
    let Ok((len, state)) = started else { panic!("start") };
    let mac1_key = host_mac1_key(host.public());
    let door = Door { identity: &host, mac1_key: &mac1_key, route: &route, weakest: suite };
    let (heard, hear) = stack_of(|| hear(door, [], &route, &mut hello[..len]));
    let Ok(Knock::Connect(knock)) = heard else { panic!("hear") };
    let (replied, answer) = stack_of(|| knock.reply(&psk, own, rng, &mut reply));
    let Ok((len, host_keys, _)) = replied else { panic!("reply") };
    let (read, finish) = stack_of(|| state.read(&mut reply[..len]));
    let Ok((device_keys, _)) = read else { panic!("read") };
    println!("{:?}: start {}, hear {}, reply {}, read {} bytes of stack", suite, start, hear, answer, finish);

    let config = Config::default();
    let (mut near, connect) = stack_of(|| Channel::<8>::connect(&device_keys, &[7; 40], &config, now));
    let mut far = Channel::<8>::admit(&host_keys, token_hash(&[7; 40]), &config, now);
    let Some(stream) = near.open(now) else { panic!("open") };
    near.streams().wants(stream);
    let (mut poll, mut handle) = (0, 0);
    for _ in 0..4 {
        let (output, depth) = stack_of(|| near.poll_output(now, &mut Full, &mut record));
        poll = poll.max(depth);
        let Ok(Output::Transmit { len }) = output else { break };
        let (events, depth) =
            stack_of(|| far.handle_input(now, &mut record[..len]).is_ok_and(|mut e| e.all(|e| e.is_ok())));
        handle = handle.max(depth);
        assert!(events, "handle_input");
    }
    println!("channel: connect {}, poll_output {}, handle_input {} bytes of stack", connect, poll, handle);
}

#[entry]
fn main() -> ! {
    measure(board::SUITE);
    let ((), example) = stack_of(|| {
        in_memory::talk(in_memory::shake(board::SUITE), |who, text| println!("{} hears: {}", who, text.escape_ascii()))
    });
    println!("in_memory: {} bytes of stack, both ends and their buffers", example);
    debug::exit(debug::EXIT_SUCCESS);
    loop {}
}
