//! The question whether a host may come in, and its answer.

use core::fmt;
use core::net::IpAddr;
use core::pin::Pin;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use homing_core::crypto::same;
use homing_core::hop::RouteId;

use super::plan::Plan;

/// An answer on its way. The host waits for it for at most ten seconds from its connection on.
pub type Answer = Pin<Box<dyn Future<Output = Result<Entitlement, Refusal>> + Send>>;

/// A host that wants to be let in, or that is in and looked at again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Applicant {
    /// The route that it has proved.
    pub route_id: RouteId,
    /// Hash of the key that it showed, by [`operator_hash`](homing_core::hop::operator_hash).
    pub key_hash: [u8; 32],
    /// Where it comes from, for an [`Admit`] that wants to know.
    pub address: Option<IpAddr>,
}

// Neither belongs into a log.
impl fmt::Debug for Applicant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applicant").finish_non_exhaustive()
    }
}

/// Decides which hosts come in.
pub trait Admit: Send + Sync {
    /// Answers for a host that has proved its route. Called with no lock of the relay's held, from many tasks at once; yet
    /// think in the future, not in the call.
    fn admit(&self, applicant: Applicant) -> Answer;

    /// Takes note of bytes that accounts have used since the last call. Called from the relay's loop every few seconds,
    /// and once at its end.
    fn charge(&self, _used: &BTreeMap<Arc<str>, u64>) {}

    /// Whether it wants to know the addresses of hosts.
    fn wants_addresses(&self) -> bool {
        false
    }

    /// What became of its questions, for the metrics: a few fixed names.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// What a host is let in with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entitlement {
    /// Whom its use is charged to.
    pub account: Arc<str>,
    /// What the account may use, over all its hosts.
    pub plan: Plan,
    /// When it ends, in Unix seconds: the host is cut off then, and may ask again.
    pub until: Option<u64>,
    /// Bytes that are left of [`Plan::bytes_per_month`].
    pub bytes_left: Option<u64>,
    /// For how long this answer is good. Then the relay asks again, while the host stays; for ever where there is none.
    pub good_for: Option<Duration>,
}

/// Why a host is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its key lets nobody in: unknown, revoked or expired.
    Denied,
    /// Its account has used up what it has; or nobody could answer. It may come back later.
    Busy,
    /// The same, with the time after which it may come back.
    BusyFor(Duration),
}

/// Lets in whoever shows the key with this hash.
pub(crate) struct OneKey(pub(crate) [u8; 32]);

impl Admit for OneKey {
    fn admit(&self, applicant: Applicant) -> Answer {
        let answer = same(&applicant.key_hash, &self.0).then(Entitlement::default).ok_or(Refusal::Denied);
        Box::pin(core::future::ready(answer))
    }
}

/// Lets everybody in.
pub(crate) struct Everyone;

impl Admit for Everyone {
    fn admit(&self, _: Applicant) -> Answer {
        Box::pin(core::future::ready(Ok(Entitlement::default())))
    }
}
