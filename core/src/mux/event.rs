//! What the mux tells the application, and what it holds against the peer.

use core::fmt;

use crate::wire::StreamId;

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// The peer opened a stream, perhaps with its first bytes.
    Opened {
        /// Which stream.
        id: StreamId,
        /// Its first bytes.
        data: &'b [u8],
        /// Nothing follows them.
        fin: bool,
    },
    /// Bytes arrived, in order.
    Data {
        /// Which stream.
        id: StreamId,
        /// The bytes.
        data: &'b [u8],
        /// Nothing follows them.
        fin: bool,
    },
    /// The peer gave up sending; what has arrived is incomplete.
    Reset {
        /// Which stream.
        id: StreamId,
        /// Why: of [`reset`](super::reset), or the application's own from 256 on.
        code: u16,
    },
    /// The peer wants no more of this stream.
    Stopped {
        /// Which stream.
        id: StreamId,
        /// Why: of [`reset`](super::reset), or the application's own from 256 on.
        code: u16,
    },
    /// The peer has received this much of a stream: it will not be asked for again.
    Acknowledged {
        /// Which stream.
        id: StreamId,
        /// Bytes from the stream's beginning.
        received: u64,
        /// The end as well.
        end: bool,
    },
    /// Both ends know what the other has: streams go on after a loss. What each pipe may forget
    /// is told by [`Mux::acknowledged`](super::Mux::acknowledged).
    Resumed,
    /// More streams may be opened.
    MayOpen,
}

/// What a [`Source`](super::Source) gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes put into the buffer.
    pub len: usize,
    /// More bytes, or the end, are waiting.
    pub more: bool,
    /// These were the last.
    pub fin: bool,
}

/// How the peer broke the protocol. The session ends with a close that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A frame that makes no sense here.
    Unexpected,
    /// More bytes than were allowed.
    FlowControl,
    /// Bytes that do not follow those before.
    Offset,
    /// A stream that was never opened or has ended.
    StreamState,
    /// More streams than were allowed.
    StreamLimit,
    /// Bytes acknowledged that were not sent, or taken back after they were acknowledged.
    Acknowledgement,
    /// A reset that says less was sent than arrived.
    FinalSize,
    /// Control frames to no effect, faster than any use of them.
    Flood,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unexpected => "peer sent an unexpected frame",
            Self::FlowControl => "peer sent more than it was allowed",
            Self::Offset => "peer sent bytes out of order",
            Self::StreamState => "peer used a stream that is not open",
            Self::StreamLimit => "peer opened more streams than it was allowed",
            Self::Acknowledgement => "peer acknowledged what was not sent",
            Self::FinalSize => "peer changed the size of a stream",
            Self::Flood => "peer floods with control frames",
        })
    }
}

impl core::error::Error for Violation {}
