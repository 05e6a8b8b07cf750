//! A client's WebSocket, as little as the load needs: binary frames under a mask that changes nothing. The relay takes the
//! mask off all the same.

use core::ops::Range;
use core::time::Duration;
use std::io;

use homing_tokio::{Io, PATH, SUBPROTOCOL};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::target::Target;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
/// How long the close frame behind a refusal may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest answer to the upgrade.
const HEAD: usize = 2048;

/// Why there is no link.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No connection, or none any more, and no answer.
    Dropped,
    /// The relay answered.
    Answered { status: u16, retry_after: bool },
    /// It let the link in, and closed it with this code of the WebSocket.
    Closed { code: u16, retry_after: bool },
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Dropped
    }
}

/// Why a link is over.
#[derive(Debug)]
pub(crate) enum Lost {
    Broken,
    /// The relay said goodbye.
    HungUp,
    /// The relay answers nothing.
    Silent,
    /// The relay sent nonsense.
    Violation,
}

impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

pub(crate) struct Wire {
    io: Io,
    buf: Vec<u8>,
    read: Range<usize>,
    out: Vec<u8>,
    /// Bytes of `out` that the socket has taken.
    written: usize,
    /// The code that the relay closed with, and whether it said when to come back.
    goodbye: Option<(u16, bool)>,
}

impl Wire {
    /// A link's WebSocket, with so many bytes of room to read into.
    pub(crate) async fn open(target: &Target, number: usize, room: usize) -> Result<Self, Refusal> {
        let io = target.connect(number).await?;
        Self::upgrade(io, &target.name, room).await
    }

    pub(crate) async fn upgrade(mut io: Io, name: &str, room: usize) -> Result<Self, Refusal> {
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {name}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        );
        io.write_all(request.as_bytes()).await?;
        io.flush().await?;
        let mut head = [0; HEAD];
        let mut filled = 0;
        let end = loop {
            let len = io.read(&mut head[filled..]).await?;
            if len == 0 {
                return Err(Refusal::Dropped);
            }
            filled += len;
            if let Some(at) = head[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status != 101 {
            return Err(Refusal::Answered { status, retry_after: text.contains("\r\nretry-after:") });
        }
        let mut buf = vec![0; room.max(filled - end)];
        buf[..filled - end].copy_from_slice(&head[end..filled]);
        Ok(Self { io, buf, read: 0..filled - end, out: Vec::new(), written: 0, goodbye: None })
    }

    /// Reads once; cancelling it loses nothing.
    pub(crate) async fn fill(&mut self) -> Result<(), Lost> {
        if self.read.is_empty() {
            self.read = 0..0;
        } else if self.read.end == self.buf.len() {
            self.buf.copy_within(self.read.clone(), 0);
            self.read = 0..self.read.len();
            if self.read.end == self.buf.len() {
                self.buf.resize(self.buf.len() * 2, 0);
            }
        }
        let len = self.io.read(&mut self.buf[self.read.end..]).await?;
        if len == 0 {
            return Err(Lost::Broken);
        }
        self.read.end += len;
        Ok(())
    }

    /// The next message that was read, where it lies.
    pub(crate) fn message(&mut self) -> Result<Option<Range<usize>>, Lost> {
        let unread = &self.buf[self.read.clone()];
        let &[first, len, ref rest @ ..] = unread else { return Ok(None) };
        let (header, len) = match (len, rest) {
            (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (126 | 127, _) => return Ok(None),
            (short, _) => (2, usize::from(short)),
        };
        if unread.len() < header + len {
            return Ok(None);
        }
        let payload = self.read.start + header..self.read.start + header + len;
        self.read.start = payload.end;
        match first {
            BINARY => Ok(Some(payload)),
            CLOSE => {
                if let Some((code, reason)) = self.buf[payload].split_first_chunk() {
                    self.goodbye = Some((u16::from_be_bytes(*code), reason.starts_with(b"retry-after=")));
                }
                Err(Lost::HungUp)
            }
            _ => Err(Lost::Violation),
        }
    }

    /// Waits a moment for the relay to close, and tells how it did.
    pub(crate) async fn goodbye(mut self) -> Refusal {
        let closing = async {
            while self.goodbye.is_none() {
                let more = match self.message() {
                    Ok(Some(_)) => true,
                    Ok(None) => self.fill().await.is_ok(),
                    Err(_) => false,
                };
                if !more {
                    break;
                }
            }
        };
        let _ = timeout(FAREWELL, closing).await;
        self.goodbye.map_or(Refusal::Dropped, |(code, retry_after)| Refusal::Closed { code, retry_after })
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buf[range]
    }

    /// Puts a message of two parts with the bytes that are to be written.
    pub(crate) fn push(&mut self, head: &[u8], body: &[u8]) {
        let len = head.len() + body.len();
        self.out.push(BINARY);
        match u16::try_from(len) {
            Ok(short) if short < 126 => self.out.push(0x80 | short.to_be_bytes()[1]),
            Ok(long) => {
                self.out.push(0x80 | 126);
                self.out.extend(long.to_be_bytes());
            }
            Err(_) => panic!("longer than any message"),
        }
        self.out.extend([0; 4]);
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(body);
    }

    /// Bytes that are to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len()
    }

    /// Writes what is to be written; cancelling it loses nothing.
    pub(crate) async fn flush(&mut self) -> Result<(), Lost> {
        if self.out.is_empty() {
            return Ok(());
        }
        while self.written < self.out.len() {
            self.written += self.io.write(&self.out[self.written..]).await?;
        }
        self.io.flush().await?;
        if self.out.len() > 4096 && self.buf.len() < 4096 {
            self.out = Vec::new(); // an idle end is to be small again
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
