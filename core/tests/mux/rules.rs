//! What one end says of its streams, and the rules that it holds its peer to.

use super::*;

#[test]
fn a_stop_and_a_reset_are_said_once() {
    let mut end = End::new();
    end.hear_data(0, 10, false).unwrap();
    end.0.stop(PEERS, 300);
    end.0.stop(PEERS, 301);
    end.0.reset(PEERS, 302);
    end.0.reset(PEERS, 303);
    assert!(end.0.has_output());
    assert_eq!(end.say(0), ["Stop { id: StreamId(1), code: 300 }", "Reset { id: StreamId(1), code: 302, size: 0 }"]);
    assert!(!end.0.has_output());
    assert_eq!(end.say(0), [""; 0]);
}

#[test]
fn a_stream_that_has_ended_is_not_stopped() {
    let mut end = End::new();
    end.hear_data(0, 10, true).unwrap();
    end.0.stop(PEERS, 300);
    assert!(!end.0.has_output());
    end.0.handle_timeout(NOW + Duration::from_millis(24));
    assert!(!end.0.has_output(), "an acknowledgement waits for company");
    end.0.handle_timeout(NOW + Duration::from_millis(25));
    assert_eq!(end.say(0), ["StreamCredit { id: StreamId(1), received: 10, limit: 0 }"]);
}

#[test]
fn a_table_is_empty_until_a_stream_is_opened() {
    let mut end = End::new();
    assert!(end.0.is_empty());
    assert_eq!(end.0.len(), 0);
    end.0.open(NOW).unwrap();
    assert!(!end.0.is_empty() && end.0.len() == 1);
    end.0.open(NOW).unwrap();
    assert_eq!(end.0.len(), 2);
}

#[test]
fn windows_grow_where_they_are_drained_within_two_round_trips() {
    let grown = |round_trip| {
        let mut end = End::new();
        end.0.measured(Duration::from_millis(round_trip));
        end.hear_data(0, 4 << 10, false).unwrap();
        end.0.consumed(PEERS, 4 << 10, NOW + Duration::from_millis(100));
        end.say(0)
    };
    let credit = |limit: u32| format!("StreamCredit {{ id: StreamId(1), received: 4096, limit: {limit} }}");
    assert!(grown(50).contains(&credit(8 << 10)));
    assert!(grown(51).contains(&credit(12 << 10)));
}

#[test]
fn what_was_not_sent_is_not_acknowledged() {
    let ack = |received, limit| Frame::StreamCredit { id: FIRST, received, limit };
    for (finished, frame, accepted) in [
        (true, ack(10, 5_000), true),
        (true, ack(11, 5_000), false),
        (true, ack(10, 0), true),
        (true, ack(9, 0), false),
        (false, ack(4096, 5_000), true),
        (false, ack(4096, 0), false),
    ] {
        let expected = if accepted { Ok(()) } else { Err(Violation::Acknowledgement) };
        assert_eq!(End::sent(finished).hear(frame), expected, "{frame:?}");
    }
}

#[test]
fn acknowledged_bytes_are_told() {
    let mut end = End::sent(true);
    assert_eq!(end.0.acknowledged(FIRST), Some(0));
    let heard = end.0.handle(NOW, Frame::StreamCredit { id: FIRST, received: 7, limit: 5_000 });
    assert_eq!(heard, Ok(Some(Event::Acknowledged { id: FIRST, received: 7, end: false })));
    assert_eq!(end.0.acknowledged(FIRST), Some(7));
    let heard = end.0.handle(NOW, Frame::StreamCredit { id: FIRST, received: 10, limit: 0 });
    assert_eq!(heard, Ok(Some(Event::Acknowledged { id: FIRST, received: 10, end: true })));
    assert_eq!(end.0.acknowledged(FIRST), None);
    // Said again it is no news.
    assert_eq!(end.0.handle(NOW, Frame::StreamCredit { id: FIRST, received: 10, limit: 0 }), Ok(None));
}

#[test]
fn more_streams_are_opened_when_the_peer_allows() {
    let mut end = End::new();
    let ids: Vec<_> = core::iter::from_fn(|| end.0.open(NOW)).map(|id| id.0).collect();
    assert_eq!(ids, [0, 2, 4, 6]);
    end.say(0);
    for id in [0, 2] {
        end.hear(Frame::Stream { id: StreamId(id), offset: 0, fin: true, data: &[] }).unwrap();
        end.0.wants(StreamId(id));
        end.0.release(StreamId(id), 256, NOW);
        end.say(0);
        end.hear(Frame::StreamCredit { id: StreamId(id), received: 0, limit: 0 }).unwrap();
    }
    end.0.handle_timeout(NOW + Duration::from_secs(1));
    end.say(0);
    assert_eq!(end.0.len(), 2);
    assert_eq!(end.0.open(NOW), None, "there is room, and no right");
    assert_eq!(end.0.handle(NOW, Frame::StreamsCredit(4)), Ok(None));
    assert_eq!(end.0.open(NOW), None);
    assert_eq!(end.0.handle(NOW, Frame::StreamsCredit(5)), Ok(Some(Event::MayOpen)));
    assert_eq!(end.0.open(NOW), Some(StreamId(8)));
    assert_eq!(end.0.open(NOW), None);
}

#[test]
fn the_peer_keeps_to_its_limits() {
    use Violation::{FlowControl, Offset, StreamLimit, StreamState};
    let open = |id, len| (StreamId(id), 0, len, false);
    type Said<'a> = &'a [(StreamId, u64, usize, bool)];
    let cases: [(Said<'_>, _); 12] = [
        (&[open(1, 4096)], Ok(())),
        (&[open(1, 4097)], Err(FlowControl)),
        (&[open(1, 4000), (PEERS, 4000, 96, true)], Ok(())),
        (&[open(1, 4000), (PEERS, 4000, 97, false)], Err(FlowControl)),
        (&[open(1, 10), (PEERS, 9, 10, false)], Err(Offset)),
        (&[open(1, 10), (PEERS, 11, 10, false)], Err(Offset)),
        (&[(PEERS, 0, 10, true), (PEERS, 10, 1, false)], Err(StreamState)),
        (&[open(3, 10)], Err(StreamState)),
        (&[open(0, 10)], Err(StreamState)),
        (&[open(1, 4096), open(3, 4096), open(5, 4096), open(7, 4096)], Ok(())),
        (&[open(1, 0), open(3, 0), open(5, 0), open(7, 0), open(9, 0)], Err(StreamLimit)),
        (&[open(1, 4096), open(3, 4096), open(5, 4096), open(7, 4095), (PEERS, 4096, 1, false)], Err(FlowControl)),
    ];
    for (said, expected) in cases {
        let mut end = End::new();
        let heard = said
            .iter()
            .try_for_each(|&(id, offset, len, fin)| end.hear(Frame::Stream { id, offset, fin, data: &vec![0; len] }));
        assert_eq!(heard, expected, "{said:?}");
    }
}

#[test]
fn credit_for_all_streams_together_counts_too() {
    let own = Params { session_window: 16 << 10, stream_window: 16 << 10, ..OWN };
    let mut mux = Mux::<8>::new(Role::Device, own, own, WindowCaps { stream: 16 << 10, session: 16 << 10 }, NOW);
    let mut hear = |id, len| {
        mux.handle(NOW, Frame::Stream { id: StreamId(id), offset: 0, fin: false, data: &vec![0; len] }).map(drop)
    };
    assert_eq!(hear(1, 10_000), Ok(()));
    assert_eq!(hear(3, 6384), Ok(()));
    assert_eq!(hear(5, 1), Err(Violation::FlowControl));
}

#[test]
fn a_session_limit_lets_more_be_sent() {
    let peer = Params { session_window: 16 << 10, stream_window: 16 << 10, ..OWN };
    let mut end = End(Mux::new(Role::Device, OWN, peer, CAPS, NOW));
    let ids = [0, 1].map(|_| end.0.open(NOW).unwrap());
    for id in ids {
        end.0.wants(id);
    }
    let sent = |said: Vec<String>| -> usize {
        said.iter().filter_map(|frame| frame.split(['+', ' ']).nth(2)?.parse::<usize>().ok()).sum()
    };
    assert_eq!(sent(end.say(50_000)), 16 << 10);
    for (limit, more) in [(16 << 10, 0), (20_000, 20_000 - (16 << 10)), (19_000, 0)] {
        end.hear(Frame::SessionCredit(limit)).unwrap();
        for id in ids {
            end.hear(Frame::StreamCredit { id, received: 0, limit: 40_000 }).unwrap();
            end.0.wants(id);
        }
        assert_eq!(sent(end.say(50_000)), more, "{limit}");
    }
}

#[test]
fn a_reset_says_how_much_was_sent() {
    let reset = |size| Frame::Reset { id: PEERS, code: 300, size };
    for (size, expected) in [
        (10, Ok(Some(Event::Reset { id: PEERS, code: 300 }))),
        (4096, Ok(Some(Event::Reset { id: PEERS, code: 300 }))),
        (9, Err(Violation::FinalSize)),
        (4097, Err(Violation::FlowControl)),
    ] {
        let mut end = End::new();
        end.hear_data(0, 10, false).unwrap();
        assert_eq!(end.0.handle(NOW, reset(size)), expected, "{size}");
        if expected.is_ok() {
            assert_eq!(end.0.handle(NOW, reset(size)), Ok(None), "once");
            assert_eq!(end.hear_data(10, 1, false), Err(Violation::StreamState));
            end.0.handle_timeout(NOW + Duration::from_secs(1));
            let ack = format!("StreamCredit {{ id: StreamId(1), received: {size}, limit: 0 }}");
            assert_eq!(end.say(0).last(), Some(&ack));
        }
    }
    // Of one that the application let go of, or never heard of, it does not hear.
    let mut end = End::new();
    end.hear_data(0, 10, false).unwrap();
    end.0.release(PEERS, 256, NOW);
    assert_eq!(end.0.handle(NOW, reset(10)), Ok(None));
    let mut end = End::new();
    assert_eq!(end.0.handle(NOW, reset(10)), Ok(None));
    assert_eq!(
        end.say(0),
        ["Reset { id: StreamId(1), code: 300, size: 0 }", "StreamCredit { id: StreamId(1), received: 10, limit: 0 }"]
    );
    let later = Frame::Reset { id: StreamId(5), code: 300, size: 0 };
    assert_eq!(end.hear(later), Err(Violation::StreamState), "streams are opened in turn");
}

#[test]
fn a_stop_ends_what_is_sent() {
    let stop = Frame::Stop { id: FIRST, code: 300 };
    let mut end = End::sent(false);
    assert_eq!(end.0.handle(NOW, stop), Ok(Some(Event::Stopped { id: FIRST, code: 300 })));
    assert_eq!(end.0.handle(NOW, stop), Ok(None), "once");
    end.0.wants(FIRST);
    assert_eq!(end.say(10_000), ["Reset { id: StreamId(0), code: 300, size: 4096 }"]);
    assert_eq!(End::sent(true).0.handle(NOW, stop), Ok(None), "all was sent");
    assert_eq!(End::new().hear(stop), Err(Violation::StreamState), "never opened");
    let mut end = End::new();
    end.0.open(NOW).unwrap();
    assert_eq!(end.hear(stop), Err(Violation::StreamState), "opened and not told yet");
}

#[test]
fn frames_that_move_nothing_are_counted() {
    let empty = Frame::Stream { id: PEERS, offset: 0, fin: false, data: &[] };
    for frame in [
        empty,
        Frame::SessionCredit(1),
        Frame::SessionCredit(16 << 10),
        Frame::StreamsCredit(1),
        Frame::StreamCredit { id: PEERS, received: 0, limit: 1 },
    ] {
        let mut end = End::new();
        end.hear(empty).unwrap(); // opens it, which counts nothing
        let count = (0..9999).take_while(|_| end.hear(frame).is_ok()).count();
        assert_eq!(count, 4096, "{frame:?}");
        assert_eq!(end.hear(frame), Err(Violation::Flood));
        // A thousand in a second are given back, and never more than there were.
        let mut hear = |millis, frame| end.0.handle(NOW + Duration::from_millis(millis), frame).is_ok();
        assert_eq!((0..9999).take_while(|_| hear(500, frame)).count(), 512);
        assert_eq!((0..9999).take_while(|_| hear(100_000, frame)).count(), 4096);
    }
    let mut end = End::new();
    for offset in 0..4096 {
        end.hear_data(offset, 1, false).unwrap();
    }
    let last = (0..4096).take_while(|_| end.hear(Frame::SessionCredit(1)).is_ok()).count();
    assert_eq!(last, 4096, "data costs nothing");
}

#[test]
fn credit_for_all_is_given_back_in_quarters_and_once() {
    let mut end = End::new();
    end.hear_data(0, 4095, false).unwrap();
    assert!(end.say(0).iter().all(|said| !said.starts_with("SessionCredit")));
    end.hear_data(4095, 1, false).unwrap();
    assert!(end.say(0).contains(&"SessionCredit(20480)".to_owned()));
    assert_eq!(end.say(0), [""; 0]);
}

#[test]
fn half_a_window_that_nobody_has_read_is_acknowledged() {
    let mut end = End::new();
    end.hear_data(0, 2047, false).unwrap();
    assert_eq!(end.say(0), [""; 0]);
    end.hear_data(2047, 1, false).unwrap();
    assert_eq!(end.say(0), ["StreamCredit { id: StreamId(1), received: 2048, limit: 4096 }"]);
    assert_eq!(end.say(0), [""; 0]);
}

#[test]
fn a_host_hears_streams_of_its_device() {
    let mut host = Mux::<8>::new(Role::Host, OWN, OWN, CAPS, NOW);
    let hello = Frame::Stream { id: FIRST, offset: 0, fin: false, data: b"text" };
    assert_eq!(host.handle(NOW, hello), Ok(Some(Event::Opened { id: FIRST, data: b"text", fin: false })));
    assert_eq!(host.open(NOW), Some(PEERS));
}

#[test]
fn the_pace_counts_fractions_of_its_time() {
    let mut end = End::new();
    while end.hear(Frame::SessionCredit(1)).is_ok() {}
    let mut at = |micros| end.0.handle(NOW + Duration::from_micros(micros), Frame::SessionCredit(1)).is_ok();
    assert_eq!([at(500), at(1000), at(1500), at(2000)], [false, true, false, true]);
}
