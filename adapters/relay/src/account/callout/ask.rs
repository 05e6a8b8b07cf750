//! What is asked and what is answered, as JSON.

use core::time::Duration;

use homing_local::hex;
use serde::{Deserialize, Serialize};

use super::super::admit::{Applicant, Entitlement, Refusal};
use super::super::book::Plans;
use super::super::plan::{Plan, UNLIMITED};

/// For how long an answer is good that does not say so.
const LIFE: Duration = Duration::from_secs(60);
/// For how long a refusal is good that does not say so.
const REFUSAL: Duration = Duration::from_secs(10);
/// The longest life of an answer.
const LONGEST: Duration = Duration::from_secs(86_400);
/// The longest name of an account, in bytes.
const MAX_NAME: usize = 128;
/// Letters of a reason that are logged.
const MAX_REASON: usize = 200;

/// A question.
pub(super) struct Question<'a> {
    pub(super) applicant: &'a Applicant,
    /// Whose host it is, where it is in already.
    pub(super) account: Option<&'a str>,
    /// Bytes that the account has used since the last question about it.
    pub(super) used: u64,
}

#[derive(Serialize)]
struct Asked<'a> {
    version: u8,
    role: &'static str,
    route: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    used_bytes: u64,
}

impl Question<'_> {
    pub(super) fn emit(&self) -> Vec<u8> {
        let Self { applicant, account, used } = *self;
        let asked = Asked {
            version: 1,
            role: "host",
            route: hex::emit(&applicant.route_id),
            key: hex::emit(&applicant.key_hash),
            address: applicant.address.map(|address| address.to_string()),
            account,
            used_bytes: used,
        };
        // Text and numbers: it cannot fail.
        serde_json::to_vec(&asked).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    allow: bool,
    account: Option<String>,
    plan: Option<NamedOrWritten>,
    expires_at: Option<u64>,
    bytes_left: Option<u64>,
    ttl: Option<u64>,
    reason: Option<String>,
    retry_after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NamedOrWritten {
    Named(String),
    Written(Box<Plan>),
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) answer: Result<Entitlement, Refusal>,
    /// For how long it is good.
    pub(super) life: Duration,
    /// Why not, as it may be logged.
    pub(super) reason: Option<String>,
}

impl Decision {
    /// Reads an answer. Whatever is not as it should be lets nobody in.
    pub(super) fn parse(bytes: &[u8], plans: &Plans, shortest: Duration) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
        let answered: Answered = serde_json::from_slice(bytes).map_err(wrong)?;
        let Answered { allow, account, plan, expires_at, bytes_left, ttl, reason, retry_after } = answered;
        let seconds = |given: Option<u64>| given.map(|given| Duration::from_secs(given).clamp(shortest, LONGEST));
        if !allow {
            let retry_after = seconds(retry_after);
            let refusal = retry_after.map_or(Refusal::Denied, Refusal::BusyFor);
            let reason = reason.map(|reason| reason.chars().take(MAX_REASON).collect::<String>());
            let reason = reason.map(|reason| reason.escape_debug().to_string());
            return Ok(Self { answer: Err(refusal), life: retry_after.unwrap_or(REFUSAL), reason });
        }
        let account = account.filter(|name| (1..=MAX_NAME).contains(&name.len())).ok_or("no account")?;
        let plan = match plan {
            None => Plan::default(),
            Some(NamedOrWritten::Written(plan)) => *plan,
            Some(NamedOrWritten::Named(name)) if name == UNLIMITED => Plan::default(),
            Some(NamedOrWritten::Named(name)) => {
                plans.get(&name).cloned().ok_or("a plan that is not in homing.toml")?
            }
        };
        plan.check()?;
        let answer = Entitlement { account: account.into(), plan, until: expires_at, bytes_left, good_for: None };
        Ok(Self { answer: Ok(answer), life: seconds(ttl).unwrap_or(LIFE), reason: None })
    }
}
