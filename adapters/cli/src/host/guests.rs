//! `homing host guests …`: asks the running host, else its state file.

use std::path::Path;

use homing_host::registry;
use serde_json::{Value, json};

use super::{ask, refused, tell};
use crate::args::GuestsCommand;
use crate::failure::Failure;
use crate::output::{Output, clean_line, field};

pub(crate) async fn guests(command: GuestsCommand, data: &Path, out: Output) -> Result<(), Failure> {
    match command {
        GuestsCommand::List => list(data, out).await,
        GuestsCommand::End { id } => {
            if !tell(data, &json!({ "cmd": "end_guest", "id": id })).await? {
                registry::end_guest(data, &id).map_err(|error| refused(&error))?;
            }
            out.say(&json!({ "ok": true }), format!("{}: what it was given is over", clean_line(&id)))
        }
    }
}

async fn list(data: &Path, out: Output) -> Result<(), Failure> {
    let guests = match ask(data, &json!({ "cmd": "guests" })).await? {
        Some(mut answer) => answer.get_mut("guests").map(Value::take).unwrap_or_else(|| json!([])),
        None => json!(registry::read(data).map_err(|error| refused(&error))?.guests(|_| 0)),
    };
    out.json(&guests)?;
    let guests = guests.as_array().map(Vec::as_slice).unwrap_or_default();
    if guests.is_empty() {
        return out.text("no guest has come; devices let them in with `homing guest`");
    }
    let titles = ["ID", "NAME", "GUEST OF", "LAST SEEN", "CHANNELS", "UNTIL"];
    let rows = guests.iter().map(|guest| {
        let until = match guest.get("ended").and_then(Value::as_bool) {
            Some(true) => "ended".to_owned(),
            _ => field(guest, "expires_at"),
        };
        let [id, name, of, seen, live] =
            ["id", "name", "device_name", "last_seen", "connected"].map(|name| field(guest, name));
        [id, name, of, seen, live, until]
    });
    out.table(&core::iter::once(titles.map(str::to_owned)).chain(rows).collect::<Vec<_>>())
}
