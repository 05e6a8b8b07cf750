//! The device's requests through the tunnel, with just enough HTTP and WebSocket for the sample service's answers.

use std::io;

use homing_device::Tunnel;
use homing_tokio::TunnelStream;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The service that the demo exposes.
pub(super) const SERVICE: &str = "web";
/// Bytes of an answer's head.
const MAX_HEAD: usize = 16 * 1024;
const BUFFER: usize = 256 * 1024;

/// An answer whose head was read.
struct Answer {
    stream: TunnelStream,
    head: String,
    /// What came with the head.
    early: Vec<u8>,
}

impl Answer {
    async fn to(tunnel: &Tunnel, path: &str, headers: &str) -> io::Result<Self> {
        let mut stream = tunnel.open(SERVICE).await.map_err(io::Error::other)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {SERVICE}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut early = Vec::new();
        loop {
            if let Some(end) = early.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = early.split_off(end + 4);
                let head = String::from_utf8_lossy(&early).into_owned();
                return Ok(Self { stream, head, early: rest });
            }
            if early.len() > MAX_HEAD || stream.read_buf(&mut early).await? == 0 {
                return Err(io::Error::other("the answer has no end of its head"));
            }
        }
    }

    fn expect(self, status: &str) -> io::Result<Self> {
        let line = self.head.lines().next().unwrap_or_default();
        if line.split(' ').nth(1) == Some(status) {
            Ok(self)
        } else {
            Err(io::Error::other(format!("answered {line:?}")))
        }
    }

    fn length(&self) -> io::Result<u64> {
        let value = self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        value.ok_or_else(|| io::Error::other("the answer does not tell its length"))
    }
}

/// The page, whole.
pub(super) async fn page(tunnel: &Tunnel) -> io::Result<String> {
    let mut answer = Answer::to(tunnel, "/", "").await?.expect("200")?;
    let length = answer.length()?;
    let mut body = answer.early;
    let rest = length.saturating_sub(body.len() as u64);
    (&mut answer.stream).take(rest).read_to_end(&mut body).await?;
    if body.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    String::from_utf8(body).map_err(io::Error::other)
}

/// The first event of the live stream; nobody waits for the second.
pub(super) async fn first_event(tunnel: &Tunnel) -> io::Result<String> {
    let mut answer = Answer::to(tunnel, "/load", "Accept: text/event-stream\r\n").await?.expect("200")?;
    let mut text = core::mem::take(&mut answer.early);
    loop {
        let seen = String::from_utf8_lossy(&text);
        if let Some((event, _)) = seen.split_once("data: ").and_then(|(_, rest)| rest.split_once("\n\n")) {
            return Ok(event.to_owned());
        }
        if text.len() > MAX_HEAD || answer.stream.read_buf(&mut text).await? == 0 {
            return Err(io::Error::other("no event came"));
        }
    }
}

/// Says `words`, fewer than 126 bytes, to the echo and gives back what it says.
pub(super) async fn echo(tunnel: &Tunnel, words: &str) -> io::Result<String> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: aG9taW5nIGRlbW8gZWNobw==\r\n";
    let Answer { mut stream, early, .. } = Answer::to(tunnel, "/echo", upgrade).await?.expect("101")?;
    let len =
        u8::try_from(words.len()).ok().filter(|len| *len < 126).ok_or_else(|| io::Error::other("too many words"))?;
    // A whole text frame with a mask of zeros; what a mask is for is done by the tunnel's encryption.
    let mut frame = vec![0x81, 0x80 | len, 0, 0, 0, 0];
    frame.extend_from_slice(words.as_bytes());
    stream.write_all(&frame).await?;
    let mut back = early;
    while back.len() < 2 + usize::from(len) {
        if stream.read_buf(&mut back).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    match back.split_at_checked(2) {
        Some(([0x81, said], text)) if *said == len => String::from_utf8(text.to_vec()).map_err(io::Error::other),
        _ => Err(io::Error::other("something else came back")),
    }
}

/// Downloads so many bytes; what they hash to, in hex.
pub(super) async fn download(tunnel: &Tunnel, bytes: u64) -> io::Result<String> {
    let answer = Answer::to(tunnel, &format!("/download?bytes={bytes}"), "").await?.expect("200")?;
    if answer.length()? != bytes {
        return Err(io::Error::other("the answer has another length"));
    }
    let mut stream = answer.stream;
    let mut hash = Sha256::new();
    hash.update(&answer.early);
    let mut left = bytes.saturating_sub(answer.early.len() as u64);
    let mut buffer = vec![0; BUFFER];
    while left > 0 {
        let len = stream.read(&mut buffer).await?;
        let read = buffer.get(..len).filter(|read| !read.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        hash.update(read);
        left = left.saturating_sub(len as u64);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
