//! What a running relay answers to commands.

use homing_local::control::{ControlError, Listener, Request};
use homing_relay::RelayHandle;
use homing_relay::account::AccountBook;
use serde_json::{Value, json};

use super::decider::Decider;
use super::keys::carry_out;

/// Answers until dropped.
pub(super) async fn serve(listener: Listener, relay: RelayHandle, decider: Decider) {
    listener.serve(move |request| answer(request, relay.clone(), decider.clone())).await;
}

async fn answer(mut request: Request, relay: RelayHandle, decider: Decider) {
    let answered = match request.value.get("cmd").and_then(Value::as_str) {
        Some("status") => request.replies.send(&status(&relay)).await,
        Some("keys") => match decider.book() {
            Ok(book) => keys(&mut request, &relay, book).await,
            Err(why) => request.replies.refuse("open", why).await,
        },
        _ => request.replies.refuse("bad_request", "a relay knows the commands status and keys").await,
    };
    if let Err(error) = answered {
        tracing::debug!(%error, "a control request was not answered");
    }
}

async fn keys(request: &mut Request, relay: &RelayHandle, book: &AccountBook) -> Result<(), ControlError> {
    match carry_out(book.accounts(), &request.value) {
        Ok(answer) => {
            if request.value.get("do").and_then(Value::as_str) == Some("revoke") {
                let name = request.value.get("name").and_then(Value::as_str).unwrap_or_default();
                let hosts = relay.cut(name);
                tracing::info!(account = name, hosts, "account revoked; its hosts are cut off");
            }
            request.replies.send(&answer).await
        }
        Err(error) => request.replies.refuse("account", &error.to_string()).await,
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
