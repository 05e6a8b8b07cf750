//! `homing status`: what runs with this data directory, as each role tells it.

use std::path::Path;

use homing_device::Profiles;
use homing_local::clock::{rfc3339, unix_now};
use homing_local::control::{call_at, running};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, clean_line, field};

pub(crate) async fn status(data: &Path, out: Output) -> Result<(), Failure> {
    let mut roles = Vec::new();
    for live in running(data).await? {
        let asked = async { call_at(&live.path, &json!({ "cmd": "status" })).await?.next().await };
        match asked.await {
            Ok(Some(mut role)) => {
                if let (Some(pid), Some(object)) = (live.pid, role.as_object_mut()) {
                    object.entry("pid").or_insert_with(|| pid.into());
                }
                roles.push(role);
            }
            // It ended between being found and being asked.
            Ok(None) => {}
            Err(error) => tracing::warn!(role = %live.role, %error, "a running role does not answer"),
        }
    }
    let warnings = warnings(data);
    for (text, _) in &warnings {
        out.text(out.red(text))?;
    }
    if roles.is_empty() {
        out.text(format_args!("nothing runs with {}", data.display()))?;
    }
    for role in &roles {
        show(role, out)?;
    }
    let warnings: Vec<_> = warnings.into_iter().map(|(_, warning)| warning).collect();
    out.json(&json!({ "roles": roles, "warnings": warnings }))
}

/// What is wrong with hosts of this device, running or not, for people and for programs.
fn warnings(data: &Path) -> Vec<(String, Value)> {
    // A file that cannot be read is told of by those who need it.
    let hosts = Profiles::list(data).unwrap_or_default();
    let warned = hosts.into_iter().filter_map(|host| Some((host.warning?, host)));
    let told = warned.map(|(what, host)| {
        let name = clean_line(&host.name);
        let text = format!("host {name}: {what}; see `homing hosts log {name}`, which ends this with --accept");
        (text, json!({ "host": host.name, "id": host.id, "warning": what, "message": what.to_string() }))
    });
    told.collect()
}

fn show(role: &Value, out: Output) -> Result<(), Failure> {
    let kind = field(role, "role");
    let title = role.get("name").map(|_| format!(" {}", field(role, "name"))).unwrap_or_default();
    out.text(format_args!(
        "{}{}  {}",
        out.bold(&kind),
        out.bold(title),
        out.dim(format_args!("pid {}", field(role, "pid")))
    ))?;
    for (key, value) in role.as_object().into_iter().flatten() {
        // A relay counts its links, others describe them, which comes last.
        let shown_elsewhere = match key.as_str() {
            "role" | "name" | "pid" | "version" => true,
            "links" => !value.is_number(),
            _ => false,
        };
        if shown_elsewhere {
            continue;
        }
        let shown = match value {
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let items = items.iter().filter_map(Value::as_str).map(clean_line).collect::<Vec<_>>();
                if items.is_empty() { "none".to_owned() } else { items.join(", ") }
            }
            Value::Array(_) | Value::Object(_) => continue,
            _ => field(role, key),
        };
        out.text(format_args!("  {:<18}{shown}", key.replace('_', " ")))?;
    }
    let links = role.get("links").and_then(Value::as_array);
    links.into_iter().flatten().try_for_each(|link| show_link(link, out))
}

fn show_link(link: &Value, out: Output) -> Result<(), Failure> {
    let state = field(link, "state");
    let painted = match state.as_str() {
        "connected" | "waiting" => out.green(&state),
        "disabled" => out.dim(&state),
        _ => out.yellow(&state),
    };
    let to = ["relay", "host"].iter().filter(|name| link.get(**name).is_some_and(Value::is_string));
    let to = to.map(|name| field(link, name)).collect::<Vec<_>>().join(" ");
    let mut text = format!("  link {to}  {painted}");
    match link.get("since") {
        Some(Value::Number(since)) => {
            let since = since.as_u64().unwrap_or_default();
            let seconds = unix_now().saturating_sub(since);
            text += &format!(" for {} (since {})", lasting(seconds), rfc3339(since));
        }
        Some(Value::String(since)) => text += &format!(" since {}", clean_line(since)),
        _ => {}
    }
    if link.get("former_route").and_then(Value::as_bool) == Some(true) {
        text += ", for devices that know the old keys";
    }
    if let Some(ms) = link.get("last_round_trip_ms").and_then(Value::as_f64) {
        text += &format!(", round trip {ms:.1} ms");
    }
    if let Some(at) = link.get("last_round_trip_at").and_then(Value::as_u64) {
        text += &format!(" ({} ago)", lasting(unix_now().saturating_sub(at)));
    }
    if let Some(ms) = link.get("retry_in_ms").and_then(Value::as_u64) {
        text += &format!(", trying again in {:.1} s", ms as f64 / 1000.0);
    }
    out.text(text)?;
    if let Some(Value::String(error)) = link.get("last_error") {
        out.text(format_args!("    {}", out.red(clean_line(error))))?;
    }
    // One that is the only one was told of above.
    let relays = link.get("relays").and_then(Value::as_array).filter(|relays| relays.len() > 1);
    relays.into_iter().flatten().try_for_each(|relay| show_relay(relay, out))
}

/// One of the relays that a device may reach its host through.
fn show_relay(relay: &Value, out: Output) -> Result<(), Failure> {
    let state = field(relay, "state").replace('_', " ");
    let painted = match state.as_str() {
        "in use" => out.green(&state),
        "failed" => out.yellow(&state),
        _ => out.dim(&state),
    };
    out.text(format_args!("    relay {}  {painted}", field(relay, "relay")))?;
    match relay.get("last_error") {
        Some(Value::String(error)) => out.text(format_args!("      {}", out.red(clean_line(error)))),
        _ => Ok(()),
    }
}

/// A duration as people say it.
fn lasting(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
