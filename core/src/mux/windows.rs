//! How far windows grow: streams that nobody reads must leave credit for the others (protocol 9.4, 9.5).

use super::Mux;
use crate::wire::Params;

/// What windows may grow to, in bytes. The session's grows to half of its cap, and those streams whose windows have grown
/// share as much, none with more than half of it. What is left is for those that have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowCaps {
    /// For one stream.
    pub stream: u32,
    /// For all streams together: what the endpoint may have to hold.
    pub session: u32,
}

impl Default for WindowCaps {
    fn default() -> Self {
        Self { stream: 4 << 20, session: 16 << 20 }
    }
}

impl WindowCaps {
    /// The same, not below what was announced.
    pub(super) fn within(self, own: &Params) -> Self {
        let session = self.session.max(own.session_window);
        Self { stream: self.stream.min(session / 4).max(own.stream_window), session }
    }
}

impl<const STREAMS: usize> Mux<STREAMS> {
    /// The session's limit to announce, if enough is owed.
    pub(super) fn session_credit_due(&self) -> Option<u64> {
        self.recv.due_within(self.caps.session)
    }

    /// What a stream's window may grow to. Those that have grown share, or a few that are read slowly now would hold all
    /// that the session may, and every other stream would wait.
    pub(super) fn share(&self) -> u32 {
        let grown = self.table.iter().filter(|stream| stream.recv.window() > self.stream_window).count();
        let share = self.caps.session / 2 / u32::try_from(grown).unwrap_or(u32::MAX).max(1);
        share.min(self.caps.stream).max(self.stream_window)
    }

    /// Divides anew what windows may grow to.
    pub(super) fn divide(&mut self) {
        let share = self.share();
        self.table.each(|stream| stream.recv.bound(share));
    }
}
