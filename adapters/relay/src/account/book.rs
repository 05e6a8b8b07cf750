//! Accounts of a file as the relay's admission.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use homing_local::clock::{month, unix_now};

use super::admit::{Admit, Answer, Applicant, Entitlement, Refusal};
use super::plan::{Plan, UNLIMITED};
use super::record::Month;
use super::store::Accounts;

/// Plans by their names. `unlimited` is always there.
pub type Plans = BTreeMap<String, Plan>;

/// A file of accounts and what their plans allow.
#[derive(Debug)]
pub struct AccountBook {
    accounts: Accounts,
    plans: RwLock<Plans>,
    /// What could not be written down yet, of one month.
    unwritten: Mutex<(Month, BTreeMap<Arc<str>, u64>)>,
}

impl AccountBook {
    /// Puts accounts and plans together.
    #[must_use]
    pub fn new(accounts: Accounts, plans: Plans) -> Self {
        Self { accounts, plans: RwLock::new(plans), unwritten: Mutex::new((Month(0), BTreeMap::new())) }
    }

    /// The accounts, to be changed.
    #[must_use]
    pub const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Takes other plans, for hosts that register from now on.
    pub fn set_plans(&self, plans: Plans) {
        *self.plans.write().unwrap_or_else(PoisonError::into_inner) = plans;
    }

    fn answer(&self, applicant: &Applicant) -> Result<Entitlement, Refusal> {
        let now = unix_now();
        let admitted = self.accounts.admit(&applicant.key_hash, now).map_err(|error| {
            tracing::error!(%error, "cannot look a key up");
            Refusal::Busy
        })?;
        let entitled = admitted.map_err(|denial| {
            tracing::debug!(?denial, "a host's key does not let it in");
            Refusal::Denied
        })?;
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.get(&entitled.plan).cloned();
        let plan = plan.or_else(|| (entitled.plan == UNLIMITED).then(Plan::default)).ok_or_else(|| {
            tracing::warn!(account = entitled.name, plan = entitled.plan, "the account's plan is not in homing.toml");
            Refusal::Denied
        })?;
        let used = entitled.used_in(Month(month(now)));
        let bytes_left = plan.bytes_per_month.map(|most| most.saturating_sub(used));
        if bytes_left == Some(0) {
            return Err(Refusal::Busy);
        }
        let account = entitled.name.into();
        Ok(Entitlement { account, plan, until: entitled.until, bytes_left, good_for: None })
    }
}

impl Admit for AccountBook {
    fn admit(&self, applicant: Applicant) -> Answer {
        // A few pages of a file that is in memory as a rule: no thread is worth it.
        let answer = self.answer(&applicant);
        Box::pin(core::future::ready(answer))
    }

    fn charge(&self, used: &BTreeMap<Arc<str>, u64>) {
        let now = Month(month(unix_now()));
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        if unwritten.0 != now {
            *unwritten = (now, BTreeMap::new()); // a month that has ended limits nobody
        }
        for (name, bytes) in used {
            let sum = unwritten.1.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*bytes);
        }
        match self.accounts.charge(&unwritten.1, now) {
            Ok(()) => unwritten.1.clear(),
            Err(error) => tracing::error!(%error, "cannot write down what accounts have used; trying again"),
        }
    }
}
