//! How a session begins: pairings, tokens, and who may say what before.

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Error, Output, PHASE_TIME, code, token_hash};
use homing_core::handshake::Suite;
use homing_core::session::{Role, Session};
use homing_core::wire::{Auth, Frame, MAX_RECORD, PairAccept, PairFinish, Scope, StreamId};

use super::joined::Pair;
use super::malice::{stream, told};
use super::side::Pipes;
use super::support::ends::{Ends, TOKEN, channels, keys, sealed};
use super::{ACCEPT, seconds, small};

#[test]
fn a_device_pairs_and_then_connects() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let [device, host] = Ends::with_params(suite, true, small()).shake();
        let config = Config::default();
        let mut pair = Pair::<16>::new(
            Channel::pair(&device, 3, "phone", &config, Instant::ZERO),
            Channel::invite(&host, &config, Instant::ZERO),
        );
        assert!(pair.device.open(Instant::ZERO).is_none(), "no streams before the pairing");
        pair.run_until(|pair| pair.host.events == ["PairRequested"]);
        pair.host.channel.pend_pairing(60, pair.now).unwrap();
        pair.run_until(|pair| pair.device.events == ["PairPending"]);
        pair.now = pair.now + seconds(30); // the operator takes their time
        pair.accept();
        let again = pair.host.channel.accept_pairing(&ACCEPT, pair.now, &mut [0; MAX_RECORD]);
        assert_eq!(again, Err(Error::Misuse));
        pair.run_until(|pair| pair.device.events == ["PairPending", "Paired"]);
        assert!(!pair.host.channel.is_open());
        pair.device.channel.acknowledge_pairing(pair.now).unwrap();
        // The channel is a session at once.
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, b"hello", true);
        pair.run_until(|pair| pair.host.channel.is_open() && pair.host.opened == [id]);
        assert_eq!(pair.host.events, ["PairRequested", "PairAcknowledged"]);
        assert_eq!(pair.host.pipe(id).read, b"hello");

        let mut pair = Pair::<16>::connected(suite, small());
        assert_eq!(
            (&pair.device.events[..], &pair.host.events[..]),
            (&["Established".into()][..], &["Established".into()][..])
        );
        let id = pair.device.open(pair.now).unwrap();
        pair.device.write(id, b"hello", true);
        pair.run_until(|pair| pair.host.opened == [id]);
        assert_eq!(pair.host.pipe(id).read, b"hello");
    }
}

#[test]
fn a_decision_takes_along_what_was_said_before_it() {
    let [device, host] = Ends::with_params(Suite::Classic, true, small()).shake();
    let mut pair = Pair::<16>::new(
        Channel::pair(&device, 3, "phone", &Config::default(), Instant::ZERO),
        Channel::invite(&host, &Config::default(), Instant::ZERO),
    );
    pair.run_until(|pair| pair.host.events == ["PairRequested"]);
    for _ in 0..26 {
        pair.host.channel.pend_pairing(60, pair.now).unwrap();
    }
    assert_eq!(pair.host.channel.pend_pairing(60, pair.now), Err(Error::NoSpace));
    assert_eq!(pair.host.channel.accept_pairing(&ACCEPT, pair.now, &mut [0; 283]), Err(Error::NoSpace));
    // Even the longest name fits behind them.
    let host_name = "n".repeat(64);
    let mut record = [0; 284];
    let accept = PairAccept { host_name: &host_name, ..ACCEPT };
    let len = pair.host.channel.accept_pairing(&accept, pair.now, &mut record).unwrap();
    assert_eq!(len, 284, "padded");
    pair.device.hear(pair.now, &mut record[..len]);
    assert_eq!(pair.device.events.len(), 27);
    assert_eq!(pair.device.events[25..], ["PairPending", "Paired"]);
    assert_eq!(pair.device.error, None);
}

#[test]
fn what_is_written_before_the_answer_arrives_after_it() {
    let [device, host] = channels::<16>(small(), &Config::default());
    let mut pair = Pair::new(device, host);
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"early", true);
    pair.run_until(|pair| pair.host.opened == [id]);
    assert_eq!(pair.host.events, ["Established"], "established first");
    assert_eq!(pair.records, 1, "in the first record already");
}

#[test]
fn a_wrong_token_is_refused() {
    let [device, host] = keys(small());
    let mut pair = Pair::<16>::new(
        Channel::connect(&device, &[0x71; 40], &Config::default(), Instant::ZERO),
        Channel::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO),
    );
    let id = pair.device.open(pair.now).unwrap();
    pair.device.write(id, b"early", true);
    pair.run();
    assert_eq!(pair.host.error, Some(Error::Token));
    assert_eq!(pair.device.closed, Some(code::TOKEN_INVALID));
    assert!(pair.host.opened.is_empty() && pair.host.events.is_empty() && pair.device.events.is_empty());
}

#[test]
fn a_first_record_must_say_who_comes() {
    let own = small();
    let frames =
        [stream(0, 0, b"a"), Frame::Ping(0), Frame::PairAck, Frame::PairFinish(PairFinish { platform: 0, name: "" })];
    for frame in frames {
        let [device, host] = keys(own);
        let mut session = Session::new(Role::Device, &device, Instant::ZERO);
        let mut channel = Channel::<16>::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO);
        let mut record = sealed(&mut session, Instant::ZERO, &[frame]);
        let events: Vec<_> = channel.handle_input(Instant::ZERO, &mut record).unwrap().collect();
        assert_eq!(events, [Err(Error::Protocol)], "{frame:?}");
        assert_eq!(told(&mut session, &mut channel, Instant::ZERO), code::PROTOCOL);
    }
    let [device, host] = keys(own);
    let mut session = Session::new(Role::Device, &device, Instant::ZERO);
    let mut channel = Channel::<16>::invite(&host, &Config::default(), Instant::ZERO);
    let mut record = sealed(&mut session, Instant::ZERO, &[Frame::Auth(Auth { token: &TOKEN, resume: None })]);
    assert_eq!(channel.handle_input(Instant::ZERO, &mut record).unwrap().last(), Some(Err(Error::Protocol)));
}

#[test]
fn a_host_says_nothing_before_it_has_heard_a_record() {
    let [_, host] = keys(small());
    let config = Config::default();
    let channels: [Channel<16>; 2] = [
        Channel::admit(&host, token_hash(&TOKEN), &config, Instant::ZERO),
        Channel::invite(&host, &config, Instant::ZERO),
    ];
    for (mut channel, late) in channels.into_iter().zip([true, false]) {
        let mut out = [0; 300];
        let waiting = Output::Wait { until: Some(Instant::ZERO + PHASE_TIME) };
        assert_eq!(channel.poll_output(Instant::ZERO, &mut Pipes::default(), &mut out), Ok(waiting));
        if late {
            assert_eq!(channel.handle_timeout(Instant::ZERO + PHASE_TIME), Err(Error::Timeout));
        } else {
            channel.close(Scope::Session, code::REVOKED, "");
        }
        let silence = Output::Wait { until: None };
        assert_eq!(channel.poll_output(Instant::ZERO, &mut Pipes::default(), &mut out), Ok(silence));
        assert!(channel.is_over());
    }
}

#[test]
fn calls_that_do_not_fit_change_nothing() {
    let mut pair = Pair::<16>::connected(Suite::Classic, small());
    let now = pair.now;
    for side in [&mut pair.device, &mut pair.host] {
        assert_eq!(side.channel.accept_pairing(&ACCEPT, now, &mut [0; MAX_RECORD]), Err(Error::Misuse));
        assert_eq!(side.channel.pend_pairing(1, now), Err(Error::Misuse));
        assert_eq!(side.channel.acknowledge_pairing(now), Err(Error::Misuse));
        assert_eq!(side.channel.poll_output(now, &mut Pipes::default(), &mut [0; 283]), Err(Error::NoSpace));
        let unknown = StreamId(40);
        side.channel.streams().wants(unknown);
        side.channel.streams().consumed(unknown, 9, now);
        side.channel.streams().reset(unknown, 0);
        side.channel.streams().stop(unknown, 0);
        side.channel.streams().release(unknown, 0, now);
        assert!(side.channel.is_open());
    }
    pair.host.channel.offer_capability(&[7; 45]).unwrap();
    pair.run_until(|pair| pair.device.events.len() == 2);
    assert_eq!(pair.device.events, ["Established", "Capability"]);
    let [mut device, _] = channels::<16>(small(), &Config::default());
    assert_eq!(device.offer_capability(&[7; 45]), Err(Error::Misuse));
}
