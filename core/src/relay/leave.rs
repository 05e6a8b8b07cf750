//! What leaves: bytes for the sockets, and links with what still waits for them.
//!
//! A channel may end, and a link be hung up, while bytes wait in the caller's queue. They stay
//! reserved until the caller has sent them or the socket is gone: otherwise others would get their
//! room while they still fill it.

use core::time::Duration;

use super::index::RouteSlot;
use super::list::at;
use super::slots::{ChannelSlot, LinkSlot, Role};
use super::{Code, LinkId, Outbox, Slots, Switch};
use crate::time::Instant;

impl<L: Slots<LinkSlot>, C: Slots<ChannelSlot>, R: Slots<RouteSlot>> Switch<L, C, R> {
    /// So many bytes of DATA bodies of channel `idx` have left for the socket of `link`, and the
    /// relay holds them no more. This is what makes room for the sender, or for others where the
    /// channel is over.
    pub fn sent(&mut self, now: Instant, link: LinkId, idx: u32, bytes: usize, out: &mut impl Outbox) {
        let Some(slot) = self.known(link) else { return };
        // What leaves for the host came up from the device.
        let Ok(Some((number, up))) = self.channel_of(slot, idx) else { return self.release(slot, bytes) };
        let Some(channel) = self.channel(number) else { return };
        let sender = if up { channel.device } else { channel.host };
        let round_trip = at(self.links.as_mut(), sender).map_or(Duration::ZERO, |link| link.round_trip);
        let spare = self.spare_budget();
        let Some(flow) = self.channel(number).map(|c| if up { &mut c.up } else { &mut c.down }) else { return };
        if flow.leave(now, bytes, round_trip) && u64::from(flow.growth()) <= spare {
            let growth = flow.growth();
            flow.grow();
            self.counters.reserved = self.counters.reserved.saturating_add(growth.into());
        }
        self.tell_credit(number, up, out);
    }

    /// The link's socket is gone, and what waited for it.
    pub fn detach(&mut self, link: LinkId, out: &mut impl Outbox) {
        if let Some(slot) = self.live(link) {
            self.end_link(slot, Code::Gone, out);
        }
        if let Some(slot) = self.known(link) {
            self.forget(slot);
        }
    }

    /// A channel is over while so many bytes wait for this end of it.
    pub(super) fn keep(&mut self, slot: u32, bytes: u64) {
        let Some(link) = at(self.links.as_mut(), slot) else { return };
        link.over = link.over.saturating_add(bytes);
        self.counters.reserved = self.counters.reserved.saturating_add(bytes);
    }

    /// Bytes of channels that are over have left.
    fn release(&mut self, slot: u32, bytes: usize) {
        let Some(link) = at(self.links.as_mut(), slot) else { return };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(link.over);
        link.over = link.over.saturating_sub(bytes);
        self.counters.reserved = self.counters.reserved.saturating_sub(bytes);
        self.forget_if_done(slot);
    }

    /// Forgets a link that was hung up, once nothing waits for it.
    pub(super) fn forget_if_done(&mut self, slot: u32) {
        let link = at(self.links.as_mut(), slot);
        if link.is_some_and(|link| matches!(link.role, Role::Leaving) && link.over == 0) {
            self.forget(slot);
        }
    }

    /// Gives back the place of a link that is in no list, and what was reserved for it.
    fn forget(&mut self, slot: u32) {
        let links = self.links.as_mut();
        let Some(link) = at(links, slot) else { return };
        self.counters.reserved = self.counters.reserved.saturating_sub(core::mem::take(&mut link.over));
        link.role = Role::Free;
        link.generation = link.generation.wrapping_add(1);
        self.free_links.push(links, slot);
    }

    /// The slot of a link that is there, or that was hung up and has not gone yet.
    fn known(&self, link: LinkId) -> Option<u32> {
        let slot = self.links.as_ref().get(link.slot())?;
        (slot.generation == link.generation && !matches!(slot.role, Role::Free)).then_some(link.slot)
    }
}
