//! What a running relay answers to commands.

use homing_local::control::{Listener, Request};
use homing_relay::RelayHandle;
use serde_json::{Value, json};

/// Answers until dropped.
pub(super) async fn serve(listener: Listener, relay: RelayHandle) {
    listener.serve(move |request| answer(request, relay.clone())).await;
}

async fn answer(mut request: Request, relay: RelayHandle) {
    let answered = match request.value.get("cmd").and_then(Value::as_str) {
        Some("status") => request.replies.send(&status(&relay)).await,
        _ => request.replies.refuse("bad_request", "a relay knows the command status only").await,
    };
    if let Err(error) = answered {
        tracing::debug!(%error, "a control request was not answered");
    }
}

fn status(relay: &RelayHandle) -> Value {
    let status = relay.status();
    json!({
        "role": "relay",
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "listen": status.listen.to_string(),
        "tls": status.tls,
        "uptime_s": status.uptime.as_secs(),
        "draining": status.draining,
        "links": status.links,
        "hosts": status.hosts,
        "waiting": status.waiting,
        "channels": status.channels,
        "parked": status.parked,
        "refused": status.refused,
        "forwarded_records": status.forwarded_records,
        "forwarded_bytes": status.forwarded_bytes,
        "queued_bytes": status.queued_bytes,
    })
}
