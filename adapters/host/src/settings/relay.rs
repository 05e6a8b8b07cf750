//! Whether the host can be reached, and through which relays.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use homing_tokio::RelayUrl;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::answer::{Answer, Body, Problem};

/// Relays that a host attaches to.
const MAX_RELAYS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    enabled: Option<bool>,
    relays: Option<Vec<String>>,
}

pub(super) async fn show(State(desk): State<Desk>) -> Json<Value> {
    Json(settings(&desk))
}

pub(super) async fn change(State(desk): State<Desk>, Body(change): Body<Change>) -> Answer {
    if let Some(texts) = change.relays {
        if let Some(origin) = desk.host.relays_fixed_by() {
            let text = format!("the relays are set by {origin}; change them there, and start the host anew");
            return Err(Problem::not_ready(vec![json!({ "code": "relays_fixed", "message": text, "origin": origin })]));
        }
        let relays: Result<Vec<RelayUrl>, _> = texts.iter().map(|text| text.parse()).collect();
        let relays = relays.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_relay", error))?;
        if relays.len() > MAX_RELAYS {
            let text = format!("at most {MAX_RELAYS} relays");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_relay", text));
        }
        desk.host.set_relays(relays).await?;
    }
    if let Some(enabled) = change.enabled {
        desk.host.set_enabled(enabled).await?;
    }
    Ok(Json(settings(&desk)))
}

pub(super) async fn status(State(desk): State<Desk>) -> Json<Value> {
    let mut status = desk.host.status();
    if let Some(status) = status.as_object_mut() {
        status.insert("reachable".into(), desk.host.is_reachable().into());
        status.insert("diagnostics".into(), diagnostics(&desk).into());
    }
    Json(status)
}

fn settings(desk: &Desk) -> Value {
    json!({
        "enabled": desk.host.is_enabled(),
        "relays": desk.host.relays(),
        "fixed_by": desk.host.relays_fixed_by(),
    })
}

/// Why no device can reach the host now; empty where it can.
pub(super) fn diagnostics(desk: &Desk) -> Vec<Value> {
    if desk.host.relays().is_empty() {
        return vec![json!({ "code": "relay_missing", "message": "no relay is set" })];
    }
    if !desk.host.is_enabled() {
        return vec![json!({ "code": "relay_disabled", "message": "the host is disabled" })];
    }
    if desk.host.is_reachable() {
        return Vec::new();
    }
    let status = desk.host.status();
    let links = status.get("links").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let broken = links.iter().map(|link| {
        let error = link.get("last_error").and_then(Value::as_str).unwrap_or("not connected yet");
        json!({ "code": "relay_unreachable", "message": error, "relay": link.get("relay"), "retry_in_ms": link.get("retry_in_ms") })
    });
    broken.collect()
}
