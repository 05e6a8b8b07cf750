//! What other processes on this machine can ask a running host.

use homing_local::clock::rfc3339;
use homing_local::control::{ControlError, Replies, Request};
use serde_json::{Value, json};

use crate::dialog::{PairEvent, PairOptions};
use crate::grant::{Grant, GrantError, describe};
use crate::rotation::{Progress, Rotation};
use crate::settings::NewToken;
use crate::{HostHandle, registry};

/// Answers one request.
pub(crate) async fn answer(host: HostHandle, request: Request) {
    let Request { value, mut replies } = request;
    let answered = match value.get("cmd").and_then(Value::as_str) {
        Some("pair") => pair(&host, &value, &mut replies).await,
        Some("status") => replies.send(&host.status()).await,
        Some("devices") => replies.send(&json!({ "devices": host.devices() })).await,
        Some("rename") => {
            let (id, name) = (text(&value, "id"), text(&value, "name"));
            settle(&mut replies, host.rename(&id, &name).await).await
        }
        Some("revoke") => settle(&mut replies, host.revoke(&text(&value, "id")).await).await,
        Some("guests") => replies.send(&json!({ "guests": host.guests() })).await,
        Some("end_guest") => settle(&mut replies, host.end_guest(&text(&value, "id")).await).await,
        Some("grant") => match grant(&value) {
            Ok(grant) => settle(&mut replies, host.set_grant(&text(&value, "id"), grant).await).await,
            Err(error) => replies.refuse("grant", &error.to_string()).await,
        },
        Some("rotate") => rotate(&host, &value, &mut replies).await,
        Some("audit") => {
            host.audit_written().await;
            replies.send(&json!({ "ok": true })).await
        }
        Some("token") => token(&host, &value, &mut replies).await,
        Some(word @ ("enable" | "disable")) => settle(&mut replies, host.set_enabled(word == "enable").await).await,
        _ => replies.refuse("unknown", "the running host does not know this request; is it an older version?").await,
    };
    if let Err(error) = answered {
        tracing::debug!(%error, "control connection ended");
    }
}

async fn settle(replies: &mut Replies, result: Result<(), registry::DeviceError>) -> Result<(), ControlError> {
    match result {
        Ok(()) => replies.send(&json!({ "ok": true })).await,
        Err(error) => {
            let code = match error {
                registry::DeviceError::Store(_) => "store",
                _ => "device",
            };
            replies.refuse(code, &error.to_string()).await
        }
    }
}

async fn rotate(host: &HostHandle, value: &Value, replies: &mut Replies) -> Result<(), ControlError> {
    let is = |name: &str| value.get(name).and_then(Value::as_bool) == Some(true);
    let what = Rotation { identity: is("identity"), route: is("route"), now: is("now") };
    match host.rotate(what).await {
        Ok(progress) => replies.send(&progress_json(&progress)).await,
        Err(error) => replies.refuse("rotation", &error.to_string()).await,
    }
}

/// How far a rotation is, as `host rotate` shows it.
#[must_use]
pub fn progress_json(progress: &Progress) -> Value {
    json!({ "ok": true, "until": progress.until.map(rfc3339), "waiting": progress.waiting })
}

async fn token(host: &HostHandle, value: &Value, replies: &mut Replies) -> Result<(), ControlError> {
    let Ok(scope) = text(value, "scope").parse() else { return replies.refuse("scope", "no such scope").await };
    let life = value.get("life").and_then(Value::as_u64).unwrap_or(0);
    match host.mint_token(scope, life).await {
        Ok(token) => replies.send(&token_json(&token)).await,
        Err(error) => replies.refuse("store", &error.to_string()).await,
    }
}

/// A new token as `host token` shows it, once.
#[must_use]
pub fn token_json(token: &NewToken) -> Value {
    json!({
        "token": token.token.as_str(),
        "scope": token.scope.as_str(),
        "expires_at": rfc3339(token.expires_at),
    })
}

/// A pairing dialog lives as long as its connection.
async fn pair(host: &HostHandle, value: &Value, replies: &mut Replies) -> Result<(), ControlError> {
    let mut options =
        PairOptions { confirm: value.get("confirm").and_then(Value::as_bool) == Some(true), ..PairOptions::default() };
    if let Some(seconds) = value.get("life").and_then(Value::as_u64) {
        options.life = core::time::Duration::from_secs(seconds);
    }
    options.grant = match grant(value) {
        Ok(grant) => grant,
        Err(error) => return replies.refuse("grant", &error.to_string()).await,
    };
    let granted = describe(options.grant.as_ref());
    let mut dialog = match host.pair(options) {
        Ok(dialog) => dialog,
        Err(error) => return replies.refuse("pair", &error.to_string()).await,
    };
    replies
        .send(&json!({
            "event": "ticket",
            "link": dialog.link(),
            "web_link": dialog.web_link(),
            "expires_at": dialog.expires_at(),
            "granted": granted,
        }))
        .await?;
    loop {
        let closed = replies.closed();
        let event = tokio::select! {
            event = dialog.next() => event,
            () = closed => return Ok(()), // nobody looks at the link any more: the dialog's end cancels it
        };
        match event {
            None => return Ok(()),
            Some(PairEvent::Confirm { name, platform, check, answer }) => {
                let device = json!({ "name": name, "platform": platform });
                replies.send(&json!({ "event": "confirm", "device": device, "check": check })).await?;
                let line = replies.next_line().await;
                let approved = line.and_then(|line| line.get("approve").and_then(Value::as_bool)) == Some(true);
                // Where the device has gone, the answer matters to nobody.
                let _ = answer.send(approved);
            }
            Some(PairEvent::Paired { id, name }) => {
                return replies.send(&json!({ "event": "paired", "device": { "id": id, "name": name } })).await;
            }
            Some(PairEvent::Denied) => return replies.send(&json!({ "event": "denied" })).await,
            Some(PairEvent::Expired) => return replies.send(&json!({ "event": "expired" })).await,
        }
    }
}

/// The grant in a request; none where there is none, or null.
fn grant(value: &Value) -> Result<Option<Grant>, GrantError> {
    value.get("grant").filter(|grant| !grant.is_null()).map(Grant::parse).transpose()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().into()
}

/// A device as `host devices list` shows it; `channels` counts its live sessions, `guests` those of
/// its guests among them.
#[must_use]
pub fn device_json(state: &registry::State, device: &registry::Device, channels: usize, guests: usize) -> Value {
    json!({
        "id": device.id,
        "name": device.name,
        "platform": device.platform,
        "paired_at": rfc3339(device.paired_at),
        "last_seen": device.last_seen.map(rfc3339),
        "path": if channels > 0 { Some("relay") } else { None },
        "channels": channels,
        "guests": guests,
        "grant": device.grant(),
        "granted": describe(device.grant()),
        "followed": state.has_followed(device),
    })
}
