//! `homing host devices …`: asks the running host, else its state file.

use std::path::Path;

use homing_host::{device_json, registry};
use serde_json::{Value, json};

use super::{ask, grant, refused, tell};
use crate::args::DevicesCommand;
use crate::failure::Failure;
use crate::output::{Output, clean_line, field};

pub(crate) async fn devices(command: DevicesCommand, data: &Path, out: Output) -> Result<(), Failure> {
    match command {
        DevicesCommand::List => list(data, out).await,
        DevicesCommand::Rename { id, name } => {
            if !tell(data, &json!({ "cmd": "rename", "id": id, "name": name })).await? {
                registry::rename(data, &id, &name).map_err(|error| refused(&error))?;
            }
            let text = format!("{} is called {} now", clean_line(&id), clean_line(&name));
            out.say(&json!({ "ok": true }), text)
        }
        DevicesCommand::Grant(args) => grant::grant(args, data, out).await,
        DevicesCommand::Revoke { id } => {
            if !tell(data, &json!({ "cmd": "revoke", "id": id })).await? {
                registry::revoke(data, &id).map_err(|error| refused(&error))?;
            }
            let text = format!("{} is shut out: its key and token are worthless now", clean_line(&id));
            out.say(&json!({ "ok": true }), text)
        }
    }
}

async fn list(data: &Path, out: Output) -> Result<(), Failure> {
    let devices = match ask(data, &json!({ "cmd": "devices" })).await? {
        Some(mut answer) => answer.get_mut("devices").map(Value::take).unwrap_or_else(|| json!([])),
        None => {
            let state = registry::read(data).map_err(|error| refused(&error))?;
            state.devices.iter().map(|device| device_json(&state, device, 0, 0)).collect()
        }
    };
    out.json(&devices)?;
    let devices = devices.as_array().map(Vec::as_slice).unwrap_or_default();
    if devices.is_empty() {
        return out.text("no devices yet; `homing host pair` lets one in");
    }
    let titles = ["ID", "NAME", "PLATFORM", "PAIRED", "LAST SEEN", "PATH", "CHANNELS", "GUESTS", "KEYS", "GRANT"];
    let fields =
        ["id", "name", "platform", "paired_at", "last_seen", "path", "channels", "guests", "followed", "granted"];
    let cell = |device: &Value, name: &str| match (name, device.get(name).and_then(Value::as_bool)) {
        ("followed", Some(false)) => "old".to_owned(),
        ("followed", _) => "current".to_owned(),
        _ => field(device, name),
    };
    let rows = devices.iter().map(|device| fields.map(|name| cell(device, name)));
    out.table(&core::iter::once(titles.map(str::to_owned)).chain(rows).collect::<Vec<_>>())
}
