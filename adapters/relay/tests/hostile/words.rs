//! Messages of the protocol that are malformed, or not for whoever says them.

use async_tungstenite::tungstenite::Message;
use homing_core::crypto::PublicKey;
use homing_core::hop::{Code, Dial, Frame, Hello, Incoming, Kind, Register};

use crate::raw::{Ending, Raw, binary, word};
use crate::stage::Stage;
use crate::support::{Device, Host, Said, in_an_hour};

/// Who says it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Somebody who has read the challenge and said nothing.
    Greeted,
    /// A device whose host is away.
    Parked,
    /// A device with an open channel.
    Device,
    /// A host.
    Host,
    /// A host at whose door a device waits.
    Door,
}

/// A name, who says what, given the number of its channel, and how its link ends: not at all where there is no ending.
pub struct Case {
    pub name: String,
    at: At,
    words: Box<dyn Fn(u32) -> Vec<Vec<u8>>>,
    end: Option<Ending>,
}

const PROTOCOL: Option<Ending> = Some((Some(Code::Protocol), Some(4006)));

fn case(name: impl Into<String>, at: At, words: impl Fn(u32) -> Vec<Vec<u8>> + 'static, end: Option<Ending>) -> Case {
    Case { name: name.into(), at, words: Box::new(words), end }
}

const DIAL: Dial = Dial { route_id: [9; 16], cap_id: [9; 8], expiry: u32::MAX, class: 0, proof: [9; 16] };

/// One of each kind, as it should look.
fn kinds() -> Vec<(&'static str, Frame<'static>)> {
    let key = || PublicKey::from_bytes([9; 32]);
    let register = Register { route: key(), mac: [9; 16], current: &[1; 32], previous: &[2; 32], operator_key: b"" };
    let incoming = Incoming { channel_id: [1; 16], kind: Kind::Dial { cap_id: [2; 8] }, credit: 1 };
    vec![
        ("HELLO", Frame::Hello(Hello { version: 1, flags: 0, nonce: [1; 32], ephemeral: key() })),
        ("REGISTER", Frame::Register(register)),
        ("OK", Frame::Ok { ttl: 1 }),
        ("PAIR_SLOT", Frame::PairSlot { rv_hash: [1; 16], ttl: 60 }),
        ("CAP_DENY", Frame::CapDeny { cap_id: [1; 8], until: u32::MAX }),
        ("DIAL", Frame::Dial(DIAL)),
        ("DIAL_PAIR", Frame::DialPair { rendezvous: [1; 16] }),
        ("INCOMING", Frame::Incoming(incoming)),
        ("ACCEPT", Frame::Accept { credit: 1 }),
        ("REFUSE", Frame::Refuse { code: Code::Refused }),
        ("OPENED", Frame::Opened { channel_id: [1; 16], credit: 1 }),
        ("DATA", Frame::Data(b"x")),
        ("CREDIT", Frame::Credit { bytes: 1 }),
        ("CLOSED", Frame::Closed { code: Code::Normal }),
        ("PING", Frame::Ping(1)),
        ("PONG", Frame::Pong(1)),
        ("ATTACH", Frame::Attach { channel_id: [1; 16], mac: [1; 16] }),
        ("KNOCK", Frame::Knock),
    ]
}

/// The message, about the link or channel 1, whichever has a meaning.
fn well_formed(frame: &Frame<'_>) -> Vec<u8> {
    let message = word(0, frame);
    if Frame::parse(&message).is_ok() { message } else { word(1, frame) }
}

pub fn cases() -> Vec<Case> {
    let mut all = malformed();
    all.extend(out_of_place());
    all.extend(of_channels());
    all.extend(borne());
    all
}

fn malformed() -> Vec<Case> {
    let mut all = Vec::new();
    for (kind, frame) in kinds() {
        let (mut short, mut long) = (well_formed(&frame), well_formed(&frame));
        short.pop();
        long.push(0);
        all.push(case(format!("a {kind} that is cut short"), At::Greeted, move |_| vec![short.clone()], PROTOCOL));
        all.push(case(format!("a {kind} with a byte behind"), At::Greeted, move |_| vec![long.clone()], PROTOCOL));
    }
    for (name, bytes) in [
        ("a kind 0x00", &[0; 16][..]),
        ("a kind 0x7f", &[0x7f, 0, 0, 0, 0]),
        ("a kind 0x92", &[0x92, 0, 0, 0, 0]),
        ("a kind 0xff", &[0xff; 64]),
        ("a kind and no number", &[0x8e]),
        ("text of people", b"garbage"),
        ("an HTTP request in a message", b"GET / HTTP/1.1\r\n\r\n"),
        ("a PING on a channel", &[0x8e, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("a CREDIT of nothing", &[0x8c, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("a CREDIT for the link", &[0x8c, 0, 0, 0, 0, 1, 0, 0, 0]),
        ("a CLOSED with code 12", &[0x8d, 0, 0, 0, 0, 12]),
        ("a REFUSE with code 255", &[0x89, 1, 0, 0, 0, 255]),
        ("a DATA without data", &[0x8b, 1, 0, 0, 0]),
    ] {
        all.push(case(name, At::Host, move |_| vec![bytes.to_vec()], PROTOCOL));
    }
    let mut long_key = word(0, &kinds()[1].1);
    *long_key.last_mut().unwrap() = 65;
    long_key.extend([b'k'; 65]);
    all.push(case("a REGISTER with a key of 65 bytes", At::Greeted, move |_| vec![long_key.clone()], PROTOCOL));
    let long = |_| vec![[&[0x8b, 1, 0, 0, 0][..], &[0; 16_418]].concat()];
    all.push(case("a DATA longer than any", At::Host, long, Some((None, Some(1009)))));
    all
}

fn out_of_place() -> Vec<Case> {
    let mut all = Vec::new();
    for (at, who, allowed) in [
        (At::Greeted, "a stranger", &["REGISTER", "DIAL", "DIAL_PAIR", "CLOSED", "PING"][..]),
        (At::Parked, "a parked device", &["CLOSED", "PING"]),
        (At::Device, "a device", &["CREDIT", "CLOSED", "PING", "DATA"]),
        (At::Host, "a host", &["CAP_DENY", "PAIR_SLOT", "ACCEPT", "REFUSE", "CREDIT", "CLOSED", "PING", "DATA"]),
    ] {
        for (kind, frame) in kinds() {
            if !allowed.contains(&kind) {
                let message = well_formed(&frame);
                all.push(case(format!("{kind} of {who}"), at, move |_| vec![message.clone()], PROTOCOL));
            }
        }
    }
    let bye = |_| vec![word(0, &Frame::Closed { code: Code::Denied })];
    all.push(case("a CLOSED as first word", At::Greeted, bye, Some((None, Some(4000)))));
    all
}

fn of_channels() -> Vec<Case> {
    let accept = |idx| word(idx, &Frame::Accept { credit: 1 });
    vec![
        case("DATA before the ACCEPT", At::Door, |idx| vec![word(idx, &Frame::Data(b"x"))], PROTOCOL),
        case("CREDIT before the ACCEPT", At::Door, |idx| vec![word(idx, &Frame::Credit { bytes: 1 })], PROTOCOL),
        case("a second ACCEPT", At::Door, move |idx| vec![accept(idx), accept(idx)], PROTOCOL),
        case(
            "a REFUSE behind the ACCEPT",
            At::Door,
            move |idx| vec![accept(idx), word(idx, &Frame::Refuse { code: Code::Refused })],
            PROTOCOL,
        ),
        case("a device's DATA on channel 0", At::Device, |_| vec![word(0, &Frame::Data(b"x"))], PROTOCOL),
        case("a device's DATA on channel 2", At::Device, |_| vec![word(2, &Frame::Data(b"x"))], PROTOCOL),
        case("a device's CREDIT on channel 2", At::Device, |_| vec![word(2, &Frame::Credit { bytes: 1 })], PROTOCOL),
        case("a device's CLOSED on channel 2", At::Device, |_| vec![word(2, &Frame::Closed { code: Code::Normal })], {
            PROTOCOL
        }),
    ]
}

/// What may come late, and is therefore not held against anybody; and what is silly and harms nobody.
fn borne() -> Vec<Case> {
    let other = 0x0bad_f00d;
    vec![
        case(
            "an ACCEPT of a channel that is not there",
            At::Host,
            move |_| vec![word(other, &Frame::Accept { credit: 1 })],
            None,
        ),
        case("a REFUSE of one", At::Host, move |_| vec![word(other, &Frame::Refuse { code: Code::Busy })], None),
        case("a CREDIT for one", At::Host, move |_| vec![word(other, &Frame::Credit { bytes: 1 })], None),
        case("a CLOSED of one", At::Host, move |_| vec![word(other, &Frame::Closed { code: Code::Gone })], None),
        case("10,000 DATA for one", At::Host, move |_| vec![word(other, &Frame::Data(&[7; 100])); 10_000], None),
        case("a host's DATA on channel 0", At::Host, |_| vec![word(0, &Frame::Data(b"x"))], None),
        case(
            "all the CREDIT there is, 1000 times",
            At::Device,
            |_| vec![word(1, &Frame::Credit { bytes: u32::MAX }); 1000],
            None,
        ),
        case(
            "all the CREDIT there is, of a host",
            At::Door,
            move |idx| {
                let credit = vec![word(idx, &Frame::Credit { bytes: u32::MAX }); 1000];
                [vec![word(idx, &Frame::Accept { credit: u32::MAX })], credit].concat()
            },
            None,
        ),
        case(
            "10,000 CAP_DENY",
            At::Host,
            |_| {
                (0..10_000_u64)
                    .map(|id| well_formed(&Frame::CapDeny { cap_id: id.to_le_bytes(), until: in_an_hour() }))
                    .collect()
            },
            None,
        ),
        case(
            "10,000 PAIR_SLOT",
            At::Host,
            |_| {
                (0..10_000_u128)
                    .map(|id| well_formed(&Frame::PairSlot { rv_hash: id.to_le_bytes(), ttl: 60 }))
                    .collect()
            },
            None,
        ),
    ]
}

async fn send(socket: &mut homing_tokio::Socket, words: Vec<Vec<u8>>) {
    for word in words {
        // It may have been cut off by what came before.
        let _ = socket.send(Message::binary(word)).await;
    }
}

async fn ending(mut next: impl AsyncFnMut() -> Said) -> Ending {
    let mut closed = None;
    loop {
        match next().await {
            Said::Closed { code, .. } => closed = Some(code),
            Said::HungUp(code) => return (closed, code),
            _ => {}
        }
    }
}

async fn run(stage: &Stage, Case { name, at, words, end }: &Case) {
    let relay = &stage.relay;
    let what = format!("{name} on {}", stage.runtime);
    if let At::Greeted | At::Parked = at {
        let mut link = Raw::link(relay).await;
        if *at == At::Parked {
            link.say(&binary(&word(1, &Frame::Dial(DIAL)))).await;
        }
        for word in words(1) {
            link.say(&binary(&word)).await;
        }
        assert_eq!(Some(link.ending().await), *end, "{what}");
        return;
    }
    let mut host = Host::register(relay).await;
    if *at == At::Host {
        send(&mut host.socket, words(0)).await;
        if let Some(end) = end {
            return assert_eq!(ending(async || host.next().await).await, *end, "{what}");
        }
        let _device = host.dial(relay).await;
        assert!(matches!(host.next().await, Said::Incoming { .. }), "{what}: it can still be reached");
        return;
    }
    let mut device = host.dial(relay).await;
    let idx = if *at == At::Door {
        let Said::Incoming { idx } = host.next().await else { panic!("{what}") };
        send(&mut host.socket, words(idx)).await;
        idx
    } else {
        let idx = host.accept().await;
        send(&mut device.socket, words(idx)).await;
        idx
    };
    let Some(end) = end else { return still_joined(&what, &mut host, &mut device, idx).await };
    // Who kept to the rules hears that the other is gone.
    if *at == At::Door {
        assert_eq!(ending(async || host.next().await).await, *end, "{what}");
        assert_eq!(ending(async || device.next().await).await, (Some(Code::Gone), Some(4007)), "{what}");
    } else {
        assert_eq!(ending(async || device.next().await).await, *end, "{what}");
        let said = loop {
            match host.next().await {
                Said::Credit => {}
                said => break said,
            }
        };
        assert_eq!(said, Said::Closed { idx, code: Code::Gone }, "{what}");
    }
}

async fn still_joined(what: &str, host: &mut Host, device: &mut Device, idx: u32) {
    device.send(b"still here").await;
    loop {
        match host.next().await {
            Said::Data { idx: on, body } => return assert_eq!((on, &*body), (idx, &b"still here"[..]), "{what}"),
            Said::Credit => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn every_message_out_of_place_has_its_consequence() {
    for mut stage in Stage::on_each().await {
        for case in cases() {
            run(&stage, &case).await;
            stage.is_well(&case.name).await;
        }
    }
}
