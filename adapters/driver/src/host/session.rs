//! Handles on a running link and on one device's channel, for use outside the loop.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use homing_core::hop::{CapId, RvHash};

use super::gate::Welcome;
use crate::bell::Bell;
use crate::pulse::Pulse;

#[derive(Debug)]
pub(crate) enum Command {
    Close { key: u64, code: u16 },
    Welcome(u64, Box<Welcome>),
    Pend(u64, u16),
    Slot(RvHash, u16),
    Deny(CapId, u32),
    Probe,
    Rest,
    Leave,
}

/// Tells the relay what changes while the link runs.
#[derive(Clone, Debug)]
pub struct Registrar {
    pub(super) bell: Arc<Bell<Command>>,
    pub(super) pulse: Pulse,
    pub(super) channels: Arc<AtomicUsize>,
}

impl Registrar {
    /// Lets devices pair through the slot of this hash, for so many seconds; 0 ends that.
    pub fn set_pair_slot(&self, rv_hash: RvHash, ttl: u16) {
        // Where the link has ended, the next one is told at its start.
        let _ = self.bell.command(Command::Slot(rv_hash, ttl));
    }

    /// Asks the relay to turn a capability away until then, in Unix seconds.
    pub fn deny(&self, capability: CapId, until: u32) {
        let _ = self.bell.command(Command::Deny(capability, until));
    }

    /// The last measured round trip to the relay.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.pulse.read()
    }

    /// When that was measured, Unix seconds.
    #[must_use]
    pub fn round_trip_at(&self) -> Option<u64> {
        self.pulse.at()
    }

    /// Something outside may have cut the link: it ends soon where the relay does not answer.
    pub fn probe(&self) {
        let _ = self.bell.command(Command::Probe);
    }

    pub(super) fn is_over(&self) -> bool {
        self.bell.is_closed()
    }

    /// How many channels the link has, of devices and of those that are at the door.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    /// Ends the link where it has no channel.
    pub fn rest(&self) {
        let _ = self.bell.command(Command::Rest);
    }

    /// Ends the link.
    pub fn leave(&self) {
        let _ = self.bell.command(Command::Leave);
    }
}

/// One device's channel, to be answered or ended from outside the loop.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) id: Option<[u8; 16]>,
    pub(super) key: u64,
    pub(super) cut: Arc<AtomicBool>,
    pub(super) bell: Arc<Bell<Command>>,
}

impl Session {
    /// What the session is known by, the same again where its device comes back for it; none where
    /// it cannot.
    #[must_use]
    pub const fn id(&self) -> Option<[u8; 16]> {
        self.id
    }

    /// Ends the session with a code of [`homing_core::channel::code`]. When this returns, nothing
    /// more that the device sends is opened.
    pub fn close(&self, code: u16) {
        self.cut.store(true, Ordering::SeqCst);
        let _ = self.bell.command(Command::Close { key: self.key, code });
    }

    /// Takes the device in, after its record is on disk.
    pub fn welcome(&self, welcome: Welcome) {
        let _ = self.bell.command(Command::Welcome(self.key, Box::new(welcome)));
    }

    /// Tells the device that the operator is being asked, for so many seconds at most.
    pub fn pend(&self, seconds: u16) {
        let _ = self.bell.command(Command::Pend(self.key, seconds));
    }
}
