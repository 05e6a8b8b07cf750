//! One channel of a host's link, from the first message to the last.

use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use homing_core::Instant;
use homing_core::crypto::Secret;
use homing_core::handshake::{ChannelId, CheckWords};
use homing_core::hop::Code;
use homing_core::wire::PairAccept;

use super::gate::Welcome;
use super::sessions::{Attachment, Shared, lock};

/// The far end of a channel.
pub(super) struct Slot<V> {
    pub(super) key: u64,
    pub(super) channel_id: ChannelId,
    pub(super) cut: Arc<AtomicBool>,
    pub(super) visitor: Option<V>,
    /// By when the first message must have come, or the last one have gone.
    pub(super) deadline: Instant,
    pub(super) state: State,
    /// Stands in the queue of those that may have something to say.
    pub(super) queued: bool,
}

pub(super) enum State {
    AwaitHello,
    /// The reply waits to be sent.
    Reply(Vec<u8>, Box<Talk>),
    Talking(Box<Talk>),
    /// A last message waits to be sent, then the channel closes with this code.
    Leaving(Vec<u8>, Code),
}

pub(super) struct Talk {
    pub(super) conversation: Shared,
    /// Who it is with; none while it pairs.
    pub(super) attachment: Option<Attachment>,
    pub(super) check: CheckWords,
    pub(super) device_root: Option<Secret<32>>,
    /// Waits for the relay's credit.
    pub(super) welcome: Option<Box<Welcome>>,
    pub(super) established: bool,
}

impl Talk {
    /// Seals what the device is taken in with.
    pub(super) fn welcome(&mut self, welcome: &Welcome, now: Instant, out: &mut [u8]) -> Option<usize> {
        let capability = welcome.capability.to_bytes();
        let accept = PairAccept {
            device_id: &welcome.device_id,
            token: welcome.token.expose(),
            route_id: &welcome.route_id,
            capability: capability.expose(),
            host_name: &welcome.host_name,
        };
        lock(&self.conversation)
            .channel()
            .accept_pairing(&accept, now, out)
            .inspect_err(|error| tracing::debug!(%error, "the device left before it was taken in"))
            .ok()
    }
}

impl<V> Slot<V> {
    pub(super) fn is_half_open(&self) -> bool {
        match &self.state {
            State::AwaitHello | State::Leaving(..) => false,
            State::Reply(..) => true,
            State::Talking(talk) => !talk.established,
        }
    }

    /// What runs on it, once somebody has come.
    pub(super) fn talk(&self) -> Option<&Talk> {
        match &self.state {
            State::Reply(_, talk) | State::Talking(talk) => Some(talk),
            State::AwaitHello | State::Leaving(..) => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Reply(_, talk) | State::Talking(talk) => lock(&talk.conversation).channel_ref().poll_timeout(),
            State::AwaitHello | State::Leaving(..) => Some(self.deadline),
        }
    }
}
