//! Links on which hosts wait.

use core::time::Duration;
use std::sync::Arc;

use getrandom::SysRng;
use homing_core::hop::BEAT_TIME;
use homing_core::relay::LinkId;
use homing_driver::relay::events::emit_link;
use rand_core::{Rng as _, UnwrapErr};

use super::outlets::{Outlet, Outlets};
use super::{Hub, LinkName};
use crate::outbox::Form;
use crate::runtime::Runtime;

impl Hub {
    /// The same for a link on which a host waits, with the name by which it is to speak.
    pub(crate) fn attach_waiting(&self, name: &str) -> Option<(LinkId, Arc<Outlet>, LinkName)> {
        let outlet = Arc::new(Outlet::new(Form::Events));
        let mut link_name = LinkName::default();
        UnwrapErr(SysRng).fill_bytes(&mut link_name);
        let mut event = Vec::new();
        emit_link(&link_name, &mut event);
        // Before all else, and nobody waits for it yet.
        let _ = outlet.lock().push_event(&event);
        let id = self.with(|state, now| {
            let id = state
                .enter(&outlet, |switch, first| switch.attach_waiting(now, name, &mut UnwrapErr(SysRng), first))?;
            state.outlets.waiting.insert(link_name, id);
            Some(id)
        })?;
        Some((id, outlet, link_name))
    }

    /// Ends a link on which a host waited.
    pub(crate) fn detach_waiting(&self, link: LinkId, link_name: &LinkName) {
        self.with(|state, _| state.outlets.waiting.remove(link_name));
        self.detach(link);
    }

    /// Whether a host waits under this name.
    pub(crate) fn waits(&self, link_name: &LinkName) -> bool {
        self.with(|state, _| state.outlets.waiting.contains_key(link_name))
    }

    /// Takes what a waiting host says; `None` where there is no link of this name, or the relay is about to stop. False
    /// where it broke the rules.
    pub(crate) fn post(&self, link_name: &LinkName, message: &mut [u8]) -> Option<bool> {
        let (answered, _) = self.turn(true, |turn| {
            // Its name cannot be guessed, so how long the search for it takes tells nothing.
            let outlets = &turn.state.outlets;
            let link = outlets.waiting.get(link_name).copied().filter(|link| outlets.is_open(*link))?;
            if turn.is_draining() {
                return None;
            }
            Some(turn.handle(link, message))
        });
        answered
    }

    /// Says to the hosts that wait that the relay is there, each in its turn, for ever.
    pub(super) async fn beat<R: Runtime>(&self) {
        const STEP: Duration = Duration::from_secs(1);
        let steps = usize::try_from(BEAT_TIME.as_secs() / STEP.as_secs()).unwrap_or(1);
        for step in (0..steps).cycle() {
            R::sleep(STEP).await;
            self.with(|state, _| {
                if state.outlets.waiting.is_empty() {
                    return;
                }
                let Outlets { slots, wakes, .. } = &mut state.outlets;
                for (_, outlet) in slots.iter().skip(step).step_by(steps).flatten() {
                    wakes.extend(outlet.lock().beat());
                }
            });
        }
    }
}
