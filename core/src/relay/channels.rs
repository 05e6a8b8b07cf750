//! The switch's channels: opened, told of credit, and closed with everything that hangs on them.

use super::index::{Key, RouteSlot};
use super::list::at;
use super::slots::{Channel, ChannelSlot, LinkSlot, MAX_CHANNELS, Role, slot_of};
use super::switch::{Switch, take_slot};
use super::{Code, Outbox, Slots, Violation};
use crate::hop::{ACCEPT_TIME, DEVICE_IDX, Frame, Windows};
use crate::time::Instant;

impl<L: Slots<LinkSlot>, C: Slots<ChannelSlot>, R: Slots<RouteSlot>> Switch<L, C, R> {
    pub(super) fn handle_channel(
        &mut self,
        slot: u32,
        idx: u32,
        frame: Frame<'_>,
        out: &mut impl Outbox,
    ) -> Result<(), Violation> {
        let answers = matches!(frame, Frame::Accept { .. } | Frame::Refuse { .. });
        if !answers && !matches!(frame, Frame::Credit { .. } | Frame::Closed { .. }) {
            return Err(Violation::Unexpected);
        }
        // A number without a channel is that of one that has just ended.
        let Some((number, from_host)) = self.channel_of(slot, idx)? else { return Ok(()) };
        let Some(channel) = self.channel(number) else { return Ok(()) };
        let offered = channel.offered.is_some();
        if answers && !(from_host && offered) {
            return Err(Violation::Unexpected);
        }
        match frame {
            Frame::Accept { credit } => {
                channel.offered = None;
                channel.up.allow(credit);
                self.offered.remove(self.channels.as_mut(), number);
                self.tell_credit(number, true, out);
            }
            Frame::Refuse { code } => self.close_channel(number, None, Some(code), out),
            Frame::Credit { .. } if from_host && offered => return Err(Violation::Unexpected),
            Frame::Credit { bytes } => {
                if from_host { &mut channel.up } else { &mut channel.down }.allow(bytes);
                self.tell_credit(number, from_host, out);
            }
            Frame::Closed { code } if from_host => self.close_channel(number, None, Some(code), out),
            Frame::Closed { code } => {
                self.close_channel(number, Some(code), None, out);
                self.hang_up(slot, Code::Normal, out);
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells the sender of one direction what it may send more.
    pub(super) fn tell_credit(&mut self, number: u32, up: bool, out: &mut impl Outbox) {
        let Some(channel) = self.channel(number) else { return };
        let (flow, to, idx) = if up {
            (&mut channel.up, channel.device, DEVICE_IDX)
        } else {
            (&mut channel.down, channel.host, channel.idx)
        };
        if let Some(bytes) = flow.grant() {
            self.say(to, idx, &Frame::Credit { bytes }, out);
        }
    }

    /// A slot for a channel that takes its windows from the budget; `None` where there is none.
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        host: u32,
        device: u32,
        idx: impl Fn(u32, u32) -> u32,
    ) -> Option<u32> {
        let windows = Windows { initial: self.config.window, max: self.config.max_window };
        let mut channel = Channel::new(host, device, 0, windows, now);
        let reserved = self.counters.reserved.saturating_add(channel.reserved());
        if reserved > self.config.budget {
            return None;
        }
        let slots = self.channels.as_mut();
        let usable = slots.len().min(usize::try_from(MAX_CHANNELS).unwrap_or(usize::MAX));
        let slots = slots.get_mut(..usable)?;
        let number = take_slot(&mut self.free_channels, &mut self.used_channels, slots)?;
        let slot = at(slots, number)?;
        // 0 is the link itself.
        while channel.idx == 0 {
            slot.generation = slot.generation.wrapping_add(1);
            channel.idx = idx(number, slot.generation);
        }
        slot.channel = Some(channel);
        self.offered.push(slots, number);
        self.counters.reserved = reserved;
        self.counters.channels = self.counters.channels.saturating_add(1);
        Some(number)
    }

    /// Ends a channel, tells its ends where a code is given, and with it hangs up the device.
    pub(super) fn close_channel(
        &mut self,
        number: u32,
        to_host: Option<Code>,
        to_device: Option<Code>,
        out: &mut impl Outbox,
    ) {
        let slots = self.channels.as_mut();
        let Some(channel) = at(slots, number).and_then(|slot| slot.channel.take()) else { return };
        if channel.offered.is_some() {
            self.offered.remove(slots, number);
        }
        if let Some(LinkSlot { role: Role::Host(host), .. }) = at(self.links.as_mut(), channel.host) {
            host.channels.remove(slots, number);
        }
        self.free_channels.push(slots, number);
        self.counters.reserved = self.counters.reserved.saturating_sub(channel.reserved());
        self.keep(channel.host, channel.up.held());
        self.keep(channel.device, channel.down.held());
        self.counters.channels = self.counters.channels.saturating_sub(1);
        out.over(self.id(channel.host), self.id(channel.device));
        if let Some(code) = to_host {
            self.say(channel.host, channel.idx, &Frame::Closed { code }, out);
        }
        if let Some(code) = to_device {
            self.dismiss(channel.device, DEVICE_IDX, code, out);
        }
    }

    /// Says why, then hangs up.
    pub(super) fn dismiss(&mut self, slot: u32, idx: u32, code: Code, out: &mut impl Outbox) {
        self.say(slot, idx, &Frame::Closed { code }, out);
        self.hang_up(slot, code, out);
    }

    /// Ends all that a link is; the far ends of its channels hear `far`. What waits for the link keeps
    /// its place.
    pub(super) fn end_link(&mut self, slot: u32, far: Code, out: &mut impl Outbox) {
        let Some(link) = at(self.links.as_mut(), slot) else { return };
        match &link.role {
            Role::Free | Role::Leaving => return,
            Role::Greeted { .. } | Role::Asked(_) => {}
            Role::Host(host) => {
                self.index.remove(self.routes.as_mut(), Key::Route, &host.door.route_id);
                for pair_slot in &host.pair_slots {
                    self.index.remove(self.routes.as_mut(), Key::Pair, &pair_slot.rv_hash);
                }
                self.counters.hosts = self.counters.hosts.saturating_sub(1);
                while let Some(number) = self.first_channel(slot) {
                    self.close_channel(number, None, Some(far), out);
                }
            }
            Role::Waiting(waiting) => {
                self.index.remove(self.routes.as_mut(), Key::Waiting, &waiting.door.route_id);
                self.counters.waiting = self.counters.waiting.saturating_sub(1);
            }
            Role::Parked(_) => self.parked.remove(self.links.as_mut(), slot),
            Role::Device { channel } => {
                let channel = *channel;
                self.close_channel(channel, Some(far), None, out);
            }
        }
        let links = self.links.as_mut();
        let Some(link) = at(links, slot) else { return };
        let role = core::mem::replace(&mut link.role, Role::Leaving);
        match role {
            Role::Greeted { .. } | Role::Asked(_) => self.greeted.remove(links, slot),
            // It is in no list: silence is all that is expected of it.
            Role::Waiting(_) => {}
            _ => self.idle.remove(links, slot),
        }
        self.counters.links = self.counters.links.saturating_sub(1);
    }

    pub(super) fn first_channel(&mut self, slot: u32) -> Option<u32> {
        match &at(self.links.as_mut(), slot)?.role {
            Role::Host(host) => host.channels.front(),
            _ => None,
        }
    }

    /// The channel of this number on a link, and whether the link is its host.
    pub(super) fn channel_of(&mut self, slot: u32, idx: u32) -> Result<Option<(u32, bool)>, Violation> {
        let link = at(self.links.as_mut(), slot).ok_or(Violation::Unexpected)?;
        match link.role {
            Role::Host(_) => {
                let number = slot_of(idx, link.mask);
                let own = self.channel(number).is_some_and(|channel| channel.host == slot && channel.idx == idx);
                Ok(own.then_some((number, true)))
            }
            Role::Device { channel } if idx == DEVICE_IDX => Ok(Some((channel, false))),
            _ => Err(Violation::Unexpected),
        }
    }

    pub(super) fn channel(&mut self, number: u32) -> Option<&mut Channel> {
        at(self.channels.as_mut(), number)?.channel.as_mut()
    }

    pub(super) fn offered_until(&self, number: u32) -> Instant {
        let slot = usize::try_from(number).ok().and_then(|number| self.channels.as_ref().get(number));
        let offered = slot.and_then(|slot| slot.channel).and_then(|channel| channel.offered);
        offered.map_or(Instant::ZERO, |offered| offered + ACCEPT_TIME)
    }
}
