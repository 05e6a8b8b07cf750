//! A peer with keys that breaks the rules, and what it is told.

use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Error, Event, Output, code, token_hash};
use homing_core::handshake::Suite;
use homing_core::mux::Violation;
use homing_core::session::{Discard, Role, Session};
use homing_core::wire::{
    Auth, Close, Frame, HEADER_LEN, MAX_RECORD, PairFinish, Params, Reader, Scope, StreamId, TAG_LEN,
};

use super::joined::Pair;
use super::seconds;
use super::side::Pipes;
use super::support::ends::{TOKEN, keys, sealed};

/// A device that seals whatever it likes, and the channel of its host, admitted.
fn malicious(own: Params) -> (Session, Channel<16>) {
    let [device, host] = keys([Params::default(), own]);
    let mut session = Session::new(Role::Device, &device, Instant::ZERO);
    let mut channel = Channel::admit(&host, token_hash(&TOKEN), &Config::default(), Instant::ZERO);
    let mut record = sealed(&mut session, Instant::ZERO, &[Frame::Auth(Auth { token: &TOKEN, resume: None })]);
    let events: Vec<_> = channel.handle_input(Instant::ZERO, &mut record).unwrap().collect();
    assert_eq!(events, [Ok(Event::Established)]);
    let mut out = [0; 300];
    let Ok(Output::Transmit { len }) = channel.poll_output(Instant::ZERO, &mut Pipes::default(), &mut out) else {
        panic!("an answer")
    };
    session.open(Instant::ZERO, &mut out[..len]).unwrap();
    (session, channel)
}

/// The peer sends these, a record each, until the channel is over: how it ended, and what the
/// peer is told.
fn provoke(own: Params, frames: &[Frame<'_>]) -> (Error, u16) {
    let (mut session, mut channel) = malicious(own);
    let now = Instant::ZERO;
    let mut error = None;
    for frame in frames {
        assert_eq!(error, None, "it was over before the last frame");
        let mut record = sealed(&mut session, now, &[*frame]);
        error = channel.handle_input(now, &mut record).unwrap().find_map(Result::err);
    }
    let error = error.expect("the last frame is one too many");
    assert!(channel.is_over());
    (error, told(&mut session, &mut channel, now))
}

/// The code of the CLOSE that a channel sends; nothing follows it.
pub(crate) fn told(session: &mut Session, channel: &mut Channel<16>, now: Instant) -> u16 {
    let mut out = [0; 300];
    let Ok(Output::Transmit { len }) = channel.poll_output(now, &mut Pipes::default(), &mut out) else {
        panic!("a close")
    };
    let text = session.open(now, &mut out[..len]).unwrap();
    let mut r = Reader::new(text);
    let Ok(Some(Frame::Close(Close { scope: Scope::Session, code, text: "" }))) = Frame::parse(&mut r) else {
        panic!("a close")
    };
    assert_eq!(Frame::parse(&mut r), Ok(None));
    assert_eq!(channel.poll_output(now, &mut Pipes::default(), &mut out), Ok(Output::Wait { until: None }));
    code
}

pub(crate) fn stream(id: u32, offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Stream { id: StreamId(id), offset, fin: false, data }
}

#[test]
fn a_peer_that_breaks_the_rules_is_told_which() {
    let own = Params { max_streams: 2, ..Params::default() };
    let blame = |frames: &[Frame<'_>]| provoke(own, frames);
    let violation = |violation, code| (Error::Violation(violation), code);
    let kib16 = [0; 16_000];

    // More than a stream's window, more than the session's.
    let chunks: Vec<_> = (0..5).map(|n| stream(0, n * 16_000, &kib16)).collect();
    assert_eq!(blame(&chunks), violation(Violation::FlowControl, code::FLOW_CONTROL));
    let tight = Params { session_window: 64 << 10, ..own };
    let spread: Vec<_> = (0..5).map(|n| stream(n as u32 % 2 * 2, n / 2 * 16_000, &kib16)).collect();
    assert_eq!(provoke(tight, &spread), violation(Violation::FlowControl, code::FLOW_CONTROL));
    let reset = Frame::Reset { id: StreamId(0), code: 0, size: (64 << 10) + 1 };
    assert_eq!(blame(&[stream(0, 0, b"a"), reset]), violation(Violation::FlowControl, code::FLOW_CONTROL));

    // More streams than announced.
    let many = [0, 2, 4].map(|id| stream(id, 0, b"a"));
    assert_eq!(blame(&many), violation(Violation::StreamLimit, code::LIMIT));

    // Bytes out of place.
    for offset in [0, 2, u64::MAX] {
        let frames = [stream(0, 0, b"a"), stream(0, offset, b"b")];
        assert_eq!(blame(&frames), violation(Violation::Offset, code::PROTOCOL));
    }
    let end = Frame::Stream { id: StreamId(0), offset: 0, fin: true, data: b"a" };
    assert_eq!(blame(&[end, stream(0, 1, b"b")]), violation(Violation::StreamState, code::PROTOCOL));
    // Streams that are not next, or the host's to open.
    for id in [2, 1, 0xffff_fffe, u32::MAX] {
        assert_eq!(blame(&[stream(id, 0, b"a")]), violation(Violation::StreamState, code::PROTOCOL));
        let stop = Frame::Stop { id: StreamId(id), code: 0 };
        assert_eq!(blame(&[stop]), violation(Violation::StreamState, code::PROTOCOL));
        let credit = Frame::StreamCredit { id: StreamId(id), received: 0, limit: 1 };
        assert_eq!(blame(&[credit]), violation(Violation::StreamState, code::PROTOCOL));
    }
    let less = Frame::Reset { id: StreamId(0), code: 0, size: 1 };
    assert_eq!(blame(&[stream(0, 0, b"ab"), less]), violation(Violation::FinalSize, code::PROTOCOL));

    // Frames that have no place in an open session.
    let auth = Frame::Auth(Auth { token: &TOKEN, resume: None });
    let finish = Frame::PairFinish(PairFinish { platform: 0, name: "" });
    for frame in [auth, finish, Frame::PairAck, Frame::Token(&TOKEN), Frame::Datagram(b""), Frame::Rotate(b"")] {
        assert_eq!(blame(&[frame]), violation(Violation::Unexpected, code::PROTOCOL));
    }
    assert_eq!(blame(&[Frame::Cap(&[0; 45])]), violation(Violation::Unexpected, code::PROTOCOL));
}

#[test]
fn a_stream_that_was_not_announced_is_not_there() {
    let (mut session, mut channel) = malicious(Params { max_streams: 2, ..Params::default() });
    let id = channel.open(Instant::ZERO).unwrap();
    let mut record = sealed(&mut session, Instant::ZERO, &[stream(id.0, 0, b"early")]);
    let error = channel.handle_input(Instant::ZERO, &mut record).unwrap().find_map(Result::err);
    assert_eq!(error, Some(Error::Violation(Violation::StreamState)));
}

#[test]
fn floods_end_the_session() {
    let own = Params { max_streams: 2, ..Params::default() };
    let open = stream(0, 0, b"a");
    let floods = [
        Frame::Ping(1),
        Frame::Stop { id: StreamId(0), code: 0 },
        Frame::Reset { id: StreamId(0), code: 0, size: 1 },
        Frame::StreamCredit { id: StreamId(0), received: 0, limit: 1 },
        Frame::SessionCredit(0),
        Frame::StreamsCredit(0),
        stream(0, 1, b""),
    ];
    for frame in floods {
        let (mut session, mut channel) = malicious(own);
        let mut sent = 0;
        let error = loop {
            let mut record = sealed(&mut session, Instant::ZERO, &[if sent == 0 { open } else { frame }]);
            if let Some(error) = channel.handle_input(Instant::ZERO, &mut record).unwrap().find_map(Result::err) {
                break error;
            }
            sent += 1;
            assert!(sent < 8_000, "{frame:?} without end");
        };
        assert_eq!(error, Error::Violation(Violation::Flood), "{frame:?}");
        assert_eq!(told(&mut session, &mut channel, Instant::ZERO), code::LIMIT);
    }
    // At the pace of real use nothing happens.
    let (mut session, mut channel) = malicious(own);
    let mut now = Instant::ZERO;
    for _ in 0..12_000 {
        now = now + Duration::from_millis(1);
        let mut record = sealed(&mut session, now, &[Frame::SessionCredit(0)]);
        assert_eq!(channel.handle_input(now, &mut record).unwrap().find_map(Result::err), None);
    }
}

#[test]
fn to_cancel_two_hundred_requests_each_second_is_no_flood() {
    let mut pair = Pair::<512>::connected(Suite::Classic, [Params::default(); 2]);
    for _ in 0..20 {
        let end = pair.now + seconds(1);
        let streams: Vec<_> = (0..200).map(|_| pair.device.open(pair.now).unwrap()).collect();
        for id in &streams {
            pair.device.write(*id, &[7; 300], false);
        }
        pair.run_until(|pair| streams.iter().all(|id| pair.host.opened.contains(id)));
        for id in &streams {
            pair.device.channel.streams().release(*id, 0, pair.now);
            pair.host.channel.streams().release(*id, 0, pair.now);
        }
        while pair.step(end) {}
        pair.now = end;
        assert!(pair.device.channel.streams().is_empty() && pair.host.channel.streams().is_empty());
    }
    assert_eq!((pair.device.error, pair.host.error), (None, None));
}

#[test]
fn what_is_no_frame_ends_the_session() {
    for bytes in [&[0x99][..], &[0, 1], &[0x20, 0, 0], &[0x03, 9, 0, 0, 0]] {
        let (mut session, mut channel) = malicious(Params { max_streams: 2, ..Params::default() });
        let mut buf = [&[0; HEADER_LEN], bytes, &[0; TAG_LEN]].concat();
        session.seal(Instant::ZERO, &mut buf, bytes.len()).unwrap();
        let events: Vec<_> = channel.handle_input(Instant::ZERO, &mut buf).unwrap().collect();
        assert_eq!(events, [Err(Error::Protocol)]);
        assert_eq!(told(&mut session, &mut channel, Instant::ZERO), code::PROTOCOL);
    }
}

#[test]
fn a_record_longer_than_announced_is_refused() {
    let (mut session, mut channel) = malicious(Params { max_record: 1024, max_streams: 2, ..Params::default() });
    let mut buf = vec![0; MAX_RECORD];
    let len = session.seal(Instant::ZERO, &mut buf, 1024).unwrap();
    assert!(channel.handle_input(Instant::ZERO, &mut buf[..len]).is_ok());
    let len = session.seal(Instant::ZERO, &mut buf, 1025).unwrap();
    let error = channel.handle_input(Instant::ZERO, &mut buf[..len]).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Discard(Discard::Malformed));
}
