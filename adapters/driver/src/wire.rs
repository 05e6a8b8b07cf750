//! A link's WebSocket: whole binary messages in and out, nothing of what they mean.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::{Error as WsError, Message};
use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{Sink, Stream};

use crate::retry;

/// Why a link's socket ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The relay closed it, or it broke.
    #[error("link to the relay closed")]
    Closed,
    /// The socket or its framing failed.
    #[error("link to the relay failed: {0}")]
    Socket(Box<WsError>),
    /// A text message, which no relay of ours sends.
    #[error("the relay sent a text message")]
    Text,
}

impl From<WsError> for WireError {
    fn from(error: WsError) -> Self {
        match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => Self::Closed,
            other => Self::Socket(Box::new(other)),
        }
    }
}

pub(crate) struct Wire<S> {
    socket: WebSocketStream<S>,
    unflushed: bool,
    /// When the relay said that there is use in coming back, as it closed.
    told: Option<Duration>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) const fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, unflushed: false, told: None }
    }

    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, WireError>> {
        loop {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(message))) => return Poll::Ready(Ok(message)),
                // Its answer is queued by the library; make sure that it leaves.
                Some(Ok(Message::Ping(_))) => self.unflushed = true,
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(WireError::Text)),
                Some(Ok(Message::Close(frame))) => {
                    self.told = frame.and_then(|frame| retry::reason(&frame.reason));
                    return Poll::Ready(Err(WireError::Closed));
                }
                None => return Poll::Ready(Err(WireError::Closed)),
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// When the relay said that there is use in coming back; none before it has closed.
    pub(crate) const fn told(&self) -> Option<Duration> {
        self.told
    }

    /// Whether a message would be taken now.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(WireError::from)
    }

    /// Takes a message, after [`poll_ready`](Self::poll_ready) said so. It leaves with the flush.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), WireError> {
        self.unflushed = true;
        Pin::new(&mut self.socket).start_send(Message::Binary(Bytes::copy_from_slice(message)))?;
        Ok(())
    }

    /// Sends what was taken; ready once all of it left for the network.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(WireError::from)
    }
}
