//! What accounts may use, asked and kept.

use core::time::Duration;

use getrandom::SysRng;
use homing_core::hop::{Code, RouteId};
use homing_core::relay::{Ask, LinkId};
use rand_core::UnwrapErr;

use super::{Hub, State, unix_now};
use crate::account::{Answer, Entitlement, Refusal};
use crate::runtime::Runtime;

/// How often accounts are looked at.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds until what they have used is written down.
const BILLING: u32 = 10;

impl Hub {
    /// Asks whether a host may come in.
    pub(crate) fn ask(&self, ask: Ask) -> Option<Answer> {
        self.admit.as_ref().map(|admit| admit.admit(ask))
    }

    /// Carries out what was decided on a host.
    pub(crate) fn settle(&self, link: LinkId, route: RouteId, answer: Result<Entitlement, Refusal>) {
        let unix = unix_now();
        self.with(|state, now| {
            let State { switch, outlets, .. } = state;
            let admitted = match answer {
                Ok(entitlement) => outlets.ledger.admit(link, route, entitlement, unix),
                Err(Refusal::Denied) => Err(Code::Denied),
                Err(Refusal::Busy) => Err(Code::Busy),
            };
            match admitted {
                Ok(()) => switch.admit(now, link, &mut UnwrapErr(SysRng), outlets),
                Err(code) => switch.deny(link, code, outlets),
            }
        });
    }

    /// Cuts the hosts of an account off. Returns how many there were.
    pub(crate) fn cut(&self, account: &str) -> usize {
        self.with(|state, _| {
            let State { switch, outlets, .. } = state;
            let hosts = outlets.ledger.hosts_of(account);
            for link in &hosts {
                switch.deny(*link, Code::Denied, outlets);
            }
            hosts.len()
        })
    }

    /// Cuts off whose time or bytes are used up.
    fn enforce(&self) {
        let unix = unix_now();
        self.with(|state, _| {
            let State { switch, outlets, .. } = state;
            for (link, code) in outlets.ledger.due(unix) {
                switch.deny(link, code, outlets);
            }
        });
    }

    /// Tells what accounts have used.
    pub(crate) fn bill(&self) {
        let Some(admit) = &self.admit else { return };
        let used = self.with(|state, _| state.outlets.ledger.bill());
        if !used.is_empty() {
            admit.charge(&used);
        }
    }

    /// Looks after accounts, for ever.
    pub(crate) async fn keep_accounts<R: Runtime>(&self) {
        let mut rounds = 0_u32;
        loop {
            R::sleep(ROUND).await;
            if self.with(|state, _| state.outlets.ledger.is_empty()) {
                continue;
            }
            self.enforce();
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(BILLING) {
                self.bill();
            }
        }
    }
}
