//! What one end says after a loss, and what it takes from its peer.

use super::*;

#[test]
fn a_stream_goes_on_from_what_the_peer_has() {
    let mut end = End::sent(true);
    end.0.reattach();
    assert!(end.0.has_output());
    assert_eq!(end.say(10), ["seen 0 received 0"]);
    assert!(!end.0.has_output(), "until the peer has spoken");
    end.hear_state(1, 4, &[entry(FIRST, 4, false)]).unwrap();
    assert_eq!(end.0.acknowledged(FIRST), Some(4));
    assert!(end.0.has_output());
    assert_eq!(end.say(10), ["StreamsCredit(4)", "0 4+6 true"]);
}

#[test]
fn a_stream_that_the_peer_never_saw_is_opened_anew() {
    let mut end = End::sent(true);
    end.0.reattach();
    end.hear_state(0, 0, &[]).unwrap();
    assert_eq!(end.say(10), ["seen 0 received 0", "0 0+0 false", "StreamsCredit(4)", "0 0+10 true"]);
}

#[test]
fn states_that_cannot_be_are_refused() {
    use Violation::{Acknowledgement, StreamState, Unexpected};
    let cases: [(u32, u64, &[ResumeEntry], _); 8] = [
        (1, 10, &[entry(FIRST, 10, true)], Ok(())),
        (2, 10, &[entry(FIRST, 10, true)], Err(Unexpected)), // saw a stream that was not opened
        (0, 10, &[entry(FIRST, 10, true)], Err(StreamState)), // has bytes of one that it did not see
        (1, 11, &[entry(FIRST, 11, false)], Err(Acknowledgement)), // more than was sent
        (1, 9, &[entry(FIRST, 9, true)], Err(Acknowledgement)), // the end before the last byte
        (1, 9, &[entry(FIRST, 10, true)], Err(Acknowledgement)), // the sum is another
        (1, 2, &[entry(FIRST, 2, false)], Err(Acknowledgement)), // takes back what it acknowledged
        (1, 10, &[], Err(StreamState)),                      // forgot a stream that it may still send on
    ];
    for (case, (seen, received, entries, expected)) in cases.into_iter().enumerate() {
        let mut end = End::sent(true);
        end.hear(Frame::StreamCredit { id: FIRST, received: 3, limit: 5_000 }).unwrap();
        end.0.reattach();
        assert_eq!(end.hear_state(seen, received, entries), expected, "case {case}");
    }
    assert_eq!(End::sent(true).hear_state(1, 10, &[entry(FIRST, 10, true)]), Err(Unexpected), "nothing was lost");
}

#[test]
fn nothing_else_is_heard_before_the_peers_state() {
    for frame in [
        Frame::Stream { id: PEERS, offset: 0, fin: false, data: &[] },
        Frame::SessionCredit(1 << 20),
        Frame::StreamsCredit(9),
        Frame::StreamCredit { id: FIRST, received: 10, limit: 0 },
        Frame::Reset { id: PEERS, code: 1, size: 0 },
        Frame::Stop { id: FIRST, code: 1 },
    ] {
        let mut end = End::sent(true);
        end.0.reattach();
        assert_eq!(end.hear(frame), Err(Violation::Unexpected), "{frame:?}");
    }
}

#[test]
fn a_state_that_does_not_fit_is_said_in_parts() {
    let mut end = End::new();
    for id in [1, 3, 5, 7] {
        end.hear(Frame::Stream { id: StreamId(id), offset: 0, fin: false, data: b"text" }).unwrap();
    }
    end.0.reattach();
    let mut parts = Vec::new();
    for _ in 0..10 {
        let mut out = [0; 70];
        let mut w = Writer::new(&mut out);
        end.0.poll(&mut Text(0), &mut w);
        let len = w.len();
        if let Ok(Some(Frame::ResumeState(state))) = Frame::parse(&mut Reader::new(&out[..len])) {
            assert_eq!((state.seen, state.received), (4, 16));
            parts.push((state.entries.iter().map(|entry| entry.id.0).collect::<Vec<_>>(), state.more));
        }
    }
    assert_eq!(parts, [(vec![1, 3], true), (vec![5, 7], false)]);
}

#[test]
fn an_end_without_streams_says_so() {
    let mut end = End::new();
    end.0.reattach();
    assert_eq!(end.say(0), ["seen 0 received 0"]);
    end.hear_state(0, 0, &[]).unwrap();
    assert_eq!(end.say(0), ["StreamsCredit(4)"]);
}

#[test]
fn a_state_waits_for_a_record_with_room() {
    let mut end = End::new();
    end.hear_data(0, 10, false).unwrap();
    end.0.reattach();
    let mut out = [0; 40];
    let mut w = Writer::new(&mut out);
    end.0.poll(&mut Text(0), &mut w);
    assert_eq!(w.len(), 0);
    assert_eq!(end.say(0), ["seen 1 received 10"]);
}

#[test]
fn a_state_lists_all_streams_with_what_they_have() {
    let mut end = End::new();
    for id in [1, 3, 5, 7] {
        end.hear(Frame::Stream { id: StreamId(id), offset: 0, fin: id == 3, data: b"text" }).unwrap();
        end.0.open(NOW).unwrap();
    }
    end.0.reattach();
    let mut out = [0; 1000];
    let mut w = Writer::new(&mut out);
    end.0.poll(&mut Text(0), &mut w);
    let len = w.len();
    let Ok(Some(Frame::ResumeState(state))) = Frame::parse(&mut Reader::new(&out[..len])) else { panic!("no state") };
    assert_eq!((state.seen, state.received, state.limit, state.more), (4, 16, 16 << 10, false));
    let mut entries: Vec<_> = state.entries.iter().map(|e| (e.id.0, e.received, e.limit, e.flags)).collect();
    entries.sort_unstable();
    let expected = [0, 1, 2, 3, 4, 5, 6, 7].map(|id| (id, u64::from(id & 1) * 4, 4 << 10, u8::from(id == 3)));
    assert_eq!(entries, expected);
}

#[test]
fn an_end_that_the_state_told_is_not_acknowledged_again() {
    let mut end = End::new();
    end.hear_data(0, 10, true).unwrap();
    end.0.reattach();
    assert_eq!(end.0.poll_timeout(), Some(NOW + Duration::from_millis(25)));
    end.say(0);
    assert_eq!(end.0.poll_timeout(), None);
    end.hear_state(0, 0, &[entry(PEERS, 0, false)]).unwrap();
    end.0.handle_timeout(NOW + Duration::from_secs(1));
    assert_eq!(end.say(10), ["StreamsCredit(4)", "1 0+10 true"]);
    end.0.release(PEERS, 256, NOW);
    end.hear(Frame::StreamCredit { id: PEERS, received: 10, limit: 0 }).unwrap();
    assert!(end.0.is_empty());
}

#[test]
fn a_stop_and_a_reset_that_were_lost_are_said_again() {
    let mut end = End::new();
    end.hear_data(0, 10, false).unwrap();
    end.0.stop(PEERS, 300);
    end.0.reset(PEERS, 301);
    let said = ["Stop { id: StreamId(1), code: 300 }", "Reset { id: StreamId(1), code: 301, size: 0 }"];
    assert_eq!(end.say(0), said);
    end.0.reattach();
    end.hear_state(0, 0, &[entry(PEERS, 0, false)]).unwrap();
    assert_eq!(end.say(0)[2..], said);
}
