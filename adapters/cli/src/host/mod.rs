//! `homing host …`: runs a host, and tells a running one, or its state file, what to change.

mod audit;
mod devices;
mod grant;
mod guests;
mod pair;
mod reload;
mod rotate;
mod start;
mod token;

use std::path::Path;

use homing_host::registry::{self, DeviceError};
use homing_local::control::{ControlError, Role, call};
use serde_json::{Value, json};

pub(crate) use audit::audit;
pub(crate) use devices::devices;
pub(crate) use grant::grant_of;
pub(crate) use guests::guests;
pub(crate) use pair::{pair, picture};
pub(crate) use rotate::rotate;
pub(crate) use start::{machine_name, start};
pub(crate) use token::token;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// `host enable` and `host disable`; remembered where no host runs.
pub(crate) async fn set_enabled(enabled: bool, data: &Path, out: Output) -> Result<(), Failure> {
    let cmd = if enabled { "enable" } else { "disable" };
    let live = tell(data, &json!({ "cmd": cmd })).await?;
    if !live {
        registry::set_enabled(data, enabled).map_err(|error| refused(&error))?;
    }
    let now = if enabled { "can be reached" } else { "is cut off from relays and devices" };
    let when = if live { "now" } else { "once it is started" };
    out.say(&json!({ "ok": true, "enabled": enabled, "running": live }), format_args!("the host {now} {when}"))
}

/// `host jwks`: no secret, and the same whether the host runs or not.
pub(crate) fn jwks(data: &Path, out: Output) -> Result<(), Failure> {
    let keys = registry::jwks(data).map_err(|error| refused(&error))?;
    out.say(&keys, &keys)
}

/// Gives an order to the running host; false where none runs.
async fn tell(data: &Path, order: &Value) -> Result<bool, Failure> {
    Ok(ask(data, order).await?.is_some())
}

/// Asks the running host; none where none runs.
async fn ask(data: &Path, question: &Value) -> Result<Option<Value>, Failure> {
    let answer = match call(data, Role::Host, question).await {
        Ok(mut connection) => connection.next().await?,
        Err(ControlError::NotRunning { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    answer.map(Some).ok_or_else(|| Failure::new(Exit::Unreachable, "the host stopped while it was asked"))
}

fn refused(error: &DeviceError) -> Failure {
    Failure::of(Exit::Failed, error)
}
