//! A server of the operator's that decides which hosts come in, asked by HTTP.
//!
//! Each answer says for how long it is good. Until then nobody is asked about that host again, also where it comes back;
//! afterwards the relay asks while the host stays, and cuts it off where the answer is no. So whoever is revoked is out
//! within the life of the last answer and half a second, and nothing has to call the relay. Who cannot be asked about is
//! not let in; who was in before stays for [`CalloutConfig::grace`].

mod ask;
mod connection;
#[cfg(test)]
mod tests;

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use getrandom::SysRng;
use homing_core::hop::RouteId;
use rand_core::{Rng as _, UnwrapErr};
use zeroize::Zeroizing;

use super::admit::{Admit, Answer, Applicant, Entitlement, Refusal};
use super::book::Plans;
use ask::{Decision, Question};
pub use connection::CalloutError;
use connection::{Server, Unanswered};

/// Answers that are kept at once. Where there are more, they are asked for each time.
const MAX_KNOWN: usize = 65_536;
/// What a host is told to wait that nobody could be asked about.
const UNANSWERED: Duration = Duration::from_secs(5);

/// Whom to ask, and how.
#[derive(Clone)]
pub struct CalloutConfig {
    /// Where to POST the questions: `https://`, or `http://` on this machine. Its host and port have at most 64 letters.
    pub url: String,
    /// Shown as `Authorization: Bearer`, where there is one.
    pub token: Option<Zeroizing<String>>,
    /// PEM file with the authority of its certificate; the system's where there is none.
    pub roots: Option<PathBuf>,
    /// Whether it is told the addresses of hosts.
    pub addresses: bool,
    /// How long hosts that were let in stay, and may come back, while nobody answers.
    pub grace: Duration,
    /// Plans that answers may name.
    pub plans: Plans,
}

impl CalloutConfig {
    /// Asks this server, and lets nobody in whom it does not answer for.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let (url, plans) = (url.into(), Plans::new());
        Self { url, token: None, roots: None, addresses: false, grace: Duration::ZERO, plans }
    }
}

// The token is a secret.
impl fmt::Debug for CalloutConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalloutConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Asks a server of the operator's. Needs tokio where it is asked.
#[derive(Debug)]
pub struct Callout(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: Server,
    addresses: bool,
    grace: Duration,
    plans: Mutex<Plans>,
    known: Mutex<HashMap<(RouteId, [u8; 32]), Known>>,
    /// Bytes that the server has not heard of.
    used: Mutex<BTreeMap<Arc<str>, u64>>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    allowed: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    kept: AtomicU64,
}

/// An answer that is remembered.
#[derive(Clone, Debug)]
struct Known {
    answer: Result<Entitlement, Refusal>,
    /// Until when nobody is asked again.
    fresh_until: Instant,
    /// Until when it holds while nobody answers.
    kept_until: Instant,
}

impl Callout {
    /// Prepares to ask. Nothing is sent before a host comes.
    ///
    /// # Errors
    /// [`CalloutError`], which says what to change.
    pub fn new(config: CalloutConfig) -> Result<Self, CalloutError> {
        let CalloutConfig { url, token, roots, addresses, grace, plans } = config;
        let server = Server::new(&url, token.as_deref().map(String::as_str), roots)?;
        let (known, used, tally) = (Mutex::default(), Mutex::default(), Tally::default());
        Ok(Self(Arc::new(Inner { server, addresses, grace, plans: Mutex::new(plans), known, used, tally })))
    }

    /// Takes other plans, for answers from now on.
    pub fn set_plans(&self, plans: Plans) {
        *lock(&self.0.plans) = plans;
    }
}

impl Admit for Callout {
    fn admit(&self, applicant: Applicant) -> Answer {
        let inner = self.0.clone();
        Box::pin(async move { inner.admit(applicant).await })
    }

    fn charge(&self, used: &BTreeMap<Arc<str>, u64>) {
        self.0.owe(used);
    }

    fn wants_addresses(&self) -> bool {
        self.0.addresses
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let Tally { allowed, refused, unanswered, kept } = &self.0.tally;
        [("allowed", allowed), ("refused", refused), ("unanswered", unanswered), ("kept", kept)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
            .into()
    }
}

impl Inner {
    async fn admit(&self, applicant: Applicant) -> Result<Entitlement, Refusal> {
        let key = (applicant.route_id, applicant.key_hash);
        let known = lock(&self.known).get(&key).cloned();
        let now = Instant::now();
        if let Some(known) = known.as_ref().filter(|known| known.fresh_until > now) {
            return known.answer_at(now);
        }
        let account = known.as_ref().and_then(|known| Some(known.answer.as_ref().ok()?.account.clone()));
        let mut owed = Owed::take(self, account.clone());
        let question = Question { applicant: &applicant, account: account.as_deref(), used: owed.bytes };
        let asked = self.server.ask(&question.emit()).await;
        let now = Instant::now();
        let decision = asked.and_then(|answer| {
            Decision::parse(&answer, &lock(&self.plans), Duration::from_secs(1)).map_err(Unanswered::Malformed)
        });
        match decision {
            Ok(decision) => {
                owed.bytes = 0; // it knows
                let count = if decision.answer.is_ok() { &self.tally.allowed } else { &self.tally.refused };
                count.fetch_add(1, Ordering::Relaxed);
                if let (Err(_), Some(reason)) = (&decision.answer, &decision.reason) {
                    tracing::info!(reason, "the admission server refuses a host");
                }
                self.remember(key, &decision, now)
            }
            Err(error) => {
                self.tally.unanswered.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "the admission server did not answer for a host");
                match known.filter(|known| known.answer.is_ok() && known.kept_until > now) {
                    Some(known) => {
                        self.tally.kept.fetch_add(1, Ordering::Relaxed);
                        let left = known.kept_until.duration_since(now).min(UNANSWERED);
                        known.answer.map(|answer| Entitlement { good_for: Some(left), ..answer })
                    }
                    None => Err(Refusal::BusyFor(UNANSWERED)),
                }
            }
        }
    }

    fn remember(&self, key: (RouteId, [u8; 32]), decision: &Decision, now: Instant) -> Result<Entitlement, Refusal> {
        // Hosts that came together, as after a restart, are not to be asked about together ever after.
        let spread = u32::from(UnwrapErr(SysRng).next_u32() as u8);
        let fresh_until = now + decision.life - decision.life / 10 * spread / 256;
        let kept_until = now + decision.life + self.grace;
        let new = Known { answer: decision.answer.clone(), fresh_until, kept_until };
        let answer = new.answer_at(now);
        let mut known = lock(&self.known);
        if known.len() >= MAX_KNOWN && !known.contains_key(&key) {
            known.retain(|_, known| known.kept_until > now);
        }
        if known.len() < MAX_KNOWN || known.contains_key(&key) {
            known.insert(key, new);
        }
        answer
    }

    fn owe(&self, used: &BTreeMap<Arc<str>, u64>) {
        let mut owed = lock(&self.used);
        for (account, bytes) in used {
            if owed.len() < MAX_KNOWN || owed.contains_key(account) {
                let sum = owed.entry(account.clone()).or_default();
                *sum = sum.saturating_add(*bytes);
            }
        }
    }
}

/// Bytes that the server is being told of; owed again where it does not hear of them.
struct Owed<'a> {
    inner: &'a Inner,
    account: Option<Arc<str>>,
    bytes: u64,
}

impl<'a> Owed<'a> {
    fn take(inner: &'a Inner, account: Option<Arc<str>>) -> Self {
        let bytes = account.as_ref().and_then(|account| lock(&inner.used).remove(account));
        Self { inner, account, bytes: bytes.unwrap_or(0) }
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if let (Some(account), true) = (self.account.take(), self.bytes > 0) {
            self.inner.owe(&BTreeMap::from([(account, self.bytes)]));
        }
    }
}

impl Known {
    fn answer_at(&self, now: Instant) -> Result<Entitlement, Refusal> {
        let left = self.fresh_until.saturating_duration_since(now);
        match &self.answer {
            Ok(answer) => Ok(Entitlement { good_for: Some(left), ..answer.clone() }),
            Err(Refusal::BusyFor(_)) => Err(Refusal::BusyFor(left)),
            Err(refusal) => Err(*refusal),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
