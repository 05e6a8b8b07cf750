//! How a session ends without a fault of anyone: a revocation, silence, deadlines.

use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::{CONFIRM_TIME, Channel, Config, Error, PHASE_TIME, code};
use homing_core::handshake::Suite;
use homing_core::wire::Scope;

use super::joined::Pair;
use super::support::ends::{Ends, channels};
use super::{noise, seconds, small};

#[test]
fn a_revoked_device_hears_of_it() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, &noise(1 << 20, 1), false);
    pair.step(pair.now + seconds(1));
    pair.host.channel.close(Scope::Session, code::REVOKED, "");
    let heard = pair.host.pipes.0.values().map(|pipe| pipe.read.len()).sum::<usize>();
    pair.run();
    assert_eq!(pair.device.closed, Some(code::REVOKED));
    assert!(pair.device.channel.is_over());
    let after = pair.host.pipes.0.values().map(|pipe| pipe.read.len()).sum::<usize>();
    assert_eq!(heard, after, "nothing of the device is heard after its revocation");
    assert_eq!(pair.host.error, Some(Error::Over));
}

#[test]
fn a_quiet_channel_makes_a_round_trip_each_25_seconds() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    assert_eq!(pair.device.channel.round_trip(), Some(pair.delay * 2));
    assert_eq!(pair.host.channel.round_trip(), Some(pair.delay * 2));
    let (records, start) = (pair.records, pair.now);
    let end = start + seconds(250);
    while pair.step(end) {}
    // A ping and a pong each way per interval, some of them in one record.
    let sent = pair.records - records;
    assert!((20..=40).contains(&sent), "{sent} records in 250 s");
    assert!(pair.device.channel.is_open() && pair.host.channel.is_open());
}

#[test]
fn fifty_seconds_of_silence_are_the_end() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    pair.run();
    let heard = pair.now;
    let mut pings = 0;
    let error = loop {
        let at = pair.device.channel.poll_timeout().unwrap();
        match pair.device.channel.handle_timeout(at) {
            Ok(()) => pings += usize::from(pair.device.poll(at).is_some()),
            Err(error) => {
                assert!((seconds(45)..=seconds(50)).contains(&at.since(heard)), "{:?}", at.since(heard));
                break error;
            }
        }
        assert!(pings < 5);
    };
    assert_eq!((error, pings), (Error::Timeout, 2));
    assert!(pair.device.channel.is_over());
    assert_eq!(pair.device.poll(pair.now), None, "to a dead peer nothing is said");
}

#[test]
fn every_step_before_the_session_has_a_deadline() {
    let config = Config::default();
    let at = |time: Duration| Instant::ZERO + time;
    let expires = |channel: &mut Channel<16>, when: Duration| {
        assert_eq!(channel.poll_timeout(), Some(at(when)));
        assert_eq!(channel.handle_timeout(at(when - Duration::from_micros(1))), Ok(()));
        assert!(!channel.is_over());
        assert_eq!(channel.handle_timeout(at(when)), Err(Error::Timeout));
        assert!(channel.is_over());
        assert_eq!(channel.poll_timeout(), None);
    };
    assert_eq!(PHASE_TIME, seconds(10));
    let pairing = || {
        let [device, host] = Ends::with_params(Suite::Classic, true, small()).shake();
        let device = Channel::<16>::pair(&device, 0, "phone", &config, Instant::ZERO);
        let host = Channel::<16>::invite(&host, &config, Instant::ZERO);
        let mut pair = Pair::new(device, host);
        pair.delay = Duration::ZERO;
        pair
    };
    let [mut device, mut host] = channels::<16>(small(), &config);
    expires(&mut device, PHASE_TIME); // Greeting
    expires(&mut host, PHASE_TIME); // AwaitAuth
    expires(&mut pairing().device.channel, PHASE_TIME); // Asking
    expires(&mut pairing().host.channel, PHASE_TIME); // AwaitFinish

    let requested = || {
        let mut pair = pairing();
        pair.run_until(|pair| !pair.host.events.is_empty());
        pair
    };
    expires(&mut requested().host.channel, PHASE_TIME); // Deciding
    let mut pair = requested();
    pair.host.channel.pend_pairing(60, pair.now).unwrap();
    pair.run_until(|pair| !pair.device.events.is_empty());
    expires(&mut pair.device.channel, CONFIRM_TIME + PHASE_TIME); // Asking, while the operator decides
    expires(&mut pair.host.channel, CONFIRM_TIME);
    let mut pair = requested();
    pair.accept();
    pair.run_until(|pair| !pair.device.events.is_empty());
    expires(&mut pair.device.channel, PHASE_TIME); // Storing
    expires(&mut pair.host.channel, PHASE_TIME); // AwaitAck
}
