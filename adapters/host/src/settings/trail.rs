//! The audit trail, in pages and as it grows.

use core::convert::Infallible;
use core::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::Desk;
use super::answer::{Answer, Problem};
use crate::audit::page;

/// Lines in a page, at most.
const MAX_PAGE: usize = 500;
/// A comment this often keeps proxies from cutting a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Only lines before this number.
    before: Option<u64>,
    limit: Option<usize>,
}

/// The newest first.
pub(super) async fn list(State(desk): State<Desk>, query: Result<Query<Page>, QueryRejection>) -> Answer {
    let Query(query) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "query", error))?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=MAX_PAGE).contains(&limit) {
        let text = format!("limit is 1 to {MAX_PAGE}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "query", text));
    }
    desk.host.audit_written().await;
    let files = desk.host.audit_files();
    let read = tokio::task::spawn_blocking(move || page(&files, query.before.unwrap_or(u64::MAX), limit)).await;
    let entries = read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    let next = entries.last().and_then(|entry| entry.get("seq")).and_then(Value::as_u64).filter(|seq| *seq > 1);
    Ok(Json(json!({ "next": next.filter(|_| entries.len() == limit), "entries": entries })))
}

/// Each line as it is written.
pub(super) async fn follow(State(desk): State<Desk>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let lines = stream::unfold(desk.host.follow_audit(), async |mut lines| {
        let event = match lines.recv().await {
            Ok(line) => Event::default().event("entry").data(line),
            // The reader was too slow: it reads the page anew.
            Err(RecvError::Lagged(missed)) => Event::default().event("missed").data(missed.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), lines))
    });
    Sse::new(lines).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
