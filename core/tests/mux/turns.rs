//! What there is to say, and whose turn it is.

use super::*;

/// So many bytes at a time; what else it tells of them is the test's.
struct Pieces {
    len: usize,
    more: bool,
    fin: bool,
}

impl Source for Pieces {
    fn read(&mut self, _: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        Taken { len: self.len.min(buf.len()), more: self.more, fin: self.fin }
    }
}

impl End {
    fn with_streams(max_streams: u16) -> Self {
        Self(Mux::new(Role::Device, Params { max_streams, ..OWN }, OWN, CAPS, NOW))
    }

    /// What it says in one record of this length.
    fn say_in(&mut self, room: usize, source: &mut impl Source) -> Vec<String> {
        let mut out = vec![0; room];
        let mut w = Writer::new(&mut out);
        self.0.poll(source, &mut w);
        let len = w.len();
        let mut r = Reader::new(&out[..len]);
        core::iter::from_fn(|| Frame::parse(&mut r).unwrap())
            .map(|frame| match frame {
                Frame::Stream { id, offset, fin, data } => format!("{} {offset}+{} {fin}", id.0, data.len()),
                frame => format!("{frame:?}"),
            })
            .collect()
    }

    fn hear_end(&mut self, id: u32) {
        self.hear(Frame::Stream { id: StreamId(id), offset: 0, fin: true, data: &[] }).unwrap();
    }

    /// The peer has all of a stream.
    fn hear_received(&mut self, id: u32, received: u64) {
        self.hear(Frame::StreamCredit { id: StreamId(id), received, limit: 0 }).unwrap();
    }

    fn wait(&mut self) {
        self.0.handle_timeout(NOW + Duration::from_secs(1));
    }
}

fn ack(id: u32, received: u64) -> String {
    format!("StreamCredit {{ id: StreamId({id}), received: {received}, limit: 0 }}")
}

#[test]
fn each_thing_to_say_is_told_of_on_its_own() {
    let mut end = End::new();
    assert!(!end.0.has_output());
    end.0.open(NOW).unwrap();
    assert!(end.0.has_output(), "a new stream");
    assert_eq!(end.say(0), ["0 0+0 false"]);
    assert!(!end.0.has_output());
    end.0.wants(FIRST);
    assert!(end.0.has_output(), "a stream's turn");

    let mut end = End::new();
    end.hear_data(0, 10, true).unwrap();
    assert!(!end.0.has_output());
    assert_eq!(end.say(0), [""; 0], "an acknowledgement waits for company");
    end.wait();
    assert!(end.0.has_output(), "an acknowledgement that has waited");

    let mut end = End::new();
    for id in [1, 3, 5, 7] {
        assert!(!end.0.has_output());
        end.hear(Frame::Stream { id: StreamId(id), offset: 0, fin: false, data: &[0; 1100] }).unwrap();
    }
    assert!(end.0.has_output(), "credit for all streams");
    assert_eq!(end.say(0), ["SessionCredit(20784)"]);

    let mut end = End::new();
    end.0.reattach();
    assert!(end.0.has_output(), "the state");
    assert_eq!(end.say(0), ["seen 0 received 0"]);
    assert!(!end.0.has_output());
    end.hear_state(0, 0, &[]).unwrap();
    assert!(end.0.has_output(), "how many streams the peer may open, once more");
    assert_eq!(end.say(0), ["StreamsCredit(4)"]);

    // A stop that is not owed any more.
    let mut end = End::new();
    end.hear_data(0, 10, false).unwrap();
    end.0.stop(PEERS, 300);
    end.hear_data(10, 0, true).unwrap();
    assert!(!end.0.has_output());
}

#[test]
fn nothing_is_said_before_the_peers_state() {
    let mut end = End::sent(false);
    end.0.reattach();
    end.0.reset(FIRST, 300);
    assert_eq!(end.say(10_000), ["seen 0 received 0"]);
    assert!(!end.0.has_output());
    assert_eq!(end.say(10_000), [""; 0]);
    end.hear_state(1, 10, &[entry(FIRST, 10, false)]).unwrap();
    assert!(end.say(10_000).contains(&"Reset { id: StreamId(0), code: 300, size: 10 }".to_owned()));
}

#[test]
fn a_record_that_is_full_leaves_the_rest_to_the_next() {
    let mut end = End::new();
    for id in [1, 3, 5] {
        end.hear(Frame::Stream { id: StreamId(id), offset: 0, fin: false, data: b"text" }).unwrap();
        end.0.reset(StreamId(id), 300);
    }
    let mut said = Vec::new();
    while end.0.has_output() {
        let some = end.say_in(20, &mut Text(0));
        assert_eq!(some.len(), 1);
        said.extend(some);
    }
    assert_eq!(said, [1, 3, 5].map(|id| format!("Reset {{ id: StreamId({id}), code: 300, size: 0 }}")));

    for id in [1, 3, 5] {
        end.hear(Frame::Stream { id: StreamId(id), offset: 4, fin: true, data: b"" }).unwrap();
    }
    end.wait();
    let mut said = Vec::new();
    while end.0.has_output() {
        said.extend(end.say_in(30, &mut Text(0)));
    }
    assert_eq!(said, [1, 3, 5].map(|id| ack(id, 4)));
}

#[test]
fn streams_that_are_over_leave_with_the_last_acknowledgement() {
    let mut end = End::new();
    for id in [0, 2, 4] {
        end.0.open(NOW).unwrap();
        end.0.wants(StreamId(id));
    }
    assert_eq!(end.say(10)[3..], ["0 0+10 true", "2 0+10 true", "4 0+10 true"]);
    for id in [0, 2, 4] {
        end.hear_received(id, 10);
        end.hear_end(id);
        end.0.release(StreamId(id), 256, NOW);
    }
    assert_eq!(end.0.len(), 3);
    end.wait();
    let mut said = end.say(0);
    said.sort();
    assert_eq!(said, [0, 2, 4].map(|id| ack(id, 0)));
    assert_eq!(end.0.len(), 0);
}

#[test]
fn a_stream_stays_until_its_peer_has_its_end() {
    let mut end = End::new();
    end.hear_end(1);
    end.wait();
    assert_eq!(end.say(0), [ack(1, 0)]);
    end.0.release(PEERS, 256, NOW);
    assert_eq!(end.0.len(), 1);
    assert_eq!(end.say(0), ["Reset { id: StreamId(1), code: 256, size: 0 }"]);
    assert_eq!(end.0.len(), 1);
    end.hear_received(1, 0);
    assert_eq!(end.0.len(), 0);
}

#[test]
fn a_source_is_asked_until_it_has_no_more() {
    let mut end = End::new();
    end.0.open(NOW).unwrap();
    end.0.wants(FIRST);
    let said = end.say_in(2000, &mut Pieces { len: 1000, more: true, fin: false });
    assert_eq!(said[..2], ["0 0+0 false", "0 0+1000 false"]);
    assert_eq!(said.len(), 3, "until the record is full");
    assert!(end.0.has_output());
    let said = end.say_in(2000, &mut Pieces { len: 10, more: false, fin: false });
    assert_eq!(said.len(), 1);
    assert!(!end.0.has_output(), "it will say when there is more");
    end.0.wants(FIRST);
    assert_eq!(end.say_in(2000, &mut Pieces { len: 0, more: true, fin: false }), [""; 0]);
    assert!(!end.0.has_output(), "it promised more, and had nothing");
    end.0.wants(FIRST);
    let said = end.say_in(2000, &mut Pieces { len: 0, more: false, fin: true });
    assert!(said.len() == 1 && said[0].ends_with("+0 true"), "an end without bytes: {said:?}");
}

#[test]
fn a_stream_without_credit_has_no_turn_until_there_is_some() {
    let mut end = End::new();
    end.0.open(NOW).unwrap();
    end.0.wants(FIRST);
    assert_eq!(end.say(10_000), ["0 0+0 false", "0 0+4096 false"]);
    assert!(!end.0.has_output());
    assert_eq!(end.say(10_000), [""; 0]);
    end.hear(Frame::StreamCredit { id: FIRST, received: 4096, limit: 5000 }).unwrap();
    assert!(end.0.has_output(), "it still has more");
}

#[test]
fn streams_take_turns_over_records() {
    let mut end = End::new();
    for id in [0, 2, 4] {
        end.0.open(NOW).unwrap();
        end.0.wants(StreamId(id));
    }
    assert_eq!(end.say_in(120, &mut Text(0)).len(), 3, "new streams, and no room for more");
    let turns: Vec<_> = (0..7)
        .map(|_| {
            let said = end.say_in(150, &mut Pieces { len: 100, more: true, fin: false });
            assert_eq!(said.len(), 1);
            said[0].split(' ').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(turns, ["0", "2", "4", "0", "2", "4", "0"]);
}

#[test]
fn a_stream_that_has_ended_gets_no_credit() {
    let mut end = End::new();
    end.hear_data(0, 4096, true).unwrap();
    assert_eq!(end.say(0), ["SessionCredit(20480)".to_owned(), ack(1, 4096)]);
    let mut end = End::new();
    end.hear_data(0, 4095, false).unwrap();
    end.0.release(PEERS, 256, NOW);
    let said = end.say(0);
    assert!(!said.iter().any(|frame| frame.starts_with("StreamCredit")), "{said:?}");
}

#[test]
fn the_right_to_open_streams_comes_back_in_quarters() {
    let over = |end: &mut End, id| {
        end.hear_end(id);
        end.0.release(StreamId(id), 256, NOW);
        end.wait();
        let said = end.say(0);
        end.hear_received(id, 0);
        said
    };
    let mut end = End::with_streams(8);
    over(&mut end, 1);
    assert!(!end.0.has_output(), "one of eight");
    assert_eq!(end.say(0), [""; 0]);
    over(&mut end, 3);
    assert!(end.0.has_output());
    assert_eq!(end.say(0), ["StreamsCredit(10)"]);
    assert!(!end.0.has_output());

    // Where the peer may open no more, each one counts.
    let mut end = End::with_streams(8);
    over(&mut end, 1);
    for id in [3, 5, 7, 9, 11, 13] {
        end.hear(Frame::Stream { id: StreamId(id), offset: 0, fin: false, data: &[] }).unwrap();
        assert!(!end.0.has_output());
    }
    end.hear(Frame::Stream { id: StreamId(15), offset: 0, fin: false, data: &[] }).unwrap();
    assert_eq!(end.say(0), ["StreamsCredit(9)"]);
    end.hear(Frame::Stream { id: StreamId(17), offset: 0, fin: false, data: &[] }).unwrap();
    assert!(!end.0.has_output(), "all are open");
}

#[test]
fn own_streams_leave_room_for_the_peers() {
    let mut end = End::new();
    end.hear(Frame::StreamsCredit(20)).unwrap();
    assert_eq!(core::iter::from_fn(|| end.0.open(NOW)).take(9).count(), 4);
}

#[test]
fn a_state_speaks_of_every_own_stream() {
    let two = |finished: bool| {
        let mut end = End::new();
        for id in [0, 2] {
            end.0.open(NOW).unwrap();
            end.0.wants(StreamId(id));
        }
        end.say_in(2000, &mut Pieces { len: 10, more: false, fin: finished });
        end
    };
    let second = StreamId(2);
    let mut end = two(false);
    end.0.reattach();
    end.say(0);
    end.hear_state(2, 15, &[entry(FIRST, 10, false), entry(second, 5, false)]).unwrap();
    assert_eq!((end.0.acknowledged(FIRST), end.0.acknowledged(second)), (Some(10), Some(5)));

    // One that is complete is not in it.
    let mut end = two(true);
    end.hear_end(2);
    end.0.reattach();
    end.say(0);
    end.hear_state(2, 20, &[entry(FIRST, 10, true)]).unwrap();
    assert_eq!((end.0.acknowledged(FIRST), end.0.acknowledged(second)), (None, None));

    // An end that was acknowledged stays so.
    for (is_end, expected) in [(true, Ok(())), (false, Err(Violation::Acknowledgement))] {
        let mut end = End::sent(true);
        end.hear_received(0, 10);
        end.0.reattach();
        end.say(0);
        assert_eq!(end.hear_state(1, 10, &[entry(FIRST, 10, is_end)]), expected);
    }
}
