//! Pairing links, as QR codes and as text.

use core::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use homing_core::pairing::{TICKET_LIFE, parse_link};
use homing_local::clock::{rfc3339, unix_now};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Desk;
use super::answer::{Answer, Body, Problem};
use super::relay::diagnostics;
use crate::dialog::{PairError, PairOptions};
use crate::grant::Grant;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Order {
    /// Let in whoever shows the link first.
    auto: bool,
    /// Seconds that the link lives.
    #[serde(deserialize_with = "whole")]
    life: u64,
    /// What the device may reach; none for everything.
    grant: Option<Grant>,
}

/// A whole number, also one that is written with a point, as JSON Schema has it.
fn whole<'de, D: Deserializer<'de>>(number: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(number)?;
    // Up to here every whole number is itself.
    let whole = number.fract() == 0.0 && (0.0..=9e15).contains(&number);
    format!("{number}").parse().ok().filter(|_| whole).ok_or_else(|| D::Error::custom("not a whole number"))
}

impl Default for Order {
    fn default() -> Self {
        Self { auto: false, life: TICKET_LIFE.as_secs(), grant: None }
    }
}

pub(super) async fn qr(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Body(order): Body<Order>,
) -> Result<Response, Problem> {
    let mut link = open(&desk, &order)?;
    let text = link.get("link").and_then(Value::as_str).unwrap_or_default();
    let svg = picture(text)?;
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.trim().starts_with("image/svg+xml") {
        let id = link.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Ok((
            [(header::CONTENT_TYPE, "image/svg+xml".to_owned()), (header::LOCATION, format!("/api/onboarding/{id}"))],
            svg,
        )
            .into_response());
    }
    if let Some(link) = link.as_object_mut() {
        link.insert("svg".into(), svg.into());
    }
    Ok(Json(link).into_response())
}

pub(super) async fn deep_link(State(desk): State<Desk>, Body(order): Body<Order>) -> Answer {
    open(&desk, &order).map(Json)
}

fn open(desk: &Desk, order: &Order) -> Result<Value, Problem> {
    if !(10..=TICKET_LIFE.as_secs()).contains(&order.life) {
        let text = format!("a link lives for 10 to {} seconds", TICKET_LIFE.as_secs());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_life", text));
    }
    let diagnostics = diagnostics(desk);
    if !diagnostics.is_empty() {
        return Err(Problem::not_ready(diagnostics));
    }
    let options =
        PairOptions { confirm: !order.auto, life: Duration::from_secs(order.life), grant: order.grant.clone() };
    let dialog = desk.host.pair(options).map_err(|error| match error {
        PairError::Refused(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_links", error),
        _ => Problem::new(StatusCode::CONFLICT, "pairing", error),
    })?;
    let (link, web_link, expires_at) = (dialog.link(), dialog.web_link(), dialog.expires_at());
    let id = desk.links.watch(dialog);
    Ok(json!({
        "id": id,
        "link": link,
        "web_link": web_link,
        "expires_at": expires_at,
        "confirm": !order.auto,
    }))
}

/// Black on white, with the margin that cameras want, whatever the page's colours.
fn picture(link: &str) -> Result<String, Problem> {
    let code = QrCode::with_error_correction_level(link, EcLevel::L)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "qr", error))?;
    let black = svg::Color("#000");
    Ok(code
        .render()
        .min_dimensions(240, 240)
        .quiet_zone(true)
        .dark_color(black)
        .light_color(svg::Color("#fff"))
        .build())
}

pub(super) async fn show(State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    desk.links.progress(&id).map(Json).ok_or_else(unknown)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    approve: bool,
}

pub(super) async fn answer(State(desk): State<Desk>, Path(id): Path<String>, Body(approval): Body<Approval>) -> Answer {
    if !desk.links.answer(&id, approval.approve).ok_or_else(unknown)? {
        return Err(Problem::new(StatusCode::CONFLICT, "nobody_asks", "no device waits for an answer"));
    }
    Ok(Json(json!({ "ok": true })))
}

pub(super) async fn cancel(State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    if desk.links.cancel(&id) { Ok(Json(json!({ "ok": true }))) } else { Err(unknown()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    link: String,
}

/// What a link says, and whether it can still be used; nothing of its secret.
pub(super) async fn validate(Body(claim): Body<Claim>) -> Json<Value> {
    match parse_link(claim.link.trim()) {
        Err(error) => Json(json!({ "valid": false, "reason": error.to_string() })),
        Ok(ticket) => {
            let expired = u64::from(ticket.expiry) <= unix_now();
            Json(json!({
                "valid": !expired,
                "reason": expired.then_some("the link has expired"),
                "relay": ticket.relay.as_str(),
                "expires_at": rfc3339(ticket.expiry.into()),
            }))
        }
    }
}

fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_link",
        "there is no such pairing link here; it may have been used long ago",
    )
}
