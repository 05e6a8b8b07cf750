//! One link's task: reads and writes its socket at once.
//!
//! Reading never waits for writing. What is read is parsed in a buffer that all links of a thread
//! share; what is left of a message between two reads is all that a link keeps.

use core::cell::RefCell;
use core::future::poll_fn;
use core::net::IpAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use homing_core::hop::MAX_MESSAGE;
use homing_core::relay::LinkId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use crate::account::{Answer, Applicant};
use crate::address::{Seat, Unknown};
use crate::frame::{Decoder, Fault, Incoming};
use crate::http::Opening;
use crate::hub::{DRAINING, Hub, LinkName, Outlet};
use crate::limits::Limit;
use crate::outbox::{Ending, Form, OVERFLOW, Piece};
use crate::runtime::{Runtime, timeout};

/// How long a peer may take to read what waits once the relay has ended its link. Until then it fills
/// a part of the budget.
const LINGER: Duration = Duration::from_secs(30);
/// How long it then has to take leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes read at once.
const SCRATCH: usize = 64 * 1024;
/// Bytes taken from the outbox at once: enough for one call into the kernel, little enough that
/// an urgent message soon follows.
const BATCH: usize = 64 * 1024;
/// Pieces written by one call.
const SLICES: usize = 16;
/// Reads before other links have their turn.
const READS: usize = 4;
/// First bytes of the messages by which a host makes itself known.
const REGISTER: u8 = 0x81;
const ATTACH: u8 = 0x90;
/// The longest message before the endpoint has said who it is.
pub(crate) const FIRST_MESSAGE: usize = 512;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH + MAX_MESSAGE + 16]);
}

/// What the peer's bytes lead to.
enum Heard {
    /// Go on reading.
    More,
    /// The peer closed, or broke the rules: answer with this code.
    End(u16),
}

/// Whom a link is for.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where it comes from, where that is known.
    pub(crate) address: Option<IpAddr>,
    /// Its place among the links of its address, where that is counted.
    pub(crate) seat: Option<Seat>,
    /// Whether it may be a host.
    pub(crate) may_host: bool,
}

/// How a link begins.
#[derive(Debug)]
pub(crate) struct Start {
    /// The answer to its request.
    pub(crate) head: Vec<u8>,
    /// What was read behind that request.
    pub(crate) early: Bytes,
    pub(crate) opening: Opening,
    pub(crate) client: Client,
    /// Its place among those whom nobody knows.
    pub(crate) unknown: (OwnedSemaphorePermit, Option<Unknown>),
    /// How long its socket may take nothing of what waits.
    pub(crate) stall: Duration,
}

struct Link<R: Runtime> {
    io: R::Io,
    hub: Arc<Hub>,
    id: LinkId,
    outlet: Arc<Outlet>,
    /// The start of a message whose rest has not arrived.
    tail: Vec<u8>,
    decoder: Decoder,
    /// Whether the endpoint has sent a message yet.
    spoke: bool,
    /// Whether it speaks as a host.
    is_host: bool,
    /// What its host's messages name it by, where that waits: they come on other connections.
    waits: Option<LinkName>,
    /// Which of its host's links it is, as that counts them.
    number: u8,
    /// Whether the host may come in.
    answer: Option<(Applicant, Answer)>,
    client: Client,
    /// Its place among those whom nobody knows, until somebody does.
    unknown: Option<(OwnedSemaphorePermit, Option<Unknown>)>,
    /// A socket that takes no byte for so long is given up.
    stall: Duration,
    /// Nothing is read before this, which its account has to wait for.
    pause: Option<Pin<Box<R::Sleep>>>,
    writing: VecDeque<Piece>,
    /// Bytes of the first piece that the socket has taken.
    offset: usize,
    /// Whether there may be bytes inside TLS that have not reached the socket.
    unflushed: bool,
    /// When the socket last took a byte.
    progress: Instant,
    alarm: Option<Pin<Box<R::Sleep>>>,
    /// Whether the link is ending: nothing that the peer says counts any more.
    leaving: bool,
    /// Whether the close frame has been handed over.
    said_goodbye: bool,
}

/// Serves a link until either side ends it.
pub(crate) async fn run<R: Runtime>(mut io: R::Io, start: Start, hub: Arc<Hub>) {
    let Start { head, early, opening, client, unknown, stall } = start;
    // Apart from the first message: that measures a round trip, which begins when the endpoint can hear it.
    let answered = async {
        io.write_all(&head).await?;
        io.flush().await
    };
    if !matches!(timeout::<R, _>(FAREWELL, answered).await, Some(Ok(()))) {
        return;
    }
    drop(head);
    let attached = match opening.form {
        Form::WebSocket => hub.attach(&opening.name).map(|(id, outlet)| (id, outlet, None)),
        Form::Events => hub.attach_waiting(&opening.name).map(|(id, outlet, name)| (id, outlet, Some(name))),
    };
    let Some((id, outlet, waits)) = attached else { return };
    let mut link = Link::<R> {
        io,
        hub,
        id,
        outlet,
        tail: Vec::new(),
        decoder: Decoder::default(),
        spoke: false,
        is_host: false,
        waits,
        number: opening.number,
        writing: VecDeque::new(),
        answer: None,
        client,
        unknown: Some(unknown),
        stall,
        pause: None,
        offset: 0,
        unflushed: false,
        progress: Instant::now(),
        alarm: None,
        leaving: false,
        said_goodbye: false,
    };
    if let Heard::End(code) = link.hear_early(&early) {
        link.end(code);
    }
    drop(early);
    let ended = poll_fn(|cx| link.poll(cx)).await;
    if let Err(error) = ended {
        tracing::debug!(%error, "link ended");
    }
    // `Drop` tells the switch.
}

impl<R: Runtime> Drop for Link<R> {
    fn drop(&mut self) {
        match &self.waits {
            Some(name) => self.hub.detach_waiting(self.id, name),
            None => self.hub.detach(self.id),
        }
    }
}

impl<R: Runtime> Link<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // While this runs nobody needs to wake it.
        self.outlet.lock().set_waker(None);
        if let Poll::Ready(Heard::End(code)) = self.poll_read(cx)? {
            self.end(code);
            // The socket wakes nobody until it is read again, and what is left to come is its end.
            cx.waker().wake_by_ref();
        }
        self.poll_answer(cx);
        let ending = self.outlet.lock().ending();
        match ending {
            Ending::Open => {}
            Ending::Wanted(OVERFLOW) => {
                if !self.leaving {
                    self.hub.count(Limit::ControlQueue);
                }
                self.detach(FAREWELL);
            }
            Ending::Wanted(DRAINING) => self.detach(LINGER),
            // The switch wanted it, and keeps room for what waits until it is told.
            Ending::Wanted(_) | Ending::Said => self.leave(LINGER),
        }
        self.poll_write(cx)?;
        self.poll_alarm(cx)
    }

    /// The peer is done, or at fault: nothing more is for it but the code.
    fn end(&mut self, code: u16) {
        {
            let mut outbox = self.outlet.lock();
            outbox.drop_data();
            outbox.end(code);
        }
        self.detach(FAREWELL);
    }

    /// Lets the far ends know at once.
    fn detach(&mut self, limit: Duration) {
        if !self.leaving {
            self.leave(limit);
            self.hub.detach(self.id);
        }
    }

    /// Gives the peer a moment to hear why.
    fn leave(&mut self, limit: Duration) {
        if !self.leaving {
            self.leaving = true;
            self.alarm = Some(Box::pin(R::sleep(limit)));
        }
    }

    /// Hears whether a host may come in.
    fn poll_answer(&mut self, cx: &mut Context<'_>) {
        let asked = self.outlet.lock().take_ask();
        if let Some(ask) = asked {
            self.answer = Some(self.hub.ask(ask, self.client.address, self.number));
        }
        let Some((applicant, answer)) = &mut self.answer else { return };
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            self.hub.settle(self.id, applicant, self.number, answer);
            self.answer = None;
            self.unknown = None;
        }
    }

    /// Reads what has arrived. Ready where the peer's side is over.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<Heard>> {
        READ_BUFFER.with_borrow_mut(|scratch| {
            for _ in 0..READS {
                if let Some(pause) = &mut self.pause {
                    if pause.as_mut().poll(cx).is_pending() {
                        return Ok(Poll::Pending);
                    }
                    self.pause = None;
                }
                let start = self.tail.len();
                let Some(space) = scratch.get_mut(start..) else { return Ok(Poll::Ready(Heard::End(1009))) };
                let mut space = ReadBuf::new(space);
                match Pin::new(&mut self.io).poll_read(cx, &mut space) {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(result) => result?,
                }
                let end = start + space.filled().len();
                if end == start {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                // A host that waits has nothing to say here.
                if self.leaving || self.waits.is_some() {
                    continue;
                }
                let Some(buf) = scratch.get_mut(..end) else { break };
                buf.get_mut(..start).unwrap_or_default().copy_from_slice(&self.tail);
                if let end @ Heard::End(_) = self.hear(buf) {
                    return Ok(Poll::Ready(end));
                }
            }
            cx.waker().wake_by_ref();
            Ok(Poll::Pending)
        })
    }

    fn hear_early(&mut self, early: &[u8]) -> Heard {
        if early.is_empty() || self.waits.is_some() { Heard::More } else { self.hear(&mut early.to_vec()) }
    }

    /// Handles every whole message in `buf` and keeps the rest.
    fn hear(&mut self, buf: &mut [u8]) -> Heard {
        let Self { hub, id, outlet, decoder, spoke, is_host, tail, client, .. } = self;
        let bytes = buf.len().saturating_sub(tail.len());
        let mut rest = buf;
        let (heard, mut pause) = hub.turn(*is_host, |turn| {
            loop {
                let limit = if *spoke { MAX_MESSAGE } else { FIRST_MESSAGE };
                let (incoming, len) = match decoder.read(rest, limit) {
                    Ok(Some(read)) => read,
                    Ok(None) => return Ok(None),
                    Err(fault) => return Err(fault),
                };
                match incoming {
                    Incoming::Message(message) => {
                        if !*spoke {
                            if turn.is_draining() {
                                return Ok(Some(DRAINING));
                            }
                            *spoke = true;
                            *is_host = matches!(message.first(), Some(&(REGISTER | ATTACH)));
                        }
                        if !client.may_host && matches!(message.first(), Some(&(REGISTER | ATTACH))) {
                            tracing::info!(reason = "certificate", "a host shows no certificate, and has to");
                            turn.deny(*id);
                        } else {
                            let _ = turn.handle(*id, message);
                        }
                    }
                    Incoming::Text(_) => return Err(Fault::Text),
                    Incoming::Ping(payload) => drop(outlet.lock().push_pong(payload)),
                    Incoming::Close(code) => return Ok(Some(code)),
                    Incoming::Nothing => {}
                }
                let Some(next) = core::mem::take(&mut rest).get_mut(len..) else { return Err(Fault::Protocol) };
                rest = next;
            }
        });
        if *spoke && !*is_host {
            self.unknown = None; // a host is known once it is let in
        }
        if let Some(seat) = &client.seat {
            pause = pause.max(seat.charge(bytes as u64, Instant::now()));
        }
        if !pause.is_zero() {
            self.pause = Some(Box::pin(R::sleep(pause)));
        }
        tail.clear();
        match heard {
            Ok(None) if rest.is_empty() => *tail = Vec::new(),
            Ok(None) => tail.extend_from_slice(rest),
            // 1005 says that there was no code; it may not be sent.
            Ok(Some(1005)) => return Heard::End(1000),
            Ok(Some(code)) => return Heard::End(code),
            Err(fault) => return Heard::End(fault.close_code()),
        }
        Heard::More
    }

    /// Writes what waits, as far as the socket takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut sent = Vec::new();
        let result = self.poll_write_pieces(cx, &mut sent);
        if !sent.is_empty() {
            self.hub.sent(self.id, sent);
        }
        result
    }

    fn poll_write_pieces(&mut self, cx: &mut Context<'_>, sent: &mut Vec<Piece>) -> io::Result<()> {
        loop {
            if self.writing.is_empty() && !self.refill(cx) {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut skip = self.offset;
            for (slice, piece) in slices.iter_mut().zip(&self.writing) {
                *slice = IoSlice::new(piece.bytes.get(skip..).unwrap_or_default());
                skip = 0;
            }
            let count = self.writing.len().min(SLICES);
            let slices = slices.get(..count).unwrap_or_default();
            match Pin::new(&mut self.io).poll_write_vectored(cx, slices) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => self.advance(taken, sent),
                Poll::Ready(Err(error)) => return Err(error),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(result) => result?,
            }
            self.unflushed = false;
        }
        if !self.said_goodbye {
            return Ok(());
        }
        // The peer's end of stream comes by `poll_read`, or the alarm rings.
        match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes from the outbox what is next; where that is nothing, asks to be woken.
    fn refill(&mut self, cx: &mut Context<'_>) -> bool {
        let mut outbox = self.outlet.lock();
        outbox.take(&mut self.writing, BATCH);
        if outbox.ending() == Ending::Said && !self.said_goodbye {
            self.said_goodbye = true;
            self.alarm = Some(Box::pin(R::sleep(FAREWELL)));
        }
        if self.writing.is_empty() {
            outbox.set_waker(Some(cx.waker().clone()));
            if outbox.has_ask() {
                cx.waker().wake_by_ref(); // it came while nobody could be woken
            }
            outbox.shrink();
            self.writing = VecDeque::new();
            return false;
        }
        true
    }

    fn advance(&mut self, mut taken: usize, sent: &mut Vec<Piece>) {
        self.progress = Instant::now();
        while let Some(piece) = self.writing.front() {
            let left = piece.bytes.len().saturating_sub(self.offset);
            if taken < left {
                self.offset += taken;
                return;
            }
            taken -= left;
            self.offset = 0;
            sent.extend(self.writing.pop_front().filter(|piece| piece.charged > 0));
        }
    }

    /// Watches over a socket that does not take what waits for it.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let waits = !self.writing.is_empty() || self.unflushed || self.leaving;
            if self.alarm.is_none() && waits {
                self.progress = self.progress.max(Instant::now());
                self.alarm = Some(Box::pin(R::sleep(self.stall.saturating_sub(self.progress.elapsed()))));
            }
            let Some(alarm) = &mut self.alarm else { return Poll::Pending };
            ready!(alarm.as_mut().poll(cx));
            if !waits {
                self.alarm = None;
            } else if self.leaving || self.progress.elapsed() >= self.stall {
                if !self.leaving {
                    self.hub.count(Limit::SlowReader);
                }
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            } else {
                // It took something in the meantime.
                *alarm = Box::pin(R::sleep(self.stall.saturating_sub(self.progress.elapsed())));
            }
        }
    }
}
