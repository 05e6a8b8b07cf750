//! Many streams share a channel: none waits for long, none takes it all.

use homing_core::Instant;
use homing_core::channel::{Channel, Config, token_hash};
use homing_core::handshake::Suite;
use homing_core::mux::WindowCaps;
use homing_core::wire::Params;

use super::joined::Pair;
use super::support::ends::{TOKEN, keys};
use super::{noise, seconds, small};

#[test]
fn streams_take_turns() {
    let mut pair = Pair::<64>::connected(Suite::Classic, [Params { max_streams: 32, ..Params::default() }; 2]);
    const STREAMS: usize = 10;
    for n in 0..STREAMS {
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, &noise(200_000, n as u64), true);
    }
    pair.run_until(|pair| pair.host.pipes.0.values().filter(|pipe| pipe.ended).count() == STREAMS);
    // While all have bytes, nobody waits for more than one turn of each other.
    let busy = &pair.host.turns[..pair.host.turns.len() / 2];
    assert!(busy.len() > 5 * STREAMS, "{} turns", busy.len());
    for window in busy.windows(2 * STREAMS) {
        for id in 0..STREAMS as u32 {
            assert!(window.contains(&(id * 2)), "stream {id} waits: {window:?}");
        }
    }
}

#[test]
fn a_keystroke_waits_for_two_records_at_most() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let bulk = pair.device.open(pair.now).unwrap();
    let keys = pair.device.open(pair.now).unwrap();
    pair.device.write(bulk, &noise(4 << 20, 1), true);
    for key in 0..50 {
        pair.run_until(|pair| pair.device.pipe(bulk).out.len() < (4 << 20) - (key + 1) * 60_000);
        pair.device.write(keys, &[key as u8], false);
        // Whether or not there is credit at this moment, two records at most go first.
        let (heard, under_way) = (pair.host.turns.len(), pair.wires[1].len());
        pair.run_until(|pair| pair.host.turns[heard..].contains(&keys.0));
        let place = pair.host.turns[heard..].iter().position(|id| *id == keys.0).unwrap();
        assert!(place <= under_way + 2, "{place} turns, {under_way} of them under way before");
    }
    pair.run_until(|pair| pair.host.ended(bulk));
    assert_eq!(pair.host.pipe(keys).read, (0..50).collect::<Vec<u8>>());
}

#[test]
fn one_stream_does_not_use_up_all_credit() {
    for (own, caps) in [
        (Params::default(), WindowCaps::default()),
        (Params::default(), WindowCaps { stream: 1 << 20, session: 1 << 20 }),
        (Params { session_window: 64 * 1024, ..Params::default() }, WindowCaps::default()),
    ] {
        let [device, host] = keys([Params { max_streams: 8, ..own }; 2]);
        let config = Config { caps, ..Config::default() };
        let mut pair = Pair::<16>::new(
            Channel::connect(&device, &TOKEN, &config, Instant::ZERO),
            Channel::admit(&host, token_hash(&TOKEN), &config, Instant::ZERO),
        );
        pair.width = usize::MAX; // nothing but credit holds the stream up
        let bulk = pair.device.open(pair.now).unwrap();
        let keys = pair.device.open(pair.now).unwrap();
        pair.run_until(|pair| pair.device.channel.round_trip().is_some());
        const LEN: usize = 16 << 20;
        pair.device.write(bulk, &vec![1; LEN], true);
        // The first window may be all that the peer announced.
        let first = LEN - 64 * 1024;
        pair.run_until(|pair| pair.device.pipe(bulk).out.len() < first);
        let (mut typed, mut most) = (0, 0);
        while !pair.device.pipe(bulk).out.is_empty() {
            assert!(pair.step(pair.now + seconds(1)));
            let left = pair.device.pipe(bulk).out.len();
            while let Some(record) = pair.device.poll(pair.now) {
                pair.wires[1].push_back((pair.now + pair.delay, record));
            }
            most = most.max(left - pair.device.pipe(bulk).out.len());
            pair.device.write(keys, b"k", false);
            let record = pair.device.poll(pair.now).expect("a keystroke goes out at once");
            pair.wires[1].push_back((pair.now + pair.delay, record));
            typed += 1;
        }
        pair.run_until(|pair| pair.host.ended(bulk) && pair.host.pipe(keys).read.len() == typed);
        assert!(typed > 10 && most > 128 * 1024, "{typed} keystrokes, {most} bytes at once");
    }
}

#[test]
fn a_slow_stream_does_not_stop_others() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let slow: Vec<_> = (0..4).map(|_| pair.device.open(pair.now).unwrap()).collect();
    for id in &slow {
        pair.host.ignored.push(id.0);
        pair.device.write(*id, &noise(1 << 20, 1), true);
    }
    pair.run();
    let quick = pair.device.open(pair.now).unwrap();
    pair.device.write(quick, &noise(1 << 20, 2), true);
    pair.run_until(|pair| pair.host.ended(quick));
    assert!(pair.host.pipe(quick).read == noise(1 << 20, 2));
    assert!(slow.iter().all(|id| !pair.host.pipe(*id).ended && pair.host.pipe(*id).held == 64 * 1024));
}
