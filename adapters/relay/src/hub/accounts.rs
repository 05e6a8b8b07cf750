//! What accounts may use, asked and kept.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use getrandom::SysRng;
use homing_core::relay::{Ask, LinkId};
use rand_core::UnwrapErr;

use super::cluster::SOON;
use super::{Hub, State, unix_now};
use crate::account::{Answer, Applicant, Entitlement, Refusal};
use crate::limits::{Limit, Turned};
use crate::runtime::Runtime;

/// How often accounts are looked at.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds until what they have used is written down.
const BILLING: u32 = 20;

impl Hub {
    /// Asks whether a host may come in.
    pub(crate) fn ask(&self, ask: Ask, address: Option<IpAddr>, number: u8) -> (Applicant, Answer) {
        let Ask { route_id, key_hash } = ask;
        let address = address.filter(|_| self.admit.wants_addresses());
        let applicant = Applicant { route_id, key_hash, address };
        (applicant, self.claimed(&route_id, number, self.admit.admit(applicant)))
    }

    /// Carries out what was decided on a host.
    pub(crate) fn settle(&self, link: LinkId, applicant: &Applicant, number: u8, answer: Result<Entitlement, Refusal>) {
        let unix = unix_now();
        self.with(|state, now| {
            let answer = answer.and_then(|entitlement| {
                // The switch would end the other link for it, and the host stay away from there for ever.
                self.take_in(state, link, &applicant.route_id, number)
                    .then_some(entitlement)
                    .ok_or(Refusal::BusyFor(SOON))
            });
            let State { switch, outlets, .. } = state;
            let answer = answer.map_err(turned);
            match answer.and_then(|entitlement| outlets.ledger.admit(link, applicant, entitlement, unix)) {
                Ok(()) => switch.admit(now, link, &mut UnwrapErr(SysRng), outlets),
                Err(turned) => state.turn_away(link, turned),
            }
        });
    }

    /// Cuts the hosts of an account off. Returns how many there were.
    pub(crate) fn cut(&self, account: &str) -> usize {
        self.with(|state, _| {
            let hosts = state.outlets.ledger.hosts_of(account);
            for link in &hosts {
                state.turn_away(*link, Turned::denied());
            }
            hosts.len()
        })
    }

    /// Refusals by what stood in the way.
    pub(crate) fn refusals(&self) -> Vec<(Limit, u64)> {
        self.with(|state, _| Limit::ALL.into_iter().zip(state.outlets.refused).collect())
    }

    /// Pauses in reading, for the rates of hosts and of accounts.
    pub(crate) fn delayed(&self) -> [u64; 2] {
        self.with(|state, _| state.outlets.ledger.delayed())
    }

    /// What became of questions whether hosts may come in.
    pub(crate) fn admissions(&self) -> Vec<(&'static str, u64)> {
        self.admit.counts()
    }

    /// Counts what was not refused by the switch.
    pub(crate) fn count(&self, limit: Limit) {
        self.with(|state, _| state.outlets.count(limit));
    }

    /// Cuts off whose time or bytes are used up.
    fn enforce(&self) {
        let unix = unix_now();
        self.with(|state, _| {
            for (link, turned) in state.outlets.ledger.due(unix) {
                state.turn_away(link, turned);
            }
        });
    }

    /// Asks about hosts again whose answers are no longer good, each in a task of its own.
    fn review<R: Runtime>(self: &Arc<Self>) {
        for (link, applicant) in self.with(|state, _| state.outlets.ledger.reviews()) {
            let (hub, answer) = (self.clone(), self.admit.admit(applicant));
            R::spawn(async move {
                let answer = answer.await.map_err(turned);
                let unix = unix_now();
                hub.with(|state, _| {
                    let renewed = answer.and_then(|answer| state.outlets.ledger.renew(link, answer, unix));
                    if let Err(turned) = renewed {
                        state.turn_away(link, turned);
                    }
                });
            });
        }
    }

    /// Tells what accounts have used.
    pub(crate) fn bill(&self) {
        let used = self.with(|state, _| state.outlets.ledger.bill());
        if !used.is_empty() {
            self.admit.charge(&used);
        }
    }

    /// Looks after accounts, for ever.
    pub(crate) async fn keep_accounts<R: Runtime>(self: &Arc<Self>) {
        let mut rounds = 0_u32;
        loop {
            R::sleep(ROUND).await;
            if self.with(|state, _| state.outlets.ledger.is_empty()) {
                continue;
            }
            self.enforce();
            self.review::<R>();
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(BILLING) {
                self.bill();
            }
        }
    }
}

impl State {
    /// Ends a link, and says why and when to come back.
    fn turn_away(&mut self, link: LinkId, turned: Turned) {
        self.outlets.turned = Some(turned);
        self.switch.deny(link, turned.code, &mut self.outlets);
        self.outlets.turned = None; // where it had gone already
    }
}

fn turned(refusal: Refusal) -> Turned {
    match refusal {
        Refusal::Denied => Turned::denied(),
        Refusal::Busy => Turned::busy(Limit::AccountMonth, Turned::USUAL),
        Refusal::BusyFor(time) => Turned::busy(Limit::Unanswered, time),
    }
}
