//! What must hold for any input: codecs, tampering, credit and tickets. More of it, shared with the fuzz targets, is in
//! `any_input`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::{Config, Error as ChannelError, Output};
use homing_core::crypto::PublicKey;
use homing_core::handshake::Suite;
use homing_core::mux::{RecvCredit, SendCredit, Source, Taken, Violation};
use homing_core::pairing::{
    Commit, Flags, MAX_HANDSHAKES, MAX_TICKETS, Office, Refused, TICKET_LIFE, Ticket, TicketId, TicketState, parse_link,
};
use homing_core::session::{Role, Session};
use homing_core::wire::{
    Auth, AuthOk, Close, Frame, HEADER_LEN, PairAccept, PairFinish, Params, Reader, ResumeEntries, ResumeEntry,
    ResumeState, Scope, StreamId, TAG_LEN, Writer, padme,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::Seeded;
use support::ends::{Ends, channels, keys};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What frames are made of.
#[derive(Clone, Debug)]
struct Parts {
    kind: usize,
    flag: bool,
    small: u8,
    short: u16,
    id: u32,
    numbers: [u64; 2],
    data: Vec<u8>,
    text: String,
    fixed: [u8; 45],
}

const KINDS: usize = 21;

fn parts() -> impl Strategy<Value = Parts> {
    let text = "\\PC{0,64}".prop_filter("at most 64 bytes", |text| text.len() <= 64);
    (0..KINDS, any::<(bool, u8, u16, u32, [u64; 2])>(), vec(any::<u8>(), 0..256), text, any::<[u8; 32]>()).prop_map(
        |(kind, (flag, small, short, id, numbers), data, text, some)| {
            let mut fixed = [1; 45];
            fixed[..32].copy_from_slice(&some);
            Parts { kind, flag, small, short, id, numbers, data, text, fixed }
        },
    )
}

impl Parts {
    /// Hands the frame that the parts make to `f`.
    fn with<T>(&self, f: impl FnOnce(&Frame<'_>) -> T) -> T {
        let (id, [a, b]) = (StreamId(self.id), self.numbers);
        let [token, half, other, device] = [40, 16, 16, 8].map(|len| &self.fixed[..len]);
        let (token, half, other, device) = (
            token.try_into().unwrap(),
            half.try_into().unwrap(),
            <&[u8; 16]>::try_from(other).unwrap(),
            device.try_into().unwrap(),
        );
        let entries = vec![ResumeEntry { id, received: a, limit: b, flags: self.small }; usize::from(self.small) % 65];
        let mut room = vec![0; entries.len() * 21];
        let entries = ResumeEntries::emit_into(&entries, &mut room).unwrap();
        let frame = match self.kind {
            0 => Frame::Ping(a),
            1 => Frame::Pong(a),
            2 => {
                let scope = if self.flag { Scope::Session } else { Scope::Channel };
                Frame::Close(Close { scope, code: self.short, text: &self.text })
            }
            3 => Frame::PairFinish(PairFinish { platform: self.small, name: &self.text }),
            4 => Frame::PairPending(self.short),
            5 => Frame::PairAccept(PairAccept {
                device_id: device,
                token,
                route_id: half,
                capability: &self.fixed,
                host_name: &self.text,
            }),
            6 => Frame::PairAck,
            7 => Frame::Auth(Auth { token, resume: self.flag.then_some((half, other)) }),
            8 => Frame::AuthOk(AuthOk { resumed: self.flag.then_some(half) }),
            9 => Frame::Token(token),
            10 => Frame::TokenAck,
            11 => Frame::Cap(&self.fixed),
            12 => Frame::Rotate(&self.data),
            13 => Frame::Stream { id, offset: a, fin: self.flag, data: &self.data },
            14 => Frame::StreamCredit { id, received: a, limit: b },
            15 => Frame::SessionCredit(a),
            16 => Frame::StreamsCredit(self.id),
            17 => Frame::Reset { id, code: self.short, size: a },
            18 => Frame::Stop { id, code: self.short },
            19 => Frame::Datagram(&self.data),
            _ => Frame::ResumeState(ResumeState { seen: self.id, received: a, limit: b, more: self.flag, entries }),
        };
        f(&frame)
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn frames_survive_the_wire(list in vec(parts(), 1..5), padding in 0..40usize) {
        let mut out = vec![0; 16_384];
        let mut w = Writer::new(&mut out);
        for parts in &list {
            parts.with(|frame| frame.emit(&mut w)).unwrap();
        }
        let len = w.len();
        let mut r = Reader::new(&out[..len + padding]);
        for parts in &list {
            let parsed = Frame::parse(&mut r);
            prop_assert!(parts.with(|frame| parsed == Ok(Some(*frame))), "{parts:?} became {parsed:?}");
        }
        prop_assert_eq!(Frame::parse(&mut r), Ok(None));
    }

    #[test]
    fn whatever_parses_is_emitted_alike(bytes in vec(any::<u8>(), 0..300), kind in parts()) {
        // Random bytes behind a real frame's type reach deeper than random bytes alone.
        let mut first = [0; 2_048];
        let mut w = Writer::new(&mut first);
        kind.with(|frame| frame.emit(&mut w)).unwrap();
        let mut bytes = bytes;
        if let Some(head) = bytes.first_mut() {
            *head = first[0];
        }
        let mut r = Reader::new(&bytes);
        if let Ok(Some(frame)) = Frame::parse(&mut r) {
            let mut out = [0; 512];
            let mut w = Writer::new(&mut out);
            frame.emit(&mut w).unwrap();
            let len = w.len();
            prop_assert_eq!(&out[..len], &bytes[..bytes.len() - r.rest().len()]);
        }
    }

    #[test]
    fn params_survive_the_wire(features in 0..1u32 << 24, record in 1024..=16_384u16, streams in 1..=4096u16,
                               session in 16u32 << 10..=16 << 20, part in 0.0..1.0f64) {
        let stream_window = ((4 << 10) + ((session - (4 << 10)) as f64 * part) as u32).min(session);
        let params = Params { features, max_record: record, max_streams: streams, session_window: session, stream_window };
        prop_assert_eq!(Params::parse(&mut Reader::new(&params.to_bytes())), Ok(params));
    }

    #[test]
    fn padding_is_bounded_and_idempotent(len in 0..=16_384usize, max in 1_024..=16_384usize) {
        let padded = padme(len, max);
        prop_assert!(padded >= len && padded <= len.max(max));
        prop_assert_eq!(padme(padded, max), padded);
        prop_assert!(len < 64 || padded <= len + len * 12 / 100, "{} became {}", len, padded);
    }
}

/// Any change of a message.
#[derive(Clone, Copy, Debug)]
enum Change {
    Flip { place: usize, bit: u8 },
    Cut(usize),
    Extend(u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (any::<usize>(), 0..8u8).prop_map(|(place, bit)| Change::Flip { place, bit }),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => any::<u8>().prop_map(Change::Extend),
    ]
}

impl Change {
    fn apply(self, message: &mut Vec<u8>) {
        let len = message.len();
        match self {
            Self::Flip { place, bit } => message[place % len] ^= 1 << bit,
            Self::Cut(place) => message.truncate(place % len),
            Self::Extend(byte) => message.push(byte),
        }
    }
}

fn handshakes() -> impl Strategy<Value = Ends> {
    (any::<bool>(), any::<bool>())
        .prop_map(|(hybrid, pairs)| Ends::new(if hybrid { Suite::Hybrid } else { Suite::Classic }, pairs))
}

impl core::fmt::Debug for Ends {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}, pairs: {}", self.suite, self.pairs)
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn changed_handshake_messages_are_refused(ends in handshakes(), change in change()) {
        let (mut hello, state) = ends.hello();
        let mut forged = hello.clone();
        change.apply(&mut forged);
        prop_assert!(ends.hear(&mut forged).is_err());
        let (mut reply, ..) = ends.reply(ends.hear(&mut hello).unwrap());
        change.apply(&mut reply);
        prop_assert!(state.read(&mut reply).is_err());
    }
}

/// Every single byte, where that is quick: the classic suite's messages.
#[test]
fn every_byte_of_a_handshake_counts() {
    for pairs in [false, true] {
        let ends = Ends::new(Suite::Classic, pairs);
        let (hello, _) = ends.hello();
        let (reply, ..) = ends.reply(ends.hear(&mut hello.clone()).unwrap());
        for place in 0..hello.len() {
            let mut forged = hello.clone();
            forged[place] ^= 0x80;
            assert!(ends.hear(&mut forged).is_err(), "hello {place}");
        }
        for place in 0..reply.len() {
            let mut forged = reply.clone();
            forged[place] ^= 0x80;
            assert!(ends.hello().1.read(&mut forged).is_err(), "reply {place}");
        }
        for len in 0..hello.len() {
            assert!(ends.hear(&mut hello[..len].to_vec()).is_err());
        }
        for len in 0..reply.len() {
            assert!(ends.hello().1.read(&mut reply[..len].to_vec()).is_err());
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn changed_records_are_refused(texts in vec(vec(any::<u8>(), 0..200), 1..4), change in change()) {
        let [device, host] = keys([Params::default(); 2]);
        let mut device = Session::<homing_core::crypto::Portable>::new(Role::Device, &device, Instant::ZERO);
        let mut host = Session::<homing_core::crypto::Portable>::new(Role::Host, &host, Instant::ZERO);
        let mut records: Vec<_> = texts.iter().map(|text| {
            let mut buf = [&[0; HEADER_LEN], &text[..], &[0; TAG_LEN]].concat();
            device.seal(Instant::ZERO, &mut buf, text.len()).unwrap();
            buf
        }).collect();
        let last = records.pop().unwrap();
        for (mut record, text) in records.into_iter().zip(&texts) {
            prop_assert_eq!(host.open(Instant::ZERO, &mut record).unwrap(), &text[..]);
        }
        let mut forged = last.clone();
        change.apply(&mut forged);
        let expected = host.next_opened();
        prop_assert!(host.open(Instant::ZERO, &mut forged).is_err());
        prop_assert_eq!(host.next_opened(), expected, "a refused record moves nothing");
        let mut last = last;
        prop_assert_eq!(host.open(Instant::ZERO, &mut last).unwrap(), &texts[texts.len() - 1][..]);
    }

    #[test]
    fn changed_records_end_a_channel_without_events(change in change()) {
        let [mut device, mut host] = channels::<8>([Params { max_streams: 4, ..Params::default() }; 2], &Config::default());
        let id = device.open(Instant::ZERO).unwrap();
        device.streams().wants(id);
        let mut out = vec![0; 17_000];
        let mut source = |_: StreamId, buf: &mut [u8]| {
            buf[..4].copy_from_slice(b"text");
            Taken { len: 4, more: false, fin: false }
        };
        let output = device.poll_output(Instant::ZERO, &mut Closure(&mut source), &mut out).unwrap();
        let Output::Transmit { len } = output else { panic!("a first record") };
        out.truncate(len);
        change.apply(&mut out);
        let error = host.handle_input(Instant::ZERO, &mut out).map(|_| ()).unwrap_err();
        prop_assert!(matches!(error, ChannelError::Discard(_)));
        prop_assert!(host.is_over());
        prop_assert!(matches!(host.handle_input(Instant::ZERO, &mut out), Err(ChannelError::Over)));
    }
}

struct Closure<'f, F>(&'f mut F);

impl<F: FnMut(StreamId, &mut [u8]) -> Taken> Source for Closure<'_, F> {
    fn read(&mut self, id: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        (self.0)(id, buf)
    }
}

fn tickets() -> impl Strategy<Value = Ticket> {
    let relay = prop_oneof![Just(String::new()), "[a-z0-9.-]{1,60}", "[a-z0-9-]{1,20}(\\.[a-z]{2,8}){1,3}:[0-9]{1,5}"];
    (any::<bool>(), 0..8u8, any::<u32>(), any::<[u8; 32]>(), relay, any::<u64>()).prop_map(
        |(hybrid, flags, expiry, host, relay, seed)| {
            let suite = if hybrid { Suite::Hybrid } else { Suite::Classic };
            let flags = Flags { confirm: flags & 1 != 0, in_band: flags & 2 != 0, plain: flags & 4 != 0 };
            Ticket::issue(suite, flags, expiry, &PublicKey::from_bytes(host), &relay, &mut Seeded::new(seed)).unwrap()
        },
    )
}

fn same_ticket(a: &Ticket, b: &Ticket) -> bool {
    (a.suite, a.flags, a.expiry, a.host, &a.relay) == (b.suite, b.flags, b.expiry, b.host, &b.relay)
        && a.secret.same(&b.secret)
        && a.secrets().handshake.hash == b.secrets().handshake.hash
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn links_bring_the_ticket(ticket in tickets(), place in any::<usize>(), letter in 0..32usize) {
        let (mut app, mut web) = (String::new(), String::new());
        ticket.write_link(&mut app).unwrap();
        ticket.write_web_link(&mut web).unwrap();
        let letters = app.strip_prefix("homing://pair/").unwrap().to_owned();
        for link in [app.to_lowercase(), format!("homing://pair?t={letters}"), web.to_lowercase(), app, web] {
            prop_assert!(same_ticket(&parse_link(&link).unwrap(), &ticket), "{}", link);
        }
        let mut forged = letters.into_bytes();
        let place = place % forged.len();
        let letter = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[letter];
        if forged[place] != letter {
            forged[place] = letter;
            let forged = String::from_utf8(forged).unwrap();
            prop_assert!(parse_link(&["homing://pair/", &forged].concat()).is_err(), "{}", forged);
        }
    }

    #[test]
    fn garbage_is_no_ticket(bytes in vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        prop_assert!(Ticket::parse(&bytes).is_err());
        prop_assert!(parse_link(&text).is_err());
        prop_assert!(parse_link(&["homing://pair/", &text].concat()).is_err());
    }
}

#[derive(Clone, Debug)]
enum Desk {
    Issue(u64),
    Knock(usize, u8),
    Commit(u64, u8, bool),
    Cancel(u64),
    Pass(u64),
}

fn desk() -> impl Strategy<Value = Desk> {
    prop_oneof![
        3 => (1..400u64).prop_map(Desk::Issue),
        6 => (0..5usize, 0..3u8).prop_map(|(index, who)| Desk::Knock(index, who)),
        3 => (0..12u64, 0..3u8, any::<bool>()).prop_map(|(id, who, stored)| Desk::Commit(id, who, stored)),
        1 => (0..12u64).prop_map(Desk::Cancel),
        2 => (1..120u64).prop_map(Desk::Pass),
    ]
}

struct Slip {
    id: u64,
    expires: u64,
    knocks: u8,
    winner: Option<u8>,
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn an_office_does_what_a_list_would(steps in vec(desk(), 1..80)) {
        let host = PublicKey::from_bytes([9; 32]);
        let ticket = Ticket::issue(Suite::Classic, Flags::default(), 0, &host, "", &mut Seeded::new(0)).unwrap();
        let key = |who: u8| PublicKey::from_bytes([who; 32]);
        let (mut office, mut model, mut issued, mut time) = (Office::new(), Vec::<Slip>::new(), 0, 0u64);
        for step in steps {
            let now = Instant::ZERO + Duration::from_secs(time);
            match step {
                Desk::Issue(life) => {
                    model.retain(|slip| slip.expires > time);
                    if model.len() == MAX_TICKETS && let Some(used) = model.iter().position(|slip| slip.winner.is_some()) {
                        model.remove(used);
                    }
                    let expected = if model.len() == MAX_TICKETS { Err(Refused::TooMany) } else { Ok(TicketId(issued)) };
                    prop_assert_eq!(office.issue(&ticket, now, Duration::from_secs(life)), expected);
                    if expected.is_ok() {
                        let expires = time + life.min(TICKET_LIFE.as_secs());
                        model.push(Slip { id: issued, expires, knocks: 0, winner: None });
                        issued += 1;
                    }
                }
                Desk::Knock(index, who) => {
                    let expected = match model.get_mut(index).filter(|slip| slip.expires > time) {
                        None => Err(Refused::Gone),
                        Some(slip) if slip.winner.is_some_and(|winner| winner != who) => Err(Refused::Used),
                        Some(slip) if slip.knocks == MAX_HANDSHAKES => Err(Refused::Gone),
                        Some(slip) => {
                            slip.knocks += 1;
                            Ok(TicketId(slip.id))
                        }
                    };
                    let got = office.knock(index, &key(who), now);
                    prop_assert_eq!(got, expected);
                    if got == Err(Refused::Gone) && model.get(index).is_some_and(|slip| slip.expires > time) {
                        model.remove(index);
                    }
                }
                Desk::Commit(id, who, stored) => {
                    model.retain(|slip| slip.expires > time);
                    let slip = model.iter_mut().find(|slip| slip.id == id);
                    let expected = match &slip {
                        None => Err(Refused::Gone),
                        Some(slip) if slip.winner.is_some_and(|winner| winner != who) => Err(Refused::Used),
                        Some(slip) if slip.winner.is_some() => Ok(Commit::Again),
                        Some(_) => Ok(Commit::First),
                    };
                    prop_assert_eq!(office.commit(TicketId(id), &key(who), now), expected);
                    if expected.is_ok() && !stored {
                        office.roll_back(TicketId(id));
                    } else if expected == Ok(Commit::First) {
                        slip.unwrap().winner = Some(who);
                    }
                }
                Desk::Cancel(id) => {
                    office.cancel(TicketId(id));
                    model.retain(|slip| slip.id != id);
                }
                Desk::Pass(seconds) => time += seconds,
            }
            for slip in &model {
                let expected = slip.winner.map_or(TicketState::Active, |who| TicketState::Consumed(key(who)));
                prop_assert_eq!(office.state(TicketId(slip.id)), Some(expected));
            }
        }
    }

    #[test]
    fn send_credit_is_a_limit_minus_a_sum(start in 0..1000u64, steps in vec((any::<bool>(), 0..2000u64), 0..50)) {
        let (mut credit, mut sent, mut limit) = (SendCredit::new(start), 0, start);
        for (raise, number) in steps {
            if raise {
                prop_assert_eq!(credit.raise(number), number > limit);
                limit = limit.max(number);
            } else {
                let bytes = number.min(limit - sent);
                credit.spend(bytes);
                sent += bytes;
            }
            prop_assert_eq!((credit.sent(), credit.available()), (sent, limit - sent));
        }
    }

    #[test]
    fn receive_credit_is_sums_too(window in 4..1000u32, more in 0..4000u32, session in any::<bool>(),
                                  steps in vec((0..4u8, 0..2000u64), 0..80)) {
        let mut credit = RecvCredit::new(window, window + more, Instant::ZERO);
        let (window, cap) = (u64::from(window), u64::from(window + more));
        let (mut received, mut consumed, mut limit, mut now) = (0, 0, window, Instant::ZERO);
        for (kind, number) in steps {
            match kind {
                0 => {
                    let fits = received + number <= limit;
                    prop_assert_eq!(credit.check(number), if fits { Ok(()) } else { Err(Violation::FlowControl) });
                    if fits {
                        credit.receive(number);
                        received += number;
                    }
                }
                1 => {
                    credit.consume(number, now, Duration::from_millis(50));
                    consumed = received.min(consumed + number);
                }
                2 => now = now + Duration::from_millis(number),
                _ => {
                    let due = if session { credit.due_within_cap() } else { credit.due_on_consumption() };
                    if let Some(due) = due {
                        prop_assert!(due > limit && due <= consumed + cap, "{} above {} + {}", due, consumed, cap);
                        credit.announce(due);
                        limit = due;
                    } else if session {
                        // Nothing due means that the peer is not stuck, or that this side holds all it may.
                        prop_assert!(limit > received || received + window > consumed + cap);
                    } else {
                        prop_assert!(limit > received || received > consumed);
                    }
                }
            }
            prop_assert_eq!((credit.received(), credit.limit(), credit.held()), (received, limit, received - consumed));
        }
    }
}
