//! Grants, from flags to the running host or its state file.

use std::path::Path;

use homing_host::grant::{Grant, MAX_EXPIRY, Rate, describe};
use homing_host::registry;
use homing_local::clock::unix_now;
use serde_json::json;

use super::{refused, tell};
use crate::args::{DeviceGrantArgs, GrantArgs};
use crate::failure::Failure;
use crate::output::{Output, clean_line};

/// What the flags grant; none for everything without limits.
pub(super) fn granted(args: GrantArgs) -> Option<Grant> {
    grant_of(args).or_everything()
}

/// The same where everything is a grant, too.
pub(crate) fn grant_of(args: GrantArgs) -> Grant {
    Grant {
        // No rule at all is no wish to shut the device out: the limits are for everything then.
        rules: (!args.rules.is_empty()).then_some(args.rules),
        rate: args.rate.map(|per_second| Rate { per_second, burst: args.burst.unwrap_or(per_second) }),
        concurrent: args.concurrent,
        expires_at: args.life.map(|life| unix_now().saturating_add(life).min(MAX_EXPIRY)),
        no_guests: args.no_guests,
    }
}

/// `host devices grant`.
pub(super) async fn grant(args: DeviceGrantArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let (id, grant) = (args.id, granted(args.grant));
    let shown = describe(grant.as_ref());
    if !tell(data, &json!({ "cmd": "grant", "id": id, "grant": grant })).await? {
        registry::set_grant(data, &id, grant.clone()).map_err(|error| refused(&error))?;
    }
    let text = format!("{} may reach {shown}", clean_line(&id));
    out.say(&json!({ "ok": true, "grant": grant, "granted": shown }), text)
}
