//! A connection that says whatever it likes.

use homing_core::hop::{Code, Frame, MAX_MESSAGE};
use homing_core::wire::Writer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Running, soon};

/// What a proper client asks a link with.
pub const UPGRADE: &str = "GET /homing/1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A request like that with one thing changed.
pub fn upgrade_with(from: &str, to: &str) -> Vec<u8> {
    assert!(UPGRADE.contains(from), "{from}");
    UPGRADE.replacen(from, to, 1).into_bytes()
}

/// The first bytes of a client's frame that announces so many bytes, its mask all zero.
pub fn head(first: u8, len: u64) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..126 => head.push(0x80 | len as u8),
        126..0x1_0000 => {
            head.push(0x80 | 126);
            head.extend((len as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(len.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// A whole frame of a client.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len() as u64), payload.to_vec()].concat()
}

/// A whole message.
pub fn binary(message: &[u8]) -> Vec<u8> {
    frame(0x82, message)
}

/// A close frame.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason].concat())
}

/// A message of the protocol.
pub fn word(idx: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut writer = Writer::new(&mut bytes);
    frame.emit(idx, &mut writer).unwrap();
    let len = writer.len();
    bytes.truncate(len);
    bytes
}

/// Has the connection end with a reset, once it is dropped.
pub fn reset(tcp: &TcpStream) {
    tcp.set_zero_linger().unwrap();
}

pub struct Raw {
    pub tcp: TcpStream,
}

/// How a link ended: the code of its CLOSED, and that of the close frame. None where there was none.
pub type Ending = (Option<Code>, Option<u16>);

impl Raw {
    pub async fn connect(relay: &Running) -> Self {
        let tcp = TcpStream::connect(relay.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { tcp }
    }

    /// A link whose challenge has been read.
    pub async fn link(relay: &Running) -> Self {
        Self::challenged(relay).await.0
    }

    /// The same, and what proofs are bound to.
    pub async fn challenged(relay: &Running) -> (Self, [u8; 32]) {
        let mut raw = Self::connect(relay).await;
        raw.say(UPGRADE.as_bytes()).await;
        assert_eq!(raw.status().await, Some(101));
        let (first, message) = raw.frame().await.unwrap();
        let Ok((0, Frame::Hello(hello))) = Frame::parse(&message) else { panic!("frame {first:02x} {message:02x?}") };
        (raw, hello.nonce)
    }

    /// Says this as far as it is heard.
    pub async fn say(&mut self, bytes: &[u8]) {
        let _ = soon("the relay to hear", self.tcp.write_all(bytes)).await;
    }

    /// Ends the connection as a crash does.
    pub fn reset(self) {
        reset(&self.tcp);
    }

    /// The status of the next answer, which is read to its end; none where the connection is over.
    pub async fn status(&mut self) -> Option<u16> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("an answer", self.tcp.read_u8()).await.ok()?);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest.split("\r\n").next().unwrap());
        let mut body = vec![0; length.parse().unwrap()];
        soon("a body", self.tcp.read_exact(&mut body)).await.ok()?;
        Some(head[9..12].parse().unwrap())
    }

    /// The next frame; none where the connection is over.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        soon("a frame", async {
            let [first, len] = [self.tcp.read_u8().await.ok()?, self.tcp.read_u8().await.ok()?];
            let len = if len == 126 { self.tcp.read_u16().await.ok()? } else { u16::from(len) };
            let mut payload = vec![0; len.into()];
            self.tcp.read_exact(&mut payload).await.ok()?;
            Some((first, payload))
        })
        .await
    }

    /// Reads to the end of the link.
    pub async fn ending(&mut self) -> Ending {
        let mut closed = None;
        while let Some((first, payload)) = self.frame().await {
            match (first, payload.first()) {
                (0x82, Some(0x8d)) => closed = Some(Code::parse(payload[5]).unwrap()),
                (0x82 | 0x8a, _) => {}
                (0x88, _) => {
                    assert_eq!(self.frame().await, None, "more after the close frame");
                    return (closed, Some(u16::from_be_bytes([payload[0], payload[1]])));
                }
                other => panic!("frame {other:02x?}"),
            }
        }
        (closed, None)
    }
}
