//! The outboxes of links, and what the switch tells them.

use core::task::Waker;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_core::hop::Code;
use homing_core::relay::{self, Ask, LinkId};

use super::LinkName;
use crate::account::Ledger;
use crate::limits::{Limit, Turned};
use crate::outbox::{Ending, Form, Outbox, Pool};

/// First byte of a message that closes a channel.
const CLOSED: u8 = 0x8d;

/// The outbox of one link, shared by its task and the switch.
#[derive(Debug)]
pub(crate) struct Outlet(Mutex<Outbox>);

impl Outlet {
    pub(super) fn new(form: Form) -> Self {
        Self(Mutex::new(Outbox::new(form)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outboxes by the slots of their links, and whom to wake once the lock is open again.
#[derive(Default)]
pub(super) struct Outlets {
    pub(super) slots: Vec<Option<(LinkId, Arc<Outlet>)>>,
    /// Links on which hosts wait.
    pub(super) waiting: HashMap<LinkName, LinkId>,
    pub(super) wakes: Vec<Waker>,
    pub(super) pool: Pool,
    /// Who uses how much.
    pub(super) ledger: Ledger,
    /// Links that the switch ended, by the code.
    pub(super) ended: [u64; Code::ALL.len()],
    /// What was refused, by what stood in the way.
    pub(super) refused: [u64; Limit::ALL.len()],
    /// Why the link that is about to be hung up is.
    pub(super) turned: Option<Turned>,
}

/// Takes a link's first message, which comes before the link has an id.
pub(super) struct First<'a>(pub(super) &'a Outlet);

impl relay::Outbox for First<'_> {
    fn control(&mut self, _: LinkId, message: &[u8]) {
        // Nobody waits for it yet.
        let _ = self.0.lock().push_control(message);
    }

    fn hang_up(&mut self, _: LinkId, reason: Code) {
        let _ = self.0.lock().end(close_code(reason));
    }
}

impl Outlets {
    pub(super) fn insert(&mut self, link: LinkId, outlet: Arc<Outlet>) {
        if self.slots.len() <= link.slot() {
            self.slots.resize_with(link.slot() + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(link.slot()) {
            *slot = Some((link, outlet));
        }
    }

    pub(super) fn remove(&mut self, link: LinkId) {
        if let Some(slot) = self.slots.get_mut(link.slot()).filter(|s| s.as_ref().is_some_and(|s| s.0 == link)) {
            *slot = None;
        }
    }

    fn find(&self, link: LinkId) -> Option<&Outlet> {
        let seat = self.slots.get(link.slot()).and_then(Option::as_ref).filter(|(id, _)| *id == link);
        seat.map(|(_, outlet)| &**outlet)
    }

    /// Whether the link is there, and not about to end.
    pub(super) fn is_open(&self, link: LinkId) -> bool {
        self.find(link).is_some_and(|outlet| outlet.lock().ending() == Ending::Open)
    }

    /// Whether a host waits on the link.
    pub(super) fn waits(&self, link: LinkId) -> bool {
        self.find(link).is_some_and(|outlet| outlet.lock().form() == Form::Events)
    }

    pub(super) fn count(&mut self, limit: Limit) {
        if let Some(count) = self.refused.get_mut(limit as usize) {
            *count += 1;
        }
    }

    pub(super) fn push(&mut self, link: LinkId, push: impl FnOnce(&mut Outbox, &mut Pool) -> Option<Waker>) {
        if let Some(Some((id, outlet))) = self.slots.get(link.slot())
            && *id == link
        {
            self.wakes.extend(push(&mut outlet.lock(), &mut self.pool));
        }
    }
}

impl relay::Outbox for Outlets {
    fn control(&mut self, link: LinkId, message: &[u8]) {
        self.push(link, |outbox, pool| match *message {
            // It says that no more follows on its channel: all else may overtake data.
            [CLOSED, a, b, c, d, ..] => outbox.push_last(u32::from_le_bytes([a, b, c, d]), message, pool),
            _ => outbox.push_control(message),
        });
    }

    fn hang_up(&mut self, link: LinkId, reason: Code) {
        if let Some(count) = self.ended.get_mut(usize::from(reason.to_byte())) {
            *count += 1;
        }
        // What the switch refuses by itself it has no room for, or the proof is wrong.
        let turned = self.turned.take().or(match reason {
            Code::Busy => Some(Turned::busy(Limit::Relay, Turned::USUAL)),
            Code::Denied => Some(Turned::denied()),
            _ => None,
        });
        if let Some(turned) = turned {
            self.count(turned.limit);
        }
        self.push(link, |outbox, _| outbox.end_until(close_code(reason), turned.and_then(|turned| turned.retry)));
    }

    fn ask(&mut self, link: LinkId, ask: &Ask) {
        self.push(link, |outbox, _| outbox.ask(*ask)); // its task sees to the answer
    }

    fn open(&mut self, host: LinkId, device: LinkId) -> bool {
        self.turned = self.ledger.open(host, device).err();
        self.turned.is_none()
    }

    fn knock(&mut self, host: LinkId) -> bool {
        self.turned = self.ledger.knock(host).err();
        self.turned.is_none()
    }

    fn over(&mut self, _: LinkId, device: LinkId) {
        self.ledger.over(device);
    }
}

/// The WebSocket close code for a link that the switch ends: the reason, in the private range.
pub(super) const fn close_code(reason: Code) -> u16 {
    4000 + reason.to_byte() as u16
}
