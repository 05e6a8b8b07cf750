//! What is sent back to the device: the service's body as it comes, or a line of our own.

use core::pin::Pin;
use core::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::Pass;
use super::app::{AppBody, Failure};
use super::exchange::Exchange;

/// The body of an answer.
pub(super) enum Answer {
    Text(Option<Bytes>),
    Service(FromService),
    App(AppBody),
}

/// A service's body; tells its exchange how it ended.
pub(super) struct FromService {
    body: Incoming,
    exchange: Exchange,
    ended: bool,
}

impl Answer {
    pub(super) const fn empty() -> Self {
        Self::Text(None)
    }

    pub(super) fn text(text: String) -> Self {
        Self::Text(Some(text.into()))
    }

    pub(super) const fn service(body: Incoming, exchange: Exchange) -> Self {
        Self::Service(FromService { body, exchange, ended: false })
    }
}

impl Drop for FromService {
    fn drop(&mut self) {
        if self.ended || self.body.is_end_stream() { self.exchange.finish() } else { self.exchange.cancel() }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
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
                frame.map_err(Into::into)
            }
            Self::App(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Service(from) => from.body.is_end_stream(),
            Self::App(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Service(from) => from.body.size_hint(),
            Self::App(body) => body.size_hint(),
        }
    }
}

/// An answer with what let its request through.
pub(super) struct Passed<P> {
    answer: Answer,
    _pass: Option<P>,
}

impl<P> Passed<P> {
    pub(super) const fn new(answer: Answer, pass: Option<P>) -> Self {
        Self { answer, _pass: pass }
    }
}

impl<P: Pass> Body for Passed<P> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Pin::new(&mut self.get_mut().answer).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
