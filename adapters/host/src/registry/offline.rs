//! A host that is not running: what can be read and changed in its file.

use std::path::Path;

use homing_local::Vault;
use homing_local::clock::unix_now;
use serde_json::{Value, json};

use super::{DeviceError, KEY_FILE, STATE_FILE, State, check_name, complete};
use crate::audit::{AuditFiles, Writer};
use crate::grant::Grant;
use crate::rotation::{Progress, Rotation};
use crate::settings::{NewToken, Scope};

/// The audit trail of the host in this data directory, to be read.
///
/// # Errors
/// [`DeviceError::NoHost`], [`DeviceError::Store`].
pub fn audit_files(data: &Path) -> Result<AuditFiles, DeviceError> {
    let (_, state) = open(data)?;
    Ok(state.audit_files(data))
}

/// What services of the host in this data directory check its assertions with: a JSON Web Key Set.
///
/// # Errors
/// [`DeviceError::NoHost`], [`DeviceError::Store`].
pub fn jwks(data: &Path) -> Result<Value, DeviceError> {
    let (_, state) = open(data)?;
    Ok(state.signer().map_or_else(|| json!({ "keys": [] }), |signer| signer.jwks()))
}

fn open(data: &Path) -> Result<(Vault<State>, State), DeviceError> {
    let (vault, state) = Vault::open(data, STATE_FILE, KEY_FILE)?.ok_or(DeviceError::NoHost)?;
    Ok(complete(vault, state)?)
}

/// Changes a host that is not running, and notes it in its audit trail.
fn change<R>(
    data: &Path,
    event: &str,
    change: impl FnOnce(&mut State) -> Result<(R, Value), DeviceError>,
) -> Result<R, DeviceError> {
    let (mut vault, state) = open(data)?;
    // First: what cannot be noted is not done.
    let mut trail = Writer::open(state.audit_files(data))?;
    let ((result, said), _) = vault.try_update(|state| state.noting(change))?;
    trail.append(unix_now(), event, &said)?;
    trail.seal()?;
    Ok(result)
}

/// The state of a host that is not running.
///
/// # Errors
/// [`DeviceError::NoHost`], [`DeviceError::Store`].
pub fn read(data: &Path) -> Result<State, DeviceError> {
    open(data).map(|(_, state)| state)
}

/// Renames a device of a host that is not running.
///
/// # Errors
/// [`DeviceError`].
pub fn rename(data: &Path, id: &str, name: &str) -> Result<(), DeviceError> {
    let name = check_name(name)?;
    change(data, "renamed", |state| Ok(((), state.rename(id, name)?)))
}

/// Revokes a device of a host that is not running: it can never connect again.
///
/// # Errors
/// [`DeviceError`].
pub fn revoke(data: &Path, id: &str) -> Result<(), DeviceError> {
    change(data, "revoked", |state| Ok(((), state.revoke(id)?.1)))
}

/// Ends a guest of a device of a host that is not running, before its time.
///
/// # Errors
/// [`DeviceError`].
pub fn end_guest(data: &Path, id: &str) -> Result<(), DeviceError> {
    let (mut vault, state) = open(data)?;
    // First: what cannot be noted is not done.
    let mut trail = Writer::open(state.audit_files(data))?;
    let (said, _) = vault.try_update(|state| state.noting(|state| state.end_guest(id)))?;
    if let Some(said) = said {
        trail.append(unix_now(), "guest ended", &said)?;
        trail.seal()?;
    }
    Ok(())
}

/// Says what a device of a host that is not running may reach; none for everything.
///
/// # Errors
/// [`DeviceError`].
pub fn set_grant(data: &Path, id: &str, grant: Option<Grant>) -> Result<(), DeviceError> {
    change(data, "grant set", |state| Ok(((), state.set_grant(id, grant)?)))
}

/// Lets a host that is not running be reached, or not, from its next start on.
///
/// # Errors
/// [`DeviceError`].
pub fn set_enabled(data: &Path, enabled: bool) -> Result<(), DeviceError> {
    change(data, if enabled { "enabled" } else { "disabled" }, |state| {
        state.enabled = enabled;
        Ok(((), json!({})))
    })
}

/// Gives a host that is not running other keys, or ends the overlap of a rotation before.
///
/// # Errors
/// [`DeviceError`].
pub fn rotate(data: &Path, what: Rotation) -> Result<Progress, DeviceError> {
    change(data, "rotated", |state| state.rotate(what, unix_now()))
}

/// Makes a token for the settings API of a host that is not running; `life` is in seconds.
///
/// # Errors
/// [`DeviceError`].
pub fn mint_token(data: &Path, scope: Scope, life: u64) -> Result<NewToken, DeviceError> {
    change(data, "token made", |state| Ok(state.mint_token(scope, life)))
}
