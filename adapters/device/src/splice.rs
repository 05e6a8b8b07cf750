//! A TCP connection and a tunnel stream joined: bytes and half-closes both ways, and an abort on
//! one side at once on the other.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use homing_core::mux::reset::CANCELLED;
use homing_tokio::TunnelStream;
use rustix::net::Shutdown;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::door::{Door, MAX_HEAD, Refusal};

/// Bytes moved at a time: two full records.
const BUFFER: usize = 32 * 1024;
const _: () = assert!(BUFFER >= MAX_HEAD, "what the door holds back has room");
/// Rounds before other tasks get their turn.
const ROUNDS: usize = 16;
/// How long bytes that nobody wants are still taken from a client, so that closing does not take
/// the service's last words from it.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes on their way, and where their way is over.
struct Way {
    buf: Box<[u8]>,
    from: usize,
    /// Where those that may go end; those from there on are held back.
    may: usize,
    to: usize,
    /// Whether some were let go.
    begun: bool,
    state: Flow,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    /// The source has ended; what is left goes out, and then the end.
    Ending,
    Done,
}

/// Why nothing more is carried.
enum End {
    Broken(io::Error),
    Refused(Refusal),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<rustix::io::Errno> for End {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Broken(error.into())
    }
}

impl Way {
    fn new() -> Self {
        Self { buf: vec![0; BUFFER].into(), from: 0, may: 0, to: 0, begun: false, state: Flow::Open }
    }

    /// Nothing that may go.
    const fn is_empty(&self) -> bool {
        self.from >= self.may
    }

    const fn holds_back(&self) -> bool {
        self.may < self.to
    }

    fn pending(&self) -> &[u8] {
        self.buf.get(self.from..self.may).unwrap_or_default()
    }

    /// Room behind what is held back, once all else has gone.
    fn room(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.buf.copy_within(self.from.min(self.to)..self.to, 0);
            self.to = self.to.saturating_sub(self.from);
            (self.from, self.may) = (0, 0);
        }
        self.buf.get_mut(self.to..).unwrap_or_default()
    }

    /// So many more bytes came, none at the end.
    const fn filled(&mut self, len: usize) {
        self.to = self.to.saturating_add(len);
        if len == 0 {
            self.to = self.may; // a head without an end is no request
            self.state = Flow::Ending;
        }
    }

    fn held_back(&self) -> &[u8] {
        self.buf.get(self.may..self.to).unwrap_or_default()
    }

    /// Lets so many of those go that were held back.
    const fn release(&mut self, len: usize) {
        self.may = self.may.saturating_add(len);
        self.begun |= len > 0;
    }
}

/// Carries bytes until both ways have ended. Before that the TCP connection only ends by a reset,
/// be it for an error, because this future is dropped or because the process is killed: its client
/// cannot take a truncated answer for a whole one. The door decides how far what the client says goes.
///
/// # Errors
/// Why it broke off.
pub(crate) async fn splice(tcp: TcpStream, mut stream: TunnelStream, mut door: Door) -> io::Result<()> {
    tcp.set_zero_linger()?;
    let carried = {
        let mut aborted = pin!(abort(&tcp));
        let (mut up, mut down) = (Way::new(), Way::new());
        let mut unwanted = false;
        let ended = poll_fn(|cx| {
            for _ in 0..ROUNDS {
                // What is there to hear, before an abort is taken to be all there is.
                let moved_up = poll_up(&tcp, &mut stream, &mut up, &mut door, &mut unwanted, cx)?;
                let moved_down = poll_down(&mut stream, &tcp, &mut down, cx)?;
                if down.begun {
                    door.hear_service();
                }
                // What is held back would tell whether the service wants more.
                unwanted |= down.state == Flow::Done && up.holds_back();
                if down.state == Flow::Done && (up.state == Flow::Done || unwanted) {
                    return Poll::Ready(Ok(unwanted));
                }
                if !moved_up && !moved_down {
                    return aborted.as_mut().poll(cx).map(|error| Err(error.into()));
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        // In the middle of a conversation an answer could be taken for another one's. A browser whose connection is reset
        // there asks again on a fresh one.
        ended.map_err(|end| (end, up.begun || down.begun))
    };
    let unwanted = match carried {
        Ok(unwanted) => unwanted,
        Err((end, begun)) => {
            // Dropped, it would still deliver what the client had finished before it left.
            stream.abort(CANCELLED);
            let refusal = match end {
                End::Broken(error) => return Err(error),
                End::Refused(refusal) => refusal,
            };
            if !begun {
                let _ = timeout(LINGER, refuse(tcp, &refusal)).await;
            }
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal.text()));
        }
    };
    set_socket_linger(&tcp, None)?;
    if unwanted {
        drop(stream);
        let _ = timeout(LINGER, drain(&tcp)).await;
    }
    Ok(())
}

/// From TCP to the stream; true where something moved. A stream that takes no more does not end the
/// other way: an answer may be under way that needs no more of the question.
fn poll_up(
    tcp: &TcpStream,
    stream: &mut TunnelStream,
    way: &mut Way,
    door: &mut Door,
    unwanted: &mut bool,
    cx: &mut Context<'_>,
) -> Result<bool, End> {
    let mut moved = false;
    if way.state == Flow::Open
        && way.is_empty()
        && let Poll::Ready(len) = poll_read(tcp, way.room(), cx)
    {
        way.filled(len?);
        way.release(door.admit(way.held_back()).map_err(End::Refused)?);
        moved = true;
    }
    if *unwanted {
        (way.from, way.may) = (way.to, way.to);
        return Ok(moved);
    }
    while !way.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, way.pending()) {
            Poll::Ready(Ok(len)) => {
                way.from = way.from.saturating_add(len);
                moved = true;
            }
            Poll::Ready(Err(_)) => {
                *unwanted = true;
                return Ok(true);
            }
            Poll::Pending => return Ok(moved),
        }
    }
    if way.state == Flow::Ending {
        *unwanted = matches!(Pin::new(stream).poll_shutdown(cx), Poll::Ready(Err(_)));
        way.state = Flow::Done;
        moved = true;
    }
    Ok(moved)
}

/// From the stream to TCP; true where something moved.
fn poll_down(stream: &mut TunnelStream, tcp: &TcpStream, way: &mut Way, cx: &mut Context<'_>) -> Result<bool, End> {
    let mut moved = false;
    if way.state == Flow::Open && way.is_empty() {
        let mut buf = ReadBuf::new(way.room());
        if let Poll::Ready(read) = Pin::new(stream).poll_read(cx, &mut buf) {
            read?;
            let len = buf.filled().len();
            way.filled(len);
            way.release(len);
            moved = true;
        }
    }
    while !way.is_empty() {
        match poll_write(tcp, way.pending(), cx) {
            Poll::Ready(len) => {
                way.from = way.from.saturating_add(len?);
                moved = true;
            }
            Poll::Pending => return Ok(moved),
        }
    }
    if way.state == Flow::Ending {
        rustix::net::shutdown(tcp, Shutdown::Write)?;
        way.state = Flow::Done;
        moved = true;
    }
    Ok(moved)
}

/// Completes when the client resets the connection, read from or not.
async fn abort(tcp: &TcpStream) -> io::Error {
    match tcp.ready(Interest::ERROR).await {
        Ok(_) => tcp.take_error().ok().flatten().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        Err(error) => error,
    }
}

/// Answers instead of the service.
async fn refuse(mut tcp: TcpStream, refusal: &Refusal) -> io::Result<()> {
    set_socket_linger(&tcp, None)?;
    tcp.write_all(&refusal.answer()).await?;
    tcp.shutdown().await?;
    drain(&tcp).await;
    Ok(())
}

async fn drain(tcp: &TcpStream) {
    let mut buf = vec![0; BUFFER];
    while poll_fn(|cx| poll_read(tcp, &mut buf, cx)).await.is_ok_and(|len| len > 0) {}
}

fn poll_read(tcp: &TcpStream, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        match tcp.try_read(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

fn poll_write(tcp: &TcpStream, buf: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_write_ready(cx))?;
        match tcp.try_write(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a way that is given pieces of such lengths, and whether anything is left in it.
    fn carried(bytes: &[u8], mut lengths: impl Iterator<Item = usize>, mut door: Door) -> (Vec<u8>, bool) {
        let (mut way, mut rest, mut out) = (Way::new(), bytes, Vec::new());
        while !rest.is_empty() {
            let room = way.room();
            let len = lengths.next().unwrap().min(room.len()).min(rest.len());
            assert!(len > 0, "no room left");
            let (piece, later) = rest.split_at(len);
            room[..len].copy_from_slice(piece);
            rest = later;
            way.filled(len);
            let go = door.admit(way.held_back()).unwrap();
            way.release(go);
            out.extend_from_slice(way.pending());
            way.from = way.may;
        }
        (out, way.holds_back())
    }

    #[test]
    fn what_is_held_back_comes_out_in_its_place() {
        let mut bytes = Vec::new();
        for i in 0..100 {
            let (cookie, body) = ("c".repeat(i * 311 % 7001), "b".repeat(i * 977 % 9001));
            let head =
                format!("POST /{i} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: {}\r\n\r\n", body.len());
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(body.as_bytes());
        }
        assert!(bytes.len() > 20 * BUFFER);
        let mut state = 1_usize;
        let random = core::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) % 9973 + 1
        });
        for lengths in [&mut core::iter::repeat(BUFFER) as &mut dyn Iterator<Item = usize>, &mut { random }] {
            let (out, held) = carried(&bytes, lengths, Door::http([].into()));
            assert!(out == bytes && !held, "{} bytes of {}", out.len(), bytes.len());
        }
        let (out, held) = carried(&bytes[..100], core::iter::repeat(7), Door::http([].into()));
        assert!(bytes.starts_with(&out));
        assert_eq!(held, out.len() < 100);
    }

    #[test]
    fn a_head_without_an_end_goes_nowhere() {
        let (mut way, mut door) = (Way::new(), Door::http([].into()));
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n";
        way.room()[..head.len()].copy_from_slice(head);
        way.filled(head.len());
        way.release(door.admit(way.held_back()).unwrap());
        assert!(way.is_empty() && way.holds_back());
        way.filled(0);
        assert!(way.is_empty() && !way.holds_back() && way.state == Flow::Ending);
    }
}
