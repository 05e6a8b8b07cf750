//! Frames that RFC 6455 does not allow, and those that it does and a link has no use for.

use crate::raw::{Raw, UPGRADE, binary, close, frame, head};
use crate::stage::Stage;
use crate::support::soon;
use tokio::io::AsyncWriteExt;

/// A name, what is sent on a fresh link, and the code of the close frame that follows.
pub type Case = (&'static str, Vec<u8>, u16);

pub fn cases() -> Vec<Case> {
    let mut all = headers();
    all.extend(fragments());
    all.extend(closes());
    all
}

fn headers() -> Vec<Case> {
    let mut all = vec![
        ("a message without a mask", vec![0x82, 1, 0], 1002),
        ("a ping without a mask", vec![0x89, 0], 1002),
        ("a first reserved bit, as of compression", frame(0xc2, b"x"), 1002),
        ("a second reserved bit", frame(0xa2, b"x"), 1002),
        ("a third reserved bit", frame(0x92, b"x"), 1002),
        ("a reserved bit of a ping", frame(0xc9, b"x"), 1002),
        ("a text", frame(0x81, b"hello"), 1003),
        ("a text that is no UTF-8", frame(0x81, b"\xff\xfe"), 1003),
        ("the start of a text", frame(0x01, b"hello"), 1003),
        ("a ping of 126 bytes", frame(0x89, &[7; 126]), 1002),
        ("a pong of 126 bytes", frame(0x8a, &[7; 126]), 1002),
        ("a ping in fragments", frame(0x09, b"x"), 1002),
        ("a pong in fragments", frame(0x0a, b"x"), 1002),
        ("a length spelled in two bytes for no reason", [&[0x82, 0xfe, 0, 5, 0, 0, 0, 0][..], b"hello"].concat(), 1002),
        ("a length spelled in eight bytes for no reason", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], 1002),
        ("a length with its highest bit set", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], 1002),
        ("a length of 2^64 - 1", vec![0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0], 1002),
        ("a length of 2^63 - 1", head(0x82, i64::MAX as u64), 1009),
        ("a length of 4 GiB", head(0x82, 1 << 32), 1009),
        ("more than a first message may have", binary(&[0x8e; 513]), 1009),
        ("a second request behind the upgrade", b"GET /homing/1 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 1002),
    ];
    let reserved = [
        (0x83, "opcode 3"),
        (0x84, "opcode 4"),
        (0x85, "opcode 5"),
        (0x86, "opcode 6"),
        (0x87, "opcode 7"),
        (0x8b, "opcode 11"),
        (0x8c, "opcode 12"),
        (0x8d, "opcode 13"),
        (0x8e, "opcode 14"),
        (0x8f, "opcode 15"),
    ];
    all.extend(reserved.map(|(first, name)| (name, frame(first, b"x"), 1002)));
    all
}

fn fragments() -> Vec<Case> {
    vec![
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a continuation of nothing that goes on", frame(0x00, b"x"), 1002),
        ("a message inside a message", [frame(0x02, b"x"), binary(b"y")].concat(), 1002),
        ("the start of a message inside a message", [frame(0x02, b"x"), frame(0x02, b"y")].concat(), 1002),
        ("a text inside a message", [frame(0x02, b"x"), frame(0x81, b"y")].concat(), 1003),
        ("fragments that are too much together", [frame(0x02, &[0; 300]), frame(0x00, &[0; 300])].concat(), 1009),
        ("131,000 fragments of one byte", [frame(0x02, b"x"), frame(0x00, b"x").repeat(131_000)].concat(), 1009),
        (
            "131,000 fragments of nothing, and a goodbye",
            [frame(0x02, b""), frame(0x00, b"").repeat(131_000), close(1000, b"")].concat(),
            1000,
        ),
        ("an empty message", binary(b""), 4006),
        ("an empty message in fragments", [frame(0x02, b""), frame(0x80, b"")].concat(), 4006),
    ]
}

fn closes() -> Vec<Case> {
    let mut all = vec![
        ("a goodbye", close(1000, b""), 1000),
        ("a goodbye without a code", frame(0x88, b""), 1000),
        ("a goodbye with a reason", close(1001, "au\u{df}er Haus".as_bytes()), 1001),
        ("a goodbye of 126 bytes", close(1000, &[b'x'; 124]), 1002),
        ("a goodbye of one byte", frame(0x88, &[3]), 1002),
        ("a goodbye in fragments", frame(0x08, &[3, 232]), 1002),
        ("a goodbye whose reason is no UTF-8", close(1000, b"\xff\xfe"), 1007),
        ("messages behind the goodbye", [close(1000, b""), binary(b"late").repeat(1000)].concat(), 1000),
        ("two goodbyes", [close(1000, b""), close(1001, b"")].concat(), 1000),
        ("a fault behind the goodbye", [close(3000, b""), frame(0xf1, b"x")].concat(), 3000),
    ];
    let codes = [
        (0, "a goodbye with code 0"),
        (999, "a goodbye with code 999"),
        (1004, "a goodbye with code 1004"),
        (1005, "a goodbye with code 1005"),
        (1006, "a goodbye with code 1006"),
        (1015, "a goodbye with code 1015"),
        (1016, "a goodbye with code 1016"),
        (2999, "a goodbye with code 2999"),
        (5000, "a goodbye with code 5000"),
        (65_535, "a goodbye with code 65535"),
    ];
    all.extend(codes.map(|(code, name)| (name, close(code, b""), 1002)));
    all
}

#[tokio::test]
async fn every_fault_ends_its_link_with_its_code() {
    for mut stage in Stage::on_each().await {
        for (name, bytes, code) in cases() {
            let mut link = Raw::link(&stage.relay).await;
            link.say(&bytes).await;
            assert_eq!(link.ending().await.1, Some(code), "{name} on {}", stage.runtime);
            stage.is_well(name).await;
        }
    }
}

/// What comes in one go with the request, before it is answered, is heard as well: the same codes.
#[tokio::test]
async fn what_comes_with_the_upgrade_is_a_links() {
    for mut stage in Stage::on_each().await {
        for (name, bytes, code) in cases().into_iter().filter(|(_, bytes, _)| bytes.len() < 4096) {
            let mut link = Raw::connect(&stage.relay).await;
            link.say(&[UPGRADE.as_bytes(), &bytes].concat()).await;
            assert_eq!(link.status().await, Some(101));
            assert_eq!(link.ending().await.1, Some(code), "{name}, early, on {}", stage.runtime);
        }
        stage.is_well("what came with upgrades").await;
    }
}

/// However a message is cut up, it is the same.
#[tokio::test]
async fn one_byte_at_a_time_is_understood_as_well() {
    for mut stage in Stage::on_each().await {
        let mut raw = Raw::connect(&stage.relay).await;
        let bytes = [UPGRADE.as_bytes(), &frame(0x89, b"?"), &[0x88, 0x82, 1, 2, 3, 4, 2, 234]].concat();
        for byte in bytes {
            soon("a byte to be taken", raw.tcp.write_all(&[byte])).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.status().await, Some(101));
        assert_eq!(raw.ending().await, (None, Some(1000)));
        stage.is_well("one byte at a time").await;
    }
}
