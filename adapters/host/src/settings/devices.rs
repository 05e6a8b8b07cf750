//! The devices that were let in, and their guests.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::answer::{Answer, Body};
use crate::grant::{Grant, describe};

pub(super) async fn list(State(desk): State<Desk>) -> Json<Value> {
    Json(json!({ "devices": desk.host.devices() }))
}

pub(super) async fn guests(State(desk): State<Desk>) -> Json<Value> {
    Json(json!({ "guests": desk.host.guests() }))
}

pub(super) async fn end_guest(State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    desk.host.end_guest(&id).await?;
    Ok(Json(json!({ "ok": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    name: String,
}

pub(super) async fn rename(State(desk): State<Desk>, Path(id): Path<String>, Body(rename): Body<Rename>) -> Answer {
    desk.host.rename(&id, &rename.name).await?;
    Ok(Json(json!({ "ok": true })))
}

pub(super) async fn revoke(State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    desk.host.revoke(&id).await?;
    Ok(Json(json!({ "ok": true })))
}

pub(super) async fn grant(State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    let grant = desk.host.grant(&id)?;
    Ok(Json(json!({ "grant": grant, "granted": describe(grant.as_ref()) })))
}

pub(super) async fn set_grant(State(desk): State<Desk>, Path(id): Path<String>, Body(grant): Body<Grant>) -> Answer {
    desk.host.set_grant(&id, Some(grant)).await?;
    self::grant(State(desk), Path(id)).await
}

/// Everything, without limits.
pub(super) async fn lift_grant(State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    desk.host.set_grant(&id, None).await?;
    grant(State(desk), Path(id)).await
}
