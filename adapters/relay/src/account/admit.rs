//! The question whether a host may come in, and its answer.

use core::pin::Pin;
use std::collections::BTreeMap;
use std::sync::Arc;

use homing_core::crypto::same;
use homing_core::relay::Ask;

use super::plan::Plan;

/// An answer on its way. The host waits for it for at most ten seconds from its connection on.
pub type Answer = Pin<Box<dyn Future<Output = Result<Entitlement, Refusal>> + Send>>;

/// Decides which hosts come in.
pub trait Admit: Send + Sync {
    /// Answers for a host that has proved its route. Called with locks held: think in the future, not in the call.
    fn admit(&self, ask: Ask) -> Answer;

    /// Takes note of bytes that accounts have used since the last call. Called from the relay's loop every few seconds,
    /// and once at its end.
    fn charge(&self, _used: &BTreeMap<Arc<str>, u64>) {}
}

/// What a host is let in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// Whom its use is charged to.
    pub account: Arc<str>,
    /// What the account may use, over all its hosts.
    pub plan: Plan,
    /// When it ends, in Unix seconds: the host is cut off then, and may ask again.
    pub until: Option<u64>,
    /// Bytes that are left of [`Plan::bytes_per_month`].
    pub bytes_left: Option<u64>,
}

/// Why a host is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its key lets nobody in: unknown, revoked or expired.
    Denied,
    /// Its account has used up what it has; or nobody could answer. It may come back later.
    Busy,
}

/// Lets in whoever shows the key with this hash.
pub(crate) struct OneKey(pub(crate) [u8; 32]);

impl Admit for OneKey {
    fn admit(&self, ask: Ask) -> Answer {
        let everything = || Entitlement { account: "".into(), plan: Plan::default(), until: None, bytes_left: None };
        let answer = same(&ask.key_hash, &self.0).then(everything).ok_or(Refusal::Denied);
        Box::pin(core::future::ready(answer))
    }
}
