//! `homing host pair`: shows a link until a device has used it.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use homing_local::clock::{rfc3339, unix_now};
use homing_local::control::{Connection, Role, call};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::grant::granted;
use crate::args::{HostPairArgs, When};
use crate::failure::{Exit, Failure};
use crate::output::{Output, field};
use crate::qr;

/// Shows the link, asks where it is to be asked, and ends with the dialog.
pub(crate) async fn pair(args: HostPairArgs, data: &Path, out: Output) -> Result<(), Failure> {
    let confirm = args.confirm || (!args.auto && io::stdin().is_terminal());
    let grant = granted(args.grant);
    let order = json!({ "cmd": "pair", "confirm": confirm, "grant": grant });
    let mut host = call(data, Role::Host, &order).await?;
    let mut closing = Closing::default();
    while let Some(event) = host.next().await? {
        let kind = event.get("event").and_then(Value::as_str).unwrap_or_default();
        if kind != "ticket" {
            closing.close(out)?;
        }
        // A host of an earlier version would let the device in to everything.
        if kind == "ticket" && grant.is_some() && event.get("granted").is_none() {
            return Err(Failure::failed("the running host knows no grants: restart it"));
        }
        out.json(&event)?;
        match kind {
            "ticket" => closing = show(&event, args.qr.qr, out)?,
            "confirm" => {
                let approve = ask(&event, &mut host, out).await?;
                if let Some(approve) = approve {
                    host.send(&json!({ "approve": approve })).await?;
                }
            }
            "paired" => {
                let device = event.get("device").cloned().unwrap_or_default();
                return out.text(format_args!(
                    "{} {} is paired, id {}",
                    out.green("✓"),
                    out.bold(field(&device, "name")),
                    field(&device, "id")
                ));
            }
            "denied" => return Err(Failure::new(Exit::Refused, "the device was turned away, and the link is void")),
            "expired" => {
                return Err(Failure::new(
                    Exit::Expired,
                    "the link has expired; run `homing host pair` for another one",
                ));
            }
            other => tracing::debug!(event = other, "an event of a later version"),
        }
    }
    Err(Failure::new(Exit::Unreachable, "the host stopped before a device was paired"))
}

/// The lines of a QR code on a terminal, to be taken away once the link is used.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    lines: usize,
}

impl Closing {
    pub(crate) fn close(&mut self, out: Output) -> Result<(), Failure> {
        let lines = core::mem::take(&mut self.lines);
        if lines > 0 && !out.json && io::stdout().is_terminal() {
            let mut stdout = io::stdout().lock();
            write!(stdout, "\x1b[{lines}A\x1b[J")?;
            stdout.flush()?;
        }
        Ok(())
    }
}

/// The QR code with a caption in one line below it.
pub(crate) fn picture(link: &str, when: When, caption: &str, out: Output) -> Result<Closing, Failure> {
    let Some(drawing) = (if out.json { None } else { qr::drawing(link, when) }) else {
        out.text(caption)?;
        return Ok(Closing::default());
    };
    out.text(drawing.trim_end_matches('\n'))?;
    out.text(caption)?;
    Ok(Closing { lines: drawing.lines().count() + 1 })
}

fn show(event: &Value, when: When, out: Output) -> Result<Closing, Failure> {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let expires_at = event.get("expires_at").and_then(Value::as_u64).unwrap_or_default();
    let minutes = expires_at.saturating_sub(unix_now()).div_ceil(60);
    if event.get("granted").is_some_and(|granted| granted != "everything") {
        out.text(format_args!("{} {}", out.dim("the device may reach"), field(event, "granted")))?;
    }
    // The time of day is enough, and leaves the caption on one line of 80 columns.
    let until = rfc3339(expires_at);
    let until = until.get(11..19).unwrap_or(&until);
    // First, so that the link stays when the code is taken away.
    out.text(format_args!("{} '{}'", out.dim("homing pair"), field(event, "link")))?;
    let caption = format!("Scan, or run the line above there. Works once, until {until} UTC ({minutes} min).");
    picture(text("link"), when, &caption, out)
}

/// What the person in front of this says; none where the dialog ended first.
async fn ask(event: &Value, host: &mut Connection, out: Output) -> Result<Option<bool>, Failure> {
    if !out.json {
        let device = event.get("device").cloned().unwrap_or_default();
        let platform = device.get("platform").map(|_| format!(" ({})", field(&device, "platform"))).unwrap_or_default();
        let mut err = io::stderr().lock();
        let _ = write!(
            err,
            "{}{platform} wants in. It has to show the check words {}\nLet it in? [y/N] ",
            out.bold(field(&device, "name")),
            out.bold(field(event, "check")),
        );
        let _ = err.flush();
    }
    let (said, answer) = oneshot::channel();
    // A thread of its own: a read of stdin cannot be cancelled.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).is_ok();
        let _ = said.send(read && is_yes(line.trim()));
    });
    tokio::select! {
        answer = answer => Ok(Some(answer.unwrap_or(false))),
        // Nothing but an end can come while the host waits for the answer.
        end = host.next() => match end?.as_ref().and_then(|end| end.get("event")).and_then(Value::as_str) {
            Some("expired") => Err(Failure::new(Exit::Expired, "the link has expired; run `homing host pair` for another one")),
            Some("denied") => Err(Failure::new(Exit::Refused, "the device has given up")),
            _ => Err(Failure::new(Exit::Unreachable, "the host stopped before a device was paired")),
        },
    }
}

fn is_yes(line: &str) -> bool {
    let json = serde_json::from_str::<Value>(line).ok();
    let approved = json.and_then(|line| line.get("approve").and_then(Value::as_bool));
    approved.unwrap_or_else(|| line.eq_ignore_ascii_case("y") || line.eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_lets_a_device_in() {
        for yes in ["y", "Y", "yes", r#"{"approve":true}"#] {
            assert!(is_yes(yes), "{yes}");
        }
        for no in ["", "n", "ja", "yes please", "true", r#"{"approve":false}"#, r#"{"approve":"true"}"#] {
            assert!(!is_yes(no), "{no}");
        }
    }
}
