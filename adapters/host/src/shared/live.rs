//! The sessions of devices and their guests: taken in within the limits, and ended.

use std::sync::Arc;

use homing_core::channel::code;
use homing_driver::host::Session;

use super::{Inner, MAX_SESSIONS_OF_GUESTS, MAX_SESSIONS_PER_DEVICE};
use crate::grant::guest::Guest;

/// A device's session.
pub(crate) struct Live {
    pub(crate) device: String,
    /// Whose it is, where not the device's own.
    pub(crate) guest: Option<Arc<Guest>>,
    pub(crate) session: Session,
}

impl Inner {
    /// Takes a session in, within the limits.
    pub(crate) fn admit(
        &mut self,
        device: &str,
        guest: Option<Arc<Guest>>,
        session: Session,
        max: usize,
    ) -> Result<u64, u16> {
        // A session that its device came back for is the same one, though its old channel may linger.
        let id = session.id();
        self.live.retain(|_, live| live.device != device || id.is_none() || live.session.id() != id);
        let of_device = || self.live.values().filter(|live| live.device == device);
        let of_guests = of_device().filter(|live| live.guest.is_some()).count();
        if self.live.len() >= max
            || of_device().count() >= MAX_SESSIONS_PER_DEVICE
            || (guest.is_some() && of_guests >= MAX_SESSIONS_OF_GUESTS)
        {
            return Err(code::LIMIT);
        }
        self.counter = self.counter.wrapping_add(1);
        self.live.insert(self.counter, Live { device: device.into(), guest, session });
        Ok(self.counter)
    }

    /// Ends a device's sessions with this code.
    pub(crate) fn close_sessions(&mut self, device: &str, code: u16) {
        self.live.retain(|_, live| {
            let stays = live.device != device;
            if !stays {
                live.session.close(code);
            }
            stays
        });
    }

    /// Ends the sessions of guests whose time is over, who were ended before, or whose device may have none. Tells whether there are others.
    pub(crate) fn end_guests(&mut self, now: u64) -> bool {
        let state = &self.state;
        let lonely = |id: &str| {
            let grant = state.device(id).and_then(|device| device.grant.as_ref());
            grant.is_some_and(|grant| grant.no_guests)
        };
        let ended_early = |id: &str, guest: &Guest| state.device(id).is_some_and(|device| device.has_ended(guest));
        let mut others = false;
        self.live.retain(|_, live| {
            let Some(guest) = &live.guest else { return true };
            let ended = match () {
                () if now >= guest.expires_at || ended_early(&live.device, guest) => Some(code::EXPIRED),
                () if lonely(&live.device) => Some(code::DENIED),
                () => None,
            };
            ended.iter().for_each(|code| live.session.close(*code));
            others |= ended.is_none();
            ended.is_none()
        });
        others
    }
}
