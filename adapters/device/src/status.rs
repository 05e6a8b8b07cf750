//! What a device's process tells about its calls, and the socket that it tells it by.

use core::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use homing_local::control::{Listener, Role};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::DeviceError;
use crate::tunnels::Tunnels;

/// What the call to a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LinkState {
    /// Dialling, or at the relay's door.
    Connecting,
    /// The host answered, by a real round trip.
    Connected,
    /// The host is on demand, and nobody wants anything of it: it is dialled when somebody does.
    Resting,
    /// Between two attempts.
    Waiting,
    /// Between two attempts, and a person should do something.
    Refused,
    /// Over for good.
    Ended,
}

/// One call, as a status shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkStatus {
    /// The host's name on this device.
    pub host: String,
    /// The relay in use, or the last one dialled, `wss://…`.
    pub relay: String,
    /// All its relays, the first to try first.
    pub relays: Vec<RelayStatus>,
    /// What the call is doing.
    pub state: LinkState,
    /// Since when, Unix seconds.
    pub since: u64,
    /// The last measured round trip to the host and back, through the relay, in milliseconds.
    pub last_round_trip_ms: Option<f64>,
    /// When that was measured, Unix seconds.
    pub last_round_trip_at: Option<u64>,
    /// Why the last call ended, or the attempt failed; none while connected.
    pub last_error: Option<String>,
    /// Milliseconds until the next attempt.
    pub retry_in_ms: Option<u64>,
}

/// What one of a host's relays is good for at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RelayState {
    /// The call goes through it.
    InUse,
    /// It is being dialled, or waits for the host.
    Dialling,
    /// The last attempt through it failed.
    Failed,
    /// It was not needed.
    Idle,
}

/// One of a host's relays, as a status shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelayStatus {
    /// Where it is, `wss://…`.
    pub relay: String,
    /// What it is good for.
    pub state: RelayState,
    /// Why the last attempt through it failed; none where it did not.
    pub last_error: Option<String>,
}

/// Answers `status` on the control socket of this process, for as long as it is polled.
///
/// # Errors
/// [`DeviceError::Control`] where the socket cannot be made.
pub async fn serve_status(data: &Path, tunnels: Arc<Tunnels>) -> Result<Infallible, DeviceError> {
    let listener = Listener::bind(data, Role::Device)?;
    Ok(listener
        .serve(move |mut request| {
            let tunnels = tunnels.clone();
            async move {
                // A client that has gone needs no answer.
                let _ = if request.value.get("cmd").and_then(Value::as_str) == Some("status") {
                    request.replies.send(&answer(&tunnels.statuses())).await
                } else {
                    request.replies.refuse("unknown_command", "a device answers only to `status`").await
                };
            }
        })
        .await)
}

fn answer(links: &[LinkStatus]) -> Value {
    json!({ "role": "device", "pid": std::process::id(), "links": links })
}
