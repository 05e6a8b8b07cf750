//! `homing hosts log`: what a host told of its devices.

use std::path::Path;

use homing_device::{Alarm, DeviceLog, Profiles};
use homing_local::clock::rfc3339;
use homing_local::device_log::{Change, Entry};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, clean_line};

/// Shows the log, and ends its warning where that is accepted.
pub(super) fn log(host: &str, accept: bool, data: &Path, out: Output) -> Result<(), Failure> {
    let DeviceLog { host, entries, alarm } =
        if accept { Profiles::accept_device_log(data, host)? } else { Profiles::device_log(data, host)? };
    let name = clean_line(&host);
    out.json(&json!({
        "host": host,
        "entries": entries.iter().map(entry_json).collect::<Vec<_>>(),
        "warning": alarm.as_ref().map(warning_json),
        "accepted": accept && alarm.is_some(),
    }))?;
    if entries.is_empty() {
        out.text(format_args!("{name} has told nothing of its devices yet; it does when this machine is connected"))?;
    } else {
        table(&entries, out)?;
    }
    let Some(alarm) = alarm else { return Ok(()) };
    out.text(out.red(format_args!("\n{}: {}", rfc3339(alarm.noticed_at), alarm.what)))?;
    out.text("It had told before:")?;
    table(&alarm.before().collect::<Vec<_>>(), out)?;
    out.text(if accept {
        format!("\nAccepted: from now on {name} is held to the log above.")
    } else {
        format!("\nAsk its owner. `homing hosts log {name} --accept` ends this warning.")
    })
}

fn table(entries: &[Entry], out: Output) -> Result<(), Failure> {
    let titles = ["NUMBER", "TIME", "EVENT", "DEVICE", "NAME", "PLATFORM"].map(str::to_owned);
    let rows = entries.iter().map(|entry| {
        let Entry { seq, time, device, before, .. } = entry;
        let name = match before {
            Some(before) => format!("{} (was {})", clean_line(&device.name), clean_line(before)),
            None => clean_line(&device.name),
        };
        let event = word(entry.event).to_owned();
        [seq.to_string(), rfc3339(*time), event, clean_line(&device.id), name, clean_line(&device.platform)]
    });
    out.table(&core::iter::once(titles).chain(rows).collect::<Vec<_>>())
}

/// What happened, as the log has it.
pub(super) const fn word(event: Change) -> &'static str {
    match event {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Renamed => "renamed",
        _ => "other",
    }
}

pub(super) fn entry_json(entry: &Entry) -> Value {
    let Entry { seq, time, device, before, .. } = entry;
    json!({ "seq": seq, "time": rfc3339(*time), "event": word(entry.event), "device": device, "before": before })
}

fn warning_json(alarm: &Alarm) -> Value {
    json!({
        "warning": alarm.what,
        "message": alarm.what.to_string(),
        "noticed_at": rfc3339(alarm.noticed_at),
        "before": alarm.before().map(|entry| entry_json(&entry)).collect::<Vec<_>>(),
    })
}
