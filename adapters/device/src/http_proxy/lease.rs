//! A client connection's stream to a service, and the exchange under way on it.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::address::Address;

/// What a stream has to be.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// HTTP on a stream to a service. Nothing moves on it unless it is driven.
pub(super) struct Lease<S: Stream> {
    pub(super) sender: SendRequest<Incoming>,
    /// Whether it has served a request before.
    pub(super) used: bool,
    address: Address,
    connection: Connection<TokioIo<S>, Incoming>,
    over: bool,
}

impl<S: Stream> Lease<S> {
    pub(super) async fn new(address: Address, stream: S) -> Result<Self, hyper::Error> {
        let mut builder = Builder::new();
        builder.max_buf_size(super::MAX_HEAD).max_headers(super::MAX_HEADERS);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, used: false, address, connection, over: false })
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), hyper::Error> {
        if !self.over
            && let Poll::Ready(end) = Pin::new(&mut self.connection).poll(cx)
        {
            self.over = true;
            return end;
        }
        Ok(())
    }

    /// The stream after 101, and what was already read of what follows.
    pub(super) async fn into_stream(mut self) -> Result<(S, Bytes), hyper::Error> {
        poll_fn(|cx| {
            let driven = self.drive(cx);
            if driven.is_err() || self.over { Poll::Ready(driven) } else { Poll::Pending }
        })
        .await?;
        let parts = self.connection.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf))
    }
}

/// Two sides that have left HTTP.
pub(super) enum Upgrade<S: Stream> {
    /// After CONNECT.
    Tunnel { client: OnUpgrade, service: S },
    /// After 101.
    Switched { client: OnUpgrade, service: Box<Lease<S>> },
}

/// What the server, the answer's body and the driver of one connection share, all within one task: the lock is never
/// contended.
pub(super) struct Exchange<S: Stream>(Arc<Mutex<State<S>>>);

struct State<S: Stream> {
    lease: Option<Lease<S>>,
    answered: bool,
    upgrade: Option<Upgrade<S>>,
}

impl<S: Stream> Clone for Exchange<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Stream> Default for Exchange<S> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { lease: None, answered: true, upgrade: None })))
    }
}

impl<S: Stream> Exchange<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The idle lease, if it leads to `address`; any other is given up.
    pub(super) fn take(&self, address: &Address) -> Option<Lease<S>> {
        let (mut lease, answered) = {
            let mut state = self.lock();
            (state.lease.take()?, state.answered)
        };
        // What has happened to it since it was last looked at.
        let alive = lease.drive(&mut Context::from_waker(Waker::noop())).is_ok() && !lease.over;
        (alive && answered && lease.address == *address && lease.sender.is_ready()).then_some(lease)
    }

    /// A request was handed to this lease.
    pub(super) fn begin(&self, mut lease: Lease<S>) {
        lease.used = true;
        let mut state = self.lock();
        state.lease = Some(lease);
        state.answered = false;
    }

    /// Nobody wants the answer: lets go of the stream, which tells the host.
    pub(super) fn cancel(&self) {
        let lease = self.lock().lease.take();
        drop(lease);
    }

    /// The service said 101.
    pub(super) fn switch(&self, client: OnUpgrade) {
        let mut state = self.lock();
        state.upgrade = state.lease.take().map(|service| Upgrade::Switched { client, service: Box::new(service) });
    }

    /// CONNECT was granted.
    pub(super) fn tunnel(&self, client: OnUpgrade, service: S) {
        self.lock().upgrade = Some(Upgrade::Tunnel { client, service });
    }

    pub(super) fn take_upgrade(&self) -> Option<Upgrade<S>> {
        self.lock().upgrade.take()
    }

    /// Moves bytes between the service and this exchange. An idle lease is watched too: it goes when the host closes it.
    pub(super) fn drive(&self, cx: &mut Context<'_>) {
        let mut state = self.lock();
        let answered = state.answered;
        let Some(lease) = &mut state.lease else { return };
        // An error has reached the request or the body by itself.
        if lease.drive(cx).is_err() || (answered && lease.over) {
            state.lease = None;
        }
    }
}

/// The body of an answer: the service's as it comes, or a line of our own.
pub(super) enum Answer<S: Stream> {
    Text(Option<Bytes>),
    Service(FromService<S>),
}

/// A service's body; tells its exchange how it ended.
pub(super) struct FromService<S: Stream> {
    body: Incoming,
    exchange: Exchange<S>,
    ended: bool,
}

impl<S: Stream> Answer<S> {
    pub(super) const fn service(body: Incoming, exchange: Exchange<S>) -> Self {
        Self::Service(FromService { body, exchange, ended: false })
    }
}

impl<S: Stream> Drop for FromService<S> {
    fn drop(&mut self) {
        if self.ended || self.body.is_end_stream() {
            self.exchange.lock().answered = true;
        } else {
            self.exchange.cancel();
        }
    }
}

impl<S: Stream> Body for Answer<S> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Service(from) => {
                let frame = Pin::new(&mut from.body).poll_frame(cx);
                // After trailers nobody asks again.
                from.ended = match &frame {
                    Poll::Ready(None) => true,
                    Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
                    _ => false,
                };
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Service(from) => from.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Service(from) => from.body.size_hint(),
        }
    }
}
