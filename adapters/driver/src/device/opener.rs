//! A hand on a running call, for those who use it.

use core::time::Duration;
use std::sync::Arc;

use crate::bell::Bell;
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::stream::Stream;

#[derive(Debug)]
pub(crate) enum Command {
    Open(Arc<Pipe>),
    Probe,
    Close,
}

/// Opens streams on a device's running call; cheap to clone.
#[derive(Clone, Debug)]
pub struct Opener {
    pub(super) bell: Arc<Bell<Command>>,
    pub(super) pulse: Pulse,
}

impl Opener {
    /// A stream to the host, to be written to at once. None where the call has ended.
    #[must_use]
    pub fn open(&self) -> Option<Stream> {
        self.begin(None)
    }

    /// The same; `held` is let go of when nothing of the stream is left, neither with whoever uses it nor to be sent. So
    /// streams can be counted, over all calls that carry them.
    #[must_use]
    pub fn open_holding(&self, held: Arc<()>) -> Option<Stream> {
        self.begin(Some(held))
    }

    fn begin(&self, held: Option<Arc<()>>) -> Option<Stream> {
        let pipe = Pipe::holding(0, self.bell.clone(), held);
        self.bell.command(Command::Open(pipe.clone())).ok()?;
        Some(Stream::new(pipe))
    }

    /// The last measured round trip to the host, through the relay.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.pulse.read()
    }

    /// When that was measured, Unix seconds.
    #[must_use]
    pub fn round_trip_at(&self) -> Option<u64> {
        self.pulse.at()
    }

    /// Something outside may have cut the link: the call ends soon where the relay does not answer.
    pub fn probe(&self) {
        let _ = self.bell.command(Command::Probe);
    }

    /// Ends the call after telling the host.
    pub fn close(&self) {
        // Where it has ended there is nothing to close.
        let _ = self.bell.command(Command::Close);
    }
}
