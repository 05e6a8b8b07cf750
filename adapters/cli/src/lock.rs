//! `homing config lock` and `unlock`: a passphrase on the keys of this data directory.

use std::path::Path;

use homing_local::keys::{read_passphrase, relock};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// The key files that roles keep.
const KEYS: [&str; 2] = [homing_host::registry::KEY_FILE, homing_device::profile::KEY_FILE];

/// Locks all of them with the passphrase in `file`, or unlocks them.
pub(crate) fn relock_all(data: &Path, file: Option<&Path>, out: Output) -> Result<(), Failure> {
    let failed = |error| Failure::of(Exit::Failed, &error);
    let passphrase = file.map(read_passphrase).transpose().map_err(failed)?;
    let mut changed = Vec::new();
    for name in KEYS {
        if relock(&data.join(name), passphrase.as_ref()).map_err(failed)? {
            changed.push(name);
        }
    }
    if changed.is_empty() {
        return Err(Failure::failed(format!("there are no keys in {}", data.display())));
    }
    let (locked, word) = (passphrase.is_some(), if passphrase.is_some() { "locked" } else { "unlocked" });
    out.say(&json!({ "ok": true, "locked": locked, "keys": changed }), format_args!("{word}: {}", changed.join(", ")))
}
