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
use tokio::io::{AsyncRead as _, AsyncWrite as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes moved at a time: two full records.
const BUFFER: usize = 32 * 1024;
/// Rounds before other tasks get their turn.
const ROUNDS: usize = 16;
/// How long bytes that nobody wants are still taken from a client, so that closing does not take
/// the service's last words from it.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes on their way, and where their way is over.
struct Way {
    buf: Box<[u8]>,
    from: usize,
    to: usize,
    state: Flow,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    /// The source has ended; what is left goes out, and then the end.
    Ending,
    Done,
}

impl Way {
    fn new() -> Self {
        Self { buf: vec![0; BUFFER].into(), from: 0, to: 0, state: Flow::Open }
    }

    const fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    fn pending(&self) -> &[u8] {
        self.buf.get(self.from..self.to).unwrap_or_default()
    }

    const fn filled(&mut self, len: usize) {
        self.from = 0;
        self.to = len;
        if len == 0 {
            self.state = Flow::Ending;
        }
    }
}

/// Carries bytes until both ways have ended. Before that the TCP connection only ends by a reset,
/// be it for an error, because this future is dropped or because the process is killed: its client
/// cannot take a truncated answer for a whole one.
///
/// # Errors
/// Why it broke off.
pub(crate) async fn splice(tcp: TcpStream, mut stream: TunnelStream) -> io::Result<()> {
    tcp.set_zero_linger()?;
    let carried = {
        let mut aborted = pin!(abort(&tcp));
        let (mut up, mut down) = (Way::new(), Way::new());
        let mut unwanted = false;
        poll_fn(|cx| {
            for _ in 0..ROUNDS {
                // What is there to hear, before an abort is taken to be all there is.
                let moved_up = poll_up(&tcp, &mut stream, &mut up, &mut unwanted, cx)?;
                let moved_down = poll_down(&mut stream, &tcp, &mut down, cx)?;
                if down.state == Flow::Done && (up.state == Flow::Done || unwanted) {
                    return Poll::Ready(Ok(unwanted));
                }
                if !moved_up && !moved_down {
                    return aborted.as_mut().poll(cx).map(Err);
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    };
    let unwanted = match carried {
        Ok(unwanted) => unwanted,
        Err(error) => {
            // Dropped, it would still deliver what the client had finished before it left.
            stream.abort(CANCELLED);
            return Err(error);
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
    unwanted: &mut bool,
    cx: &mut Context<'_>,
) -> io::Result<bool> {
    let mut moved = false;
    if way.state == Flow::Open
        && way.is_empty()
        && let Poll::Ready(len) = poll_read(tcp, &mut way.buf, cx)
    {
        way.filled(len?);
        moved = true;
    }
    if *unwanted {
        way.from = way.to;
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
fn poll_down(stream: &mut TunnelStream, tcp: &TcpStream, way: &mut Way, cx: &mut Context<'_>) -> io::Result<bool> {
    let mut moved = false;
    if way.state == Flow::Open && way.is_empty() {
        let mut buf = ReadBuf::new(&mut way.buf);
        if let Poll::Ready(read) = Pin::new(stream).poll_read(cx, &mut buf) {
            read?;
            let len = buf.filled().len();
            way.filled(len);
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
