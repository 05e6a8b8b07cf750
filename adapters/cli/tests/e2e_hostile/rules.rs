//! A paired device that breaks the rules under its own keys: the host says why and closes, and nobody else notices.

use core::time::Duration;

use homing_core::channel::code;
use homing_core::wire::{Frame, Params, StreamId};
use serde_json::json;
use tokio::net::TcpStream;

use crate::plain;
use crate::rogue::{Line, Rogue, bytes, soon};
use crate::scene::{ask, ticket};
use crate::support::{Forward, World, rss_peak};

const WELL: &[u8] = b"\x04well";

/// A world with a rogue, and a good device whose connection is in use.
struct Stage {
    world: World,
    rogue: Rogue,
    _forward: Forward,
    good: TcpStream,
}

impl Stage {
    async fn set() -> Self {
        let (well, echo) = (plain::deaf().await, plain::echo().await);
        let fountain = plain::fountain(64_000_000).await;
        let exposed = [
            ("well", format!("tcp://{well}")),
            ("echo", format!("tcp://{echo}")),
            ("fountain", format!("tcp://{fountain}")),
        ];
        let world = World::start(&exposed).await;
        let forward = world.pair().await.forward("echo").await;
        let good = TcpStream::connect(forward.address).await.unwrap();
        let (link, _dialog) = ticket(&world.host_data(), &json!({})).await;
        let rogue = Rogue::pair(&link).await;
        Self { world, rogue, _forward: forward, good }
    }

    /// The good device's connection still carries, and the host has not grown.
    async fn is_well(&mut self, after: &str) {
        soon(after, plain::exchange(&mut self.good, b"still here")).await.unwrap();
        let peak = rss_peak(self.world.host.pid());
        assert!(peak < 320 << 20, "{after}: the host took {} MiB", peak >> 20);
    }
}

/// What is wrong with these frames.
type Fault = (&'static str, Vec<Frame<'static>>, u16);

fn faults() -> Vec<Fault> {
    let stream = |id: u32| StreamId(id);
    let open = |data| bytes(0, 0, data);
    vec![
        ("a gap in a stream", vec![open(b"\x04"), bytes(0, 2, b"ell")], code::PROTOCOL),
        ("an overlap in a stream", vec![open(WELL), bytes(0, 3, b"ll")], code::PROTOCOL),
        ("a stream of the host's", vec![bytes(1, 0, b"")], code::PROTOCOL),
        ("a stream out of turn", vec![bytes(2, 0, b"")], code::PROTOCOL),
        ("credit for nothing", vec![Frame::StreamCredit { id: stream(4), received: 0, limit: 1 }], code::PROTOCOL),
        ("a stop of nothing", vec![Frame::Stop { id: stream(6), code: 0 }], code::PROTOCOL),
        ("a size below what came", vec![open(WELL), Frame::Reset { id: stream(0), code: 0, size: 1 }], code::PROTOCOL),
        (
            "a size beyond the credit",
            vec![open(WELL), Frame::Reset { id: stream(0), code: 0, size: 1 << 40 }],
            code::FLOW_CONTROL,
        ),
        ("a second token", vec![Frame::Token(&[0; 40])], code::PROTOCOL),
        ("a capability", vec![Frame::Cap(&[0; 45])], code::PROTOCOL),
        ("a pairing", vec![Frame::PairAck], code::PROTOCOL),
        ("a datagram", vec![Frame::Datagram(b"x")], code::PROTOCOL),
        ("a ticket", vec![Frame::Rotate(b"x")], code::PROTOCOL),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_rule_ends_the_session_with_its_code() {
    let mut stage = Stage::set().await;
    for (what, frames, expected) in faults() {
        let mut line = stage.rogue.connect().await;
        let said = line.say(&frames).await;
        let code = match said {
            Ok(()) => line.closed().await,
            Err(code) => code,
        };
        assert_eq!(code, Some(expected), "{what}");
    }
    for (what, text) in [
        ("an unknown frame", &[0x7f, 0, 0][..]),
        ("a frame that is cut off", &[0x20, 0, 0, 0]),
        ("padding that is not zero", &[0x00, 0, 1]),
        ("a stream's flag that is unknown", &[0x20, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a text that is none", &[0x03, 0, 0, 0, 2, 0xff, 0xff]),
        ("more data than there is", &[0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
    ] {
        let mut line = stage.rogue.connect().await;
        line.say_raw(text).await.unwrap();
        assert_eq!(line.closed().await, Some(code::PROTOCOL), "{what}");
    }
    // Before the token nothing else is taken.
    let mut line = stage.rogue.shake_hands(Params::default()).await;
    line.say(&[bytes(0, 0, WELL)]).await.unwrap();
    assert_eq!(line.closed().await, Some(code::PROTOCOL));
    stage.is_well("broken rules").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_with_a_code() {
    let mut stage = Stage::set().await;
    let mut line = stage.rogue.connect().await;
    let pings = |_| (0..1500).map(Frame::Ping).collect();
    assert_eq!(flood(&mut line, pings).await, Some(code::LIMIT), "pings");
    let mut line = stage.rogue.connect().await;
    let resets = |round| {
        let ids = (round * 200..(round + 1) * 200).map(|n| 2 * n);
        ids.flat_map(|id| [bytes(id, 0, b""), Frame::Reset { id: StreamId(id), code: 0, size: 0 }]).collect()
    };
    assert_eq!(flood(&mut line, resets).await, Some(code::LIMIT), "rapid resets");
    let mut line = stage.rogue.connect().await;
    line.say(&[bytes(0, 0, WELL)]).await.unwrap();
    let stops = |_| vec![Frame::Stop { id: StreamId(0), code: 0 }; 1500];
    assert_eq!(flood(&mut line, stops).await, Some(code::LIMIT), "stops");

    let streams: Vec<_> = (0..257).map(|n| bytes(2 * n, 0, b"")).collect();
    let mut line = stage.rogue.connect().await;
    line.say(&streams).await.unwrap();
    assert_eq!(line.closed().await, Some(code::LIMIT), "streams");

    // Nobody reads at the far end, and the device does not wait for credit.
    let mut line = stage.rogue.connect().await;
    line.say(&[bytes(0, 0, WELL)]).await.unwrap();
    let (data, mut offset) = (vec![7; 16_000], WELL.len() as u64);
    let code = loop {
        if let Err(code) = line.say(&[bytes(0, offset, &data)]).await {
            break code;
        }
        offset += data.len() as u64;
        assert!(offset < 64 << 20, "{offset} bytes were taken");
        if offset > 8 << 20 {
            break line.closed().await;
        }
    };
    assert_eq!(code, Some(code::FLOW_CONTROL), "beyond the credit, after {offset} bytes");
    stage.is_well("floods").await;
    let status = ask(&stage.world.host_data(), &json!({ "cmd": "status" })).await;
    assert!(status["sessions"].as_u64().unwrap() <= 3, "{status}");
}

/// Sends round after round, and gives the code that the host closes with.
async fn flood<'f>(line: &mut Line, frames: impl Fn(u32) -> Vec<Frame<'f>>) -> Option<u16> {
    for round in 0..50 {
        if let Err(code) = line.say(&frames(round)).await {
            return code;
        }
        // What has come meanwhile, without waiting for more.
        while let Ok(heard) = tokio::time::timeout(Duration::from_millis(1), line.hear()).await {
            if let Err(code) = heard {
                return code;
            }
        }
    }
    panic!("fifty rounds were taken");
}

/// Asks for everything on many streams, and takes nothing: what the host holds is bounded, and others have their turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_never_reads_costs_little() {
    let mut stage = Stage::set().await;
    stage.is_well("the beginning").await;
    let before = rss_peak(stage.world.host.pid());
    let greedy = Params { session_window: 16 << 20, stream_window: 16 << 20, ..Params::default() };
    let mut lines = Vec::new();
    for _ in 0..6 {
        let mut line = stage.rogue.connect_with(greedy).await;
        let wants: Vec<_> = (0..200).map(|n| bytes(2 * n, 0, b"\x08fountain")).collect();
        line.say(&wants).await.unwrap();
        lines.push(line);
    }
    for round in 0..50 {
        stage.is_well(&format!("round {round} of a device that never reads")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grown = rss_peak(stage.world.host.pid()).saturating_sub(before);
    // What waits at a stream's end that nobody reads: buffers of a fixed size.
    let each = grown / (6 * 200);
    eprintln!("six sessions of 200 unread streams took {} MiB, {} KiB each", grown >> 20, each >> 10);
    assert!(each < 192 << 10);
    let relay = rss_peak(stage.world.relay.pid());
    assert!(relay < 100 << 20, "the relay took {} MiB", relay >> 20);
    drop(lines);
    stage.is_well("the end").await;
}

/// A preface that names nothing, too much, or never ends holds up nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefaces_are_bounded() {
    let mut stage = Stage::set().await;
    let mut line = stage.rogue.connect().await;
    let long = [&[255][..], &[b'x'; 255]].concat();
    let control = b"\x04\x00\x1b[2";
    let invalid = b"\x02\xff\xff";
    let frames =
        [bytes(0, 0, b"\x00"), bytes(2, 0, &long), bytes(4, 0, control), bytes(6, 0, invalid), bytes(8, 0, b"\x05ec")];
    line.say(&frames).await.unwrap();
    let (mut listed, mut refused) = (false, [false; 3]);
    while !listed || refused.contains(&false) {
        let (frames, _) = line.hear().await.unwrap();
        for frame in frames {
            listed |= frame.contains("StreamId(0)") && frame.starts_with("Stream {");
            for (seen, id) in refused.iter_mut().zip([2, 4, 6]) {
                *seen |= frame.starts_with("Reset") && frame.contains(&format!("StreamId({id})"));
            }
        }
    }
    // The one that never ends is let go after a while; the session lives on meanwhile.
    line.say(&[bytes(10, 0, b"\x04echo"), bytes(10, 5, b"hello")]).await.unwrap();
    while !line.hear().await.unwrap().0.iter().any(|frame| frame.contains("StreamId(10)") && frame.contains("104")) {}
    stage.is_well("prefaces").await;
}
